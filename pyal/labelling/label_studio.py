"""Label Studio: tasks and a labelling configuration for it, and answers out of its exports.

https://labelstud.io/guide/tasks and https://labelstud.io/guide/export describe the formats. Of the exports only
JSON says which rows were skipped; JSON_MIN, CSV and TSV leave them out. Predictions and drafts are never answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from pyal import files
from pyal.labelling.answers import LABELED, NONE, SKIPPED, Answer, moment
from pyal.labelling.batch import Prediction, Row

CONTROL, IMAGE = "label", "image"
# What JSON_MIN, CSV and TSV hold beside the data of a task; a key that is neither of both is a control tag's.
EXPORTED = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "history"}


def tasks(rows: Sequence[Row], addresses: Sequence[str], predictions: Sequence[Prediction] | None = None) -> str:
    """The tasks as JSON: data.image, data.pyal_position and, where the batch has them, pyal_id, pyal_rank, pyal_score.

    Further columns of the batch come along as data.pyal_<name>. With `predictions` each task has a prediction: a choice
    with its probability as score, which Label Studio shows as a preselection and sorts by.
    """
    listed = []
    for i, (row, image) in enumerate(zip(rows, addresses, strict=True)):
        data: dict[str, Any] = {IMAGE: image, "pyal_position": row.position}
        data |= {"pyal_id": row.id} if row.id else {}
        data |= {f"pyal_{name}": _number(text) for name, text in (("rank", row.rank), ("score", row.score)) if text}
        data |= {f"pyal_{name}": text for name, text in row.more.items()}
        task: dict[str, Any] = {"data": data}
        if predictions is not None:
            choice = {"from_name": CONTROL, "to_name": IMAGE, "type": "choices"}
            result = [choice | {"value": {"choices": [predictions[i].label]}}]
            task["predictions"] = [{"model_version": "pyal", "score": predictions[i].score, "result": result}]
        listed.append(task)
    return json.dumps(listed, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def label_config(classes: Sequence[str]) -> str:
    """The labelling configuration: one image, one choice out of the classes.

    >>> print(label_config(["cat", "dog"]))
    <View>
      <Image name="image" value="$image"/>
      <Choices name="label" toName="image" choice="single" required="true">
        <Choice value="cat"/>
        <Choice value="dog"/>
      </Choices>
    </View>
    <BLANKLINE>
    """
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in classes)
    return (
        f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}"/>\n'
        f'  <Choices name="{CONTROL}" toName="{IMAGE}" choice="single" required="true">\n{choices}'
        "  </Choices>\n</View>\n"
    )


def read_export(path: str, *, control: str | None = None, several: str = "error") -> list[Answer]:
    """The answers in an export, JSON, JSON_MIN, CSV or TSV: one per annotation, and NONE for a task without one.

    path: the file.
    control: the name of the Choices tag to read, where the configuration has others too.
    several: "error" or "skip", what an annotation with several choices is.

    Raises ValueError that names the task: for other tags than Choices, for tasks that pyal did not write, and for files
    that are no export.
    """
    records = list(_records(path))
    found = [_choices(record, where, control) for record, where in records]
    names = {name for _, seen in found for name in seen}
    if control is not None and names and control not in names:
        raise ValueError(f"{path} holds no tag {control!r}; it holds {', '.join(sorted(names))}")
    if control is None and len(names) > 1:
        raise ValueError(
            f"{path} must hold the answers of one tag; it holds {', '.join(sorted(names))}: --control says which"
        )
    return [
        _answer(record, where, choices, several) for (record, where), (choices, _) in zip(records, found, strict=True)
    ]


def _records(path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """(record of an annotation in the shape of JSON_MIN, where it is); full JSON adds the keys result and cancelled."""
    text = files.read_text(path)
    if text.lstrip()[:1] not in ("[", "{"):
        yield from _table(path)
        return
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} must be an export of Label Studio, JSON, JSON_MIN, CSV or TSV: {error}") from None
    if not isinstance(listed, list) or not all(isinstance(task, dict) for task in listed):
        raise ValueError(f"{path} must be an export of Label Studio: a list of tasks")
    for number, task in enumerate(listed, start=1):
        where = f"{path}, task {task.get('id', f'number {number}')}"
        if isinstance(task.get("annotations"), list) and isinstance(task.get("data"), dict):
            yield from _of_task(task, where)
        elif "annotation_id" in task:
            yield task, where
        else:
            hint = "; it is what pyal export writes" if "data" in task else ""
            raise ValueError(f"{where} must have annotations, as exports of Label Studio do{hint}")


def _of_task(task: dict[str, Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    for annotation in task["annotations"] or [{}]:
        if not isinstance(annotation, dict) or not _is_list_of_objects(annotation.get("result", [])):
            raise ValueError(f"{where} must have annotations with a list of results; export with full annotations")
        by = annotation.get("completed_by", "")
        yield (
            {
                **{key: value for key, value in task["data"].items() if key.startswith("pyal_")},
                "result": annotation.get("result", []),
                "cancelled": bool(annotation.get("was_cancelled")),
                "annotator": by.get("id", by.get("email", "")) if isinstance(by, dict) else by,
                "created_at": annotation.get("created_at"),
                "updated_at": annotation.get("updated_at"),
            },
            where,
        )


def _table(path: str) -> Iterator[tuple[dict[str, Any], str]]:
    header, lines = files.read_table(path)
    if "annotation_id" not in header:
        raise ValueError(f"{path} must be an export of Label Studio; it has no column annotation_id")
    for line, cells in lines:
        record: dict[str, Any] = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
        yield record | {name: _unfolded(record[name]) for name in _tags(record)}, f"{path}, line {line}"


def _unfolded(cell: str) -> Any:
    """The value of JSON_MIN in a cell of a table, where what is not text is JSON. A class may look like JSON too."""
    try:
        value = json.loads(cell) if cell[:1] in ("{", "[") else cell
    except ValueError:
        return cell
    if isinstance(value, list):  # of one text it would not be one
        several = all(isinstance(part, (str, dict)) for part in value) and value[1:] != []
        return value if several or (value != [] and _is_list_of_objects(value)) else cell
    return value


def _choices(record: dict[str, Any], where: str, control: str | None) -> tuple[list[str], set[str]]:
    """The choices of one annotation and the names of all tags that it has results of."""
    if record.get("cancelled"):
        return [], set()
    if "result" not in record:
        tags = _tags(record)
        return [c for name in tags if control in (None, name) for c in _short(record[name], name, where)], set(tags)
    picked: list[str] = []
    for result in record["result"]:
        name, kind = result.get("from_name"), result.get("type")
        if control not in (None, name):
            continue
        if kind != "choices":
            _refuse(where, name, kind)
        picked += _listed(result.get("value"), where)
    return picked, {str(result.get("from_name")) for result in record["result"]}


def _short(value: Any, name: str, where: str) -> list[str]:
    """The choices in a value as JSON_MIN abbreviates it: text, {"choices": [...]}, or a list of results."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict) and "choices" in value:
        return _listed(value, where)
    if isinstance(value, list):
        return [choice for part in value for choice in _short(part, name, where)]
    _refuse(where, name, type(value).__name__ if not isinstance(value, dict) else ", ".join(value))
    return []


