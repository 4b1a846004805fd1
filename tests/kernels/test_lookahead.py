"""ntk_lookahead: every candidate's objective against the closed form retrained from scratch, and its picks replayed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from data import blobs, duplicates, host, put, rounded
from oracle import reference

from pyal import kernels

OBJECTIVES = ("risk", "agreement", "soft_risk", "output_change", "expected_risk")
DETERMINED = {"float64": 2.0**-44}
# Of a prediction after one more row, in units of max K / ridge: at most `refresh` roundings of R in compute type,
# and a few of what is made of it.
EPS = {"float64": 80 * 2.0**-52}


def linear(n: int = 90, d: int = 7, *, seed: int = 0) -> np.ndarray:
    """A positive definite kernel with structure: an RBF on blobs plus a constant."""
    X = blobs(n, d, seed=seed).astype(np.float64)
    sqdist = reference.sqdist_between(X, X)
    return np.exp(-sqdist / np.median(sqdist)) + 0.5


def problem(n: int = 90, classes: int = 4, *, seed: int = 0, n_labeled: int = 5):
    """K, f, labels, targets, positions of the labelled rows."""
    rng = np.random.default_rng(seed)
    K = linear(n, seed=seed)
    f = 0.3 * rng.standard_normal((n, classes))
    labels, targets = rng.integers(0, classes, n), rng.integers(0, classes, n)
    return K, f, labels, targets, np.sort(rng.choice(n, n_labeled, replace=False))


def determined(dtype: str) -> float:
    return DETERMINED.get(dtype, 2.0**-16)


def tolerance(K, ridge: float, dtype: str) -> float:
    return EPS.get(dtype, 80 * 2.0**-24) * float(np.abs(K).max()) / ridge


def bounds(before, after, targets, objective: str, tol: float) -> tuple[float, float]:
    """The objective's range when every prediction may be off by tol."""
    value = reference.lookahead_objective(before, after, targets, objective)
    n, classes = after.shape
    if objective in ("risk", "agreement"):
        wanted = targets if objective == "risk" else before.argmax(axis=1)
        own = after[np.arange(n), wanted]
        others = np.where(np.arange(classes) == wanted[:, None], -np.inf, after).max(axis=1) if classes > 1 else -np.inf
        unsure = (np.abs(own - others) <= 2 * tol).sum()
        if objective == "agreement":  # the class before may be unsure as well
            gap = np.sort(before, axis=1)
            unsure += (gap[:, -1] - gap[:, -2] <= 2 * tol).sum() if classes > 1 else 0
        return value - unsure, value + unsure
    size = np.abs(after).max() + 1
    slack = 2 * n * tol * size * (classes if objective == "output_change" else 1)
    return value - slack, value + slack


def check(K, f, labels, targets, labeled, objective, ridge, dtype, result, *, candidates=None, steps=None) -> None:
    """Scores before the first pick, and the pick and its objective; at `steps` only, against 20 others, where given."""
    rng = np.random.default_rng(0)
    positions, objectives, scores = result
    n, tol = len(K), tolerance(K, ridge, dtype)
    labels = np.full(n, -1) if labels is None else labels
    targets = np.full(n, -1) if targets is None else targets
    learned, taught = list(labeled), [int(labels[i]) for i in labeled]
    left = np.setdiff1d(reference.positions_of(candidates, n, "all"), learned)
    assert len(np.unique(positions)) == len(positions)
    assert np.isin(positions, left).all()
    for t in range(max(len(positions), 1)):
        before = reference.learned_predictions(K, f, learned, taught, ridge)
        predicted = before.argmax(axis=1)
        wanted, given = np.where(targets < 0, predicted, targets), np.where(labels < 0, predicted, labels)
        if steps is None or t in steps:
            ranges = {}
            some = left if steps is None else np.append(rng.choice(left, min(20, len(left))), positions[t])
            for j in some:
                after = reference.retrained(K, f, learned, taught, j, int(given[j]), ridge, determined(dtype))
                ranges[j] = bounds(before, after, wanted, objective, tol)
                if t == 0:
                    assert ranges[j][0] <= scores[j] <= ranges[j][1], (j, scores[j], ranges[j])
            if len(positions):
                low, high = ranges[positions[t]]
                assert low <= objectives[t] <= high, (t, objectives[t], low, high)
                if objective == "output_change":
                    assert high >= max(r[0] for r in ranges.values()), t
                else:
                    assert low <= min(r[1] for r in ranges.values()), t
        if len(positions):
            learned.append(int(positions[t]))
            taught.append(int(given[positions[t]]))
            left = left[left != positions[t]]
    assert np.isnan(scores[np.setdiff1d(np.arange(n), np.append(left, positions))]).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_against_retraining(engine, dtype, objective):
    K, f, labels, targets, labeled = problem(60)
    K = rounded(K, dtype)
    ridge = 0.05 if dtype in ("float64", "float32") else 0.5
    given = put(K, dtype, engine)
    result = kernels.ntk_lookahead(
        given, f, labels, 10, labeled=labeled, targets=targets, objective=objective, ridge=ridge
    )
    check(K, f, labels, targets, labeled, objective, ridge, dtype, host(result))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("classes", [1, 2, 3, 15, 16, 17, 40])
