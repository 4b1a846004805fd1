"""Kernels that cover: each pick is the row that adds most to what lies near a chosen row."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from pyal.arrays import empty, first_few, number, on_device, size, vector
from pyal.kernels.launcher import launch
from pyal.kernels.matrices import greedy, value_dtype


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

    Each pick is the candidate farthest from what covered_by and the earlier picks cover, and sqradius is its squared
    distance to that: +inf for a first pick with nothing covered. Ties go to the lowest position. Memory: O(n), and on
    CPUs the latest picks, at most 2048, packed in 2 to 4 bytes per value. Gonzalez 1985; Sener & Savarese 2018,
    arXiv:1708.00489.

    batch_size: b, at most the number of candidates.
    start: position of the first pick. None: the rule picks it, or the lowest candidate where nothing is covered.

    >>> k_center_greedy([[0.0], [1.0], [9.0], [5.0]], 3, start=0)[0].tolist()
    [0, 2, 3]
    """
    asked = greedy(X, batch_size, covered_by, candidates)
    X, b, chosen = asked.X, asked.batch_size, asked.candidates
    first = -1
    if start is not None:
        first = size(start, "start", 0, X.n - 1)
        if chosen is not None and first not in chosen:
            raise ValueError(f"start must be one of the candidates; got {first}")
    sqradius = empty((b,), value_dtype(X), X.device)
    launch("k_center_greedy", X, n_jobs, **asked.fields, start=first, sqradius=sqradius)
    return asked.positions, sqradius


def ball_cover(
    X: Any, batch_size: int, radius: float, *, covered_by: Any = None, candidates: Any = None, n_jobs: int | None = None
) -> tuple[Any, Any]:
    """Greedy maximum coverage by balls: (positions (b,), gains (b,)) (ProbCover, Yehuda et al. 2022, arXiv:2205.11320).

    A row covers every row at Euclidean distance (not squared) strictly below radius, itself included. Each pick is the
    candidate that covers most rows that nothing covers yet, and gains are these numbers, int64. Ties go to the lowest
    position. Once gains are 0, every candidate is covered and the other picks are the lowest candidates left. Memory:
    O(n).

    batch_size: b, at most the number of candidates.
    radius: of the balls, above 0.

    >>> ball_cover([[0.0], [1.0], [2.0], [9.0]], 2, 1.5)
    (array([1, 3]), array([3, 1]))
    """
    asked = greedy(X, batch_size, covered_by, candidates)
    X, b = asked.X, asked.batch_size
    gains = empty((b,), "int64", X.device)
    reach = number(radius, "radius", infinite=True)
    sqradius = max(reach * reach, sys.float_info.min)  # a square that vanishes would not even cover equal rows
    launch("ball_cover", X, n_jobs, **asked.fields, sqradius=sqradius, gains=gains)
    return asked.positions, gains


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
    """Greedy kernel coverage: (positions (b,), gains (b,) float64) (MaxHerding, Bae et al. 2024, arXiv:2407.12212).

    Each pick raises mean_x weights_x max_s k(x, s) over the chosen s most, where k(x, s) = exp(-|x - s|^2 /
    bandwidth^2), and gains are the increases of that mean. Ties go to the lowest position. Memory: O(n).

    batch_size: b, at most the number of candidates.
    bandwidth: a Euclidean distance (not squared), above 0.
    weights: (n,), at least 0, what the rows count. None: all rows count alike.

    >>> herding([[0.0], [0.1], [0.2], [9.0]], 2)[0].tolist()
    [1, 3]
    """
    asked = greedy(X, batch_size, covered_by, candidates)
    X, b = asked.X, asked.batch_size
    if weights is not None:
        weights = vector(weights, X.n, "weights", "iufb", "float64")
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if bad.size:
            raise ValueError(f"weights must be finite and not negative; got {weights[bad[0]]} at {first_few(bad)}")
        largest = float(weights.max())
        weights = on_device(weights / largest if largest > 0 else weights, X.device)
    gains = empty((b,), "float64", X.device)
    launch("herding", X, n_jobs, **asked.fields, bandwidth=number(bandwidth, "bandwidth"), weights=weights, gains=gains)
    return asked.positions, gains if weights is None else gains * largest
