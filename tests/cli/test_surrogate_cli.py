"""pyal surrogate: settings in, examples, a model and its errors out, and a simulation that queries by the model."""

from __future__ import annotations

import csv
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run
from sklearn.datasets import load_digits

from pyal.heads import ClosedFormSoftmax
from pyal.surrogate import collect, load, load_examples

X, Y = load_digits(return_X_y=True)
ROWS = (X / 16).astype(np.float32)
FILES = {"X": ROWS[:200], "y": Y[:200], "held": ROWS[200:300], "y_held": Y[200:300], "test": ROWS[300:400]}
FILES |= {"y_test": Y[300:400]}
ESTIMATOR = {"class": "pyal.heads.ClosedFormSoftmax", "solver": "ridge", "alpha": 1.0}
DATA = {"X": "X.npy", "y": "y.npy", "X_validation": "held.npy", "y_validation": "y_held.npy"}
SETTINGS = {"seeds": 3, "budget": 25, "strategies": ["margin"], "counterfactuals": 5, "start": "warm", "name": "digits"}


needs_xgboost = pytest.mark.skipif(find_spec("xgboost") is None, reason="models that open by path are xgboost's")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, values in FILES.items():
        np.save(f"{name}.npy", values)
    return tmp_path


def write(**changes) -> str:
    content = {"data": DATA, "estimator": ESTIMATOR, **SETTINGS, **changes}
    Path("collect.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return "collect.json"


@needs_xgboost
def test_from_settings_to_a_simulation(capsys):
    code, out, err = run(capsys, "surrogate", "collect", write(), "-o", "digits.npz")
    assert (code, err) == (0, "")
    assert out.startswith("examples: digits.npz, 540 of entropy, least_confidence, margin, typicality")
    wanted = collect(
        FILES["X"],
        FILES["y"],
        validation=(FILES["held"], FILES["y_held"]),
        estimator=ClosedFormSoftmax("ridge", alpha=1.0),
        **SETTINGS,
    )
    found = load_examples("digits.npz")
    assert found.values.tolist() == wanted.values.tolist()
    assert found.gain_loss.tolist() == wanted.gain_loss.tolist()

    fitted = ("digits.npz", "-o", "model", "--variant", "loss_asn", "--search", "none", "--n-jobs", "1")
    code, out, err = run(capsys, "surrogate", "fit", *fitted)
    assert (code, err) == (0, "")
    assert out.startswith("model: model, loss_asn of 540 examples; of the variance of the gains it explains ")
    assert load("model").columns[-1] == "step"
    assert "model exists; --force overwrites it" in refused(capsys, "surrogate", "fit", *fitted)
    assert run(capsys, "surrogate", "fit", *fitted, "--force")[0] == 0

    code, out, err = run(capsys, "surrogate", "evaluate", "model", "model", "--examples", "digits.npz")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["part"] for row in rows] == 2 * ["train", "validation", "test"]
    assert {row["model"] for row in rows} == {"loss_asn"}
    assert float(rows[0]["mse"]) < float(rows[0]["mse_of_mean"])

    data = {**DATA, "X_test": "test.npy", "y_test": "y_test.npy"}
    settings = {"data": data, "estimator": ESTIMATOR, "seeds": 1, "initial": 10, "batch_sizes": 1, "budget": 14}
    strategies = {"learned": {"strategy": "surrogate", "model": "model"}, "oracle_gain": {}}
    Path("simulate.json").write_text(json.dumps({**settings, "strategies": strategies}))
    code, out, err = run(capsys, "simulate", "simulate.json")
    assert (code, err) == (0, "")
    assert "learned" in out
    assert "oracle_gain" in out


@needs_xgboost
def test_in_select(capsys):
    run(capsys, "surrogate", "collect", write(), "-o", "digits.npz")
    run(capsys, "surrogate", "fit", "digits.npz", "-o", "model", "--variant", "acc", "--search", "none")
    labels = "".join(f"{i},{i},{Y[i]},labeled\n" for i in range(20))
    Path("labels.csv").write_text(f"id,position,label,status\n{labels}")
    np.save("proba.npy", ClosedFormSoftmax("ridge", alpha=1.0).fit(ROWS[:20], Y[:20]).predict_proba(ROWS[:200]))
    given = ("X.npy", "--strategy", "surrogate", "--option", "model=model", "--proba", "proba.npy")
    code, out, err = run(capsys, "select", *given, "--labels", "labels.csv", "--batch-size", "4")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 5


@needs_xgboost
def test_several_files_horizons_ranks_and_orders(capsys):
    for seed in (0, 1):
        run(capsys, "surrogate", "collect", write(name=f"digits{seed}"), "-o", f"{seed}.npz")
    both = ("0.npz", "1.npz", "--search", "none")
    assert run(capsys, "surrogate", "fit", *both, "-o", "a", "--objective", "ranking", "--ranked")[0] == 0
    assert (load("a").objective, load("a").ranked) == ("ranking", True)
    assert run(capsys, "surrogate", "fit", *both, "-o", "b", "--horizon", "3", "--split", "thesis")[0] == 0
    assert load("b").measured["seeds"]["test"] == load("b").measured["seeds"]["validation"]


def test_a_model_that_holds_a_pickle_is_not_opened_unasked(capsys):
    run(capsys, "surrogate", "collect", write(), "-o", "digits.npz")
    run(capsys, "surrogate", "fit", "digits.npz", "-o", "model", "--search", "none", "--backend", "sklearn")
    asked = ("surrogate", "evaluate", "model", "--examples", "digits.npz")
    assert "where you know who wrote the file, pass what" in refused(capsys, *asked)
    assert run(capsys, *asked, "--trusted")[0] == 0


def test_without_xgboost_scikit_learn_fits_and_says_so(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    run(capsys, "surrogate", "collect", write(), "-o", "digits.npz")
    code, _, err = run(capsys, "surrogate", "fit", "digits.npz", "-o", "model", "--search", "none")
    assert code == 0
    assert err.startswith("pyal: warning: this needs xgboost, which pip install 'pyal[surrogate]' brings")
    assert "scikit-learn's HistGradientBoostingRegressor is fitted instead" in err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_sizes": 1}, "there is no setting batch_sizes"),
        ({"data": {**DATA, "X_test": "test.npy"}}, "there is no setting data.X_test"),
        ({"data": {"X": "X.npy", "y": "y.npy"}}, "data.X_validation is missing"),
        ({"estimator": None}, "estimator is missing"),
        ({"relative_to": "batch"}, "relative_to must be 'pool' or 'candidates'; got 'batch'"),
        ({"budget": 9}, "budget"),
    ],
)
def test_mistakes_in_settings_are_one_sentence(capsys, changes, sentence):
    assert sentence in refused(capsys, "surrogate", "collect", write(**changes), "-o", "x.npz")
    assert not Path("x.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fit", "missing.npz", "-o", "model"), "missing.npz"),
        (("fit", "X.npy", "-o", "model"), "X.npy"),
        (("evaluate", "X.npy", "--examples", "X.npy"), "X.npy"),
        ((), "part"),
        (("collect",), "config"),
    ],
)
def test_other_mistakes_are_one_sentence(capsys, arguments, sentence):
    assert sentence in refused(capsys, "surrogate", *arguments)
