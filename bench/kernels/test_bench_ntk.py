"""The neural tangent kernel of a pool with itself: half of it is computed, and nothing of its size is stored beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from pools import Pool

from pyal import kernels

WIDTH = 512


def agree(mine: Any, theirs: Any) -> str:
    """Within 1e-5 of the largest value: the peers add up thousands of columns in float32."""
    scale = np.abs(theirs).max()
    # Few rows have a unit that is active in the float32 peer and not in double; they are off by that unit.
    apart = np.abs(mine - theirs) / scale
    assert np.quantile(apart[:: max(1, len(apart) // 500)], 0.999) < 1e-5
    assert apart.max() < 1e-2
    return f"within {apart.max():.1e} of the largest"


@pytest.mark.parametrize("peer", peers_of("ntk"), ids=lambda peer: peer.name)
def test_empirical(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    pool = pool.head(peer.max_rows)
    X = pool.X
    weights = kernels.ntk_weights(X.shape[1], WIDTH, 10, random_state=0)
    versus(
        "ntk",
        f"{pool}, empirical, width {WIDTH}",
        lambda: kernels.ntk(X, weights=weights, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, weights=weights),
        agree,
        flops=len(X) ** 2 * (X.shape[1] + 2 * WIDTH),
    )


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("peer", peers_of("ntk_infinite"), ids=lambda peer: peer.name)
def test_infinite(versus: Callable[..., Any], pool: Pool, peer: Peer, depth: int, n_jobs: int) -> None:
    pool = pool.head(peer.max_rows)
    X = pool.X
    versus(
        "ntk",
        f"{pool}, infinite, depth {depth}",
        lambda: kernels.ntk(X, kind="infinite", depth=depth, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, depth=depth),
        agree,
    )
