"""Constrained k-means (the kernel constrained_assign in Lloyd's loop) against k-means: what the constraints cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from pools import Pool

from pyal import kernels

ITERATIONS, LABELED, CLASSES = 10, 500, 10  # so few iterations that neither has converged before


@pytest.mark.parametrize("constraints", ["cannot_link", "both"])
@pytest.mark.parametrize("peer", peers_of("constrained_kmeans"), ids=lambda peer: peer.name)
def test_constrained_kmeans(versus: Callable[..., Any], pool: Pool, peer: Peer, constraints: str, n_jobs: int) -> None:
    X, k = pool.X, min(100, len(pool.X) // 10)
    rng = np.random.default_rng(2)
    init = X[rng.choice(len(X), k, replace=False)]
    labels = np.full(len(X), -1)
    labeled = rng.choice(len(X), min(LABELED, len(X) // 2), replace=False)
    labels[labeled] = rng.integers(0, CLASSES, len(labeled))  # at random: the constraints bind as much as they can
    given: dict[str, Any] = {"init": init, "max_iter": ITERATIONS, "tol": 0, "n_jobs": n_jobs}

    def agree(mine: Any, theirs: Any) -> str:
        """Without labels the very answer of k-means; with them, no constraint is broken."""
        free = kernels.constrained_kmeans(X, k, labels=np.full(len(X), -1), random_state=0, **given)
        for part, other in zip(free, theirs, strict=True):
            np.testing.assert_array_equal(part, other)
        cluster = mine[1][labeled]
        for label in range(CLASSES):
            own = set(cluster[labels[labeled] == label])
            assert own.isdisjoint(cluster[labels[labeled] != label])
            assert constraints == "cannot_link" or len(own) == 1
        return f"constraints kept, inertia {100 * (mine[2] / theirs[2] - 1):+.2g} %"

    versus(
        "constrained_kmeans",
        f"{pool}, k={k}, {len(labeled)} labelled, {constraints}",
        lambda: kernels.constrained_kmeans(X, k, labels=labels, constraints=constraints, random_state=0, **given),
        peer,
        lambda: peer.call(X, k, **given),
        agree,
        flops=2 * X.size * k * ITERATIONS,
    )
