"""The command line: what it writes, and that a user's mistake is one sentence and exit code 2."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run
from data import blobs

import pyal
from pyal import files
from pyal.arrays import labeled_positions
from pyal.cli import demo
from pyal.cli.command_line import COMMANDS
from pyal.kernels import cuda_build

X = blobs(50, 4)
P = np.random.default_rng(1).dirichlet(np.ones(3), 50)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    np.save("P.npy", P)
    Path("ids.txt").write_text("".join(f"img{i:02d}.png\n" for i in range(50)))
    return tmp_path


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def start(*arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(pyal.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-m", "pyal", *arguments], stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def test_select_writes_a_table(capsys):
    code, out, err = run(capsys, "select", "X.npy", "--batch-size", "5", "--seed", "3")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "rank,position,id,score"
    rows = table(out)
    expected = pyal.select(X, strategy="typiclust", batch_size=5, random_state=3)
    assert [int(row["position"]) for row in rows] == expected.tolist()
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert {(row["id"], row["score"]) for row in rows} == {("", "")}


def test_select_with_everything(capsys):
    Path("labels.csv").write_text("id,label\nimg03.png,cat\nimg07.png,\nimg09.png,dog\n")
    code, out, _ = run(
        capsys,
        "select",
        "X.npy",
        "--strategy",
        "margin",
        "--batch-size",
        "4",
        "--labels",
        "labels.csv",
        "--ids",
        "ids.txt",
        "--proba",
        "P.npy",
        "--option",
        "aggregate=metric",
        "-o",
        "batch.csv",
        "--n-jobs",
        "1",
        "--device",
        "cpu",
        "--metric",
        "cosine",
    )
    assert (code, out) == (0, "")
    rows = table(Path("batch.csv").read_text())
    assert [int(r["position"]) for r in rows] == pyal.select(
        X, strategy="margin", proba=P, labeled=[3, 9], batch_size=4
    ).tolist()
    scores = pyal.score(X, strategy="margin", proba=P)
    for row in rows:
        assert row["id"] == f"img{int(row['position']):02d}.png"
        assert float(row["score"]) == scores[int(row["position"])]
    assert sorted(os.listdir()) == ["P.npy", "X.npy", "batch.csv", "ids.txt", "labels.csv"]


@pytest.mark.parametrize(
    "text",
    [
        "position,label\n3,cat\n9,dog\n7,\n",
        "label,position\ncat,3\ndog,9\n",
        "\ufeffPosition, Label\r\n9, dog\r\n3, cat\r\n",
        "".join(f"{'cat' if i in (3, 9) else ''}\n" for i in range(50)),
        "".join(f"{0 if i in (3, 9) else -1}\n" for i in range(50)),
        "label\n" + "".join(f"{'a' if i in (3, 9) else 'nan'}\n" for i in range(50)),
        "rank,position,id,score,label\n1,3,,0.5,cat\n2,9,,,dog\n3,4,,,\n",
        "position,label\n3,-1\n9,1\n",
    ],
)
def test_label_files(text):
    Path("labels.csv").write_bytes(text.encode())
    y = files.read_labels("labels.csv", 50, None)
    assert labeled_positions(y, 50).tolist() == [3, 9]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("position,label\n50,cat\n", "line 2: position must be a position in 0 .. 49; it is '50'"),
        ("position,label\n-3,cat\n", "it is '-3'"),
        ("position,label\n3,cat\n3,dog\n", "line 3: position '3' has a label already"),
        ("position,label\n3\n", "1 columns where the header has 2"),
        ("id,label\nimg01.png,cat\n", "--ids must say"),
        ("cat\ndog\n", "one label per row"),
        ("name,label\na,b\n", "a column position or id"),
        ("1,2\n3,4\n", "must have a header"),
        ("position,label\n3,-1\n9,4\n", "holds the label -1"),
        ("".join(f"{2 * (i % 2) - 1}\n" for i in range(50)), "ambiguous"),
        ("", "it has 0 lines"),
        ("cat\n" * 50, "all 50 rows of X are labelled"),
    ],
)
def test_label_files_that_do_not_fit(capsys, text, words):
    Path("labels.csv").write_text(text)
    assert words in refused(capsys, "select", "X.npy", "--batch-size", "2", "--labels", "labels.csv")


def test_label_files_that_are_no_text(capsys):
    Path("labels.csv").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refused(capsys, "select", "X.npy", "--batch-size", "2", "--labels", "labels.csv")
    Path("labels.csv").write_text("id,label\nimg99.png,cat\n")
    assert "must be an id out of --ids; it is 'img99.png'" in refused(
        capsys, "select", "X.npy", "--batch-size", "2", "--labels", "labels.csv", "--ids", "ids.txt"
    )


def test_id_files_that_do_not_fit(capsys):
    ask = ("select", "X.npy", "--batch-size", "2", "--ids", "ids.txt")
    Path("ids.txt").write_text("a\n" * 50)
    assert "'a' comes more than once" in refused(capsys, *ask)
    Path("ids.txt").write_text("a\n")
    assert "one id per row of the embeddings, 50; it has 1 lines" in refused(capsys, *ask)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.npy", "--batch-size", "2"), "no such file: 'missing.npy'"),
        (("ids.txt", "--batch-size", "2"), "must be a .npy file"),
        ((".", "--batch-size", "2"), "directory"),
        (("X.npy",), "--batch-size"),
        (("X.npy", "--batch-size", "two"), "invalid int"),
        (("X.npy", "--batch-size", "-2"), "must not be negative"),
        (("X.npy", "--batch-size", "2", "--strategy", "typiclst"), "did you mean 'typiclust'"),
        (("X.npy", "--batch-size", "2", "--strategy", "margin"), "needs proba="),
        (("X.npy", "--batch-size", "2", "--seed", "-1"), "random_state must not be negative"),
        (("X.npy", "--batch-size", "2", "--option", "k_nn"), "must be NAME=VALUE"),
        (("X.npy", "--batch-size", "2", "--option", "knn=3"), "did you mean 'k_nn'"),
        (("X.npy", "--batch-size", "2", "--option", "k_nn=many"), "must be an integer"),
        (("X.npy", "--batch-size", "2", "--option", "device=1"), "has no option 'device'"),
        (("X.npy", "--batch-size", "2", "--option", "k_nn=3", "--option", "k_nn=4"), "given twice"),
        (("X.npy", "--batch-size", "2", "--proba", "missing.npy", "--strategy", "margin"), "missing.npy"),
        (("X.npy", "--batch-size", "2", "--device", "tpu"), "device must be"),
        (("X.npy", "--batch-size", "2", "-o", "no/batch.csv"), "there is no folder"),
        (("X.npy", "--batch-size", "2", "-o", "ids.txt"), "ids.txt exists; --force overwrites it"),
        (("X.npy", "--batch-size", "2", "-o", "."), "not a regular file"),
        (("X.npy", "--batch-size", "2", "--labels", "missing.csv"), "missing.csv"),
        (("X.npy", "--batch-size", "2", "--metric", "l2"), "invalid choice"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, words):
    assert words in refused(capsys, "select", *arguments)


def test_bad_values_are_one_sentence(capsys):
    np.save("bad.npy", np.where(X[4] == X, np.nan, X))
    assert "4" in refused(capsys, "select", "bad.npy", "--batch-size", "2")
    np.save("flat.npy", X[0])
    assert "must be 2-D" in refused(capsys, "select", "flat.npy", "--batch-size", "2")
    np.save("text.npy", X.astype(str))
    assert "must hold real numbers" in refused(capsys, "select", "text.npy", "--batch-size", "2")


def test_pyal_alone_prints_its_help(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert out.startswith("usage: pyal")
    assert re.findall(r"^    (\w+)", out, flags=re.MULTILINE) == list(COMMANDS)


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"pyal {pyal.__version__}\n", "")


@pytest.mark.parametrize("arguments", [("selct",), ("select",), ("select", "X.npy", "--bach-size", "2")])
def test_wrong_usage(capsys, arguments):
    assert "--help" in refused(capsys, *arguments)


def test_a_batch_too_large_is_a_warning(capsys):
    code, out, err = run(capsys, "select", "X.npy", "--batch-size", "70", "--strategy", "random")
    assert code == 0
    assert len(table(out)) == 50
    assert err == "pyal: warning: batch_size=70 is more than the 50 candidates; all of them are returned\n"


def test_batch_of_none(capsys):
    assert run(capsys, "select", "X.npy", "--batch-size", "0")[:2] == (0, "rank,position,id,score\n")


def test_existing_files_are_kept(capsys):
    Path("batch.csv").write_text("mine")
    refused(capsys, "select", "X.npy", "--batch-size", "2", "-o", "batch.csv")
    assert Path("batch.csv").read_text() == "mine"
    assert run(capsys, "select", "X.npy", "--batch-size", "2", "-o", "batch.csv", "--force")[0] == 0
    assert len(table(Path("batch.csv").read_text())) == 2


def test_whole_files_or_none(monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"batch.csv could not be written: No space left on device"):
        files.write_whole("batch.csv", b"1234", force=False)
    assert not list(Path().glob("*batch.csv*"))
    assert not list(Path().glob(".*"))


def test_a_file_that_appears_meanwhile_is_kept(monkeypatch):
    check = files.check_writable
    monkeypatch.setattr(
        files, "check_writable", lambda path, force: (check(path, force=force), Path(path).write_text("mine"))
    )
    with pytest.raises(FileExistsError, match=r"batch.csv exists"):
        files.write_whole("batch.csv", b"1234", force=False)
    assert Path("batch.csv").read_text() == "mine"


def test_file_systems_without_links(monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    files.write_whole("batch.csv", b"1234", force=False)
    assert Path("batch.csv").read_bytes() == b"1234"
    assert not list(Path().glob(".*"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_on_standard_output():
    with open("/dev/full", "w") as full:
        process = start("select", "X.npy", "--batch-size", "2", stdout=full)
        err = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert err == "pyal: error: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_broken_pipe():
    read, write = os.pipe()
    os.close(read)
    process = start("select", "X.npy", "--batch-size", "2", stdout=write)
    os.close(write)
    assert process.communicate(timeout=120)[1] == ""
    assert process.returncode == 141


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_interrupt():
    """Ctrl-C while a file is awaited: one line, exit code 130."""
    os.mkfifo("wait.csv")
    process = start("select", "X.npy", "--batch-size", "2", "--labels", "wait.csv", stdout=subprocess.PIPE)
    writer = None
    while writer is None and process.poll() is None:
        try:
            writer = os.open("wait.csv", os.O_WRONLY | os.O_NONBLOCK)  # fails until the command has opened it
        except OSError:
            time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "pyal: interrupted\n")
    os.close(writer)


def test_doctor(capsys):
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (0, "")
    found = {line.split("  ", 1)[0]: line.split("  ", 1)[1].strip() for line in out.splitlines()}
    assert found["pyal"] == pyal.__version__
    assert found["numpy"] == np.__version__
    assert "in use; compiled: " in found["instruction set"]
    assert int(found["threads"]) >= 1
    assert found["_cuda"]


def test_doctor_finds_what_was_built_on_first_use(capsys, monkeypatch):
    """Finished builds only, the newest by name, and none of them is built, loaded or touched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").resolve()))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyal._cuda" else find(name))
    monkeypatch.setattr(cuda_build, "load", lambda: pytest.fail("doctor must not build"))
    assert re.search(r"^_cuda +not built", run(capsys, "doctor")[1], re.MULTILINE)
    assert not Path("cache").exists()
    for age, name in enumerate(["_cuda-killed", "_cuda-new", "_cuda-old"]):
        folder = Path("cache/pyal", name)
        folder.mkdir(parents=True)
        if name != "_cuda-killed":
            (folder / "finished").touch()
            os.utime(folder / "finished", (10_000 - age, 10_000 - age))
    line = next(line for line in run(capsys, "doctor")[1].splitlines() if line.startswith("_cuda"))
    newest = Path("cache/pyal/_cuda-new/_cuda.so").resolve()
    assert f"not installed, but built on first use: {newest} and 1 more; " in line


def test_demo(capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "BUDGET", 20)
    code, out, _ = run(capsys, "demo", "--seeds", "2")
    assert code == 0
    assert Path("pyal-demo.png").read_bytes().startswith(b"\x89PNG")
    shown = [line.split()[0] for line in out.splitlines() if line.count(" ± ") == 3]  # 10, 20 labels, area under both
    assert shown == ["random", *demo.STRATEGIES]
    assert "pyal-demo.png exists" in refused(capsys, "demo")
    assert "--seeds must be at least 1" in refused(capsys, "demo", "--seeds", "0", "-o", "other.png")
