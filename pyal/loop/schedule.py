"""Schedules of a loop: which strategy and which batch size hold at which number of labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyal.arrays import size
from pyal.pool import metric_checked
from pyal.strategies.registry import check_options, find
from pyal.strategies.subsets import subset_of


@dataclass(frozen=True)
class Stage:
    """A strategy with its options, in force while fewer than `until` rows are labelled (None: to the end).

    own_metric: the one that it is given in its options; None where it takes the loop's.
    """

    strategy: str | Callable[..., Any]
    until: int | None
    options: Mapping[str, Any]
    own_metric: str | None = None

    @property
    def name(self) -> str:
        return self.strategy if isinstance(self.strategy, str) else _callable_name(self.strategy)

    def metric(self, of_loop: str | None) -> str:
        """What it takes the rows with: its own, else the loop's, else its source's."""
        of_source = find(self.strategy).metric if isinstance(self.strategy, str) else "euclidean"
        return self.own_metric or of_loop or of_source

    @property
    def passes(self) -> bool:
        """Whether it needs the probabilities of several passes."""
        return isinstance(self.strategy, str) and find(self.strategy).passes

    def fingerprints(self) -> dict[str, str]:
        """Of the files that its options name: what they hold, as a hash."""
        names = find(self.strategy).files if isinstance(self.strategy, str) else ()
        paths = {name: self.options[name] for name in names if isinstance(self.options.get(name), str)}
        held = {name: Path(path).read_bytes() for name, path in paths.items()}
        return {name: hashlib.blake2b(content, digest_size=16).hexdigest() for name, content in held.items()}

    def check_weighs(self) -> None:
        """ValueError where it cannot use weights; a callable is taken to."""
        if isinstance(self.strategy, str):
            find(self.strategy).check_weighs()

    def needs(self, n_labeled: int) -> tuple[str, ...]:
        """Inputs that it cannot do without when so many rows are labelled; of a callable they are not known."""
        if not isinstance(self.strategy, str):
            return ()
        asked = find(self.strategy).needed(self.options, labeled=n_labeled > 0)
        if isinstance(self.options.get("subset"), str):  # it may be for another strategy to pick
            asked += subset_of(self.options["subset"]).needs(labeled=n_labeled > 0)
        return asked

    def needs_model(self, n_labeled: int, *, views: bool = False) -> str | None:
        """What of that only a fitted learner gives, proba or features; None where nothing is.

        views: whether there are views, which stand in for proba where the strategy says so.
        """
        instead = find(self.strategy).instead if isinstance(self.strategy, str) else ()
        given = {need for need, other in instead if views and other == "views"}
        return next((need for need in self.needs(n_labeled) if need in {"proba", "features"} - given), None)


@dataclass(frozen=True)
class BatchSize:
    """How many rows to ask for while fewer than `until` are labelled (None: to the end)."""

    batch_size: int
    until: int | None


Entry = TypeVar("Entry", Stage, BatchSize)


def strategy_schedule(strategy: Any, options: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of a strategy, or of a sequence of (strategy, until_n_labels) or (strategy, until_n_labels, options).

    A stage's options may name its "metric". Raises ValueError or TypeError for unknown names, options that the strategy
    does not have, options beside a sequence (there each stage has its own) and limits that do not rise.

    >>> [stage.name for stage in strategy_schedule([("typiclust", 100), ("k_center", None)], {})]
    ['typiclust', 'coreset']
    """
    if isinstance(strategy, str) or callable(strategy):
        return (_stage(strategy, None, options),)
    if not isinstance(strategy, Sequence) or not strategy or not all(_is_entry(entry, (2, 3)) for entry in strategy):
        raise TypeError(
            "strategy must be a name, a callable, or a sequence of (strategy, until_n_labels) or (strategy, "
            f"until_n_labels, options) with None for the last limit; got {strategy!r}"
        )
    if options:
        raise TypeError(
            f"options of a schedule stand in its entries, (strategy, until_n_labels, options); got {', '.join(options)}"
        )
    return _rising(tuple(_stage(entry[0], entry[1], entry[2] if len(entry) == 3 else {}) for entry in strategy))


def files_of(stages: Sequence[Stage]) -> dict[str, str]:
    """The fingerprints of all stages, by stage and option."""
    named = [(f"{at}, {stage.name}", stage.fingerprints()) for at, stage in enumerate(stages)]
    return {f"{where}, {option}": held for where, found in named for option, held in found.items()}


def batch_size_schedule(batch_size: Any) -> tuple[BatchSize, ...]:
    """The batch sizes of an integer, or of a sequence of (batch_size, until_n_labels).

    The last limit may be None (no end) or a number of labels at which there are no more batches.

    >>> batch_size_schedule([(20, 100), (100, 500)])[1]
    BatchSize(batch_size=100, until=500)
    """
    if not isinstance(batch_size, Sequence) or isinstance(batch_size, (str, bytes)):
        return (BatchSize(size(batch_size, "batch_size", 1), None),)
    if not batch_size or not all(_is_entry(entry, (2,)) for entry in batch_size):
        raise TypeError(
            f"batch_size must be an integer or a sequence of (batch_size, until_n_labels); got {batch_size!r}"
        )
    return _rising(tuple(BatchSize(size(one, "batch_size", 1), _limit(until)) for one, until in batch_size))


def in_force(schedule: tuple[Entry, ...], n_labeled: int) -> Entry | None:
    """The entry that holds at this number of labels, None where the schedule has ended.

    >>> in_force(batch_size_schedule([(20, 100), (100, 500)]), 100).batch_size
    100
    """
    return next((entry for entry in schedule if entry.until is None or n_labeled < entry.until), None)


def _stage(strategy: Any, until: Any, options: Mapping[str, Any]) -> Stage:
    if not isinstance(options, Mapping):
        raise TypeError(f"options of a strategy must be a dict; got {options!r}")
    own = dict(options)
    metric = metric_checked(own.pop("metric", None))
    if isinstance(strategy, str):
        entry = find(strategy)
        check_options(entry.name, entry.function, own)
        for name in entry.files:  # which are found from any folder, and by other processes
            if isinstance(own.get(name), (str, os.PathLike)):
                own[name] = os.path.abspath(os.fspath(own[name]))
        return Stage(entry.name, _limit(until), own, metric)
    if not callable(strategy):
        raise TypeError(f"strategy must be a name or a callable; got {strategy!r}")
    check_options(_callable_name(strategy), strategy, own)
    return Stage(strategy, _limit(until), own, metric)


def _rising(schedule: tuple[Entry, ...]) -> tuple[Entry, ...]:
    limits = [entry.until for entry in schedule]
    known = [limit for limit in limits if limit is not None]
    if None in limits[:-1] or known != sorted(set(known)):
        raise ValueError(f"the limits of a schedule must rise, and only the last may be None; got {limits}")
    return schedule


def _limit(until: Any) -> int | None:
    return None if until is None else size(until, "until_n_labels", 1)


def _is_entry(entry: Any, lengths: tuple[int, ...]) -> bool:
    return isinstance(entry, (tuple, list)) and len(entry) in lengths


def _callable_name(strategy: Callable[..., Any]) -> str:
    return getattr(strategy, "__name__", type(strategy).__name__)
