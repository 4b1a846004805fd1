"""Rules that hold with every strategy, and weights: against picks made one by one, and every way to get them wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from data import blobs
from surrogates import UNSURE_AND_FAR

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
# Held to it one by one here, in test_rules_in_loops.py and in tests/strategies.
EXACT = ["badge", "batchbald", "cdal", "coreset", "dcom", "falcun", "kmeans_plus_plus", "lcmd", "lookahead"]
EXACT += ["maxherding", "ntkcpl", "probcover", "supclust", "typiclust", "uherding"]
NAMES = [s.name for s in pyal.list_strategies()]


def ask(strategy: str, batch_size: int = 10, **given) -> list[int]:
    (found,) = [s for s in pyal.list_strategies() if s.name == strategy]
    needs = {"y": Y, "batch_size": batch_size, "random_state": 0, "features": X[:, :3]}
    needs |= {"proba": PASSES if found.passes else P, "views": [X + 0.01, X - 0.01]}
    needs |= {"model": UNSURE_AND_FAR} if strategy == "surrogate" else {}
    needs |= {"rounds": 1, "batches": 9} if strategy == "refine" else {}  # 500 calls of others are too many here
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
            with pytest.raises(ValueError, match=f"strategy '{strategy}' cannot use weights=: .*; badge, bald, .* do"):
                ask(strategy, weights=weights)
            return
        assert ask(strategy, weights=weights) == ask(strategy, weights=7 * weights)
        weights[40:] = 0
        assert set(ask(strategy, weights=weights)) <= set(range(12, 40)) or strategy in ("maxherding", "probcover")
        assert sorted(ask(strategy, 78, weights=weights)) == list(range(12, N))


@pytest.mark.parametrize(
    ("strategy", "weighs"), [(s, False) for s in GREEDY] + [(s, True) for s in GREEDY if s in WEIGHED]
)
@pytest.mark.parametrize("rules", ["groups", "min_distance", "class_balance", "all"])
def test_greedy_picks_are_those_made_one_by_one(strategy, weighs, rules):
    """As if a row that breaks a rule had not been a candidate at that pick."""
    given, options = {}, GREEDY[strategy] | ({"weights": np.linspace(3, 1, N)} if weighs else {})
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


def test_select_says_which_strategies_pick_so():
    said = " ".join((pyal.select.__doc__ or "").split()).split("Greedy strategies (")[1].split(")")[0]
    assert said.split(", ") == EXACT
    assert set(GREEDY) <= set(EXACT) <= set(NAMES)


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
