"""The strategy: what it asks its model, which models it refuses, and how it stands in select, loops and simulations."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from simulations import TEST, X, Y, simulated
from sklearn.naive_bayes import GaussianNB
from surrogates import UNSURE_AND_FAR, Weighted

import pyal
from pyal.heads import ClosedFormSoftmax
from pyal.surrogate import collect, feature_table, fit, load

RNG = np.random.default_rng(0)
PROBA = RNG.dirichlet(np.ones(3), len(X))
LABELED = np.arange(0, 300, 30)
RIDGE = ClosedFormSoftmax("ridge", alpha=1.0)
HELD = TEST[0][:100], TEST[1][:100]


def chosen(model, **given):
    asked = {"labeled": LABELED, "proba": PROBA, "strategy": "surrogate", "batch_size": 6, "random_state": 0}
    return pyal.select(X, **{**asked, "model": model, "subset": None, **given}).tolist()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Learned from runs of three heuristics on the digits, in a file."""
    path = tmp_path_factory.mktemp("surrogate") / "model"
    examples = collect(
        X, Y, validation=HELD, estimator=RIDGE, strategies=["margin", "coreset"], seeds=3, budget=40, start="warm"
    )
    fit(examples, "acc_asnvalid", search=False, rounds=50).save(path)
    return path


def test_by_hand():
    X = [[0.0, 1.0], [1.0, 0.0], [3.0, 4.0], [0.0, 2.0]]
    proba = [[1.0, 0.0], [0.5, 0.5], [0.8, 0.2], [0.9, 0.1]]
    # from row 0 the others are sqrt 2, sqrt 18 and 1 away, and their margins are 0, 0.6 and 0.8: 2 margin - distance is
    # -1.414, -3.043 and 0.6, the largest of which is picked first
    by = Weighted({"margin": 2.0, "coreset_distance": -1.0})
    picks = pyal.select(X, labeled=[0], proba=proba, strategy="surrogate", model=by, batch_size=3)
    assert picks.tolist() == [3, 1, 2]


def test_a_batch_is_the_largest_predictions_for_the_feature_table():
    table = feature_table(X, labeled=LABELED, proba=PROBA, columns=UNSURE_AND_FAR.columns)
    scores = UNSURE_AND_FAR.predict(table.values, table.columns)
    assert chosen(UNSURE_AND_FAR) == table.rows[np.argsort(-scores, kind="stable")[:6]].tolist()


def test_ties_go_to_the_lowest_position():
    assert chosen(Weighted({"entropy": 0.0}), proba=PROBA) == [1, 2, 3, 4, 5, 6]


def test_of_a_subset_typicality_is_that_of_the_pool_unless_the_examples_were_of_candidates():
    rows = np.array([1, 2, 4, 5, 7, 8, 40, 41])
    for relative_to in ("pool", "candidates"):
        asked = Weighted({"typicality": 1.0}, relative_to=relative_to)
        chosen(asked, candidates=rows)
        table = feature_table(X, labeled=LABELED, candidates=rows, columns=["typicality"], relative_to=relative_to)
        assert asked.seen[-1].tolist() == table.values.tolist()


def test_the_budget_is_that_of_the_examples_unless_another_is_given():
    asked = Weighted({"step": 1.0}, budget=100)
    chosen(asked)
    chosen(asked, budget=20)
    assert [set(values[:, 0]) for values in asked.seen] == [{0.1}, {0.5}]


def test_nothing_labelled_is_a_draw():
    draws = {tuple(chosen(UNSURE_AND_FAR, labeled=None, random_state=seed)) for seed in range(3)}
    assert len(draws) == 3


def test_a_model_is_read_from_its_file(model):
    given = {"validation_loss": 2.0, "validation_accuracy": 0.5, "budget": 40}
    assert chosen(model, **given) == chosen(str(model), **given) == chosen(load(model), **given)


def test_a_file_that_has_changed_is_read_again(model, tmp_path):
    given = {"validation_loss": 2.0, "validation_accuracy": 0.5, "budget": 40}
    path = tmp_path / "model"
    path.write_bytes(model.read_bytes())
    chosen(path, **given)
    path.write_bytes(b"nothing")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match="model"):
        chosen(path, **given)


@pytest.mark.parametrize("start", ["fresh", "warm"])
def test_in_a_loop_and_in_a_simulation(model, start):
    strategies = {"learned": {"strategy": "surrogate", "model": str(model)}}
    settings = {"estimator": RIDGE, "validation": HELD, "batch_sizes": 1, "budget": 16, "start": start}
    found = simulated(strategies, **settings)
    assert found.failures == {}
    y = np.full(300, -1)
    first = found.picks["learned", 1][0]
    y[first] = Y[first]
    loop = pyal.Loop(
        X, RIDGE, "surrogate", 1, y=y, model=str(model), validation=HELD, random_state=1, start=start, initial="random"
    )
    for batch in found.picks["learned", 1][1:]:
        assert loop.query().tolist() == batch.tolist()
        loop.teach(batch, Y[batch])


