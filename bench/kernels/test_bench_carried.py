"""The second round of a loop by coverage: what the first has covered is carried, or covered again.

500 rows are labelled at random and a batch is picked; its rows are labelled too, and the next batch is picked. The
peer is that second call with nothing carried. ball_cover and herding use the scales of their own benchmarks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer
from pools import Pool

from pyal import kernels

BATCH_SIZE, LABELED = 100, 500
KERNELS: dict[str, Callable[..., Any]] = {
    "k_center_greedy": kernels.k_center_greedy,
    "ball_cover": lambda X, b, *, scale, **given: kernels.ball_cover(X, b, scale, **given),
    "herding": lambda X, b, *, scale, **given: kernels.herding(X, b, bandwidth=scale, **given),
}
SHARES = {"ball_cover": 0.02, "herding": 0.05}


def afresh(kernel: str, *given: Any, **options: Any) -> Any:
    return KERNELS[kernel](*given, **options)


AFRESH = Peer("carried", "nothing carried", afresh, note="the ratio is what a later round saves")


@pytest.mark.parametrize("kernel", KERNELS)
def test_second_round(versus: Callable[..., Any], pool: Pool, kernel: str, n_jobs: int) -> None:
    X, batch_size = pool.X, min(BATCH_SIZE, len(pool.X) // 20)
    labeled = np.random.default_rng(0).choice(len(X), min(LABELED, len(X) // 4), replace=False)
    given: dict[str, Any] = {"n_jobs": n_jobs}
    if kernel in SHARES:
        given["scale"] = pool.radius(SHARES[kernel])
    carried = kernels.Carried()
    first = KERNELS[kernel](X, batch_size, covered_by=labeled, carried=carried, **given)[0]
    given["covered_by"] = np.union1d(labeled, first)

    def agree(mine: Any, theirs: Any) -> str:
        for part, other in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(part, other)
        return "equal bits"

    versus(
        kernel,
        f"second round, {pool}, {len(labeled)} labels, b={batch_size}",
        lambda: KERNELS[kernel](X, batch_size, carried=copy.deepcopy(carried), **given),
        AFRESH,
        lambda: AFRESH.call(kernel, X, batch_size, **given),
        agree,
    )
