"""pyal bench: it finds the benchmarks of a checkout, and starts them where the installed pyal is imported."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from commands import refused, run

from pyal.cli import bench


@pytest.fixture
def started(tmp_path, monkeypatch):
    """What the benchmarks were started with; a checkout in the current folder, and none around the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "elsewhere/pyal/cli/bench.py"))
    Path("bench/kernels").mkdir(parents=True)
    Path("bench/kernels/test_bench_x.py").touch()
    found = {}

    def fake(command, **options):
        found.update(options, command=command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", fake)
    pytest.importorskip("pytest_benchmark")
    return found


def test_the_size_goes_into_the_environment(capsys, started):
    assert run(capsys, "bench", "--rows", "100", "--dim", "8")[0] == 0
    assert started["env"]["PYAL_BENCH_ROWS"] == "100"
    assert started["env"]["PYAL_BENCH_DIM"] == "8"


def test_the_choice_and_the_file_go_to_pytest(capsys, started):
    assert run(capsys, "bench", "-k", "knn", "--json", "out.json")[0] == 0
    assert started["command"][-3:] == ["-k", "knn", f"--benchmark-json={Path('out.json').resolve()}"]


def test_it_does_not_start_where_the_source_tree_hides_the_installed_package(capsys, started):
    assert run(capsys, "bench")[0] == 0
    assert started["cwd"] == Path("bench").resolve()
    assert (started["cwd"] / started["command"][3]).is_dir()


def test_a_size_below_one_is_refused(capsys, started):
    assert "--rows must be at least 1; got 0" in refused(capsys, "bench", "--rows", "0")
    assert not started


def test_outside_of_a_checkout_it_says_where_the_benchmarks_are(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "elsewhere/pyal/cli/bench.py"))
    assert "source checkout" in refused(capsys, "bench")
