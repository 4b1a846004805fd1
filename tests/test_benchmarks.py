"""The benchmarks and the studies run: at sizes at which they measure nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    """What Python prints on these words; started by a worker of pytest-xdist, it is none itself."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST_")}
    environment = {**inherited, **variables}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_benchmarks_compare_answers_and_write_their_command(tmp_path):
    pytest.importorskip("pytest_benchmark")
    only = "knn or second_round or (round and memory and margin)"
    sizes = {"PYAL_BENCH_ROWS": "600", "PYAL_BENCH_DIM": "16", "PYAL_BENCH_DATA": "iid"}
    pyal = "import sys; sys.path.remove(''); from pyal.cli import main; sys.exit(main())"  # what is installed
    printed = run("-c", pyal, "bench", "-k", only, "--json", tmp_path / "out.json", folder=BENCH.parent, **sizes)
    assert "pyal against what is installed" in printed
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["command"].startswith("PYAL_BENCH_DATA=iid PYAL_BENCH_DIM=16 PYAL_BENCH_ROWS=600 pytest ")
    assert {entry["extra_info"]["kernel"] for entry in report["benchmarks"]} >= {"knn", "herding", "loop"}


def test_benchmarks_refuse_to_run_several_at_a_time(tmp_path):
    pytest.importorskip("pytest_benchmark")
    pytest.importorskip("xdist")
    command = [sys.executable, "-m", "pytest", BENCH / "kernels", "-n", "2", "-k", "sqnorms"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "benchmarks run one at a time" in done.stderr


def test_a_study_writes_what_its_table_is_made_of(tmp_path):
    given = "every_strategy --sets digits --seeds 1 --strategies random coreset"
    printed = run(BENCH / "study.py", *given.split(), "-o", tmp_path / "out", folder=tmp_path)
    assert "\n| coreset | " in printed
    report = json.loads((tmp_path / "out/every_strategy.json").read_text(encoding="utf-8"))
    assert report["command"] == f"python bench/study.py {given} -o OUT"
    assert [result["strategy"] for result in report["results"]] == ["random", "coreset"]


def test_the_study_of_initial_sets(tmp_path):
    given = "initial_sets --sets digits --seeds 2"
    printed = run(BENCH / "study.py", *given.split(), "-o", tmp_path / "out", folder=tmp_path)
    assert "| digits, 899 rows | 20 labels | 50 labels | 100 labels |" in printed
    (found,) = json.loads((tmp_path / "out/initial_sets.json").read_text(encoding="utf-8"))["results"]
    assert list(found["accuracy"])[:2] == ["random", "random, class-balanced"]
    assert all([len(sizes) for sizes in seeds] == [3, 3] for seeds in found["accuracy"].values())
