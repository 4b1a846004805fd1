"""The compiled kernels, one public function each: arrays in, plain arrays out, on the device where X lives.

X is anything `pyal.arrays.as_rows` takes, or a `Rows` that is passed on unchecked. On the CPU the outputs are NumPy
arrays, on a GPU torch tensors; positions are int64, squared distances float32, or float64 where X is (and where
float32 cannot hold the squares). `covered_by` and `candidates` are positions or boolean masks; `n_jobs` counts CPU
threads (None: all that this process may use) and never changes an answer. Contracts, ties and numerics stand in
csrc/kernels/*.hpp.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyal import _cpu
from pyal.arguments import generator, number, size, vector
from pyal.arrays import Rows, as_numpy, as_positions, as_rows, cast, empty, first_few, on_device, widened
from pyal.launch import run
from pyal.least_squares import recursive_least_squares
from pyal.lloyd import lloyd

__all__ = [
    "ball_cover", "d2_sampling", "herding", "k_center_greedy", "kmeans", "knn", "purity_radius",
    "recursive_least_squares", "rows", "sqnorms", "sup_scores", "typicality",
]  # fmt: skip

# Between these bounds on the largest squared norm float32 holds every squared difference that matters.
_FLOAT32_SQNORMS = (1e-20, 1e37)
_FLOAT64_SQNORM = 4e307


def rows(X: Any, name: str = "X", *, device: Any = None) -> Rows:
    """X as `Rows`, looked at once: finite, 2-D, real. A `Rows` is passed on as it is.

    float32 and narrower types are widened to float64 where float32 could not hold the squared distances (largest
    squared norm above 1e37, or below 1e-20 and not 0). Raises ValueError naming the first rows with a NaN or an
    infinity, and what `pyal.arrays.as_rows` raises. Memory: O(n) while it looks; copies as `as_rows` says.

    >>> rows([[0.0, 1.0], [2.0, 3.0]]).n
    2
    """
    if isinstance(X, Rows):
        return as_rows(X, name, device=device)
    found = as_rows(X, name, device=device)
    if found.n >= 2**31:
        raise ValueError(f"{name} must have fewer than 2**31 rows; got {found.n}")
    norms = as_numpy(sqnorms(found), name)
    bad = np.flatnonzero(~np.isfinite(norms))
    if bad.size:
        values = as_numpy(found.take(bad[:5]), name)
        if np.isfinite(values).all():
            raise ValueError(f"{name} must have squared norms that float64 can hold; not so in row {first_few(bad)}")
        raise ValueError(f"{name} must be finite; NaN or infinity in row {first_few(bad)}")
    largest = float(norms.max())
    if largest > _FLOAT64_SQNORM:
        raise ValueError(
            f"{name} must have squared norms up to {_FLOAT64_SQNORM:g}, for float64 to hold squared "
            f"distances; got {largest:g} in row {int(norms.argmax())}"
        )
    if found.dtype != "float64" and largest > 0 and not _FLOAT32_SQNORMS[0] <= largest <= _FLOAT32_SQNORMS[1]:
        found = widened(found, "float64")
    return found


def _value_dtype(X: Rows) -> str:
    return "float64" if X.dtype == "float64" else "float32"


def _subset(a: Any, X: Rows, name: str) -> tuple[Any, int]:
    """Ascending positions on X's device and how many; (None, 0) for None."""
    if a is None:
        return None, 0
    positions = as_positions(a, X.n, name)
    # An empty selection still needs an address: None would stand for all rows.
    return on_device(positions if positions.size else np.zeros(1, np.int64), X.device), int(positions.size)


def _greedy(
    X: Any, batch_size: Any, covered_by: Any, candidates: Any
) -> tuple[Rows, int, dict[str, Any], NDArray[np.int64] | None]:
    X = rows(X)
    covered, n_covered = _subset(covered_by, X, "covered_by")
    chosen = None if candidates is None else as_positions(candidates, X.n, "candidates")
    open_rows, n_open = (None, X.n) if chosen is None else _subset(chosen, X, "candidates")
    b = size(batch_size, "batch_size", 0, n_open, " (the number of candidates)")
    subsets = {"covered": covered, "n_covered": n_covered, "candidates": open_rows, "n_candidates": n_open}
    return X, b, {"batch_size": b, **subsets, "positions": empty((b,), "int64", X.device)}, chosen


