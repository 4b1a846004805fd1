"""Rules that a batch keeps whatever the strategy: so many rows of a group, none too near, no class above its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy, label_values, labeled_positions, number, size

_AT_ONCE = 256  # picks whose distances to each other are looked at together


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules of a call or a loop, checked; made by `checked_rules`.

    groups: (N,) the number of each row's group, -1 for a row of none; max_per_group: how many rows of one group a batch
    may hold. min_distance: how near a pick may be to another pick or to a labelled row, a Euclidean distance (not
    squared) between rows as the strategy takes them. class_balance: whether predicted classes share a batch evenly.
    """

    groups: NDArray[np.int64] | None = None
    max_per_group: int | None = None
    min_distance: float | None = None
    class_balance: bool = False

    def without_classes(self) -> Rules | None:
        """The rules that need no prediction, None where there are none."""
        rest = replace(self, class_balance=False)
        return None if rest.groups is None and rest.min_distance is None else rest

    def record(self) -> dict[str, Any]:
        """The arguments of `checked_rules` as JSON holds them; the groups by number."""
        return {**vars(self), "groups": None if self.groups is None else self.groups.tolist()}


def checked_rules(groups: Any, max_per_group: Any, min_distance: Any, class_balance: Any, n: int) -> Rules | None:
    """The Rules of these arguments, None where there are none; ValueError or TypeError for those that do not fit."""
    if (groups is None) != (max_per_group is None):
        lacking = "groups" if groups is None else "max_per_group"
        raise ValueError(f"groups and max_per_group go together; {lacking}= is missing")
    if not isinstance(class_balance, (bool, np.bool_)):
        raise TypeError(f"class_balance must be True or False; got {class_balance!r}")
    if groups is None and min_distance is None and not class_balance:
        return None
    return Rules(
        None if groups is None else _group_numbers(groups, n),
        None if max_per_group is None else size(max_per_group, "max_per_group", 1),
        None if min_distance is None else number(min_distance, "min_distance"),
        bool(class_balance),
    )


def _group_numbers(groups: Any, n: int) -> NDArray[np.int64]:
    """(n,) numbers by first appearance, -1 where groups have a hole: NaN, None, a masked entry, -1 among integers."""
    values, hidden = label_values(groups, n, "groups")
    if values.dtype.kind in "iu":
        named = np.flatnonzero(~hidden & (values != -1))  # of -1 and +1 alone, too: here -1 has one meaning
    else:
        named = labeled_positions(groups, n, "groups")
    number_of: dict[Any, int] = {}
    numbers = np.full(n, -1)
    try:
        numbers[named] = [number_of.setdefault(value, len(number_of)) for value in values[named].tolist()]
    except TypeError:
        raise TypeError("groups must hold numbers or text") from None
    return numbers


@dataclass(eq=False)
class _Limit:
    """At most `left` more rows of each part; part: (N,) numbers, -1 for a row that no limit holds for."""

    part: NDArray[np.int64]
    left: NDArray[np.int64]

    def allows(self, row: int) -> bool:
        return bool(self.part[row] < 0 or self.left[self.part[row]] > 0)

    def count(self, row: int) -> None:
        if self.part[row] >= 0:
            self.left[self.part[row]] -= 1

    def full(self) -> NDArray[np.bool_]:
        """(N,) True where no more row may be picked."""
        return np.append(self.left <= 0, False)[self.part]


def away_from(
    rows: NDArray[np.int64], rules: Rules, X: Matrix, among: NDArray[np.int64], *, n_jobs: int | None
) -> NDArray[np.int64]:
    """Those of the positions `among` that are not too near to one of the rows."""
    if rules.min_distance is None or not len(rows):
        return among
    sqdist = as_numpy(kernels.knn(X.take(rows), 1, queries=X, n_jobs=n_jobs)[0], "X")[:, 0]
    return among[~_closer(sqdist[among], rules.min_distance)]


