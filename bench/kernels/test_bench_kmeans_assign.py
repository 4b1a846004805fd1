"""k-means: the same start and number of iterations; then from a seed, as a strategy calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from peers.objectives import nearest_sqdist
from pools import Pool

from pyal import kernels

ITERATIONS = 25


@pytest.mark.parametrize("k", [100, 500])
@pytest.mark.parametrize("peer", peers_of("kmeans"), ids=lambda peer: peer.name)
def test_kmeans(versus: Callable[..., Any], pool: Pool, peer: Peer, k: int, n_jobs: int) -> None:
    X, k = pool.X, min(k, len(pool.X) // 10)
    init = X[np.random.default_rng(2).choice(len(X), k, replace=False)]

    def agree(mine: Any, theirs: Any) -> str:
        """Equal inertia of the centres returned, within 0.2 %: a row that ties in float32 leads to another path."""
        inertia = [float(nearest_sqdist(X, centers).sum()) for centers in (mine[0], theirs[0])]
        assert mine[2] == pytest.approx(inertia[0], rel=1e-4)
        assert inertia[0] == pytest.approx(inertia[1], rel=2e-3)
        return f"inertia {100 * (inertia[0] / inertia[1] - 1):+.2g} %"

    versus(
        "kmeans",
        f"{pool}, k={k}, {ITERATIONS} iterations",
        lambda: kernels.kmeans(X, k, init=init, max_iter=ITERATIONS, tol=0, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, k, init=init, max_iter=ITERATIONS),
        agree,
        flops=2 * X.size * k * ITERATIONS,
    )


@pytest.mark.parametrize("peer", peers_of("kmeans_from_seed"), ids=lambda peer: peer.name)
def test_kmeans_from_seed(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, k = pool.X, min(500, len(pool.X) // 10)

    def agree(mine: Any, theirs: Any) -> str:
        """Another random start: an inertia that is at most 2 % above the peer's."""
        inertia = [float(nearest_sqdist(X, centers).sum()) for centers in (mine[0], theirs[0])]
        assert inertia[0] <= 1.02 * inertia[1]
        return f"inertia {100 * (inertia[0] / inertia[1] - 1):+.2g} %"

    versus(
        "kmeans",
        f"{pool}, k={k}, from a seed",
        lambda: kernels.kmeans(X, k, random_state=0, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, k, random_state=0),
        agree,
    )