def sqnorms(X: Any, *, n_jobs: int | None = None) -> Any:
    """Squared norms of the rows, (n,) float64, accumulated in double; NaN or infinite where the row is. Memory O(n).

    >>> sqnorms([[3.0, 4.0]])
    array([25.])
    """
    X = as_rows(X)
    out = empty((X.n,), "float64", X.device)
    run("sqnorms", X, n_jobs, sqnorms=out)
    return out


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
            missing = np.full(shape, np.inf, _value_dtype(X)), np.full(shape, -1, np.int64)
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
    sqdist, positions = empty((m, k), _value_dtype(X), X.device), empty((m, k), "int64", X.device)
    run(
        "knn",
        X,
        n_jobs,
        queries=None if Q is None else Q.address,
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
    O(n).

    >>> k_center_greedy([[0.0], [1.0], [9.0], [5.0]], 3, start=0)[0].tolist()
    [0, 2, 3]
    """
    X, b, arguments, chosen = _greedy(X, batch_size, covered_by, candidates)
    first = -1
    if start is not None:
        first = size(start, "start", 0, X.n - 1)
        if chosen is not None and first not in chosen:
            raise ValueError(f"start must be one of the candidates; got {first}")
    sqradius = empty((b,), _value_dtype(X), X.device)
    run("k_center_greedy", X, n_jobs, **arguments, start=first, sqradius=sqradius)
    return arguments["positions"], sqradius


def d2_sampling(
    X: Any,
    batch_size: int,
    *,
    q: Any = None,
    covered_by: Any = None,
    candidates: Any = None,
    first: Literal["largest", "uniform"] = "largest",
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Any:
    """k-means++ picks, (b,) positions: each with probability proportional to its squared distance to what is chosen.

    With q (n, C) the rows are the outer products q_i x X_i, never formed: that is BADGE (Ash et al. 2020,
    arXiv:1906.03671). covered_by counts as chosen. With nothing covered the first pick is the row of largest norm, or
    one drawn uniformly (first="uniform"). Where all distances are 0 a candidate is drawn uniformly. q is computed
    with in float32, or float64 where X is. random_state: None, int, Generator or RandomState. Memory O(n + 65 b).

    >>> d2_sampling([[0.0], [0.0], [5.0]], 2, random_state=0).tolist()
    [2, 0]
    """
    X, b, arguments, _ = _greedy(X, batch_size, covered_by, candidates)
    if first not in ("largest", "uniform"):
        raise ValueError(f"first must be 'largest' or 'uniform'; got {first!r}")
    factor, columns = None, 0
    if q is not None:
        Q = rows(q, "q", device=X.device)
        if Q.n != X.n:
            raise ValueError(f"q must have one row per row of X, {X.n}; got {Q.n}")
        wide = widened(Q, "float64" if Q.dtype == "float64" else "float32").array
        largest = float(abs(wide).max())
        if not 1e-6 < largest < 1e6:  # a power of two changes no probability, and keeps the products of norms in range
            wide = wide * 2.0 ** -float(np.frexp(largest)[1])
        factor, columns = cast(wide, _value_dtype(X)), Q.d
    rng = generator(random_state)
    first_uniform, uniforms = rng.random(), rng.random((b, _cpu.d2_uniforms))
    run(
        "d2_sampling",
        X,
        n_jobs,
        **arguments,
        q=factor,
        q_cols=columns,
        first=int(first == "uniform"),
        first_uniform=first_uniform,
        uniforms=on_device(uniforms, X.device),
    )
    return arguments["positions"]


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
    X, b, arguments, _ = _greedy(X, batch_size, covered_by, candidates)
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
    X, b, arguments, _ = _greedy(X, batch_size, covered_by, candidates)
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
    distances Euclidean, not squared. centers: (k, d), k >= 2; assignment: (n,) in 0 .. k - 1. Memory O(n + k^2).

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
    c = widened(as_rows(as_numpy(C, "centers")), "float64")
    sqdist, others = knn(c, C.n - 1, n_jobs=n_jobs)
    apart = np.full((C.n, C.n), np.inf)
    np.put_along_axis(apart, others, np.sqrt(sqdist), axis=1)
    weights = np.exp((apart.min(1)[:, None] - apart) / number(temperature, "temperature"))
    weights /= weights.sum(1)[:, None]
    dtype = _value_dtype(X)
    scores = empty((X.n,), dtype, X.device)
    run(
        "sup_scores",
        X,
        n_jobs,
        centers=on_device(c.array.astype(dtype), X.device),
        k=C.n,
        assignment=on_device(owner, X.device),
        weights=on_device(weights.astype(dtype), X.device),
        scores=scores,
    )
    return scores


def kmeans(
    X: Any,
    n_clusters: int,
    *,
    init: Any = None,
    max_iter: int = 100,
    tol: float = 1e-4,
    n_init: int = 1,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> tuple[Any, Any, float]:
    """Lloyd's k-means: (centers (k, d), assignment (n,), inertia), the best of n_init runs by inertia.

    inertia is the sum of squared distances of the rows to their centres, and assignment is the nearest centre of those
    returned. Starts from k-means++ picks, or from init (k, d). Stops after max_iter steps, or when the squared moves
    of the centres sum to at most tol times the mean variance of the columns. Empty clusters are given the rows
    farthest from their own centre, as long as there are rows off their centre. centers are float32, or float64 where
    X is. Memory O(n + k d).

    >>> kmeans([[0.0], [1.0], [9.0], [10.0]], 2, init=[[0.0], [9.0]])[1].tolist()
    [0, 0, 1, 1]
    """
    X = rows(X)
    k = size(n_clusters, "n_clusters", 1, X.n, " (the number of rows)")
    max_iter, n_init = size(max_iter, "max_iter", 1), size(n_init, "n_init", 1)
    tol = number(tol, "tol", low=-1e-300)
    rng = generator(random_state)
    start = None
    if init is not None:
        start = rows(init, "init", device=X.device)
        if (start.n, start.d) != (k, X.d):
            raise ValueError(f"init must hold {k} centres of {X.d} columns; got shape {(start.n, start.d)}")
        if n_init != 1:
            raise ValueError(f"n_init must be 1 where init is given: all runs would be the same; got {n_init}")
    assign = partial(run, "kmeans_assign", X, n_jobs)
    mean_sqnorm = float(sqnorms(X, n_jobs=n_jobs).sum()) / X.n if tol > 0 else 0.0
    best: tuple[Any, Any, float] | None = None
    for _ in range(n_init):
        seeds = start or X.take(d2_sampling(X, k, first="uniform", random_state=rng, n_jobs=n_jobs))
        found = lloyd(X, widened(seeds, _value_dtype(X)).array, assign, max_iter, tol, mean_sqnorm)
        if best is None or found[2] < best[2]:
            best = found
    assert best is not None
    return best
