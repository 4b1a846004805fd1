"""Look-ahead under rules: each pick is the best of the rows that keep them, by a model that is trained from scratch."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from oracle import reference

import pyal
from pyal import cluster_pseudo_labels, kernels
from pyal.arrays import Matrix
from pyal.rules import even_share
from pyal.strategies.learned_rows import LearnedRows

N, BATCH = 48, 9
X = blobs(N, 4, seed=10).astype(np.float64)
LABELED = np.array([2, 9, 33])
Y = np.full(N, -1)
Y[LABELED] = [1, 0, 0]
P = np.random.default_rng(14).dirichlet(np.ones(4), N)
GROUPS = np.arange(N) // 4
DETERMINED = 2.0**-44
RULES = {
    "groups": {"groups": GROUPS, "max_per_group": 1},
    "min_distance": {"min_distance": 1.0},
    "class_balance": {"class_balance": True},
    "all": {"groups": GROUPS, "max_per_group": 2, "min_distance": 0.9, "class_balance": True},
}


def legal(rules: dict, picks: list[int], among) -> list[int]:
    """Those of the rows that may be picked after these."""
    apart, predicted = np.linalg.norm(X[:, None] - X, axis=-1), P.argmax(axis=1)
    free = np.setdiff1d(np.arange(N), LABELED)
    if "min_distance" in rules:
        free = free[(apart[np.ix_(free, LABELED)] >= rules["min_distance"]).all(axis=1)]
    share = even_share(np.bincount(predicted[free]), BATCH)
    return [
        int(i)
        for i in among
        if i not in [*LABELED, *picks]
        and not ("groups" in rules and (GROUPS[picks] == GROUPS[i]).sum() >= rules["max_per_group"])
        and not ("min_distance" in rules and (apart[i, [*LABELED, *picks]] < rules["min_distance"]).any())
        and not ("class_balance" in rules and (predicted[picks] == predicted[i]).sum() >= share)
    ]


def looked_at(rules: dict) -> np.ndarray:
    """The labelled rows and the candidates; those too near to a labelled row are none, and no risk is counted there."""
    distance = {name: rules[name] for name in rules if name == "min_distance"}
    return np.union1d(LABELED, legal(distance, [], range(N)))


def one_by_one(rows, labels, rules: dict, targets=None, **given) -> list[int]:
    """Picks of the float64 reference, asked for one, with what was picked before among the labelled rows.

    labels, targets: of these rows.
    """
    K, start = reference.ntk(X[rows]), np.zeros((len(rows), int(max(labels)) + 1))
    labels, picks = labels.copy(), []
    given |= {} if targets is None else {"targets": targets}
    while len(picks) < BATCH and (left := legal(rules, rows[picks].tolist(), rows)):
        known = [*np.searchsorted(rows, LABELED).tolist(), *picks]
        where = {"labeled": known, "candidates": np.searchsorted(rows, left)}
        (pick,), _, _ = reference.ntk_lookahead(K, start, labels, 1, determined=DETERMINED, **where, **given)
        if labels[pick] < 0:
            taught = [int(labels[i]) for i in known]
            labels[pick] = reference.learned_predictions(K, start, known, taught, given["ridge"])[pick].argmax()
        picks.append(int(pick))
    return rows[picks].tolist()


@pytest.mark.parametrize("objective", ["agreement", "output_change", "expected_risk"])
@pytest.mark.parametrize("rule", RULES)
def test_lookahead_picks_as_if_what_breaks_a_rule_were_not_there(objective, rule):
    given = {"proba": P, "batch_size": BATCH, "kernel": "infinite", "t": 30.0, "objective": objective}
    picks = pyal.select(X, Y, strategy="lookahead", random_state=0, **given, **RULES[rule]).tolist()
    rows = looked_at(RULES[rule])
    expected = one_by_one(rows, Y[rows], RULES[rule], objective=objective, ridge=1 / 30)
    assert picks == expected
    assert picks != pyal.select(X, Y, strategy="lookahead", random_state=0, **given).tolist(), "the rule binds"


@pytest.mark.parametrize("rule", RULES)
def test_ntkcpl_picks_as_if_what_breaks_a_rule_were_not_there(rule):
    options = {"metric": "euclidean", "kernel": "infinite", "initial_clusters": 5, "t": 20.0}
    given = {"proba": P, "batch_size": BATCH, "random_state": 1, **options}
    picks = pyal.select(X, Y, strategy="ntkcpl", **given, **RULES[rule]).tolist()
    rows, rng = looked_at(RULES[rule]), np.random.default_rng(1)
    target = cluster_pseudo_labels(X[rows], 5, labels=Y[rows], predictions=P[rows].argmax(axis=1), random_state=rng)
    assert picks == one_by_one(rows, target, RULES[rule], targets=target, ridge=0.05)
    assert picks != pyal.select(X, Y, strategy="ntkcpl", **given).tolist(), "the rule binds"


@pytest.mark.parametrize("objective", ["agreement", "output_change"])
def test_one_pass_takes_the_next_best(objective):
    """sequential=False: the scores of one model, ranked, and of these the first that keep the rule."""
    given = {"proba": P, "kernel": "empirical", "width": 64, "sequential": False, "objective": objective}
    given |= {"strategy": "lookahead", "random_state": 3}
    ranked = pyal.select(X, Y, batch_size=N - 3, **given).tolist()
    expected = []
    for row in ranked:
        if row in legal(RULES["groups"], expected, range(N)) and len(expected) < BATCH:
            expected.append(row)
    assert pyal.select(X, Y, batch_size=BATCH, **given, **RULES["groups"]).tolist() == expected != ranked[:BATCH]


@pytest.mark.parametrize("strategy", ["lookahead", "ntkcpl"])
def test_the_model_is_made_once(strategy, monkeypatch):
    """However often the kernel is called: the same subset, the same network, the same pseudo-labels."""
    calls = dict.fromkeys(("ntk", "ntk_weights", "ntk_lookahead"), 0)

    def counted(name, own):
        def call(*args, **given):
            calls[name] += 1
            return own(*args, **given)

        return call

    for name in calls:
        monkeypatch.setattr(kernels, name, counted(name, vars(kernels)[name]))
    given = {"strategy": strategy, "proba": P, "batch_size": BATCH, "subset": 30, "random_state": 0}
    picks = pyal.select(X, Y, groups=GROUPS // 2, max_per_group=2, **given)
    assert len(picks) == BATCH
    assert calls["ntk"] == calls["ntk_weights"] == 1 < calls["ntk_lookahead"]


@pytest.mark.parametrize("strategy", ["lookahead", "ntkcpl"])
def test_rows_too_near_to_a_label_are_not_drawn(strategy):
    """280 rows lie within 0.1 of the labelled one and 12 far from all: a subset of 12 is made of the latter."""
    near = np.random.default_rng(0).normal(size=(280, 2)) * 0.01
    rows = np.vstack([near, np.c_[np.arange(12) * 5 + 50, np.zeros(12)]])
    y = np.array([0] + [-1] * 291)
    given = {"strategy": strategy, "proba": np.full((292, 2), 0.5), "metric": "euclidean", "min_distance": 1.0}
    picks = pyal.select(rows, y, batch_size=12, subset=12, random_state=0, **given)
    assert sorted(picks) == list(range(280, 292))


def test_every_pick_is_learned_once(monkeypatch):
    learned, own = [], LearnedRows.learn

    def learn(self, positions, classes=None):
        learned.extend(positions.tolist())
        own(self, positions, classes)

    monkeypatch.setattr(LearnedRows, "learn", learn)
    picks = pyal.select(X, Y, strategy="lookahead", proba=P, batch_size=BATCH, random_state=0, **RULES["groups"])
    assert learned[:3] == LABELED.tolist()
    assert learned[3:] == picks[: len(learned) - 3].tolist() != []


def test_learned_rows_by_hand():
    """K = [[1, 1/2], [1/2, 1]], ridge 1, f = [[0, 0], [0, 1/5]]: row 0 is taught class 0.

    Then row 1 is predicted f_1 + K_10 / (K_00 + 1) (onehot(0) - f_0) = (0, 1/5) + 1/4 (1, 0) = (1/4, 1/5): class 0,
    where it was class 1 before. G = [[sqrt(2), .], [1 / (2 sqrt(2)), sqrt(2 - 1/8)]], z_0 = (1, 0) / sqrt(2).
    """
    K, f = np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([[0.0, 0.0], [0.0, 0.2]])
    learned = LearnedRows(Matrix(K, "float64", "cpu"), f, 1.0)
    learned.learn(np.array([0]), np.array([0]))
    learned.learn(np.array([1]))
    assert learned.classes.tolist() == [0, 0]
    np.testing.assert_allclose(learned._G, [[2**0.5, 0], [8**-0.5, 1.875**0.5]])
    first = LearnedRows(Matrix(K, "float64", "cpu"), f, 1.0)
    first.learn(np.array([1, 0]))
    assert first.positions.tolist() == [1, 0]
    assert first.classes.tolist() == [1, 1]  # row 0: 1/4 of what was wrong at row 1, (0, 4/5)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_a_row_that_is_learned_already_teaches_nothing(order):
    """Rows 0, 1 and 2 are equal and taught 0, 1, 1 in this order: the first counts, as in the kernel."""
    K = np.where(np.arange(4) < 3, 1.0, 0.5) * np.where(np.arange(4) < 3, 1.0, 0.5)[:, None]
    K[3, 3] = 1
    learned = LearnedRows(Matrix(K, "float64", "cpu"), np.zeros((4, 2)), 1e-14)
    learned.learn(np.array(order), np.array([0, 1, 1]))
    learned.learn(np.array([3]))
    assert learned.classes.tolist() == [0, 1, 1, 0]
    labels = np.full(4, -1)
    labels[order] = [0, 1, 1]
    given = {"labeled": order, "candidates": [3], "targets": np.zeros(4, int), "ridge": 1e-14}
    _, objectives, _ = kernels.ntk_lookahead(K, np.zeros((4, 2)), labels, 1, **given)
    assert objectives.tolist() == [0]  # all four are predicted as the first was taught


@pytest.mark.parametrize("chunks", [[20], [1] * 20, [3, 9, 8]])
def test_learned_rows_are_those_of_retraining(chunks):
    rng = np.random.default_rng(2)
    K, f = reference.ntk(X), rng.normal(size=(N, 3)) / 5
    order, ridge = rng.permutation(N)[:20], 0.1
    learned = LearnedRows(Matrix(K, "float64", "cpu"), f, ridge)
    learned.learn(order[:4], np.array([0, 1, 2, 1]))
    begin = 4
    for size in chunks:
        learned.learn(order[begin : begin + size])
        begin += size
    taught = [0, 1, 2, 1]
    for i, row in enumerate(order[4:], 4):
        before = reference.learned_predictions(K, f, list(order[:i]), taught, ridge)
        taught.append(int(before[row].argmax()))
    assert learned.classes.tolist() == taught
