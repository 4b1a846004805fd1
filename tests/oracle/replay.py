"""A kernel's own picks, replayed against reference.py.

Each pick must be as good as the reference's best given the picks before it, so that one near-tie does not fail all that
follow. Tolerances are given by the caller (tolerance.py); 0 stands for data on which the arithmetic is exact.
"""

from __future__ import annotations

import numpy as np

from oracle import reference
from oracle.reference import nearest_sqdist, positions_of, sqdist_between, sqdist_to, values


def check_knn(X, k: int, sqdist, positions, *, queries=None, groups=None, rtol=0.0, expected=None) -> None:
    """Each sqdist belongs to its position and is the r-th smallest, within rtol; rtol = 0 asks for equal positions."""
    X = values(X)
    rows = X if queries is None else values(queries)
    sqdist, positions = np.asarray(sqdist), np.asarray(positions)
    assert positions.dtype == np.int64
    assert sqdist.shape == positions.shape == (len(rows), k), (sqdist.shape, positions.shape)
    nearest, lowest = expected or reference.knn(X, k, queries=queries, groups=groups)
    np.testing.assert_array_equal(positions == -1, lowest == -1)
    np.testing.assert_allclose(sqdist, nearest, rtol=rtol, atol=0)
    if rtol == 0:
        np.testing.assert_array_equal(positions, lowest)
    for i, row in enumerate(rows):
        found = positions[i][positions[i] >= 0]
        assert len(np.unique(found)) == len(found), (i, "a neighbour came twice")
        assert queries is not None or i not in found, (i, "a row is its own neighbour")
        assert groups is None or (np.asarray(groups)[found] == np.asarray(groups)[i]).all(), (i, "of another group")
        np.testing.assert_allclose(sqdist[i, : len(found)], sqdist_to(X[found], row), rtol=rtol, atol=0)
        order = np.lexsort((found, sqdist[i, : len(found)]))
        np.testing.assert_array_equal(order, np.arange(len(found)), err_msg=f"row {i} is not in order")


def check_picks(positions, batch_size: int, n: int, candidates=None) -> None:
    """batch_size distinct int64 positions, candidates all of them."""
    positions = np.asarray(positions)
    assert positions.dtype == np.int64
    assert positions.shape == (batch_size,), positions.shape
    assert len(np.unique(positions)) == batch_size, "a position was picked twice"
    assert np.isin(positions, positions_of(candidates, n, "all")).all(), "a position is no candidate"


def check_lowest(X: np.ndarray, pick: int, left: np.ndarray, step: int) -> None:
    """Equal rows tie exactly in any precision, so the lowest of them must be picked first."""
    twins = left[(X[left] == X[pick]).all(axis=1)]
    assert pick == twins.min(), f"pick {step} is {pick}, but the equal row {twins.min()} is lower"


def check_k_center_greedy(X, positions, sqradius, *, covered_by=None, candidates=None, start=None, rtol=0.0) -> None:
    """Each pick's sqdist to what was covered is the largest, within rtol (of the same relative error in every sqdist).

    With rtol = 0 (data on which the arithmetic is exact) the lowest of all ties must have been picked.
    """
    X = values(X)
    check_picks(positions, len(positions), len(X), candidates)
    nearest = nearest_sqdist(X, X[positions_of(covered_by, len(X), "none")])
    left = positions_of(candidates, len(X), "all")
    for t, pick in enumerate(np.asarray(positions)):
        if t == 0 and start is not None:
            assert pick == start
        else:
            best = nearest[left].max()
            assert nearest[pick] >= best * (1 - 2 * rtol) or nearest[pick] == best, (t, pick, nearest[pick], best)
            check_lowest(X, pick, left, t)
            assert rtol or pick == left[np.argmax(nearest[left])], (t, pick, "ties go to the lowest position")
        np.testing.assert_allclose(sqradius[t], nearest[pick], rtol=rtol, atol=0, err_msg=f"sqradius of pick {t}")
        left = left[left != pick]
        nearest = np.minimum(nearest, sqdist_to(X, X[pick]))


def check_ball_cover(X, positions, gains, radius: float, *, covered_by=None, candidates=None) -> None:
    """Counts are whole numbers: the picks and the gains must equal the reference's, step by step."""
    check_picks(positions, len(positions), len(X), candidates)
    expected = reference.ball_cover(X, len(positions), radius, covered_by=covered_by, candidates=candidates)
    for t, (pick, gain) in enumerate(zip(*expected, strict=True)):
        assert (positions[t], gains[t]) == (pick, gain), (t, (positions[t], gains[t]), (pick, gain))


def check_herding(
    X, positions, gains, *, kernel="rbf", bandwidth=1.0, weights=None, covered_by=None, candidates=None, atol=0.0
) -> None:
    """Each gain is the pick's own and the largest, within atol: the error of a kernel value, times the mean weight."""
    X = values(X)
    check_picks(positions, len(positions), len(X), candidates)
    weights = np.ones(len(X)) if weights is None else values(weights)
    atol = atol * weights.mean()
    kernel = reference.SIMILARITIES[kernel](sqdist_between(X, X) / bandwidth**2)
    covered = positions_of(covered_by, len(X), "none")
    m = kernel[covered].max(axis=0) if len(covered) else np.zeros(len(X))
    left = positions_of(candidates, len(X), "all")
    for t, pick in enumerate(np.asarray(positions)):
        gain = (weights * np.maximum(0, kernel[left] - m)).mean(axis=1)
        own = gain[left == pick][0]
        assert own >= gain.max() - 2 * atol, (t, pick, own, gain.max())
        assert abs(gains[t] - own) <= atol + 1e-12 * own, (t, pick, gains[t], own)
        check_lowest(X, pick, left, t)
        left = left[left != pick]
        m = np.maximum(m, kernel[pick])
