"""Strategies that pick one row per cluster, cluster after cluster: TypiClust, SUPClust and LCMD.

The first two make min(labelled + batch_size, max_clusters) clusters of all rows of X. They visit the clusters with the
fewest labelled rows first (among those the largest first, then the lowest number) and take one row from each, round
after round. Only the candidates of a cluster that are not yet picked are ranked, and among these alone typicality is
measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy
from pyal.pool import Pool
from pyal.strategies.registry import strategy

# scores of one round: (groups (N,) with -1 where a row takes no part, typicality (N,)) -> (N,), largest picked
Chooser = Callable[[NDArray[np.int64], NDArray[np.floating]], NDArray[np.floating]]


@strategy(
    "typiclust",
    aliases=("tpc_rp", "typiclust_rp"),
    memory="O(N + clusters d)",
    metric="cosine",
    citation="Hacohen, Dekel & Weinshall 2022, arXiv:2202.02794",
)
def typiclust(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    max_clusters: int = 500,
    min_cluster_size: int = 5,
    k_nn: int = 20,
    squared: bool = True,
) -> NDArray[np.int64]:
    """Picks the most typical row of each cluster, from the clusters with the fewest labels first.

    Typicality is 1 / (mean squared distance to the k nearest rows + 1e-5). Here k is k_nn or, where that is less, half
    the number of rows left in the cluster, rounded down.

    max_clusters: the largest number of clusters. A batch that would need more visits them again.
    min_cluster_size: clusters of at most this many rows are left out until nothing else is left. Where all clusters are
        that small, none is left out.
    k_nn: how many nearest rows typicality looks at.
    squared: False takes plain distances, as the paper prints them; the authors' code squares them.

    Differs from its source where the authors' code fails: the last row of a cluster is simply taken (there: the mean of
    nothing), a cluster with no row left is skipped (there: an error), and labels are counted by cluster number.
    """
    assignment = _clustering(pool, batch_size, rng, max_clusters)[1]
    return _round_robin(pool, batch_size, assignment, min_cluster_size, k_nn, squared, lambda _, typical: typical)


@strategy(
    "supclust", memory="O(N + clusters (d + clusters))", metric="cosine", citation="Ono et al. 2024, arXiv:2403.03741"
)
def supclust(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    temperature: float = 1.0,
    fraction: float = 0.10,
    max_clusters: int = 500,
    min_cluster_size: int = 5,
    k_nn: int = 20,
    squared: bool = True,
    centers: str = "kmeans",
) -> NDArray[np.int64]:
    """Picks, of each cluster's most typical rows, the one closest to the other clusters.

    Clusters are made and visited, and typicality is measured, as in typiclust. Of the rows left in a cluster the most
    typical ones are kept, and of these the row with the largest 1 / (weighted mean distance to the other centres) is
    picked. The weights are softmax(-|c_i - c_j| / temperature) over all other clusters, and distances are Euclidean
    (not squared). Where there is only one cluster, the picks are typiclust's.

    temperature: how slowly the weights fall with the distance of two centres. On normalised rows these distances hardly
        differ, so that the paper's 1 weighs all clusters about equally.
    fraction: the share of a cluster's rows that is kept, in (0, 1]; at least one row is.
    max_clusters: the largest number of clusters, as in typiclust.
    min_cluster_size: clusters of at most this many rows are left out until nothing else is left, as in typiclust.
    k_nn: how many nearest rows typicality looks at.
    squared: False takes plain distances for typicality.
    centers: what stands for a cluster in these distances. "kmeans" is the centre that k-means returns, to which each of
        its rows is nearest; "mean" is the mean of these rows. They differ where k-means stops before all is still.
    """
    if centers not in ("kmeans", "mean"):
        raise ValueError(f"centers must be 'kmeans' or 'mean'; got {centers!r}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1]; got {fraction!r}")
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be positive; got {temperature!r}")
    middles, assignment = _clustering(pool, batch_size, rng, max_clusters)
    if centers == "mean":  # one step of Lloyd's from here: the assignment to these centres is known, and its means
        middles = kernels.kmeans(pool.X, len(middles), init=middles, max_iter=1, tol=0.0, n_jobs=pool.n_jobs)[0]
    if len(middles) == 1:
        return _round_robin(pool, batch_size, assignment, min_cluster_size, k_nn, squared, lambda _, typical: typical)
    sup = as_numpy(
        kernels.sup_scores(pool.X, middles, assignment, temperature=float(temperature), n_jobs=pool.n_jobs), "scores"
    )

    def most_central(groups: NDArray[np.int64], typical: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.where(top_fraction_filter(typical, groups, fraction), sup, -np.inf)

    return _round_robin(pool, batch_size, assignment, min_cluster_size, k_nn, squared, most_central)


@strategy(
    "lcmd",
    memory="O(N + labels d)",
    needs_with=(("cluster_on", "al", "features"),),
    citation="Holzmueller et al. 2023, arXiv:2203.09410",
)
def lcmd(
    pool: Pool, batch_size: int, *, rng: np.random.Generator, first: str = "norm", cluster_on: str = "self"
) -> NDArray[np.int64]:
    """Picks, again and again, the row of the largest cluster that is farthest from its centre.

    LCMD stands for largest cluster maximum distance. The labelled and the picked rows are the centres, and every
    candidate belongs to the nearest one; where two are equally near, to the lower labelled row or the earlier pick. The
    size of a cluster is the sum of the squared distances of its candidates to the centre, in float64. Of clusters of
    one size the centre that came first is taken, labelled rows by position.

    first: the first pick where nothing is labelled: "norm" (the row of the largest norm, as in the paper) or "random".
    cluster_on: "self" measures distances in X. "al" measures them in `features`, the activations of the last
        classifier, once rows are labelled.

    Differs from its source: the paper measures distances by kernels of the trained network, of which
    cluster_on="al" is that of the last layer; it also offers sketches of full gradients.
    """
    if first not in ("norm", "random"):
        raise ValueError(f"first must be 'norm' or 'random'; got {first!r}")
    if cluster_on not in ("self", "al"):
        raise ValueError(f"cluster_on must be 'self' or 'al'; got {cluster_on!r}")
    X, centers, owner = pool.X, pool.labeled, np.zeros(pool.n, np.int64)
    if len(centers):
        if cluster_on == "al":
            assert pool.features is not None
            X = pool.features
        owner = as_numpy(kernels.knn(X.gathered(centers), 1, queries=X, n_jobs=pool.n_jobs)[1], "positions")[:, 0]
    elif first == "norm":
        centers = pool.candidates[[np.argmax(pool.sqnorms[pool.candidates])]]
    else:
        centers = rng.choice(pool.candidates, 1)
    nearest = kernels.Carried()
    sqdist = _distances_to(X, centers, nearest, pool.n_jobs)
    while len(centers) < len(pool.labeled) + batch_size:
        members = np.setdiff1d(pool.candidates, centers, assume_unique=True)
        sizes = np.bincount(owner[members], sqdist[members], len(centers))
        sizes[np.bincount(owner[members], minlength=len(centers)) == 0] = -1  # a cluster of size 0 may have rows
        members = members[owner[members] == sizes.argmax()]
        centers = np.append(centers, members[sqdist[members].argmax()])
        before, sqdist = sqdist, _distances_to(X, centers, nearest, pool.n_jobs)
        owner[sqdist < before] = len(centers) - 1
    return centers[len(pool.labeled) :]


def _distances_to(
    X: Matrix, centers: NDArray[np.int64], carried: kernels.Carried, n_jobs: int | None
) -> NDArray[np.float64]:
    """(N,) squared distances to the nearest centre, of which only those that `carried` does not know are looked at."""
    kernels.k_center_greedy(X, 0, covered_by=centers, carried=carried, n_jobs=n_jobs)
    return as_numpy(carried.sqdist, "distances").astype(np.float64)


def top_fraction_filter(scores: Any, groups: Any, fraction: float) -> NDArray[np.bool_]:
    """(N,) mask of the rows with the largest scores of their group, max(1, ceil(fraction * group size)) of each.

    Ties go to the lowest position. Raises ValueError for a fraction outside (0, 1]. Memory: O(N).

    scores: (N,), larger is better, +inf allowed.
    groups: (N,) integers. Rows of a negative group are left out and are False.
    fraction: the share of each group that is kept.

    >>> top_fraction_filter([1.0, 3.0, 2.0, 5.0], [0, 0, 0, 1], 0.5)
    array([False,  True,  True,  True])
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1]; got {fraction!r}")
    scores, groups = as_numpy(scores, "scores"), as_numpy(groups, "groups")
    if scores.ndim != 1 or scores.shape != groups.shape:
        raise ValueError(f"scores and groups must both be (N,); got {scores.shape} and {groups.shape}")
    members = np.flatnonzero(groups >= 0)
    ordered = members[np.lexsort((-scores[members], groups[members]))]  # by group, best first, lowest position first
    sizes = np.bincount(groups[members])
    rank = np.arange(len(ordered)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # rounded first: 0.1 * 70 is 7.000000000000001 and must keep 7
    keep = np.array([max(1, math.ceil(round(fraction * int(size), 9))) for size in sizes], np.int64)
    mask = np.zeros(len(groups), bool)
    mask[ordered] = rank < np.repeat(keep, sizes)
    return mask


def _clustering(
    pool: Pool, batch_size: int, rng: np.random.Generator, max_clusters: int
) -> tuple[Any, NDArray[np.int64]]:
    """Centres, where X lives, and assignment, on the host."""
    if int(max_clusters) < 1:
        raise ValueError(f"max_clusters must be at least 1; got {max_clusters!r}")
    k = min(len(pool.labeled) + batch_size, int(max_clusters), pool.n)
    centers, assignment, _ = kernels.kmeans(pool.X, k, random_state=rng, n_jobs=pool.n_jobs)
    return centers, as_numpy(assignment, "assignment").astype(np.int64, copy=False)


def _round_robin(
    pool: Pool,
    batch_size: int,
    assignment: NDArray[np.int64],
    min_cluster_size: int,
    k_nn: int,
    squared: bool,
    choose: Chooser,
) -> NDArray[np.int64]:
    """One pick per cluster and round. A round's picks do not depend on each other, so that it is scored as a whole."""
    if int(k_nn) < 1:
        raise ValueError(f"k_nn must be at least 1; got {k_nn!r}")
    sizes = np.bincount(assignment)
    n_labeled = np.bincount(assignment[pool.labeled], minlength=len(sizes))
    order = np.lexsort((-sizes, n_labeled))  # stable: then the lowest cluster number
    large = sizes[order] > min_cluster_size
    waves = [order[large], order[~large]] if large.any() else [order]
    groups = np.where(pool.is_candidate, assignment, -1)
    picks: list[int] = []
    for wave in waves:
        left = np.bincount(groups[groups >= 0], minlength=len(sizes))
        while len(picks) < batch_size and left[wave].any():
            visited = wave[left[wave] > 0][: batch_size - len(picks)]
            chosen = _best_of_each(pool, groups, visited, left, int(k_nn), squared, choose)
            picks += chosen.tolist()
            groups[chosen] = -1
            left[visited] -= 1
    return np.array(picks, np.int64)


def _best_of_each(
    pool: Pool,
    groups: NDArray[np.int64],
    visited: NDArray[np.int64],
    left: NDArray[np.int64],
    k_nn: int,
    squared: bool,
    choose: Chooser,
) -> NDArray[np.int64]:
    """The row of the largest score in each visited cluster, in the order of `visited`, ties to the lowest position."""
    k_of = np.zeros(len(left) + 1, np.int64)  # the last entry stands for group -1
    k_of[visited] = np.clip(left[visited] // 2, 1, k_nn)
    k_of_row = k_of[groups]
    typical = np.full(pool.n, -np.inf)
    for k in np.unique(k_of[visited]):
        here = k_of_row == k
        found = kernels.typicality(
            pool.X, int(k), groups=np.where(here, groups, -1), squared=squared, n_jobs=pool.n_jobs
        )
        typical[here] = as_numpy(found, "typicality")[here]
    active = np.where(k_of_row > 0, groups, -1)
    score = choose(active, typical)
    members = np.flatnonzero(active >= 0)
    ordered = members[np.lexsort((-score[members], active[members]))]
    first = np.searchsorted(active[ordered], visited)
    return ordered[first]
