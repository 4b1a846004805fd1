"""Taking a matrix in (`kernels.rows`): one read, for the norms and for NaN and infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import peers_of
from pools import Pool
from registry import Peer

from pyal import kernels


@pytest.mark.parametrize("peer", peers_of("sqnorms"), ids=lambda peer: peer.name)
def test_sqnorms(versus: Callable[..., Any], pool: Pool, peer: Peer) -> None:
    def agree(_: Any, theirs: Any) -> str:
        np.testing.assert_allclose(theirs, (pool.X.astype(np.float64) ** 2).sum(axis=1), rtol=1e-4)
        return "both find it finite"

    versus(
        "sqnorms",
        pool,
        lambda: kernels.rows(pool.X),
        peer,
        lambda: peer.call(pool.X),
        agree,
        bytes_read=pool.X.nbytes,
    )
