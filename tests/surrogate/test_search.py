"""The order in which parameters are tried, on losses that are written down instead of fitted."""

from __future__ import annotations

import numpy as np
import pytest

from pyal.surrogate import search
from pyal.surrogate.boosting import Fitted
from pyal.surrogate.search import SEARCHED, START, searched


@pytest.fixture
def tried(monkeypatch):
    """All parameters that were fitted, for losses set by `tried.loss`."""

    class Tried(list):
        loss = staticmethod(lambda _: 0.0)

    seen = Tried()

    def fitted(_, parameters):
        seen.append(parameters)
        return Fitted(dict(parameters), 1, seen.loss(parameters))

    monkeypatch.setitem(search.BACKENDS, "xgboost", fitted)
    return seen


def test_one_by_one_worked_out_by_hand(tried):
    """From rate 0.1 and depth 5 (loss 5) no rate alone is better; depth 7 is (4); then rate 0.01 (3), and no depth.

    First round: the start, 3 further rates, 3 depths, 2 lambdas, 2 gammas, 1 subsample: 12. Second: 3 rates at depth 7,
    2 depths at rate 0.01 (5 was tried there), and again 2, 2 and 1. In the third round all was tried.
    """
    table = {(0.1, 5): 5.0, (0.1, 7): 4.0, (0.01, 7): 3.0, (0.01, 9): 3.5}
    tried.loss = lambda at: table.get((at["learning_rate"], at["max_depth"]), 7.0)
    best, chosen, n = searched(None, "xgboost", SEARCHED, True, 1.0, 1)
    assert chosen == {**START, "learning_rate": 0.01, "max_depth": 7}
    assert best.trees == chosen
    assert n == len(tried) == 12 + 3 + 2 + 5
    assert tried[0] == START
    assert len({tuple(at.values()) for at in tried}) == n


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("at", [0, 15, 16, 200, 287])
def test_the_full_grid_is_288_points_of_which_the_best_is_taken(tried, at, workers):
    points = np.stack(np.meshgrid(*SEARCHED.values(), indexing="ij"), -1).reshape(-1, 5)
    tried.loss = lambda given: float(np.any(list(given.values()) != points[at]))
    best, chosen, n = searched(None, "xgboost", SEARCHED, False, 1.0, workers)
    assert list(chosen.values()) == points[at].tolist()
    assert best.trees == chosen
    assert n == len(tried) == 288


def test_of_equals_the_first_tried_is_taken(tried):
    assert searched(None, "xgboost", SEARCHED, True, 1.0, 2)[1] == START
    assert len(tried) == 12
    first = {name: values[0] for name, values in SEARCHED.items()}
    assert searched(None, "xgboost", SEARCHED, False, 1.0, 2)[1] == first


def test_gamma_is_divided_by_the_unit_and_kept_as_given(tried):
    grid = {**{name: (value,) for name, value in START.items()}, "gamma": (3e-4,)}
    _, chosen, _ = searched(None, "xgboost", grid, False, 1e-6, 1)
    assert chosen["gamma"] == 3e-4
    assert tried[0]["gamma"] == pytest.approx(300)
    assert {**tried[0], "gamma": 0} == START
