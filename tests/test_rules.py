"""Rules that hold with every strategy, and weights: against picks made one by one, and every way to get them wrong."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run
from data import blobs
from sklearn.linear_model import LogisticRegression

import pyal
from pyal.rules import even_share

N = 90
X = blobs(N, 5, seed=3) * np.linspace(0.5, 3, N, dtype=np.float32)[:, None]
RNG = np.random.default_rng(4)
PASSES = RNG.dirichlet(np.full(4, 0.5), (3, N))
P = PASSES.mean(axis=0)
Y = np.full(N, -1)
Y[:12] = np.arange(12) % 4
GROUPS = np.arange(N) // 6
PREDICTED = P.argmax(axis=1)
GREEDY = {"coreset": {}, "lcmd": {}, "cdal": {}, "maxherding": {}, "probcover": {"delta": 0.5, "exhausted": "lowest"}}
WEIGHED = [s.name for s in pyal.list_strategies() if s.weighs]
NAMES = [s.name for s in pyal.list_strategies()]


def ask(strategy: str, batch_size: int = 10, **given) -> list[int]:
    (found,) = [s for s in pyal.list_strategies() if s.name == strategy]
    needs = {"y": Y, "batch_size": batch_size, "random_state": 0, "features": X[:, :3]}
    needs |= {"proba": PASSES if found.passes else P, "views": [X + 0.01, X - 0.01]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "strategy '")  # what probcover and maxherding say of empty balls
        return pyal.select(X, strategy=strategy, **needs | given).tolist()


def distances(metric: str) -> np.ndarray:
    rows = X.astype(np.float64)
    if metric == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.linalg.norm(rows[:, None] - rows[None], axis=-1)


@pytest.mark.filterwarnings("ignore:constrained_kmeans")
@pytest.mark.parametrize("strategy", NAMES)
class TestEveryStrategy:
    def test_holds_so_many_of_a_group(self, strategy):
        for most in (1, 2):
            picks = ask(strategy, groups=GROUPS, max_per_group=most)
            assert len(picks) == 10 == len(set(picks))
            assert np.bincount(GROUPS[picks]).max() <= most
            assert min(picks) >= 12

    def test_keeps_its_distance(self, strategy):
        picks = ask(strategy, metric="euclidean", min_distance=0.4)
        apart = distances("euclidean")[np.ix_(picks, [*picks, *range(12)])]
        apart[np.arange(len(picks)), np.arange(len(picks))] = np.inf
        assert len(picks) == 10
        assert apart.min() >= 0.4 - 1e-6

    def test_shares_the_batch_among_predicted_classes(self, strategy):
        picks = ask(strategy, 8, class_balance=True)
        assert np.bincount(PREDICTED[picks], minlength=4).tolist() == [2, 2, 2, 2]

    def test_what_binds_nothing_changes_nothing(self, strategy):
        given = {"metric": "euclidean"}
        assert ask(strategy, groups=np.arange(N), max_per_group=1, min_distance=1e-6, **given) == ask(strategy, **given)

    def test_where_rows_run_out_there_are_fewer(self, strategy):
        with pytest.warns(UserWarning, match="the rules leave 7 rows to pick, fewer than batch_size=10"):
            assert len(ask(strategy, groups=np.arange(N) % 7, max_per_group=1)) == 7

    def test_takes_weights_or_says_that_it_cannot(self, strategy):
        weights = np.ones(N)
        if strategy not in WEIGHED:
            with pytest.raises(ValueError, match=f"strategy '{strategy}' cannot use weights=: .*; bald, .* do"):
                ask(strategy, weights=weights)
            return
        assert ask(strategy, weights=weights) == ask(strategy, weights=7 * weights)
        weights[40:] = 0
        assert set(ask(strategy, weights=weights)) <= set(range(12, 40)) or strategy == "maxherding"
        assert sorted(ask(strategy, 78, weights=weights)) == list(range(12, N))


@pytest.mark.parametrize("strategy", GREEDY)
@pytest.mark.parametrize("rules", ["groups", "min_distance", "class_balance", "all"])
def test_greedy_picks_are_those_made_one_by_one(strategy, rules):
    """As if a row that breaks a rule had not been a candidate at that pick."""
    given, options = {}, GREEDY[strategy]
    share = even_share(np.bincount(PREDICTED[12:]), 24)
    metric = "cosine" if strategy in ("maxherding", "probcover") else "euclidean"
    near = distances(metric) < (reach := 4.5 if metric == "euclidean" else 0.25)
    if rules in ("groups", "all"):
        given |= {"groups": GROUPS, "max_per_group": 2}
    if rules in ("min_distance", "all"):
        given["min_distance"] = reach
    if rules in ("class_balance", "all"):
        given["class_balance"] = True
    picks = []
    for _ in range(24):
        legal = [
            i
            for i in range(12, N)
            if i not in picks
            and ("groups" not in given or sum(GROUPS[p] == GROUPS[i] for p in picks) < 2)
            and ("min_distance" not in given or not near[i, [*range(12), *picks]].any())
            and ("class_balance" not in given or sum(PREDICTED[p] == PREDICTED[i] for p in picks) < share)
        ]
        if not legal:
            break
        labeled = [*range(12), *picks]
        picks += ask(strategy, 1, y=None, labeled=labeled, candidates=legal, **options)
    assert len(picks) < 24 or picks != ask(strategy, 24, **options), "the rules bind"
    if len(picks) < 24:
        with pytest.warns(UserWarning, match=f"the rules leave {len(picks)} rows"):
            assert ask(strategy, 24, **given, **options) == picks
    else:
        assert ask(strategy, 24, **given, **options) == picks


def test_scores_take_the_next_best():
    ranked = ask("margin", 78)
    expected, seen = [], dict.fromkeys(range(15), 0)
    for row in ranked:
        if seen[row // 6] < 1 and len(expected) < 10:
            expected.append(row)
            seen[row // 6] += 1
    assert ask("margin", groups=[f"patient {g}" for g in GROUPS], max_per_group=1) == expected


def test_rows_of_no_group_are_not_limited():
    holes = [None if i >= 80 else "a" for i in range(N)]
    picks = ask("random", 11, y=None, groups=holes, max_per_group=1)
    assert sorted(picks)[1:] == list(range(80, 90))
    assert ask("random", 11, y=None, groups=np.where(np.arange(N) >= 80, -1, 5), max_per_group=1) == picks


def test_a_distance_that_is_just_kept_is_kept():
    line = np.arange(8.0)[:, None]
    assert sorted(pyal.select(line, strategy="random", batch_size=8, min_distance=1.0, random_state=0)) == list(
        range(8)
    )
    with pytest.warns(UserWarning, match="the rules leave"):
        picks = pyal.select(line, labeled=[0], strategy="coreset", batch_size=7, min_distance=1.5)
    assert picks.tolist() == [7, 3, 5]


def test_in_batches_beyond_what_is_looked_at_together():
    rows = np.random.default_rng(0).random((2000, 2)).astype(np.float32)
    picks = pyal.select(rows, strategy="random", batch_size=700, min_distance=0.01, random_state=0)
    apart = np.linalg.norm(rows[picks][:, None] - rows[picks][None], axis=-1) + 9 * np.eye(700)
    assert apart.min() >= 0.01 - 1e-7
    plain = pyal.select(rows, strategy="random", batch_size=700, random_state=0)
    assert picks[:50].tolist() != plain[:50].tolist() or picks.tolist() != plain.tolist()


def test_the_share_of_a_part_is_the_least_that_is_enough():
    for sizes in ([3], [1, 5, 9], [0, 0, 4], [2, 2], np.random.default_rng(1).integers(0, 9, 6)):
        for total in range(int(np.sum(sizes)) + 3):
            enough = [q for q in range(max(sizes) + 1) if np.minimum(sizes, q).sum() >= total]
            assert even_share(sizes, total) == (enough or [max(sizes)])[0]


def test_weights_multiply_what_a_score_is_above_nothing():
    weights = np.linspace(0.1, 2, N)
    two = np.sort(P, axis=1)[:, -2:]
    by_hand = {"margin": -1 + weights * (1 + two[:, 0] - two[:, 1]), "least_confidence": weights * (1 - two[:, 1])}
    for strategy, expected in by_hand.items():
        np.testing.assert_allclose(pyal.score(X, strategy=strategy, proba=P, weights=weights), expected)
    picks = ask("least_confidence", 5, y=None, weights=weights)
    assert picks == np.argsort(-by_hand["least_confidence"])[:5].tolist()


def test_herding_covers_what_counts():
    rows = np.array([[0.0], [0.1], [0.2], [9.0]])
    options = {"strategy": "maxherding", "bandwidth": 1.0, "metric": "euclidean"}
    assert pyal.select(rows, weights=[1, 1, 1, 1], **options).tolist() == [1]
    assert pyal.select(rows, weights=[1, 1, 1, 5], **options).tolist() == [3]


def test_draws_are_in_proportion_to_the_weights():
    rows = np.zeros((4, 1))
    for strategy, given in (("random", {}), ("falcun", {"proba": np.full((4, 2), 0.5)})):
        rng = np.random.default_rng(0)
        drawn = [pyal.select(rows, strategy=strategy, weights=[1, 2, 3, 0], random_state=rng, **given)[0]
                 for _ in range(3000)]  # fmt: skip
        np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 3000, [1 / 6, 2 / 6, 3 / 6, 0], atol=0.03)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"groups": GROUPS}, ValueError, "groups and max_per_group go together; max_per_group= is missing"),
        ({"max_per_group": 1}, ValueError, "groups and max_per_group go together; groups= is missing"),
        (
            {"groups": GROUPS[:-1], "max_per_group": 1},
            ValueError,
            r"groups must hold one label .* shape \(90,\); got \(89,\)",
        ),
        ({"groups": GROUPS, "max_per_group": 0}, ValueError, "max_per_group must be at least 1; got 0"),
        ({"groups": GROUPS, "max_per_group": 1.5}, TypeError, "max_per_group must be an integer; got 1.5"),
        ({"min_distance": 0}, ValueError, "min_distance must be a finite number above 0; got 0"),
        ({"min_distance": "far"}, TypeError, "min_distance must be a number; got 'far'"),
        ({"class_balance": 1}, TypeError, "class_balance must be True or False; got 1"),
        ({"class_balance": True}, ValueError, "class_balance goes by predicted class and needs proba="),
        ({"weights": np.ones(N - 1)}, ValueError, r"weights must have shape \(90,\).*\(89,\)"),
        ({"weights": -np.ones(N)}, ValueError, "weights must be finite and not negative; got -1.0 at 0"),
        ({"weights": np.full(N, np.nan)}, ValueError, "weights must be finite and not negative; got nan at 0"),
        ({"weights": np.zeros(N)}, ValueError, "weights must not be all 0"),
        ({"weights": ["a"] * N}, TypeError, "weights must hold numbers"),
    ],
)
def test_what_does_not_fit_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        pyal.select(X, strategy="random", batch_size=3, **given)
    if "class_balance" not in given or error is TypeError:
        with pytest.raises(error, match=message):
            pyal.Loop(X, strategy="random", **given)


def test_a_distance_that_nobody_keeps_is_an_error():
    with pytest.raises(ValueError, match="min_distance=100 leaves no row to pick: all 89 candidates lie closer"):
        pyal.select(X, labeled=[0], min_distance=100)
    with pytest.warns(UserWarning, match="the rules leave 1 rows to pick"):
        assert len(pyal.select(X, min_distance=100, batch_size=3, random_state=0)) == 1


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
