"""simulate(): one table of fair runs, whatever the number of jobs, whatever failed, and after any kill."""

from __future__ import annotations

import csv
import os
import sys

import numpy as np
import pytest
from simulations import FAST, MODEL, TEST, X, Y, plain, same, simulated
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import pyal
from pyal import metrics
from pyal.kernels import matrices
from pyal.kernels.threads import available_cpus
from pyal.simulation import experiment, workers


def broken(pool, batch_size, *, rng):
    """A strategy that fails for every second seed."""
    picks = rng.permutation(pool.candidates)[:batch_size]
    if picks[0] % 2:
        raise ArithmeticError("odd")
    return picks


def last_rows(pool, batch_size, *, rng):  # noqa: ARG001
    return pool.candidates[::-1][:batch_size]


# ---- what is run


def test_the_table():
    found = simulated(["margin", "typiclust"], batch_sizes=[10, 15], budget=None)
    assert found.strategies == ["random", "margin", "typiclust"]
    assert found.seeds == [0, 1]
    assert found.n_labels.tolist() == [10, 20, 35]
    assert len(found.table) == 3 * 2 * 3
    assert found.table["round"].tolist() == [0, 1, 2] * 6
    for record in found.records():
        assert 0 < record["accuracy"] <= 1
        assert record["seconds_fit"] > 0
        assert np.isnan(record["seconds_select"]) == (record["round"] == 0)
        assert (record["seconds_predict"] > 0) == (record["strategy"] == "margin" and record["round"] > 0)
    for batches in found.picks.values():
        assert [len(batch) for batch in batches] == [10, 10, 15]
        assert len(np.unique(np.concatenate(batches))) == 35


