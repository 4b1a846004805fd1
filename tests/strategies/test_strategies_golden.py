"""Each strategy on one input small enough to check on paper, and on scikit-learn's digits."""

from __future__ import annotations

import re

import numpy as np
import pytest
from oracle.reference import sqdist_between

import pyal
from pyal.strategies.cluster_rounds import top_fraction_filter

# two groups on a line; sums of the three nearest squared distances in A: 7.25, 2.25, 2.75, 5.25, ...: 1 is most typical
A = [0, 1, 1.5, 2, 8, 9.5, 12]
B = [100, 101, 101.5, 102, 108, 109.5]
LINE = np.array([*A, *B])[:, None]


def test_random():
    expected = np.random.default_rng(4).choice([1, 2, 4], 2, replace=False)
    assert (
        pyal.select(np.ones((5, 1)), strategy="random", batch_size=2, labeled=[0, 3], random_state=4).tolist()
        == expected.tolist()
    )
    rng = np.random.default_rng(0)
    counts = np.bincount([pyal.select(np.ones((4, 1)), strategy="random", random_state=rng)[0] for _ in range(800)])
    assert (abs(counts - 200) < 5 * np.sqrt(800 * 0.25 * 0.75)).all()  # five standard deviations


def test_uncertainty():
    P = [[0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [0.6, 0.2, 0.2], [0.9, 0.1, 0.0]]
    orders = {"least_confidence": [1, 0, 2, 3], "margin": [0, 1, 2, 3], "entropy": [1, 2, 0, 3]}
    for name, order in orders.items():
        assert pyal.select(np.zeros((4, 1)), strategy=name, proba=P, batch_size=4).tolist() == order
    np.testing.assert_allclose(pyal.score(np.zeros((4, 1)), strategy="margin", proba=P), [0, -0.1, -0.4, -0.8])
    np.testing.assert_allclose(
        pyal.score(np.zeros((2, 1)), strategy="entropy", proba=[[0.5, 0.5], [1, 0]]), [np.log(2), 0]
    )


def test_uncertainty_of_several_passes():
    disagree, unsure = [[1, 0], [0, 1]], [[0.6, 0.4], [0.6, 0.4]]
    P = np.array([disagree, unsure]).swapaxes(0, 1)  # (T, N, C)
    for name in ("least_confidence", "margin", "entropy"):
        assert pyal.select(np.zeros((2, 1)), strategy=name, proba=P)[0] == 0
        assert pyal.select(np.zeros((2, 1)), strategy=name, proba=P, aggregate="metric")[0] == 1


def test_entropy_of_tiny_probabilities():
    tiny = 1e-300
    np.testing.assert_allclose(pyal.score([[0.0]], strategy="entropy", proba=[[1.0, tiny]]), [-tiny * np.log(tiny)])


def test_falcun():
    # d begins as 1, 1, 1 and 0.2; a pick of 0 leaves 0 at row 1, which says the same, and 1 at row 2
    P = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.9, 0.1, 0.0]]
    given = {"strategy": "falcun", "proba": P, "gamma": 1000.0}
    orders = {tuple(pyal.select(np.zeros((4, 1)), batch_size=4, random_state=s, **given).tolist()) for s in range(40)}
    assert orders == {(0, 2, 3, 1), (1, 2, 3, 0), (2, 0, 3, 1), (2, 1, 3, 0)}
    # the first pick falls on row 0 with 1 / (1 + 0.5^gamma)
    rng, two = np.random.default_rng(0), [[0.5, 0.5], [0.75, 0.25]]
    for gamma in (1.0, 3.0):
        firsts = [
            pyal.select(np.zeros((2, 1)), strategy="falcun", proba=two, gamma=gamma, random_state=rng)[0]
            for _ in range(2000)
        ]
        share = 1 / (1 + 0.5**gamma)
        assert abs(np.mean(np.array(firsts) == 0) - share) < 5 * np.sqrt(share * (1 - share) / 2000)
    certain = pyal.select(np.zeros((3, 1)), strategy="falcun", proba=np.eye(3), batch_size=3, random_state=0)
    assert sorted(certain) == [0, 1, 2]
    with pytest.raises(ValueError, match="gamma must be a positive power; got 0"):
        pyal.select(np.zeros((4, 1)), strategy="falcun", proba=P, gamma=0.0)


