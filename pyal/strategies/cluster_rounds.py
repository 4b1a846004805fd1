"""Round after round, the best row of each cluster: what TypiClust and SUPClust share once clusters are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy
from pyal.pool import Pool

# scores of one round: (groups (N,) with -1 where a row takes no part, typicality (N,)) -> (N,), largest picked
Chooser = Callable[[NDArray[np.int64], NDArray[np.floating]], NDArray[np.floating]]


def round_robin(
    pool: Pool,
    batch_size: int,
    assignment: NDArray[np.int64],
    min_cluster_size: int,
    k_nn: int,
    squared: bool,
    choose: Chooser = lambda _, typical: typical,
    typical_in: Matrix | None = None,
) -> NDArray[np.int64]:
    """One pick per cluster and round: the best of its candidates, scored among themselves.

    A round is scored as a whole, as its picks bear on each other by the rules alone: under rules a row that breaks one
    is no candidate any more, and a cluster that has lost such rows since is scored again when it is visited.

    typical_in: the rows that typicality is measured on; None: those of the pool.
    """
    source = pool.X if typical_in is None else typical_in
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

    def best_of(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
        left = _sizes(groups, len(sizes))
        return _best(pool, source, groups, clusters, left, int(k_nn), squared, choose) if len(clusters) else clusters

    def visit(clusters: NDArray[np.int64]) -> None:
        scored = _sizes(groups, len(sizes))
        clusters = clusters[scored[clusters] > 0]
        for cluster, best in zip(clusters, best_of(clusters), strict=True):
            if upkeep is not None and (left := np.count_nonzero(groups == cluster)) != scored[cluster]:
                if not left:
                    continue
                best = best_of(np.array([cluster]))[0]
            picks.append(int(best))
            groups[best] = -1
            if upkeep is not None:
                upkeep.take(np.array([best]))
                groups[np.setdiff1d(pool.candidates, upkeep.candidates, assume_unique=True)] = -1

    for wave in waves:
        while len(picks) < batch_size and len(unvisited := wave[_sizes(groups, len(sizes))[wave] > 0]):
            while len(picks) < batch_size and len(unvisited):
                now, unvisited = np.split(unvisited, [batch_size - len(picks)])
                visit(now)
    return np.array(picks, np.int64)


def _sizes(groups: NDArray[np.int64], clusters: int) -> NDArray[np.int64]:
    """How many rows each cluster has left."""
    return np.bincount(groups[groups >= 0], minlength=clusters)


def _best(
    pool: Pool,
    source: Matrix,
    groups: NDArray[np.int64],
    visited: NDArray[np.int64],
    left: NDArray[np.int64],
    k_nn: int,
    squared: bool,
    choose: Chooser,
) -> NDArray[np.int64]:
    """Of each visited cluster, which has rows left, the row of the best score; of several the lowest position."""
    k_of = np.zeros(len(left) + 1, np.int64)  # the last entry stands for group -1
    k_of[visited] = np.clip(left[visited] // 2, 1, k_nn)
    k_of_row = k_of[groups]
    typical = np.full(pool.n, -np.inf)
    for k in np.unique(k_of[visited]):
        here = k_of_row == k
        found = kernels.typicality(
            source, int(k), groups=np.where(here, groups, -1), squared=squared, n_jobs=pool.n_jobs
        )
        typical[here] = as_numpy(found, "typicality")[here]
    active = np.where(k_of_row > 0, groups, -1)
    score = choose(active, typical)
    members = np.flatnonzero(active >= 0)
    ordered = members[np.lexsort((-score[members], active[members]))]
    return ordered[np.searchsorted(active[ordered], visited)]


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
