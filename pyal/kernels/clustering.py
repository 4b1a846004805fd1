"""k-means, free and constrained, and the scores of SUPClust."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import (
    Matrix,
    as_numpy,
    cast,
    empty,
    first_few,
    generator,
    number,
    on_device,
    row_blocks,
    size,
    vector,
    widened,
)
from pyal.kernels.constraints import Components, components
from pyal.kernels.launcher import launch
from pyal.kernels.lloyd import lloyd
from pyal.kernels.matrices import checked_matrix, sqnorms, value_dtype
from pyal.kernels.memory import Scratch
from pyal.kernels.progress import Progress
from pyal.kernels.sampling import d2_sampling


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

    inertia is the sum of squared distances of the rows to their centres, and assignment names the nearest of the
    centres returned. An empty cluster is given the row farthest from its own centre, as long as a row is off its
    centre. centers are float32, or float64 where X is. Memory: O(n + k d), and on CPUs with bfloat16 arithmetic up to
    256 MB of rows, kept at 2 bytes per value.

    n_clusters: k.
    init: (k, d) first centres. None: picks of k-means++.
    max_iter: it stops after this many steps.
    tol: it also stops when the squared moves of the centres sum to at most tol times the mean variance of the columns.
    n_init: how many runs are made, each from other picks.

    >>> kmeans([[0.0], [1.0], [9.0], [10.0]], 2, init=[[0.0], [9.0]])[1].tolist()
    [0, 0, 1, 1]
    """
    X, k, start = _start(X, n_clusters, init)
    n_init, rng = size(n_init, "n_init", 1), generator(random_state)
    if start is not None and n_init != 1:
        raise ValueError(f"n_init must be 1 where init is given: all runs would be the same; got {n_init}")
    iterate = _iteration(X, max_iter, tol, n_jobs)
    best: tuple[Any, Any, float] | None = None
    for _ in range(n_init):
        found = iterate(_seeds(X, k, start, rng, n_jobs))
        if best is None or found[2] < best[2]:
            best = found
    assert best is not None
    return best


