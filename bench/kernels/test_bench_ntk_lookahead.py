"""Look-ahead picks over N candidates that are also the rows the risk is counted on, per pick.

The state stands for a round of NTKCPL: an infinite-width kernel on rows of the unit sphere, pseudo-labels by k-means,
20 rows learned for 10 classes and 200 for 100. PYAL_BENCH_CANDIDATES: N (2000; 10000 for the figures that are quoted).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from pools import Pool, make_pool

from pyal import kernels
from pyal.arrays import Matrix

RIDGE = 1e-2
PICKS = 4
ROWS = int(os.environ.get("PYAL_BENCH_CANDIDATES") or 2_000)


@pytest.fixture(scope="module", params=[10, 100], ids=lambda classes: f"{classes} classes")
def state(request: pytest.FixtureRequest) -> tuple[Pool, np.ndarray, np.ndarray, np.ndarray]:
    """Pool, posterior kernel, predictions, pseudo-labels."""
    return posterior(request.param, ROWS)


def posterior(classes: int, rows: int) -> tuple[Pool, np.ndarray, np.ndarray, np.ndarray]:
    kind = "real" if os.environ.get("PYAL_DATA") else "blobs"
    pool = make_pool(kind, rows, 128)
    labels = kernels.kmeans(pool.X, classes, random_state=0)[1]
    K = kernels.ntk(pool.X, kind="infinite")
    learned = np.random.default_rng(0).choice(rows, min(rows // 4, 20 if classes == 10 else 200), replace=False)
    A = np.linalg.inv(K[np.ix_(learned, learned)].astype(np.float64) + RIDGE * np.eye(len(learned)))
    f = K[:, learned] @ (A @ np.eye(classes)[labels[learned]])
    half = np.linalg.cholesky(A).T @ K[learned]
    for begin in range(0, rows, 1000):
        K[begin : begin + 1000] -= half[:, begin : begin + 1000].T @ half
    return pool, (K + K.T) / 2, f, labels


def picked(R: Matrix, f: np.ndarray, labels: np.ndarray, picks: int, n_jobs: int) -> tuple[np.ndarray, np.ndarray]:
    return kernels.ntk_lookahead(R, f, labels, picks, targets=labels, ridge=RIDGE, n_jobs=n_jobs)[:2]


def agree_on(K: np.ndarray, f: np.ndarray, labels: np.ndarray) -> Callable[[Any, Any], str]:
    """Both must find the same least risk at first. From then on ties, which the peers give to the lowest position, lead
    to other picks: what ours say is held against the closed form, retrained on them in float64."""

    def agree(mine: Any, theirs: Any) -> str:
        positions, risks = mine
        assert abs(risks[0] - theirs[1][0]) <= 2, "rows that float32 cannot tell apart are few"
        hot = np.eye(f.shape[1])[labels]
        for t in range(1, len(positions) + 1):
            rows = positions[:t]
            weights = np.linalg.solve(K[np.ix_(rows, rows)] + RIDGE * np.eye(t), (hot - f)[rows])
            risk = ((f + K[:, rows] @ weights).argmax(axis=1) != labels).sum()
            assert abs(risk - risks[t - 1]) <= 2, (t, risk, risks[t - 1])
        return f"least risk {risks[0]:.0f}, {theirs[1][0]:.0f}; last {risks[-1]:.0f}, {theirs[1][-1]:.0f}"

    return agree


@pytest.mark.parametrize("peer", peers_of("ntk_lookahead"), ids=lambda peer: peer.name)
def test_call(versus: Callable[..., Any], state: Any, peer: Peer, n_jobs: int) -> None:
    pool, K, f, labels = state
    if peer.max_rows and len(K) > peer.max_rows:
        pool, K, f, labels = posterior(f.shape[1], peer.max_rows)
    R = Matrix(K, "float32", "cpu")
    versus(
        "ntk_lookahead",
        f"{pool}, {f.shape[1]} classes, call of {PICKS} picks",
        lambda: picked(R, f, labels, PICKS, n_jobs),
        peer,
        lambda: peer.call(K, f, labels, PICKS, RIDGE),
        agree_on(K, f, labels),
    )


@pytest.mark.parametrize("peer", peers_of("ntk_lookahead_traffic"), ids=lambda peer: peer.name)
def test_against_the_traffic_of_the_kernel(versus: Callable[..., Any], state: Any, peer: Peer, n_jobs: int) -> None:
    """64 picks, so that the kernel is written and made again as in a long run."""
    pool, K, f, labels = state
    R = Matrix(K, "float32", "cpu")
    picks = min(64, len(K) // 4)
    scratch = K.copy()
    versus(
        "ntk_lookahead",
        f"{pool}, {f.shape[1]} classes, call of {picks} picks",
        lambda: picked(R, f, labels, picks, n_jobs),
        peer,
        lambda: peer.call(scratch, picks, n_jobs),
        lambda *_: "a floor, no answer",
    )
