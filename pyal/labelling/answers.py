"""What annotators said, made one label per row."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from pyal.arrays import first_few
from pyal.labelling.batch import Row, named

LABELED, SKIPPED, NONE = "labeled", "skipped", ""
POLICIES = ("error", "last", "majority")


@dataclass(frozen=True)
class Answer:
    """One annotator's answer for one row. `status` is LABELED, SKIPPED or NONE: shown, and nothing said yet."""

    position: int
    id: str
    label: str
    status: str
    annotator: str = ""
    time: datetime | None = None

    @property
    def name(self) -> str:
        return named(self.position, self.id)


def settle(answers: Sequence[Answer], on_conflict: str = "error") -> list[Answer]:
    """One answer per row, in the order in which the rows first come; a row that nobody answered has status NONE.

    Equal labels are one label, and a label outweighs a skip.

    answers: what annotators said, any number of answers per row.
    on_conflict: what happens to a row with different labels. "error" raises a ValueError that names the rows. "last"
        takes what was said last, a skip too: by time where all answers of the row have one, else by order. "majority"
        counts the last label of each annotator, and raises ValueError for a tie.

    >>> said = [Answer(3, "", "cat", LABELED, "ann"), Answer(3, "", "", SKIPPED, "bob")]
    >>> [(a.position, a.label, a.status) for a in settle(said)]
    [(3, 'cat', 'labeled')]
    """
    rows: dict[int, list[Answer]] = {}
    for answer in answers:
        rows.setdefault(answer.position, []).append(answer)
    _check_ids(rows)
    settled, undecided = [], []
    for said in rows.values():
        given = _by_time([a for a in said if a.status != NONE])
        labeled = [a for a in given if a.status == LABELED]
        best = _most_frequent(labeled) if on_conflict == "majority" else {a.label for a in labeled}
        if on_conflict == "last" and given:
            settled.append(given[-1])
        elif len(best) > 1:
            undecided.append(f"{said[0].name}: {first_few(sorted({repr(a.label) for a in labeled}))}")
        else:
            settled.append(next((a for a in labeled if a.label in best), (given or said)[0]))
    if undecided:
        way = "is tied between" if on_conflict == "majority" else "has"
        raise ValueError(
            f"every row must have one label, and {len(undecided)} {way} several: {first_few(undecided)}"
            f"; --on-conflict {'last' if on_conflict == 'majority' else 'last or majority'} settles this"
        )
    return settled


def check_against(batch: Sequence[Row], answers: Iterable[Answer]) -> list[Answer]:
    """The answers, and a NONE for every row of the batch that has none; ValueError where they are not of this batch."""
    rows = {row.position: row for row in batch}
    known = list(answers)
    for answer in known:
        row = rows.get(answer.position)
        if row is None:
            raise ValueError(f"{answer.name} is not in the batch")
        if row.id != answer.id:
            raise ValueError(
                f"the row at position {row.position} has the id {row.id!r} in the batch, not {answer.id!r}"
            )
    seen = {answer.position for answer in known}
    return known + [Answer(row.position, row.id, "", NONE) for row in batch if row.position not in seen]


def labels_csv(answers: Iterable[Answer]) -> str:
    """id,position,label,status: the labelled and the skipped rows, as pyal select --labels reads them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "position", "label", "status"))
    for a in answers:
        if a.status != NONE:
            writer.writerow((a.id, a.position, a.label, a.status))
    return text.getvalue()


def counted(answers: Sequence[Answer]) -> str:
    """How many rows are labelled, skipped and without an answer, in words."""
    n = Counter(a.status for a in answers)
    return f"rows: {n[LABELED]} labelled, {n[SKIPPED]} skipped, {n[NONE]} without an answer"


def moment(text: object, where: str) -> datetime | None:
    """The time that an ISO 8601 text names, UTC where it names no zone; None for an empty one."""
    if text in (None, ""):
        return None
    try:
        time = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"{where}: {text!r} is not a time") from None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _by_time(answers: list[Answer]) -> list[Answer]:
    times = {id(a): a.time for a in answers if a.time is not None}
    return sorted(answers, key=lambda a: times[id(a)]) if len(times) == len(answers) else answers


def _most_frequent(labeled: list[Answer]) -> set[str]:
    """The labels with the most votes. Each annotator has one vote, and so has each answer that names nobody."""
    votes = {(a.annotator, 0 if a.annotator else i): a.label for i, a in enumerate(labeled)}
    counts = Counter(votes.values())
    return {label for label, n in counts.items() if n == max(counts.values())}


def _check_ids(rows: dict[int, list[Answer]]) -> None:
    position_of: dict[str, int] = {}
    for position, said in rows.items():
        ids = {a.id for a in said}
        if len(ids) > 1:
            raise ValueError(f"position {position} must have one id; it has {first_few(sorted(map(repr, ids)))}")
        (name,) = ids
        if name and position_of.setdefault(name, position) != position:
            raise ValueError(
                f"the id {name!r} must name one row; it is at positions {position_of[name]} and {position}"
            )