def constrained_kmeans(
    X: Any,
    n_clusters: int,
    *,
    labels: Any,
    constraints: Any = "cannot_link",
    init: Any = None,
    max_iter: int = 100,
    tol: float = 1e-4,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> tuple[Any, Any, float]:
    """k-means under pairwise constraints: (centers (k, d), assignment (n,), inertia), as from `kmeans`.

    The method is COP-KMeans (Wagstaff et al. 2001). Every step places the constrained rows first, in one random order.
    Rows that are linked are placed together, as one point, at the nearest centre that no constraint rules out. If all
    of them staying where they are is better, they stay, so that no step adds to the inertia. Then the other rows go to
    their nearest centre. The assignment keeps the constraints and belongs to the centres returned. Where nothing is
    constrained, the result is bit for bit what `kmeans` returns.

    labels: (n,) integers, -1 for a row without constraints; None where constraints are pairs.
    constraints: "cannot_link" (rows of different labels share no cluster), "must_link" (rows of one label share a
        cluster), "both", or pairs of rows {"must_link": (p, 2), "cannot_link": (q, 2)}, of which either may be left
        out.
    n_clusters, init, max_iter, tol: as in `kmeans`.

    Labels can always be kept where there are at most n_clusters of them, and pairs where each linked group has fewer
    than n_clusters others to keep away from. A group for which no centre is left goes to the nearest one, and a
    UserWarning names its rows. Pairs that contradict each other are a ValueError. Empty clusters are refilled with
    unconstrained rows, or keep their centre. Memory: as `kmeans`, up to 1024 k distances (4096 k on a GPU), and float64
    means of what is constrained.

    >>> constrained_kmeans([[0.0], [1.0], [9.0]], 2, labels=[0, 1, -1], init=[[0.0], [9.0]], random_state=1)[1].tolist()
    [0, 1, 1]
    """
    found, given_up = constrained_clusters(
        X, n_clusters, labels, constraints, init, max_iter, tol, random_state, n_jobs
    )
    if given_up.size:
        warnings.warn(
            f"constrained_kmeans: no cluster of {n_clusters} was left for row {first_few(given_up)}; placed with the "
            f"nearest centre, against their cannot-link constraints",
            UserWarning,
            stacklevel=2,
        )
    return found


def constrained_clusters(
    X: Any,
    n_clusters: int,
    labels: Any,
    constraints: Any,
    init: Any = None,
    max_iter: int = 100,
    tol: float = 1e-4,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> tuple[tuple[Any, Any, float], NDArray[np.int64]]:
    """What `constrained_kmeans` returns, and the ascending rows whose constraints were given up."""
    X, k, start = _start(X, n_clusters, init)
    linked, rng = components(labels, constraints, X.n), generator(random_state)
    iterate = _iteration(X, max_iter, tol, n_jobs)
    seeds = _seeds(X, k, start, rng, n_jobs)
    if linked is None:
        return iterate(seeds), np.empty(0, np.int64)
    relaxed = empty((linked.n,), "uint8", X.device)
    fix = _placing(X, linked, rng.permutation(linked.n), relaxed, n_jobs)
    found = iterate(seeds, fix=fix)
    return found, np.sort(linked.rows[as_numpy(relaxed, "relaxed")[linked.component] > 0])


def nearest_centers(X: Matrix, centers: Any, *, n_jobs: int | None = None) -> tuple[Any, Any]:
    """(squared distance, number) of the nearest centre of every row, (n,) each; ties go to the lowest number.

    Rows of every storage type are taken as they are. Memory: O(n + k d).
    """
    C = widened(checked_matrix(centers, "centers", device=X.device), value_dtype(X))
    state = {"assignment": empty((X.n,), "int64", X.device), "upper": empty((X.n,), value_dtype(X), X.device),
             "lower": empty((X.n,), value_dtype(X), X.device), "sums": empty((C.n, X.d), "float64", X.device),
             "counts": empty((C.n,), "int64", X.device)}  # fmt: skip
    sqdist = empty((X.n,), value_dtype(X), X.device)
    launch("kmeans_assign", X, n_jobs, scratch=Scratch(), centers=C.array, k=C.n, moved=None, fixed=None, **state,
           sqdist=sqdist)  # fmt: skip
    return sqdist, state["assignment"]


def _start(X: Any, n_clusters: Any, init: Any) -> tuple[Matrix, int, Matrix | None]:
    X = checked_matrix(X)
    k = size(n_clusters, "n_clusters", 1, X.n, " (the number of rows)")
    if init is None:
        return X, k, None
    start = checked_matrix(init, "init", device=X.device)
    if (start.n, start.d) != (k, X.d):
        raise ValueError(f"init must hold {k} centres of {X.d} columns; got shape {(start.n, start.d)}")
    return X, k, start


def _seeds(X: Matrix, k: int, start: Matrix | None, rng: np.random.Generator, n_jobs: int | None) -> Any:
    """The first centres, in X's value type."""
    seeds = start or X.take(d2_sampling(X, k, first="uniform", random_state=rng, n_jobs=n_jobs))
    return widened(seeds, value_dtype(X)).array


def _iteration(X: Matrix, max_iter: Any, tol: Any, n_jobs: int | None) -> Callable[..., tuple[Any, Any, float]]:
    """`lloyd` on X, all but its first centres."""
    max_iter, tol = size(max_iter, "max_iter", 1), number(tol, "tol", low=-1e-300)
    mean_sqnorm = float(sqnorms(X, n_jobs=n_jobs).sum()) / X.n if tol > 0 else 0.0

    def iterate(centers: Any, fix: Callable[[Any], Any] | None = None) -> tuple[Any, Any, float]:
        with Progress("kmeans", max_iter + 1) as progress:
            assign = partial(launch, "kmeans_assign", X, n_jobs, progress=progress, scratch=Scratch())
            return lloyd(X, centers, assign=assign, max_iter=max_iter, tol=tol, mean_sqnorm=mean_sqnorm, fix=fix)

    return iterate


def _placing(X: Matrix, linked: Components, order: Any, relaxed: Any, n_jobs: int | None) -> Callable[[Any], Any]:
    """What binds the constrained rows to centres, as `lloyd` wants it; relaxed (components,) is written every time."""
    optional = {"colour": linked.colour, "conflict_start": linked.conflict_start, "conflicts": linked.conflicts}
    given = {name: None if a is None else on_device(a, X.device) for name, a in optional.items()}
    given |= {"order": on_device(order, X.device), "n_colours": linked.n_colours}
    points, assignment = _means(X, linked), empty((linked.n,), "int64", X.device)
    bound, component = on_device(linked.rows, X.device), on_device(linked.component, X.device)
    fixed = on_device(np.full(X.n, -1), X.device)
    given["weight"] = on_device(np.bincount(linked.component).astype(np.float64), X.device)
    place = partial(launch, "constrained_assign", points, n_jobs, **given, assignment=assignment, relaxed=relaxed)
    passes = count()

    def fix(centers: Any) -> Any:
        place(centers=centers, k=int(centers.shape[0]), again=int(next(passes) > 0))
        fixed[bound] = assignment[component]
        return fixed

    return fix


def _means(X: Matrix, linked: Components) -> Matrix:
    """The mean row of every component, in X's value type; sums are double, a few MB of rows at a time."""
    sums = np.zeros((linked.n, X.d))
    for block in row_blocks(linked.rows.size, X.d):
        component = linked.component[block]
        heads = np.flatnonzero(np.diff(component, prepend=-1))
        part = as_numpy(widened(X.take(linked.rows[block]), "float64"), "X")
        sums[component[heads]] += np.add.reduceat(part, heads, axis=0)
    sums /= np.bincount(linked.component)[:, None]
    return Matrix(on_device(cast(sums, value_dtype(X)), X.device), value_dtype(X), X.device)


def sup_scores(X: Any, centers: Any, assignment: Any, *, temperature: float = 1.0, n_jobs: int | None = None) -> Any:
    """SUP scores, (n,): how close every row lies to the clusters other than its own (SUPClust, arXiv:2403.03741).

    The score is 1 / sum_j w_j |x - c_j| over the centres j other than assignment[i], where w is the softmax of -|c_own
    - c_j| / temperature. Distances are Euclidean, not squared. Memory: O(n + k^2 + k d).

    centers: (k, d), with k at least 2.
    assignment: (n,) in 0 .. k - 1, the cluster of every row.
    temperature: above 0. The larger it is, the more equally the clusters count.

    >>> sup_scores([[0.0], [1.0]], [[0.0], [4.0]], [0, 0]).tolist()
    [0.25, 0.3333333333333333]
    """
    X = checked_matrix(X)
    C = checked_matrix(centers, "centers", device=X.device)
    if C.d != X.d:
        raise ValueError(f"centers must have the {X.d} columns of X; got {C.d}")
    if C.n < 2:
        raise ValueError("centers must have at least 2 rows: with one cluster there is no other to be close to")
    owner = vector(assignment, X.n, "assignment", "iu", "int64")
    if owner.min() < 0 or owner.max() >= C.n:
        raise ValueError(f"assignment must lie in 0 .. {C.n - 1}; got {owner.min()} .. {owner.max()}")
    scores = empty((X.n,), value_dtype(X), X.device)
    launch(
        "sup_scores",
        X,
        n_jobs,
        centers=widened(C, value_dtype(X)).array,
        k=C.n,
        assignment=on_device(owner, X.device),
        temperature=number(temperature, "temperature"),
        scores=scores,
    )
    return scores
