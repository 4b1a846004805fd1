"""SUP scores: weighted mean distances to the other centres, without a matrix of rows by centres."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from peers.objectives import sqdist_blocks
from pools import Pool

from pyal import kernels


@pytest.mark.parametrize("peer", peers_of("sup_scores"), ids=lambda peer: peer.name)
def test_sup_scores(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, k = pool.X, min(500, len(pool.X) // 10)
    rng = np.random.default_rng(3)
    centers = X[rng.choice(len(X), k, replace=False)] + np.float32(0.01) * rng.standard_normal(
        (k, X.shape[1]), np.float32
    )
    assignment = np.concatenate([sqdist.argmin(axis=1) for _, sqdist in sqdist_blocks(X, centers)])

    def agree(mine: Any, theirs: Any) -> str:
        np.testing.assert_allclose(mine, theirs, rtol=1e-3)  # the peers' distances are expanded in float32
        return f"within {np.abs(mine / theirs - 1).max():.1e}"

    versus(
        "sup_scores",
        f"{pool}, k={k}",
        lambda: kernels.sup_scores(X, centers, assignment, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, centers, assignment),
        agree,
        flops=2 * X.size * k,
    )
