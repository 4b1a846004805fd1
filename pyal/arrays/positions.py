"""Positions or a boolean mask, as ascending positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays.matrix import as_numpy
from pyal.arrays.messages import first_few


def as_positions(a: Any, n: int, name: str) -> NDArray[np.int64]:
    """Positions or a boolean mask of n rows as ascending distinct int64 positions.

    Raises TypeError for anything but integers or booleans, ValueError for a mask of another length, positions outside
    0 .. n - 1 (negative ones do not count from the end) and positions that come twice.

    >>> as_positions([2, 0], 4, "labeled")
    array([0, 2])
    """
    array = as_numpy(a, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D (positions or a boolean mask); got shape {array.shape}")
    if array.dtype.kind == "b":
        if array.shape[0] != n:
            raise ValueError(f"{name} as a boolean mask must have one entry per row, {n}; got {array.shape[0]}")
        return np.flatnonzero(array).astype(np.int64, copy=False)
    if array.shape[0] == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integer positions or a boolean mask; got dtype {array.dtype}")
    outside = np.flatnonzero((array < 0) | (array >= n))
    if outside.size:
        raise ValueError(f"{name} must lie in 0 .. {n - 1}; got {first_few(array[outside])}")
    positions = np.sort(array).astype(np.int64, copy=False)
    twice = positions[1:][positions[1:] == positions[:-1]]
    if twice.size:
        raise ValueError(f"{name} must hold every position once; got more than once: {first_few(np.unique(twice))}")
    return positions