def test_coreset():
    X = np.array([[0.0], [1.0], [5.0], [10.0]])
    assert pyal.select(X, strategy="coreset", labeled=[0], batch_size=3).tolist() == [3, 2, 1]
    assert pyal.select(X, strategy="coreset", first="norm", batch_size=2).tolist() == [3, 0]
    assert pyal.select(X, strategy="coreset", first="index0", batch_size=2).tolist() == [0, 3]
    firsts = {int(pyal.select(X, strategy="coreset", random_state=seed)[0]) for seed in range(40)}
    assert firsts == {0, 1, 2, 3}


def test_coreset_in_the_space_of_a_classifier():
    X, features = np.array([[0.0], [1.0], [5.0], [10.0]]), np.array([[0.0], [9.0], [5.0], [1.0]])
    given = {"strategy": "coreset", "cover_on": "al", "features": features}
    assert pyal.select(X, labeled=[0], batch_size=3, **given).tolist() == [1, 2, 3]
    assert pyal.select(X, first="norm", **given).tolist() == [3]  # nothing is labelled: there is no classifier
    with pytest.raises(ValueError, match="'coreset' with cover_on='al' needs features= once rows are labelled"):
        pyal.select(X, strategy="coreset", cover_on="al", labeled=[0])
    with pytest.raises(ValueError, match="cover_on must be 'self' or 'al'; got 'X'"):
        pyal.select(X, strategy="coreset", cover_on="X")


@pytest.mark.parametrize("seed", range(5))
def test_typiclust(seed):
    # two clusters, the larger first; the third pick is A's best once 1 is taken: 2, with (0.25 + 4 + 36) / 3
    picks = pyal.select(LINE, strategy="typiclust", metric="euclidean", batch_size=3, max_clusters=2, random_state=seed)
    assert picks.tolist() == [1, 8, 3]
    # a label in A: B is asked first
    assert pyal.select(
        LINE, strategy="typiclust", metric="euclidean", labeled=[4], max_clusters=2, random_state=seed
    ).tolist() == [8]


def test_typiclust_leaves_small_clusters_for_last():
    X = np.concatenate([LINE, [[1e4], [1e4 + 1], [1e4 + 2]]])
    picks = pyal.select(X, strategy="typiclust", metric="euclidean", batch_size=16, max_clusters=3, random_state=0)
    assert set(picks[:13]) == set(range(13))
    assert set(picks[13:]) == {13, 14, 15}
    allowed = pyal.select(
        X, strategy="typiclust", metric="euclidean", batch_size=3, max_clusters=3, min_cluster_size=2, random_state=0
    )
    assert allowed.tolist() == [1, 8, 13]  # 13 and 15 lie 1 from 14, which lies 1 from both: k is 1, a tie


def test_typiclust_counts_a_cluster_of_the_least_size_as_small():
    X = np.concatenate([LINE[:7], [[1e4 + i] for i in range(5)]])
    given = {"strategy": "typiclust", "metric": "euclidean", "max_clusters": 2, "random_state": 0}
    assert set(pyal.select(X, batch_size=2, **given)) <= set(range(7))
    assert pyal.select(X, batch_size=2, min_cluster_size=4, **given).tolist() == [1, 8]


def test_typiclust_measures_typicality_among_candidates():
    # without 1.5 and 2 the nearest of 0, 1, 8, 9.5, 12 with k = 2 is 9.5: (2.25 + 6.25) / 2
    picks = pyal.select(
        LINE, strategy="typiclust", metric="euclidean", max_clusters=2, candidates=[0, 1, 4, 5, 6], random_state=0
    )
    assert picks.tolist() == [5]


def test_typiclust_plain_distances():
    # k = 1 for two or three rows: nearest plain and squared distances agree on the pick, the score differs
    X = np.array([[0.0], [3.0], [5.0]])
    for squared in (True, False):
        assert pyal.select(X, strategy="typiclust", metric="euclidean", squared=squared, random_state=0).tolist() == [1]


@pytest.mark.parametrize("seed", range(5))
def test_supclust(seed):
    # half of A by typicality: 1, 1.5, 2, 0, of which 2 lies nearest to B; half of B: 101, 101.5 and 102: 101
    picks = pyal.select(LINE, strategy="supclust", metric="euclidean", batch_size=2, fraction=0.5, random_state=seed)
    assert picks.tolist() == [3, 8]
    # one in ten of 7 is one row, the most typical
    assert pyal.select(LINE, strategy="supclust", metric="euclidean", batch_size=2, random_state=seed).tolist() == [
        1,
        8,
    ]


