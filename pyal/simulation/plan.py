"""What a simulation is to run: its strategies, seeds and batches, checked before anything is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import first_few, label_values, labeled_positions, size
from pyal.loop.schedule import batch_size_schedule, in_force, strategy_schedule
from pyal.simulation.comparison import CONTROL


@dataclass(frozen=True)
class Spec:
    """A strategy or a schedule of strategies, with the options of a Loop, under the name that the user gave it."""

    name: str
    strategy: Any
    metric: str
    options: Mapping[str, Any]


def complete_labels(y: Any, n: int) -> NDArray[Any]:
    """(n,) labels of which none is missing."""
    values, _ = label_values(y, n)
    try:
        labeled = labeled_positions(y, n)
    except ValueError as error:
        raise ValueError(f"y must hold no -1, which may be a class or mean 'not labelled'; {error}") from None
    if len(labeled) < n:
        missing = np.setdiff1d(np.arange(n), labeled)
        raise ValueError(
            f"y must have a label for every row, the oracle's answers; it has none for {first_few(missing)}"
        )
    return values


def specs_checked(strategies: Any, metric: str) -> list[Spec]:
    """The strategies asked for, all checked, the control among them and first."""
    if isinstance(strategies, Mapping):
        given = [_spec(name, value, metric) for name, value in strategies.items()]
    elif isinstance(strategies, str) or not isinstance(strategies, Sequence):
        raise TypeError(f"strategies must be a list or a mapping of names to options; got {strategies!r}")
    else:
        given = [_spec(_name(one), one, metric) for one in strategies]
    names = [spec.name for spec in given]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"strategies must have distinct names; {twice[0]!r} comes more than once")
    control = next((spec for spec in given if spec.name == CONTROL), _spec(CONTROL, CONTROL, metric))
    if control.strategy != CONTROL:
        raise ValueError(f"the name {CONTROL!r} is the control's; call {control.strategy!r} something else")
    return [control, *(spec for spec in given if spec.name != CONTROL)]


def _spec(name: Any, value: Any, metric: str) -> Spec:
    if not isinstance(name, str) or not name:
        raise TypeError(f"strategies must have names that are text, not empty; got {name!r}")
    options = dict(value) if isinstance(value, Mapping) else {"strategy": name if value is None else value}
    strategy, own = options.pop("strategy", name), options.pop("metric", metric)
    strategy_schedule(strategy, options)
    return Spec(name, strategy, own, options)


def check_lasts(spec: Spec, budget: int, last: int) -> None:
    """ValueError where the schedule has ended before the last batch, of `last` rows, is picked."""
    stages = strategy_schedule(spec.strategy, spec.options)
    if in_force(stages, budget - last) is None:
        raise ValueError(
            f"the schedule of {spec.name!r} ends at {stages[-1].until} labels, before the budget, {budget}"
        )


def _name(strategy: Any) -> str:
    if isinstance(strategy, str):
        return strategy
    if not callable(strategy):
        raise TypeError(f"strategies must be names or callables (a mapping gives names to schedules); got {strategy!r}")
    return getattr(strategy, "__name__", type(strategy).__name__)


def described(specs: Sequence[Spec]) -> dict[str, Any]:
    """What each strategy is, as its schedule."""
    return {
        spec.name: {
            "metric": spec.metric,
            "stages": [
                {"strategy": stage.strategy, "until": stage.until, "options": stage.options}
                for stage in strategy_schedule(spec.strategy, spec.options)
            ],
        }
        for spec in specs
    }


def seeds_checked(seeds: Any) -> list[int]:
    """0, 1, ... where a number of seeds is given, else those of the list, distinct."""
    if isinstance(seeds, (int, np.integer)):
        return list(range(size(seeds, "seeds", 1)))
    if isinstance(seeds, str) or not np.iterable(seeds):
        raise TypeError(f"seeds must be a number of seeds or a list of integers; got {seeds!r}")
    known = [size(seed, "seeds", 0) for seed in seeds]
    if not known or len(set(known)) != len(known):
        raise ValueError(f"seeds must be distinct and at least one; got {known}")
    return known


def batch_sizes_checked(batch_sizes: Any, budget: int | None, start: int, n: int) -> list[int]:
    """The batches of a run, by size; the last one is what is left of the budget."""
    given = list(batch_sizes) if np.iterable(batch_sizes) and not isinstance(batch_sizes, str) else batch_sizes
    if isinstance(given, list) and given and all(np.ndim(one) == 0 for one in given):
        if budget is not None:
            raise TypeError("budget must not be given beside a list of batch_sizes, which is its own")
        sizes = [size(one, "batch_sizes", 1) for one in given]
    else:
        try:
            schedule = batch_size_schedule(given if np.ndim(given) else size(given, "batch_sizes", 1))
        except TypeError:
            raise TypeError(
                "batch_sizes must be an integer, a list of integers or a list of (batch_size, until_n_labels); "
                f"got {batch_sizes!r}"
            ) from None
        end = schedule[-1].until if budget is None else size(budget, "budget", start + 1)
        if end is None:
            raise TypeError("budget must say how many labels a run has in the end; it is missing")
        sizes, total = [], start
        while total < end:
            entry = in_force(schedule, total)
            if entry is None:
                raise ValueError(f"batch_sizes end at {total} labels, before the budget of {end}")
            sizes.append(min(entry.rows, end - total))
            total += sizes[-1]
    if not sizes or start + sum(sizes) > n:
        total = start + sum(sizes)
        rule = f"ask for at most the {n} rows of X" if sizes else f"go beyond the {start} initial labels"
        raise ValueError(f"budget and batch_sizes must {rule}; they ask for {total}")
    return sizes
