"""Rows that stand for centroids: the nearest row to each, none of them twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy
from pyal.pool import Pool

_COPIED = 8  # fewer than one row in so many may be taken: they are copied, or knn would mostly find the others


def representatives(
    pool: Pool, rows: NDArray[np.int64], batch_size: int, subset: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The rows nearest to the centroids of k-means with batch_size clusters on these candidates.

    Each centroid takes the nearest row that is not taken yet, the largest cluster first, and among equally large ones
    that with the lowest position. Where there are fewer rows or fewer clusters, as of equal rows, candidates drawn at
    random make up for it. Memory: a copy of what is clustered, unless that is all rows of X.

    rows: ascending positions out of pool.candidates.
    subset: at most so many of them are clustered, drawn at random, but never fewer than batch_size. All are where they
        are all rows of X, which takes no copy.
    """
    most = max(int(subset), batch_size)
    if most < len(rows) < pool.n:
        rows = np.sort(rng.choice(rows, most, replace=False))
    picks = rows[:0]
    if len(rows):
        X = pool.X if len(rows) == pool.n else pool.X.take(rows)
        k = min(batch_size, len(rows))
        centers, owner, _ = kernels.kmeans(X, k, random_state=rng, n_jobs=pool.n_jobs)
        found, first, sizes = np.unique(as_numpy(owner, "assignment"), return_index=True, return_counts=True)
        order = np.lexsort((first, -sizes))
        picks = rows[nearest_distinct(X, centers[found[order]], n_jobs=pool.n_jobs)]
    return filled_at_random(pool, picks, batch_size, rng)


def filled_at_random(
    pool: Pool, picks: NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The picks and, up to batch_size, other candidates drawn at random."""
    missing = batch_size - len(picks)
    if not missing:
        return picks
    return np.concatenate([picks, rng.choice(np.setdiff1d(pool.candidates, picks), missing, replace=False)])


def nearest_distinct(
    X: Matrix, centers: Any, *, allowed: NDArray[np.bool_] | None = None, n_jobs: int | None = None
) -> NDArray[np.int64]:
    """(k,) positions: each centre, in their order, takes the nearest row that no earlier one took.

    Distances are Euclidean, and ties go to the lowest position. Memory: O(n + k), where many centres share their
    nearest rows O(n + k^2); and a copy of the allowed rows where they are fewer than an eighth, and of rows in half
    precision.

    centers: (k, d).
    allowed: (n,) mask of the rows that may be taken, k of them or more. None: all.
    """
    if allowed is not None and _COPIED * int(allowed.sum()) < X.n:
        rows = np.flatnonzero(allowed)
        taken_from: NDArray[np.int64] = rows[nearest_distinct(X.take(rows), centers, n_jobs=n_jobs)]
        return taken_from
    free = np.ones(X.n, bool) if allowed is None else allowed.copy()
    found = np.empty(len(centers), np.int64)
    done, k = 0, min(8, X.n)
    while done < len(found):
        begin, lists = done, as_numpy(kernels.knn(X, k, queries=centers[done:], n_jobs=n_jobs)[1], "positions")
        for nearest in lists:
            left = nearest[free[nearest]]
            if not left.size:  # its k nearest rows are all taken: look further, before later centres choose
                break
            found[done], free[left[0]] = left[0], False
            done += 1
        if done < len(found) or begin == done:
            k = min(2 * k, X.n)
    return found
