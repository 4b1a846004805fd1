"""pyal simulate and pyal plot: a file in, a summary and a picture out, and mistakes in one sentence."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

import pyal
from pyal.simulation import config

X, Y = load_digits(return_X_y=True)
CONFIG = {
    "seeds": 2,
    "initial": 10,
    "batch_sizes": 10,
    "budget": 30,
    "data": {"X": "data/X.npy", "y": "data/y.npy", "X_test": "data/X_test.npy", "y_test": "data/y_test.npy"},
    "estimator": {"class": "sklearn.naive_bayes.GaussianNB", "var_smoothing": 0.1},
    "strategies": {"margin": {}, "typical": {"strategy": "typiclust", "metric": "cosine"}},
}
TOML = """
seeds = [3, 4]
batch_sizes = [[10, 20], [20, 40]]
subset = 50
n_jobs = 1
workdir = "runs/first"
[data]
X = "data/X.npy"
y = "data/y.npy"
X_test = "data/X_test.npy"
y_test = "data/y_test.npy"
[estimator]
class = "sklearn.naive_bayes:GaussianNB"
var_smoothing = 0.1
[strategies.margin]
[strategies."first typical"]
strategy = [["typiclust", 20, {max_clusters = 7}], ["margin"]]
"""
needs_toml = pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is in Python 3.11")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "project" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    data = Path("project/data")
    np.save(data / "X.npy", (X[:200] / 16).astype(np.float32))
    np.save(data / "y.npy", Y[:200])
    np.save(data / "X_test.npy", (X[200:300] / 16).astype(np.float32))
    np.save(data / "y_test.npy", Y[200:300])
    return tmp_path


def write(**changes) -> str:
    """The path of a configuration with these settings; None takes one out."""
    content = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    Path("project/config.json").write_text(json.dumps(content))
    return "project/config.json"


def expected(**changes):
    data = {name: np.load(f"project/data/{name}.npy") for name in ("X", "y", "X_test", "y_test")}
    settings = {"seeds": 2, "initial": 10, "batch_sizes": 10, "budget": 30, "strategies": CONFIG["strategies"]}
    test, model = (data["X_test"], data["y_test"]), GaussianNB(var_smoothing=0.1)
    return pyal.simulate(data["X"], data["y"], test=test, estimator=model, **{**settings, **changes})


def without_seconds(text: str) -> list[list[str]]:
    return [row[:6] for row in csv.reader(text.splitlines())]


def test_simulate_prints_a_summary_and_writes_a_table(capsys):
    code, out, err = run(capsys, "simulate", write(), "-o", "table.csv")
    assert (code, err) == (0, "")
    wanted = expected()
    assert out.splitlines()[0] == wanted.summary().splitlines()[0]
    for line, other in zip(out.splitlines()[3:6], wanted.summary().splitlines()[3:6], strict=True):
        assert line.split()[:-2] == other.split()[:-2]
    assert without_seconds(Path("table.csv").read_text()) == without_seconds(wanted.csv())
    assert "table.csv exists; --force overwrites it" in refused(capsys, "simulate", write(), "-o", "table.csv")
    assert run(capsys, "simulate", write(), "-o", "table.csv", "--force", "--n-jobs", "1")[0] == 0


@needs_toml
def test_toml(capsys):
    Path("project/config.toml").write_text(TOML)
    assert run(capsys, "simulate", "project/config.toml")[0] == 0
    found = pyal.simulation.workdir.read_workdir("project/runs/first")  # beside the file
    wanted = expected(
        seeds=[3, 4],
        initial=None,
        batch_sizes=[(10, 20), (20, 40)],
        budget=None,
        subset=50,
        strategies={"margin": None, "first typical": [("typiclust", 20, {"max_clusters": 7}), ("margin", None)]},
    )
    assert without_seconds(found.csv()) == without_seconds(wanted.csv())


@needs_toml
def test_the_example_of_the_documentation_is_valid():
    example = "\n".join(line[4:] for line in config.__doc__.splitlines() if line.startswith("    "))
    Path("project/config.toml").write_text(example.replace('"train', '"data/X').replace('"test', '"data/X_test'))
    for name, file in (("y", "data/X_labels.npy"), ("y_test", "data/X_test_labels.npy")):
        os.rename(f"project/data/{name}.npy", f"project/{file}")
    settings = config.read("project/config.toml")
    assert settings["batch_sizes"] == [[10, 100], [50, 500]]
    assert settings["strategies"]["first typical"] == {"strategy": [["typiclust", 50], ("margin", None)]}
    with pytest.raises(ValueError, match="at most the 200 rows of X; they ask for 500"):  # all but the pool is right
        pyal.simulate(**settings)


def test_without_a_reader_of_toml(capsys, monkeypatch):
    Path("project/config.toml").write_text(TOML)
    for name in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "TOML needs Python 3.11 or the package tomli; the same keys in a .json" in refused(
        capsys, "simulate", "project/config.toml"
    )


def test_strategies_may_be_a_list_and_labels_text(capsys):
    for name in ("y", "y_test"):
        labels = np.load(f"project/data/{name}.npy")
        np.save(f"project/data/{name}.npy", labels.astype(str))
    code, out, _ = run(capsys, "simulate", write(strategies=["margin"]))
    assert code == 0
    assert out.splitlines()[4].startswith("margin")


def test_a_failed_run_is_a_warning_and_exit_code_1(capsys):
    config = write(estimator={"class": "sklearn.svm.LinearSVC"})
    code, out, err = run(capsys, "simulate", config)
    assert code == 1
    assert "pyal: warning: 2 of 6 runs failed (margin, seed 0, margin, seed 1)" in err
    assert "margin, seed 1, failed: TypeError: estimator must have predict_proba" in out


def test_plot(capsys):
    pytest.importorskip("matplotlib")
    assert run(capsys, "simulate", write(workdir="runs/a"))[0] == 0
    code, out, err = run(capsys, "plot", "project/runs/a")
    assert (code, out, err) == (0, "plot: curves.png\n", "")
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")
    assert "curves.png exists; --force overwrites it" in refused(capsys, "plot", "project/runs/a")
    assert run(capsys, "plot", "project/runs/a", "--force", "--metric", "balanced_accuracy")[0] == 0
    assert run(capsys, "plot", "project/runs/a", "-o", "curves.svg")[0] == 0
    assert "<svg" in Path("curves.svg").read_text()
    err = refused(capsys, "plot", "project/runs/a", "-o", "more.png", "--forecast", "50")
    assert "acc must have at least 5 rounds to fit a curve to; got 3" in err
    err = refused(capsys, "plot", "project/runs/a", "-o", "curves.txt")
    assert "a plot must be one of" in err
    assert not Path("curves.txt").exists()


def test_plot_draws_both_pictures():
    plots = pytest.importorskip("matplotlib") and pyal.plots
    found = expected()
    left, right = plots.comparison_figure(found).axes
    assert [line.get_label() for line in left.lines] == ["random", "margin", "typical"]
    assert left.lines[1].get_ydata() == pytest.approx(found.curves()["margin"].mean(axis=0))
    assert [line.get_label() for line in right.lines[1:]] == ["margin", "typical"]
    assert len(plots.comparison_figure(expected(strategies=[], seeds=1)).axes) == 1


def test_plot_without_matplotlib(capsys, monkeypatch):
    assert run(capsys, "simulate", write(workdir="runs/a"))[0] == 0
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"] + ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert "plots need matplotlib" in refused(capsys, "plot", "project/runs/a")


def test_plot_of_what_is_no_simulation(capsys):
    Path("empty").mkdir()
    assert "no folder 'nowhere'" in refused(capsys, "plot", "nowhere")
    assert "not the workdir of a simulation: it has no settings.json" in refused(capsys, "plot", "empty")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budgett": 3}, "there is no setting budgett; did you mean budget?"),
        ({"data": {**CONFIG["data"], "Z": "Z.npy"}}, "there is no setting data.Z; "),
        ({"data": {"X": "data/X.npy"}}, "data.y is missing"),
        ({"data": None}, "data is missing"),
        ({"data": "data"}, "data must be a table; got 'data'"),
        ({"data": {**CONFIG["data"], "X": 3}}, "data.X must be text; got 3"),
        ({"data": {**CONFIG["data"], "X": "no.npy"}}, "no such file"),
        ({"data": {**CONFIG["data"], "y": "no.npy"}}, "No such file or directory: "),
        ({"data": {**CONFIG["data"], "y": "config.json"}}, "config.json must be a .npy file of numbers or text"),
        ({"estimator": {}}, "estimator.class must be text; got None"),
        ({"estimator": {"class": "sklearn.naive_bayes.Gauss"}}, "estimator.class must be where Python imports it from"),
        ({"estimator": {"class": "nowhere.at.all"}}, "estimator.class must be where Python imports it from"),
        ({"estimator": {"class": "Gauss"}}, "estimator.class must be where Python imports it from"),
        ({"estimator": {"class": "sklearn.naive_bayes.GaussianNB", "C": 1}}, "estimator does not take its parameters"),
        ({"estimator": {"class": "numpy.ones", "shape": 3}}, "estimator must be a scikit-learn classifier"),
        ({"strategies": ["margn"]}, "strategy 'margn' is unknown; did you mean 'margin'?"),
        ({"strategies": {"margin": 3}}, "strategy must be a name"),
        ({"strategies": {"margin": {"delta": 3}}}, "strategy 'margin' has no option 'delta'"),
        ({"seeds": "all"}, "seeds must be"),
        ({"budget": 1000}, "at most the 200 rows of X"),
        ({"workdir": 3}, "workdir must be text"),
        ({"device": "gpu"}, "device"),
        ({"start": "cold"}, "start must be 'fresh', 'same' or 'warm'; got 'cold'"),
    ],
)
def test_mistakes_are_one_sentence(capsys, changes, words):
    assert words in refused(capsys, "simulate", write(**changes))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("c.json", b"{", "c.json is not JSON: "),
        ("c.json", b"[]", "c.json: the file must be a table; got []"),
        ("c.json", b"\xff", "c.json is not JSON: "),
        ("c.yaml", b"", "c.yaml must be a .toml or .json file"),
        pytest.param("c.toml", b"a = ", "c.toml is not TOML: ", marks=needs_toml),
    ],
)
def test_files_that_are_no_configuration(capsys, name, content, words):
    Path(name).write_bytes(content)
    assert words in refused(capsys, "simulate", name)


def test_no_file(capsys):
    assert "No such file or directory: c.json" in refused(capsys, "simulate", "c.json")


def test_other_settings_in_the_workdir(capsys):
    run(capsys, "simulate", write(workdir="runs/a", seeds=1))
    err = refused(capsys, "simulate", write(workdir="runs/a", seeds=1, budget=40))
    assert "keeps runs of other settings: batch_sizes is [10, 10] there and [10, 10, 10] here" in err


@pytest.mark.parametrize("n_jobs", ["1", "2"])
def test_interrupted_it_keeps_what_is_finished(n_jobs):
    config = write(workdir="runs/a", seeds=500)
    environment = {**os.environ, "PYTHONPATH": str(Path(pyal.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "pyal", "simulate", config, "--n-jobs", n_jobs],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    runs = Path("project/runs/a/runs")
    until = time.monotonic() + 60
    while len(list(runs.glob("*.json"))) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "pyal: interrupted\n")
    kept = [json.loads(file.read_text()) for file in runs.glob("*.seed*.json")]
    assert len(kept) >= 3
    assert all(len(run["records"]) == 3 for run in kept)