def test_classes(device, objective, classes):
    K, f, labels, targets, labeled = problem(70, classes, seed=classes)
    result = kernels.ntk_lookahead(
        put(K, "float64", device), f, labels, 4, labeled=labeled, targets=targets, objective=objective, ridge=0.01
    )
    check(K, f, labels, targets, labeled, objective, 0.01, "float64", host(result))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("n", [1, 2, 7, 15, 16, 17, 33, 63, 64, 65, 129])
def test_sizes(device, objective, n):
    K, f, labels, targets, _ = problem(max(n, 2), n_labeled=1)
    K, f, labels, targets = K[:n, :n], f[:n], labels[:n], targets[:n]
    b = min(n, 3)
    result = kernels.ntk_lookahead(
        put(K, "float64", device), f, labels, b, targets=targets, objective=objective, ridge=0.1
    )
    check(K, f, labels, targets, [], objective, 0.1, "float64", host(result))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_own_predictions_as_labels_and_targets(device, objective):
    K, f, _, _, labeled = problem(60, 5, seed=3)
    labels = np.full(60, -1)
    labels[labeled] = np.arange(len(labeled)) % 5
    result = kernels.ntk_lookahead(
        put(K, "float64", device), f, labels, 8, labeled=labeled, objective=objective, ridge=0.02
    )
    check(K, f, labels, None, labeled, objective, 0.02, "float64", host(result))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_labeled", [0, 8, 70])
def test_hundreds_of_picks(device, dtype, n_labeled):
    """Across the pending picks, the refreshes and their boundaries, down to a pool that is all but determined."""
    K, f, labels, targets, labeled = problem(330, 6, seed=11, n_labeled=n_labeled)
    K = rounded(K, dtype)
    b = 330 - n_labeled
    result = kernels.ntk_lookahead(put(K, dtype, device), f, labels, b, labeled=labeled, targets=targets, ridge=0.05)
    check(K, f, labels, targets, labeled, "risk", 0.05, dtype, host(result), steps={7, 8, 9, 63, 64, 65, 130, b - 1})


def test_picks_of_the_reference():
    """float64 leaves no near-ties here: the very picks, ties by soft risk and output change included."""
    for objective in OBJECTIVES:
        for labels_given in (True, False):
            K, f, labels, targets, labeled = problem(40, 3, seed=5)
            own = np.where(np.isin(np.arange(40), labeled) | labels_given, labels, -1)
            arguments = {"labeled": labeled, "targets": targets, "objective": objective, "ridge": 0.01}
            expected = reference.ntk_lookahead(K, f, own, 10, **arguments, determined=2.0**-44)
            found = kernels.ntk_lookahead(K, f, own, 10, **arguments)
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)
            np.testing.assert_allclose(found[2], expected[2], rtol=1e-9)


