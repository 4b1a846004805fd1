"""Numbers made of the probabilities of one fitted classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_numpy, first_few

# Probabilities below the eps of float64 count as that: one row that is wrong with certainty, or of a class that the
# classifier has not seen, must not hide all others.
LARGEST = -float(np.log(np.finfo(np.float64).eps))


def cross_entropy(y: Any, proba: Any, classes: Any) -> float:
    """The mean of min(-log p_y, 36.04) over the rows, in nats; 36.04 = -log(float64 eps) where y is not among classes.

    y: (n,) the right classes, of any kind.
    proba: (n, C) probabilities.
    classes: (C,) of the columns of proba, distinct and of the kind of y.

    Raises ValueError or TypeError for what does not fit and where there is no row. Memory: O(n).

    >>> cross_entropy(["cat", "dog"], [[0.5, 0.5], [0.0, 1.0]], ["cat", "dog"]).__round__(3)
    0.347
    """
    found = as_numpy(proba, "proba")
    if found.dtype.kind not in "biuf":
        raise TypeError(f"proba must hold real numbers; got dtype {found.dtype}")
    columns = class_positions(y, classes)
    shape = (len(columns), len(as_numpy(classes, "classes")))
    if found.shape != shape:
        raise ValueError(f"proba must be (n, C), a row for each of y and a column for each of classes, {shape}; "
                         f"got shape {found.shape}")  # fmt: skip
    p = found.astype(np.float64)
    bad = np.flatnonzero(~((p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) <= 1e-2)))
    if bad.size:
        raise ValueError(f"proba must hold probabilities that sum to 1; not so in row {first_few(bad)}")
    known = np.flatnonzero(columns >= 0)
    losses = np.full(len(columns), LARGEST)
    with np.errstate(divide="ignore"):
        losses[known] = np.minimum(-np.log(p[known, columns[known]]), LARGEST)
    return float(losses.mean())


def class_positions(y: Any, classes: Any) -> NDArray[np.int64]:
    """(n,) where each label of y stands in classes, which come in any order; -1 for one that is not among them."""
    labels, known = _labels(y, "y"), _labels(classes, "classes")
    if (labels.dtype.kind in "US") != (known.dtype.kind in "US"):
        raise ValueError(f"y must hold labels of the kind of classes, such as {known[0]!r}; got {labels[0]!r}")
    order = np.argsort(known, kind="stable")
    ordered = known[order]
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError(f"classes must be distinct; got {ordered[:-1][ordered[1:] == ordered[:-1]][0]!r} twice")
    at = np.searchsorted(ordered, labels).clip(max=len(known) - 1)
    return np.where(ordered[at] == labels, order[at], -1)


def _labels(given: Any, name: str) -> NDArray[Any]:
    """Labels as an array of numbers or text."""
    found = as_numpy(given, name)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"{name} must be 1-D with at least one label; got shape {found.shape}")
    missing = [v is None for v in found] if found.dtype.kind == "O" else False
    holes = np.flatnonzero((found != found) | missing)
    if holes.size:
        raise ValueError(f"{name} must hold labels alone; got {found[holes[0]]} at {first_few(holes)}")
    if found.dtype.kind == "O":  # of text, as a column of a frame is
        found = np.asarray(found.tolist())
    if found.dtype.kind not in "biufUS":
        raise TypeError(f"{name} must hold numbers or text; got dtype {found.dtype}")
    return found
