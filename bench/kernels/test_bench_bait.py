"""select(strategy="bait") against the textbook, which multiplies all rows by the inverse for every pick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from pools import Pool

import pyal

BATCH_SIZE, CLASSES = 100, 10


@pytest.mark.parametrize("peer", peers_of("bait"), ids=lambda peer: peer.name)
def test_select_bait(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, batch_size = pool.X, min(BATCH_SIZE, len(pool.X) // 20)
    p = np.random.default_rng(0).dirichlet(np.full(CLASSES, 0.5), len(X))

    def agree(mine: Any, theirs: Any) -> str:
        np.testing.assert_array_equal(mine, theirs)
        return "equal picks"

    def ours() -> np.ndarray:
        given = {"strategy": "bait", "metric": "euclidean", "ridge": 1.0}  # as the peers have it
        return pyal.select(X, proba=p, batch_size=batch_size, n_jobs=n_jobs, **given)

    versus("select bait", f"{pool}, b={batch_size}", ours, peer, lambda: peer.call(X, p, batch_size), agree)
