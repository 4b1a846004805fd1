"""pyal export and pyal import csv, and what all formats share: ids survive, nothing said is lost."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from commands import refused, run

from pyal import files
from pyal.arrays import labeled_positions
from pyal.labelling import sheet
from pyal.labelling.answers import LABELED, SKIPPED, Answer, labels_csv, settle
from pyal.labelling.batch import Row, read_batch

IDS = ["007", 'a,"b"', "é ü", " padded ", "1e5", "nan", "a\u2028b", "-1", "x&y#z%+?", "sub/9.v2", "None", "'"]
POSITIONS = [11, 4, 0, 7, 2, 9, 1, 3, 5, 6, 8, 10]  # of the ids in IDS, by rank
CLASSES = [" cat", 'a & "b", é', "None", "-1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A pool of 12 rows with awkward ids, an image of each, and a batch of all of them."""
    monkeypatch.chdir(tmp_path)
    ordered = [id for _, id in sorted(zip(POSITIONS, IDS, strict=True))]
    Path("ids.txt").write_text("".join(f"{id}\n" for id in ordered), encoding="utf-8")
    Path("classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    for i, id in enumerate(IDS):
        path = Path("my images") / f"{id}{('.png', '.JPG', '')[i % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")
    np.save("X.npy", np.random.default_rng(0).normal(size=(12, 3)))
    np.save("P.npy", np.random.default_rng(1).dirichlet(np.ones(4), 12))
    write_csv("batch.csv", ["rank", "position", "id", "score"], batch())


def batch() -> list[list[object]]:
    return [[i + 1, p, id, 0.1 * i] for i, (p, id) in enumerate(zip(POSITIONS, IDS, strict=True))]


def write_csv(path: str, header: list[str], rows: list[list[object]], **options) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, **options).writerows([header, *rows])


