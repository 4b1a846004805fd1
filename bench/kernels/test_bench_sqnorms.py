"""Squared norms and whether every value is finite: how a matrix is taken in, one read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from pools import Pool

from pyal import kernels


@pytest.mark.parametrize("peer", peers_of("sqnorms"), ids=lambda peer: peer.name)
def test_sqnorms(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    def agree(mine: Any, theirs: Any) -> str:
        np.testing.assert_allclose(mine, (pool.X.astype(np.float64) ** 2).sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(mine, theirs, rtol=1e-4)
        return f"within {np.abs(mine / theirs - 1).max():.1e}"

    versus(
        "sqnorms",
        pool,
        lambda: kernels.sqnorms(pool.X, n_jobs=n_jobs),
        peer,
        lambda: peer.call(pool.X),
        agree,
        bytes_read=pool.X.nbytes,
    )
