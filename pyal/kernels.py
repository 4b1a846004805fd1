"""The compiled kernels, one public function each: arrays in, plain arrays out, on the device where X lives.

X is anything `pyal.arrays.as_rows` takes, or a `Rows` that is passed on unchecked. On the CPU the outputs are NumPy
arrays, on a GPU torch tensors; positions are int64, squared distances float32, or float64 where X is (and where
float32 cannot hold the squares). `covered_by` and `candidates` are positions or boolean masks; `n_jobs` counts CPU
threads (None: all that this process may use) and never changes an answer. Contracts, ties and numerics stand in
csrc/kernels/*.hpp.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from pyal.arguments import number, size, vector
from pyal.arrays import Rows, as_numpy, as_rows, cast, empty, first_few, on_device, widened
from pyal.clustering import constrained_kmeans, d2_sampling, kmeans
from pyal.launch import run
from pyal.least_squares import recursive_least_squares
from pyal.lookahead import ntk_lookahead
from pyal.ntk import ntk, ntk_outputs, ntk_weights
from pyal.rows import greedy_arguments, rows, sqnorms, value_dtype

__all__ = [
    "ball_cover", "constrained_kmeans", "d2_sampling", "herding", "k_center_greedy", "kmeans", "knn", "ntk",
    "ntk_lookahead", "ntk_outputs", "ntk_weights", "purity_radius", "recursive_least_squares", "rows", "sqnorms",
    "sup_scores", "typicality",
]  # fmt: skip


def knn(X: Any, k: int, *, queries: Any = None, groups: Any = None, n_jobs: int | None = None) -> tuple[Any, Any]:
    """The k nearest rows of X for every query: (sqdist (m, k), positions (m, k)), ascending.

    Exact; squared Euclidean distances; ties go to the lower position. queries: (m, d); without them the rows of X
    themselves (m = n), each without itself. groups: (n,) integers; then only rows of the same group are neighbours,
    and rows of a negative group take no part. Missing neighbours are +inf and -1. Raises ValueError or TypeError
    naming the argument. Memory: about 3k + 36 candidates per row besides the output.

    >>> knn([[0.0], [1.0], [3.0]], 1)[1].ravel().tolist()
    [1, 0, 1]
    """
    X = rows(X)
    k = size(k, "k", 1)
    Q = None
    if queries is not None:
        if groups is not None:
            raise ValueError("groups must be None where queries are given: queries belong to no group")
        Q = rows(queries, "queries", device=X.device)
        if Q.d != X.d:
            raise ValueError(f"queries must have the {X.d} columns of X; got {Q.d}")
        if Q.dtype != X.dtype:
            dtype = "float64" if "float64" in (Q.dtype, X.dtype) else "float32"
            X, Q = widened(X, dtype), widened(Q, dtype)
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
    X: Rows,
    k: int,
    n_jobs: int | None,
    *,
    Q: Rows | None = None,
    order: Any = None,
    group_start: Any = None,
    n_groups: int = 0,
    labels: Any = None,
) -> tuple[Any, Any]:
    m = X.n if Q is None else Q.n
    sqdist, positions = empty((m, k), value_dtype(X), X.device), empty((m, k), "int64", X.device)
    run(
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

    The distance is the squared Euclidean one, or the plain one with squared=False. groups as in `knn`. The mean is
    over the neighbours that there are; a row without any has +inf. Memory: (n, k) of `knn`.

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


def k_center_greedy(
    X: Any,
    batch_size: int,
    *,
    covered_by: Any = None,
    candidates: Any = None,
    start: int | None = None,
    n_jobs: int | None = None,
) -> tuple[Any, Any]:
    """Farthest-first traversal: (positions (b,), sqradius (b,)) in the order picked.

    Sener & Savarese 2018, arXiv:1708.00489. Each pick is the candidate farthest from what covered_by and the earlier
    picks cover; sqradius is its squared distance to that (+inf for a first pick with nothing covered). Ties go to the
    lowest position. start: position of the first pick; default with nothing covered: the lowest candidate. Memory
    O(n), and on CPUs the latest picks, at most 2048, packed in 2 to 4 bytes per value.

    >>> k_center_greedy([[0.0], [1.0], [9.0], [5.0]], 3, start=0)[0].tolist()
    [0, 2, 3]
    """
    X, b, arguments, chosen = greedy_arguments(X, batch_size, covered_by, candidates)
    first = -1
    if start is not None:
        first = size(start, "start", 0, X.n - 1)
        if chosen is not None and first not in chosen:
            raise ValueError(f"start must be one of the candidates; got {first}")
    sqradius = empty((b,), value_dtype(X), X.device)
    run("k_center_greedy", X, n_jobs, **arguments, start=first, sqradius=sqradius)
    return arguments["positions"], sqradius


def ball_cover(
    X: Any, batch_size: int, radius: float, *, covered_by: Any = None, candidates: Any = None, n_jobs: int | None = None
) -> tuple[Any, Any]:
    """Greedy maximum coverage by balls: (positions (b,), gains (b,)) (ProbCover, Yehuda et al. 2022, arXiv:2205.11320).

    A row covers every row at Euclidean distance (not squared) strictly below radius, itself included. Each pick is
    the candidate that covers most rows covered by nothing before; ties go to the lowest position. gains are those
    numbers, int64; once they are 0 every candidate is covered and the rest are the lowest candidates left. Memory
    O(n).

    >>> ball_cover([[0.0], [1.0], [2.0], [9.0]], 2, 1.5)
    (array([1, 3]), array([3, 1]))
    """
    X, b, arguments, _ = greedy_arguments(X, batch_size, covered_by, candidates)
    gains = empty((b,), "int64", X.device)
    reach = number(radius, "radius", infinite=True)
    sqradius = max(reach * reach, sys.float_info.min)  # a square that vanishes would not even cover equal rows
    run("ball_cover", X, n_jobs, **arguments, sqradius=sqradius, gains=gains)
    return arguments["positions"], gains


def purity_radius(X: Any, assignment: Any, alpha: float = 0.95, *, n_jobs: int | None = None) -> float:
    """The largest Euclidean radius (not squared) whose open ball is pure for a share alpha of the rows.

    Pure: only rows of its own cluster. assignment: (n,) integers, for instance of k-means. This is ProbCover's choice
    of its radius (Yehuda et al. 2022), exact: the (1 - alpha) quantile of the distances to the nearest row of another
    cluster. +inf with a single cluster. Memory O(n).

    >>> purity_radius([[0.0], [1.0], [4.0]], [0, 0, 1], alpha=0.5)
    3.0
    """
    X = rows(X)
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


def herding(
    X: Any,
    batch_size: int,
    *,
    bandwidth: float = 1.0,
    weights: Any = None,
    covered_by: Any = None,
    candidates: Any = None,
    n_jobs: int | None = None,
) -> tuple[Any, Any]:
    """Greedy kernel coverage: (positions (b,), gains (b,) float64) (MaxHerding, Bae et al. 2024).

    Maximises mean_x weights_x max_s k(x, s) over the chosen s, k(x, s) = exp(-|x - s|^2 / bandwidth^2); covered_by
    counts as chosen. gains are the increases of that mean. Ties go to the lowest position. weights: (n,) >= 0. Memory
    O(n).

    >>> herding([[0.0], [0.1], [0.2], [9.0]], 2)[0].tolist()
    [1, 3]
    """
    X, b, arguments, _ = greedy_arguments(X, batch_size, covered_by, candidates)
    if weights is not None:
        weights = vector(weights, X.n, "weights", "iufb", "float64")
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if bad.size:
            raise ValueError(f"weights must be finite and not negative; got {weights[bad[0]]} at {first_few(bad)}")
        largest = float(weights.max())
        weights = on_device(weights / largest if largest > 0 else weights, X.device)
    gains = empty((b,), "float64", X.device)
    run("herding", X, n_jobs, **arguments, bandwidth=number(bandwidth, "bandwidth"), weights=weights, gains=gains)
    return arguments["positions"], gains if weights is None else gains * largest


def sup_scores(X: Any, centers: Any, assignment: Any, *, temperature: float = 1.0, n_jobs: int | None = None) -> Any:
    """SUP scores, (n,): closeness of every row to the clusters other than its own (SUPClust, arXiv:2403.03741).

    1 / sum_j w_j |x - c_j| over the centres j other than assignment[i], w the softmax of -|c_own - c_j| / temperature;
    distances Euclidean, not squared. centers: (k, d), k >= 2; assignment: (n,) in 0 .. k - 1. Memory O(n + k^2 + k d).

    >>> sup_scores([[0.0], [1.0]], [[0.0], [4.0]], [0, 0]).tolist()
    [0.25, 0.3333333333333333]
    """
    X = rows(X)
    C = rows(centers, "centers")
    if C.d != X.d:
        raise ValueError(f"centers must have the {X.d} columns of X; got {C.d}")
    if C.n < 2:
        raise ValueError("centers must have at least 2 rows: with one cluster there is no other to be close to")
    owner = vector(assignment, X.n, "assignment", "iu", "int64")
    if owner.min() < 0 or owner.max() >= C.n:
        raise ValueError(f"assignment must lie in 0 .. {C.n - 1}; got {owner.min()} .. {owner.max()}")
    scores = empty((X.n,), value_dtype(X), X.device)
    run(
        "sup_scores",
        X,
        n_jobs,
        centers=on_device(widened(as_rows(as_numpy(C, "centers")), value_dtype(X)).array, X.device),
        k=C.n,
        assignment=on_device(owner, X.device),
        temperature=number(temperature, "temperature"),
        scores=scores,
    )
    return scores
