"""Small simulations on the digits, and what it means that two of them are the same."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

import pyal
from pyal.simulation.comparison import Comparison

DIGITS, DIGIT = load_digits(return_X_y=True)
X, Y = (DIGITS[:300] / 16).astype(np.float32), DIGIT[:300]
TEST = (DIGITS[300:500] / 16).astype(np.float32), DIGIT[300:500]
MODEL = LogisticRegression(C=1, max_iter=1000)
FAST = GaussianNB(var_smoothing=0.1)


def simulated(strategies=("margin",), **changes) -> Comparison:
    settings = {"test": TEST, "estimator": FAST, "seeds": 2, "initial": 10, "batch_sizes": 10, "budget": 30}
    return pyal.simulate(changes.pop("X", X), changes.pop("y", Y), strategies=strategies, **{**settings, **changes})


def same(one: Comparison, other: Comparison) -> None:
    """Equal but for the seconds."""
    for column in ("strategy", "seed", "round", "n_labels", "accuracy", "balanced_accuracy"):
        assert one.table[column].tolist() == other.table[column].tolist()
    assert plain(one.picks) == plain(other.picks)


def plain(picks) -> dict:
    return {key: [batch.tolist() for batch in batches] for key, batches in picks.items()}
