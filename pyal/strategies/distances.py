"""How far the rows of a pool lie apart: their spread, radii that cover or keep clusters apart, and what misses both."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import as_numpy
from pyal.pool import Pool

DEFAULT_CLASSES = 10


def spread(pool: Pool) -> float:
    """The root of the mean squared distance of a row to the mean of all rows; the rounds of a loop share one."""
    known = {} if pool.carried is None else pool.carried.setdefault("spread", {})
    if pool.metric not in known:
        _, _, inertia = kernels.kmeans(
            pool.X, 1, init=pool.X.take(np.zeros(1, np.int64)), max_iter=1, n_jobs=pool.n_jobs
        )
        known[pool.metric] = float(np.sqrt(inertia / pool.n))
    return float(known[pool.metric])


def warn_where_alike(pool: Pool, name: str, option: str, distance: float, rows: NDArray[Any]) -> None:
    """A UserWarning where all picks add just their own row to what is covered, or nothing; rows: what each adds.

    The lowest positions are picked then, whatever the rows hold.
    """
    nothing = float(rows.max()) < 1e-9
    if not nothing and float(abs(rows - 1).max()) > 1e-3:
        return
    root = spread(pool)
    if root == 0 or pool.n <= len(pool.labeled) + len(rows):  # equal rows, or all of them: any choice is right
        return
    typical = f"two rows are {np.sqrt(2) * root:.3g} apart (root mean square, metric={pool.metric!r})"
    what = "covers a row that is not covered yet" if nothing else "covers any new row but itself"
    warnings.warn(
        f"strategy {name!r}: no pick of this batch {what}, so that the choice means little; {option} is "
        f"{distance:.3g}, and {typical}",
        UserWarning,
        stacklevel=2,
    )


def warn_where_empty(pool: Pool, radius: float, rows: NDArray[Any]) -> None:
    """A UserWarning where the balls of a first batch, of ten or more, leave nine tenths of the pool uncovered."""
    share = float(rows.sum()) / pool.n
    if not len(pool.labeled) and len(rows) >= 10 and rows.max() > 1 and share < 0.1:
        warnings.warn(
            f"strategy 'probcover': the {len(rows)} balls of radius delta={radius:.3g} cover {100 * share:.1f} % of "
            f"the pool, so that the batch lies where rows are densest; two rows are {np.sqrt(2) * spread(pool):.3g} "
            f"apart (root mean square, metric={pool.metric!r})",
            UserWarning,
            stacklevel=2,
        )


def ball_radius(
    pool: Pool, batch_size: int, delta: float | str | None, coverage: float, alpha: float, n_classes: int | None
) -> float:
    """The radius that probcover's options ask for; ValueError for those that are refused."""
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must lie in (0, 1]; got {coverage!r}")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must lie in (0, 1]; got {alpha!r}")
    if n_classes is not None and not 1 <= int(n_classes) <= pool.n:
        raise ValueError(f"n_classes must lie in 1 .. {pool.n}, the rows of X; got {n_classes!r}")
    if delta is None:
        return _coverage_radius(pool, len(pool.labeled) + batch_size, float(coverage))
    if delta == "purity":
        return _purity_radius(pool, alpha, n_classes)
    if isinstance(delta, str) or not 0 < delta < np.inf:
        raise ValueError(f"delta must be a positive distance, 'purity' or None; got {delta!r}")
    return float(delta)


def _coverage_radius(pool: Pool, balls: int, share: float) -> float:
    """The least radius, to a thousandth, at which greedy balls cover this share of the pool; of the pool alone."""
    known = {} if pool.carried is None else pool.carried.setdefault("probcover: coverage", {})
    if (pool.metric, balls, share) not in known:
        size, least = min(pool.n, max(5_000, 4 * balls)), 1e-150
        rows = pool.X if size == pool.n else pool.X.take(np.arange(size) * pool.n // size)

        def covers(radius: float) -> bool:
            gains = kernels.ball_cover(rows, min(balls, size), radius, n_jobs=pool.n_jobs)[1]
            return int(as_numpy(gains, "gains").sum()) >= share * size

        low, high = least, spread(pool) or 1.0
        if covers(low):  # so many rows are equal, or so many balls there are
            high = low
        while not covers(high):
            low, high = high, 2 * high
        while high - low > 1e-3 * high:
            middle = (low + high) / 2
            low, high = (low, middle) if covers(middle) else (middle, high)
        known[pool.metric, balls, share] = high
    return float(known[pool.metric, balls, share])


def _purity_radius(pool: Pool, alpha: float, n_classes: int | None) -> float:
    """Of the pool alone, whatever the round and its random_state: the rounds of a loop share one radius."""
    known_classes = pool.n_classes if pool.first_batch is None else pool.classes
    k = min(int(n_classes or known_classes or DEFAULT_CLASSES), pool.n)
    known = {} if pool.carried is None else pool.carried.setdefault("probcover: radius", {})
    if (pool.metric, k, alpha) not in known:
        _, assignment, _ = kernels.kmeans(pool.X, k, random_state=0, n_jobs=pool.n_jobs)
        radius = float(kernels.purity_radius(pool.X, assignment, alpha, n_jobs=pool.n_jobs))
        # one cluster is pure at any radius; equal rows in two clusters leave only balls of equal rows
        known[pool.metric, k, alpha] = min(max(radius, 1e-150), 1e150)
    return float(known[pool.metric, k, alpha])
