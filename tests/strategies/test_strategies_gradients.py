"""Strategies on the last layer's gradients: by hand, and against the textbook with its matrices written out."""

from __future__ import annotations

import numpy as np
import pytest

import pyal
from pyal.arrays import as_matrix
from pyal.strategies import fisher
from pyal.strategies.fisher import Factors


def factors_of(h: np.ndarray, p: np.ndarray, form: str, top: int | None) -> np.ndarray:
    """(N, k, width), written out."""
    if form == "binary":
        most = p.max(axis=1)
        return (np.sqrt(most * (1 - most))[:, None] * h)[:, None, :]
    found = []
    for row, q in zip(h, p, strict=True):
        classes = sorted(range(len(q)), key=lambda c: -q[c])[: top or len(q)]
        found.append([np.sqrt(q[c]) * np.kron(np.eye(len(q))[c] - q, row) for c in classes])
    return np.array(found)


def textbook(v: np.ndarray, labeled, candidates, b: int, ridge: float, oversample: float) -> list[int]:
    """Every trial inverts its own M: ridge I + n / (n + b) F_L + 1 / (n + b) sum of the picks."""
    n = len(labeled)
    F = np.mean([a.T @ a for a in v], axis=0)
    M = ridge * np.eye(v.shape[2])
    if n:
        M += n / (n + b) * np.mean([v[i].T @ v[i] for i in labeled], axis=0)

    def trace(rows) -> float:
        return np.trace(np.linalg.inv(M + sum(v[i].T @ v[i] for i in rows) / (n + b)) @ F)

    picks: list[int] = []
    while len(picks) < min(max(b, int(oversample * b)), len(candidates)):
        picks.append(min((i for i in candidates if i not in picks), key=lambda i: trace([*picks, i])))
    while len(picks) > b:
        picks.remove(min(picks, key=lambda i: trace([j for j in picks if j != i])))
    return picks


@pytest.mark.parametrize("n_labeled", [0, 1, 5])
@pytest.mark.parametrize(("form", "top"), [("binary", None), ("classes", None), ("classes", 2), ("classes", 1)])
def test_bait_picks_as_the_textbook_does(form, top, n_labeled):
    dropped = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        h, p = rng.standard_normal((30, 4)) * 3, rng.dirichlet(np.full(3, 0.4), 30)
        labeled = rng.choice(30, n_labeled, replace=False)
        candidates = np.setdiff1d(np.arange(2, 30), labeled)
        v = factors_of(h, p, form, top)
        for ridge, oversample, b in ((1.0, 2.0, 5), (1e-3, 2.0, 4), (0.1, 1.0, 6), (0.1, 3.0, 3), (1.0, 2.0, 20)):
            given = {"proba": p, "labeled": labeled, "candidates": candidates, "fisher": form, "top": top}
            given |= {
                "ridge": ridge,
                "oversample": oversample,
                "batch_size": b,
                "strategy": "bait",
                "metric": "euclidean",
            }
            expected = textbook(v, labeled, candidates, b, ridge, oversample)
            assert pyal.select(h, **given).tolist() == expected
            assert pyal.select(np.ones((30, 1)), features=h, **given).tolist() == expected
            dropped += expected != textbook(v, labeled, candidates, b, ridge, 1.0)
    assert dropped > 3  # the way back has removed rows that were added early


def test_bait_by_hand():
    """p (1 - p) is 1/4, so that the Fisher matrices are diag(1, 0) twice, diag(0, 9/16) and diag(0, 1/16).

    F is diag(1/2, 5/32). From ridge 1 and for one pick: row 0 takes 1/2 (1 - 1/2) = 0.25 from the trace and row 2
    5/32 (1 - 16/25) = 0.056. Where 0 is labelled and the ridge is 0.1, M is diag(0.6, 0.1): row 1 takes
    1/2 (1/0.6 - 1/1.1) = 0.38, and row 2 5/32 (1/0.1 - 1/0.38125) = 1.15.
    """
    X, P = [[2.0, 0.0], [2.0, 0.0], [0.0, 1.5], [0.0, 0.5]], np.full((4, 2), 0.5)
    given = {"strategy": "bait", "metric": "euclidean", "proba": P, "oversample": 1.0, "ridge": 1.0}
    assert pyal.select(X, **given).tolist() == [0]
    # for two picks each counts half: 1/2 (1/1.5 - 1/2) = 0.083 of row 1 against 5/32 (1 - 1/1.28125) = 0.034 of row 2
    assert pyal.select(X, batch_size=2, **given).tolist() == [0, 1]
    assert pyal.select(X, labeled=[0], **given).tolist() == [1]
    assert pyal.select(X, labeled=[0], **given | {"ridge": 0.1}).tolist() == [2]
    # a sure row has p (1 - p) = 0.09: 0 takes 0.18 (1 - 1/1.36) = 0.048 then, against the 0.056 of row 2
    sure = [[0.9, 0.1], [0.9, 0.1], [0.5, 0.5], [0.5, 0.5]]
    assert pyal.select(X, **given | {"proba": sure}).tolist() == [2]


