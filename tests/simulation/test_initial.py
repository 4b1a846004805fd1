"""What the runs of a simulation start from."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from sklearn.linear_model import LogisticRegression

import pyal


def test_what_all_start_from_may_be_picked():
    y = np.array([0] * 30 + [1] * 20 + [2] * 4)
    rows = blobs(54, 3, seed=1)
    given = {
        "test": (rows, y),
        "estimator": LogisticRegression(max_iter=200),
        "strategies": ["coreset"],
        "seeds": 3,
        "batch_sizes": [2],
    }

    def first(initial: str) -> list[list[int]]:
        found = pyal.simulate(rows, y, initial=initial, **given)
        starts = [[found.picks[name, seed][0].tolist() for seed in range(3)] for name in ("random", "coreset")]
        assert starts[0] == starts[1]
        return starts[0]

    balanced = first("9 by class")
    assert [np.bincount(y[start]).tolist() for start in balanced] == [[3, 3, 3]] * 3
    assert balanced[0] != balanced[1]
    assert [np.bincount(y[start])[2] for start in first("20 by class")] == [4] * 3
    for start in first("10 by class"):
        assert sorted(np.bincount(y[start])) == [3, 3, 4]
    assert first("5 by coreset")[0] == sorted(pyal.select(rows, strategy="coreset", batch_size=5, random_state=0))
    assert first("6 by random") == [
        sorted(np.random.default_rng(seed).choice(54, 6, replace=False).tolist()) for seed in range(3)
    ]
    for wrong, message in (
        ("5 by margin", "initial must be picked by a strategy that needs no model; 'margin' needs proba"),
        ("five", "initial must be a number, or text like '10 by class'"),
        ("5 by nothing", "strategy 'nothing' is unknown"),
        ("99 by class", r"initial must be in 1 .. 54 \(the rows of X\); got 99"),
    ):
        with pytest.raises(ValueError, match=message):
            pyal.simulate(rows, y, initial=wrong, **given)
