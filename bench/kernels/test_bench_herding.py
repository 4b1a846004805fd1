"""Greedy kernel coverage (MaxHerding); the bandwidth is the distance that holds 5 % of all pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from peers.objectives import nearest_sqdist, same_picks
from pools import Pool

from pyal import kernels

BATCH_SIZE = 100
SHARE = 0.05
MEMORY = 1_000_000_000  # bytes of peak extra memory that no pool may reach


@pytest.mark.parametrize("peer", peers_of("herding"), ids=lambda peer: peer.name)
def test_herding(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    pool = pool.head(peer.max_rows)
    X, bandwidth, batch_size = pool.X, pool.radius(SHARE), min(BATCH_SIZE, len(pool.X) // 10)

    def agree(mine: Any, theirs: Any) -> str:
        """Equal picks, or (near-ties in the peer's precision) the same kernel coverage within 0.1 %."""
        coverage = [float(np.exp(-nearest_sqdist(X, X[p]) / bandwidth**2).mean()) for p in (mine[0], theirs)]
        return same_picks(mine[0], theirs, (coverage[0], coverage[1]), 0.001, "coverage")

    versus(
        "herding",
        f"{pool}, b={batch_size}",
        lambda: kernels.herding(X, batch_size, bandwidth=bandwidth, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, batch_size, bandwidth=bandwidth),
        agree,
        flops=X.shape[1] * len(X) ** 2,
    )


def test_whole_pool(versus: Callable[..., Any], pool: Pool, n_jobs: int) -> None:
    """At sizes where the peers' N x N does not fit."""
    X, bandwidth, batch_size = pool.X, pool.radius(SHARE), min(BATCH_SIZE, len(pool.X) // 10)
    result = versus(
        "herding",
        f"{pool}, b={batch_size}",
        lambda: kernels.herding(X, batch_size, bandwidth=bandwidth, n_jobs=n_jobs),
        flops=X.shape[1] * len(X) ** 2,
    )
    assert result.extra is None or result.extra < MEMORY
