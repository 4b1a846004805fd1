"""Pairwise constraints of clustering, reduced to components of rows and what keeps them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_numpy, first_few, vector

_KINDS = ("cannot_link", "must_link", "both")


@dataclass(frozen=True)
class Components:
    """Constrained rows by component, numbered by their lowest row: the rows of one component share a cluster.

    rows: (m,) component by component, ascending in each.
    component: (m,) the component of each of them.
    colour: (n,) 0 .. n_colours - 1: components of different colours share no cluster. None: there are no colours.
    conflicts: components too, or None. Component g shares no cluster with any of conflicts[start[g] : start[g + 1]],
        where start is conflict_start; each pair is listed from both sides.
    conflict_start: (n + 1,), or None.
    """

    n: int
    rows: NDArray[np.int64]
    component: NDArray[np.int64]
    colour: NDArray[np.int64] | None = None
    n_colours: int = 0
    conflict_start: NDArray[np.int64] | None = None
    conflicts: NDArray[np.int64] | None = None


def components(labels: Any, constraints: Any, n: int) -> Components | None:
    """The constraints on n rows as `Components`, None where they rule out nothing; see `constrained_kmeans`.

    Raises ValueError or TypeError naming the argument, also where cannot-link pairs lie in one must-link component.
    """
    if isinstance(constraints, Mapping):
        if labels is not None:
            raise ValueError("labels must be None where constraints are pairs of rows")
        return _of_pairs(constraints, n)
    if not isinstance(constraints, str):
        raise TypeError(
            f"constraints must be one of {', '.join(map(repr, _KINDS))} or a mapping of 'must_link' and 'cannot_link' "
            f"to pairs of rows; got {type(constraints).__name__}"
        )
    if constraints not in _KINDS:
        raise ValueError(f"constraints must be one of {', '.join(map(repr, _KINDS))}; got {constraints!r}")
    if labels is None:
        raise ValueError(f"labels must be given where constraints is {constraints!r}: (n,) integers, -1 for no label")
    label = vector(labels, n, "labels", "iu", "int64")
    wrong = np.flatnonzero(label < -1)
    if wrong.size:
        raise ValueError(f"labels must be -1 or not negative; got {label[wrong[0]]} in row {first_few(wrong)}")
    return _of_labels(label, constraints)


def _of_labels(label: NDArray[np.int64], constraints: str) -> Components | None:
    rows = np.flatnonzero(label >= 0)
    kinds, kind = np.unique(label[rows], return_inverse=True)
    apart = constraints != "must_link" and kinds.size > 1
    if constraints == "cannot_link":
        return Components(rows.size, rows, np.arange(rows.size), kind, kinds.size) if apart else None
    if not apart:  # a row alone under its label is free
        shared = np.bincount(kind, minlength=kinds.size)[kind] > 1
        rows, kind = rows[shared], kind[shared]
    rows, component, first = _numbered(rows, kind)
    if rows.size == 0:
        return None
    if not apart:
        return Components(first.size, rows, component)
    return Components(first.size, rows, component, np.arange(first.size), first.size)


def _of_pairs(constraints: Mapping[Any, Any], n: int) -> Components | None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    unknown = [key for key in constraints if key not in ("must_link", "cannot_link")]
    if unknown:
        raise ValueError(f"constraints must map 'must_link' and 'cannot_link' to pairs of rows; got {unknown[0]!r}")
    must, cannot = (_pairs(constraints.get(kind, ()), n, kind) for kind in ("must_link", "cannot_link"))
    must = must[must[:, 0] != must[:, 1]]
    rows = np.unique(np.concatenate([must.ravel(), cannot.ravel()]))
    if rows.size == 0:
        return None
    ends = np.searchsorted(rows, must)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(rows.size, rows.size))
    group = connected_components(graph, directed=False)[1]
    order, component, first = _numbered(np.arange(rows.size), group)
    of_row = np.empty(rows.size, np.int64)
    of_row[order] = component
    sides = of_row[np.searchsorted(rows, cannot)]
    contradicted = cannot[sides[:, 0] == sides[:, 1]]
    if len(contradicted):
        raise ValueError(
            f"constraints must not contradict each other; the rows of the cannot_link pair "
            f"{first_few([tuple(pair) for pair in contradicted.tolist()])} are one row, or linked by must_link"
        )
    edges = np.unique(np.concatenate([sides, sides[:, ::-1]]), axis=0)
    if edges.size == 0:
        return Components(first.size, rows[order], component)
    start = np.searchsorted(edges[:, 0], np.arange(first.size + 1)).astype(np.int64, copy=False)
    conflicts = np.ascontiguousarray(edges[:, 1])
    return Components(first.size, rows[order], component, conflict_start=start, conflicts=conflicts)


def _pairs(a: Any, n: int, kind: str) -> NDArray[np.int64]:
    name = f"constraints[{kind!r}]"
    pairs = as_numpy(a, name)
    if pairs.size == 0 and pairs.ndim in (1, 2):
        return np.empty((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"{name} must hold pairs of rows, shape (pairs, 2); got shape {pairs.shape}")
    if pairs.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integer positions; got dtype {pairs.dtype}")
    outside = pairs[(pairs < 0) | (pairs >= n)]
    if outside.size:
        raise ValueError(f"{name} must lie in 0 .. {n - 1}; got {first_few(outside)}")
    return pairs.astype(np.int64)


def _numbered(
    rows: NDArray[np.int64], key: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(rows, component, first): ascending rows put in order of components, which are the equal keys by first row."""
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    component = rank[group]
    order = np.argsort(component, kind="stable")
    return rows[order], component[order], np.sort(first)
