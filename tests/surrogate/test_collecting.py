"""Collected examples against loops written by hand: the same rows, features and gains, however the runs were made."""

from __future__ import annotations

import numpy as np
import pytest
from simulations import TEST, X, Y, simulated
from sklearn.base import clone
from sklearn.naive_bayes import GaussianNB

import pyal
from pyal.heads import ClosedFormSoftmax, Committee
from pyal.surrogate import collect, feature_table, fit

HELD = TEST[0][:100], TEST[1][:100]
RIDGE = ClosedFormSoftmax("ridge", alpha=1.0)
VIEWS = [X + np.float32(0.05) * np.random.default_rng(v).normal(size=X.shape).astype(np.float32) for v in (0, 1)]


def collected(**changes):
    given = {"validation": HELD, "estimator": RIDGE, "seeds": 2, "budget": 20, "strategies": ["margin", "coreset"]}
    return collect(X, Y, **{**given, **changes})


def same(one, other):
    assert one.columns == other.columns
    assert one.domain == other.domain
    for name in ("values", "gain_accuracy", "gain_loss", "seed", "strategy", "n_labels", "picked", "group"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()


def worth(head, known):
    fitted = clone(head).fit(X[known], Y[known])
    loss = pyal.metrics.cross_entropy(HELD[1], fitted.predict_proba(HELD[0]), fitted.classes_)
    return float(np.mean(fitted.predict(HELD[0]) == HELD[1])), loss, fitted


@pytest.mark.parametrize("head", [RIDGE, GaussianNB(var_smoothing=0.1)])
def test_rows_features_and_gains_are_those_of_a_loop_written_by_hand(head):
    found = collected(estimator=head, views=VIEWS, counterfactuals=6, every=2)
    runs = simulated(["margin", "coreset"], estimator=head, batch_sizes=1, budget=20)
    assert found.columns == pyal.surrogate.COLUMNS
    for strategy in ("random", "margin", "coreset"):
        for seed in (0, 1):
            batches = runs.picks[strategy, seed]
            known = np.sort(batches[0])
            for step, (batch,) in enumerate(batches[1:]):
                here = (found.seed == seed) & (found.n_labels == len(known))
                of_run = np.isin(found.group, found.group[found.picked & here & (found.strategy == strategy)])
                rows = found.where(of_run)
                assert rows.strategy.tolist() == [strategy] + [""] * (len(rows) - 1)
                assert len(rows) == (7 if step % 2 == 0 else 1)
                before, loss, fitted = worth(head, known)
                proba = np.zeros((3, len(X), 10))
                proba[:, :, fitted.classes_] = [fitted.predict_proba(one) for one in (X, *VIEWS)]
                table = feature_table(
                    X,
                    labeled=known,
                    proba=proba,
                    views=VIEWS,
                    candidates=[batch],
                    budget=20,
                    validation_loss=loss,
                    validation_accuracy=before,
                )
                np.testing.assert_allclose(rows.values[0], table.values[0], rtol=1e-6, atol=1e-9)
                after, lower, _ = worth(head, np.sort(np.append(known, batch)))
                assert rows.gain_accuracy[0] == pytest.approx(after - before, abs=1e-12)
                assert rows.gain_loss[0] == pytest.approx(loss - lower, rel=1e-6, abs=1e-9)
                known = np.sort(np.append(known, batch))


@pytest.mark.parametrize("head", [RIDGE, GaussianNB(var_smoothing=0.1)])
def test_what_is_tried_is_what_one_more_label_would_bring(head):
    found = collected(estimator=head, strategies=[], seeds=1, counterfactuals=8, budget=14)
    runs = simulated([], estimator=head, batch_sizes=1, budget=14, seeds=1)
    known = np.sort(runs.picks["random", 0][0])
    before, loss, _ = worth(head, known)
    gains = {}
    for row in np.setdiff1d(np.arange(len(X)), known):
        after, lower, _ = worth(head, np.sort(np.append(known, row)))
        gains[round(after - before, 9), round(loss - lower, 5)] = row
    first = found.where(found.group == found.group[0])
    tried = [(round(a, 9), round(b, 5)) for a, b in zip(first.gain_accuracy, first.gain_loss, strict=True)]
    rows = [gains[one] for one in tried]
    assert rows[0] == runs.picks["random", 0][1][0]
    assert len(set(rows)) == 9


def test_several_jobs_and_a_folder_give_what_one_run_gives(tmp_path, monkeypatch):
    asked = {"counterfactuals": 3, "start": "warm"}
    whole = collected(**asked)
    same(whole, collected(**asked, n_jobs=2))
    kept = collected(**asked, workdir=tmp_path / "runs")
    same(whole, kept)
    for file in list((tmp_path / "runs" / "runs").glob("margin*")):
        file.unlink()
    same(whole, collected(**asked, workdir=tmp_path / "runs"))
    monkeypatch.setattr("pyal.simulation.workers.run", None)  # nothing is left to run
    same(whole, collected(**asked, workdir=tmp_path / "runs"))
    with pytest.raises(ValueError, match=r"keeps runs of other settings: observing\.counterfactuals is 3 there and 4"):
        collected(counterfactuals=4, start="warm", workdir=tmp_path / "runs")


def test_a_step_that_tries_candidates_is_a_group():
    found = collected(counterfactuals=3, relative_to="candidates", seeds=1)
    assert np.bincount(found.group).tolist() == [4] * 30
    assert found.picked.sum() == 30
    assert found.domain["relative_to"] == "candidates"
    assert found.domain["budget"] == 20
    assert found.domain["columns_of_X"] == 64
    assert found.domain["head"]["class"] == "pyal.heads.closed_form:ClosedFormSoftmax"


def test_what_is_relative_to_candidates_is_so_in_every_round():
    """Also in those in which no gain of theirs is taken."""
    every = collected(counterfactuals=12, every=1, relative_to="candidates", seeds=1)
    some = collected(counterfactuals=12, every=3, relative_to="candidates", seeds=1)
    picked = [found.where(found.picked) for found in (every, some)]
    assert picked[0].values.tolist() == picked[1].values.tolist()
    assert np.bincount(some.group).tolist() == 3 * [13, 1, 1, 13, 1, 1, 13, 1, 1, 13]


def test_strategies_of_several_passes_are_logged_by_the_classifier_itself():
    committee = Committee(GaussianNB(var_smoothing=0.1), n_members=3)
    found = collected(estimator=committee, strategies=["bald"], views=VIEWS, seeds=1)
    runs = simulated(["bald"], estimator=committee, batch_sizes=1, budget=20, seeds=1, views=VIEWS)
    assert set(found.strategy) == {"random", "bald"}
    known = np.sort(runs.picks["bald", 0][0])
    mine = found.where((found.strategy == "bald") & (found.n_labels == 10))
    seen = []

    def watch(pool, batch_size, *, rng):  # noqa: ARG001
        seen.append(pool)
        return runs.picks["bald", 0][1]

    y = np.full(len(X), -1)
    y[known] = Y[known]
    pyal.Loop(X, committee, watch, 1, y=y, random_state=0).query()
    p = seen[0].proba[runs.picks["bald", 0][1][0]]
    entropy = -sum(q * np.log(q) for q in p if q > 0)
    assert mine.values_of(["entropy"])[0, 0] == pytest.approx(entropy, abs=1e-9)


class Holed(GaussianNB):
    """Has a parameter that JSON cannot hold."""

    def __init__(self, var_smoothing=0.1, missing=float("nan")):
        super().__init__(var_smoothing=var_smoothing)
        self.missing = missing


def test_a_parameter_that_is_no_number(tmp_path):
    given = {"estimator": Holed(), "seeds": 3, "workdir": tmp_path, "strategies": []}
    found = collected(**given)
    assert found.domain["head"]["parameters"]["missing"] == "NaN"
    same(found, collected(**given))
    model = fit(found, "acc", search=False, rounds=3)
    strategies = {"learned": {"strategy": "surrogate", "model": model}}
    assert simulated(strategies, estimator=Holed(), batch_sizes=1, budget=12).failures == {}


def test_from_the_first_label_on():
    found = collected(initial=None, budget=6, seeds=1, strategies=["margin"])
    assert found.n_labels.min() >= 2  # before labels of two classes there is no classifier to ask
    assert len(set(found.strategy)) == 2


def test_the_strategies_of_the_thesis_are_the_default():
    found = collect(X, Y, validation=HELD, estimator=RIDGE, seeds=1, budget=12, name="digits")
    names = {"random", "entropy", "margin", "least_confidence", "typiclust", "coreset", "badge"}
    assert set(found.strategy) == names
    assert found.domain["name"] == "digits"


class Fails(GaussianNB):
    """Cannot be fitted to more than 12 labels."""

    def fit(self, X, y):
        if len(X) > 12:
            raise ValueError("too many")
        return super().fit(X, y)


@pytest.mark.parametrize(
    ("changes", "error", "rule"),
    [
        ({"relative_to": "batch"}, ValueError, "relative_to must be 'pool' or 'candidates'; got 'batch'"),
        ({"relative_to": "candidates"}, ValueError, "relative_to='candidates' needs counterfactuals="),
        ({"counterfactuals": -1}, ValueError, "counterfactuals must be"),
        ({"every": 0}, ValueError, "every must be"),
        ({"validation": None}, TypeError, r"validation must be \(X_validation, y_validation\); got None"),
        ({"budget": 5}, ValueError, "budget"),
        ({"estimator": Fails()}, RuntimeError, "6 of 6 runs failed; random, seed 0: ValueError: too many"),
    ],
)
def test_what_is_refused(changes, error, rule):
    with pytest.raises(error, match=rule):
        collected(**changes)