def test_the_figures_are_those_of_the_estimator_on_these_labels():
    found = simulated()
    for row in found.table:
        labeled = np.concatenate(found.picks[row["strategy"], row["seed"]][: row["round"] + 1])
        predicted = FAST.fit(X[np.sort(labeled)], Y[np.sort(labeled)]).predict(TEST[0])
        assert row["accuracy"] == pytest.approx(np.mean(predicted == TEST[1]))
        assert row["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy(TEST[1], predicted))


def test_a_run_is_a_loop():
    found = simulated({"margin": {"aggregate": "metric"}}, estimator=MODEL, seeds=[7])
    loop = pyal.Loop(X, MODEL, "margin", 10, random_state=7, aggregate="metric")
    first, *batches = found.picks["margin", 7]
    loop.teach(first, Y[first])
    for batch in batches:
        assert loop.query().tolist() == batch.tolist()
        loop.teach(batch, Y[batch])


@pytest.mark.parametrize("strategies", [["margin"], ["random", "margin"], ["margin", "random"], [], {"margin": {}}])
def test_random_is_always_there_and_first(strategies):
    assert simulated(strategies).strategies[0] == "random"
    assert simulated(strategies).strategies.count("random") == 1


def test_all_start_from_the_same_labels():
    found = simulated(["margin", "typiclust", last_rows])
    for seed in (0, 1):
        starts = {tuple(batches[0]) for (_, s), batches in found.picks.items() if s == seed}
        assert len(starts) == 1
        assert len({row["accuracy"] for row in found.table if row["seed"] == seed and row["round"] == 0}) == 1
    assert plain(found.picks)["random", 0] != plain(found.picks)["random", 1]


def test_from_nothing():
    found = simulated(["margin", "typiclust"], initial=None, budget=20)
    assert found.n_labels.tolist() == [10, 20]
    assert found.n_initial == 0
    picks = plain(found.picks)
    assert picks["margin", 0][0] == picks["random", 0][0]  # it has no probabilities yet
    assert picks["typiclust", 0][0] == pyal.Loop(X, None, "typiclust", 10, random_state=0).query().tolist()
    assert not np.isnan(found.table["seconds_select"]).any()


def test_options_metrics_and_schedules_of_each():
    strategies = {
        "margin": None,
        "typiclust": None,
        "typiclust raw": {"strategy": "typiclust", "metric": "euclidean"},
        "wide": {"strategy": "probcover", "delta": 2.0, "metric": "euclidean"},
        "warm": [("typiclust", 15, {"metric": "euclidean"}), ("margin", None)],
        "mine": last_rows,
    }
    picks = plain(simulated(strategies, seeds=1).picks)
    assert picks["mine", 0][1] == [p for p in range(299, -1, -1) if p not in picks["mine", 0][0]][:10]
    assert picks["typiclust", 0] != picks["typiclust raw", 0]
    assert picks["warm", 0][1] == picks["typiclust raw", 0][1]
    everywhere = plain(simulated(["typiclust"], seeds=1, metric="cosine").picks)
    assert everywhere["typiclust", 0] == picks["typiclust", 0]


@pytest.mark.parametrize(
    ("batch_sizes", "budget", "n_labels"),
    [
        (10, 40, [10, 20, 30, 40]),
        (20, 45, [10, 30, 45]),
        (np.array([5, 7]), None, [10, 15, 22]),
        ([(5, 20), (20, 60)], None, [10, 15, 20, 40, 60]),
        ([(5, 20), (20, None)], 50, [10, 15, 20, 40, 50]),
    ],
)
def test_batch_sizes(batch_sizes, budget, n_labels):
    assert simulated([], seeds=1, batch_sizes=batch_sizes, budget=budget).n_labels.tolist() == n_labels


def test_the_whole_pool():
    found = simulated(["margin"], X=X[:30], y=Y[:30], batch_sizes=7, budget=30, seeds=[3])
    assert sorted(np.concatenate(found.picks["margin", 3])) == list(range(30))


def test_subsets_are_drawn_each_round():
    found = simulated([last_rows], subset=20, seeds=1)
    batches = plain(found.picks)["last_rows", 0]
    assert min(batches[1]) < 280  # not the last rows of all, but of 20
    assert batches != plain(simulated([last_rows], seeds=1).picks)["last_rows", 0]


def test_labels_of_other_kinds():
    names = np.array([f"class {k}" for k in range(10)])
    expected = simulated()
    for kind in (lambda y: names[y], lambda y: names[y].tolist(), lambda y: y.astype(float)):
        same(simulated(y=kind(Y), test=(TEST[0], kind(TEST[1]))), expected)


def test_pools_on_disk_and_as_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    np.save(tmp_path / "X.npy", X)
    expected = simulated()
    same(simulated(X=str(tmp_path / "X.npy")), expected)
    same(simulated(X=torch.from_numpy(X)), expected)


# ---- fairness


@pytest.mark.parametrize("strategy", ["margin", "badge", "typiclust", "coreset"])
def test_labels_of_rows_never_picked_change_nothing(strategy):
    found = simulated([strategy], estimator=MODEL, seeds=1)
    picked = np.concatenate(found.picks[strategy, 0])
    others = np.setdiff1d(np.arange(len(Y)), picked)
    shuffled = Y.copy()
    shuffled[others] = np.random.default_rng(0).permutation(Y[others])
    again = simulated([strategy], estimator=MODEL, seeds=1, y=shuffled)
    assert plain(again.picks)[strategy, 0] == plain(found.picks)[strategy, 0]
    assert again.curves()[strategy].tolist() == found.curves()[strategy].tolist()


def test_nothing_is_changed_and_no_global_randomness():
    before = X.copy(), Y.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    simulated(["margin"], estimator=LogisticRegression(solver="saga", max_iter=5, tol=1))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert (before[0] == X).all()
    assert (before[1] == Y).all()
    assert not hasattr(MODEL, "coef_")


def test_seeds_are_independent_of_each_other():
    both, one = simulated(seeds=[5, 3]), simulated(seeds=[3])
    assert plain(both.picks)["margin", 3] == plain(one.picks)["margin", 3]
    assert both.seeds == [5, 3]
    assert both.curves()["margin"][1].tolist() == one.curves()["margin"][0].tolist()


@pytest.mark.parametrize("processes", [True, False], ids=["processes", "threads, as with X on a GPU"])
def test_jobs_change_nothing(processes, monkeypatch):
    monkeypatch.setattr(workers, "in_processes", lambda _: processes)
    strategies = ["margin", "typiclust"]
    same(simulated(strategies, estimator=MODEL, n_jobs=2), simulated(strategies, estimator=MODEL))


def sparing(pool, batch_size, *, rng):
    """A strategy that fails where it may use more than its share of the CPUs."""
    from threadpoolctl import threadpool_info

    share = max(1, available_cpus() // 2)
    assert pool.n_jobs == share
    assert all(library["num_threads"] <= share for library in threadpool_info())
    return rng.permutation(pool.candidates)[:batch_size]


def test_jobs_share_the_cpus():
    assert not simulated([sparing], n_jobs=2).failures


# ---- what the runs share


def test_each_matrix_is_looked_at_once_and_normalised_once(monkeypatch):
    passes = []

    def counted(name, call):
        return lambda *given, **named: passes.append(name(given)) or call(*given, **named)

    monkeypatch.setattr(matrices, "launch", counted(lambda given: (given[0], given[1].n), matrices.launch))
    monkeypatch.setattr(matrices, "normalized", counted(lambda given: ("normalized", given[0].n), matrices.normalized))
    strategies = {"typiclust": {}, "coreset": {}, "margin": {"metric": "cosine"}}
    simulated(strategies, seeds=3, batch_sizes=5)
    assert sorted(passes) == [("normalized", 300), ("sqnorms", 200), ("sqnorms", 300), ("sqnorms", 300)]


def of_one_file(pool, batch_size, *, rng):
    """A strategy that fails where X was copied to its process instead of being read from a file that all share."""
    assert isinstance(pool.X.array, np.memmap)
    return rng.permutation(pool.candidates)[:batch_size]


def test_an_X_in_memory_goes_to_all_processes_through_one_file():
    large = np.tile(X, (20, 1))
    assert not simulated([of_one_file], X=large, y=np.tile(Y, 20), n_jobs=2).failures


def test_the_components_of_a_head_are_those_of_the_pool(monkeypatch):
    """With fewer labels than components too; they are found once, not in each round."""
    from pyal.heads import ClosedFormSoftmax, closed_form

    calls, found_in = [], closed_form.principal_components
    monkeypatch.setattr(closed_form, "principal_components", lambda *given: calls.append(1) or found_in(*given))
    head = ClosedFormSoftmax("solve", pca=20)
    found = simulated(["margin"], estimator=head, initial=10, batch_sizes=5, budget=25, seeds=1)
    assert not found.failures
    assert len(calls) == 1
    first = np.sort(found.picks["margin", 0][0])
    expected = np.mean(head.fit(X[first], Y[first], pool=X).predict(TEST[0]) == TEST[1])
    start = found.table["strategy"] == "margin"
    assert found.table["accuracy"][start & (found.table["n_labels"] == 10)][0] == expected


class Table:
    """A learner without features of X: of a position it says the label of the nearest labelled position."""

    def fit(self, positions, labels, *, unlabeled, seed):
        assert len(positions) + len(unlabeled) == len(X)
        assert seed >= 0
        self.positions, self.labels, self.classes_ = positions, labels, np.unique(labels)

    def nearest(self, positions):
        return self.labels[abs(positions[:, None] - self.positions).argmin(1)]

    def predict_proba(self, positions):
        return np.where(self.nearest(positions)[:, None] == self.classes_, 0.9, 0.1 / (len(self.classes_) - 1))


def right(learner):
    predicted = learner.nearest(np.arange(len(X)))
    return {"accuracy": np.mean(predicted == Y), "balanced_accuracy": metrics.balanced_accuracy(Y, predicted)}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_learner_is_trained_by_position(tmp_path, n_jobs):
    given = {"strategies": ["margin", "coreset"], "estimator": Table(), "test": right}
    found = simulated(**given, n_jobs=n_jobs, workdir=tmp_path)
    for row in found.table:
        learner, labeled = (
            Table(),
            np.sort(np.concatenate(found.picks[row["strategy"], row["seed"]][: row["round"] + 1])),
        )
        learner.fit(labeled, Y[labeled], unlabeled=np.setdiff1d(np.arange(len(X)), labeled), seed=0)
        assert row["accuracy"] == right(learner)["accuracy"]
    same(simulated(**given, workdir=tmp_path), found)
    with pytest.raises(ValueError, match="keeps runs of other settings: test is"):
        simulated(**{**given, "test": len}, workdir=tmp_path)


def test_the_test_of_a_learner():
    with pytest.raises(TypeError, match="test must be a callable of the fitted learner; got tuple"):
        simulated(estimator=Table())
    with pytest.raises(RuntimeError, match="test must return a dict with accuracy and balanced_accuracy; got accuracy"):
        simulated(estimator=Table(), test=lambda learner: {"accuracy": 1.0})  # noqa: ARG005


# ---- failures


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_failure_does_not_lose_the_others(n_jobs):
    with pytest.warns(UserWarning, match=r"\d of \d+ runs failed \(broken, seed .*ArithmeticError: odd"):
        found = simulated(["margin", broken], seeds=6, n_jobs=n_jobs, batch_sizes=1, budget=11)
    failed = [seed for _, seed in found.failures]
    assert set(found.failures.values()) == {"ArithmeticError: odd"}
    assert {name for name, _ in found.failures} == {"broken"}
    assert found.seeds == [seed for seed in range(6) if seed not in failed]
    assert {seed for name, seed in found.picks if name == "margin"} == set(range(6))
    assert f"broken, seed {failed[0]}, failed: ArithmeticError: odd" in found.summary()


def deadly(pool, batch_size, *, rng):  # noqa: ARG001
    os._exit(3)


def test_a_process_that_dies_does_not_lose_what_is_finished(tmp_path):
    simulated(["margin"], workdir=tmp_path)
    with pytest.warns(UserWarning, match="2 of 6 runs failed .* a process of the simulation ended"):
        found = simulated(["margin", deadly], workdir=tmp_path, n_jobs=2)
    assert found.strategies == ["random", "margin"]


def test_a_strategy_that_always_fails_leaves_the_rest():
    def nothing(pool, batch_size, *, rng):  # noqa: ARG001
        return []

    with pytest.warns(UserWarning, match="2 of 6 runs failed"):
        found = simulated(["margin", nothing])
    assert found.strategies == ["random", "margin"]
    assert found.seeds == [0, 1]


def test_where_all_fail_the_first_is_said():
    class Refuses(LogisticRegression):
        def fit(self, X, y):  # noqa: ARG002
            raise ValueError("not today")

    with pytest.raises(RuntimeError, match="all 4 runs failed; random, seed 0: ValueError: not today"):
        simulated(estimator=Refuses())


def test_an_estimator_without_proba_serves_those_that_need_none():
    with pytest.warns(UserWarning, match=r"predict_proba"):
        found = simulated(["margin", "coreset"], estimator=LinearSVC())
    assert found.strategies == ["random", "coreset"]


# ---- other forms


def test_csv(tmp_path):
    found = simulated(seeds=1)
    path = str(tmp_path / "table.csv")
    found.to_csv(path)
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(found.table.dtype.names)
    assert [float(row["accuracy"]) for row in rows] == found.table["accuracy"].tolist()
    assert rows[0]["seconds_select"] == ""
    with pytest.raises(FileExistsError):
        found.to_csv(path)
    found.to_csv(path, force=True)


def test_pandas(monkeypatch):
    found = simulated(seeds=1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas"):
        found.to_pandas()
    monkeypatch.undo()
    pandas = pytest.importorskip("pandas")
    assert isinstance(found.to_pandas(), pandas.DataFrame)


# ---- bad arguments


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"strategies": "margin"}, TypeError, "strategies must be a list or a mapping"),
        ({"strategies": ["margin", "margin"]}, ValueError, "'margin' comes more than once"),
        ({"strategies": ["margn"]}, ValueError, "did you mean 'margin'"),
        ({"strategies": [3]}, TypeError, "strategies must be names or callables"),
        ({"strategies": {"": "margin"}}, TypeError, "names that are text, not empty"),
        ({"strategies": {"random": "margin"}}, ValueError, "the name 'random' is the control's"),
        ({"strategies": {"margin": {"delta": 1}}}, TypeError, "strategy 'margin' has no option 'delta'"),
        ({"strategies": {"margin": {"metric": "cosin"}}}, ValueError, "metric must be 'euclidean', 'cosine' or None"),
        (
            {"strategies": {"a": [("margin", 20)]}},
            ValueError,
            "the schedule of 'a' ends at 20 labels, before the budget",
        ),
        ({"seeds": 0}, ValueError, "seeds must be at least 1"),
        ({"seeds": []}, ValueError, "seeds must be distinct and at least one"),
        ({"seeds": [1, 1]}, ValueError, "seeds must be distinct"),
        ({"seeds": [-1]}, ValueError, "seeds must be at least 0"),
        ({"seeds": "all"}, TypeError, "seeds must be a number of seeds or a list"),
        ({"seeds": 1.5}, TypeError, "seeds must be"),
        ({"budget": None}, TypeError, "budget must say"),
        ({"budget": 10}, ValueError, "budget must be at least 11"),
        ({"budget": 301}, ValueError, "at most the 300 rows of X; they ask for 301"),
        ({"batch_sizes": 0}, ValueError, "batch_sizes must be at least 1"),
        ({"batch_sizes": [5, 0], "budget": None}, ValueError, "batch_sizes must be at least 1"),
        ({"batch_sizes": [5]}, TypeError, "budget must not be given beside a list"),
        ({"batch_sizes": "ten"}, TypeError, "batch_sizes must be an integer, a list"),
        ({"batch_sizes": [(5, 20)], "budget": 40}, ValueError, "batch_sizes end at 20 labels, before the budget of 40"),
        ({"initial": 301}, ValueError, "initial must be in 1 .. 300"),
        ({"initial": 0}, ValueError, "initial must be"),
        ({"subset": "b"}, ValueError, "subset must be a number, or a multiple of the batch"),
        ({"metric": "l1"}, ValueError, "metric must be"),
        ({"metric": ["cosine"]}, ValueError, "metric must be"),
        ({"estimator": None}, TypeError, "estimator must be a scikit-learn classifier or a learner"),
        ({"estimator": LogisticRegression}, TypeError, "write its parentheses"),
        ({"test": len}, TypeError, r"test must be \(X_test, y_test\)"),
        ({"test": TEST[0]}, TypeError, r"test must be \(X_test, y_test\)"),
        ({"test": (TEST[0][:, :3], TEST[1])}, ValueError, "X_test must have as many columns as X"),
        ({"test": (TEST[0], TEST[1][:3])}, ValueError, "y_test must hold"),
        ({"X": X[:, :0]}, ValueError, "X must have at least one row and one column"),
        ({"y": Y[:-1]}, ValueError, "y must hold one label"),
        ({"y": np.where(Y == 3, -1, Y)}, ValueError, "y must have a label for every row.*it has none for 3"),
        ({"y": np.where(Y > 4, -1, 1)}, ValueError, "y must hold no -1"),
        ({"start": "cold"}, ValueError, "start must be 'fresh', 'same' or 'warm'; got 'cold'"),
        (
            {"start": "warm"},
            ValueError,
            r"start='warm' needs an estimator with warm_start .*; GaussianNB\(.*\) has none",
        ),
        ({"n_jobs": 0}, ValueError, "n_jobs must be"),
    ],
)
def test_bad_arguments(changes, kind, words, monkeypatch):
    monkeypatch.setattr(workers, "run", None)  # said before anything is run
    with pytest.raises(kind, match=words):
        simulated(**changes)


def test_simulate_is_public():
    assert pyal.simulate is experiment.simulate
    assert {"simulate", "metrics", "plots"} <= set(pyal.__all__) & set(dir(pyal))
