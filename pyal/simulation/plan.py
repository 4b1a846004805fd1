"""What a simulation is to run, checked in one place before anything is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, first_few, label_values, labeled_positions, size
from pyal.loop.learner import EstimatorLearner, as_learner
from pyal.loop.schedule import batch_size_schedule, in_force
from pyal.loop.setup import Setup, checked_setup
from pyal.pool import Pool, checked_views, metric_checked
from pyal.simulation.comparison import CONTROL
from pyal.simulation.oracles import ORACLES
from pyal.strategies.registry import find


class Observer(Protocol):
    """What watches one run: it is shown the pool and the batch of every round, and the history at the end."""

    def __call__(self, pool: Pool, batch: NDArray[np.int64]) -> None:
        """Shown the pool, with all that the round's classifier says, before the batch is labelled."""

    def result(self, history: Sequence[Mapping[str, Any]]) -> Any:
        """What the run keeps of it, in words and numbers that JSON can hold."""


class Observing(Protocol):
    """Makes the observer of each run; runs in other processes take a copy of it."""

    def __call__(self, strategy: str, seed: int) -> Observer:
        """The observer of this run."""

    def record(self) -> dict[str, Any]:
        """What results depend on, as JSON holds it: a workdir keeps results of one record only."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a simulation is to run, all of it checked; made by `checked_plan`.

    y: (N,) the answers.
    setups: what the loop of each strategy is given, all but the seed, the control first. They share the rows of X,
        which are looked at once, and the rows at norm 1, which are made once.
    initial: how many labels all start from; initial_by: the strategy that picks them, "class" or None (at random).
    batch_sizes: of each round.
    observing: makes what watches each run, None where nothing does.
    """

    y: NDArray[Any]
    setups: Mapping[str, Setup]
    seeds: tuple[int, ...]
    initial: int
    batch_sizes: tuple[int, ...]
    initial_by: str | None = None
    observing: Observing | None = None

    @property
    def keys(self) -> list[tuple[str, int]]:
        """(strategy, seed) of every run, in the order of the table."""
        return [(name, seed) for name in self.setups for seed in self.seeds]

    @property
    def shared(self) -> Setup:
        """The control's setup: of rows, test and learner it says what all have in common."""
        return self.setups[CONTROL]

    def strategies(self) -> dict[str, Any]:
        """What each strategy is: its metric and its schedule."""
        return {
            name: {
                "metric": setup.metric,
                "stages": [
                    {
                        "strategy": stage.strategy,
                        "until": stage.until,
                        "options": stage.options,
                        **({} if stage.own_metric is None else {"metric": stage.own_metric}),
                        **({"files": files} if (files := stage.fingerprints()) else {}),
                    }
                    for stage in setup.stages
                ],
            }
            for name, setup in self.setups.items()
        }


def checked_plan(
    X: Any,
    y: Any,
    *,
    test: Any,
    estimator: Any,
    strategies: Any,
    seeds: Any,
    batch_sizes: Any,
    budget: int | None,
    initial: int | str | None,
    subset: int | str | None,
    metric: str | None,
    device: Any,
    validation: Any = None,
    observing: Observing | None = None,
    **composed: Any,
) -> Plan:
    """The Plan of these arguments of `pyal.simulate`; ValueError or TypeError for those that are refused.

    composed: views, weights, start and the rules, which all strategies are given.
    """
    rows = kernels.checked_matrix(X, "X", device=device)
    labels = _complete_labels(y, rows.n)
    named = _named_strategies(strategies)
    known = _seeds(seeds)
    start, start_by = _initial(initial, rows.n)
    sizes = _batch_sizes(batch_sizes, budget, start, rows.n)
    learner = as_learner(estimator, rows)
    if learner is None:
        raise TypeError("estimator must be a scikit-learn classifier or a learner; got None")
    targets = (start + np.cumsum(sizes)).tolist()
    tested = _pair_or_callable(test, learner)
    if composed.get("views") is not None:
        composed["views"] = checked_views(composed["views"], rows)  # once for all strategies
    setups: dict[str, Setup] = {}
    seen: dict[str, Matrix] = {}
    for name, options in named.items():
        strategy, own = options.pop("strategy", name), metric_checked(options.pop("metric", metric))
        strategy = _with_oracles(strategy, validation, composed.get("weights"))
        setup = checked_setup(
            rows,
            learner,
            strategy,
            list(zip(sizes, targets, strict=True)),
            options=options,
            seen=seen,
            test=tested,
            validation=validation,
            metric=own,
            subset=subset,
            initial=CONTROL,
            **composed,
        )
        _check_lasts(name, setup, targets[-1], sizes[-1])
        tested, validation, setups[name] = setup.test, setup.validation, replace(setup, answers=labels)
        seen.update(setup.seen)
    return Plan(labels, setups, tuple(known), start, tuple(sizes), start_by, observing)


def _with_oracles(strategy: Any, validation: Any, weights: Any) -> Any:
    """The strategy or schedule, with the controls that see the answers in place of their names."""
    if isinstance(strategy, Sequence) and not isinstance(strategy, str):
        stages = [list(stage) if isinstance(stage, (tuple, list)) and stage else stage for stage in strategy]
        for stage in stages:
            if isinstance(stage, list):
                stage[0] = _with_oracles(stage[0], validation, weights)
        return stages
    found: Any = ORACLES.get(strategy, strategy) if isinstance(strategy, str) else strategy
    if found is ORACLES["oracle_gain"] and validation is None:
        raise ValueError("strategy 'oracle_gain' needs validation=, the held-out rows to gain on, which is missing")
    if found in ORACLES.values() and weights is not None:
        raise ValueError(f"strategy {found.__name__!r} cannot use weights=")
    return found


