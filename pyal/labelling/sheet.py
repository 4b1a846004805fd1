"""A CSV for a spreadsheet, with empty columns label and status to be filled in, and the answers in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from pyal import files
from pyal.labelling.answers import LABELED, NONE, SKIPPED, Answer, moment
from pyal.labelling.batch import Prediction, Row


def sheet(
    rows: Sequence[Row], images: Sequence[str] | None = None, predictions: Sequence[Prediction] | None = None
) -> str:
    """The batch with its images, the predictions and their probabilities, and the empty columns label and status."""
    more = list(rows[0].more)
    header = ["rank", "position", "id", "score", *more]
    taken = {"image", "prediction", "prediction_score", "label", "status"} & set(more)
    if taken:
        raise ValueError(f"the batch must not have a column {', '.join(sorted(taken))}: the sheet has one")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        header
        + (["image"] if images else [])
        + (["prediction", "prediction_score"] if predictions else [])
        + ["label", "status"]
    )
    for i, row in enumerate(rows):
        cells = [row.rank, str(row.position), row.id, row.score, *row.more.values()]
        cells += [images[i]] if images else []
        cells += [predictions[i].label, repr(predictions[i].score)] if predictions else []
        writer.writerow([*cells, "", ""])
    return text.getvalue()


def read_sheet(path: str) -> list[Answer]:
    """The answers in a CSV with columns position and label and perhaps id, status, annotator and time.

    status: empty or labeled, or skipped where the annotator will not say. A row without a label is NONE, and so is one
    whose label is nan, none, na or null unless its status is labeled. Separated by commas, semicolons or tabs.
    """
    header, lines = files.read_table(path)
    header = [name.lower() for name in header]
    for name in ("position", "label"):
        if header.count(name) != 1:
            raise ValueError(f"{path} must have a column {name}; its columns are {', '.join(header)}")
    answers = []
    for line, cells in lines:
        where = f"{path}, line {line}"
        record = dict(zip(header, cells, strict=True))
        label, status = record["label"].strip(), record.get("status", "").strip().lower()
        if status not in (LABELED, SKIPPED, NONE):
            raise ValueError(f"{where}: status must be labeled, skipped or empty; it is {status!r}")
        if (status == SKIPPED and label) or (status == LABELED and not label):
            raise ValueError(f"{where}: status is {status} and the label is {label!r}")
        if status == NONE and label.lower() not in files.HOLES:
            status = LABELED
        position, time = files.position_in(record["position"], where), moment(record.get("time", "").strip(), where)
        label = label if status == LABELED else ""
        answers.append(Answer(position, record.get("id", ""), label, status, record.get("annotator", ""), time))
    return answers
