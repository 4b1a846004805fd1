"""Exact nearest neighbours, each row's own left out, and the typicality that is built on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from pools import Pool

from pyal import kernels

K = 20


@pytest.mark.parametrize("peer", peers_of("knn"), ids=lambda peer: peer.name)
def test_knn(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, k = pool.X, min(K, len(pool.X) - 1)
    some = np.random.default_rng(0).choice(len(X), min(500, len(X)), replace=False)

    def agree(mine: Any, theirs: Any) -> str:
        """The neighbours found are as near as the peer's, by true distances; near-ties may stand in another order."""
        true = [
            ((X[some, None] - X[positions[some]].astype(np.float64)) ** 2).sum(-1) for _, positions in (mine, theirs)
        ]
        np.testing.assert_allclose(np.sort(true[0]), np.sort(true[1]), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(mine[0][some], true[0], rtol=1e-5)
        return f"{100 * (mine[1] == theirs[1]).mean():.4g} % equal, rest tied"

    versus(
        "knn",
        f"{pool}, k={k}",
        lambda: kernels.knn(X, k, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, k),
        agree,
        flops=X.shape[1] * len(X) ** 2,  # a multiplication and an addition per column, every pair once
    )


@pytest.mark.parametrize("peer", peers_of("typicality"), ids=lambda peer: peer.name)
def test_typicality(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, k = pool.X, min(K, len(pool.X) - 1)
    squared = peer.name != "lightly-mundig"  # which means plain distances, on a scale of its own

    def agree(mine: Any, theirs: Any) -> str:
        ranks = [np.argsort(np.argsort(scores)) for scores in (mine, theirs)]
        correlation = np.corrcoef(*ranks)[0, 1]
        assert correlation > 0.998
        return f"rank correlation {correlation:.5f}"

    versus(
        "typicality",
        f"{pool}, k={k}",
        lambda: kernels.typicality(X, k, squared=squared, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, k),
        agree,
        flops=X.shape[1] * len(X) ** 2,
    )