def _pair_or_callable(test: Any, learner: Any) -> Any:
    pair = isinstance(test, (tuple, list)) and len(test) == 2
    if pair if isinstance(learner, EstimatorLearner) else callable(test):
        return test
    wanted = "(X_test, y_test)" if isinstance(learner, EstimatorLearner) else "a callable of the fitted learner"
    raise TypeError(f"test must be {wanted}; got {type(test).__name__}")


def _initial(initial: Any, n: int) -> tuple[int, str | None]:
    """How many labels come first, and what picks them: a strategy by name, "class", or None (at random)."""
    by = None
    if isinstance(initial, str):
        count, _, by = initial.partition(" by ")
        if not (count.isascii() and count.isdecimal() and by):
            raise ValueError(
                f"initial must be a number, or text like '10 by class' or '20 by typiclust'; got {initial!r}"
            )
        initial = int(count)
        if by != "class":
            entry = find(by)
            if entry.needs:
                raise ValueError(
                    f"initial must be picked by a strategy that needs no model; {by!r} needs {entry.needs[0]}"
                )
            by = None if entry.name == CONTROL else entry.name
    return (0 if initial is None else size(initial, "initial", 1, n, " (the rows of X)")), by


def _complete_labels(y: Any, n: int) -> NDArray[Any]:
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


def _named_strategies(strategies: Any) -> dict[str, dict[str, Any]]:
    """Options by name, "strategy" and "metric" among them, the control first."""
    if isinstance(strategies, Mapping):
        pairs = list(strategies.items())
    elif isinstance(strategies, str) or not isinstance(strategies, Sequence):
        raise TypeError(f"strategies must be a list or a mapping of names to options; got {strategies!r}")
    else:
        pairs = [(_name(one), one) for one in strategies]
    names = [name for name, _ in pairs]
    for name in names:
        if not isinstance(name, str) or not name:
            raise TypeError(f"strategies must have names that are text, not empty; got {name!r}")
        if names.count(name) > 1:
            raise ValueError(f"strategies must have distinct names; {name!r} comes more than once")
    named = {CONTROL: {"strategy": CONTROL}}
    for name, value in pairs:
        named[name] = dict(value) if isinstance(value, Mapping) else {"strategy": name if value is None else value}
    control = named[CONTROL].get("strategy", CONTROL)
    if control != CONTROL:
        raise ValueError(f"the name {CONTROL!r} is the control's; call {control!r} something else")
    return named


def _name(strategy: Any) -> str:
    if isinstance(strategy, str):
        return strategy
    if not callable(strategy):
        raise TypeError(f"strategies must be names or callables (a mapping gives names to schedules); got {strategy!r}")
    return getattr(strategy, "__name__", type(strategy).__name__)


def _check_lasts(name: str, setup: Setup, budget: int, last: int) -> None:
    """ValueError where the schedule of strategies has ended before the last batch, of `last` rows, is picked."""
    if in_force(setup.stages, budget - last) is None:
        raise ValueError(
            f"the schedule of {name!r} ends at {setup.stages[-1].until} labels, before the budget, {budget}"
        )


def _seeds(seeds: Any) -> list[int]:
    """0, 1, ... where a number of seeds is given, else the list, whose seeds are distinct."""
    if isinstance(seeds, (int, np.integer)):
        return list(range(size(seeds, "seeds", 1)))
    if isinstance(seeds, str) or not np.iterable(seeds):
        raise TypeError(f"seeds must be a number of seeds or a list of integers; got {seeds!r}")
    known = [size(seed, "seeds", 0) for seed in seeds]
    if not known or len(set(known)) != len(known):
        raise ValueError(f"seeds must be distinct and at least one; got {known}")
    return known


def _batch_sizes(batch_sizes: Any, budget: int | None, start: int, n: int) -> list[int]:
    """The batches of a run, by size; the last one is what is left of the budget."""
    given = list(batch_sizes) if np.iterable(batch_sizes) and not isinstance(batch_sizes, str) else batch_sizes
    if isinstance(given, list) and given and all(np.ndim(one) == 0 for one in given):
        if budget is not None:
            raise TypeError("budget must not be given beside a list of batch_sizes, which is its own")
        sizes = [size(one, "batch_sizes", 1) for one in given]
    else:
        sizes = _scheduled(given, budget, start)
    if not sizes or start + sum(sizes) > n:
        total = start + sum(sizes)
        rule = f"ask for at most the {n} rows of X" if sizes else f"go beyond the {start} initial labels"
        raise ValueError(f"budget and batch_sizes must {rule}; they ask for {total}")
    return sizes


def _scheduled(given: Any, budget: int | None, start: int) -> list[int]:
    """The batches of an integer or a schedule, from `start` labels to the budget or to the schedule's end."""
    try:
        schedule = batch_size_schedule(given if np.ndim(given) else size(given, "batch_sizes", 1))
    except TypeError:
        raise TypeError(
            "batch_sizes must be an integer, a list of integers or a list of (batch_size, until_n_labels); "
            f"got {given!r}"
        ) from None
    end = schedule[-1].until if budget is None else size(budget, "budget", start + 1)
    if end is None:
        raise TypeError("budget must say how many labels a run has in the end; it is missing")
    sizes, total = [], start
    while total < end:
        entry = in_force(schedule, total)
        if entry is None:
            raise ValueError(f"batch_sizes end at {total} labels, before the budget of {end}")
        sizes.append(min(entry.batch_size, end - total))
        total += sizes[-1]
    return sizes
