"""Which parameters of the trees are tried, in which order, and which of them is taken."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pyal.arrays import number, size
from pyal.surrogate.boosting import BACKENDS, Fitted, Task

Parameters = dict[str, float]
Grid = dict[str, tuple[float, ...]]

SEARCHED: Grid = {
    "learning_rate": (0.3, 0.1, 0.03, 0.01),
    "max_depth": (3, 5, 7, 9),
    "lambda": (0.1, 1.0, 10.0),
    "gamma": (0.0, 1e-6, 1e-4),
    "subsample": (0.7, 1.0),
}
START: Parameters = {"learning_rate": 0.1, "max_depth": 5, "lambda": 1.0, "gamma": 0.0, "subsample": 1.0}

_OF_SKLEARN = ("learning_rate", "max_depth", "lambda")
_AT_A_TIME = 16  # fitted trees that are held at most


def grid_of(search: Any, backend: str) -> tuple[Grid, bool]:
    """(values to try of each parameter, whether one by one)."""
    known = tuple(SEARCHED) if backend == "xgboost" else _OF_SKLEARN
    start: Grid = {name: (START[name],) for name in known}
    if isinstance(search, Mapping):
        for name in search:
            refuse_unknown(name, f"search (of backend={backend!r})", known)
        return {**start, **{name: _values(name, search[name]) for name in known if name in search}}, False
    if isinstance(search, bool):
        return {name: SEARCHED[name] for name in known} if search else start, search
    if search != "full":
        raise ValueError(f"search must be True, False, 'full' or a dict of lists; got {search!r}")
    return {name: SEARCHED[name] for name in known}, False


def _values(name: str, values: Any) -> tuple[float, ...]:
    label = f"search[{name!r}]"
    if isinstance(values, (str, int, float)) or not len(values):
        raise ValueError(f"{label} must be a list of at least one value; got {values!r}")
    if name == "max_depth":
        return tuple(size(value, label, 1, 30) for value in values)
    found = tuple(number(value, label, or_low=name in ("lambda", "gamma")) for value in values)
    over = [value for value in found if value > 1 and name in ("learning_rate", "subsample")]
    if over:
        raise ValueError(f"{label} must be at most 1; got {over[0]}")
    return found


def searched(
    task: Task, backend: str, grid: Grid, one_by_one: bool, unit: float, workers: int
) -> tuple[Fitted, Parameters, int]:
    """(the trees of the lowest validation loss, their parameters, how many sets were tried).

    Of equals the first tried is taken, which does not depend on workers.

    one_by_one: from START, the best value of each parameter while the others stay, again until nothing improves;
        else every point of the grid.
    unit: what gamma is divided by.
    workers: fits at a time.
    """
    from tqdm import tqdm

    with tqdm(desc="surrogate", unit="fit", disable=None, leave=False) as bar:
        if not one_by_one:
            points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
            best, chosen = _best_of(points, None, task, backend, unit, workers, bar)
            return best, chosen, len(points)
        start = {name: START[name] for name in grid}
        found = _best_of([start], None, task, backend, unit, workers, bar)
        tried, before = {tuple(start.values())}, None
        while found is not before:
            before = found
            for name in grid:
                points = [{**found[1], name: value} for value in grid[name]]
                new = [point for point in points if tuple(point.values()) not in tried]
                tried.update(tuple(point.values()) for point in new)
                found = _best_of(new, found, task, backend, unit, workers, bar)
        return *found, len(tried)


def refuse_unknown(value: Any, name: str, choices: Sequence[str]) -> None:
    """ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def _best_of(
    points: list[Parameters],
    best: tuple[Fitted, Parameters] | None,
    task: Task,
    backend: str,
    unit: float,
    workers: int,
    bar: Any,
) -> tuple[Fitted, Parameters]:
    """The best of these points and of the one before, which is returned itself where none is better."""
    from joblib import Parallel, delayed

    inner = [{**point, **({"gamma": point["gamma"] / unit} if "gamma" in point else {})} for point in points]
    for first in range(0, len(points), _AT_A_TIME):
        calls = [delayed(BACKENDS[backend])(task, point) for point in inner[first : first + _AT_A_TIME]]
        for at, fitted in enumerate(Parallel(n_jobs=workers, backend="threading")(calls), start=first):
            if best is None or fitted.loss < best[0].loss:
                best = fitted, points[at]
            bar.update()
    assert best is not None
    return best