def _closer(sqdist: NDArray[np.floating], distance: float) -> NDArray[np.bool_]:
    """Whether they are the squares of distances below this one: by their roots, as its square may round or overflow."""
    return np.asarray(np.sqrt(sqdist, dtype=np.float64) < distance)


class Upkeep:
    """The rules while a batch is picked: what may still be picked, and which of the picks proposed keep them.

    X: the rows as the strategy takes them. candidates: none of them too near to a labelled row. predicted: (N,)
    predicted classes, where class_balance asks for them. The share of a class is the least number with which batch_size
    candidates can be had, if no other rule stands in the way.
    """

    def __init__(
        self,
        rules: Rules,
        X: Matrix,
        candidates: NDArray[np.int64],
        predicted: NDArray[np.int64] | None,
        batch_size: int,
        n_jobs: int | None,
    ) -> None:
        self.candidates = candidates
        self._rules, self._X, self._n_jobs = rules, X, n_jobs
        self._limits: list[_Limit] = []
        if rules.groups is not None:
            parts = int(rules.groups.max(initial=-1)) + 1
            self._limits.append(_Limit(rules.groups, np.full(parts, rules.max_per_group)))
        if rules.class_balance:
            assert predicted is not None
            sizes = np.bincount(predicted[candidates], minlength=int(predicted.max()) + 1)
            self._limits.append(_Limit(predicted, np.full(len(sizes), even_share(sizes, batch_size))))

    def take(self, proposed: NDArray[np.int64], *, skip: bool = False) -> NDArray[np.int64]:
        """The candidates proposed up to the first that breaks a rule, or all but those that do.

        They count as picked from now on, and what they rule out is no candidate any more.
        """
        taken = []
        for begin in range(0, len(proposed), _AT_ONCE):
            some = proposed[begin : begin + _AT_ONCE]
            is_open, near = np.isin(some, self.candidates), self._near(some)
            here: list[int] = []  # of `some`, by number
            for i, row in enumerate(some.tolist()):
                if is_open[i] and not near[i, here].any() and all(limit.allows(row) for limit in self._limits):
                    here.append(i)
                    for limit in self._limits:
                        limit.count(row)
                elif not skip:
                    break
            taken.append(some[here])
            self._close(some[here])
            if not skip and len(here) < len(some):
                break
        return np.concatenate(taken) if taken else np.empty(0, np.int64)

    def best(self, ranked: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The first `count` of the candidates, best first, that keep the rules one after the other."""
        taken = np.empty(0, np.int64)
        while len(taken) < count and len(ranked):
            found = self.take(ranked[: min(_AT_ONCE, count - len(taken))], skip=True)
            taken = np.concatenate([taken, found])
            is_open = np.zeros(self._X.n, bool)
            is_open[self.candidates] = True
            ranked = ranked[is_open[ranked]]
        return taken

    def _close(self, picked: NDArray[np.int64]) -> None:
        is_picked = np.zeros(self._X.n, bool)
        is_picked[picked] = True
        left = self.candidates[~is_picked[self.candidates]]
        for limit in self._limits:
            left = left[~limit.full()[left]]
        self.candidates = away_from(picked, self._rules, self._X, left, n_jobs=self._n_jobs)

    def _near(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(m, m) whether two of these rows are too near to each other."""
        near = np.zeros((len(rows), len(rows)), bool)
        if self._rules.min_distance is not None:
            some = self._X.take(rows)
            sqdist, other = kernels.knn(some, len(rows), queries=some, n_jobs=self._n_jobs)
            close = _closer(as_numpy(sqdist, "X"), self._rules.min_distance)
            near[np.nonzero(close)[0], as_numpy(other, "positions")[close]] = True
        return near


def even_share(sizes: Sequence[int] | NDArray[np.int64], total: int) -> int:
    """The least number of which, taken from each part (or all of it, where it is smaller), `total` can be had.

    All of the largest part where there is not enough.

    >>> even_share([1, 5, 9], 8)
    4
    """
    low, high = 0, int(max(sizes, default=0))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if int(np.minimum(sizes, middle).sum()) >= total else (middle + 1, high)
    return high
