"""BatchBALD: a case by hand, joint entropies by enumeration, greedy picks of plain NumPy, samples, any batch size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from oracle.reference import entropy, mixture_entropies

import pyal
from pyal.strategies import committees
from pyal.strategies.configurations import Configurations


def passes(T: int, n: int, classes: int, seed: int, sharpness: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, sharpness), (T, n))


def ask(proba: np.ndarray, batch_size: int, **options) -> list[int]:
    X = np.zeros((proba.shape[1], 1))
    given = {"random_state": 0} | options
    return pyal.select(X, strategy="batchbald", proba=proba, batch_size=batch_size, **given).tolist()


def joint_entropy(proba: np.ndarray, picks: list[int]) -> float:
    """H(y_1 .. y_b) by going through all labels."""
    labels = itertools.product(range(proba.shape[-1]), repeat=len(picks))
    chances = [
        np.mean([np.prod([p[i, c] for i, c in zip(picks, each, strict=True)]) for p in proba]) for each in labels
    ]
    return float(entropy(np.array(chances)))


def information(proba: np.ndarray, picks: list[int]) -> float:
    """I(y_1 .. y_b; model) as the paper writes it."""
    return joint_entropy(proba, picks) - float(entropy(proba).mean(axis=0)[picks].sum())


def greedy(proba: np.ndarray, batch_size: int) -> list[int]:
    picks: list[int] = []
    for _ in range(batch_size):
        left = [i for i in range(proba.shape[1]) if i not in picks]
        picks.append(max(left, key=lambda i: information(proba, [*picks, i])))
    return picks


def test_by_hand():
    """Four models. Rows 0 and 1 part the first two from the last two, each for log 2 = 0.693 nats; row 2 parts the even
    from the odd ones, but for a tenth: log 2 - h(0.1) = 0.693 - 0.325 = 0.368; row 3 is the same to all.

    BALD takes 0, 1, 2. Once row 0 is known row 1 adds nothing: either label leaves two models that agree on it. On row
    2 those two differ as before, which adds 0.368. Then nothing is left, and what BALD likes best comes first.
    """
    first_two, even = [0.0, 0.0, 1.0, 1.0], [0.1, 0.9, 0.1, 0.9]
    ones = np.array([first_two, first_two, even, [0.5] * 4]).T
    proba = np.stack([1 - ones, ones], axis=-1)
    assert pyal.select(np.zeros((4, 1)), strategy="bald", proba=proba, batch_size=4).tolist() == [0, 1, 2, 3]
    assert ask(proba, 4) == [0, 2, 1, 3]
    assert ask(proba, 4, max_configurations=1) == [0, 2, 1, 3]
    assert information(proba, [0, 2]) == pytest.approx(2 * np.log(2) - float(entropy([0.1, 0.9])))
    assert information(proba, [0, 1]) == pytest.approx(np.log(2))


@pytest.mark.parametrize("seed", range(6))
def test_one_pick_is_balds(seed):
    proba = passes(4, 200, 5, seed)
    first = pyal.select(np.zeros((200, 1)), strategy="bald", proba=proba, batch_size=1).tolist()
    assert ask(proba, 1) == first == ask(proba, 3)[:1]


@pytest.mark.parametrize(("T", "classes", "batch_size"), [(2, 2, 6), (4, 3, 4), (7, 4, 3), (3, 5, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_picks_are_the_papers(T, classes, batch_size, seed):
    proba = passes(T, 12, classes, seed)
    assert ask(proba, batch_size) == greedy(proba, batch_size)


def test_configurations_are_all_of_them():
    """Their probabilities give the joint entropy, and mixtures of what they leave give that with one row more."""
    proba = passes(4, 6, 3, 0)
    proba[:, 2] = [1, 0, 0]  # one label, and no configurations besides
    known = Configurations(4, 10_000, 1)
    picks: list[int] = []
    for pick, size in ((5, 3), (2, 3), (0, 9), (3, 27)):
        known.learn(proba[:, pick], np.random.default_rng(0))
        picks.append(pick)
        assert known.exact
        assert known.models.shape == (size, 4)
        np.testing.assert_allclose(known.models.sum(axis=1), 1)
        assert known.weights.sum() == pytest.approx(1)
        joint = joint_entropy(proba, picks)
        assert entropy(known.weights) == pytest.approx(joint)
        one_more = mixture_entropies(proba, known.models, known.weights)
        assert joint + one_more[1] == pytest.approx(joint_entropy(proba, [*picks, 1]))
        assert joint + one_more[4] == pytest.approx(joint_entropy(proba, [*picks, 4]))


@pytest.mark.parametrize(("most", "exact"), [(9, True), (8, False)])
def test_configurations_are_gone_through_up_to_the_limit(most, exact):
    proba, known = passes(4, 2, 3, 0), Configurations(4, most, 100)
    for pick in (0, 1):
        known.learn(proba[:, pick], np.random.default_rng(0))
    assert known.exact == exact
    assert known.models.shape == (9 if exact else 100, 4)


def test_samples_tell_the_same_as_all_configurations():
    proba, picks = passes(6, 40, 3, 2), [4, 8, 15, 16, 23]
    every, drawn = Configurations(6, 10**6, 1), Configurations(6, 30, 60_000)
    rng = np.random.default_rng(0)
    for pick in picks:
        every.learn(proba[:, pick], rng)
        drawn.learn(proba[:, pick], rng)
    assert every.exact
    assert not drawn.exact
    left = np.setdiff1d(np.arange(40), picks)
    exact = committees._added(proba, left, every, 1)
    each = entropy(np.einsum("mt,tic->mic", drawn.models, proba[:, left])) - drawn.models @ entropy(proba[:, left])
    estimated = committees._added(proba, left, drawn, 1)
    np.testing.assert_allclose(estimated, each.mean(axis=0), rtol=1e-9, atol=1e-13)
    assert (abs(estimated - exact) < 5 * each.std(axis=0) / np.sqrt(60_000)).all()
    assert (committees._added(proba, left, drawn, 1, merged=True) >= estimated - 1e-12).all()
    assert len(drawn.merged()[0]) <= 6


def test_samples_are_the_same_number_for_every_model():
    known = Configurations(3, 1, 7)
    known.learn(np.eye(3), np.random.default_rng(0))  # the label gives the model away
    np.testing.assert_array_equal(known.models, np.tile(np.eye(3), (3, 1)))
    assert known.weights.sum() == pytest.approx(1)


FEW = {"max_configurations": 1, "n_samples": 5}  # what a row adds by a few samples may well rise


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("options", [{}, {"max_configurations": 50, "n_samples": 300}, FEW], ids=["all", "some", "few"])
def test_bounds_only_save_work(monkeypatch, options, seed):
    """Whether rows are looked at one by one, by their bounds, or all at once."""
    proba = np.concatenate([passes(5, 80, 4, seed), passes(5, 80, 4, seed + 9, 0.05)], axis=1)
    found = []
    for wave in (1, 64, 10**9):
        monkeypatch.setattr(committees, "FIRST_WAVE", wave)
        found.append(ask(proba, 12, **options))
    assert found[0] == found[1] == found[2]


def test_rows_that_tell_the_same_are_not_picked_together():
    """One question asked 50 times: BALD asks it over and over."""
    proba = passes(8, 60, 2, 0, 2.0)
    proba[:, :50] = np.repeat(np.array([[1.0, 0.0], [0.0, 1.0]]), 4, axis=0)[:, None]
    assert pyal.select(np.zeros((60, 1)), strategy="bald", proba=proba, batch_size=8).max() < 50
    assert sum(pick < 50 for pick in ask(proba, 8)) == 1


def test_what_is_picked_when_nothing_is_left_to_learn():
    """Three models, told apart by the first pick: then BALD's order, and the lowest rows where models agree."""
    proba = np.repeat(np.eye(3)[:, None], 9, axis=1)
    proba[:, :4] = [0.2, 0.3, 0.5]
    proba[:2, 8] = [1, 0, 0]
    assert ask(proba, 9) == [4, 5, 6, 7, 8, 0, 1, 2, 3]
    same = np.repeat(passes(1, 30, 4, 0), 5, axis=0)
    assert ask(same, 30) == list(range(30))


def test_the_best_of_bald_alone_are_looked_at():
    proba = passes(5, 100, 3, 0)
    best = pyal.select(np.zeros((100, 1)), strategy="bald", proba=proba, batch_size=100).tolist()
    assert set(ask(proba, 6, candidates_per_pick=1)) == set(best[:6])
    assert set(ask(proba, 6, candidates_per_pick=2)) <= set(best[:12])
    assert ask(proba, 6, candidates_per_pick=50) == ask(proba, 6)


@pytest.mark.parametrize(
    ("option", "value"), [("max_configurations", 0), ("n_samples", 0), ("candidates_per_pick", 0), ("n_samples", -3)]
)
def test_what_is_refused(option, value):
    with pytest.raises(ValueError, match=rf"{option} must be at least 1.*; got {value}"):
        ask(passes(2, 5, 2, 0), 2, **{option: value})
