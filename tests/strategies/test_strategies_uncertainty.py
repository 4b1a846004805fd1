"""CDAL by hand and against its definition."""

from __future__ import annotations

import numpy as np
import pytest

import pyal


def textbook(p: np.ndarray, labeled: list[int], candidates: list[int], b: int, first: int | None) -> list[int]:
    """Greedy k-center with the symmetric divergence between all pairs of rows."""
    p = np.maximum(p, 1e-12)
    kl = (p[:, None] * np.log(p[:, None] / p[None])).sum(axis=-1)
    apart, picks = (kl + kl.T) / 2, [] if first is None else [first]
    while len(picks) < b:
        left = [i for i in candidates if i not in picks]
        picks.append(max(left, key=lambda i: min(apart[i, j] for j in [*labeled, *picks])))
    return picks


def test_cdal_by_hand():
    """From 0.5, which is labelled: 0.9 is 1/2 (0.4 log 9) = 0.44 away, 0.7 1/2 (0.2 log 7/3) = 0.085 and 0.2
    1/2 (0.3 log 4) = 0.21. From 0.9 both are farther: 0.7 is 1/2 (0.2 log 27/7) = 0.13 away.
    """
    p = np.array([0.5, 0.9, 0.7, 0.2])
    given = {"strategy": "cdal", "proba": np.stack([p, 1 - p], axis=1)}
    assert pyal.select(np.zeros((4, 1)), labeled=[0], batch_size=3, **given).tolist() == [1, 3, 2]
    assert pyal.select(np.zeros((4, 1)), labeled=[0], candidates=[2, 3], **given).tolist() == [3]
    firsts = {int(pyal.select(np.zeros((4, 1)), random_state=s, **given)[0]) for s in range(40)}
    assert firsts == {0, 1, 2, 3}


def test_cdal_clamps_probabilities_of_zero():
    """From (1, 0), (0.5, 0.5) is 1/2 (0.5 log 2 + 0.5 log (0.5e12)) = 6.9 away, and (0, 1) is log 1e12 = 27.6."""
    p = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]]
    assert pyal.select(np.zeros((4, 1)), strategy="cdal", proba=p, labeled=[0], batch_size=3).tolist() == [2, 1, 3]


@pytest.mark.parametrize("n_labeled", [0, 1, 9])
def test_cdal_is_k_center_of_the_divergences(monkeypatch, n_labeled):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        p = rng.dirichlet(np.full(4, 0.3), 60)
        p[rng.random(60) < 0.2] = [1, 0, 0, 0]
        labeled = rng.choice(60, n_labeled, replace=False)
        candidates = np.setdiff1d(np.arange(5, 60), labeled)
        first = None if n_labeled else int(np.random.default_rng(seed).choice(candidates))
        given = {"proba": p, "labeled": labeled, "candidates": candidates, "batch_size": 14, "random_state": seed}
        expected = textbook(p, labeled.tolist(), candidates.tolist(), 14, first)
        assert pyal.select(np.zeros((60, 1)), strategy="cdal", **given).tolist() == expected
        with monkeypatch.context() as patched:
            patched.setattr("pyal.arrays.blocks.BLOCK_ELEMENTS", 40)  # many blocks, as in a large pool
            assert pyal.select(np.zeros((60, 1)), strategy="cdal", **given).tolist() == expected


def test_cdal_takes_equal_rows_from_the_lowest():
    p = np.tile([0.3, 0.7], (8, 1))
    assert pyal.select(np.zeros((8, 1)), strategy="cdal", proba=p, labeled=[0, 3], batch_size=3).tolist() == [1, 2, 4]
