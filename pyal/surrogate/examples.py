"""Examples of what one label was worth: what was known of an instance, and what labelling it brought."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_numpy, first_few, size, vector
from pyal.surrogate.archives import foreign, read_archive, write_archive
from pyal.surrogate.ranks import ranks_within
from pyal.surrogate.table import BASE, COLUMNS

_KIND, _FORMAT, _WROTE = "surrogate examples", 1, "Examples.save"
_PER_ROW = ("gain_accuracy", "gain_loss", "seed", "strategy", "n_labels", "picked", "group")

Array = NDArray[Any]
Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examples:
    """One table of E logged steps, checked when it is made; its arrays are copies.

    columns: (F,) names of features out of COLUMNS, each once.
    values: (E, F) float64, finite.
    gain_accuracy: (E,) validation accuracy with the label of this instance minus without it; finite.
    gain_loss: (E,) validation cross entropy without the label minus with it, so that higher is better too; finite.
    seed: (E,) the repetition.
    strategy: (E,) who picked the instance; "" for a candidate that nobody picked.
    n_labels: (E,) how many labels there were before this one.
    picked: (E,) bool. True: it was labelled and the run went on with it; False: it was tried only to see its gain.
    group: (E,) a number that the instances of one step of one run share, and no others.
    domain: what the examples were collected on, a dict of JSON values: "name", "columns_of_X", "head", "budget",
        "metric", "relative_to" and what else is worth saying.

    Raises ValueError or TypeError for what does not fit.

    >>> table = Examples(("entropy",), [[0.1], [0.7]], [0.0, 0.01], [0.0, 0.1], [0, 0], ["", "entropy"], [9, 9],
    ...                  [False, True], [0, 0], {"name": "digits"})
    >>> table.ranked().values.ravel().tolist()
    [0.0, 1.0]
    """

    columns: tuple[str, ...]
    values: Float
    gain_accuracy: Float
    gain_loss: Float
    seed: Int
    strategy: NDArray[np.str_]
    n_labels: Int
    picked: NDArray[np.bool_]
    group: Int
    domain: dict[str, Any]

    def __post_init__(self) -> None:
        columns = _columns_checked(self.columns)
        values = values_checked(self.values, columns).copy()
        n = len(values)
        checked: dict[str, Any] = {"columns": columns, "values": values, "domain": _json_copy(self.domain)}
        for name in ("gain_accuracy", "gain_loss"):
            checked[name] = np.array(vector(getattr(self, name), n, name, "iufb", "float64"))
            refuse_not_finite(checked[name][:, None], (name,))
        for name in ("seed", "n_labels", "group"):
            checked[name] = np.array(vector(getattr(self, name), n, name, "iu", "int64"))
        checked["strategy"] = _words(self.strategy, n)
        checked["picked"] = _mask(self.picked, n, "picked").copy()
        _refuse_mixed_groups(checked["group"], checked["seed"])
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.values)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one .npz without pickles, whole or not at all; a file that is there is replaced."""
        said = {"columns": self.columns, "domain": self.domain}
        write_archive(path, _KIND, _FORMAT, said, {name: getattr(self, name) for name in ("values", *_PER_ROW)})

    def values_of(self, columns: Sequence[str]) -> Float:
        """(E, len(columns)): the values of these features, in this order."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise ValueError(
                f"examples must have the features {', '.join(missing)}; they have {', '.join(self.columns)}"
            )
        return self.values[:, [self.columns.index(name) for name in columns]]

    def where(self, mask: Any) -> Examples:
        """Some rows, in the order they have.

        mask: (E,) booleans.
        """
        kept = _mask(mask, len(self), "mask")
        return replace(self, **{name: getattr(self, name)[kept] for name in ("values", *_PER_ROW)})

    def of_seeds(self, seeds: int | Sequence[int]) -> Examples:
        """The rows of some repetitions.

        seeds: one seed, or several; ValueError for one that has no row.
        """
        wanted = np.atleast_1d(as_numpy(seeds, "seeds"))
        missing = sorted(set(wanted.tolist()) - set(self.seed.tolist()))
        if missing:
            raise ValueError(
                f"seeds must be repetitions of the examples, which are {first_few(np.unique(self.seed), 20)}; "
                f"got {first_few(missing)}"
            )
        return self.where(np.isin(self.seed, wanted))

    def ranked(self) -> Examples:
        """Every base feature as its rank within its group; the features of the step stay as they are.

        A rank is 0 for the lowest and 1 for the highest, the average among equals, and 0.5 for a group of one. To look
        at; `fit` is given the examples as they were collected, and ranks them with ranked=True.
        """
        values = ranked_values(self.values, self.columns, self.group)
        return replace(self, values=values, domain={**self.domain, "ranked": True})

    def averaged(self, horizon: int) -> Examples:
        """The picked rows, each gain the mean of its step and of the horizon - 1 steps logged after it in its run.

        One label's gain is mostly noise. A run is the rows of one seed and strategy, in the order of n_labels, so join
        tables of several domains only afterwards. Steps with fewer steps after them are left out.

        horizon: at least 1, which changes no gain.
        """
        horizon = size(horizon, "horizon", 1)
        rows = np.flatnonzero(self.picked & (self.strategy != ""))
        rows = rows[np.lexsort((self.n_labels[rows], self.strategy[rows], self.seed[rows]))]
        same_run = (np.diff(self.seed[rows]) == 0) & (self.strategy[rows][1:] == self.strategy[rows][:-1])
        twice = np.flatnonzero(same_run & (np.diff(self.n_labels[rows]) == 0))
        if twice.size:
            row = rows[twice[0]]
            raise ValueError(
                "examples must hold one picked row per seed, strategy and number of labels to be averaged over steps; "
                f"seed {self.seed[row]}, {str(self.strategy[row])!r}, {self.n_labels[row]} labels come more than once"
            )
        run = np.concatenate([[0], np.cumsum(~same_run)])[: len(rows)]
        longest = int(np.bincount(run).max()) if rows.size else 0
        if horizon > longest:
            raise ValueError(f"horizon must be at most the steps of the longest run, {longest}; got {horizon}")
        starts = np.flatnonzero(run[: len(rows) - horizon + 1] == run[horizon - 1 :])
        gains = {}
        for name in ("gain_accuracy", "gain_loss"):
            windows = np.lib.stride_tricks.sliding_window_view(getattr(self, name)[rows], horizon)
            gains[name] = getattr(self, name).copy()
            gains[name][rows[starts]] = windows[starts].mean(axis=1)
        kept = np.zeros(len(self), bool)
        kept[rows[starts]] = True
        return replace(self, **gains, domain={**self.domain, "horizon": horizon}).where(kept)


def load_examples(path: str | os.PathLike[str]) -> Examples:
    """What `Examples.save` wrote.

    path: the file. Any other, a damaged one and one of a newer format are a ValueError.
    """
    head, arrays = read_archive(path, _KIND, _FORMAT, _WROTE)
    try:
        return Examples(columns=tuple(head["columns"]), domain=head["domain"], **arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise foreign(path, _WROTE, f"it is damaged ({error})") from None


def concatenated(tables: Sequence[Examples]) -> Examples:
    """One table of several with the same columns; groups are numbered anew, so that none of two tables meet.

    A seed stays as it is: the same seed in two tables is one repetition, which a split keeps on one side. The domain is
    the one that all share, or else the names joined by " + ", what all agree on, and under "differs_in" the other keys.

    tables: at least one. The first column that differs is named in a ValueError.
    """
    if not tables:
        raise ValueError("tables must hold at least one table of examples; got none")
    groups, first = [], 0
    for table in tables:
        refuse_other_columns(table.columns, tables[0].columns, "tables")
        numbers, group = np.unique(table.group, return_inverse=True)
        groups.append(group.astype(np.int64) + first)
        first += len(numbers)
    joined = {name: np.concatenate([getattr(t, name) for t in tables]) for name in ("values", *_PER_ROW)}
    joined["group"] = np.concatenate(groups)
    return Examples(columns=tables[0].columns, domain=_joined_domain([t.domain for t in tables]), **joined)


def ranked_values(values: Float, columns: Sequence[str], group: Int) -> Float:
    """(m, F): the base features among columns as ranks within groups, the others as they are."""
    base = [at for at, name in enumerate(columns) if name in BASE]
    ranked: Float = np.array(values)
    ranked[:, base] = ranks_within(values[:, base], group)
    return ranked


def values_checked(values: Any, columns: Sequence[str]) -> Float:
    """(m, F) finite float64, one column per name in columns."""
    found = as_numpy(values, "values")
    if found.ndim != 2 or found.shape[1] != len(columns) or found.dtype.kind not in "iufb":
        raise ValueError(
            f"values must be numbers of shape (m, {len(columns)}), one column per feature; got {found.dtype} of shape "
            f"{found.shape}"
        )
    rows: Float = np.ascontiguousarray(found, np.float64)
    refuse_not_finite(rows, columns)
    return rows


def refuse_not_finite(values: Float, columns: Sequence[str]) -> None:
    """ValueError that names the column and the row of the first value that is NaN or infinite."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"{columns[column]} must be finite; it is {values[row, column]} in row {row}")