def _listed(value: Any, where: str) -> list[str]:
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise ValueError(f"{where} must have choices that are a list of texts; it has {value!r}")
    return choices


def _refuse(where: str, name: object, kind: object) -> None:
    raise ValueError(f"{where}: only the answers of Choices are labels; {name!r} is of another type, {kind}")


def _tags(record: dict[str, Any]) -> list[str]:
    return [name for name in record if name not in EXPORTED and name != IMAGE and not name.startswith("pyal_")]


def _answer(record: dict[str, Any], where: str, choices: list[str], several: str) -> Answer:
    position, id = _position(record, where), record.get("pyal_id", "")
    if not isinstance(id, str):
        raise ValueError(f"{where}: pyal_id must be text, as pyal export writes it; it is {id!r}")
    row = f"{where}, {id!r}" if id else where
    if len(set(choices)) > 1 and several == "error":
        raise ValueError(
            f"{row}: an annotation must have one choice, and it has {', '.join(choices)}; --several skip skips it"
        )
    if choices and not choices[0].strip():
        raise ValueError(f"{row}: the choice is empty")
    skipped = record.get("cancelled", False) or len(set(choices)) > 1
    status = SKIPPED if skipped else LABELED if choices else NONE
    by = record.get("annotator")
    time = moment(record.get("updated_at") or record.get("created_at"), where)
    return Answer(position, id, choices[0] if status == LABELED else "", status, "" if by is None else str(by), time)


def _position(record: dict[str, Any], where: str) -> int:
    value = record.get("pyal_position")
    if isinstance(value, str):
        return files.position_in(value, f"{where}, pyal_position")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{where} must have a pyal_position, as the tasks of pyal export do; it has {value!r}")


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict) for part in value)


def _number(text: str) -> float | int | str:
    """A number where the text is one that JSON can hold, else the text."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text
