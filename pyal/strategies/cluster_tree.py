"""Clusters of clusters, and samples that are balanced over them at every level (Vo et al. 2024, arXiv:2405.15613)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy
from pyal.kernels.clustering import nearest_centers

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClusterTree:
    """Levels of clusters, the finest first.

    owners: of each level, (members,) the cluster of each member: of the rows first, then of the clusters below.
    distance: (n,) squared distance of each row to the centroid of its finest cluster.
    """

    owners: list[Ints]
    distance: NDArray[np.floating]


def cluster_tree(
    X: Matrix,
    levels: Sequence[int],
    *,
    resampling_steps: int,
    resampled: int,
    rng: np.random.Generator,
    n_jobs: int | None = None,
) -> ClusterTree:
    """k-means on the rows, then on its centroids, and so on.

    At each level k-means is repeated `resampling_steps` times on a few members of every cluster: the nearest ones to
    its centroid, half as many as a cluster has on average but at most `resampled`. So dense regions lose the centroids
    that sparse ones lack. Then all members go to the nearest of these centroids. Memory: O(n + clusters resampled d).

    levels: the number of clusters of each level, the finest first; at most as many as there are members.
    """
    members, owners = X, []
    distance: NDArray[np.floating] = np.zeros(0)
    for level, wanted in enumerate(levels):
        k = min(int(wanted), members.n)
        centers, found, _ = kernels.kmeans(members, k, random_state=rng, n_jobs=n_jobs)
        for step in range(resampling_steps + 1):
            gaps, found = _assigned(members, centers, n_jobs)
            if step < resampling_steps:
                few = min(resampled, max(1, round(members.n / (2 * k))))
                rows = _nearest_members(found, gaps, few)
                sample = members.take(rows)
                centers, _, _ = kernels.kmeans(sample, min(k, len(rows)), random_state=rng, n_jobs=n_jobs)
        used, owner = np.unique(found, return_inverse=True)
        owners.append(owner.astype(np.int64))
        if level == 0:
            distance = gaps
        members = kernels.checked_matrix(centers[used])
    return ClusterTree(owners, distance)


def balanced_picks(
    tree: ClusterTree, is_labeled: NDArray[np.bool_], candidates: Ints, batch_size: int, order: NDArray[np.floating]
) -> Ints:
    """batch_size candidates, spread over the clusters of the highest level, within each over its clusters, and so on.

    Each split is `quotas`, in which labelled rows count as picked. Within a cluster of the finest level the rows with
    the lowest `order` (n,) are picked, ties to the lowest position. The first row of each such cluster comes first,
    the clusters with the most candidates before others, then the second of each.
    """
    of_row = tree.owners[0]
    free = np.bincount(of_row[candidates], minlength=int(of_row.max()) + 1)
    taken = np.bincount(of_row[is_labeled], minlength=len(free))
    frees, takens = [free], [taken]
    for owner in tree.owners[1:]:
        frees.append(np.bincount(owner, frees[-1]).astype(np.int64))
        takens.append(np.bincount(owner, takens[-1]).astype(np.int64))
    wanted = quotas(frees[-1], takens[-1], batch_size)
    for level in range(len(tree.owners) - 1, 0, -1):
        below = np.zeros(len(frees[level - 1]), np.int64)
        for cluster in np.flatnonzero(wanted):
            inside = np.flatnonzero(tree.owners[level] == cluster)
            below[inside] = quotas(frees[level - 1][inside], takens[level - 1][inside], int(wanted[cluster]))
        wanted = below
    ordered = candidates[np.lexsort((candidates, order[candidates], of_row[candidates]))]
    rank = np.arange(len(ordered)) - (np.cumsum(free) - free)[of_row[ordered]]
    kept = rank < wanted[of_row[ordered]]
    picks, rank = ordered[kept], rank[kept]
    return picks[np.lexsort((of_row[picks], -free[of_row[picks]], rank))]


def quotas(free: Ints, taken: Ints, total: int) -> Ints:
    """How many of its free members each group gives, `total` in all, so that taken and given are as even as can be.

    Groups are filled up to a common level, as far as their members reach. What is left over goes one each to the groups
    with the most free members left, then to the lowest.

    >>> quotas(np.array([9, 1, 9]), np.array([0, 0, 3]), 6)
    array([4, 1, 1])
    """
    low, high = 0, int((free + taken).max(initial=0))  # the level: as high as `total` reaches
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if np.clip(level - taken, 0, free).sum() <= total else (low, level - 1)
    given: Ints = np.clip(low - taken, 0, free)
    open_groups = np.flatnonzero((given < free) & (given + taken <= low))
    most = open_groups[np.argsort(-(free - given)[open_groups], kind="stable")]
    given[most[: total - int(given.sum())]] += 1
    return given


def _assigned(members: Matrix, centers: Any, n_jobs: int | None) -> tuple[NDArray[np.floating], Ints]:
    """(squared distance, number) of the nearest centre of every member."""
    sqdist, nearest = nearest_centers(members, centers, n_jobs=n_jobs)
    return as_numpy(sqdist, "centers"), as_numpy(nearest, "centers")


def _nearest_members(owner: Ints, gaps: NDArray[np.floating], few: int) -> Ints:
    """Ascending positions of the `few` members of every cluster that are nearest to its centre."""
    ordered = np.lexsort((gaps, owner))
    sizes = np.bincount(owner)
    rank = np.arange(len(ordered)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(ordered[rank < few])
