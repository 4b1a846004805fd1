"""Where fits begin: afresh, with one seed for all rounds, or where the last round has ended, in a resumed loop too."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_loop_learner import NoParameters

import pyal
from pyal.heads import ClosedFormSoftmax
from pyal.loop import journal

DIGITS, DIGIT = load_digits(return_X_y=True)
ROWS, NAMES = (DIGITS[:200] / 16).astype(np.float32), DIGIT[:200] % 3
BEGUN = np.where(np.arange(200) < 9, NAMES, -1)

ESTIMATORS = {
    "logistic": LogisticRegression(max_iter=3),
    "sgd": SGDClassifier(loss="log_loss", max_iter=4, tol=None),
    "mlp": MLPClassifier((6,), max_iter=5),
    "pipeline": make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", max_iter=4, tol=None)),
}


@pytest.fixture(autouse=True)
def few_iterations():
    """The estimators stop early on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


class Drift:
    """A learner whose weights are the mean of what it was fitted to and of what it had before."""

    def __init__(self, rate=0.5):
        self.rate = rate

    def get_params(self, deep=True):  # noqa: ARG002
        return {"rate": self.rate}

    def fit(self, positions, labels, *, unlabeled, seed, start=None):  # noqa: ARG002
        self.classes_ = np.unique(labels)
        jitter = np.random.default_rng(seed).normal(0, 0.1, (3, 64))
        self.weights = np.array([ROWS[positions[labels == c]].mean(axis=0) for c in self.classes_]) + jitter
        self.rounds = 1
        if start is not None:
            assert start is not self
            self.rounds += start.rounds
            self.weights = self.rate * self.weights + (1 - self.rate) * start.weights

    def predict_proba(self, positions):
        scores = np.exp(ROWS[positions] @ self.weights.T)
        return scores / scores.sum(axis=1, keepdims=True)


def loop_of(estimator, start="warm", **given):
    given = {"strategy": "margin", "batch_size": 5, "y": BEGUN, "random_state": 0} | given
    return pyal.Loop(ROWS, estimator, start=start, **given)


def go(loop, rounds=3):
    for _ in range(rounds):
        batch = loop.query()
        loop.teach(batch, NAMES[batch])
    return loop


def weights(estimator):
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if isinstance(last, Drift):
        return last.weights
    return np.concatenate([layer.ravel() for layer in (last.coefs_ if hasattr(last, "coefs_") else [last.coef_])])


def batches(loop):
    return [entry["batch"] for entry in loop.history]


@pytest.mark.parametrize("name", ["logistic", "sgd", "mlp"])
def test_warm_is_the_same_estimator_fitted_again_and_again(name):
    """By hand: one estimator with warm_start=True and the seed of each round, fitted to the labels of each."""
    loop = loop_of(ESTIMATORS[name])
    by_hand = type(ESTIMATORS[name])(**ESTIMATORS[name].get_params() | {"warm_start": True})
    for r in range(3):
        labeled = loop.labeled
        batch = loop.query()
        seed = np.random.default_rng(np.random.SeedSequence((0, r)).spawn(4)[1]).integers(2**32)
        by_hand.set_params(random_state=int(seed)).fit(ROWS[labeled], NAMES[labeled])
        np.testing.assert_array_equal(weights(loop.estimator_), weights(by_hand))
        loop.teach(batch, NAMES[batch])
    assert not np.array_equal(weights(go(loop_of(ESTIMATORS[name], "fresh")).estimator_), weights(by_hand))