def test_supclust_with_one_cluster_is_typiclust():
    for name in ("supclust", "typiclust"):
        assert pyal.select(LINE[:7], strategy=name, metric="euclidean", random_state=0).tolist() == [1]


def test_top_fraction_filter():
    scores = np.array([1.0, 3.0, 2.0, 5.0, np.inf, 2.0, 9.0])
    groups = np.array([0, 0, 0, 2, 2, 0, -1])
    assert top_fraction_filter(scores, groups, 0.5).tolist() == [False, True, True, False, True, False, False]
    assert top_fraction_filter(np.arange(70.0), np.zeros(70, int), 0.1).sum() == 7
    assert top_fraction_filter(np.arange(71.0), np.zeros(71, int), 0.1).sum() == 8
    assert top_fraction_filter(scores, groups, 1.0).tolist() == [True] * 6 + [False]
    with pytest.raises(ValueError, match="fraction must lie in"):
        top_fraction_filter(scores, groups, 0.0)
    with pytest.raises(ValueError, match="must both be"):
        top_fraction_filter(scores, groups[1:], 0.5)


def test_probcover():
    X = np.array([[0], [0.5], [1], [5], [5.4], [9]])
    picks = pyal.select(X, strategy="probcover", metric="euclidean", delta=0.6, batch_size=3)
    assert picks.tolist() == [1, 3, 5]
    assert pyal.select(X, strategy="probcover", metric="euclidean", delta=0.6, batch_size=2, labeled=[0]).tolist() == [
        3,
        1,
    ]  # 1 covers 2
    # strictly: at 0.5 nobody among the first three covers another
    assert pyal.select(X, strategy="probcover", metric="euclidean", delta=0.5, batch_size=2).tolist() == [3, 0]
    exhausted = [
        tuple(pyal.select(X, strategy="probcover", metric="euclidean", delta=0.6, batch_size=6, random_state=s))
        for s in range(20)
    ]
    assert {picks[:3] for picks in exhausted} == {(1, 3, 5)}
    assert len({picks[3:] for picks in exhausted}) > 1
    lowest = pyal.select(X, strategy="probcover", metric="euclidean", delta=0.6, batch_size=5, exhausted="lowest")
    assert lowest.tolist() == [1, 3, 5, 0, 2]


def test_probcover_draws_from_the_top():
    X = np.array([[0], [0.5], [1], [5], [5.4], [9]])
    firsts = {
        int(pyal.select(X, strategy="probcover", metric="euclidean", delta=0.6, top=3, random_state=s)[0])
        for s in range(40)
    }
    assert firsts == {1, 0, 2}  # 1 covers three rows; 0, 2, 3, 4 two each, ties to the lowest
    picks = pyal.select(X, strategy="probcover", metric="euclidean", delta=0.6, top=5, batch_size=6, random_state=0)
    assert sorted(picks) == list(range(6))


@pytest.mark.parametrize("seed", range(5))
def test_probcover_radius_from_purity(seed):
    # clusters {0, 1} and {10, 11}: all balls are pure up to 9, so 1 does not cover 10, strictly
    X = np.array([[0.0], [1.0], [10.0], [11.0]])
    picks = pyal.select(
        X,
        strategy="probcover",
        metric="euclidean",
        delta="purity",
        n_classes=2,
        alpha=1.0,
        batch_size=2,
        random_state=seed,
    )
    assert picks.tolist() == [0, 2]


@pytest.mark.filterwarnings("ignore:strategy 'probcover'. no pick of this batch covers")
def test_probcover_takes_the_radius_at_which_so_many_balls_cover_a_share_of_the_pool():
    # ten rows 1, 3, 5, ... apart from the next: two balls cover six of them, 1 2 3 and 4 5 6, from radius 9 on
    X = np.cumsum([0.0, 1, 3, 5, 7, 9, 11, 13, 15, 17])[:, None]
    given = {"strategy": "probcover", "metric": "euclidean", "batch_size": 2}
    for share, radius in ((0.6, 9.0), (0.3, 1.0), (0.4, 3.0)):
        picks = pyal.select(X, coverage=share, **given)
        assert picks.tolist() == pyal.select(X, delta=radius * 1.001 + 1e-6, **given).tolist(), share
        gains = pyal.kernels.ball_cover(X, 2, radius * 1.001 + 1e-6)[1]
        assert gains.sum() >= share * 10
        assert pyal.kernels.ball_cover(X, 2, radius)[1].sum() < share * 10
    # the radius is of as many balls as there will be labels, wherever these lie
    labeled = pyal.select(X, labeled=[0, 9], coverage=0.7, **given)
    (radius,) = [r for r in (1.001, 3.003, 5.005, 7.007) if pyal.kernels.ball_cover(X, 4, r)[1].sum() >= 7][:1]
    assert labeled.tolist() == pyal.select(X, labeled=[0, 9], delta=radius, **given).tolist()


