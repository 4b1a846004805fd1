"""Held-out rows that a strategy may go by: what the history says of them, and what one more label would change."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

import pyal
from pyal.heads import ClosedFormSoftmax, LinearHead
from pyal.selection import pick

RNG = np.random.default_rng(0)
CENTERS = RNG.normal(scale=2, size=(3, 6))
Y = RNG.integers(0, 3, 80)
X = (CENTERS[Y] + RNG.normal(size=(80, 6))).astype(np.float32)
Y_HELD = RNG.integers(0, 3, 40)
HELD = (CENTERS[Y_HELD] + RNG.normal(size=(40, 6))).astype(np.float32)
KNOWN = np.where(np.arange(80) < 12, Y, -1)


class Looks:
    """A strategy that takes the lowest candidates and keeps the pools that it was shown."""

    def __init__(self):
        self.pools = []

    def __call__(self, pool, batch_size, *, rng):  # noqa: ARG002
        self.pools.append(pool)
        return pool.candidates[:batch_size]


def rounds(loop, count):
    for _ in range(count):
        batch = loop.query()
        loop.teach(batch, Y[batch])
    return loop


def test_the_history_says_what_the_classifier_is_worth_on_them():
    loop = pyal.Loop(X, LogisticRegression(), "margin", 5, y=KNOWN, validation=(HELD, Y_HELD), random_state=0)
    rounds(loop, 3)
    known = [i for i in range(80) if KNOWN[i] >= 0]
    for entry in loop.history:
        head = LogisticRegression(random_state=0).fit(X[sorted(known)], Y[sorted(known)])
        proba = head.predict_proba(HELD)
        assert entry["metrics"]["validation_accuracy"] == pytest.approx(head.score(HELD, Y_HELD), abs=1e-12)
        assert entry["metrics"]["validation_loss"] == pytest.approx(log_loss(Y_HELD, proba), rel=1e-4)
        known += entry["batch"]
    assert set(loop.history[0]["metrics"]) == {"validation_accuracy", "validation_loss"}
    assert set(loop.history[0]["seconds"]) == {"fit", "evaluate", "predict", "select"}
    loop.evaluate()
    assert "validation_loss" in loop.history[-1]["metrics"]


def test_there_is_nothing_to_evaluate_without_held_out_rows():
    loop = pyal.Loop(X, GaussianNB(), "margin", 5, y=KNOWN)
    with pytest.raises(ValueError, match=r"evaluate\(\) needs test= or validation=, which are missing"):
        loop.evaluate()


@pytest.mark.parametrize("start", ["fresh", "same", "warm"])
@pytest.mark.parametrize("head", [ClosedFormSoftmax("solve", pca=4), LinearHead(epochs=3), LogisticRegression()])
def test_after_each_label_it_is_worth_what_the_loop_finds_after_that_label(head, start):
    """Of the row that is then labelled, in the next round: with a seed that does not change from round to round."""
    if start == "warm" and not isinstance(head, ClosedFormSoftmax):
        pytest.skip("training that goes on depends on the round")
    if start == "fresh" and isinstance(head, LinearHead):
        head.set_params(random_state=7)
    looks = Looks()
    loop = pyal.Loop(
        X, head, looks, 1, y=KNOWN, validation=(HELD, Y_HELD), start=start, classes=[0, 1, 2], random_state=1
    )
    rounds(loop, 4)
    for pool, now, then in zip(looks.pools, loop.history, loop.history[1:], strict=False):
        row = pool.candidates[:3]
        accuracy, loss = pool.validation.after_each(row, Y[row])
        assert accuracy.shape == loss.shape == (3,)
        assert pool.validation.accuracy == now["metrics"]["validation_accuracy"]
        assert pool.validation.loss == now["metrics"]["validation_loss"]
        assert accuracy[0] == pytest.approx(then["metrics"]["validation_accuracy"], abs=1e-12)
        assert loss[0] == pytest.approx(then["metrics"]["validation_loss"], rel=1e-6)
        assert loss[0] != pool.validation.loss


def test_a_label_tried_is_not_learned():
    def batches(strategy):
        loop = pyal.Loop(X, ClosedFormSoftmax(), strategy, 2, y=KNOWN, validation=(HELD, Y_HELD), start="warm")
        return [entry["batch"] for entry in rounds(loop, 4).history]

    def tries(pool, batch_size, *, rng):
        pool.validation.after_each(pool.candidates, Y[pool.candidates])
        return pick(pool, "margin", batch_size, rng=rng, options={})

    assert batches(tries) == batches("margin")


def test_the_classifier_can_be_asked_about_other_rows():
    looks = Looks()
    loop = pyal.Loop(X, GaussianNB(), looks, 2, y=np.where(Y == 2, -1, KNOWN), classes=[0, 1, 2])
    rounds(loop, 1)
    (pool,) = looks.pools
    found = pool.classify(pool.X.part(slice(0, 80)))
    assert found.tolist() == pool.proba.tolist()
    assert found.shape == (80, 3)
    assert not found[:, 2].any()
    assert pool.validation is None


def test_without_a_model_there_is_none():
    seen = []

    def watch(pool, batch_size, *, rng):  # noqa: ARG001
        seen.append((pool.validation, pool.classify, pool.head))
        return pool.candidates[:batch_size]

    rounds(pyal.Loop(X, None, watch, 2), 2)
    assert seen == [(None, None, None)] * 2


def test_a_resumed_loop_goes_by_the_same_rows(tmp_path):
    def loop(folder):
        return pyal.Loop(
            X, GaussianNB(), "margin", 3, y=KNOWN, validation=(HELD, Y_HELD), random_state=3, workdir=folder
        )

    whole = rounds(loop(tmp_path / "whole"), 4).history
    with loop(tmp_path / "cut") as first:
        rounds(first, 2)
    with pytest.raises(ValueError, match=r"X_validation was given as an array, .*: pass validation="):
        pyal.Loop.resume(tmp_path / "cut", X=X)
    with pytest.raises(ValueError, match="validation is not what this loop started with: its labels differ"):
        pyal.Loop.resume(tmp_path / "cut", X=X, validation=(HELD, (Y_HELD + 1) % 3))
    with pyal.Loop.resume(tmp_path / "cut", X=X, validation=(HELD, Y_HELD)) as second:
        rounds(second, 2)
        for one, other in zip(whole, second.history, strict=True):
            assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_rows_on_disk_are_found_again(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "held.npy", HELD)
    files = str(tmp_path / "X.npy"), (str(tmp_path / "held.npy"), Y_HELD)
    pyal.Loop(files[0], GaussianNB(), "margin", 3, y=KNOWN, validation=files[1], workdir=tmp_path / "loop").close()
    with pyal.Loop.resume(tmp_path / "loop") as loop:
        loop.query()
        assert "validation_loss" in loop.history[0]["metrics"]


def test_it_is_the_accuracy_of_what_the_classifier_predicts():
    """Not of its largest probability, which is another class for some."""

    class Contrary(GaussianNB):
        def predict(self, X):
            return (super().predict(X) + 1) % 3

    loop = pyal.Loop(X, Contrary(), "random", 3, y=KNOWN, test=(HELD, Y_HELD), validation=(HELD, Y_HELD))
    loop.query()
    metrics = loop.history[0]["metrics"]
    assert metrics["validation_accuracy"] == metrics["accuracy"] < 0.5


class Learner:
    """Asked by position."""

    classes_ = (0, 1)

    def fit(self, positions, labels, *, unlabeled, seed):
        """Nothing."""

    def predict_proba(self, positions):
        return np.full((len(positions), 2), 0.5)


@pytest.mark.parametrize(
    ("changes", "error", "rule"),
    [
        ({"validation": (HELD[:, :3], Y_HELD)}, ValueError, "X_validation must have as many columns as X, 6; got 3"),
        ({"validation": (HELD, Y_HELD[:5])}, ValueError, "y_validation must .*40"),
        ({"validation": (HELD, [None, *Y_HELD[1:].tolist()])}, ValueError, "y_validation must have no holes; .* row 0"),
        ({"validation": HELD}, TypeError, r"validation must be \(X_validation, y_validation\); got ndarray"),
        ({"estimator": Learner()}, TypeError, "validation needs a scikit-learn classifier as estimator="),
        (
            {"estimator": LinearSVC(), "strategy": "random"},
            TypeError,
            "validation needs an estimator with predict_proba",
        ),
        (
            {"validation": (HELD, Y_HELD.astype(str))},
            TypeError,
            "all text or all numbers, here, in test and in validation",
        ),
        ({"estimator": None, "strategy": "random"}, TypeError, "validation needs a scikit-learn classifier"),
    ],
)
def test_what_is_refused(changes, error, rule):
    given = {"estimator": GaussianNB(), "strategy": "margin", "validation": (HELD, Y_HELD), "y": KNOWN, **changes}
    with pytest.raises(error, match=rule):
        pyal.Loop(X, **given)
