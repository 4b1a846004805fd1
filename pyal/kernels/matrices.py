"""X as the kernels take it: rows looked at once, their norms, and subsets of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import Matrix, as_matrix, as_numpy, as_positions, empty, first_few, on_device, plain, size, widened
from pyal.kernels.launcher import launch

METRICS = ("euclidean", "cosine")
# Between these bounds on the largest squared norm float32 holds every squared difference that matters.
_FLOAT32_SQNORMS = (1e-20, 1e37)
_FLOAT64_SQNORM = 4e307
# Between these bounds on all squared norms double holds them to the last digit, and that type the inverse norms.
_INVERTIBLE = {"float32": (1e-75, 1e75), "float64": (1e-280, 1e300)}


def checked_matrix(X: Any, name: str = "X", *, device: Any = None) -> Matrix:
    """X as `Matrix`, looked at once: finite, 2-D, real. A `Matrix` is passed on as it is.

    float32 and narrower types are widened to float64 where float32 could not hold the squared distances: where the
    largest squared norm is above 1e37, or below 1e-20 and not 0. Memory: O(n) while it looks; `as_matrix` says when it
    copies.

    name: what messages call X.
    device: "cpu", "cuda" or "cuda:1". None: where X lives.

    Raises ValueError that names the first rows with a NaN or an infinity, and what `pyal.arrays.as_matrix` raises.

    >>> checked_matrix([[0.0, 1.0], [2.0, 3.0]]).n
    2
    """
    if isinstance(X, Matrix):
        return as_matrix(X, name, device=device)
    found = as_matrix(X, name, device=device)
    if found.n >= 2**31:
        raise ValueError(f"{name} must have fewer than 2**31 rows; got {found.n}")
    on_its_device = sqnorms(found)
    norms = as_numpy(on_its_device, name)
    largest = float(norms.max())
    if not np.isfinite(largest):
        bad = np.flatnonzero(~np.isfinite(norms))
        values = as_numpy(found.take(bad[:5]), name)
        if np.isfinite(values).all():
            raise ValueError(f"{name} must have squared norms that float64 can hold; not so in row {first_few(bad)}")
        raise ValueError(f"{name} must be finite; NaN or infinity in row {first_few(bad)}")
    if largest > _FLOAT64_SQNORM:
        raise ValueError(
            f"{name} must have squared norms up to {_FLOAT64_SQNORM:g}, for float64 to hold squared "
            f"distances; got {largest:g} in row {int(norms.argmax())}"
        )
    if found.dtype != "float64" and largest > 0 and not _FLOAT32_SQNORMS[0] <= largest <= _FLOAT32_SQNORMS[1]:
        found = widened(found, "float64")
    return replace(found, sqnorms=on_its_device)


def sqnorms(X: Any, *, n_jobs: int | None = None) -> Any:
    """Squared norms of the rows, (n,) float64, accumulated in double; NaN or infinite where the row is. Memory O(n).

    Of a matrix that was looked at they are known and not computed again.

    >>> sqnorms([[3.0, 4.0]])
    array([25.])
    """
    X = as_matrix(X)
    if X.sqnorms is not None:
        return X.sqnorms * 1  # the caller's own
    out = empty((X.n,), "float64", X.device)
    launch("sqnorms", X, n_jobs, sqnorms=out)
    return out


def normalized(X: Matrix, name: str = "X", *, n_jobs: int | None = None) -> Matrix:
    """The rows at Euclidean norm 1: the array as it is, with 1 / norm as the factor of each row.

    Norms are summed up and inverted in double. Where that fails, for rows too small or too large, the array is first
    copied to float64, each row times a power of two. Raises ValueError naming the first rows that are zero. Memory:
    O(n).

    >>> normalized(checked_matrix([[3.0, 4.0]])).factor
    array([0.2])
    """
    X = plain(X)
    square = as_numpy(sqnorms(X, n_jobs=n_jobs), name)
    low, high = _INVERTIBLE[value_dtype(X)]
    if not low < square.min() <= square.max() < high:
        X = _rescaled(X, name)
        square = as_numpy(sqnorms(X, n_jobs=n_jobs), name)
    factor = (1 / np.sqrt(square)).astype(value_dtype(X))
    return replace(X, factor=on_device(factor, X.device), sqnorms=None)


def taken_with(rows: Matrix, metric: str) -> Matrix:
    """The rows as they are seen with this metric, one of METRICS."""
    return normalized(rows) if metric == "cosine" else rows


def _rescaled(X: Matrix, name: str) -> Matrix:
    """A float64 copy, each row times the power of two that brings its largest value into [1/2, 1)."""
    out = empty((X.n, X.d), "float64", X.device)
    zero: list[int] = []
    for part, block in X.blocks():
        largest = as_numpy(abs(block), name).max(1)
        zero += (part.start + np.flatnonzero(largest == 0)).tolist()
        exponent = -np.frexp(largest)[1]
        for half in (exponent // 2, exponent - exponent // 2):  # 2.0 ** exponent may be more than double holds
            block *= on_device(2.0**half, X.device)[:, None]
        out[part] = block
    if zero:
        raise ValueError(
            f"metric='cosine' cannot normalise zero rows; {name} has some at {first_few(zero)} "
            f"(metric='euclidean' takes rows as they are)"
        )
    return Matrix(out, "float64", X.device)


def value_dtype(X: Matrix) -> str:
    """The type of distances and centres: "float64" where X is, else "float32"."""
    return "float64" if X.dtype == "float64" else "float32"


def subset(a: Any, X: Matrix, name: str) -> tuple[Any, int]:
    """Ascending positions on X's device and how many; (None, 0) for None."""
    if a is None:
        return None, 0
    positions = as_positions(a, X.n, name)
    # An empty selection still needs an address: None would stand for all rows.
    return on_device(positions if positions.size else np.zeros(1, np.int64), X.device), int(positions.size)


@dataclass(frozen=True, eq=False)
class Greedy:
    """What every greedy kernel is given, checked; made by `greedy`.

    candidates: ascending positions of what may be picked, None for all rows. positions: (batch_size,) the picks, which
    the kernel writes. fields: all of it as the kernels take it.
    """

    X: Matrix
    batch_size: int
    candidates: NDArray[np.int64] | None
    positions: Any
    fields: dict[str, Any]


def greedy(X: Any, batch_size: Any, covered_by: Any, candidates: Any) -> Greedy:
    """The arguments of a greedy kernel, checked; ValueError or TypeError that names the one that does not fit."""
    X = checked_matrix(X)
    covered, n_covered = subset(covered_by, X, "covered_by")
    chosen = None if candidates is None else as_positions(candidates, X.n, "candidates")
    open_rows, n_open = (None, X.n) if chosen is None else subset(chosen, X, "candidates")
    b = size(batch_size, "batch_size", 0, n_open, " (the number of candidates)")
    positions = empty((b,), "int64", X.device)
    fields = {"batch_size": b, "covered": covered, "n_covered": n_covered, "candidates": open_rows,
              "n_candidates": n_open, "positions": positions}  # fmt: skip
    return Greedy(X, b, chosen, positions, fields)