def test_probcover_finds_a_radius_among_equal_rows_at_once(monkeypatch):
    asked, ball_cover = [], pyal.kernels.ball_cover
    monkeypatch.setattr(
        pyal.kernels, "ball_cover", lambda *given, **named: asked.append(1) or ball_cover(*given, **named)
    )
    X = np.ones((50, 3))
    X[40:] = np.random.default_rng(0).standard_normal((10, 3))
    for rows in (X[:40], X):
        assert pyal.select(rows, strategy="probcover", metric="euclidean", batch_size=1)[0] == 0
    assert len(asked) <= 8


def test_probcover_tells_how_little_its_balls_cover():
    X = np.random.default_rng(0).standard_normal((400, 8))
    with pytest.warns(UserWarning, match=r"the 10 balls of radius delta=1 cover \d\.\d % of the pool.*apart"):
        pyal.select(X, strategy="probcover", metric="euclidean", delta=1.0, batch_size=10)


def test_maxherding():
    # gains of 0 and 1 are (1 + 1/e) / 3 but for 1e-36, then 10 adds 1/3 and 1 adds (1 - 1/e) / 3
    X = np.array([[0.0], [1.0], [10.0]])
    assert pyal.select(X, strategy="maxherding", metric="euclidean", bandwidth=1.0, batch_size=3).tolist() == [0, 2, 1]
    assert pyal.select(
        X, strategy="maxherding", metric="euclidean", batch_size=1, labeled=[2], bandwidth=100.0
    ).tolist() == [0]


