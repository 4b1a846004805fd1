"""DCoM by hand, and against a plain loop over all pairs of rows."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs

import pyal
from pyal.pool import Inputs
from pyal.strategies.balls import Nearness, labeled_balls

C = 3


def scaled(values) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return (values - values.min()) / (np.ptp(values) or 1.0)


def bisected(apart: np.ndarray, right: np.ndarray, threshold: float, largest: float) -> float:
    """The radius of one labelled row, from its distances to all rows and whether these are predicted as its label."""
    low, high = 0.0, largest
    for _ in range(5):
        middle = (low + high) / 2
        low, high = (middle, high) if right[apart < middle].mean() >= threshold else (low, middle)
    return round((low + high) / 2, 2)


def textbook(X, y, p, candidates, b, max_delta=1.1, midpoint=0.8, steepness=50.0) -> tuple[list[int], float]:
    """(picks, coverage) by loops over all that can be."""
    n, labeled, predicted = len(X), np.flatnonzero(y >= 0), p.argmax(axis=1)
    X = np.asarray(X, np.float64)
    apart = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    for j in range(n, -1, -1):  # the largest coverage that its own threshold leads to
        threshold = 0.4 + 0.2 * (j / n)
        radii = np.array([bisected(apart[i], predicted == y[i], threshold, max_delta) for i in labeled])
        inside = apart[labeled] < radii[:, None]
        inside[np.arange(len(labeled)), labeled] = True
        covered = inside.any(axis=0)
        if covered.sum() >= j:
            break
    coverage, radius = covered.mean(), radii.mean()
    s = (1 + np.exp(-steepness * (1 - midpoint))) / (1 + np.exp(-steepness * (coverage - midpoint)))
    s = round(float(s), 3)
    two = np.sort(p, axis=1)
    u = scaled(two[:, -2] - two[:, -1])
    u[labeled] = 0
    ball = (apart < radius) | np.eye(n, dtype=bool)
    picks: list[int] = []
    for _ in range(b):
        held = (ball & ~covered).sum(axis=1)
        held[labeled] = 0
        value = s * scaled(u) + (1 - s) * scaled(held)
        left = candidates(picks) if callable(candidates) else np.setdiff1d(candidates, picks)
        picks.append(int(max(left, key=lambda row: (value[row], u[row], -row))))
        covered, u[picks[-1]] = covered | ball[picks[-1]], 0
    return picks, coverage


def case(seed: int, sure: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows around three centres, labels of some and predictions that are right the more `sure` is."""
    rng = np.random.default_rng(seed)
    truth = np.arange(60) % C
    X = (np.eye(C)[truth] + 0.35 * rng.normal(size=(60, C))).astype(np.float32)
    p = rng.dirichlet(np.ones(C), 60) + sure * np.eye(C)[truth]
    y = np.full(60, -1)
    y[:: 9 - seed] = truth[:: 9 - seed]
    return X, y, p / p.sum(axis=1, keepdims=True)


def test_dcom_is_its_definition():
    coverages = set()
    for seed in range(8):
        for sure in (0.0, 0.5, 3.0):
            X, y, p = case(seed, sure)
            candidates = np.setdiff1d(np.arange(5, 60), np.flatnonzero(y >= 0))
            unit = X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True).astype(np.float32)
            for rows, metric in ((unit, None), (X, "euclidean")):
                for options in (
                    {},
                    {"max_delta": 0.5, "midpoint": 0.5, "steepness": 3.0},
                    {"midpoint": 0.9, "steepness": 2.0},
                ):
                    expected, coverage = textbook(rows, y, p, candidates, 10, **options)
                    coverages.add(round(coverage, 1))
                    asked = options | {"candidates": candidates, "proba": p, "batch_size": 10, "metric": metric}
                    given = X if metric is None else rows
                    assert pyal.select(given, y, strategy="dcom", **asked).tolist() == expected
    assert len(coverages) > 5  # from picks by balls alone to picks by margins alone


