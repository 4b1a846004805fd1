"""Strategies that pick one row per cluster, cluster after cluster: TypiClust and SUPClust.

Both cluster all rows of X into min(labelled + batch_size, max_clusters) clusters. They visit the clusters with the
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
from pyal.arrays import as_numpy
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
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1]; got {fraction!r}")
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be positive; got {temperature!r}")
    centers, assignment = _clustering(pool, batch_size, rng, max_clusters)
    if len(centers) == 1:
        return _round_robin(pool, batch_size, assignment, min_cluster_size, k_nn, squared, lambda _, typical: typical)
    sup = as_numpy(
        kernels.sup_scores(pool.X, centers, assignment, temperature=float(temperature), n_jobs=pool.n_jobs), "scores"
    )

    def most_central(groups: NDArray[np.int64], typical: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.where(top_fraction_filter(typical, groups, fraction), sup, -np.inf)

    return _round_robin(pool, batch_size, assignment, min_cluster_size, k_nn, squared, most_central)


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
    """One pick per cluster and round. A round is scored as a whole: its picks bear on each other by the rules alone.

    Under rules a cluster's pick is the best of its rows that keeps them.
    """
    if int(k_nn) < 1:
        raise ValueError(f"k_nn must be at least 1; got {k_nn!r}")
    sizes = np.bincount(assignment)
    n_labeled = np.bincount(assignment[pool.labeled], minlength=len(sizes))
    order = np.lexsort((-sizes, n_labeled))  # stable: then the lowest cluster number
    large = sizes[order] > min_cluster_size
    waves = [order[large], order[~large]] if large.any() else [order]
    groups = np.where(pool.is_candidate, assignment, -1)
    upkeep = None if pool.rules is None else pool.upkeep(batch_size)
    picks: list[int] = []
    for wave in waves:
        left = np.bincount(groups[groups >= 0], minlength=len(sizes))
        while len(picks) < batch_size and left[wave].any():
            visited = wave[left[wave] > 0][: batch_size - len(picks)]
            ranked = _ranked(pool, groups, visited, left, int(k_nn), squared, choose)
            for cluster, rows in zip(visited.tolist(), ranked, strict=True):
                best = rows[:1] if upkeep is None else rows[np.isin(rows, upkeep.candidates)][:1]
                if len(best) and upkeep is not None:
                    upkeep.take(best)
                picks += best.tolist()
                groups[best if len(best) else rows] = -1  # a cluster whose rows all break a rule is used up
                left[cluster] -= len(best) or left[cluster]
    return np.array(picks, np.int64)


def _ranked(
    pool: Pool,
    groups: NDArray[np.int64],
    visited: NDArray[np.int64],
    left: NDArray[np.int64],
    k_nn: int,
    squared: bool,
    choose: Chooser,
) -> list[NDArray[np.int64]]:
    """Of each visited cluster, in the order of `visited`, the rows left: best score first, then by position."""
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
    begin = np.searchsorted(active[ordered], visited)
    return [ordered[first : first + left[cluster]] for first, cluster in zip(begin, visited, strict=True)]
