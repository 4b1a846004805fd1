"""The contract of Loop in memory. What it is taught: test_loop_answers.py; over restarts: test_loop_resume.py."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from data import blobs, put, rounded
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

import pyal

N = 60
X = blobs(N, 5)
Y = np.random.default_rng(3).integers(0, 3, N)
STARTED = np.where(np.arange(N) < 9, Y, -1)


def first_candidates(pool, batch_size, *, rng, step: int = 1):  # noqa: ARG001
    """A strategy of the user's own."""
    return pool.candidates[::step][:batch_size]


def n_classes(estimator):
    return len(estimator.classes_)


def teach_all(loop, rounds=1, y=Y):
    for _ in range(rounds):
        batch = loop.query()
        loop.teach(batch, y[batch])
    return loop


# ---- query


def test_the_batches_are_those_of_select():
    loop = pyal.Loop(X, strategy="typiclust", batch_size=4, metric="cosine", random_state=5)
    known: list[int] = []
    for number in range(3):
        rng = np.random.default_rng(np.random.SeedSequence((5, number)).spawn(3)[2])
        wanted = pyal.select(X, labeled=known, strategy="typiclust", batch_size=4, metric="cosine", random_state=rng)
        batch = loop.query()
        assert batch.dtype == np.int64
        np.testing.assert_array_equal(batch, wanted)
        np.testing.assert_array_equal(loop.query(), batch)
        loop.teach(batch, Y[batch])
        known += batch.tolist()
    assert sorted(known) == loop.labeled.tolist()
    assert pyal.Loop(X, strategy="coreset", batch_size=2, y=STARTED, random_state=0).query().tolist() == (
        pyal.select(X, STARTED, strategy="coreset", batch_size=2).tolist()
    )


def test_a_model_is_fitted_to_the_labels_in_the_order_of_their_rows():
    loop = pyal.Loop(X, GaussianNB(), "margin", 4, y=STARTED)
    proba = GaussianNB().fit(X[:9], Y[:9]).predict_proba(X)
    np.testing.assert_array_equal(loop.query(), pyal.select(X, STARTED, strategy="margin", batch_size=4, proba=proba))
    np.testing.assert_array_equal(loop.estimator_.classes_, [0, 1, 2])
    orders = []
    for order in (1, -1):
        loop = pyal.Loop(X, DecisionTreeClassifier(max_features=1), "badge", 4, random_state=1)
        for i in range(9)[::order]:
            loop.teach([i], [Y[i]])
        orders.append(teach_all(loop, 3).history[-1]["batch"])
    assert orders[0] == orders[1]


NAMES = np.array(["ant", "bee", "cat"])[Y]
NO_BEES = [name if i < 9 and name != "bee" else None for i, name in enumerate(NAMES)]
KNOWN = [i for i in range(9) if NAMES[i] != "bee"]


@pytest.fixture
def seen():
    """A strategy that keeps the pool it was given, as `seen.pool`."""

    def spy(pool, batch_size, *, rng):  # noqa: ARG001
        spy.pool = pool
        return pool.candidates[:batch_size]

    return spy


def test_proba_has_a_column_per_class_that_is_known(seen):
    pyal.Loop(X, GaussianNB(), seen, 4, y=NO_BEES).query()
    np.testing.assert_array_equal(seen.pool.proba, GaussianNB().fit(X[KNOWN], NAMES[KNOWN]).predict_proba(X))


def test_proba_has_the_columns_of_classes_with_0_for_those_not_seen(seen):
    pyal.Loop(X, GaussianNB(), seen, 4, y=NO_BEES, classes=["cat", "bee", "ant", "dog"]).query()
    ant, cat = GaussianNB().fit(X[KNOWN], NAMES[KNOWN]).predict_proba(X).T
    np.testing.assert_array_equal(seen.pool.proba, np.stack([cat, np.zeros(N), ant, np.zeros(N)], 1))
    assert seen.pool.n_classes == 4


def test_strategies_are_told_labels_as_columns_of_proba(seen):
    pyal.Loop(X, None, seen, 4, y=NO_BEES, classes=["cat", "bee", "ant", "dog"]).query()
    np.testing.assert_array_equal(seen.pool.labeled, KNOWN)
    np.testing.assert_array_equal(seen.pool.y, [{"cat": 0, "ant": 2}[NAMES[i]] for i in KNOWN])
    assert seen.pool.proba is None


