"""Subsets of the candidates: their sizes, who picks them, and that a strategy looks at nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from sklearn.linear_model import LogisticRegression

import pyal
from pyal.strategies.subsets import subset_of

N = 80
X = blobs(N, 4, seed=2)
P = np.random.default_rng(1).dirichlet(np.ones(3), N)
Y = np.where(np.arange(N) < 6, np.arange(N) % 3, -1)


@pytest.mark.parametrize(
    ("subset", "batch_size", "expected"),
    [(50, 5, 50), (3, 5, 1000), (5000, 5, 1000), ("10b", 5, 50), ("10b by badge", 7, 70), ("300 by coreset", 5, 300)],
)
def test_its_size(subset, batch_size, expected):
    assert subset_of(subset).size(batch_size, 1000) == expected


@pytest.mark.parametrize("wrong", ["10", "b", "0b", "-3b", "10b by", "10b badge", "by badge", "1.5b", ""])
def test_text_of_another_form_is_refused(wrong):
    with pytest.raises(ValueError, match="subset must be a number, or a multiple of the batch like '10b'; and may be"):
        subset_of(wrong)


def test_other_values_are_refused():
    with pytest.raises(TypeError, match=r"subset must be an integer; got 1\.5"):
        subset_of(1.5)
    with pytest.raises(ValueError, match="subset must be at least 1; got 0"):
        subset_of(0)
    with pytest.raises(ValueError, match="strategy 'badg' is unknown; did you mean 'badge'"):
        subset_of("10b by badg")


def test_a_strategy_looks_at_what_another_has_picked():
    given = {"y": Y, "batch_size": 3, "width": 8, "random_state": 0}
    chosen = pyal.select(X, labeled=range(6), strategy="coreset", batch_size=12)
    picks = pyal.select(X, strategy="lookahead", subset="12 by coreset", **given)
    assert set(picks) <= set(chosen)
    assert picks.tolist() != pyal.select(X, strategy="lookahead", subset=12, **given).tolist()
    with pytest.raises(ValueError, match="strategy 'badge' needs proba=, which is missing"):
        pyal.select(X, strategy="lookahead", subset="12 by badge", **given)
    picks = pyal.select(X, strategy="lookahead", subset="4b by least_confidence", proba=P, **given)
    ranked = pyal.select(X, Y, strategy="least_confidence", proba=P, batch_size=12)
    assert set(picks) <= set(ranked)


def rounds(loop: pyal.Loop, count: int) -> list[list[int]]:
    batches = []
    for _ in range(count):
        batch = loop.query()
        loop.teach(batch, batch % 3)
        batches.append(batch.tolist())
    return batches


def test_a_loop_asks_its_model_for_it():
    seen = []

    def spy(pool, batch_size, *, rng):  # noqa: ARG001
        seen.append(pool)
        return pool.candidates[:batch_size]

    loop = pyal.Loop(X, LogisticRegression(), spy, 4, subset="3b by least_confidence", random_state=0)
    rounds(loop, 3)
    assert [len(pool.candidates) for pool in seen] == [12, 12, 12]
    for pool in seen[1:]:
        rest = np.setdiff1d(np.arange(N), pool.labeled)
        least_sure = rest[np.argsort(pool.proba[rest].max(axis=1), kind="stable")[:12]]
        assert sorted(least_sure) == pool.candidates.tolist()


def test_a_model_is_fitted_where_only_the_subset_asks_for_one():
    loop = pyal.Loop(X, LogisticRegression(), "coreset", 4, subset="3b by margin", random_state=0)
    rounds(loop, 2)
    assert loop.history[1]["seconds"].keys() >= {"fit", "predict"}
    inner = pyal.Loop(X, LogisticRegression(), "lookahead", 4, y=Y, width=8, subset="4b by margin", random_state=0)
    rounds(inner, 2)
    with pytest.raises(ValueError, match="subset='3b by margin' needs estimator=, which is missing: margin needs a mo"):
        pyal.Loop(X, strategy="coreset", subset="3b by margin")


def test_a_loop_goes_on_with_it(tmp_path):
    given = {"strategy": "coreset", "batch_size": 4, "subset": "3b by margin", "random_state": 1}
    loop = pyal.Loop(X, LogisticRegression(), workdir=tmp_path / "run", **given)
    before = rounds(loop, 2)
    loop.close()
    with pyal.Loop.resume(tmp_path / "run", X=X) as resumed:
        after = rounds(resumed, 2)
    assert before + after == rounds(pyal.Loop(X, LogisticRegression(), **given), 4)
