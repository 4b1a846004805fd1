"""Lloyd's iteration around the assignment kernel, with empty clusters refilled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyal.arrays import Matrix, as_numpy, cast, empty, widened


def lloyd(
    X: Matrix,
    centers: Any,
    *,
    assign: Callable[..., None],
    max_iter: int,
    tol: float,
    mean_sqnorm: float,
    fix: Callable[[Any], Any] | None = None,
) -> tuple[Any, Any, float]:
    """(centers (k, d), assignment (n,), inertia) from the given centres, which are of X's value type and device.

    assign: runs the kernel kmeans_assign on X.
    max_iter: it stops after this many steps.
    tol: it also stops when the squared moves of the centres sum to at most tol times the mean variance of the columns.
    mean_sqnorm: the mean of |x|^2.
    fix: fix(centers) gives the kernel's `fixed` (n,) before each assignment: -1, or the centre that the row is bound
        to.
    """
    k, dtype = int(centers.shape[0]), "float64" if X.dtype == "float64" else "float32"
    state = {"assignment": empty((X.n,), "int64", X.device), "upper": empty((X.n,), dtype, X.device),
             "lower": empty((X.n,), dtype, X.device), "sums": empty((k, X.d), "float64", X.device),
             "counts": empty((k,), "int64", X.device)}  # fmt: skip
    sqdist = empty((X.n,), dtype, X.device)
    moved = None
    tolerated = 0.0
    for step in range(max_iter):
        fixed = fix(centers) if fix else None
        assign(centers=centers, k=k, moved=moved, fixed=fixed, **state, sqdist=None)
        if step == 0:
            mean = state["sums"].sum(0) / X.n
            spread = mean_sqnorm - float((mean * mean).sum())
            if tol > 0 and spread < 1e-6 * mean_sqnorm:  # far from the origin the difference has lost its digits
                spread = sum(float(((block - mean) ** 2).sum()) for _, block in X.blocks()) / X.n
            tolerated = tol * spread / X.d
        if bool((state["counts"] == 0).any()):
            still = cast(centers[:, 0] * 0, dtype)
            assign(centers=centers, k=k, moved=still, fixed=fixed, **state, sqdist=sqdist)
            _refill(X, sqdist, state, fixed)
        counts = state["counts"].clip(1)
        means = cast(state["sums"] / counts[:, None], dtype)
        empties = state["counts"] == 0
        means[empties] = centers[empties]
        shift = ((cast(means, "float64") - cast(centers, "float64")) ** 2).sum(1)
        moved, centers = cast(shift**0.5 * (1 + 1e-6), dtype), means
        if float(shift.sum()) <= tolerated:
            break
    assign(centers=centers, k=k, moved=moved, fixed=fix(centers) if fix else None, **state, sqdist=sqdist)
    return centers, state["assignment"], float(cast(sqdist, "float64").sum())


def _refill(X: Matrix, sqdist: Any, state: dict[str, Any], fixed: Any) -> None:
    """Moves the rows farthest from their centres into the empty clusters, one each, farthest first; no fixed rows."""
    distance, owner = as_numpy(sqdist, "X"), as_numpy(state["assignment"], "X")
    if fixed is not None:
        distance = np.where(as_numpy(fixed, "X") >= 0, 0, distance)
    counts = as_numpy(state["counts"], "X").copy()
    vacant = np.flatnonzero(counts == 0).tolist()
    for i in np.argsort(-distance, kind="stable").tolist():
        if not vacant or distance[i] == 0:
            return
        if counts[owner[i]] < 2:
            continue
        old, new = int(owner[i]), vacant.pop(0)
        counts[old] -= 1
        row = widened(X.take([i]), "float64").array[0]
        state["sums"][old] -= row
        state["sums"][new] = row
        state["counts"][old] -= 1
        state["counts"][new] = 1
        state["assignment"][i] = new
        state["upper"][i], state["lower"][i] = float("inf"), 0.0