def test_one_label_of_two_classes_is_not_ambiguous(seen):
    pyal.Loop(X, None, seen, 4, y=[1, *[None] * (N - 1)], classes=[0, 1]).query()
    np.testing.assert_array_equal(seen.pool.y, [1])


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match="labels must be among the classes ant, bee; got cat"):
        pyal.Loop(X, classes=["ant", "bee"]).teach([1], ["cat"])


def test_features_of_the_estimator_are_passed_on():
    class WithFeatures(GaussianNB):
        def features(self, rows):
            return rows[:, :2] + len(self.classes_)

    proba = GaussianNB().fit(X[:9], Y[:9]).predict_proba(X)
    loop = pyal.Loop(X, WithFeatures(), "badge", 5, y=STARTED, random_state=2)
    rng = np.random.default_rng(np.random.SeedSequence((2, 0)).spawn(3)[2])
    wanted = pyal.select(
        X, STARTED, strategy="badge", batch_size=5, proba=proba, features=X[:, :2] + 3, random_state=rng
    )
    np.testing.assert_array_equal(loop.query(), wanted)


def test_every_kind_of_X(device, dtype, tmp_path):
    rows = put(4 * X, dtype, device)
    loop = pyal.Loop(rows, GaussianNB(), "margin", 4, y=STARTED, test=(rows, Y), workdir=tmp_path)
    wanted = GaussianNB().fit(rounded(4 * X, dtype)[:9], Y[:9]).score(rounded(4 * X, dtype), Y)
    assert teach_all(loop).history[0]["metrics"]["accuracy"] == pytest.approx(wanted, abs=0.04)
    loop.close()
    with pyal.Loop.resume(tmp_path, X=put(4 * X, dtype), test=(rows, Y), device=device) as again:
        assert len(again.labeled) == 13
        again.query()


def test_cold_starts_are_explicit():
    loop = pyal.Loop(X, GaussianNB(), "margin", 4)
    for labels in ([], [0, 0]):
        loop.teach(range(len(labels)), labels)
        seen = len(set(labels))
        with pytest.raises(
            ValueError, match=rf"'margin' needs proba, and labels of {seen} classes .* initial='random'"
        ):
            loop.query()
    assert loop.history == []
    loop = pyal.Loop(X, GaussianNB(), "margin", 4, initial="coreset")
    loop.teach(loop.query(), [0, 0, 0, 0])
    loop.teach(loop.query(), [0, 0, 1, 0])
    loop.query()
    assert [entry["strategy"] for entry in loop.history] == ["coreset", "coreset", "margin"]
    with pytest.raises(ValueError, match="strategy 'margin' needs proba, so the loop needs estimator="):
        pyal.Loop(X, None, [("random", 5), ("margin", None)])
    with pytest.raises(ValueError, match="initial must be a strategy that needs no proba; 'badge' does"):
        pyal.Loop(X, GaussianNB(), "margin", initial="badge")


