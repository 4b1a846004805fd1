"""Labels with holes: which entries of y are labels and which mark a row that is not labelled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays.matrix import as_numpy
from pyal.arrays.messages import first_few


def labeled_positions(y: Any, n: int, name: str = "y") -> NDArray[np.int64]:
    """Ascending positions of the rows of y (n,) that carry a label.

    Holes are NaN, NaT, None, pd.NA and masked entries, and -1 where all of y are integers. In an array of floats -1.0
    is a label. Numbers, strings and any other objects are labels, and a torch tensor is read like an array.

    Raises ValueError for a shape other than (n,), for integers of which all are -1 or +1 and both occur (a hole, or the
    negative class?), and for objects that hold -1 beside None, NaN or pd.NA. There `labeled=` can say which rows carry
    one.

    >>> labeled_positions([3, -1, 0, -1], 4)
    array([0, 2])
    """
    values, hidden = label_values(y, n, name)
    holes = hidden.copy()
    kind = values.dtype.kind
    if kind in "fc":
        holes |= np.isnan(values)
    elif kind in "mM":
        holes |= np.isnat(values)
    elif kind == "O":
        holes |= np.fromiter((_is_hole(v) for v in values), bool, n)
        minus = np.fromiter((_is_integer(v) and v == -1 for v in values), bool, n) & ~hidden
        if minus.any() and holes.any():
            raise ValueError(
                f"{name} is ambiguous: it holds -1 (position {first_few(np.flatnonzero(minus))}) beside "
                f"{values[np.flatnonzero(holes)[0]]!r}; say which rows are labelled with labeled="
            )
    elif kind == "i":
        minus = (values == -1) & ~hidden
        plus = (values == 1) & ~hidden
        if minus.any() and plus.any() and (minus | plus | hidden).all():
            raise ValueError(
                f"{name} is ambiguous: all of its values are -1 and +1, and -1 may be a class or mean 'not "
                f"labelled'; say which rows are labelled with labeled="
            )
        holes |= minus
    return np.flatnonzero(~holes).astype(np.int64, copy=False)


def plain_labels(labels: Any, n: int, name: str, per: str) -> list[Any]:
    """n labels as bool, int, float or str, with None for a hole (None, NaN, NaT, pd.NA, or a masked entry).

    `per` says in messages what each label is for. Raises ValueError for another number of labels and for the integer -1
    (a class, or not labelled?), TypeError for anything else that is neither a number nor text.

    >>> plain_labels(["cat", None], 2, "labels", "row")
    ['cat', None]
    """
    values, hidden = label_values(labels, n, name, per)
    plain: list[Any] = []
    for value, masked in zip(values.tolist() if values.dtype.kind in "biufUO" else values, hidden, strict=True):
        if masked or _is_hole(value):
            plain.append(None)
            continue
        value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(value, (bool, int, float, str)):
            raise TypeError(f"{name} must be numbers or text, None for a row without one; got {value!r}")
        if _is_integer(value) and value == -1:
            raise ValueError(
                f"{name} must not hold -1, a class or 'not labelled': write None for a row without a label"
            )
        plain.append(value)
    return plain


def label_values(y: Any, n: int, name: str = "y", per: str = "row of X") -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """y as a 1-D array of its own type, and a boolean array that is True where y is a masked array's masked entry."""
    hidden = np.zeros(n, bool)
    if isinstance(y, np.ma.MaskedArray):
        mask, y = np.ma.getmaskarray(y), y.data
        hidden = mask if mask.shape == (n,) else hidden
    if isinstance(y, (list, tuple)):
        values = _from_list(y)
    else:
        values = as_numpy(y, name)
        if values.dtype.kind not in "biufcmMOSUV":  # such as NumPy's variable-width strings, which may hold None
            values = values.astype(object)
    if values.shape != (n,):
        hint = " (class numbers are wanted, not one column per class)" if values.ndim == 2 else ""
        raise ValueError(f"{name} must hold one label or hole per {per}, shape ({n},); got {values.shape}{hint}")
    return values, hidden


def _from_list(y: list[Any] | tuple[Any, ...]) -> NDArray[Any]:
    """Numbers become an array of numbers; in anything mixed objects stay: NumPy makes text of None beside "cat"."""
    nested = any(isinstance(v, (list, tuple, np.ndarray)) for v in y)
    if nested or (y and all(isinstance(v, (bool, np.bool_)) or _is_integer(v) or _is_float(v) for v in y)):
        return np.asarray(y)
    values = np.empty(len(y), object)
    values[:] = y
    return values


def _is_integer(v: Any) -> bool:
    return isinstance(v, (int, np.integer)) and not isinstance(v, bool)


def _is_float(v: Any) -> bool:
    return isinstance(v, (float, np.floating))


def _is_hole(v: Any) -> bool:
    if v is None or type(v).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(v != v)
    except (TypeError, ValueError):
        return False
