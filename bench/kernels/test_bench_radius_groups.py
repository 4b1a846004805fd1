"""Near-duplicates, a tenth of the rows twice and a little apart, against a graph of the links and its components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from pools import Pool

from pyal import kernels

APART = 0.1  # of the typical distance of two rows


@pytest.mark.parametrize("peer", peers_of("deduplicate"), ids=lambda peer: peer.name)
def test_deduplicate(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, radius = pool.X.copy(), APART * pool.radius(0.5)
    half, copies = len(X) // 2, len(X) // 10
    noise = np.random.default_rng(1).standard_normal((copies, X.shape[1]), np.float32)
    X[half : half + copies] = X[:copies] + noise * np.float32(0.5 * radius / np.sqrt(X.shape[1]))

    def agree(mine: Any, theirs: Any) -> str:
        np.testing.assert_array_equal(mine[0], theirs)
        return f"equal groups, {len(mine[1])} kept"

    versus(
        "deduplicate",
        f"{pool}, a tenth twice",
        lambda: kernels.deduplicate(X, radius, n_jobs=n_jobs),
        peer,
        lambda: peer.call(X, radius),
        agree,
        flops=X.shape[1] * len(X) ** 2,
    )