def test_schedules():
    loop = pyal.Loop(
        X, GaussianNB(), [("k_center", 8, {"first": "norm"}), (first_candidates, 14), ("margin", None)],
        [(4, 8), (6, 26)], random_state=0,
    )  # fmt: skip
    teach_all(loop, 5)
    expected = [("coreset", 4), ("coreset", 4), ("first_candidates", 6), ("margin", 6), ("margin", 6)]
    assert [(entry["strategy"], len(entry["batch"])) for entry in loop.history] == expected
    assert [entry["n_labeled"] for entry in loop.history] == [0, 4, 8, 14, 20]
    with pytest.raises(ValueError, match="the schedule of batch_size has ended: 26 rows are labelled"):
        loop.query()
    one = pyal.Loop(X, strategy="coreset", first="norm", batch_size=4).query()
    np.testing.assert_array_equal(one, loop.history[0]["batch"])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"strategy": "typiclst"}, ValueError, "did you mean 'typiclust'"),
        ({"strategy": [("random", 5), ("margim", None)]}, ValueError, "did you mean 'margin'"),
        ({"strategy": [("random", None), ("coreset", None)]}, ValueError, r"must rise.*got \[None, None\]"),
        ({"strategy": [("random", 9), ("coreset", 9)]}, ValueError, r"must rise.*got \[9, 9\]"),
        ({"strategy": [("random", 9), "coreset"]}, TypeError, "a sequence of"),
        ({"strategy": []}, TypeError, "a sequence of"),
        ({"strategy": 3}, TypeError, "strategy must be a name"),
        ({"strategy": [(3, None)]}, TypeError, "strategy must be a name"),
        ({"strategy": [("coreset", 5, {"frist": "norm"})]}, TypeError, "'first'"),
        ({"strategy": [("coreset", 5, 3)]}, TypeError, "options of a strategy must be a dict; got 3"),
        ({"strategy": [("coreset", 5.0)]}, TypeError, "until_n_labels must be an integer"),
        ({"strategy": [("coreset", None)], "first": "norm"}, TypeError, "stand in its entries"),
        ({"strategy": "coreset", "frist": "norm"}, TypeError, "'first'"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer; got 2.5"),
        ({"batch_size": "20"}, TypeError, "batch_size must be an integer; got '20'"),
        ({"batch_size": [20, 100]}, TypeError, "a sequence of"),
        ({"batch_size": [(20, 100), (5, 50)]}, ValueError, "must rise"),
        ({"subset": "10"}, ValueError, "subset must be a number, or a multiple .*; got '10'"),
        ({"subset": 0}, ValueError, "subset must be at least 1"),
        ({"metric": "cos"}, ValueError, "metric must be"),
        ({"estimator": object()}, TypeError, "it has no fit"),
        ({"estimator": GaussianNB}, TypeError, "write its parentheses"),
        ({"test": (X, Y)}, ValueError, "test needs estimator="),
        ({"test": X, "estimator": GaussianNB()}, TypeError, "test must be"),
        ({"test": (X[:, :2], Y), "estimator": GaussianNB()}, ValueError, "X_test must have as many columns as X, 5"),
        ({"test": (X, Y[:9]), "estimator": GaussianNB()}, ValueError, r"y_test.*\(60,\); got \(9,\)"),
        ({"test": (X, STARTED), "estimator": GaussianNB()}, ValueError, "y_test must not hold -1"),
        ({"test": (X, [None, *Y[1:]]), "estimator": GaussianNB()}, ValueError, "no holes; it has one in row 0"),
        ({"ids": ["a"] * N}, ValueError, "ids must be distinct; 'a' comes more than once"),
        ({"ids": ["a", "b"]}, ValueError, "one id per row of X, 60; got 2"),
        ({"ids": [1.5] * N}, TypeError, "ids must be all text or all integers"),
        ({"ids": [1, "1", *range(2, N)]}, TypeError, "ids must be all text or all integers"),
        ({"classes": []}, TypeError, "classes must be all text or all integers; got none"),
        ({"y": Y[:5]}, ValueError, "one label or hole per row of X"),
        ({"y": [*Y[:5], *["a"] * 55]}, TypeError, "labels must be all text or all numbers"),
        ({"candidates": [N]}, ValueError, "candidates must lie in 0 .. 59; got 60"),
        ({"start": "cold"}, ValueError, "start must be 'fresh', 'same' or 'warm'; got 'cold'"),
        ({"start": None}, ValueError, "start must be 'fresh', 'same' or 'warm'; got None"),
        ({"start": ["warm"]}, ValueError, r"start must be 'fresh', 'same' or 'warm'; got \['warm'\]"),
        ({"start": "warm"}, ValueError, "start='warm' needs estimator=, which is missing"),
        ({"start": "same"}, ValueError, "start='same' needs estimator=, which is missing"),
        (
            {"start": "warm", "estimator": GaussianNB()},
            ValueError,
            r"start='warm' needs an estimator with warm_start among its parameters; GaussianNB\(\) has none",
        ),
        ({"random_state": -1}, ValueError, "random_state must not be negative"),
        ({"X": X[0]}, ValueError, "X must be 2-D"),
    ],
)
def test_what_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        pyal.Loop(**{"X": X, **arguments})


def test_candidates_subset_and_the_end_of_the_pool():
    loop = pyal.Loop(X, strategy="random", batch_size=5, candidates=np.arange(N) % 5 == 0, subset=6, random_state=0)
    loop.teach([0, 5, 10], [1, None, 2])
    loop.teach(loop.query(), Y[loop.query()])
    with pytest.warns(UserWarning, match="batch_size=5 is more than the 4 candidates"):
        loop.teach(loop.query()[:0], [])
    assert all(i % 5 == 0 and i > 10 for entry in loop.history for i in entry["batch"])
    loop.teach(loop.outstanding, [None, 1, 1, 1])
    with pytest.raises(ValueError, match="no row to pick: of 12 candidates 10 are labelled and 2 skipped"):
        loop.query()
    whole = pyal.Loop(X, strategy="coreset", first="index0", batch_size=5, subset=4, random_state=0)
    assert whole.query()[0] == 0  # a subset smaller than the batch: all candidates
    subsets = pyal.Loop(X, strategy="coreset", first="index0", batch_size=1, subset="10b", random_state=0)
    offered = [subsets.query()[0]]
    for _ in range(5):
        subsets.discard()
        offered.append(subsets.query()[0])
    assert len(set(offered)) > 1  # nothing is labelled: only the subset differs from round to round


