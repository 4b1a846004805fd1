"""The folder of a simulation: after any kill it goes on, and it is not mistaken for another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from simulations import MODEL, TEST, X, Y, same, simulated
from sklearn.naive_bayes import GaussianNB

import pyal
from pyal.simulation import workers
from pyal.simulation.workdir import read_workdir


def test_a_second_call_runs_nothing(tmp_path, monkeypatch):
    first = simulated(workdir=tmp_path)
    monkeypatch.setattr(workers, "run", None)
    second = simulated(workdir=str(tmp_path))
    same(first, second)
    assert np.array_equal(first.table["seconds_fit"], second.table["seconds_fit"])
    same(read_workdir(tmp_path), first)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        f"{name}.seed{seed}.json" for name in ("margin", "random") for seed in (0, 1)
    ]


def test_strategies_and_seeds_are_added(tmp_path, monkeypatch):
    simulated(["margin"], workdir=tmp_path)
    ran = []
    run = workers.run
    monkeypatch.setattr(workers, "run", lambda plan, *key, n_jobs: ran.append(key) or run(plan, *key, n_jobs=n_jobs))
    found = simulated(["margin", "typiclust"], seeds=3, workdir=tmp_path)
    assert ran == [("random", 2), ("margin", 2), ("typiclust", 0), ("typiclust", 1), ("typiclust", 2)]
    same(found, simulated(["margin", "typiclust"], seeds=3))
    same(read_workdir(tmp_path), found)
    assert simulated(["typiclust"], seeds=[1], workdir=tmp_path).strategies == ["random", "typiclust"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": 40}, r"batch_sizes is \[10, 10\] there and \[10, 10, 10\] here"),
        ({"initial": 20, "budget": 40}, "initial is 10 there and 20 here"),
        ({"subset": 100}, "subset is None there and 100 here"),
        ({"estimator": GaussianNB(var_smoothing=1)}, "estimator.parameters.var_smoothing is 0.1 there and 1 here"),
        ({"estimator": MODEL}, "estimator.class is 'sklearn.naive_bayes.*' there and 'sklearn.linear_model.*' here"),
        ({"X": X[::-1].copy()}, "X.hash is"),
        ({"X": X.astype(np.float64)}, "X.dtype is 'float32' there and 'float64' here"),
        ({"y": (Y + 1) % 10}, "y.hash is"),
        ({"test": (TEST[0][:100], TEST[1][:100])}, r"X_test.shape is \[200, 64\] there and \[100, 64\] here"),
        (
            {"strategies": {"margin": {"metric": "cosine"}}},
            "strategies.margin.metric is None there and 'cosine'",
        ),
        ({"start": "same"}, "start is missing there and 'same' here"),
        ({"strategies": {"margin": {"aggregate": "metric"}}}, "strategies.margin.stages is"),
        ({"strategies": {"margin": "entropy"}}, "strategies.margin.stages is"),
        ({"metric": "cosine"}, "strategies.random.metric is"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, changes, words):
    simulated(["margin"], seeds=1, workdir=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    with pytest.raises(ValueError, match=rf"workdir .* keeps runs of other settings: {words}"):
        simulated(**{"strategies": ["margin"], "seeds": 1, "workdir": tmp_path, **changes})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


def test_failed_runs_are_tried_again(tmp_path, monkeypatch):
    run = workers.run
    monkeypatch.setattr(workers, "run", lambda plan, *key, **named: run(plan, *key, **named) if key[1] else 1 / 0)
    with pytest.warns(UserWarning, match="2 of 4 runs failed"):
        assert simulated(workdir=tmp_path).seeds == [1]
    monkeypatch.setattr(workers, "run", run)
    same(simulated(workdir=tmp_path), simulated())


KILLED = """
import os, signal, sys
import numpy as np
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB
import pyal, pyal.files

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
writes = 0
def before(call):
    def counted(*given, **named):
        global writes
        writes += 1
        if writes == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*given, **named)
    return counted
os.replace = before(os.replace)
os.fsync = before(os.fsync)
test, model = (X[300:500], y[300:500]), GaussianNB(var_smoothing=0.1)
pyal.simulate(X[:300], y[:300], test=test, estimator=model, strategies=["margin"], seeds=2,
              initial=10, batch_sizes=10, budget=30, workdir=sys.argv[1])
"""


@pytest.mark.parametrize("at", [1, 2, 3, 4, 7])
def test_killed_at_any_write_it_goes_on(tmp_path, at):
    environment = {**os.environ, "PYTHONPATH": str(Path(pyal.__file__).parents[1])}
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(at)]
    killed = subprocess.run(arguments, capture_output=True, env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kept = {path: path.read_bytes() for path in (tmp_path / "run" / "runs").glob("*.json")}
    assert len(kept) == max(0, (at - 1) // 2 - 1)  # the settings come first, and each file takes two steps
    same(simulated(workdir=tmp_path / "run"), simulated())
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_damaged_folders_are_said(tmp_path):
    simulated(seeds=1, workdir=tmp_path)
    (tmp_path / "runs" / "margin.seed0.json").write_text('{"strat')
    with pytest.raises(ValueError, match=r"margin.seed0.json is damaged"):
        simulated(seeds=1, workdir=tmp_path)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"has runs and no settings\.json"):
        simulated(seeds=1, workdir=tmp_path)
    with pytest.raises(ValueError, match="is not the workdir of a simulation"):
        read_workdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_workdir(tmp_path / "nowhere")


def test_names_of_any_kind_are_kept(tmp_path):
    name = "../a/b: 50% ± é"
    found = simulated({name: "margin"}, seeds=1, workdir=tmp_path / "run")
    same(read_workdir(tmp_path / "run"), found)
    assert os.listdir(tmp_path) == ["run"]
    assert len(os.listdir(tmp_path / "run" / "runs")) == 2
