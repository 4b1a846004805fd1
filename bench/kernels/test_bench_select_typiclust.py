"""select(strategy="typiclust") from the matrix to the positions, against the same steps in scikit-learn and faiss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from peers.neighbours import faiss_knn
from pools import Pool

import pyal

BATCH_SIZE = 100


@pytest.mark.parametrize("peer", peers_of("typiclust"), ids=lambda peer: peer.name)
def test_select_typiclust(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, batch_size = pool.X, min(BATCH_SIZE, len(pool.X) // 20)

    def agree(mine: Any, theirs: Any) -> str:
        """Other random starts of k-means: the picks are as typical, within 10 %, in the mean over the batch."""
        assert len(set(mine.tolist())) == len(mine) == len(theirs)
        typicality = 1 / (faiss_knn(X, 20)[0].mean(axis=1) + 1e-5)
        apart = typicality[mine].mean() / typicality[theirs].mean() - 1
        assert abs(apart) <= 0.1
        return f"typicality {100 * apart:+.2g} %"

    def ours() -> np.ndarray:
        given = {"strategy": "typiclust", "metric": "euclidean", "random_state": 0}  # the peers take rows as they are
        return pyal.select(X, batch_size=batch_size, n_jobs=n_jobs, **given)

    versus(
        "select typiclust",
        f"{pool}, b={batch_size}",
        ours,
        peer,
        lambda: peer.call(X, batch_size, random_state=0),
        agree,
    )