def test_prior_with_labels_is_posterior_without():
    K, f, labels, targets, labeled = problem(80, 4, seed=7, n_labeled=20)
    ridge = 0.03
    first = kernels.ntk_lookahead(K, f, labels, 15, labeled=labeled, targets=targets, ridge=ridge)
    A = np.linalg.inv(K[np.ix_(labeled, labeled)] + ridge * np.eye(20))
    R = K - K[:, labeled] @ A @ K[labeled]
    posterior = reference.learned_predictions(K, f, labeled, labels[labeled], ridge)
    open_rows = np.setdiff1d(np.arange(80), labeled)
    second = kernels.ntk_lookahead(
        (R + R.T) / 2, posterior, labels, 15, candidates=open_rows, targets=targets, ridge=ridge
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_allclose(first[1], second[1])


def test_candidates_and_scores_only(device):
    K, f, labels, targets, labeled = problem(50, 3, seed=2)
    candidates = np.setdiff1d(np.arange(0, 50, 2), labeled)
    arguments = {"labeled": labeled, "targets": targets, "candidates": candidates, "ridge": 0.1}
    result = host(kernels.ntk_lookahead(put(K, "float64", device), f, labels, len(candidates), **arguments))
    check(K, f, labels, targets, labeled, "risk", 0.1, "float64", result, candidates=candidates)
    none = host(kernels.ntk_lookahead(put(K, "float64", device), f, labels, 0, **arguments))
    assert none[0].shape == none[1].shape == (0,)
    np.testing.assert_array_equal(none[2], result[2])


def test_any_number_of_threads():
    K, f, labels, targets, labeled = problem(200, 5, seed=4)
    for objective in OBJECTIVES:
        results = [
            kernels.ntk_lookahead(
                K.astype(np.float32), f, labels, 30, labeled=labeled, targets=targets, objective=objective,
                ridge=0.01, n_jobs=threads,
            )
            for threads in (1, 2, 4)
        ]  # fmt: skip
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


def test_duplicates_are_determined_once_learned(device):
    """A copy of a learned row changes nothing, in float32 with the smallest ridge."""
    X = duplicates(60, 5, copies=6)
    K = (X @ X.T + 1).astype(np.float32)
    labels = np.arange(60) % 10 % 3
    positions, _, _ = host(
        kernels.ntk_lookahead(put(K, "float32", device), np.zeros((60, 3)), labels, 20, targets=labels)
    )
    assert len(np.unique(positions)) == 20
    everything = host(kernels.ntk_lookahead(put(K, "float32", device), np.zeros((60, 3)), labels, 60, targets=labels))[
        0
    ]
    np.testing.assert_array_equal(np.sort(everything), np.arange(60))


def test_input_is_not_changed():
    K, f, labels, targets, labeled = problem()
    K = K.astype(np.float32)
    for array in (K, f, labels, targets, labeled):
        array.flags.writeable = False
    kernels.ntk_lookahead(K, f, labels, 30, labeled=labeled, targets=targets)


def test_golden():
    """Two pairs of neighbours: learning one of the larger pair corrects both of it."""
    K = np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, 0.1], [0, 0, 0.1, 1.0]])
    positions, objectives, scores = kernels.ntk_lookahead(
        K, np.zeros((4, 2)), [1, 1, 1, 0], 2, targets=[1, 1, 1, 0], ridge=0.1
    )
    # all are class 0 at first (ties to the lowest), so rows 0, 1, 2 are wrong; row 0 or 1 corrects two, row 2 one of
    # them (and row 3 is pulled along)
    np.testing.assert_array_equal(scores, [1, 1, 3, 3])
    np.testing.assert_array_equal(positions, [0, 2])
    np.testing.assert_array_equal(objectives, [1, 1])