@pytest.mark.parametrize("name", [*ESTIMATORS, "learner"])
@pytest.mark.parametrize("tested", [False, True])
def test_resumed_it_picks_what_an_uninterrupted_loop_picks(tmp_path, name, tested):
    estimator = ESTIMATORS.get(name) or Drift()
    test = (ROWS[100:], NAMES[100:]) if name in ESTIMATORS else len_of_classes
    given = {"test": test} if tested else {}
    again = {"estimator": estimator} | given

    def answers(loop):
        yield lambda: loop.teach(loop.outstanding[:2], NAMES[loop.outstanding[:2]])
        if tested:
            yield loop.evaluate  # of labels that no batch is asked with
        yield lambda: loop.teach(loop.outstanding, NAMES[loop.outstanding])
        yield lambda: loop.teach(loop.labeled[:1], [NAMES[5]])

    straight = loop_of(estimator, **given)
    loop_of(estimator, **given, workdir=tmp_path / "run").close()
    for r in range(4):
        straight.query()
        for answer in answers(straight):
            answer()
        with pyal.Loop.resume(tmp_path / "run", X=ROWS, **again) as loop:
            loop.query()
            np.testing.assert_array_equal(loop.outstanding, straight.history[r]["batch"])
            for answer in answers(loop):
                answer()
    straight.query()
    with pyal.Loop.resume(tmp_path / "run", X=ROWS, **again) as loop:
        loop.query()
        np.testing.assert_array_equal(weights(loop.estimator_), weights(straight.estimator_))
        assert batches(loop) == batches(straight)
        assert [e["metrics"] for e in loop.history] == [e["metrics"] for e in straight.history]
        loop.teach(loop.outstanding, NAMES[loop.outstanding])
        straight.teach(straight.outstanding, NAMES[straight.outstanding])
        assert loop.query().tolist() == straight.query().tolist()


def len_of_classes(learner):
    return len(learner.classes_)


KILLED = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = {path!r}
from test_loop_start import ESTIMATORS, NAMES, go, loop_of
loop = go(loop_of(ESTIMATORS["mlp"], workdir={workdir!r}), 2)
loop.query()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_and_resumed_is_as_uninterrupted(tmp_path):
    workdir = str(tmp_path / "run")
    code = KILLED.format(path=[str(Path(__file__).parent), str(Path(__file__).parent.parent)], workdir=workdir)
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert died.returncode == -9, died.stderr
    straight = go(loop_of(ESTIMATORS["mlp"]), 5)
    with pyal.Loop.resume(workdir, X=ROWS) as loop:
        assert batches(go(loop)) == batches(straight)
        np.testing.assert_array_equal(weights(loop.estimator_), weights(straight.estimator_))


def test_rounds_without_a_fit_are_not_caught_up_with(tmp_path):
    """The first, without labels, and those at random."""
    schedule = {"strategy": [("random", 15), ("margin", 20), ("random", 25), ("margin", None)], "y": None}
    straight = loop_of(Drift(), **schedule)
    with loop_of(Drift(), **schedule, workdir=tmp_path):
        pass
    for rounds in range(7):
        go(straight, 1)
        with pyal.Loop.resume(tmp_path, X=ROWS, estimator=Drift()) as loop:
            go(loop, 1)
            assert batches(loop) == batches(straight)
            assert (loop.estimator_ is None) == (rounds in (0, 1, 2, 4))
    assert straight.estimator_.rounds == loop.estimator_.rounds == 3


def test_an_evaluation_changes_no_later_fit():
    one, other = (loop_of(ESTIMATORS["sgd"], test=(ROWS, NAMES)) for _ in range(2))
    for _ in range(3):
        batch = one.query()
        assert other.query().tolist() == batch.tolist()
        one.teach(batch[:2], NAMES[batch[:2]])
        one.evaluate()
        one.evaluate()
        one.teach(batch[2:], NAMES[batch[2:]])
        other.teach(batch, NAMES[batch])
    assert one.query().tolist() == other.query().tolist()
    np.testing.assert_array_equal(weights(one.estimator_), weights(other.estimator_))


def test_what_the_user_was_given_is_not_trained_on():
    loop = loop_of(ESTIMATORS["mlp"])
    batch = loop.query()
    first = loop.estimator_
    before = [w.copy() for w in first.coefs_]
    loop.teach(batch, NAMES[batch])
    loop.query()
    assert loop.estimator_ is not first
    for w, was in zip(first.coefs_, before, strict=True):
        np.testing.assert_array_equal(w, was)
    assert not ESTIMATORS["mlp"].warm_start
    assert not hasattr(ESTIMATORS["mlp"], "coefs_")


def test_a_new_class_begins_afresh():
    y = np.where((np.arange(200) < 40) & (NAMES < 2), NAMES, -1)
    warm, fresh = (loop_of(ESTIMATORS["mlp"], start, y=y, strategy="margin") for start in ("warm", "fresh"))
    for loop in (warm, fresh):
        batch = loop.query()
        loop.teach(batch, np.arange(5) % 3)
        loop.query()
        assert loop.estimator_.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(weights(warm.estimator_), weights(fresh.estimator_))
    warm.teach(warm.outstanding, NAMES[warm.outstanding])
    warm.query()
    assert warm.estimator_.warm_start  # and goes on from there


