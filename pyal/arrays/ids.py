"""Rows by their ids or positions, as a loop's users write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyal.arrays.matrix import as_numpy
from pyal.arrays.messages import first_few


def distinct(values: Any, name: str) -> list[Any]:
    """The values as Python's own, all text or all integers, none twice; ValueError or TypeError for anything else.

    >>> distinct(np.array(["b", "a"]), "ids")
    ['b', 'a']
    """
    found = _items(values, name)
    if not found or not (all(isinstance(v, str) for v in found) or all(_is_integer(v) for v in found)):
        raise TypeError(f"{name} must be all text or all integers; got {first_few(found) or 'none'}")
    if len(set(found)) != len(found):
        seen: set[Any] = set()
        twice = next(v for v in found if v in seen or seen.add(v))  # type: ignore[func-returns-value]
        raise ValueError(f"{name} must be distinct; {twice!r} comes more than once")
    return found


def positions_of(rows: Any, n: int, position_of: Mapping[Any, int], by: str | None = None) -> list[int]:
    """Positions of the rows, in the order given.

    rows: ids or positions. Text is always an id. An integer is a position, unless ids are integers.
    n: how many rows there are.
    position_of: the position of each id; empty where rows have no ids.
    by: "position" or "id", which must be said where ids are integers.

    Raises ValueError or TypeError for anything else, and for rows that do not exist.

    >>> positions_of(["b", "a"], 2, {"a": 0, "b": 1})
    [1, 0]
    """
    if by not in (None, "position", "id"):
        raise ValueError(f"by must be 'position' or 'id'; got {by!r}")
    if by == "id" and not position_of:
        raise ValueError("by='id' needs a loop with ids=, which is missing")
    given = _items(rows, "rows")
    if given and all(isinstance(row, str) for row in given):
        if by == "position" or not position_of:
            raise TypeError(f"rows must be positions{'' if by else ', as the loop has no ids'}; got {given[0]!r}")
        by = "id"
    elif not all(_is_integer(row) for row in given):
        raise TypeError(f"rows must be all integers (positions) or all text (ids); got {first_few(given)}")
    elif by is None and given and _is_integer(next(iter(position_of), None)):
        raise ValueError("ids are integers, so rows may be positions or ids: say by='position' or by='id'")
    known = position_of if by == "id" else range(n)
    unknown = [row for row in given if row not in known]
    if unknown:
        raise ValueError(
            f"rows must be {'ids of the loop' if by == 'id' else f'in 0 .. {n - 1}'}; got {first_few(unknown)}"
        )
    return [position_of[row] for row in given] if by == "id" else given


def _items(values: Any, name: str) -> list[Any]:
    """A 1-D array or list as Python's own integers and text; in a list nothing is made to fit the rest."""
    if not isinstance(values, (list, tuple)):
        values = as_numpy(values, name)
        if values.ndim != 1:
            raise ValueError(f"{name} must be 1-D; got shape {values.shape}")
    return [v.item() if isinstance(v, np.generic) else v for v in values]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