def refuse_other_columns(columns: Sequence[str], wanted: Sequence[str], name: str) -> None:
    """ValueError that names the first column that differs from those wanted."""
    given = tuple(columns)
    for at in range(max(len(given), len(wanted))):
        found = repr(given[at]) if at < len(given) else "none"
        right = repr(wanted[at]) if at < len(wanted) else "none"
        if found != right:
            raise ValueError(
                f"{name} must have the columns {', '.join(wanted)}, in this order; column {at} must be {right}, and it "
                f"is {found}"
            )


def _columns_checked(columns: Any) -> tuple[str, ...]:
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
        raise TypeError(f"columns must be names of features; got {columns!r}")
    names = tuple(str(name) for name in columns)
    for name in names:
        if name not in COLUMNS:
            close = difflib.get_close_matches(name, COLUMNS, 1)
            raise ValueError(
                f"columns must be out of {', '.join(COLUMNS)}; got {name!r}"
                + (f"; did you mean {close[0]!r}?" if close else "")
            )
    if not names or len(set(names)) != len(names):
        raise ValueError(f"columns must hold at least one name, and each once; got {names}")
    return names


def _words(strategy: Any, n: int) -> NDArray[np.str_]:
    words = [strategy] if isinstance(strategy, str) else list(strategy)
    others = [word for word in words if not isinstance(word, str)]
    if others or len(words) != n:
        came = repr(others[0]) if others else f"{len(words)} entries"
        raise ValueError(f"strategy must hold one text per row, {n}; got {came}")
    return np.array(words, np.str_)


