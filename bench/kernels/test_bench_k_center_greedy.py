"""Greedy k-center (coreset) from ten labelled rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from peers.objectives import nearest_sqdist, same_picks
from pools import Pool

from pyal import kernels


@pytest.mark.parametrize("peer", peers_of("k_center_greedy"), ids=lambda peer: peer.name)
def test_k_center_greedy(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, batch_size = pool.X, max(1, min(1000, len(pool.X) // 20))
    covered_by = np.sort(np.random.default_rng(1).choice(len(X), 10, replace=False))

    def agree(mine: Any, theirs: Any) -> str:
        """Equal picks, or (float32 near-ties) a covering radius within 0.5 %."""
        picks = mine[0], theirs
        radius = [float(np.sqrt(nearest_sqdist(X, X[np.concatenate([covered_by, p])]).max())) for p in picks]
        return same_picks(mine[0], theirs, (radius[0], radius[1]), 0.005, "radius")

    versus(
        "k_center_greedy",
        f"{pool}, b={batch_size}",
        lambda: kernels.k_center_greedy(X, batch_size, covered_by=covered_by, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, batch_size, covered_by=covered_by),
        agree,
    )
