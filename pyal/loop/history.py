"""What a loop knows: a pure function of its records, so that a loop read back is the loop that was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Record = Mapping[str, Any]  # what JSON can hold; "event" says which of the functions below takes it


@dataclass(frozen=True)
class State:
    """Labels, skipped rows and the batch in hand after some records; never changed, only followed by another.

    labels: label by position.
    skipped: positions that were answered without a label and are not asked again.
    outstanding: positions that were asked and are not answered, in the order picked.
    round: how many batches were asked.
    history: a record per round.
    relabeled: the labels that were changed.
    """

    labels: Mapping[int, Any] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset()
    outstanding: tuple[int, ...] = ()
    round: int = 0
    history: tuple[Record, ...] = ()
    relabeled: tuple[Record, ...] = ()

    @property
    def n_classes(self) -> int:
        return len(set(self.labels.values()))

    def after(self, record: Record) -> State:
        """The state that follows this one; ValueError for an event that is not known."""
        if record["event"] not in _EVENTS:
            raise ValueError(f"unknown event {record['event']!r}")
        return _EVENTS[record["event"]](self, record)


def replay(records: Iterable[Record]) -> State:
    """The state after all the records."""
    state = State()
    for record in records:
        state = state.after(record)
    return state


def fits(records: Iterable[Record]) -> list[tuple[int, Mapping[int, Any]]]:
    """The rounds whose batch was asked of a fitted learner, and the labels that it was fitted to."""
    state, found = State(), []
    for record in records:
        if record["event"] == "query" and "fit" in record["record"]["seconds"]:
            found.append((state.round, state.labels))
        state = state.after(record)
    return found


def _taught(state: State, record: Record) -> State:
    """A label, or None for a row that is skipped, per position."""
    labels, skipped = dict(state.labels), set(state.skipped)
    relabeled = list(state.relabeled)
    for position, label in zip(record["positions"], record["labels"], strict=True):
        if position in labels and labels[position] != label:
            was = labels[position]
            relabeled.append({"round": state.round, "position": position, "before": was, "after": label})
        if label is None:
            labels.pop(position, None)
            skipped.add(position)
        else:
            labels[position] = label
            skipped.discard(position)
    answered = set(record["positions"])
    left = tuple(position for position in state.outstanding if position not in answered)
    return replace(state, labels=labels, skipped=frozenset(skipped), outstanding=left, relabeled=tuple(relabeled))


def _queried(state: State, record: Record) -> State:
    entry = record["record"]
    return replace(state, outstanding=tuple(entry["batch"]), round=state.round + 1, history=(*_closed(state), entry))


def _evaluated(state: State, record: Record) -> State:
    return replace(state, history=(*_closed(state), record["record"]))


def _closed(state: State) -> tuple[Record, ...]:
    """The history without the evaluation of a round whose batch was not asked: the next record stands in its place."""
    open_round = state.history and not state.history[-1]["batch"]
    return state.history[:-1] if open_round else state.history


def _unskipped(state: State, record: Record) -> State:
    return replace(state, skipped=state.skipped - set(record["positions"]))


def _discarded(state: State, record: Record) -> State:  # noqa: ARG001
    return replace(state, outstanding=())


def _started(state: State, record: Record) -> State:  # noqa: ARG001
    return state


_EVENTS: dict[str, Callable[[State, Record], State]] = {
    "start": _started,
    "teach": _taught,
    "query": _queried,
    "evaluate": _evaluated,
    "unskip": _unskipped,
    "discard": _discarded,
}
