"""Cluster pseudo-labels: classes made of clusters, for a look-ahead that knows few labels or none."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy, generator, size, vector
from pyal.kernels.clustering import constrained_clusters
from pyal.kernels.constraints import components


def cluster_pseudo_labels(
    X: Any,
    n_initial: int,
    *,
    labels: Any = None,
    predictions: Any = None,
    max_clusters: int = 100,
    constraints: str = "cannot_link",
    random_state: Any = None,
    n_jobs: int | None = None,
) -> NDArray[np.int64]:
    """Cluster pseudo-labels of the rows of X, (n,) int64 from 0 up (Wen et al. 2024, arXiv:2306.04099, Algorithm 2).

    With nothing labelled they are k-means with n_initial clusters. With labels they begin as constrained k-means with
    n_initial clusters. Then the cluster with the most confusing rows is split by plain 2-means, again and again, up to
    min(labelled // 2, max_clusters) clusters. A row is confusing where its class is not the most frequent of its
    cluster (ties go to the lowest class), and its class is its label, or its prediction where it has none. Ties go to
    the larger cluster, then to the lower number; the half with the lowest position keeps the number. Clusters of one
    row, or of equal rows only, are never split. Distances are squared Euclidean ones.

    X: (n, d), self-supervised features or activations of the current classifier.
    n_initial: clusters to begin with. More than there are rows means one cluster for each row.
    labels: (n,) class numbers, -1 where there is none. None: nothing is labelled.
    predictions: (n,) class numbers, needed once anything is labelled.
    max_clusters: the largest number of clusters that splitting leads to.
    constraints: as in `kernels.constrained_kmeans`. The paper does not say which it takes; must-link would put all
        labels of a class into one cluster.
    random_state: None, an int, a Generator or a RandomState.
    n_jobs: CPU threads, None for all.

    A UserWarning says where labels are of more classes than n_initial clusters can keep apart. Raises ValueError or
    TypeError that names the argument. Memory: O(n + clusters d), and a copy of the rows of the cluster that is split.

    >>> cluster_pseudo_labels([[0.0], [0.1], [5.0], [5.1]], 2, random_state=0).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
    True
    """
    X = kernels.checked_matrix(X)
    k = min(size(n_initial, "n_initial", 1), X.n)
    most = size(max_clusters, "max_clusters", 1)
    rng = generator(random_state)
    known = np.full(X.n, -1) if labels is None else _class_numbers(labels, X.n, "labels")
    n_labeled = int((known >= 0).sum())
    components(np.full(1, -1), constraints, 1)  # what they are is looked at, labelled or not
    if n_labeled == 0:
        return _host(kernels.kmeans(X, k, random_state=rng, n_jobs=n_jobs)[1])
    if predictions is None:
        raise ValueError(f"predictions must be given once rows are labelled: {n_labeled} are, and None came")
    predicted = _class_numbers(predictions, X.n, "predictions")
    if predicted[known < 0].min(initial=0) < 0:
        row = int(np.flatnonzero((known < 0) & (predicted < 0))[0])
        raise ValueError(f"predictions must hold a class for every row without a label; got {predicted[row]} at {row}")
    (_, found, _), given_up = constrained_clusters(X, k, known, constraints, random_state=rng, n_jobs=n_jobs)
    if given_up.size:
        warnings.warn(
            f"cluster pseudo-labels: {len(np.unique(known[known >= 0]))} classes are labelled and there are {k} "
            f"initial clusters, so that labels of different classes share some",
            UserWarning,
            stacklevel=2,
        )
    classes = np.unique(np.where(known >= 0, known, predicted), return_inverse=True)[1]
    return _split_confused(X, _host(found), classes, k, min(n_labeled // 2, most), rng, n_jobs)


def _split_confused(
    X: Matrix,
    assignment: NDArray[np.int64],
    classes: NDArray[np.int64],
    k: int,
    wanted: int,
    rng: np.random.Generator,
    n_jobs: int | None,
) -> NDArray[np.int64]:
    sizes = np.bincount(assignment, minlength=max(k, wanted))
    confusing = np.full(len(sizes), -1)
    for c in range(k):
        confusing[c] = _confusing(classes[assignment == c])
    whole = sizes < 2  # never split
    while k < min(wanted, X.n) and not whole[:k].all():
        splittable = np.flatnonzero(~whole[:k])
        c = int(splittable[np.lexsort((splittable, -sizes[splittable], -confusing[splittable]))[0]])
        members = np.flatnonzero(assignment == c)
        half = _host(kernels.kmeans(X.take(members), 2, random_state=rng, n_jobs=n_jobs)[1])
        moved = members[half != half[0]]
        if not moved.size:
            whole[c] = True
            continue
        assignment[moved] = k
        for child in (c, k):
            rows = assignment == child
            sizes[child], confusing[child] = rows.sum(), _confusing(classes[rows])
            whole[child] = sizes[child] < 2
        k += 1
    return assignment


def _confusing(classes: NDArray[np.int64]) -> int:
    """Rows whose class is not the most frequent one."""
    return len(classes) - int(np.bincount(classes).max()) if len(classes) else 0


def _class_numbers(a: Any, n: int, name: str) -> NDArray[np.int64]:
    found = vector(a, n, name, "iu", "int64")
    if n and found.min() < -1:
        raise ValueError(f"{name} must hold class numbers from 0 up, or -1; got {found.min()}")
    return found


def _host(a: Any) -> NDArray[np.int64]:
    return as_numpy(a, "assignment").astype(np.int64, copy=True)
