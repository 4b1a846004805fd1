"""Which columns of proba the labels name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool


def class_numbers(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(the classes in their order, the rank of each label's)."""
    try:
        names, numbers = np.unique(y, return_inverse=True)
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in y.tolist()}))
        raise TypeError(f"y must hold labels that can be put in order; got {kinds}") from None
    return names, numbers.astype(np.int64, copy=False)


def class_columns(pool: Pool) -> NDArray[np.int64]:
    """The columns of proba that the labels name, or stand for by their rank, as in scikit-learn's classes_."""
    assert pool.y is not None
    assert pool.proba is not None
    columns = pool.proba.shape[-1]
    names, numbers = class_numbers(pool.y)
    if all(isinstance(name, (int, float)) and name in range(columns) for name in names.tolist()):
        return pool.y.astype(np.int64)
    if len(names) != columns:
        raise ValueError(
            f"y must hold column numbers of proba, 0 .. {columns - 1}, or all its {columns} classes in their order; "
            f"got {len(names)} other classes"
        )
    return numbers.astype(np.int64)
