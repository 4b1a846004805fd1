"""A loop trains learners: asked by position in the pool, with no features of X; a scikit-learn classifier is one."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from sklearn.naive_bayes import GaussianNB
from test_loop import STARTED, N, X, Y

import pyal
from pyal.arrays import as_matrix
from pyal.loop.learner import EstimatorLearner


class Neighbours:
    """Says of a row what the labelled row nearest by position is, in `passes` draws that differ a little."""

    def __init__(self, passes=None, smoothing=0.2):
        self.passes, self.smoothing = passes, smoothing

    def get_params(self, deep=True):  # noqa: ARG002
        return {"passes": self.passes, "smoothing": self.smoothing}

    def fit(self, positions, labels, *, unlabeled, seed):
        assert not set(positions) & set(unlabeled)
        assert len(positions) + len(unlabeled) == N
        assert (np.diff(positions) > 0).all()
        self.seed, self.positions, self.labels = seed, positions, labels
        self.classes_ = np.unique(labels)

    def predict_proba(self, positions):
        nearest = abs(positions[:, None] - self.positions).argmin(1)
        one = np.where(self.labels[nearest][:, None] == self.classes_, 1 - self.smoothing, 0.0)
        one += self.smoothing / len(self.classes_)
        one /= one.sum(1, keepdims=True)
        if self.passes is None:
            return one
        noise = np.random.default_rng(self.seed).random((self.passes, 1, 1))
        return (1 - noise) * one + noise / one.shape[1]


class WithFeatures(Neighbours):
    def features(self, positions):
        return np.stack([positions, positions % 3], 1).astype(np.float32)


class NoParameters:
    classes_ = (0, 1, 2)

    def fit(self, positions, labels, *, unlabeled, seed):
        pass

    def predict_proba(self, positions):
        return np.full((len(positions), 3), 1 / 3)


def share_right(learner):
    return float((learner.predict_proba(np.arange(N)).argmax(-1) == Y).mean())


def test_a_learner_is_asked_by_position():
    learner = Neighbours()
    loop = pyal.Loop(X, learner, "margin", 4, y=STARTED, test=share_right)
    fitted = Neighbours()
    fitted.fit(np.arange(9), Y[:9], unlabeled=np.arange(9, N), seed=0)
    proba = fitted.predict_proba(np.arange(N))
    np.testing.assert_array_equal(loop.query(), pyal.select(X, STARTED, strategy="margin", batch_size=4, proba=proba))
    assert loop.history[0]["metrics"] == {"test": share_right(fitted)}
    assert loop.estimator_.labels.tolist() == Y[:9].tolist()
    assert not hasattr(learner, "labels")


def test_several_passes_and_features_reach_the_strategy():
    seen = {}

    def spy(pool, batch_size, *, rng):  # noqa: ARG001
        seen["proba"], seen["features"] = pool.proba, pool.features
        return pool.candidates[:batch_size]

    pyal.Loop(X, WithFeatures(passes=3), spy, 4, y=STARTED, classes=[3, 2, 1, 0]).query()
    assert seen["proba"].shape == (3, N, 4)
    assert (seen["proba"][:, :, 0] == 0).all()
    np.testing.assert_allclose(seen["proba"].sum(-1), 1)
    np.testing.assert_array_equal(seen["features"].array[:, 0], np.arange(N))


def test_the_picks_of_a_learner_on_rows_are_those_of_the_estimator():
    one = pyal.Loop(X, GaussianNB(), "badge", 4, y=STARTED, random_state=1)
    other = pyal.Loop(X, EstimatorLearner(GaussianNB(), as_matrix(X)), "badge", 4, y=STARTED, random_state=1)
    assert one.query().tolist() == other.query().tolist()


def test_a_learner_is_kept_and_rebuilt_with_its_parameters(tmp_path):
    given = {"strategy": "margin", "batch_size": 4, "y": STARTED, "test": share_right}
    straight = pyal.Loop(X, WithFeatures(passes=2), **given)
    pyal.Loop(X, WithFeatures(passes=2), **given, workdir=tmp_path).close()
    for _ in range(3):
        with pyal.Loop.resume(tmp_path, X=X) as loop:
            batch = loop.query()
            assert batch.tolist() == straight.query().tolist()
            assert loop.history[-1]["metrics"] == straight.history[-1]["metrics"]
            loop.teach(batch, Y[batch])
        straight.teach(batch, Y[batch])
    with pytest.raises(ValueError, match=r"estimator is not .*: passes was 2 and is 5"):
        pyal.Loop.resume(tmp_path, X=X, estimator=WithFeatures(passes=5))
    with pytest.raises(ValueError, match=r"estimator is not .*: class was"):
        pyal.Loop.resume(tmp_path, X=X, estimator=GaussianNB())


def test_a_learner_without_parameters_is_passed_again(tmp_path):
    pyal.Loop(X, NoParameters(), "margin", y=STARTED, workdir=tmp_path).close()
    with pytest.raises(ValueError, match=r"NoParameters cannot be rebuilt \(it has no get_params\); pass estimator="):
        pyal.Loop.resume(tmp_path, X=X)
    with pyal.Loop.resume(tmp_path, X=X, estimator=NoParameters()) as loop:
        assert len(loop.query()) == 10


class Wrong(Neighbours):
    def predict_proba(self, positions):  # noqa: ARG002
        return {"nan": np.full((N, 3), np.nan), "rows": np.full((N - 1, 3), 1 / 3), "columns": np.ones((N, 1))}[
            self.smoothing
        ]


class KnowsMore(NoParameters):
    classes_ = (0, 1, 7)


@pytest.mark.parametrize(
    ("learner", "error", "words"),
    [
        (Wrong(smoothing="nan"), ValueError, "proba must be finite; row 0"),
        (Wrong(smoothing="rows"), ValueError, r"proba must have one row per row of X, 60; got shape \(59, 3\)"),
        (Wrong(smoothing="columns"), ValueError, r"a column for each of 3 classes_; got \(60, 1\)"),
        (KnowsMore(), ValueError, r"classes_ must be among the classes of the loop \(its classes=\); got 7"),
    ],
)
def test_answers_of_a_learner_that_are_refused(learner, error, words):
    loop = pyal.Loop(X, learner, "margin", y=STARTED)
    with pytest.raises(error, match=words):
        loop.query()


def test_a_learner_cannot_be_asked_about_rows_outside_the_pool():
    with pytest.raises(TypeError, match="test must be a callable of the fitted learner"):
        pyal.Loop(X, Neighbours(), "margin", y=STARTED, test=(X, Y))
    with pytest.raises(TypeError, match=r"or a learner \(its fit takes unlabeled= and seed=\); it has no fit"):
        pyal.Loop(X, object())
    with pytest.raises(TypeError, match="write its parentheses"):
        pyal.Loop(X, Neighbours)


def test_a_classifier_is_asked_about_any_positions():
    rows = blobs(40, 3)
    learner = EstimatorLearner(GaussianNB(), as_matrix(rows))
    learner.fit(np.arange(20), np.arange(20) % 2, unlabeled=np.arange(20, 40), seed=0)
    expected = GaussianNB().fit(rows[:20], np.arange(20) % 2).predict_proba(rows)
    for positions in (np.arange(40), np.arange(7, 20), np.array([3, 1, 2, 9]), np.array([5])):
        np.testing.assert_allclose(learner.predict_proba(positions), expected[positions], rtol=1e-12)