def test_what_it_is_asked_in_a_loop_is_what_was_collected():
    """A run of the strategy, collected, has the features that the model was shown."""
    asked = Weighted({"entropy": 1.0, "typicality": 0.1, "coreset_distance": 1.0, "step": 1.0, "validation_loss": 1.0})
    asked.domain["budget"] = 14
    strategies = {"learned": {"strategy": "surrogate", "model": asked, "subset": None}}
    examples = collect(X, Y, validation=HELD, estimator=RIDGE, strategies=strategies, seeds=1, budget=14)
    mine = examples.where(examples.strategy == "learned")
    assert len(mine) == len(asked.seen) == 4
    for row, values in zip(mine.values_of(asked.columns), asked.seen, strict=True):
        assert row.tolist() in values.tolist()


def test_whatever_the_metric_a_model_sees_rows_as_they_were_collected(model):
    given = {"validation_loss": 2.0, "validation_accuracy": 0.5}
    assert chosen(model, metric="cosine", **given) == chosen(model, **given)
    assert chosen(UNSURE_AND_FAR, metric="cosine") != chosen(UNSURE_AND_FAR)


def test_a_model_of_another_head_is_refused(model):
    strategies = {"learned": {"strategy": "surrogate", "model": str(model)}}
    with pytest.warns(UserWarning, match="was fitted on examples with head="):
        found = simulated(strategies, estimator=GaussianNB(), validation=HELD, batch_sizes=1, budget=12)
    assert len(found.failures) == 2


def test_a_folder_goes_on_with_the_same_model_alone(model, tmp_path, monkeypatch):
    """Its path holds from any folder, and what it holds is part of the settings."""
    monkeypatch.chdir(tmp_path)
    Path("model").write_bytes(model.read_bytes())
    Path("elsewhere").mkdir()
    strategies = {"learned": {"strategy": "surrogate", "model": "model"}}
    settings = {"estimator": RIDGE, "validation": HELD, "batch_sizes": 1, "budget": 12}
    first = simulated(strategies, **settings, seeds=1, workdir=tmp_path / "runs")
    assert first.failures == {}
    y = np.where(np.arange(300) < 20, Y, -1)
    loop = pyal.Loop(X, RIDGE, "surrogate", 1, y=y, model="model", validation=HELD, workdir="loop")
    loop.close()
    os.chdir("elsewhere")
    with pyal.Loop.resume(tmp_path / "loop", X=X, validation=HELD) as again:
        assert len(again.query()) == 1
    os.chdir(tmp_path)
    assert simulated(strategies, **settings, seeds=2, workdir=tmp_path / "runs").failures == {}
    Path("model").write_bytes(model.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"keeps runs of other settings: strategies\.learned"):
        simulated(strategies, **settings, seeds=2, workdir=tmp_path / "runs")
    with pytest.raises(
        ValueError, match="the file of an option is not what this loop started with: stage 0, surrogate"
    ):
        pyal.Loop.resume(tmp_path / "loop", X=X, validation=HELD)


def test_other_numbers_of_candidates_than_the_model_has_learned_among_are_said():
    asked = Weighted({"typicality": 1.0}, relative_to="candidates", counterfactuals=30)
    with pytest.warns(UserWarning, match="from typicality among 31 candidates, and here there are 290.*give subset=31"):
        chosen(asked)
    assert len(chosen(asked, subset=31)) == 6


def test_a_model_that_holds_a_pickle_is_passed_itself(tmp_path):
    examples = collect(X, Y, validation=HELD, estimator=RIDGE, strategies=[], seeds=3, budget=20)
    fit(examples, "acc", backend="sklearn", search=False, rounds=5).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"pass what pyal\.surrogate\.load\(path, trusted=True\) returns"):
        chosen(tmp_path / "model")
    assert len(chosen(load(tmp_path / "model", trusted=True))) == 6


@pytest.mark.parametrize(
    ("given", "error", "rule"),
    [
        ({"model": None}, ValueError, "strategy 'surrogate' needs model=, a pyal.surrogate.SurrogateModel or the path"),
        ({"model": {}}, TypeError, "model must be a pyal.surrogate.SurrogateModel or the path of one; got dict"),
        ({"model": "missing.model"}, FileNotFoundError, "missing.model"),
        ({"model": Weighted({"embedding_variance": 1.0})}, ValueError, "'embedding_variance' needs views="),
        ({"model": Weighted({"step": 1.0})}, ValueError, "the column 'step' needs budget="),
        (
            {"model": Weighted({"validation_loss": 1.0})},
            ValueError,
            "'validation_loss' needs validation_loss=, or validation= in",
        ),
        ({"model": UNSURE_AND_FAR, "proba": None}, ValueError, "strategy 'surrogate' needs proba="),
        ({"model": UNSURE_AND_FAR, "budget": 0, "columns": 1}, TypeError, "has no option 'columns'"),
        ({"model": UNSURE_AND_FAR, "budget": "all"}, TypeError, "option 'budget' of strategy 'surrogate' must be"),
    ],
)
def test_what_is_refused(given, error, rule):
    with pytest.raises(error, match=rule):
        chosen(**given)


def test_importing_pyal_does_not_import_it():
    import subprocess
    import sys

    code = "import pyal, sys; assert not [m for m in sys.modules if 'surrogate' in m or 'xgboost' in m]"
    subprocess.run([sys.executable, "-c", code], check=True)