BAD = {
    "R must be square": {"R": np.ones((3, 4))},
    "R must be finite": {"R": np.where(np.eye(4) > 0, 1.0, np.nan)},
    "R must be finite;": {"R": np.diag([1, np.inf, 1, 1])},
    "R must be symmetric": {"R": np.eye(4) + 0.3 * np.eye(4, k=1)},
    "diagonal holds -1": {"R": np.diag([1.0, -1, 1, 1])},
    "R must be positive semidefinite; R": {"R": np.eye(4) + 2 * (np.eye(4, k=1) + np.eye(4, k=-1))},
    "f must be": {"f": np.zeros((3, 2))},
    "f must be (n, C)": {"f": np.zeros(4)},
    "f must be finite": {"f": np.full((4, 2), np.nan)},
    "f must lie within 1e+18 of 0, for float32": {"R": np.eye(4, dtype=np.float32), "f": np.full((4, 2), 1e19)},
    "f must lie within 1e+150 of 0": {"f": np.diag([0.0, 1, -1e200, 0])},
    "ridge must be at least": {"R": np.zeros((4, 4), np.float32), "ridge": 1e-40},
    "f must hold real": {"f": np.full((4, 2), "a")},
    "labels must lie in 0 .. 1": {"labels": [0, 1, 2, 0]},
    "labels must have shape": {"labels": [0, 1]},
    "targets must lie": {"targets": [0, -2, 0, 0]},
    "labels must hold the class of every": {"labels": [-1, 0, 0, 0], "labeled": [0]},
    "candidates must not hold": {"candidates": [0, 1], "labeled": [0]},
    "batch_size must be in 0 .. 3": {"batch_size": 4, "labeled": [0]},
    "batch_size": {"batch_size": -1},
    "ridge must be": {"ridge": 0.0},
    "objective must be": {"objective": "best"},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    given = {"R": np.eye(4), "f": np.zeros((4, 2)), "labels": [0, 1, 0, 1], "batch_size": 1} | BAD[message]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        kernels.ntk_lookahead(given.pop("R"), given.pop("f"), given.pop("labels"), given.pop("batch_size"), **given)


@pytest.mark.parametrize("far", [0, 1100])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_off_the_diagonal(far, value):
    """On either side of it, or on both, without a warning from NumPy; also in a tile that holds no diagonal."""
    for places in ([(far + 2, 1)], [(1, far + 2)], [(1, far + 2), (far + 2, 1)]):
        R = np.eye(far + 4, dtype=np.float32)
        for place in places:
            R[place] = value
        with pytest.raises(ValueError, match="R must be finite"):
            kernels.ntk_lookahead(R, np.zeros((len(R), 2)))


def test_rows_must_be_square_too():
    for shape in ((4, 3), (3, 4)):
        with pytest.raises(ValueError, match="R must be square"):
            kernels.ntk_lookahead(kernels.checked_matrix(np.ones(shape)), np.zeros((shape[0], 2)))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_to_learn(device, dtype, objective):
    """A kernel of zeros: every candidate leaves all as it is."""
    f = np.array([[0.25, 0.5], [0.5, 0.25], [0.5, 0.5]])
    positions, _, scores = host(
        kernels.ntk_lookahead(
            put(np.zeros((3, 3)), dtype, device), f, [0, 0, 0], 2, targets=[0, 1, 1], objective=objective
        )
    )
    np.testing.assert_array_equal(positions, [0, 1])
    expected = reference.lookahead_objective(f, f, np.array([0, 1, 1]), objective)
    np.testing.assert_allclose(scores, np.full(3, expected), rtol=1e-6)


def test_the_simplex_far_from_it(device):
    """Predictions beside which 1 is lost in float32: their projections are corners, and no error is expected."""
    K, f, labels, _, labeled = problem(60, 3, seed=1)
    arguments = {"labeled": labeled, "objective": "expected_risk", "ridge": 0.01}
    scores = host(kernels.ntk_lookahead(put(K, "float32", device), 1e10 * f, labels, 0, **arguments))[2]
    np.testing.assert_array_equal(scores[~np.isnan(scores)], 0)


def test_scale_of_the_kernel(device):
    """R and ridge times the same power of two change nothing."""
    K, f, labels, targets, labeled = problem(60, 3, seed=1)
    for objective in OBJECTIVES:
        results = [
            host(
                kernels.ntk_lookahead(
                    put(K * scale, "float32", device), f, labels, 12, labeled=labeled, targets=targets,
                    objective=objective, ridge=scale / 64,
                )
            )
            for scale in (1.0, 2.0**-100, 2.0**100)
        ]  # fmt: skip
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


def test_indefinite_is_found_while_learning(device):
    """All 2 x 2 minors are fine, the determinant is not."""
    K = np.full((3, 3), -0.9) + 1.9 * np.eye(3)
    with pytest.raises(ValueError, match="R must be positive semidefinite; learning rows leaves a negative variance"):
        kernels.ntk_lookahead(put(K, "float64", device), np.zeros((3, 2)), [0, 1, 0], 3, ridge=1e-3)
