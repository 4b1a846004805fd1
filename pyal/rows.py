"""Rows as kernels take them: looked at once, and the types that are computed from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyal.arrays import Rows, as_numpy, as_rows, empty, first_few, widened
from pyal.launch import run

# Between these bounds on the largest squared norm float32 holds every squared difference that matters.
_FLOAT32_SQNORMS = (1e-20, 1e37)
_FLOAT64_SQNORM = 4e307


def rows(X: Any, name: str = "X", *, device: Any = None) -> Rows:
    """X as `Rows`, looked at once: finite, 2-D, real. A `Rows` is passed on as it is.

    float32 and narrower types are widened to float64 where float32 could not hold the squared distances (largest
    squared norm above 1e37, or below 1e-20 and not 0). Raises ValueError naming the first rows with a NaN or an
    infinity, and what `pyal.arrays.as_rows` raises. Memory: O(n) while it looks; copies as `as_rows` says.

    >>> rows([[0.0, 1.0], [2.0, 3.0]]).n
    2
    """
    if isinstance(X, Rows):
        return as_rows(X, name, device=device)
    found = as_rows(X, name, device=device)
    if found.n >= 2**31:
        raise ValueError(f"{name} must have fewer than 2**31 rows; got {found.n}")
    norms = as_numpy(sqnorms(found), name)
    bad = np.flatnonzero(~np.isfinite(norms))
    if bad.size:
        values = as_numpy(found.take(bad[:5]), name)
        if np.isfinite(values).all():
            raise ValueError(f"{name} must have squared norms that float64 can hold; not so in row {first_few(bad)}")
        raise ValueError(f"{name} must be finite; NaN or infinity in row {first_few(bad)}")
    largest = float(norms.max())
    if largest > _FLOAT64_SQNORM:
        raise ValueError(
            f"{name} must have squared norms up to {_FLOAT64_SQNORM:g}, for float64 to hold squared "
            f"distances; got {largest:g} in row {int(norms.argmax())}"
        )
    if found.dtype != "float64" and largest > 0 and not _FLOAT32_SQNORMS[0] <= largest <= _FLOAT32_SQNORMS[1]:
        found = widened(found, "float64")
    return found


def value_dtype(X: Rows) -> str:
    """The type of what is computed from X: "float64" where X is, else "float32"."""
    return "float64" if X.dtype == "float64" else "float32"


def sqnorms(X: Any, *, n_jobs: int | None = None) -> Any:
    """Squared norms of the rows, (n,) float64, accumulated in double; NaN or infinite where the row is. Memory O(n).

    >>> sqnorms([[3.0, 4.0]])
    array([25.])
    """
    X = as_rows(X)
    out = empty((X.n,), "float64", X.device)
    run("sqnorms", X, n_jobs, sqnorms=out)
    return out
