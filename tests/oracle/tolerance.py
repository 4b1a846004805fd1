"""How far a kernel may be from the float64 reference: 2 x the error of plain float32 NumPy, plus 4 ulps.

The factor 2 leaves room for another order of summation, the 4 ulps for where plain NumPy happens to be exact. float64
input is computed in double throughout, so its errors are like float32's, scaled by the ratio of the two epsilons (the
reference itself errs by as much). float16 and bfloat16 widen to float32 exactly and are held to the float32 rule.
"""

from __future__ import annotations

import numpy as np

from oracle.reference import SIMILARITIES, sqdist_between, sup_scores, values

EPS32 = float(np.finfo(np.float32).eps)
EPS64 = float(np.finfo(np.float64).eps)


def scaled(error: float, dtype: str) -> float:
    return (2 * error + 4 * EPS32) * (EPS64 / EPS32 if dtype == "float64" else 1)


def plain_sqdist(A, B) -> np.ndarray:
    """What float32 NumPy gives for the squared differences."""
    A, B = values(A).astype(np.float32), values(B).astype(np.float32)
    return np.array([((B - a) ** 2).sum(axis=1) for a in A]).reshape(len(A), len(B))


def sqdist_rtol(X, dtype: str) -> float:
    """Relative error of squared distances, of the first 200 rows to all."""
    exact, plain = sqdist_between(X[:200], X), plain_sqdist(X[:200], X)
    apart = exact > 0
    error = (np.abs(plain - exact)[apart] / exact[apart]).max() if apart.any() else 0.0
    return scaled(float(error), dtype)


def kernel_atol(X, bandwidth: float, dtype: str, kernel: str = "rbf") -> float:
    """Absolute error of a kernel's values, of the first 200 rows to all."""
    exact = SIMILARITIES[kernel](sqdist_between(X[:200], X) / bandwidth**2)
    plain = SIMILARITIES[kernel](plain_sqdist(X[:200], X) / np.float32(bandwidth**2))
    return scaled(float(np.abs(plain - exact).max()), dtype)


def sup_rtol(X, centers, assignment, temperature: float, dtype: str) -> float:
    """Relative error of SUP scores, with the header's formula in float32: the expanded square about the centres' mean,
    the squared differences where less than 0.05 of the norms is left. The weights are made in float64.
    """
    exact = sup_scores(X, centers, assignment, temperature=temperature)
    middle = values(centers).mean(axis=0)
    x, c = ((values(rows) - middle).astype(np.float32) for rows in (X, centers))
    norms = (x * x).sum(axis=1)[:, None] + (c * c).sum(axis=1)
    expanded = norms - 2 * x @ c.T
    apart = np.sqrt(np.where(expanded < np.float32(0.05) * norms, plain_sqdist(X, centers), expanded))
    between = np.sqrt(sqdist_between(centers, centers))
    np.fill_diagonal(between, np.inf)
    weights = np.exp(-(between - between.min(axis=1, keepdims=True)) / temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    plain = 1 / (weights.astype(np.float32)[assignment] * apart).sum(axis=1)
    # A weight is exp(-distance / temperature): an ulp of a distance that counts is so many of the weight.
    counting = between[(weights > EPS32) & (weights < 1 - EPS32)]
    amplified = 4 * EPS64 * float(counting.max()) / temperature if counting.size else 0.0
    return scaled(float((np.abs(plain - exact) / exact).max()), dtype) + amplified
