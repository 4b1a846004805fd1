"""The tables of bench/results/README.md and the figures of README.md are what the recorded runs say."""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "bench/results_tables.py"


@pytest.fixture
def results_tables():
    spec = importlib.util.spec_from_file_location("results_tables", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["bench/results/README.md", "bench/results/which_strategy.md", "bench/results/surrogate.md", "README.md"]
)
def test_a_page_is_what_its_runs_make(results_tables, name):
    path = results_tables.ROOT / name
    assert path in results_tables.PAGES
    assert path.read_text(encoding="utf-8") == results_tables.page(path), "run python bench/results_tables.py"


def test_every_recorded_run_has_its_table(results_tables):
    pages = [page.read_text(encoding="utf-8") for page in results_tables.PAGES if page.parent == results_tables.RESULTS]
    blocks = [block for page in pages for block in results_tables.BLOCK.findall(page)]
    assert sorted(name for _, name, _ in blocks) == sorted(path.stem for path in results_tables.RESULTS.glob("*.json"))


def test_a_run_that_changes_changes_its_page(results_tables, tmp_path):
    results = shutil.copytree(results_tables.RESULTS, tmp_path / "results")
    results_tables.RESULTS, page = results, results / "README.md"
    report = json.loads((results / "herding.json").read_text(encoding="utf-8"))
    report["benchmarks"][0]["extra_info"]["ratio"] *= 2
    (results / "herding.json").write_text(json.dumps(report), encoding="utf-8")
    before = page.read_text(encoding="utf-8").splitlines()
    after = results_tables.page(page).splitlines()
    (changed,) = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split(" | ")[:3] for line in changed] == [
        ["| `herding` blobs 10,000 x 384, b=100", "torch", "18"],
        ["| `herding` blobs 10,000 x 384, b=100", "torch", "36"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0099601, "0.010"), (0.064344, "0.064"), (0.996, "1.0"), (9.96, "10"), (12.51, "13"), (127.9, "130")],
)
def test_two_significant_digits(results_tables, value, text):
    assert results_tables.digits(value) == text


def test_a_run_of_plain_results_is_a_table_of_their_names(results_tables):
    report = {"results": [{"strategy": "coreset", "MB": 410}, {"strategy": "typiclust", "MB": 520}]}
    lines = ["| strategy | MB |", "| --- | --- |", "| coreset | 410 |", "| typiclust | 520 |"]
    assert results_tables.tables(report).splitlines() == lines


def test_it_needs_python_alone():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
