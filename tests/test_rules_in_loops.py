"""Rules, weights and views in a loop, in a simulation and from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run
from sklearn.linear_model import LogisticRegression
from test_rules import GROUPS, N, P, X, ask

import pyal

RULES = {"groups": GROUPS, "max_per_group": 1, "min_distance": 0.05, "class_balance": True}


def test_a_loop_keeps_them_in_every_batch_also_when_it_goes_on(tmp_path):
    y = np.arange(N) % 4
    start = {"batch_size": 6, "random_state": 3, "test": (X, y), "classes": [0, 1, 2, 3]}

    def rounds(loop: pyal.Loop, count: int) -> list[list[int]]:
        asked = []
        for _ in range(count):
            batch = loop.query()
            loop.teach(batch, y[batch])
            assert np.bincount(GROUPS[batch]).max() == 1
            asked.append(batch.tolist())
        return asked

    schedule = [("random", 12), ("least_confidence", None)]
    given = {**RULES, "weights": np.linspace(1, 2, N), "views": [X + 1]}
    loop = pyal.Loop(X, LogisticRegression(max_iter=200), schedule, workdir=tmp_path / "run", **start, **given)
    before = rounds(loop, 3)
    loop.close()
    again = {"X": X, "test": (X, y)}
    with pytest.raises(ValueError, match=r"views\[0\] was given as an array.*pass views="):
        pyal.Loop.resume(tmp_path / "run", **again)
    with pytest.raises(ValueError, match=r"views\[0\] is not what this loop started with: its values differ"):
        pyal.Loop.resume(tmp_path / "run", views=[X], **again)
    with pytest.raises(ValueError, match="views is not what this loop started with: 1 views, not 2"):
        pyal.Loop.resume(tmp_path / "run", views=[X, X], **again)
    with pyal.Loop.resume(tmp_path / "run", views=[X + 1], **again) as resumed:
        after = rounds(resumed, 2)
    whole = rounds(pyal.Loop(X, LogisticRegression(max_iter=200), schedule, **start, **given), 5)
    assert before + after == whole


def test_a_loop_refuses_what_no_stage_can_use():
    with pytest.raises(ValueError, match="strategy 'typiclust' cannot use weights="):
        pyal.Loop(X, LogisticRegression(), [("typiclust", 20), ("margin", None)], weights=np.ones(N))
    with pytest.raises(ValueError, match="class_balance goes by predicted class and needs estimator="):
        pyal.Loop(X, strategy="coreset", class_balance=True)


def test_views_reach_a_strategy_of_a_loop():
    seen = []

    def spy(pool, batch_size, *, rng):  # noqa: ARG001
        seen.append(pool)
        return pool.candidates[:batch_size]

    pyal.Loop(X, strategy=spy, views=[2 * X], metric="cosine", weights=np.ones(N)).query()
    (pool,) = seen
    assert len(pool.views) == 1
    assert pool.views[0].factor is not None
    assert pool.weights.sum() == N


def test_distances_are_compared_by_their_roots():
    """2 ** 0.5 squared is above 2, 1e200 squared is no number, and 1e-200 squared is 0: none of this may be seen."""
    assert len(pyal.select(np.eye(6), strategy="random", batch_size=6, min_distance=2**0.5)) == 6
    for far in (1e25, 1e200):
        with pytest.warns(UserWarning, match="the rules leave 1 rows to pick, fewer than batch_size=6"):
            pyal.select(np.eye(6, dtype=np.float32), strategy="random", batch_size=6, min_distance=far)
    for equal in (np.zeros((9, 3), np.float32), np.ones((9, 3))):
        with pytest.warns(UserWarning, match="the rules leave 1 rows to pick"):
            assert len(pyal.select(equal, strategy="random", batch_size=5, min_distance=1e-200)) == 1


def test_groups_may_be_any_numbers_and_text():
    for groups in (np.where(np.arange(N) % 2, 1, 7), np.array(["a", "b"] * 45), np.arange(N) % 2 * 1.5):
        assert len(set(np.asarray(groups)[ask("random", 2, y=None, groups=groups, max_per_group=1)].tolist())) == 2
    ones = np.where(np.arange(N) % 2, 1, -1)  # -1 is no group, also where +1 is the only one
    picks = ask("random", 40, y=None, groups=ones, max_per_group=1)
    assert sum(ones[picks] == 1) <= 1
    with pytest.raises(TypeError, match="groups must hold numbers or text"):
        pyal.select(X, strategy="random", groups=[{1}] * N, max_per_group=1)


def test_many_rows_of_full_groups_cost_no_call_for_each_pick():
    n = 20_000
    groups = np.arange(n) // 200
    certain = np.linspace(0.5, 1, n)  # all of a group stand together in the ranking
    scored = []
    entry = next(s for s in pyal.list_strategies() if s.name == "margin")

    def counted(pool, batch_size, *, rng):
        scored.append(batch_size)
        return entry.function(pool, batch_size, rng=rng)

    proba = np.stack([certain, 1 - certain], axis=1)
    given = {"proba": proba, "batch_size": 100, "groups": groups, "max_per_group": 1}
    picks = pyal.select(np.zeros((n, 1)), strategy=counted, **given)
    assert picks.tolist() == list(range(0, n, 200))
    assert scored == [100]


def test_picks_that_lead_nowhere_are_an_error():
    def stuck(pool, batch_size, *, rng):  # noqa: ARG001
        return pool.in_turn(batch_size, lambda picked, candidates, wanted: candidates[:0])  # noqa: ARG005

    with pytest.raises(ValueError, match="next_picks must return candidates that are left"):
        pyal.select(X, strategy=stuck, batch_size=3, min_distance=0.1)


def test_a_rule_does_not_change_what_a_strategy_looks_at():
    """class_balance has a prediction made, which neither stands in for views nor makes a graph of activations."""

    class Model(LogisticRegression):
        def features(self, rows):
            return rows[:, :2]

        def stochastic_proba(self, rows, random_state):  # noqa: ARG002
            raise AssertionError("no strategy here asks for passes")

    y = np.where(np.arange(N) < 20, np.arange(N) % 4, -1)
    views = [X + 0.1, X * 1.2]
    for strategy, given in (("consistency", {"views": views}), ("core_gcn", {})):
        loops = [
            pyal.Loop(X, Model(max_iter=500), strategy, 4, y=y, random_state=0, **given, **more)
            for more in ({}, {"subset": "60b by margin"})
        ]
        plain, subset = (loop.query().tolist() for loop in loops)
        assert plain == subset
        balanced = pyal.Loop(X, Model(max_iter=500), strategy, 4, y=y, random_state=0, class_balance=True, **given)
        model = LogisticRegression(max_iter=500).fit(X[:20], y[:20])
        expected = pyal.select(X, y, strategy=strategy, batch_size=70, random_state=0, **given)
        if strategy == "consistency":  # a score: the next best of each class
            seen = dict.fromkeys(range(4), 0)
            kept = []
            for row in expected:
                c = int(model.predict(X[row : row + 1])[0])
                if seen[c] < 1:
                    kept.append(int(row))
                    seen[c] += 1
            assert balanced.query().tolist() == kept[:4]
        else:
            assert len(balanced.query()) == 4


def test_a_subset_that_rules_exhaust_is_not_the_end():
    """280 rows lie within 0.1 of the labelled one and 20 far from all: a subset of 20 holds but few of the latter."""
    near = np.random.default_rng(0).normal(size=(280, 2)) * 0.01
    rows = np.vstack([near, np.c_[np.arange(20) * 5 + 50, np.zeros(20)]])
    y = np.array([0] + [-1] * 299)
    groups = np.r_[np.zeros(280, int), np.arange(1, 21)]
    for seed in range(10):
        given = {"strategy": "random", "batch_size": 5, "subset": 20, "y": y, "random_state": seed}
        assert len(pyal.Loop(rows, min_distance=1.0, **given).query()) == 5
        assert len(pyal.Loop(rows, groups=groups, max_per_group=1, **given).query()) == 5


def test_a_subset_is_picked_without_weights_and_rules():
    y = np.where(np.arange(N) < 20, np.arange(N) % 4, -1)
    given = {"weights": np.ones(N), "y": y, "subset": "3b by coreset", "groups": GROUPS, "max_per_group": 1}
    assert len(pyal.Loop(X, LogisticRegression(max_iter=500), "margin", 5, **given).query()) == 5


@pytest.mark.parametrize("strategy", ["consistency", "diff2aug_kmeans"])
def test_views_stand_in_for_the_passes_of_a_model(strategy):
    """No estimator is needed, and none is asked; while one class is known `initial` picks."""
    views = [X + 0.1, X * 1.2]
    y = np.where(np.arange(N) < 8, np.arange(N) % 4, -1)
    loop = pyal.Loop(X, strategy=strategy, batch_size=5, y=y, views=views, random_state=0)
    picks = loop.query()
    assert len(picks) == 5
    if strategy == "consistency":
        assert picks.tolist() == pyal.select(X, y, strategy=strategy, views=views, batch_size=5).tolist()
    cold = pyal.Loop(X, strategy=strategy, batch_size=5, views=views, initial="random", random_state=0)
    assert len(cold.query()) == 5
    with pytest.raises(ValueError, match=f"strategy '{strategy}' needs proba, so the loop needs estimator="):
        pyal.Loop(X, strategy=strategy, batch_size=5, y=y)


def test_simulate_gives_them_to_all(tmp_path):
    y = np.arange(N) % 4
    given = {"test": (X, y), "estimator": LogisticRegression(max_iter=200), "seeds": 1, "batch_sizes": 5, "initial": 5}
    given |= {"budget": 15, "workdir": tmp_path, "strategies": ["margin"]}
    pyal.simulate(X, y, groups=GROUPS, max_per_group=1, **given)
    runs = [json.loads(path.read_text()) for path in sorted((tmp_path / "runs").glob("*.json"))]
    assert {r["strategy"] for r in runs} == {"random", "margin"}
    for r in runs:
        for batch in r["picks"][1:]:
            assert np.bincount(GROUPS[batch]).max() == 1
    with pytest.raises(ValueError, match=r"keeps runs of other settings: rules\.max_per_group is 1 there and 2 here"):
        pyal.simulate(X, y, groups=GROUPS, max_per_group=2, **given)
    with pytest.raises(ValueError, match="keeps runs of other settings: weights"):
        pyal.simulate(X, y, groups=GROUPS, max_per_group=1, weights=np.ones(N), **given)
    given["workdir"] = tmp_path / "other"
    with pytest.raises(RuntimeError, match=r"the rules leave \d rows for a batch of 5 at \d+ labels"):
        pyal.simulate(X, y, groups=np.arange(N) % 2, max_per_group=1, **given)


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    np.save("proba.npy", P)
    np.save("weights.npy", np.linspace(1, 2, N))
    Path("groups.txt").write_text("".join(f"patient {g}\n" if g else "\n" for g in GROUPS))
    Path("weights.txt").write_text("".join(f"{w}\n" for w in np.linspace(1, 2, N)))


def picked(capsys, *arguments: str) -> list[int]:
    code, out, err = run(capsys, "select", "X.npy", "--batch-size", "8", "--seed", "0", *arguments)
    assert (code, err) == (0, "")
    return [int(row["position"]) for row in csv.DictReader(out.splitlines())]


@pytest.mark.usefixtures("in_a_folder")
def test_from_the_command_line(capsys):
    given = {"strategy": "entropy", "proba": P, "batch_size": 8}
    groups = [f"patient {g}" if g else None for g in GROUPS]
    command = ("--strategy", "entropy", "--proba", "proba.npy")
    rules = ("--groups", "groups.txt", "--max-per-group", "1", "--min-distance", "0.05", "--class-balance")
    expected = pyal.select(X, groups=groups, max_per_group=1, min_distance=0.05, class_balance=True, **given)
    assert picked(capsys, *command, *rules) == expected.tolist()
    expected = pyal.select(X, weights=np.linspace(1, 2, N), **given).tolist()
    assert picked(capsys, *command, "--weights", "weights.npy") == expected
    assert picked(capsys, *command, "--weights", "weights.txt") == expected
    assert picked(capsys, *command, "--views", "X.npy", "X.npy") == pyal.select(X, **given).tolist()


@pytest.mark.usefixtures("in_a_folder")
def test_files_that_do_not_fit_are_named(capsys):
    Path("short.txt").write_text("a\n")
    command = ("select", "X.npy", "--batch-size", "8")
    err = refused(capsys, *command, "--groups", "short.txt", "--max-per-group", "1")
    assert "short.txt must hold one value per row of the embeddings, 90; it has 1 lines" in err
    err = refused(capsys, *command, "--strategy", "random", "--weights", "groups.txt")
    assert "groups.txt, line 1: it must hold a number; got ''" in err
    Path("bad.npy").write_text("no array")
    assert "bad.npy must be a .npy file" in refused(capsys, *command, "--strategy", "random", "--weights", "bad.npy")
    Path("empty.npy").touch()
    assert "empty.npy must be a .npy file" in refused(capsys, *command, "--groups", "empty.npy", "--max-per-group", "1")


def test_batchbald_picks_as_if_what_breaks_a_rule_were_not_there():
    """Two rows tell the same; with the group of the first pick closed, the other group's rows are all there is."""
    certain, unsure = [0.99, 0.01], [0.01, 0.99]
    passes = np.array([[certain] * 3 + [certain, unsure], [unsure] * 3 + [unsure, unsure]])
    groups = [0, 0, 0, 1, 1]
    given = {"strategy": "batchbald", "proba": passes, "batch_size": 2, "max_per_group": 1, "groups": groups}
    assert pyal.select(np.zeros((5, 1)), **given).tolist() == [0, 3]


def test_badge_draws_on_from_what_it_has_picked():
    """Two kinds of rows: once the group of the first is closed, all picks are of the other kind, none twice."""
    proba = np.array([[0.9, 0.1]] * 10 + [[0.1, 0.9]] * 10)
    rows = np.ones((20, 1)) * np.linspace(1, 2, 20)[:, None]
    groups = np.arange(20) // 10
    for seed in range(20):
        given = {"strategy": "badge", "proba": proba, "batch_size": 4, "max_per_group": 2, "groups": groups}
        picks = pyal.select(rows, random_state=seed, **given)
        assert np.bincount(groups[picks]).tolist() == [2, 2]
        assert picks[0] == 19  # the largest gradient