def read_csv(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def exported(capsys, *arguments: str) -> list[dict]:
    code, out, err = run(capsys, "export", "label-studio", "batch.csv", "--images", "my images", *arguments)
    assert (code, err) == (0, "")
    return json.loads(out)


def test_tasks_hold_what_the_batch_holds(capsys):
    tasks = exported(capsys)
    assert [task["data"]["pyal_id"] for task in tasks] == IDS
    assert [task["data"]["pyal_position"] for task in tasks] == POSITIONS
    assert [task["data"]["pyal_rank"] for task in tasks] == list(range(1, 13))
    assert [task["data"]["pyal_score"] for task in tasks] == [0.1 * i for i in range(12)]
    assert [set(task) for task in tasks] == [{"data"}] * 12
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=my%20images/007.png"
    assert tasks[8]["data"]["image"] == "/data/local-files/?d=my%20images/x%26y%23z%25%2B%3F"
    assert tasks[9]["data"]["image"] == "/data/local-files/?d=my%20images/sub/9.v2.png"


def test_other_addresses_and_columns(capsys):
    write_csv("batch.csv", ["position", "round", "rank", "score"], [[3, "2", "", "inf"], [0, "2", "", ""]])
    np.save("eight.npy", np.zeros((8, 2)))  # the images that have an extension
    tasks = exported(capsys, "--by-position", "eight.npy", "--url-prefix", "https://example.org/i?f=")
    assert [set(task["data"]) for task in tasks] == [
        {"image", "pyal_position", "pyal_round", "pyal_score"},
        {"image", "pyal_position", "pyal_round"},
    ]
    assert tasks[0]["data"]["pyal_score"] == "inf"  # JSON has no infinity
    names = ["1e5.JPG", "%20padded%20.png"]  # sorted: the padded one, -1, 007, 1e5, ...
    assert [task["data"]["image"] for task in tasks] == [f"https://example.org/i?f={name}" for name in names]


def test_by_position_is_the_order_of_an_image_folder(capsys):
    names = ["b/1.png", "a/2.jpg", "a-b/0.png", "a/1.jpeg", "z.png", "a/.hidden.png", "a/Thumbs.db"]
    for name in names:
        Path("pool", name).parent.mkdir(parents=True, exist_ok=True)
        Path("pool", name).write_bytes(b"")
    np.save("X.npy", np.zeros((5, 2)))
    write_csv("batch.csv", ["position"], [[i] for i in (4, 3, 2, 1, 0)])
    code, out, _ = run(capsys, "export", "csv", "batch.csv", "--images", "pool", "--by-position", "X.npy")
    assert code == 0
    expected = ["b/1.png", "a-b/0.png", "a/2.jpg", "a/1.jpeg", "z.png"]
    assert [row["image"] for row in csv.DictReader(io.StringIO(out))] == [f"pool/{name}" for name in expected]


def test_pattern(capsys):
    Path("frame_007_3.png").write_bytes(b"")
    write_csv("batch.csv", ["position", "id"], [[3, "007"]])
    code, out, _ = run(capsys, "export", "csv", "batch.csv", "--images", ".", "--pattern", "frame_{id}_{position}.png")
    assert (code, next(csv.DictReader(io.StringIO(out)))["image"]) == (0, "./frame_007_3.png")


@pytest.mark.parametrize("passes", [1, 3])
def test_predictions_and_configuration(capsys, passes):
    P = np.random.default_rng(2).dirichlet(np.ones(4), (passes, 12))
    np.save("P.npy", P if passes > 1 else P[0])
    asked = ("--proba", "P.npy", "--classes", "classes.txt", "--config-out", "config.xml")
    tasks = exported(capsys, *asked)
    for task, position in zip(tasks, POSITIONS, strict=True):
        (prediction,) = task["predictions"]
        mean = P[:, position].mean(0)
        assert prediction["score"] == pytest.approx(mean.max(), rel=1e-12)
        assert prediction["result"] == [
            {
                "from_name": "label",
                "to_name": "image",
                "type": "choices",
                "value": {"choices": [CLASSES[mean.argmax()]]},
            }
        ]
    config = ElementTree.parse("config.xml").getroot()
    assert [choice.get("value") for choice in config.iter("Choice")] == CLASSES
    assert [config.find(tag).get("name") for tag in ("Image", "Choices")] == ["image", "label"]
    assert "exists" in refused(capsys, "export", "label-studio", "batch.csv", "--images", "my images", *asked)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--images", "nowhere"), "--images must be a folder"),
        (("--pattern", "{id}.gif"), "none is there for '007' (position 11), "),
        (("--pattern", "{name}.gif"), "with {id} or {position}"),
        (("--pattern", "../{id}.png"), "leads out of it"),
        (("--pattern", "007.png"), "would serve '007' (position 11) and"),
        (("--by-position", "small.npy"), "one image per row of small.npy, 5; it holds 8"),
        (("--by-position", "none.npy"), "no such file"),
        (("--by-position", "X.npy", "--pattern", "{id}"), "not allowed with"),
        (("--proba", "P.npy"), "--classes must name the classes for --proba"),
        (("--config-out", "c.xml"), "--classes must name the classes for --config-out"),
        (("--proba", "small.npy", "--classes", "classes.txt"), "one column per line of --classes, 4; got shape (5, 2)"),
        (("--proba", "logits.npy", "--classes", "classes.txt"), "the row of '007' (position 11) does not"),
        (("--proba", "P.npy", "--classes", "twice.txt"), "each once; it has a, b, a, b"),
        (("--proba", "P.npy", "--classes", "empty.txt"), "line 2 is empty"),
        (("--classes", "classes.txt", "--config-out", "x", "-o", "x"), "must be two files"),
        (("-o", "batch.csv"), "batch.csv exists; --force overwrites it"),
    ],
)
def test_exports_that_do_not_fit(capsys, arguments, words):
    np.save("small.npy", np.full((5, 2), 0.5))
    np.save("logits.npy", np.ones((12, 4)))
    Path("twice.txt").write_text("a\nb\na\nb\n")
    Path("empty.txt").write_text("a\n\nb\nc\n")
    assert words in refused(capsys, "export", "label-studio", "batch.csv", "--images", "my images", *arguments)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rank,id\n1,007\n", "must have a column position"),
        ("position,id\n1,007\n1,a\n", "every position once; more than once come 1"),
        ("position,id\n1,007\n2,007\n", "every id once; more than once come 007"),
        ("position,id\n1,007\n2,\n", "an id for every row or for none"),
        ("position\n-1\n", "line 2: position must be 0 or a positive integer; it is '-1'"),
        ("position\n²\n", "it is '²'"),
        ("position,id\n1\n", "1 columns where the header has 2"),
        ("position,id,\n1,a,b\n", "in a column without a name"),
        ("position,position\n1,1\n", "every column once"),
        ("position\n", "holds no rows"),
        ("", "its first line is empty"),
        ("position\n1\n", "--pattern or --by-position must say"),
        ("position,id\n1,/etc/hosts\n", "leads out of it"),
        ("position,id\n1,lost\n2,gone\n", "none is there for 'lost' (position 1), 'gone' (position 2)"),
        ("position,id\n1,both\n", "one image of 'both' (position 1); it holds both.gif, both.png"),
    ],
)
def test_batches_that_do_not_fit(capsys, text, words):
    for name in ("both.png", "both.gif", "both.txt"):
        Path("my images", name).write_bytes(b"")
    Path("batch.csv").write_text(text)
    assert words in refused(capsys, "export", "label-studio", "batch.csv", "--images", "my images")