def test_bait_takes_equal_rows_from_the_lowest_and_certain_ones_too():
    rows, half = np.ones((30, 3)), np.full((30, 2), 0.5)
    for form in ("binary", "classes"):
        given = {"strategy": "bait", "metric": "euclidean", "batch_size": 4, "fisher": form}
        assert pyal.select(rows, proba=half, **given).tolist() == [0, 1, 2, 3]
        assert pyal.select(rows, proba=np.eye(2)[np.arange(30) % 2], **given).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("form", ["binary", "classes"])
def test_bait_keeps_to_its_picks_at_any_scale_where_the_ridge_follows(form):
    """A ridge s^2 for rows times s leaves the trace as it is, from where float32 has no squares to the other end."""
    rng = np.random.default_rng(3)
    h, p = rng.standard_normal((40, 5)), rng.dirichlet(np.full(3, 0.5), 40)
    given = {"strategy": "bait", "metric": "euclidean", "proba": p, "batch_size": 6, "labeled": [1, 2], "fisher": form}
    expected = pyal.select(h, ridge=0.01, **given)
    for scale in (1e-140, 1e-10, 1e6, 1e140):
        np.testing.assert_array_equal(pyal.select(h * scale, ridge=0.01 * scale**2, **given), expected)


def test_bait_is_what_it_says_of_several_blocks(monkeypatch):
    """Blocks of a few rows, as in a large pool, give what one block gives."""
    rng = np.random.default_rng(0)
    h, z = rng.standard_normal((50, 6)), rng.standard_normal((50, 2, 3))
    v = np.einsum("ikw,id->ikwd", z, h).reshape(50, 2, 18)
    monkeypatch.setattr("pyal.arrays.blocks.BLOCK_ELEMENTS", 100)
    factors = Factors(z, as_matrix(h))
    columns, middle, counts = rng.standard_normal((18, 4)), rng.standard_normal((18, 18)), np.arange(50) % 3 > 0
    middle += middle.T
    np.testing.assert_allclose(factors.times(columns), v @ columns)
    np.testing.assert_allclose(factors.sandwiched(middle), v @ middle @ v.transpose(0, 2, 1), atol=1e-9)
    np.testing.assert_allclose(factors.summed(counts), np.einsum("ika,ikb->ab", v[counts], v[counts]), atol=1e-9)
    np.testing.assert_allclose(factors.of(np.array([3, 1])), v[[3, 1]])


def test_bait_raises_a_ridge_that_float64_cannot_invert():
    rng = np.random.default_rng(3)
    h, p = rng.standard_normal((40, 5)), rng.dirichlet(np.full(3, 0.5), 40)
    given = {"strategy": "bait", "metric": "euclidean", "proba": p, "batch_size": 6}
    lowest = float((p.max(1) * (1 - p.max(1)) * (h**2).sum(1)).max()) / fisher.LARGEST_RATIO
    np.testing.assert_array_equal(pyal.select(h, ridge=1e-300, **given), pyal.select(h, ridge=lowest, **given))


@pytest.mark.parametrize(
    ("option", "message"),
    [({"fisher": "full"}, "fisher must be 'binary' or 'classes'; got 'full'"),
     ({"top": 2}, "top must be None where fisher='binary', which looks at one class; got 2"),
     ({"fisher": "classes", "top": 0}, r"top must lie in 1 \.\. 3, the classes; got 0"),
     ({"fisher": "classes", "top": 4}, r"top must lie in 1 \.\. 3, the classes; got 4"),
     ({"ridge": 0.0}, r"ridge must be positive; got 0\.0"),
     ({"ridge": np.inf}, "ridge must be positive; got inf"),
     ({"oversample": 0.5}, r"oversample must be at least 1; got 0\.5"),
     ({"oversample": np.nan}, "oversample must be at least 1; got nan")],
)  # fmt: skip
def test_bait_names_what_is_wrong(option, message):
    with pytest.raises(ValueError, match=message):
        pyal.select(np.ones((5, 2)), strategy="bait", proba=np.full((5, 3), 1 / 3), **option)


def test_bait_of_all_classes_says_how_wide_it_would_be():
    with pytest.raises(ValueError, match=r"classes times columns up to 4096; got 3 \* 1366 = 4098"):
        pyal.select(np.ones((5, 1366)), strategy="bait", proba=np.full((5, 3), 1 / 3), fisher="classes")
