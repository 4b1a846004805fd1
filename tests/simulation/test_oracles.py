"""The controls that see the answers, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from simulations import FAST, TEST, X, Y, same, simulated
from sklearn.base import clone
from sklearn.naive_bayes import GaussianNB

import pyal
from pyal.heads import ClosedFormSoftmax
from pyal.simulation.oracles import oracle_gain, oracle_loss

VALIDATION = TEST[0][:80], TEST[1][:80]


def labeled_before(found, name, seed, batch):
    picks = found.picks[name, seed]
    return np.sort(np.concatenate(picks[:batch]))


def test_oracle_loss_takes_the_rows_with_the_least_probability_of_their_label():
    found = simulated(["oracle_loss"], batch_sizes=5, budget=20)
    for seed in (0, 1):
        for batch in (1, 2):
            known = labeled_before(found, "oracle_loss", seed, batch)
            head = clone(FAST).fit(X[known], Y[known])
            proba = np.zeros((len(X), 10))
            proba[:, head.classes_] = head.predict_proba(X)
            own = proba[np.arange(len(X)), Y]
            own[known] = np.inf
            wanted = np.argsort(own, kind="stable")[:5]
            assert found.picks["oracle_loss", seed][batch].tolist() == wanted.tolist()


@pytest.mark.parametrize("target", ["accuracy", "loss"])
@pytest.mark.parametrize("estimator", [ClosedFormSoftmax("ridge", alpha=1.0), GaussianNB(var_smoothing=0.1)])
def test_oracle_gain_takes_the_row_after_which_the_classifier_is_worth_most(target, estimator):
    found = simulated(
        {"best": {"strategy": "oracle_gain", "target": target}},
        estimator=estimator,
        validation=VALIDATION,
        X=X[:60],
        y=Y[:60],
        batch_sizes=1,
        budget=14,
        initial=12,
        seeds=1,
    )
    for batch in (1, 2):
        known = labeled_before(found, "best", 0, batch)
        worth = {}
        for row in np.setdiff1d(np.arange(60), known).tolist():
            rows = np.append(known, row)
            head = clone(estimator).fit(X[rows], Y[rows])
            loss = pyal.metrics.cross_entropy(VALIDATION[1], head.predict_proba(VALIDATION[0]), head.classes_)
            right = float(np.mean(head.predict(VALIDATION[0]) == VALIDATION[1]))
            worth[row] = (-right, loss) if target == "accuracy" else (loss,)
        assert found.picks["best", 0][batch].tolist() == [min(worth, key=worth.__getitem__)]


def test_among_fewer_candidates_and_several_at_a_time():
    found = simulated(
        {"few": {"strategy": "oracle_gain", "subset": 7}, "all": {"strategy": "oracle_gain"}},
        estimator=ClosedFormSoftmax("ridge", alpha=1.0),
        validation=VALIDATION,
        batch_sizes=5,
        budget=25,
    )
    assert found.failures == {}
    assert found.picks["few", 0][1].tolist() != found.picks["all", 0][1].tolist()
    assert [len(batch) for batch in found.picks["few", 0]] == [10, 5, 5, 5]


def test_at_random_until_two_classes_are_known():
    found = simulated(["oracle_gain", "oracle_loss"], validation=VALIDATION, initial=None, batch_sizes=5, budget=10)
    assert found.failures == {}
    assert found.picks["oracle_gain", 0][0].tolist() != found.picks["oracle_gain", 1][0].tolist()


def test_a_folder_goes_on_and_knows_the_held_out_rows(tmp_path):
    settings = {"validation": VALIDATION, "estimator": GaussianNB(var_smoothing=0.1), "workdir": tmp_path}
    settings |= {"X": X[:60], "y": Y[:60], "batch_sizes": 2, "budget": 14}
    one, other = (simulated(["oracle_gain"], **settings) for _ in range(2))
    same(one, other)
    with pytest.raises(ValueError, match="keeps runs of other settings: validation"):
        simulated(["oracle_gain"], **{**settings, "validation": TEST})


def test_in_a_schedule():
    found = simulated({"late": [("margin", 20), ("oracle_loss", None)]}, budget=40)
    assert found.failures == {}
    with pytest.raises(ValueError, match="'oracle_gain' needs validation="):
        simulated({"late": [("margin", 20), ("oracle_gain", None)]})


def test_what_is_refused():
    with pytest.raises(ValueError, match="strategy 'oracle_loss' cannot use weights="):
        simulated(["oracle_loss"], weights=np.ones(300))
    with pytest.raises(ValueError, match="'oracle_gain' needs validation=, the held-out rows to gain on"):
        simulated(["oracle_gain"])
    with pytest.raises(TypeError, match="strategy 'oracle_gain' has no option 'goal'"):
        simulated({"x": {"strategy": "oracle_gain", "goal": "loss"}}, validation=VALIDATION)
    with pytest.warns(UserWarning, match="target must be 'accuracy' or 'loss'; got 'speed'"):
        simulated({"x": {"strategy": "oracle_gain", "target": "speed"}}, validation=VALIDATION)
    for oracle in (oracle_gain, oracle_loss):
        with pytest.raises(ValueError, match=r"need the answers for all rows, which only pyal\.simulate has"):
            pyal.select(X, strategy=oracle, proba=np.full((300, 2), 0.5), labeled=[0, 1])
