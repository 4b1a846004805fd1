"""Kernels about the nearest rows: neighbours, typicality, how far a cluster is pure, which rows are near-duplicates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyal.arrays import Matrix, as_numpy, cast, empty, number, on_device, size, vector, widened
from pyal.kernels.launcher import launch
from pyal.kernels.matrices import METRICS, checked_matrix, taken_with, value_dtype


def knn(X: Any, k: int, *, queries: Any = None, groups: Any = None, n_jobs: int | None = None) -> tuple[Any, Any]:
    """The k nearest rows of X for every query: (sqdist (m, k), positions (m, k)), ascending.

    Distances are squared Euclidean ones, and exact. Ties go to the lower position. A neighbour that is missing is +inf
    and -1. Memory: about 3k + 36 candidates per row besides the output.

    k: how many neighbours, at least 1.
    queries: (m, d). None: the rows of X (then m = n), where no row is its own neighbour.
    groups: (n,) integers. Only rows of one group are neighbours then, and rows of a negative group take no part.

    >>> knn([[0.0], [1.0], [3.0]], 1)[1].ravel().tolist()
    [1, 0, 1]
    """
    X = checked_matrix(X)
    k = size(k, "k", 1)
    Q = None
    if queries is not None:
        if groups is not None:
            raise ValueError("groups must be None where queries are given: queries belong to no group")
        Q = checked_matrix(queries, "queries", device=X.device)
        if Q.d != X.d:
            raise ValueError(f"queries must have the {X.d} columns of X; got {Q.d}")
        if Q.dtype != X.dtype:
            dtype = "float64" if "float64" in (Q.dtype, X.dtype) else "float32"
            X, Q = (each if each.dtype == dtype else widened(each, dtype) for each in (X, Q))
    order = start = None
    n_groups = 0
    if groups is not None:
        group = vector(groups, X.n, "groups", "iu", "int64")
        order = np.argsort(group, kind="stable")
        order = order[np.searchsorted(group[order], 0) :]
        start = np.append(np.flatnonzero(np.diff(group[order], prepend=-1)), order.size).astype(np.int64)
        n_groups = start.size - 1
        if order.size == 0:
            shape = (X.n, k)
            missing = np.full(shape, np.inf, value_dtype(X)), np.full(shape, -1, np.int64)
            return on_device(missing[0], X.device), on_device(missing[1], X.device)
        order, start = on_device(order, X.device), on_device(start, X.device)
    return _neighbours(X, k, n_jobs, Q=Q, order=order, group_start=start, n_groups=n_groups)


def _neighbours(
    X: Matrix,
    k: int,
    n_jobs: int | None,
    *,
    Q: Matrix | None = None,
    order: Any = None,
    group_start: Any = None,
    n_groups: int = 0,
    labels: Any = None,
) -> tuple[Any, Any]:
    m = X.n if Q is None else Q.n
    sqdist, positions = empty((m, k), value_dtype(X), X.device), empty((m, k), "int64", X.device)
    launch(
        "knn",
        X,
        n_jobs,
        queries=None if Q is None else Q.address,
        queries_factor=None if Q is None else Q.factor,
        m=m,
        k=k,
        order=order,
        group_start=group_start,
        n_groups=n_groups,
        labels=labels,
        sqdist=sqdist,
        positions=positions,
    )
    return sqdist, positions


def typicality(X: Any, k: int, *, groups: Any = None, squared: bool = True, n_jobs: int | None = None) -> Any:
    """Typicality of every row, (n,): 1 / (mean distance to its k nearest neighbours + 1e-5) (Hacohen et al. 2022).

    The mean is taken over the neighbours that there are, and a row without any has +inf. Memory: (n, k), as for `knn`.

    k: how many neighbours, at least 1.
    groups: as in `knn`.
    squared: whether the distances are squared Euclidean ones or plain ones.

    >>> bool(np.argmax(typicality([[0.0], [1.0], [3.0]], 2)) == 1)
    True
    """
    sqdist, positions = knn(X, k, groups=groups, n_jobs=n_jobs)
    found = positions >= 0
    sqdist[~found] = 0
    count = found.sum(1)
    total = (sqdist if squared else sqdist**0.5).sum(1)
    alone = count == 0
    count[alone] = 1
    out = 1 / (total / cast(count, _dtype_name(total)) + 1e-5)
    out[alone] = float("inf")
    return out


def _dtype_name(a: Any) -> str:
    return str(a.dtype).removeprefix("torch.")


def purity_radius(X: Any, assignment: Any, alpha: float = 0.95, *, n_jobs: int | None = None) -> float:
    """The largest Euclidean radius (not squared) whose open ball is pure for a share alpha of the rows.

    A ball is pure where it holds only rows of its centre's cluster. ProbCover chooses its radius so (Yehuda et al.
    2022);
    here it is exact: the (1 - alpha) quantile of the distances to the nearest row of another cluster. With a single
    cluster it is +inf. Memory: O(n).

    assignment: (n,) integers, the cluster of every row.
    alpha: a share in (0, 1].

    >>> purity_radius([[0.0], [1.0], [4.0]], [0, 0, 1], alpha=0.5)
    3.0
    """
    X = checked_matrix(X)
    labels = vector(assignment, X.n, "assignment", "iu", "int64")
    if not 0 < (alpha := number(alpha, "alpha")) <= 1:
        raise ValueError(f"alpha must lie in (0, 1]; got {alpha}")
    sqdist, _ = _neighbours(X, 1, n_jobs, labels=on_device(labels, X.device))
    nearest = np.sort(as_numpy(sqdist, "X")[:, 0].astype(np.float64))
    square = float(nearest[min(int((1 - alpha) * X.n + 1e-9), X.n - 1)])
    radius = float(np.sqrt(square))
    while radius * radius > square:  # rounded up, an open ball of this radius would not be pure
        radius = float(np.nextafter(radius, 0))
    return radius


def deduplicate(X: Any, radius: float, *, metric: str = "euclidean", n_jobs: int | None = None) -> tuple[Any, Any]:
    """Groups of near-duplicates: (groups (n,), kept (n_groups,)), exact.

    Rows whose distance is at most `radius` are in one group, and so are rows that a chain of such pairs connects.
    Groups are numbered from 0 in the order of their first rows, and kept[g] is the position of the first row of group
    g: X[kept] has one row of each, in the order of X, and pairs within the radius lie in one group. Memory: O(n).

    radius: a distance (Euclidean, not squared), at least 0. 0 groups equal rows.
    metric: "euclidean", or "cosine" for the distance of the rows at norm 1, sqrt(2 - 2 cos); no copy is made. Norms are
        rounded: rows that are multiples of each other are about 1e-7 apart in float32, so that a radius should be more.

    >>> groups, kept = deduplicate([[0.0], [5.0], [1.0], [2.0], [5.0]], radius=1.0)
    >>> groups.tolist(), kept.tolist()
    ([0, 1, 0, 0, 1], [0, 1])
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be {' or '.join(map(repr, METRICS))}; got {metric!r}")
    radius = number(radius, "radius", or_low=True)
    X = taken_with(checked_matrix(X), metric)
    out = empty((X.n,), "int64", X.device)
    launch("radius_groups", X, n_jobs, sqradius=_largest_square(radius), first=out)
    first = as_numpy(out, "groups")
    kept = np.flatnonzero(first == np.arange(X.n))
    number_of = np.empty(X.n, np.int64)
    number_of[kept] = np.arange(len(kept))
    return on_device(number_of[first], X.device), on_device(kept, X.device)


def _largest_square(radius: float) -> float:
    """The largest float whose square root is at most the radius."""
    square = radius * radius
    while math.sqrt(square) > radius:  # also where it overflows
        square = math.nextafter(square, 0)
    while (above := math.nextafter(square, math.inf)) < math.inf and math.sqrt(above) <= radius:
        square = above
    return square