def _mask(mask: Any, n: int, name: str) -> NDArray[np.bool_]:
    found = as_numpy(mask, name)
    if found.shape != (n,) or found.dtype != bool:
        raise ValueError(
            f"{name} must be booleans of shape ({n},), one per row; got {found.dtype} of shape {found.shape}"
        )
    return found


def _json_copy(domain: Any) -> dict[str, Any]:
    """The dict as it will be when it is read from a file."""
    if not isinstance(domain, dict) or not all(isinstance(key, str) for key in domain):
        raise ValueError(f"domain must be a dict whose keys are text; got {domain!r}")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(domain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"domain must hold JSON values (text, finite numbers, lists, dicts); {error}") from None
    return copy


def _refuse_mixed_groups(group: Int, seed: Int) -> None:
    """Rows of one step on both sides of a split would tell the answer."""
    _, first, of = np.unique(group, return_index=True, return_inverse=True)
    mixed = np.flatnonzero(seed != seed[first][of]) if len(group) else group
    if mixed.size:
        row = mixed[0]
        other = seed[first][of][row]
        raise ValueError(
            f"group must number the steps of one run; group {group[row]} has rows of seeds {other} and {seed[row]}"
        )


def _joined_domain(domains: list[dict[str, Any]]) -> dict[str, Any]:
    if all(domain == domains[0] for domain in domains):
        return domains[0]
    keys = dict.fromkeys(key for domain in domains for key in domain if key not in ("name", "differs_in"))
    shared = {k: domains[0][k] for k in keys if all(k in d and d[k] == domains[0].get(k) for d in domains)}
    differs = {*(k for k in keys if k not in shared), *(k for d in domains for k in d.get("differs_in", ()))}
    names = dict.fromkeys(str(domain.get("name", "unnamed")) for domain in domains)
    return {"name": " + ".join(names), **shared, "differs_in": sorted(differs)}