# ---- metrics and history


def test_metrics_are_those_of_the_labels_known():
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    loop = pyal.Loop(X, GaussianNB(), "random", 8, y=STARTED, test=(X[20:], Y[20:]), random_state=0)
    teach_all(loop, 2)
    now = loop.evaluate()
    for entry, known in zip(
        loop.history, (range(9), [*range(9), *loop.history[0]["batch"]], loop.labeled), strict=True
    ):
        predicted = GaussianNB().fit(X[sorted(known)], Y[sorted(known)]).predict(X[20:])
        assert entry["n_labeled"] == len(known)
        assert entry["metrics"]["accuracy"] == pytest.approx(accuracy_score(Y[20:], predicted), abs=1e-12)
        balanced = balanced_accuracy_score(Y[20:], predicted)
        assert entry["metrics"]["balanced_accuracy"] == pytest.approx(balanced, abs=1e-12)
    assert now == loop.history[-1]["metrics"]
    fitted = loop.estimator_
    assert loop.evaluate() == now
    assert loop.estimator_ is fitted  # nothing new is known
    assert len(loop.history) == 3
    loop.query()
    assert loop.estimator_ is fitted
    assert [len(entry["batch"]) for entry in loop.history] == [8, 8, 8]
    assert loop.history[-1]["metrics"] == now
    assert [set(entry["seconds"]) for entry in loop.history] == [{"fit", "evaluate", "select"}] * 3
    assert [(entry["round"], entry["seed"]) for entry in loop.history] == [(0, 0), (1, 0), (2, 0)]


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_in_the_test():
    y = np.array([0, 0, 0, 1] * 15)
    loop = pyal.Loop(X, GaussianNB(), "random", y=np.where(np.arange(N) == 0, 0, -1), test=(X, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loop.evaluate() == {"accuracy": 0.75, "balanced_accuracy": 0.5}  # one class: a constant
    assert type(loop.estimator_).__name__ == "DummyClassifier"


def test_a_metric_of_ones_own():
    loop = pyal.Loop(X, GaussianNB(), "random", test=n_classes, random_state=0)
    assert teach_all(loop).history[0]["metrics"] == {}
    assert loop.evaluate() == {"test": 3.0}
    loop = pyal.Loop(X, GaussianNB(), "random", y=STARTED, test=lambda e: {"a": np.float32(2), "b": len(e.classes_)})
    assert loop.evaluate() == {"a": 2.0, "b": 3.0}
    with pytest.raises(ValueError, match="needs labels, and none are known"):
        pyal.Loop(X, GaussianNB(), test=n_classes).evaluate()
    with pytest.raises(ValueError, match="needs test="):
        pyal.Loop(X, GaussianNB()).evaluate()


def test_what_is_given_and_returned_is_not_shared():
    given, y = X.copy(), STARTED.copy()
    estimator = GaussianNB()
    loop = pyal.Loop(given, estimator, "margin", 4, y=y, metric="cosine", test=(X, Y))
    teach_all(loop)
    np.testing.assert_array_equal(given, X)
    np.testing.assert_array_equal(y, STARTED)
    assert not hasattr(estimator, "classes_")
    before = loop.history
    loop.history[0]["batch"].clear()
    loop.history[0]["metrics"].clear()
    loop.labels[:] = "x"
    loop.outstanding[:] = 3
    assert loop.history == before


def test_randomness_is_the_loops_own():
    def batches(random_state):
        tree = DecisionTreeClassifier(max_features=1)
        loop = pyal.Loop(X, tree, "badge", 4, y=STARTED, random_state=random_state, subset=30)
        return [entry["batch"] for entry in teach_all(loop, 3).history]

    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert batches(4) == batches(np.int64(4)) != batches(5)
    assert batches(np.random.default_rng(4)) == batches(np.random.default_rng(4))
    assert batches(None) != batches(None)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    fixed = pyal.Loop(X, DecisionTreeClassifier(random_state=11), "margin", 4, y=STARTED)
    fixed.query()
    assert fixed.estimator_.random_state == 11


def test_an_estimator_without_probabilities():
    from sklearn.linear_model import RidgeClassifier

    loop = pyal.Loop(X, RidgeClassifier(), "random", 4, y=STARTED, test=(X, Y))
    assert teach_all(loop).history[0]["metrics"]["accuracy"] > 0
    with pytest.raises(TypeError, match="estimator must have predict_proba"):
        pyal.Loop(X, RidgeClassifier(), "margin", 4, y=STARTED).query()