LINE = np.array([0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2, 5.0, 5.1, 9.0])[:, None]
ON_LINE = np.array([[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 3 + [[0.6, 0.4], [0.7, 0.3], [0.5, 0.5]])


def test_dcom_by_hand():
    """Label 0 at row 0; predicted 0 are all rows but 4, 5 and 6 at 1.0, 1.1 and 1.2.

    Balls around row 0: at 0.55, at 0.825 and at 0.9625 the rows 0 to 3, all of them 0: the upper half each time; at
    1.03125 row 4 too, 4 of 5 pure; at 1.065625 the same. What is left is (1.065625, 1.1): 1.0828125, rounded to 1.08.
    0.8 is more than 0.4 + 0.2 c whatever c. Five of ten rows are covered, 0 to 4.
    s = (1 + e^-10) / (1 + e^15) = 0.000, so that balls alone count. Within 1.08 rows 2 to 6 hold 5 and 6, row 1 (0.1)
    holds 5 alone, 7 and 8 hold each other and 9 itself. Margins are 0.8 up to row 3, 0.6, 0.6, 0.6, 0.2, 0.4 and 0.
    Of rows with two, 7 is the most unsure and covers 8 too. Then 4 is, before 5 and 6. Then 9 covers itself, and as
    nothing is left to cover, the most unsure follow: 8.
    """
    y = np.full(10, -1)
    y[0] = 0
    given = {"strategy": "dcom", "proba": ON_LINE, "metric": "euclidean"}
    assert pyal.select(LINE, y, batch_size=4, **given).tolist() == [7, 4, 9, 8]
    # midpoint 0: s = 1.000, and what is unsure comes first: margins 0, 0.2, 0.4, 0.6 and 0.8 in this order
    found = pyal.select(LINE, y, batch_size=9, midpoint=0.0, **given)
    assert found.tolist() == [9, 7, 8, 4, 5, 6, 1, 2, 3]


def test_labelled_rows_count_in_no_scale():
    """Row 0 has label 0 and is predicted 1 as all are: its radius is 0.02. Row 5 has label 1, alone: 1.08. The mean is
    0.55, within which row 0 has rows 1 to 4, each of these itself, and 6 and 7 have each other.

    Two of eight rows are covered. With a = 1 and k = log 4 / (1 - 2/8), s = 2 / (1 + 4) = 0.4. Margins are 0.1 at rows
    0 to 4, 1 at row 5 and 0.55 at 6 and 7: u is 1 at rows 1 to 4 and 0.45 / 0.9 = 0.5 at 6 and 7. Row 6 is worth
    0.4 0.5 + 0.6 2/2 = 0.8, row 1 0.4 + 0.6 1/2 = 0.7. Were row 0 a row of four, it would be 0.5 and 0.55.
    """
    X = np.array([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5], [100, 0], [50, 0], [50.1, 0]])
    p = np.array([[0.45, 0.55]] * 5 + [[0.0, 1.0]] + [[0.225, 0.775]] * 2)
    y = [0, -1, -1, -1, -1, 1, -1, -1]
    given = {"midpoint": 1.0, "steepness": float(np.log(4) / 0.75), "metric": "euclidean", "batch_size": 2}
    # then 6 and 7 are covered: row 7 is worth 0.4 0.5, row 1 0.4 + 0.6
    assert pyal.select(X, y, labeled=[0, 5], strategy="dcom", proba=p, **given).tolist() == [6, 1]


def balls(rows, y, p, largest=1.1):
    pool = Inputs(rows, y, labeled=np.flatnonzero(y >= 0), proba=p).pool("euclidean")
    near = Nearness(pool, np.arange(pool.n))
    return labeled_balls(near, pool.labeled, np.asarray(pool.y), pool.predicted, largest)


def test_radii_by_hand():
    """Row 0 as above. Labelled 1 at row 3 (0.3), predicted 0: at 0.55 rows 0 to 3 are all 0, 0 % pure; so are smaller
    balls: the lower half each time leaves (0, 0.034375): 0.0171875, rounded to 0.02. It covers itself.
    """
    y = np.array([0, -1, -1, 1, -1, -1, -1, -1, -1, -1])
    found = balls(LINE, y, ON_LINE)
    assert found.radii.tolist() == [1.08, 0.02]
    assert np.flatnonzero(found.covered).tolist() == [0, 1, 2, 3, 4]
    assert found.coverage == 0.5
    # Row 4 at 1.0, label 1. At 2.0 rows 0 to 6, 3/7 = 0.43: pure enough for c = 0.1. At 1.0 rows 1 to 6, 1/2: pure
    # enough for c = 0.5, and (1, 1.125) is left, of 1.06, which covers 7 of 10. But c = 0.6 asks for 0.52: from 1.0
    # down, then 0.5 (4 to 6: 1), 0.75 (3 to 6: 0.75) and 0.875 (2 to 6: 0.6) up. (0.875, 1) is left: 0.9375, which
    # covers rows 1 to 6, 6 of 10. c = 0.7 asks for 0.54, which leads to the same ball and not to 0.7.
    other = balls(LINE, np.where(np.arange(10) == 4, 1, -1), ON_LINE, 4.0)
    assert other.radii.tolist() == [0.94]
    assert other.coverage == 0.6


def test_the_smallest_ball_is_pure_enough_where_nothing_is():
    """No radius is below the middle of the lowest interval, and a row covers itself even where that rounds to 0."""
    p = np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1]])
    found = balls(np.array([[0.0], [0.05], [3.0]]), np.array([0, -1, -1]), p, 0.1)
    assert found.radii.tolist() == [0.0]
    assert found.covered.tolist() == [True, False, False]


