"""One further row: the compiled update against the same formulas in BLAS calls, and against a fit of all rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from peers import Peer

from pyal import kernels

CLASSES, STEPS = 10, 50


class Fit:
    """A fit of 2 d rows, and 50 more to come."""

    def __init__(self, d: int) -> None:
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((2 * d + STEPS, d))
        self.Y = np.eye(CLASSES)[rng.integers(0, CLASSES, len(self.X))]
        self.d, self.n = d, 2 * d
        self.root = np.ascontiguousarray(np.linalg.inv(np.linalg.qr(self.X[: self.n], mode="r")).T)
        self.coef = np.ascontiguousarray((np.linalg.pinv(self.X[: self.n]) @ self.Y[: self.n]).T)

    def later(self) -> zip:
        return zip(self.X[self.n :, None], self.Y[self.n :, None], strict=True)


def kernel(fit: Fit, n_jobs: int) -> np.ndarray:
    root, coef = fit.root.copy(), fit.coef.copy()
    for x, y in fit.later():
        kernels.recursive_least_squares(x, y, root=root, coef=coef, rank=fit.d, n_jobs=n_jobs)
    return coef


def blas_square_root(fit: Fit) -> np.ndarray:
    from scipy.linalg import blas

    root, coef = fit.root.T.copy("F"), fit.coef.T.copy("F")
    for x, y in fit.later():
        f = blas.dgemv(1, root, x[0], trans=1)
        h = blas.dgemv(1, root, f)
        a = 1 / (1 + f @ f)
        blas.dger(-a / (1 + np.sqrt(a)), h, f, a=root, overwrite_a=1)
        blas.dger(a, h, y[0] - blas.dgemv(1, coef, x[0], trans=1), a=coef, overwrite_a=1)
    return coef.T


def blas_gram_inverse(fit: Fit) -> np.ndarray:
    from scipy.linalg import blas

    inverse, coef = np.asfortranarray(fit.root.T @ fit.root), fit.coef.T.copy("F")
    for x, y in fit.later():
        h = blas.dsymv(1, inverse, x[0])
        a = 1 / (1 + x[0] @ h)
        blas.dsyr(-a, h, a=inverse, overwrite_a=1)
        blas.dger(a, h, y[0] - blas.dgemv(1, coef, x[0], trans=1), a=coef, overwrite_a=1)
    return coef.T


def refitted(fit: Fit) -> np.ndarray:
    coef = fit.coef
    for i in range(STEPS):
        X, Y = fit.X[: fit.n + i + 1], fit.Y[: fit.n + i + 1]
        coef = np.linalg.solve(X.T @ X, X.T @ Y).T
    return coef


PEERS = [
    Peer("recursive_least_squares", "BLAS, square root", blas_square_root, ("scipy.linalg",)),
    Peer("recursive_least_squares", "BLAS, Gram inverse", blas_gram_inverse, ("scipy.linalg",), note="half the digits"),
    Peer("recursive_least_squares", "NumPy solve, refitted", refitted),
]


@pytest.mark.parametrize("d", [50, 512])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_rows_one_at_a_time(versus: Callable[..., Any], peer: Peer, d: int, n_jobs: int) -> None:
    fit = Fit(d)

    def agree(mine: Any, theirs: Any) -> str:
        difference = np.abs(mine - theirs).max() / np.abs(theirs).max()
        assert difference < 1e-10
        return f"{difference:.0e}"

    work = f"{STEPS} rows one at a time, d={d}, C={CLASSES}"
    versus("recursive_least_squares", work, partial(kernel, fit, n_jobs), peer, partial(peer.call, fit), agree)