def test_csv_round_trip_into_select(capsys):
    asked = ("export", "csv", "batch.csv", "--images", "my images", "--proba", "P.npy", "--classes", "classes.txt")
    assert run(capsys, *asked, "-o", "sheet.csv") == (0, "", "")
    rows = read_csv("sheet.csv")
    assert [row["id"] for row in rows] == IDS
    assert {(row["label"], row["status"]) for row in rows} == {("", "")}
    assert rows[0]["prediction"] == CLASSES[np.load("P.npy")[POSITIONS[0]].argmax()]
    for i, row in enumerate(rows[:6]):
        row["label"], row["status"] = [("cat", ""), ("None", "labeled"), ("", "skipped")][i % 3]
    write_csv("sheet.csv", list(rows[0]), [list(row.values()) for row in rows], delimiter=";")
    code, _, err = run(capsys, "import", "csv", "sheet.csv", "--batch", "batch.csv", "-o", "labels.csv")
    assert (code, err) == (0, "pyal: rows: 4 labelled, 2 skipped, 6 without an answer\n")
    assert read_csv("labels.csv") == [
        {"id": id, "position": str(p), "label": row["label"], "status": row["status"] or "labeled"}
        for p, id, row in list(zip(POSITIONS, IDS, rows, strict=True))[:6]
    ]
    ids = files.read_ids("ids.txt", 12)
    y = files.read_labels("labels.csv", 12, ids)
    assert {p: y[p] for p in labeled_positions(y, 12).tolist()} == {11: "cat", 4: "None", 7: "cat", 2: "None"}
    assert files.read_skipped("labels.csv", 12, ids) == [0, 9]
    asked = ("select", "X.npy", "--ids", "ids.txt", "--labels", "labels.csv", "--batch-size", "6", "--strategy")
    code, out, _ = run(capsys, *asked, "coreset")
    left = set(range(12)) - {11, 4, 7, 2} - {0, 9}
    assert {int(row["position"]) for row in csv.DictReader(io.StringIO(out))} == left


def test_label_files_with_a_status():
    Path("l.csv").write_text("id,position,label,status\na,0,-1,labeled\nb,1, NA,labeled\nc,2,,skipped\nd,3, x ,done\n")
    assert files.read_labels("l.csv", 5, list("abcde")).tolist() == ["-1", " NA", None, "x", None]
    assert files.read_skipped("l.csv", 5, None) == [2]
    Path("l.csv").write_text("position,label,status\n1,,skipped\n1,cat,labeled\n")
    assert files.read_skipped("l.csv", 2, None) == []
    for text, words in (
        ("position,label,status\n0,cat,skipped\n", "status is skipped and there is a label, 'cat'"),
        ("position,label,status\n0,,labeled\n", "status is labeled and the label is empty"),
        ("id,position,label\nb,0,cat\n", "position 0 is 'a' in --ids, not 'b'"),
    ):
        Path("l.csv").write_text(text)
        with pytest.raises(ValueError, match=words):
            files.read_labels("l.csv", 2, ["a", "b"])


