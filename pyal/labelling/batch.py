"""The batch that `pyal select` wrote, and what the classifier thinks of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pyal import files
from pyal.arrays import as_numpy, first_few
from pyal.pool import PROBA_TOLERANCE


@dataclass(frozen=True)
class Row:
    """A picked row. Texts are kept as they stand in the file; `more` holds the columns that pyal does not know."""

    position: int
    id: str = ""
    rank: str = ""
    score: str = ""
    more: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return named(self.position, self.id)


@dataclass(frozen=True)
class Prediction:
    """The likeliest class of a row and its probability."""

    label: str
    score: float


def named(position: int, id: str) -> str:
    """How a message names a row."""
    return f"{id!r} (position {position})" if id else f"position {position}"


def read_batch(path: str) -> list[Row]:
    """The rows of a CSV with a column position and perhaps rank, id and score, in its order, none twice.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("rank,position,id,score\\n1,7,007,0.5\\n")
    ...     file.flush()
    ...     read_batch(file.name)
    [Row(position=7, id='007', rank='1', score='0.5', more={})]
    """
    header, table = files.read_table(path)
    if "position" not in header:
        raise ValueError(f"{path} must have a column position, as pyal select writes it; it has {', '.join(header)}")
    rows = []
    for line, cells in table:
        record = dict(zip(header, cells, strict=True))
        position = files.position_in(record.pop("position"), f"{path}, line {line}")
        id, rank, score = (record.pop(name, "") for name in ("id", "rank", "score"))
        rows.append(Row(position, id, rank, score, {name: cell for name, cell in record.items() if name}))
    if not rows:
        raise ValueError(f"{path} holds no rows")
    if any(row.id for row in rows) and not all(row.id for row in rows):
        raise ValueError(f"{path} must hold an id for every row or for none")
    for key in ("position", "id"):
        keys = [getattr(row, key) for row in rows if getattr(row, key) != ""]
        if len(set(keys)) != len(keys):
            twice = sorted({k for k in keys if keys.count(k) > 1})
            raise ValueError(f"{path} must hold every {key} once; more than once come {first_few(twice)}")
    return rows


def read_classes(path: str) -> list[str]:
    """Class names, one per line, in the order of the columns of proba; at least two, none empty, none twice."""
    classes = files.read_lines(path)
    empty = [line for line, name in enumerate(classes, start=1) if not name.strip()]
    if empty:
        raise ValueError(f"{path} must hold one class per line; line {empty[0]} is empty")
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError(f"{path} must hold at least two different classes, each once; it has {first_few(classes)}")
    return classes


def predictions(path: str, classes: Sequence[str], rows: Sequence[Row]) -> list[Prediction]:
    """The likeliest class of each row by proba, (N, C) or the mean of (T, N, C), read for these rows only.

    Ties go to the class that stands first.
    """
    proba = as_numpy(path, "--proba")
    if proba.dtype.kind != "f" or proba.ndim not in (2, 3):
        raise ValueError(
            f"--proba must hold probabilities, (N, C) or (T, N, C); got shape {proba.shape} of {proba.dtype}"
        )
    if proba.shape[-1] != len(classes):
        raise ValueError(f"--proba must have one column per line of --classes, {len(classes)}; got shape {proba.shape}")
    beyond = [row.name for row in rows if row.position >= proba.shape[-2]]
    if beyond:
        raise ValueError(f"--proba has no row for {first_few(beyond)}; it has {proba.shape[-2]} rows")
    p = np.asarray(proba[..., [row.position for row in rows], :], np.float64)
    wrong = ~((p >= 0).all(-1) & (abs(p.sum(-1) - 1) <= PROBA_TOLERANCE))  # NaN is wrong too
    if wrong.any():
        row = rows[int(np.argwhere(wrong)[0, -1])]
        raise ValueError(f"--proba must hold probabilities that sum to 1; the row of {row.name} does not")
    mean = p.mean(axis=0) if p.ndim == 3 else p
    return [Prediction(classes[c], float(mean[i, c])) for i, c in enumerate(mean.argmax(axis=1).tolist())]
