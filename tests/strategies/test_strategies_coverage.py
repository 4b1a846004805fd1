"""UHerding and weighed ProbCover, by hand and against their definitions, and the temperature that calibrates."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs, integers
from oracle.reference import SIMILARITIES, herding, sqdist_between

import pyal
from pyal.strategies.calibration import calibration_error, fitted_temperature, tempered


def error_by_bins(p: np.ndarray, y: np.ndarray) -> float:
    """The expected calibration error, bin by bin."""
    sure, right, total = p.max(axis=1), p.argmax(axis=1) == y, 0.0
    for b in range(15):
        inside = (sure > b / 15) & (sure <= (b + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    return total


def softened(p: np.ndarray, t: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        powers = np.exp(np.log(p) / t)
    return powers / powers.sum(axis=1, keepdims=True)


def textbook(X, y, p, candidates, b, uncertainty, bandwidth, temperature, kernel="rbf") -> list[int]:
    labeled = np.flatnonzero(y >= 0)
    if temperature is None:
        grid = [1 + i / 10 for i in range(190)]
        temperature = min(grid, key=lambda t: round(error_by_bins(softened(p[labeled], t), y[labeled]), 12))
    p = softened(p, temperature)
    two = np.sort(p, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = {"margin": 1 - two[:, -1] + two[:, -2], "least_confidence": 1 - two[:, -1],
                 "entropy": -np.nansum(p * np.log(p), axis=1)}[uncertainty]  # fmt: skip
    score[labeled] = 0
    if bandwidth is None:
        apart = sqdist_between(X[labeled], X[labeled])
        bandwidth = np.sqrt(apart[apart > 1e-12].min())
    given = {"kernel": kernel, "bandwidth": bandwidth, "weights": score}
    return herding(X, b, **given, covered_by=labeled, candidates=candidates)[0].tolist()


@pytest.mark.parametrize("uncertainty", ["margin", "entropy", "least_confidence"])
def test_uherding_is_its_definition(uncertainty):
    for seed in range(5):
        X, rng = blobs(70, 4, seed=seed).astype(np.float64), np.random.default_rng(seed)
        p, y = rng.dirichlet(np.full(3, 0.3), 70), np.full(70, -1)
        y[rng.choice(70, 12, replace=False)] = np.arange(12) % 3
        if seed == 4:  # each labelled row twice, and only those at two places
            y[np.flatnonzero(y >= 0)[4:]] = -1
            X[np.flatnonzero(y >= 0)[3]] = X[np.flatnonzero(y >= 0)[2]]
        X[np.flatnonzero(y >= 0)[1]] = X[np.flatnonzero(y >= 0)[0]]  # equal labelled rows have no distance
        candidates = np.setdiff1d(np.arange(4, 70), np.flatnonzero(y >= 0))
        unit = X / np.linalg.norm(X, axis=1, keepdims=True)
        for bandwidth, temperature in ((None, None), (0.5, None), (None, 2.5)):
            given = {"uncertainty": uncertainty, "bandwidth": bandwidth, "temperature": temperature}
            for rows, metric in ((unit, None), (X, "euclidean")):
                asked = given | {"proba": p, "candidates": candidates, "batch_size": 8, "metric": metric}
                expected = textbook(rows, y, p, candidates, 8, **given)
                assert pyal.select(rows, y, strategy="uherding", **asked).tolist() == expected


@pytest.mark.parametrize("kernel", SIMILARITIES)
def test_kernels_of_herding_are_their_definitions(kernel):
    """Distances are those of unit rows. A top hat leaves ties, and all rules send them to the lowest position."""
    X, rng = blobs(70, 4, seed=9).astype(np.float64), np.random.default_rng(9)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    p, y = rng.dirichlet(np.full(3, 0.3), 70), np.full(70, -1)
    y[[3, 30, 50]] = [0, 1, 2]
    candidates, given = np.flatnonzero(y < 0), {"kernel": kernel, "bandwidth": 0.6}
    expected = herding(X, 8, covered_by=np.flatnonzero(y >= 0), candidates=candidates, **given)[0]
    assert pyal.select(X, y, strategy="maxherding", batch_size=8, **given).tolist() == expected.tolist()
    given |= {"uncertainty": "entropy", "temperature": 2.5}
    wanted = textbook(X, y, p, candidates, 8, **given)
    assert pyal.select(X, y, strategy="uherding", proba=p, batch_size=8, **given).tolist() == wanted


def test_maxherding_with_a_top_hat_is_probcover():
    X = blobs(200, 6)
    given = {"batch_size": 12, "labeled": [0, 9], "metric": "cosine"}
    balls = pyal.select(X, strategy="probcover", delta=0.2, exhausted="lowest", **given)
    np.testing.assert_array_equal(
        pyal.select(X, strategy="maxherding", kernel="top_hat", bandwidth=0.2, **given), balls
    )


@pytest.mark.parametrize("kernel", SIMILARITIES)
def test_bandwidths_out_of_proportion_are_told_for_every_kernel(kernel):
    X = np.random.default_rng(0).standard_normal((50, 3))
    given = {"strategy": "maxherding", "kernel": kernel, "metric": "euclidean", "batch_size": 3, "labeled": [0]}
    for bandwidth, what in ((1e-6, "covers any new row but itself"), (1e14, "covers a row that is not covered yet")):
        with pytest.warns(UserWarning, match=f"'maxherding': no pick of this batch {what}"):
            pyal.select(X, bandwidth=bandwidth, **given)
    pyal.select(X, **given)  # warnings are errors


@pytest.mark.parametrize("strategy", ["maxherding", "uherding"])
def test_kernels_that_are_not_known(strategy):
    with pytest.raises(ValueError, match="kernel must be one of rbf, laplace, cauchy, student_t, top_hat; got 'hat'"):
        pyal.select(np.eye(5), strategy=strategy, kernel="hat")


def test_uherding_by_hand():
    """Labelled are 0 and 1, so that the bandwidth is 1. Row 2 at 10 has two rows at its place, each sure (0.1), and row
    5 at 20 stands alone and counts 1 - 0 = 1: it adds 1, and 2 adds 0.3. As seen by maxherding 2 would come first.
    """
    X = np.array([[0.0], [1.0], [10.0], [10.0], [10.0], [20.0]])
    p = np.array([[0.95, 0.05]] * 5 + [[0.5, 0.5]])
    given = {"strategy": "uherding", "proba": p, "metric": "euclidean", "temperature": 1.0, "batch_size": 2}
    y = [0, 0, -1, -1, -1, -1]
    assert pyal.select(X, y, **given).tolist() == [5, 2]
    # a high temperature makes all rows as unsure
    assert pyal.select(X, y, **given | {"temperature": 1e3}).tolist() == [2, 5]
    # labelled 1 and 20, 19 apart: with this bandwidth 0 is covered, and 10 is not: 2 adds the most of the sure rows
    assert pyal.select(X, [-1, 0, -1, -1, -1, 0], **given).tolist()[0] == 2


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_uherding_begins_as_maxherding(metric):
    X = blobs(80, 5)
    given = {"batch_size": 6, "metric": metric}
    first = pyal.select(X, strategy="maxherding", **given)
    np.testing.assert_array_equal(pyal.select(X, strategy="uherding", **given), first)
    # with one label, or equal ones, there is no distance between two: rows that are as unsure are covered as there
    y, X[1] = np.where(np.arange(80) < 2, 0, -1), X[0]
    even = {"proba": np.full((80, 2), 0.5), "temperature": 1.0}
    expected = pyal.select(X, y, strategy="maxherding", **given)
    np.testing.assert_array_equal(pyal.select(X, y, strategy="uherding", **even, **given), expected)


def test_temperatures():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    # 0.9 twice, one of them right: 2/3 |0.9 - 0.5|; 0.6, right: 1/3 |0.6 - 1|
    np.testing.assert_allclose(calibration_error(p, np.array([0, 1, 0])), (2 * 0.4 + 0.4) / 3)
    np.testing.assert_allclose(tempered(p[:1], 2.0), [[0.75, 0.25]])  # 3 : 1, the roots of 9 : 1
    np.testing.assert_array_equal(tempered(np.array([[1.0, 0.0]]), 7.0), [[1.0, 0.0]])
    np.testing.assert_array_equal(tempered(np.array([[1e-300, 1.0 - 1e-16]]), 1.0).sum(axis=1), 1.0)
    # 0.99, right three times in four: log 99 / T is log 3 at T = 4.18, and the grid comes nearest at 4.2
    sure = np.tile([0.99, 0.01], (4, 1))
    assert fitted_temperature(sure, np.array([0, 0, 0, 1])) == 4.2
    assert fitted_temperature(np.eye(2), np.array([1, 0])) == 1.0  # no temperature helps: the lowest
    rng = np.random.default_rng(0)
    for n in (1, 7, 200):
        q, y = rng.dirichlet(np.full(4, 0.4), n), rng.integers(0, 4, n)
        np.testing.assert_allclose(calibration_error(q, y), error_by_bins(q, y))


@pytest.mark.parametrize(
    ("option", "message"),
    [({"uncertainty": "bald"}, "uncertainty must be 'margin', 'entropy' or 'least_confidence'; got 'bald'"),
     ({"bandwidth": 0.0}, r"bandwidth must be a positive distance; got 0\.0"),
     ({"temperature": 0.0}, r"temperature must be positive; got 0\.0"),
     ({"temperature": np.nan}, "temperature must be positive; got nan")],
)  # fmt: skip
def test_uherding_names_what_is_wrong(option, message):
    p, y = np.full((5, 2), 0.5), [0, 1, -1, -1, -1]
    for known in ({}, {"y": y, "proba": p}):
        with pytest.raises(ValueError, match=message):
            pyal.select(np.eye(5), strategy="uherding", **known, **option)


def test_uherding_says_which_classes_it_can_place():
    given = {"strategy": "uherding", "proba": np.full((4, 3), 1 / 3)}
    with pytest.raises(ValueError, match=r"y must hold column numbers of proba, 0 \.\. 2, or all its 3 classes"):
        pyal.select(np.eye(4), ["cat", "dog", None, None], **given)


# ---- probcover with weights


def cover_by_hand(X, radius, weights, picks_wanted, labeled=(), candidates=None, top=1, rng=None) -> list[int]:
    """Greedy in float64: most weight strictly within the radius that no earlier ball holds; then the lowest."""
    near = np.sqrt(sqdist_between(X, X)) < radius
    covered = near[list(labeled)].any(axis=0)
    left = [i for i in (range(len(X)) if candidates is None else candidates) if i not in labeled]
    picks: list[int] = []
    for _ in range(picks_wanted):
        gains = np.array([weights[near[i] & ~covered].sum() for i in left])
        best = [left[j] for j in np.argsort(-gains, kind="stable")[:top] if gains[j] > 0] or left[:1]
        picks.append(best[int(rng.integers(len(best)))] if top > 1 and gains.max() > 0 else best[0])
        covered |= near[picks[-1]]
        left.remove(picks[-1])
    return picks


def test_probcover_sums_weights():
    """Radius 1.5: the ball of 1 holds 0, 1, 2 and weighs 1 + 2 + 1 = 4, those of 20 and 21 hold both, 3 + 2 = 5.

    20 is the lower of these; then comes 1, then 9, which weighs 1/2. By rows 1 comes first. At radius 1 no other row
    lies strictly within a ball, and the largest weights are 3, 2 and 2.
    """
    X = np.array([[0.0], [1], [2], [9], [20], [21]])
    weights = [1, 2, 1, 0.5, 3, 2]
    given = {"strategy": "probcover", "metric": "euclidean", "batch_size": 3}
    assert pyal.select(X, weights=weights, delta=1.5, **given).tolist() == [4, 1, 3]
    assert pyal.select(X, delta=1.5, **given).tolist() == [1, 4, 3]
    with pytest.warns(UserWarning, match="no pick of this batch covers any new row but itself"):
        assert pyal.select(X, weights=weights, delta=1.0, **given).tolist() == [4, 1, 5]


@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_probcover_with_weights_against_plain_numpy(seed, top):
    rng = np.random.default_rng(seed)
    X, weights = integers(80, 3, seed=seed), rng.integers(0, 5, 80).astype(np.float64)
    labeled, candidates = np.array([3, 50]), np.setdiff1d(np.arange(0, 80), [3, 50, 7, 8])
    given = {"labeled": labeled, "candidates": candidates, "delta": 2.0, "exhausted": "lowest", "top": top}
    given |= {"strategy": "probcover", "metric": "euclidean", "random_state": seed, "batch_size": 40}
    for weighed in (weights, None):
        counts = np.ones(80) if weighed is None else weighed
        expected = cover_by_hand(X, 2.0, counts, 40, labeled, candidates, top, np.random.default_rng(seed))
        assert pyal.select(X, weights=weighed, **given).tolist() == expected


def test_probcover_warns_of_rows_not_of_weights():
    """Balls of two rows that weigh 1 together are no cause; balls of one row, or a twentieth of the pool, are."""
    pairs = np.repeat(np.arange(40.0)[:, None] * 5, 2, axis=0)
    given = {"strategy": "probcover", "metric": "euclidean", "delta": 1.0, "random_state": 0}
    pyal.select(pairs, weights=np.full(80, 0.5), batch_size=10, **given)
    weights = np.linspace(1, 9, 80)
    with pytest.warns(UserWarning, match="no pick of this batch covers any new row but itself"):
        pyal.select(np.arange(80.0)[:, None] * 5, weights=weights, batch_size=10, **given)
    with pytest.warns(UserWarning, match=r"the 10 balls of radius delta=1 cover 5\.0 % of the pool"):
        pyal.select(np.repeat(np.arange(200.0)[:, None] * 5, 2, axis=0), weights=np.ones(400), batch_size=10, **given)
    with pytest.warns(UserWarning, match="no pick of this batch covers a row that is not covered yet"):
        pyal.select(pairs, weights=weights, labeled=np.arange(0, 80, 2), batch_size=10, **given)


def test_probcover_takes_what_has_no_weight_last():
    X = np.arange(30.0)[:, None] * 5
    weights = np.where(np.arange(30) % 3 == 0, 1.0, 0.0)
    given = {"strategy": "probcover", "metric": "euclidean", "delta": 1.0, "weights": weights, "exhausted": "lowest"}
    with pytest.warns(UserWarning, match="covers any new row but itself"):
        picks = pyal.select(X, batch_size=15, **given)
    assert picks.tolist() == [*range(0, 30, 3), 1, 2, 4, 5, 7]