def test_labels_by_id_are_found_word_for_word():
    ids = files.read_ids("ids.txt", 12)
    assert sorted(ids) == sorted(IDS)
    write_csv("l.csv", ["id", "label"], [[id, f"of {i}"] for i, id in enumerate(IDS)])
    y = files.read_labels("l.csv", 12, ids)
    assert [y[p] for p in POSITIONS] == [f"of {i}" for i in range(12)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,label\na,cat\n", "must have a column position"),
        ("position\n1\n", "must have a column label"),
        ("position,label,status\n1,cat,done\n", "status must be labeled, skipped or empty; it is 'done'"),
        ("position,label,status\n1,cat,skipped\n", "status is skipped and the label is 'cat'"),
        ("position,label,status\n1,,labeled\n", "status is labeled and the label is ''"),
        ("position,label\none,cat\n", "it is 'one'"),
        ("position,label,time\n1,cat,noon\n", "'noon' is not a time"),
        ("position,id,label\n11,7,cat\n", "the row at position 11 has the id '007' in the batch, not '7'"),
        ("position,id,label\n12,7,cat\n", "'7' (position 12) is not in the batch"),
        ("position,id,label\n11,007,cat\n11,007,dog\n", "1 has several: '007' (position 11): 'cat', 'dog'"),
    ],
)
def test_sheets_that_do_not_fit(capsys, text, words):
    Path("sheet.csv").write_text(text)
    assert words in refused(capsys, "import", "csv", "sheet.csv", "--batch", "batch.csv", "-o", "labels.csv")
    assert not Path("labels.csv").exists()


def test_two_sheets_are_one(capsys):
    Path("a.csv").write_text("position,label,annotator\n3,cat,ann\n4,dog,ann\n5,,ann\n")
    Path("b.csv").write_text("Position\tLabel\tAnnotator\n4\tdog\tbob\n5\tcat\tbob\n")
    code, out, err = run(capsys, "import", "csv", "a.csv", "b.csv")
    assert (code, out) == (0, "id,position,label,status\n,3,cat,labeled\n,4,dog,labeled\n,5,cat,labeled\n")
    assert "3 labelled, 0 skipped, 0 without" in err


def test_ids_must_name_one_row_each():
    with pytest.raises(ValueError, match="position 1 must have one id; it has 'a', 'b'"):
        settle([Answer(1, "a", "cat", LABELED), Answer(1, "b", "cat", LABELED)])
    with pytest.raises(ValueError, match="the id 'a' must name one row; it is at positions 1 and 2"):
        settle([Answer(1, "a", "cat", LABELED), Answer(2, "a", "cat", LABELED)])


@pytest.mark.parametrize("seed", range(20))
def test_any_text_survives_the_files(seed):
    rng = np.random.default_rng(seed)
    alphabet = list("aab019 ,;'\"\t\\#=+-{}[]:|%é\u0301ß中🐈\u2028\u2029\x85\x0b\x0c\x1c\u00a0")
    texts = ["".join(rng.choice(alphabet, rng.integers(1, 9))) for _ in range(60)]
    ids = [f"{text}{i}{text}" for i, text in enumerate(texts)]
    labels = [text if text.strip() and rng.random() < 0.8 else None for text in texts[::-1]]
    answers = [
        Answer(i, id, label or "", LABELED if label else SKIPPED)
        for i, (id, label) in enumerate(zip(ids, labels, strict=True))
    ]
    files.write_whole("out", labels_csv(settle(answers)).encode(), force=True)
    assert files.read_labels("out", len(ids), ids).tolist() == labels
    assert files.read_skipped("out", len(ids), ids) == [i for i, label in enumerate(labels) if label is None]
    files.write_whole("out", sheet.sheet([Row(i, id) for i, id in enumerate(ids)]).encode(), force=True)
    assert [row.id for row in read_batch("out")] == ids
    assert [answer.id for answer in sheet.read_sheet("out")] == ids
    files.write_whole("out", "".join(f"{id}\n" for id in ids).encode(), force=True)
    assert files.read_ids("out", len(ids)) == ids
