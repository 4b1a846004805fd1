"""pyal deduplicate: its table, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run
from data import blobs

from pyal import kernels

X = np.concatenate([blobs(30, 4), 2 * blobs(30, 4)[:20]])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    Path("ids.txt").write_text("".join(f"img{i:02d}.png\n" for i in range(50)))


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_it_writes_a_table(capsys, metric):
    code, out, err = run(capsys, "deduplicate", "X.npy", "--radius", "0.001", "--metric", metric)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "position,id,group,kept"
    rows = table(out)
    groups, kept = kernels.deduplicate(X, 0.001, metric=metric)
    assert [int(row["position"]) for row in rows] == list(range(50))
    assert [int(row["group"]) for row in rows] == groups.tolist()
    assert [int(row["position"]) for row in rows if row["kept"] == "yes"] == kept.tolist()
    assert {row["kept"] for row in rows} == ({"yes"} if metric == "euclidean" else {"yes", "no"})
    assert {row["id"] for row in rows} == {""}


def test_it_writes_a_file_with_ids(capsys):
    given = ("deduplicate", "X.npy", "--radius", "0", "--metric", "cosine", "--ids", "ids.txt", "-o", "kept.csv")
    code, out, err = run(capsys, *given, "--n-jobs", "1")
    rows = table(Path("kept.csv").read_text())
    assert (code, out, err) == (0, f"{sum(row['kept'] == 'yes' for row in rows)} of 50 rows are kept\n", "")
    assert [row["id"] for row in rows] == [f"img{i:02d}.png" for i in range(50)]
    assert "kept.csv exists; --force overwrites it" in refused(capsys, *given)
    assert run(capsys, *given, "--force")[0] == 0


def test_what_is_refused(capsys):
    assert "the following arguments are required: --radius" in refused(capsys, "deduplicate", "X.npy")
    assert "radius must be a finite number of at least 0" in refused(capsys, "deduplicate", "X.npy", "--radius", "-1")
    assert "argument --radius: invalid float" in refused(capsys, "deduplicate", "X.npy", "--radius", "near")
    assert "invalid choice: 'l1'" in refused(capsys, "deduplicate", "X.npy", "--radius", "1", "--metric", "l1")
    assert "no such file" in refused(capsys, "deduplicate", "Y.npy", "--radius", "1")
    Path("ids.txt").write_text("a\n")
    assert "one id per row" in refused(capsys, "deduplicate", "X.npy", "--radius", "1", "--ids", "ids.txt")
    assert not Path("kept.csv").exists()
