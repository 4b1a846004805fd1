"""Maximum coverage with balls (ProbCover); the radius holds 2 % of all pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peers import Peer, peers_of
from peers.objectives import nearest_sqdist, same_picks
from pools import Pool

from pyal import kernels

BATCH_SIZE = 100
SHARE = 0.02
MEMORY = 1_000_000_000  # bytes of peak extra memory that no pool may reach


@pytest.mark.parametrize("peer", peers_of("ball_cover"), ids=lambda peer: peer.name)
def test_ball_cover(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    pool = pool.head(peer.max_rows)
    X, radius, batch_size = pool.X, pool.radius(SHARE), min(BATCH_SIZE, len(pool.X) // 10)

    def agree(mine: Any, theirs: Any) -> str:
        """Equal picks, or (ties that fall otherwise) as many rows covered within 1 %."""
        covered = [int((nearest_sqdist(X, X[picks]) < radius**2).sum()) for picks in (mine[0], theirs)]
        return same_picks(mine[0], theirs, (covered[0], covered[1]), 0.01, "covered")

    versus(
        "ball_cover",
        f"{pool}, b={batch_size}",
        lambda: kernels.ball_cover(X, batch_size, radius, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, batch_size, radius),
        agree,
        flops=X.shape[1] * len(X) ** 2,
    )


def test_whole_pool(versus: Callable[..., Any], pool: Pool, n_jobs: int) -> None:
    """At sizes where the peers' N x N does not fit."""
    X, radius, batch_size = pool.X, pool.radius(SHARE), min(BATCH_SIZE, len(pool.X) // 10)
    result = versus(
        "ball_cover",
        f"{pool}, b={batch_size}",
        lambda: kernels.ball_cover(X, batch_size, radius, n_jobs=n_jobs),
        flops=X.shape[1] * len(X) ** 2,
    )
    assert result.extra is None or result.extra < MEMORY