def test_one_class_is_a_constant_and_then_the_estimator_begins():
    loop = loop_of(ESTIMATORS["sgd"], y=np.where(np.arange(200) < 1, NAMES, -1), initial="random", test=(ROWS, NAMES))
    loop.query()
    assert type(loop.estimator_).__name__ == "DummyClassifier"
    assert type(go(loop).estimator_) is SGDClassifier


def test_a_learner_is_handed_the_learner_of_the_last_round():
    loop = go(loop_of(Drift()), 4)
    assert loop.estimator_.rounds == 4
    assert go(loop_of(Drift(), "fresh"), 4).estimator_.rounds == 1
    assert go(loop_of(Drift(), "same"), 4).estimator_.rounds == 1


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (GaussianNB(), r"needs an estimator with warm_start among its parameters; GaussianNB\(\) has none"),
        (make_pipeline(StandardScaler(), GaussianNB()), "among its parameters; Pipeline.* has none"),
        (RandomForestClassifier(), r"by which training goes on; by that of RandomForestClassifier\(\) only members"),
        (HistGradientBoostingClassifier(), "by that of HistGradientBoostingClassifier.* only members are added"),
        (NoParameters(), "start='warm' needs a learner whose fit takes start=; .*NoParameters.* has no such argument"),
    ],
)
def test_what_cannot_go_on_is_refused(estimator, words):
    with pytest.raises(ValueError, match=words):
        loop_of(estimator)


class Seeded(GaussianNB):
    """Keeps the seeds that it was given."""

    seeds: list[int] = []  # noqa: RUF012

    def __init__(self, random_state=None):
        super().__init__(var_smoothing=0.1)
        self.random_state = random_state

    def fit(self, X, y):
        self.seeds.append(self.random_state)
        return super().fit(X, y)


@pytest.mark.parametrize("start", ["same", "fresh"])
def test_one_seed_for_all_rounds_or_one_for_each(start):
    def seeds(random_state, **given):
        Seeded.seeds.clear()
        go(loop_of(Seeded(), start, random_state=random_state, **given))
        return Seeded.seeds.copy()

    found = seeds(0)
    assert len(found) == 3
    assert len(set(found)) == (1 if start == "same" else 3)
    assert seeds(0, strategy="badge", batch_size=3) == found  # whatever is picked
    assert seeds(1) != found
    assert found[0] == np.random.default_rng(np.random.SeedSequence((0, 0)).spawn(4)[1]).integers(2**32)


def test_same_begins_all_rounds_and_strategies_with_the_same_weights(monkeypatch):
    torch = pytest.importorskip("torch")
    from pyal.heads import training

    begun, initial = [], training.initial
    monkeypatch.setattr(training, "initial", lambda *a: begun.append(initial(*a)) or begun[-1].clone())
    head = pyal.heads.MLPHead(hidden_layer_sizes=(4,), epochs=2)
    for strategy in ("margin", "badge"):
        go(loop_of(head, "same", strategy=strategy))
    assert len(begun) == 6
    assert all(torch.equal(one, begun[0]) for one in begun)
    go(loop_of(head, "fresh"))
    assert not torch.equal(begun[-1], begun[-2])


def test_a_head_goes_on():
    pytest.importorskip("torch")
    head = pyal.heads.LinearHead(epochs=2)
    warm, again, fresh = (go(loop_of(head, start)) for start in ("warm", "warm", "fresh"))
    np.testing.assert_array_equal(warm.estimator_._flat, again.estimator_._flat)
    assert not np.array_equal(warm.estimator_._flat, fresh.estimator_._flat)


