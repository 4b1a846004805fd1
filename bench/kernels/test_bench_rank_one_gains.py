"""What one more label would do to the closed-form head: rank_one_gains against NumPy, `after_each` against copies.

10 classes and 1,000 held-out rows. PYAL_BENCH_CANDIDATES says how many candidates there are for the kernel and for
`after_each` alone (2000 by default). Copies are made of 300, by both sides of that pair.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from peers import Peer

from pyal import kernels
from pyal.heads import ClosedFormSoftmax
from pyal.metrics import cross_entropy

CANDIDATES, TEST, CLASSES = int(os.environ.get("PYAL_BENCH_CANDIDATES") or 2000), 1000, 10
COPIED = 300
SCALE, CAP = 73.68, 36.04
Answer = tuple[np.ndarray, np.ndarray]


def numpy_gains(G: np.ndarray, errors: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Answer:
    """In blocks of candidates that stay in cache."""
    correct, loss = np.empty(len(G), np.int64), np.empty(len(G))
    rows = np.arange(len(labels))
    for begin in range(0, len(G), 8):
        part = slice(begin, begin + 8)
        after = G[part, :, None] * errors[part, None, :]
        after += scores
        correct[part] = (after.argmax(2) == labels).sum(1)
        after -= after.max(2, keepdims=True)
        after *= SCALE
        own = after[:, rows, labels]
        losses = np.log(np.exp(after, out=after).sum(2)) - own
        loss[part] = np.minimum(losses, CAP).mean(1)
    return correct, loss


def torch_gains(G: np.ndarray, errors: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Answer:
    import torch

    correct, loss = np.empty(len(G), np.int64), np.empty(len(G))
    S, y = torch.from_numpy(scores), torch.from_numpy(labels)
    for begin in range(0, len(G), 64):
        part = slice(begin, begin + 64)
        after = torch.addcmul(S, torch.from_numpy(G[part])[:, :, None], torch.from_numpy(errors[part])[:, None, :])
        correct[part] = (after.argmax(2) == y).sum(1).numpy()
        own = after.gather(2, y.expand(len(after), -1)[:, :, None])[:, :, 0]
        losses = torch.logsumexp(SCALE * after, 2) - SCALE * own
        loss[part] = losses.clamp(max=CAP).mean(1).numpy()
    return correct, loss


def copies(head: ClosedFormSoftmax, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray) -> Answer:
    accuracy, loss = np.empty(len(X)), np.empty(len(X))
    for j in range(len(X)):
        one = copy.deepcopy(head).partial_fit(X[j : j + 1], y[j : j + 1])
        proba = one.predict_proba(X_test)
        accuracy[j] = (one.classes_[proba.argmax(1)] == y_test).mean()
        loss[j] = cross_entropy(y_test, proba, one.classes_)
    return accuracy, loss


PEERS = [
    Peer("rank_one_gains", "NumPy", numpy_gains),
    Peer("rank_one_gains", "torch", torch_gains, ("torch",)),
]
COPIES = Peer("after_each", "copies, partial_fit each", copies)


def agree(mine: Answer, theirs: Answer) -> str:
    np.testing.assert_array_equal(mine[0], theirs[0])
    difference = np.abs(mine[1] - theirs[1]).max()
    assert difference < 1e-8
    return f"equal accuracy, loss {difference:.0e}"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_kernel(versus: Callable[..., Any], peer: Peer, n_jobs: int) -> None:
    rng = np.random.default_rng(0)
    G, errors = 0.1 * rng.standard_normal((CANDIDATES, TEST)), rng.standard_normal((CANDIDATES, CLASSES))
    scores, labels = rng.standard_normal((TEST, CLASSES)), rng.integers(0, CLASSES, TEST)
    given = G, errors, scores, labels
    work = f"{CANDIDATES} candidates, {TEST} held-out rows, {CLASSES} classes"
    mine = partial(kernels.rank_one_gains, *given, scale=SCALE, cap=CAP, n_jobs=n_jobs)
    versus("rank_one_gains", work, mine, peer, partial(peer.call, *given), agree)


@pytest.mark.parametrize("n", [100, 600])
@pytest.mark.parametrize("d", [50, 512])
@pytest.mark.parametrize("peer", [COPIES, None], ids=["copies", "alone"])
def test_after_each(versus: Callable[..., Any], peer: Peer | None, d: int, n: int, n_jobs: int) -> None:
    rng = np.random.default_rng(0)
    m = COPIED if peer else CANDIDATES
    X = rng.standard_normal((n + m + TEST, d))
    y = (X @ rng.standard_normal((d, CLASSES)) + rng.standard_normal((len(X), CLASSES))).argmax(1)
    head = ClosedFormSoftmax().fit(X[:n], y[:n])
    given = X[n : n + m], y[n : n + m], X[n + m :], y[n + m :]
    mine = partial(head.after_each, *given, n_jobs=n_jobs)
    work = f"{m} candidates, {n} labels, d={d}"
    versus("after_each", work, mine, peer, partial(peer.call, head, *given) if peer else None, agree)
