"""pyal import label-studio on exports written by hand in the shapes that Label Studio 1.23 exports."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from pyal import cli
from pyal.labelling.label_studio import read_export


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def choices(*values: str, control: str = "label") -> dict:
    return {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": list(values)}}


BOX = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "rotation": 0, "rectanglelabels": ["cat"]}
RECTANGLE = {"id": "Dx_aB", "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": BOX}
PREDICTION = {"id": 1, "result": [choices("from a model")], "model_version": "pyal", "score": 0.9, "task": 1}


def annotation(*results: dict, by: object = 1, minute: int = 0, cancelled: bool = False, **more: object) -> dict:
    return {
        "id": 100 + minute,
        "completed_by": by,
        "result": list(results),
        "was_cancelled": cancelled,
        "ground_truth": False,
        "created_at": "2026-01-02T03:04:05.678901Z",
        "updated_at": f"2026-01-02T04:{minute:02d}:05Z",
        "draft_created_at": None,
        "lead_time": 3.25,
        "prediction": PREDICTION,
        "result_count": len(results),
        "unique_id": "40ffaa42-bd19-420a-81b3-a034a91c758d",
        "import_id": None,
        "last_action": None,
        "bulk_created": False,
        "task": 1,
        "project": 1,
        "updated_by": 1,
        "parent_prediction": None,
        "parent_annotation": None,
        "last_created_by": None,
        **more,
    }


def task(position: int, *annotations: dict, id: str | None = None, **more: object) -> dict:
    return {
        "id": 1000 + position,
        "annotations": list(annotations),
        "file_upload": None,
        "drafts": [{"id": 1, "result": [choices("a draft")], "user": "a@b.io", "was_postponed": False}],
        "predictions": [PREDICTION],
        "data": {
            "image": f"/data/local-files/?d=images/{position}.png",
            "pyal_position": position,
            "pyal_id": f"0{position}" if id is None else id,
            "pyal_rank": 1,
            "pyal_score": 0.5,
        },
        "meta": {},
        "created_at": "2026-01-02T03:04:05.678901Z",
        "updated_at": "2026-01-02T03:04:05.678901Z",
        "allow_skip": True,
        "inner_id": 1,
        "total_annotations": len(annotations),
        "cancelled_annotations": 0,
        "total_predictions": 1,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": 1,
        "updated_by": 1,
        "comment_authors": [],
        **more,
    }


def minimal(position: int, annotation_id: int | None, **tags: object) -> dict:
    """A record of JSON_MIN."""
    return {
        "image": f"/data/local-files/?d=images/{position}.png",
        "pyal_position": position,
        "pyal_id": f"0{position}",
        "pyal_rank": 1,
        "pyal_score": 1e300,
        "id": 1000 + position,
        **tags,
        "annotator": None if annotation_id is None else 1,
        "annotation_id": annotation_id,
        "created_at": None if annotation_id is None else "2026-01-02T03:04:05.678901Z",
        "updated_at": None if annotation_id is None else f"2026-01-02T04:{annotation_id % 60:02d}:05.000001Z",
        "lead_time": None,
    }


def tabular(records: list[dict], separator: str) -> str:
    """The CSV or TSV that Label Studio makes of records of JSON_MIN: sorted columns, texts quoted, the rest as JSON."""
    columns = sorted({name for record in records for name in record})
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        cells = [record.get(name, "") for name in columns]
        writer.writerow(["" if c is None else json.dumps(c) if isinstance(c, (dict, list)) else c for c in cells])
    return text.getvalue()


def run(capsys, content: object, *arguments: str) -> tuple[int, str, str]:
    text = content if isinstance(content, str) else json.dumps(content)
    Path("export").write_text(text, encoding="utf-8")
    try:
        code = cli.main(["import", "label-studio", "export", *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, *capsys.readouterr()


def imported(capsys, content: object, *arguments: str) -> dict[str, str]:
    """id -> label, or (skipped), of a successful import."""
    code, out, err = run(capsys, content, *arguments)
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert all((row["status"] == "skipped") == (row["label"] == "") for row in rows)
    return {row["id"]: row["label"] or "(skipped)" for row in rows}


def refused(capsys, content: object, *arguments: str) -> str:
    code, out, err = run(capsys, content, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    return err


def test_labelled_skipped_empty_and_untouched_rows(capsys):
    export = [
        task(5, annotation(choices(' a, "b" é')), id=' x,"y" '),
        task(3, annotation(cancelled=True)),
        task(4, annotation(choices("cat", "dog"), RECTANGLE, cancelled=True)),
        task(1, annotation()),
        task(2),
    ]
    assert imported(capsys, export) == {' x,"y" ': ' a, "b" é', "03": "(skipped)", "04": "(skipped)"}
    code, out, err = run(capsys, export, "-o", "labels.csv")
    assert (code, out, err) == (0, "", "pyal: rows: 1 labelled, 2 skipped, 2 without an answer\n")
    assert "exists; --force" in refused(capsys, export, "-o", "labels.csv")


def test_rows_of_the_batch_that_the_export_lacks(capsys):
    Path("batch.csv").write_text("rank,position,id,score\n1,3,03,\n2,4,04,\n3,5,05,\n")
    export = [task(3, annotation(choices("cat"))), task(4)]
    assert "1 labelled, 0 skipped, 2 without" in run(capsys, export, "--batch", "batch.csv")[2]
    words = "'06' (position 6) is not in the batch"
    assert words in refused(capsys, [task(6, annotation(choices("cat")))], "--batch", "batch.csv")


AGREED = [task(1, annotation(choices("cat"), by=1), annotation(choices("cat"), by=2, minute=1))]
TWICE = [task(1, annotation(choices("cat"), by=1, minute=9), annotation(choices("dog"), by=2, minute=1))]
SAME = [task(1, annotation(choices("cat"), by=1, minute=1), annotation(choices("dog"), by=1, minute=9))]
UNLIKE = [
    task(
        1,
        annotation(choices("cat"), by=1),
        annotation(choices("dog"), by=2),
        annotation(choices("dog"), by=3, minute=5),
    ),
    task(2, annotation(choices("cat"), by=1), annotation(choices("eel"), by=2)),
]
STUBBORN = [  # one annotator three times, the last time as the others; one vote each
    task(
        1, *[annotation(choices("cat"), by=1, minute=i) for i in (1, 2, 3)], annotation(choices("dog"), by=1, minute=4)
    ),
]
STUBBORN[0]["annotations"] += [
    annotation(choices("dog"), by={"id": 2, "email": "b@c.io"}),
    annotation(choices("cat"), by=3),
]
SKIPPED_ONCE = [task(1, annotation(choices("cat"), minute=1), annotation(cancelled=True, by=2, minute=2))]
TWO_TASKS = [task(1, annotation(choices("cat"))), task(1, annotation(choices("dog"), by=2, minute=1), task_id=9)]


@pytest.mark.parametrize(
    ("export", "policy", "expected"),
    [
        (AGREED, "error", "cat"),
        (AGREED, "last", "cat"),
        (AGREED, "majority", "cat"),
        (TWICE, "last", "cat"),
        (SAME, "last", "dog"),
        (SAME, "majority", "dog"),
        (UNLIKE[:1], "majority", "dog"),
        (STUBBORN, "majority", "dog"),
        (SKIPPED_ONCE, "error", "cat"),
        (SKIPPED_ONCE, "majority", "cat"),
        (SKIPPED_ONCE, "last", "(skipped)"),
        (TWO_TASKS, "last", "dog"),
    ],
)
def test_rows_labelled_twice(capsys, export, policy, expected):
    assert imported(capsys, export, "--on-conflict", policy) == {"01": expected}


@pytest.mark.parametrize(
    ("export", "policy", "words"),
    [
        (TWICE, "error", "1 has several: '01' (position 1): 'cat', 'dog'; --on-conflict last or majority settles"),
        (SAME, "error", "1 has several: '01'"),
        (TWO_TASKS, "error", "1 has several: '01'"),
        (UNLIKE, "error", "2 has several: '01' (position 1): 'cat', 'dog', '02' (position 2): 'cat', 'eel'"),
        (TWICE, "majority", "1 is tied between several: '01' (position 1): 'cat', 'dog'; --on-conflict last settles"),
    ],
)
def test_rows_that_nothing_settles(capsys, export, policy, words):
    assert words in refused(capsys, export, "--on-conflict", policy)


def test_several_choices(capsys):
    several = [task(1, annotation(choices("cat", "dog"))), task(2, annotation(choices("cat", "cat")))]
    assert "an annotation must have one choice, and it has cat, dog; --several skip" in refused(capsys, several)
    assert imported(capsys, several, "--several", "skip") == {"01": "(skipped)", "02": "cat"}
    per_region = [task(1, annotation(choices("cat"), choices("dog")))]
    assert "it has cat, dog" in refused(capsys, per_region)


def test_other_tags_than_choices(capsys):
    quality = choices("sharp", control="quality")
    both = [task(1, annotation(choices("cat"), RECTANGLE)), task(2, annotation(choices("dog"), quality))]
    words = "task 1001: only the answers of Choices are labels; 'box' is of another type, rectanglelabels"
    assert words in refused(capsys, both)
    assert imported(capsys, both, "--control", "label") == {"01": "cat", "02": "dog"}
    assert "it holds label, quality: --control says which" in refused(capsys, both[1:])
    assert imported(capsys, both[1:], "--control", "quality") == {"02": "sharp"}
    assert "'box' is of another type" in refused(capsys, both, "--control", "box")
    assert "holds no tag 'labl'; it holds box, label, quality" in refused(capsys, both, "--control", "labl")


MINIMAL = [
    minimal(5, 1, label=' a, "b" é'),
    minimal(7, 2, label="007"),
    minimal(7, 3, label="007"),
    minimal(8, 4),  # submitted without a choice
    minimal(9, None),  # not annotated; in an export of all tasks
]
FORMATS = {
    "JSON_MIN": lambda records: json.dumps(records),
    "CSV": lambda records: tabular(records, ","),
    "TSV": lambda records: tabular(records, "\t"),
}


@pytest.mark.parametrize("form", list(FORMATS))
def test_short_exports(capsys, form):
    written = FORMATS[form]
    assert imported(capsys, written(MINIMAL)) == {"05": ' a, "b" é', "07": "007"}
    assert "2 labelled, 0 skipped, 2 without" in run(capsys, written(MINIMAL))[2]
    several = [minimal(5, 1, label={"choices": ["cat", "dog"]})]
    assert "it has cat, dog" in refused(capsys, written(several))
    assert imported(capsys, written(several), "--several", "skip") == {"05": "(skipped)"}
    per_region = [minimal(5, 1, label=["cat", {"choices": ["dog", "eel"]}])]
    assert "it has cat, dog, eel" in refused(capsys, written(per_region))
    assert "'box' is of another type, x, y, width" in refused(capsys, written([minimal(5, 1, box=[BOX])]))
    two = [minimal(5, 1, label="cat", quality="sharp")]
    assert "it holds label, quality: --control says which" in refused(capsys, written(two))
    assert imported(capsys, written(two), "--control", "quality") == {"05": "sharp"}
    differ = [minimal(5, 9, label="cat"), minimal(5, 2, label="dog")]
    assert "1 has several: '05'" in refused(capsys, written(differ))
    assert imported(capsys, written(differ), "--on-conflict", "last") == {"05": "cat"}


def test_classes_that_look_like_something_else(capsys):
    names = ["[1]", '["a"]', "[]", "{", "None", "-1", "1.0", "true", '{"a', "\u2028"]
    records = [minimal(i, i, label=name) for i, name in enumerate(names[:-1])]
    expected = {f"0{i}": name for i, name in enumerate(names[:-1])}
    for written in FORMATS.values():
        assert imported(capsys, written(records)) == expected
    full = [task(i, annotation(choices(name))) for i, name in enumerate(names[:-1])]
    assert imported(capsys, full) == expected
    assert "the choice is empty" in refused(capsys, [task(1, annotation(choices(names[-1])))])


def without(record: dict, *names: str) -> dict:
    data = {key: value for key, value in record["data"].items() if key not in names}
    return {**record, "data": data}


LABELLED = task(1, annotation(choices("cat")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "its first line is empty"),
        ("[{", "must be an export of Label Studio, JSON, JSON_MIN, CSV or TSV"),
        ({"tasks": []}, "a list of tasks"),
        ([1], "a list of tasks"),
        ("position,label\n1,cat\n", "it has no column annotation_id"),
        (
            [{"data": LABELLED["data"]}],
            "task number 1 must have annotations, as exports of Label Studio do; it is what pyal",
        ),
        ([{"id": 3, "data": {}, "completions": []}], "task 3 must have annotations"),
        ([{**LABELLED, "annotations": [7]}], "export with full annotations"),
        ([{**LABELLED, "annotations": [{"result": [7]}]}], "export with full annotations"),
        ([task(1, annotation({**choices(), "value": {}}))], "choices that are a list of texts"),
        ([task(1, annotation({**choices(), "value": {"choices": [1]}}))], "choices that are a list of texts"),
        ([without(LABELLED, "pyal_position", "pyal_id")], "task 1001 must have a pyal_position"),
        ([task(True, annotation(choices("cat")))], "must have a pyal_position"),
        ([task(-1, annotation(choices("cat")))], "must have a pyal_position"),
        ([task(1, annotation(choices("cat")), id=7)], "pyal_id must be text, as pyal export writes it; it is 7"),
        ([task(1, annotation(choices("cat"), updated_at="noon"))], "'noon' is not a time"),
        ([LABELLED, task(2, id="01")], "'01' must name one row; it is at positions 1 and 2"),
    ],
)
def test_files_that_are_no_export(capsys, content, words):
    assert words in refused(capsys, content)


def test_no_ids_and_no_annotations(capsys):
    code, out, _ = run(capsys, [without(LABELLED, "pyal_id")])
    assert (code, out) == (0, "id,position,label,status\n,1,cat,labeled\n")
    code, out, err = run(capsys, [])
    assert (code, out, err) == (
        0,
        "id,position,label,status\n",
        "pyal: rows: 0 labelled, 0 skipped, 0 without an answer\n",
    )
    with pytest.raises(FileNotFoundError):
        read_export("nowhere.json")