@pytest.mark.parametrize("offset", [0.0, 3e3])
def test_near_is_told_exactly(offset):
    """Distances of which many are exactly a radius, on rows whose products in float32 cannot tell."""
    X = offset + np.random.default_rng(0).integers(0, 4, (200, 6)).astype(np.float64)
    X[0] *= -1
    pool = Inputs(X).pool("euclidean")
    near, every = Nearness(pool, np.arange(200)), np.arange(200)
    square = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    radii = np.sqrt(np.array([4.0, 9.0, 25.0]))
    levels = np.empty((200, 200), int)
    for of, to, found in near.levels(every, every, radii):
        levels[of, to] = found
    np.testing.assert_array_equal(levels, (square[..., None] >= [4, 9, 25]).sum(axis=2))
    np.testing.assert_array_equal(near.counts(every[3:], every[:150], 3.0), (square[3:, :150] < 9).sum(axis=1))
    np.testing.assert_array_equal(near.within(7, every[5:], 2.0), 5 + np.flatnonzero(square[7, 5:] < 4))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_rows_of_any_size(size):
    """Only radii have a scale: rows of a size that float32 cannot square lie all in a ball, or all outside."""
    X, y, p = case(1, 0.5)
    rows = X.astype(np.float64) * size
    asked = {"proba": p, "batch_size": 6, "metric": "euclidean", "strategy": "dcom"}
    expected = textbook(rows, y, p, np.flatnonzero(y < 0), 6)[0]
    assert pyal.select(rows, y, **asked).tolist() == expected


def test_begins_as_probcover():
    X = blobs(80, 3)
    for delta in (0.75, 0.4):
        given = {"batch_size": 6, "random_state": 0, "delta": delta}
        expected = pyal.select(X, strategy="probcover", **given).tolist()
        assert pyal.select(X, strategy="dcom", **given).tolist() == expected


def test_a_subset_is_a_pool_of_its_own():
    X, y, p = case(2, 0.5)
    drawn = np.sort(np.random.default_rng(0).choice(np.flatnonzero(y < 0), 20, replace=False))
    rows = np.union1d(drawn, np.flatnonzero(y >= 0))
    given = {"strategy": "dcom", "batch_size": 6, "random_state": 0}
    expected = rows[pyal.select(X[rows], y[rows], proba=p[rows], **given)]
    assert pyal.select(X, y, proba=p, subset=20, **given).tolist() == expected.tolist()
    everything = pyal.select(X, y, proba=p, subset=None, **given).tolist()
    assert pyal.select(X, y, proba=p, **given).tolist() == everything


@pytest.mark.parametrize("min_distance", [None, 0.4])
@pytest.mark.parametrize("midpoint", [0.8, 0.3])
def test_rules_hold_as_if_other_rows_were_no_candidates(min_distance, midpoint):
    X, y, p = case(3, 0.5)
    groups = np.arange(60) // 6 if min_distance is None else np.arange(60)
    apart = np.sqrt(((X[:, None] - X[None]).astype(np.float64) ** 2).sum(axis=2))

    def may_follow(picks: list[int]) -> np.ndarray:
        left = np.setdiff1d(np.flatnonzero(y < 0), picks)
        near = (apart[left][:, [*picks, *np.flatnonzero(y >= 0)]] < (min_distance or 0)).any(axis=1)
        return left[~near & ~np.isin(groups[left], groups[picks])]

    expected = textbook(X, y, p, may_follow, 6, midpoint=midpoint)[0]
    rules = {"groups": groups, "max_per_group": 1, "min_distance": min_distance}
    given = {"strategy": "dcom", "proba": p, "midpoint": midpoint, "metric": "euclidean", "batch_size": 6}
    assert pyal.select(X, y, **given, **rules).tolist() == expected
    assert pyal.select(X, y, **given).tolist() != expected  # they made a difference


@pytest.mark.parametrize(
    ("option", "message"),
    [({"delta": 0.0}, r"delta must be a positive distance or None; got 0\.0"),
     ({"delta": np.inf}, "delta must be a positive distance or None; got inf"),
     ({"max_delta": 0.05}, r"max_delta must be a distance of at least 0\.1, as radii have two decimals; got 0\.05"),
     ({"max_delta": np.nan}, "max_delta must be a distance of at least"),
     ({"midpoint": 1.1}, r"midpoint must lie in \[0, 1\]; got 1\.1"),
     ({"steepness": 0.0}, r"steepness must be positive; got 0\.0"),
     ({"steepness": np.inf}, "steepness must be positive; got inf")],
)  # fmt: skip
def test_what_is_wrong_is_named(option, message):
    p, y = np.full((5, 2), 0.5), [0, 1, -1, -1, -1]
    for known in ({}, {"y": y, "proba": p}):
        with pytest.raises(ValueError, match=message):
            pyal.select(np.eye(5), strategy="dcom", **known, **option)


def test_what_cannot_be_used_is_named():
    p, y = np.full((5, 3), 1 / 3), ["cat", "dog", None, None, None]
    with pytest.raises(ValueError, match=r"y must hold column numbers of proba, 0 \.\. 2, or all its 3 classes"):
        pyal.select(np.eye(5), y, strategy="dcom", proba=p)
    with pytest.raises(ValueError, match="subset must be a number, or a multiple of the batch"):
        pyal.select(np.eye(5), [0, 1, -1, -1, -1], strategy="dcom", proba=p, subset="some")
