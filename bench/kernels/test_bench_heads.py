"""Classifier heads over a run that labels one row at a time: the closed form, updated, against fits of all labels.

Every step fits the head on the labels so far and predicts a part of the pool, as a run of an uncertainty strategy does.
PYAL_BENCH_LABELS: how many labels the run ends with (60 by default; 500 is the run of the thesis, where AdamW took
2542 s and the closed form 66 s on 512 columns reduced to 50). The rows are 80 overlapping clusters on the unit sphere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from peers import Peer
from pools import make_pool

from pyal.heads import ClosedFormSoftmax, LinearHead

FIRST, LAST = 10, int(os.environ.get("PYAL_BENCH_LABELS") or 60)
CLASSES, ROWS = 10, 4000
Run = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def features(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrix of 512 columns, reduced to d by the principal components of all, and labels that depend on them."""
    X = np.asarray(make_pool("blobs", ROWS, 512).X, np.float64)
    rng = np.random.default_rng(0)
    y = (X @ rng.standard_normal((512, CLASSES))).argmax(1)
    if d < X.shape[1]:
        centred = X - X.mean(0)
        X = centred @ np.linalg.eigh(centred.T @ centred)[1][:, : -d - 1 : -1]
    return X, y


def rows_to_predict(X: np.ndarray) -> np.ndarray:
    return X[LAST : LAST + 1000]


def updated(X: np.ndarray, y: np.ndarray, last: int) -> np.ndarray:
    head = ClosedFormSoftmax("pinv").fit(X[:FIRST], y[:FIRST])
    proba = head.predict_proba(rows_to_predict(X))
    for i in range(FIRST, last):
        head.partial_fit(X[i : i + 1], y[i : i + 1])
        proba = head.predict_proba(rows_to_predict(X))
    return proba


def refitted(make: Callable[[], Any], X: np.ndarray, y: np.ndarray, last: int) -> np.ndarray:
    proba = None
    for i in range(FIRST, last + 1):
        proba = make().fit(X[:i], y[:i]).predict_proba(rows_to_predict(X))
    return proba


def adamw(X: np.ndarray, y: np.ndarray, last: int) -> np.ndarray:
    """10 % of the labels for early stopping with patience 50, best weights restored."""
    options = {"selection": "best_val", "validation_fraction": 0.1, "random_state": 0}
    return refitted(partial(LinearHead, optimizer="adamw", **options), X, y, last)


PEERS = [
    Peer("heads", "closed form, refitted", partial(refitted, partial(ClosedFormSoftmax, "pinv"))),
    Peer("heads", "LinearHead AdamW, refitted", adamw, ("torch",), note="another classifier; no answer to compare"),
]


@pytest.mark.parametrize("d", [50, 512])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_one_label_at_a_time(versus: Callable[..., Any], peer: Peer, d: int) -> None:
    X, y = features(d)

    def agree(mine: Any, theirs: Any) -> str:
        if peer.modules:  # the closed form first: updated equals refitted
            theirs = PEERS[0].call(X, y, LAST)
        difference = np.abs(mine - theirs).max()
        assert difference < 1e-6
        return f"refitted {difference:.0e}"

    work = f"{FIRST} to {LAST} labels one at a time, d={d}"
    versus("heads", work, partial(updated, X, y, LAST), peer, partial(peer.call, X, y, LAST), agree)
