"""BALD and BatchBALD, both made of mixture_entropies: 50 passes of 100 classes, and batches of exactly equal picks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from peers import Peer, peers_of

import pyal

ROWS = int(os.environ.get("PYAL_BENCH_ROWS") or 8_000)


def passes(T: int, classes: int) -> NDArray[np.float32]:
    """(T, ROWS, C): models that differ by noise, as sure of rows as classifiers are."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((ROWS, classes), np.float32)
    proba = np.empty((T, ROWS, classes), np.float32)
    for each in proba:
        np.exp(logits + rng.standard_normal(logits.shape, np.float32), out=each)
        each /= each.sum(axis=1, keepdims=True)
    return proba


@pytest.fixture(scope="module")
def many_classes() -> NDArray[np.float32]:
    return passes(50, 100)


@pytest.mark.parametrize("peer", peers_of("bald"), ids=lambda peer: peer.name)
def test_bald(versus: Callable[..., Any], many_classes: NDArray[np.float32], peer: Peer, n_jobs: int) -> None:
    X = np.zeros((ROWS, 1), np.float32)

    def agree(mine: Any, theirs: Any) -> str:
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)  # the peers compute in float32
        return f"within {np.abs(mine - theirs).max():.1e} nats"

    versus(
        "bald",
        f"{ROWS} rows, 50 passes, 100 classes",
        lambda: pyal.score(X, strategy="bald", proba=many_classes, n_jobs=n_jobs),
        peer,
        lambda: peer.call(many_classes),
        agree,
        bytes_read=many_classes.nbytes,
    )


@pytest.mark.parametrize("peer", peers_of("batchbald"), ids=lambda peer: peer.name)
def test_batchbald(versus: Callable[..., Any], peer: Peer, n_jobs: int) -> None:
    X, proba, b = np.zeros((ROWS, 1), np.float32), passes(20, 10), 4

    def agree(mine: Any, theirs: Any) -> str:
        np.testing.assert_array_equal(mine, theirs)
        return "equal picks"

    versus(
        "batchbald",
        f"{ROWS} rows, 20 passes, 10 classes, b={b}",
        lambda: pyal.select(X, strategy="batchbald", proba=proba, batch_size=b, random_state=0, n_jobs=n_jobs),
        peer,
        lambda: peer.call(proba, b),
        agree,
    )
