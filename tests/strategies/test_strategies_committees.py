"""Strategies that ask where models disagree: cases worked out by hand, plain NumPy, and passes that a loop asks for."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

import pyal
from pyal.heads import Committee

# row 0: models that contradict each other; 1: models that are unsure; 2: models that are sure; 3: a little of each
PASSES = np.array([
    [[1, 0], [0.5, 0.5], [1, 0], [0.9, 0.1]],
    [[0, 1], [0.5, 0.5], [1, 0], [0.7, 0.3]],
])  # fmt: skip
ROWS = np.zeros((4, 1))
NAMES = ("bald", "dbal", "variation_ratio", "mean_std", "powerbald", "batchbald")


def test_by_hand():
    half = np.log(2)
    h = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (0.8, 0.9, 0.7)]
    expected = {
        "bald": [half, 0, 0, h[0] - (h[1] + h[2]) / 2],
        "dbal": [half, half, 0, h[0]],
        "variation_ratio": [0.5, 0, 0, 0],
        "mean_std": [0.5, 0, 0, 0.1],
    }
    for name, scores in expected.items():
        np.testing.assert_allclose(pyal.score(ROWS, strategy=name, proba=PASSES), scores, atol=1e-15)
    of_mean = pyal.score(ROWS, strategy="variation_ratio", proba=PASSES, definition="mean")
    np.testing.assert_allclose(of_mean, [0.5, 0.5, 0, 0.2], atol=1e-15)
    assert pyal.select(ROWS, strategy="bald", proba=PASSES, batch_size=4).tolist() == [0, 3, 1, 2]
    assert pyal.select(ROWS, strategy="dbal", proba=PASSES, batch_size=4).tolist() == [0, 1, 3, 2]


def test_against_plain_numpy():
    proba = np.random.default_rng(0).dirichlet(np.full(5, 0.3), (7, 400))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = proba.mean(axis=0)
        of_mean = -np.nansum(mean * np.log(mean), axis=-1)
        of_each = -np.nansum(proba * np.log(proba), axis=-1).mean(axis=0)
    X = np.zeros((400, 1))
    np.testing.assert_allclose(pyal.score(X, strategy="bald", proba=proba), of_mean - of_each, rtol=1e-10)
    np.testing.assert_allclose(pyal.score(X, strategy="dbal", proba=proba), of_mean, rtol=1e-12)
    spread = np.sqrt((proba**2).mean(0) - mean**2).mean(-1)
    np.testing.assert_allclose(pyal.score(X, strategy="mean_std", proba=proba), spread, rtol=1e-6)
    votes = np.stack([np.bincount(row, minlength=5) for row in proba.argmax(-1).T])
    np.testing.assert_allclose(pyal.score(X, strategy="variation_ratio", proba=proba), 1 - votes.max(1) / 7, rtol=1e-12)
    np.testing.assert_array_equal(
        pyal.select(X, strategy="dbal", proba=proba, batch_size=9),
        pyal.select(X, strategy="entropy", proba=proba, batch_size=9),
    )


def test_equal_models_have_nothing_to_tell():
    P = np.random.default_rng(1).dirichlet(np.ones(3), 50)
    scores = pyal.score(np.zeros((50, 1)), strategy="bald", proba=np.stack([P, P, P]))
    assert (scores >= 0).all()  # rounding would leave some below
    assert scores.max() < 1e-15


def test_powerbald_draws_with_a_power_of_the_score():
    rng = np.random.default_rng(0)
    scores = pyal.score(ROWS, strategy="bald", proba=PASSES)
    for beta in (1.0, 0.5):
        firsts = [
            pyal.select(ROWS, strategy="powerbald", proba=PASSES, beta=beta, random_state=rng)[0] for _ in range(2000)
        ]
        share = scores[0] ** beta / (scores[0] ** beta + scores[3] ** beta)
        assert abs(np.mean(np.array(firsts) == 0) - share) < 5 * np.sqrt(share * (1 - share) / 2000)
    many = [
        tuple(pyal.select(ROWS, strategy="powerbald", proba=PASSES, batch_size=4, random_state=s)) for s in range(20)
    ]
    assert all(set(picks[:2]) == {0, 3} for picks in many)  # a score of 0 comes last
    sharp = pyal.select(ROWS, strategy="powerbald", proba=PASSES, beta=1e6, batch_size=2, random_state=0)
    assert sharp.tolist() == [0, 3]
    with pytest.raises(ValueError, match="beta must be a positive power; got 0"):
        pyal.select(ROWS, strategy="powerbald", proba=PASSES, beta=0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("proba", [PASSES[0], PASSES[:1]], ids=["no passes", "one pass"])
def test_one_model_alone_is_refused(name, proba):
    with pytest.raises(ValueError, match=rf"strategy '{name}' needs proba of several passes or members.*got shape"):
        pyal.select(ROWS, strategy=name, proba=proba)


def test_an_unknown_definition_is_refused():
    with pytest.raises(ValueError, match="definition must be 'votes' or 'mean'; got 'median'"):
        pyal.select(ROWS, strategy="variation_ratio", proba=PASSES, definition="median")


# ---- passes in a loop

N = 120
X = blobs(N, 6)
Y = np.random.default_rng(3).integers(0, 3, N)
STARTED = np.where(np.arange(N) < 30, Y, -1)


@pytest.mark.parametrize("name", NAMES)
def test_a_loop_asks_a_committee_for_its_passes(name):
    committee = Committee(GaussianNB(), n_members=4)
    loop = pyal.Loop(X, committee, name, 5, y=STARTED, random_state=3)
    batch = loop.query()
    assert len(set(batch.tolist())) == 5
    if name == "powerbald":
        return
    seed = int(np.random.default_rng(np.random.SeedSequence((3, 0)).spawn(4)[1]).integers(2**32))
    fitted = Committee(GaussianNB(), n_members=4, random_state=seed).fit(X[:30], Y[:30])
    expected = pyal.select(X, STARTED, strategy=name, proba=fitted.stochastic_proba(X), batch_size=5)
    np.testing.assert_array_equal(batch, expected)


def test_a_loop_asks_a_head_with_dropout():
    pytest.importorskip("torch")
    from pyal.heads import LinearHead

    batches = []
    for seed in (3, 3, 4):
        loop = pyal.Loop(X, LinearHead(dropout=0.5, epochs=5, random_state=0), "bald", 5, y=STARTED, random_state=seed)
        batches.append(loop.query().tolist())
    assert batches[0] == batches[1] != batches[2]


class Passes:
    """A learner whose predict_proba gives several passes by itself."""

    def fit(self, positions, labels, *, unlabeled, seed):  # noqa: ARG002
        self.classes_ = np.unique(labels)

    def predict_proba(self, positions):
        return np.random.default_rng(0).dirichlet(np.ones(len(self.classes_)), (3, N))[:, positions]


def test_a_learner_may_give_passes_by_itself():
    loop = pyal.Loop(X, Passes(), "bald", 5, y=STARTED)
    proba = np.random.default_rng(0).dirichlet(np.ones(3), (3, N))
    np.testing.assert_array_equal(loop.query(), pyal.select(X, STARTED, strategy="bald", proba=proba, batch_size=5))


def test_an_estimator_without_passes_is_named():
    loop = pyal.Loop(X, LogisticRegression(), "bald", 5, y=STARTED)
    with pytest.raises(TypeError, match="estimator must have stochastic_proba, which the strategy needs"):
        loop.query()


def test_a_loop_gives_coreset_the_activations_of_its_model():
    pytest.importorskip("torch")
    from pyal.heads import MLPHead

    head = MLPHead((8,), epochs=5, random_state=0)
    loop = pyal.Loop(X, head, "coreset", 5, y=STARTED, cover_on="al", metric="cosine", random_state=3)
    features = head.fit(X[:30], Y[:30]).features(X)
    expected = pyal.select(X, STARTED, strategy="coreset", cover_on="al", features=features, batch_size=5)
    np.testing.assert_array_equal(loop.query(), expected)
    with pytest.raises(ValueError, match="strategy 'coreset' needs features, so the loop needs estimator="):
        pyal.Loop(X, strategy="coreset", cover_on="al")


def test_simulate_runs_them():
    found = pyal.simulate(
        X, Y, test=(X, Y), estimator=Committee(GaussianNB(), n_members=3), strategies=["bald", "mean_std"], seeds=1,
        batch_sizes=5, budget=25, initial=15,
    )  # fmt: skip
    assert not found.failures
    assert found.picks["bald", 0] is not None