def test_the_journal_keeps_it_and_old_ones_are_fresh(tmp_path):
    go(loop_of(ESTIMATORS["sgd"], "same", workdir=tmp_path / "same")).close()
    lines = [json.loads(line)["record"] for line in (tmp_path / "same" / "journal.jsonl").read_text().splitlines()]
    assert lines[0]["start"] == "same"
    assert lines[0]["format"] == 3
    with pyal.Loop.resume(tmp_path / "same", X=ROWS) as loop:
        assert batches(go(loop)) == batches(go(loop_of(ESTIMATORS["sgd"], "same"), 6))
    fresh = go(loop_of(ESTIMATORS["sgd"], "fresh", workdir=tmp_path / "old"))
    fresh.close()
    path, mark, written = tmp_path / "old" / "journal.jsonl", journal.Mark(), b""
    for record in [json.loads(line)["record"] for line in path.read_text().splitlines()]:
        if record["event"] == "start":
            record = {k: v for k, v in record.items() if k != "start"} | {"format": 2}
        line, mark = journal._line(mark, record)
        written += line
    path.write_bytes(written)
    with pyal.Loop.resume(tmp_path / "old", X=ROWS) as loop:
        assert loop._setup.start == "fresh"
        assert batches(go(loop)) == batches(go(loop_of(ESTIMATORS["sgd"], "fresh"), 6))


def test_an_interrupted_catching_up_is_begun_where_it_was(tmp_path, monkeypatch):
    go(loop_of(ESTIMATORS["sgd"], workdir=tmp_path)).close()
    straight = go(loop_of(ESTIMATORS["sgd"]), 4)
    with pyal.Loop.resume(tmp_path, X=ROWS) as loop:
        fit, calls = SGDClassifier.fit, []

        def interrupted(self, *given):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return fit(self, *given)

        monkeypatch.setattr(SGDClassifier, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.query()
        loop.query()
        assert len(calls) == 2 + 3  # one made and one not, then the other two and the round's own
        np.testing.assert_array_equal(loop.outstanding, batches(straight)[-1])


def test_closed_forms_take_in_what_is_new(monkeypatch, tmp_path):
    """One fit, then rank-one updates: the picks of fits anew, and of a loop that is resumed, to the last bit."""
    calls: list[tuple[str, int]] = []

    def counted(name):
        method = getattr(ClosedFormSoftmax, name)

        def call(self, X, y, *rest, **named):
            calls.append((name, len(y)))
            return method(self, X, y, *rest, **named)

        return call

    for name in ("fit", "partial_fit"):
        monkeypatch.setattr(ClosedFormSoftmax, name, counted(name))
    head = ClosedFormSoftmax("ridge", alpha=0.5, pca=8, epsilon=1e-3)

    def rounds(loop, count):
        batches = []
        for _ in range(count):
            batch = loop.query()
            loop.teach(batch, NAMES[batch])
            batches.append(batch.tolist())
        return batches

    given = {"y": BEGUN, "random_state": 0}
    warm = rounds(pyal.Loop(ROWS, head, "margin", 5, start="warm", **given), 5)
    assert calls == [("fit", 9)] + [("partial_fit", 5)] * 4
    assert warm == rounds(pyal.Loop(ROWS, head, "margin", 5, **given), 5)
    kept = pyal.Loop(ROWS, head, "margin", 5, start="warm", workdir=tmp_path / "run", **given)
    before = rounds(kept, 3)
    kept.close()
    with pyal.Loop.resume(tmp_path / "run", X=ROWS) as resumed:
        assert before + rounds(resumed, 2) == warm
        weights = resumed.estimator_.coef_
    whole = pyal.Loop(ROWS, head, "margin", 5, start="warm", **given)
    rounds(whole, 5)
    np.testing.assert_array_equal(weights, whole.estimator_.coef_)


def test_a_label_that_is_taken_back_makes_a_closed_form_begin_afresh():
    head = ClosedFormSoftmax("ridge", alpha=0.5)
    loop = pyal.Loop(ROWS, head, "margin", 5, y=BEGUN, start="warm", random_state=0)
    loop.query()
    loop.teach(loop.outstanding, NAMES[loop.outstanding])
    loop.query()
    loop.teach([0], [int(NAMES[0] + 1) % 3])  # the row 0 was said to be of another class
    loop.teach(loop.outstanding, NAMES[loop.outstanding])
    loop.query()
    known = loop.labeled
    labels = NAMES[known].copy()
    labels[known == 0] = (NAMES[0] + 1) % 3
    expected = ClosedFormSoftmax("ridge", alpha=0.5).fit(ROWS[known], labels).coef_
    np.testing.assert_allclose(loop.estimator_.coef_, expected, rtol=1e-6, atol=1e-9)
