"""select() with every strategy, once with nothing labelled and once with 100 labels: seconds and peak memory, no peer.

Strategies that need probabilities are given those of a head on 100 labels; committees five passes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pools import Pool

import pyal
from pyal.strategies import Strategy

BATCH_SIZE, LABELED, CLASSES, PASSES = 100, 100, 10, 5


def model_of(X: np.ndarray, passes: bool) -> np.ndarray:
    """(N, C) probabilities of a linear model, or (T, N, C) of several that are like each other."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((X.shape[1], CLASSES)).astype(np.float32)
    apart = 0.3 * rng.standard_normal((PASSES if passes else 1, *weights.shape)).astype(np.float32)
    logits = X @ (weights + apart)
    logits *= 3 / logits.std()
    proba = np.exp(logits - logits.max(axis=-1, keepdims=True))
    proba /= proba.sum(axis=-1, keepdims=True)
    return proba if passes else proba[0]


@pytest.mark.parametrize("labeled", [0, LABELED])
@pytest.mark.parametrize("strategy", pyal.list_strategies(), ids=lambda s: s.name)
def test_select(versus: Callable[..., Any], pool: Pool, strategy: Strategy, labeled: int, n_jobs: int) -> None:
    X, batch_size = pool.X, min(BATCH_SIZE, len(pool.X) // 20)
    given: dict[str, Any] = {}
    if labeled:
        given["y"] = np.full(len(X), -1)
        given["y"][:: len(X) // labeled] = np.arange(len(given["y"][:: len(X) // labeled])) % CLASSES
    needs = strategy.needed({}, labeled=labeled > 0)
    if "proba" in needs:
        given["proba"] = model_of(X, strategy.passes)
    if "views" in needs:
        given["views"] = [X, X[:, ::-1].copy()]

    def ours() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # noise has no balls to speak of
            return pyal.select(X, strategy=strategy.name, batch_size=batch_size, random_state=0, n_jobs=n_jobs, **given)

    picks = ours()
    assert len(set(picks.tolist())) == batch_size
    versus("select", f"{strategy.name} {pool}, b={batch_size}, {labeled} labelled", ours)