def test_a_name_means_the_published_method():
    """Where no metric is given, rows are taken as the source takes them: by their direction, or as they are."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4)) + 3 * np.eye(4)[np.arange(60) % 4]
    far = X * np.linspace(1, 50, 60)[:, None]
    for name in ("typiclust", "supclust", "probcover", "maxherding", "uherding"):
        given = {"strategy": name, "batch_size": 6, "random_state": 0}
        np.testing.assert_array_equal(pyal.select(far, **given), pyal.select(X, **given))
        np.testing.assert_array_equal(pyal.select(far, **given), pyal.select(far, metric="cosine", **given))
    given = {"strategy": "coreset", "batch_size": 6, "labeled": [0]}
    np.testing.assert_array_equal(pyal.select(far, **given), pyal.select(far, metric="euclidean", **given))
    assert pyal.select(far, **given).tolist() != pyal.select(far, metric="cosine", **given).tolist()


def test_maxherding_takes_its_bandwidth_from_the_spread_of_the_rows():
    X = np.array([[0.0], [1.0], [4.0], [10.0], [12.0], [15.0]])  # mean 7, mean squared distance to it 192 / 6
    spread = np.sqrt(32)
    gains = [
        np.maximum(np.exp(-((X - x) ** 2) / spread**2) - np.exp(-((X - 12.0) ** 2) / spread**2), 0).sum() for x in X
    ]
    given = {"strategy": "maxherding", "metric": "euclidean"}
    assert pyal.select(X, **given, labeled=[4])[0] == int(np.argmax(gains)) == 1
    by_hand = pyal.select(X, **given, batch_size=4, bandwidth=spread)
    assert pyal.select(X, **given, batch_size=4).tolist() == by_hand.tolist()


@pytest.mark.parametrize(
    ("option", "what"),
    [({"strategy": "maxherding", "bandwidth": 0.01}, "covers any new row but itself"),
     ({"strategy": "maxherding", "bandwidth": 1e9}, "covers a row that is not covered yet"),
     ({"strategy": "probcover", "delta": 0.01}, "covers any new row but itself"),
     ({"strategy": "probcover", "delta": 1e9}, "covers a row that is not covered yet")],
)  # fmt: skip
def test_gains_that_are_all_alike_are_told_with_the_distances(option, what):
    X = np.random.default_rng(0).standard_normal((50, 3))
    (name, value), *_ = ((n, v) for n, v in option.items() if n != "strategy")
    told = rf"'{option['strategy']}'.*{what}.*{name} is {re.escape(f'{value:.3g}')}, and two rows are 2\.\d+ apart"
    with pytest.warns(UserWarning, match=told):
        pyal.select(X, metric="euclidean", batch_size=3, labeled=[0], **option)


def test_badge():
    # the gradients of rows 0 and 2 are the same and the longest: after 0 only 1 has a distance left
    X, P = [[2.0, 0.0], [0.0, 1.0], [2.0, 0.0]], [[0.5, 0.5], [0.9, 0.1], [0.5, 0.5]]
    for seed in range(5):
        assert pyal.select(X, strategy="badge", proba=P, batch_size=3, random_state=seed).tolist() == [0, 1, 2]
    # a labelled row is no pick: the row with the same gradient is still the first
    assert pyal.select(X, strategy="badge", proba=P, labeled=[0], batch_size=2, random_state=0).tolist() == [2, 1]
    longer = [[0.0, 1.0], [0.0, 100.0], [0.0, 1.0]]
    assert pyal.select(X, strategy="badge", proba=P, features=longer)[0] == 1
    by_angle = pyal.select(X, strategy="badge", proba=P, batch_size=2, metric="cosine", random_state=0)
    assert by_angle.tolist() == [0, 1]  # at norm 1 the three rows would tie but for P
    parts = pyal.select(X, strategy="badge", proba=P, batch_size=3, n_partitions=3, random_state=0)
    assert sorted(parts) == [0, 1, 2]


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def nearest_label_accuracy(X: np.ndarray, y: np.ndarray, picks: np.ndarray) -> float:
    return float(np.mean(y[picks][np.argmin(sqdist_between(X, X[picks]), axis=1)] == y))


@pytest.mark.parametrize("name", ["typiclust", "supclust", "maxherding", "probcover"])
def test_low_budget_strategies_beat_random_on_digits(digits, name):
    X, y = digits
    found = [
        nearest_label_accuracy(X, y, pyal.select(X, strategy=name, batch_size=20, metric="cosine", random_state=s))
        for s in range(2)
    ]
    chance = [
        nearest_label_accuracy(X, y, pyal.select(X, strategy="random", batch_size=20, random_state=s))
        for s in range(10)
    ]
    if name == "probcover":
        chance = [0.5 * c for c in chance]  # its heuristic radius is small on digits: it asks in dense classes only
    assert np.mean(found) > np.mean(chance)


def test_coreset_covers_digits(digits):
    X, _ = digits

    def radius(picks: np.ndarray) -> float:
        return float(sqdist_between(X, X[picks]).min(axis=1).max())

    at_random = min(radius(pyal.select(X, strategy="random", batch_size=20, random_state=s)) for s in range(10))
    assert radius(pyal.select(X, strategy="coreset", batch_size=20, random_state=0)) < at_random


@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy", "badge"])
def test_uncertain_digits_are_often_wrong(digits, name):
    from sklearn.linear_model import LogisticRegression

    X, y = digits
    labeled = pyal.select(X, strategy="random", batch_size=100, random_state=0)
    proba = LogisticRegression(max_iter=500).fit(X[labeled], y[labeled]).predict_proba(X)
    wrong = proba.argmax(axis=1) != y
    picks = pyal.select(X, strategy=name, labeled=labeled, proba=proba, batch_size=60, random_state=0)
    at_least = 1.2 if name == "badge" else 2  # badge gives up some uncertainty for diversity
    assert wrong[picks].mean() > at_least * np.delete(wrong, labeled).mean()


def test_kmeans_plus_plus_draws_by_squared_distance():
    """On the line 0, 1, 2, 4 with 0 labelled the squared distances are 1, 4 and 16, the probabilities 1, 4, 16 of 21.

    Once 4 is picked they are 1 and 4 to the nearest of 0 and 4, so 1/5 and 4/5.
    """
    line = np.array([[0.0], [1.0], [2.0], [4.0]])
    rng = np.random.default_rng(0)
    given = {"labeled": [0], "strategy": "kmeans_plus_plus", "random_state": rng}
    picks = np.array([pyal.select(line, batch_size=2, **given) for _ in range(4000)])
    np.testing.assert_allclose(np.bincount(picks[:, 0], minlength=4) / 4000, [0, 1 / 21, 4 / 21, 16 / 21], atol=0.025)
    second = picks[picks[:, 0] == 3, 1]
    np.testing.assert_allclose(np.bincount(second, minlength=4) / len(second), [0, 0.2, 0.8, 0], atol=0.03)
    firsts = [pyal.select(line, strategy="kmeans_plus_plus", random_state=rng)[0] for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(firsts) / 4000, 0.25, atol=0.03)
