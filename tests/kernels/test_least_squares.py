"""Least squares that takes further rows: the kernel and its state against NumPy's pseudo-inverse after every row."""

from __future__ import annotations

import copy
import tracemalloc

import numpy as np
import pytest
from data import DIMENSIONS, DTYPES, host, put, rounded
from oracle import reference

from pyal import kernels
from pyal.kernels import least_squares
from pyal.kernels.least_squares import LeastSquares, compressed

EPS = np.finfo(float).eps


def problem(n: int, d: int, classes: int = 3, *, seed: int = 0, decay: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose columns, turned, span `decay` decades; one-hot targets."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = rng.standard_normal((n, d)) * 10.0 ** (-decay * np.arange(d) / d) @ turn
    return X, np.eye(classes)[rng.integers(0, classes, n)]


def state(d: int, classes: int, device: str = "cpu") -> dict:
    shapes = {"root": (d, d), "basis": (d, d), "coef": (classes, d)}
    return {name: put(np.zeros(shape), "float64", device) for name, shape in shapes.items()}


def tolerance(X: np.ndarray) -> float:
    """First-order error of a least-squares solution, cond(X)^2 eps, with room for its constant and for the updates."""
    s = np.linalg.svd(X, compute_uv=False)
    s = s[s > max(X.shape) * EPS * s[0]]
    return 100 * len(s) ** 0.5 * EPS * (s[0] / s[-1]) ** 2 if s.size else EPS


def check_state(X: np.ndarray, Y: np.ndarray, fit: dict, rank: int) -> None:
    """After the rows X: coef, root and basis are what the header says."""
    coef, pinv, projector, expected_rank = reference.recursive_least_squares(X, Y)
    root, basis = host(fit["root"])[:rank], host(fit["basis"])[:rank]
    rtol = tolerance(X)
    assert rank == expected_rank
    assert np.abs(host(fit["coef"]) - coef).max() <= rtol * np.abs(coef).max()
    assert np.abs(root.T @ root - pinv).max() <= rtol * np.abs(pinv).max()
    assert np.abs(basis @ basis.T - np.eye(rank)).max() <= 100 * EPS * max(rank, 1)
    assert np.abs(basis.T @ basis - projector).max() <= rtol


@pytest.mark.parametrize("d", DIMENSIONS[:-1])
def test_kernel_after_every_few_rows(engine, d):
    """From no rows through n = d to 3 d, one and many at a time, with a duplicate and a zero row on the way."""
    X, Y = problem(3 * d + 6, d)
    X[d // 2 + 1], X[d + 1] = X[0], 0.0
    fit, rank, scale, at = state(d, 3, engine), 0, 0.0, 0
    for m in (1, max(1, d // 2 - 1), 1, 1, d - 1 or 1, 1, len(X)):
        rows = put(X[at : at + m], "float64", engine)
        taken, rank, scale = kernels.recursive_least_squares(rows, Y[at : at + m], **fit, rank=rank, scale=scale)
        assert taken == len(X[at : at + m])
        at += taken
        assert scale == pytest.approx(np.linalg.norm(X[:at], axis=1).max(), rel=1e-14)
        check_state(X[:at], Y[:at], fit, rank)


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernel_storage_types(engine, dtype):
    X, Y = problem(40, 17)
    fit = state(17, 3, engine)
    taken, rank, _ = kernels.recursive_least_squares(put(X, dtype, engine), Y, **fit, rank=0)
    assert taken == 40
    check_state(rounded(X, dtype), Y, fit, rank)


def test_kernel_golden():
    """x = (2, 0) -> 1, then (0, 4) -> 3, then (2, 0) -> 3: the first column's answer is the mean of 1/2 and 3/2."""
    fit = state(2, 1)
    kernels.recursive_least_squares([[2.0, 0.0], [0.0, 4.0]], [[1.0], [3.0]], **fit, rank=0)
    np.testing.assert_array_equal(fit["coef"], [[0.5, 0.75]])
    np.testing.assert_array_equal(fit["root"], [[0.5, 0.0], [0.0, 0.25]])
    kernels.recursive_least_squares([[2.0, 0.0]], [[3.0]], root=fit["root"], coef=fit["coef"], rank=2)
    np.testing.assert_allclose(fit["coef"], [[1.0, 0.75]], rtol=4 * EPS)
    np.testing.assert_allclose(fit["root"].T @ fit["root"], np.diag([1 / 8, 1 / 16]), rtol=4 * EPS)


def test_threads_give_the_same():
    X, Y = problem(400, 300)
    results = []
    for n_jobs in (1, 2, 4):
        fit = state(300, 3)
        kernels.recursive_least_squares(X, Y, **fit, rank=0, n_jobs=n_jobs)
        results.append(fit)
    for other in results[1:]:
        for name, array in other.items():
            np.testing.assert_array_equal(array, results[0][name])


@pytest.mark.parametrize(("share", "wanted"), [(0.0, (3, 2)), (1e-15, (3, 2)), (1e-9, (2, 2)), (1e-2, (3, 3))])
def test_a_row_in_doubt_is_not_taken(engine, share, wanted):
    """The third row leaves the plane of the first two by a share of its length."""
    X = np.array([[3.0, 0, 0], [1, 2, 0], [2, 1, share * 5**0.5]])
    fit = state(3, 1, engine)
    taken, rank, _ = kernels.recursive_least_squares(put(X, "float64", engine), np.ones((3, 1)), **fit, rank=0)
    assert (taken, rank) == wanted
    assert np.isfinite(host(fit["coef"])).all()


BAD = [
    ({"X": [[1.0, np.nan]]}, ValueError, "X must be finite"),
    ({"targets": [[np.inf]]}, ValueError, "targets must be finite"),
    ({"targets": [[1.0], [2.0]]}, ValueError, "targets must have one row per row of X, 1; got 2"),
    ({"root": np.zeros((3, 3))}, ValueError, r"root must have shape \(2, 2\); got \(3, 3\)"),
    ({"root": np.zeros((2, 2), np.float32)}, ValueError, "root must be a writable C-contiguous float64"),
    ({"basis": np.zeros((2, 4))[:, ::2]}, ValueError, "basis must be a writable C-contiguous float64"),
    ({"coef": np.broadcast_to(np.zeros(2), (1, 2))}, ValueError, "coef must be a writable C-contiguous float64"),
    ({"coef": np.zeros((2, 2))}, ValueError, r"coef must have shape \(1, 2\)"),
    ({"rank": 3}, ValueError, "rank must be 2, or with a basis in 0 .. 2; got 3"),
    ({"rank": -1}, ValueError, "rank must be 2"),
    ({"rank": 1, "basis": None}, ValueError, "rank must be 2"),
    ({"rank": 1.5}, TypeError, "rank must be an integer"),
    ({"scale": np.nan}, ValueError, "scale must be"),
]


@pytest.mark.parametrize(("changed", "error", "said"), BAD, ids=[said for _, _, said in BAD])
def test_bad_input_is_named(changed, error, said):
    arguments = {"X": [[1.0, 2.0]], "targets": [[1.0]], **state(2, 1), "rank": 0} | changed
    with pytest.raises(error, match=said):
        kernels.recursive_least_squares(**arguments)


# The state around it


def full(X: np.ndarray, Y: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """coef of the normal equations, by NumPy."""
    if ridge:
        X, Y = np.vstack([X, ridge**0.5 * np.eye(X.shape[1])]), np.vstack([Y, np.zeros((X.shape[1], Y.shape[1]))])
    return np.linalg.lstsq(X, Y, rcond=None)[0].T


def close(found: np.ndarray, expected: np.ndarray, rtol: float) -> bool:
    return bool(np.abs(found - expected).max() <= rtol * np.abs(expected).max())


@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("method", ["solve", "inv", "pinv"])
@pytest.mark.parametrize(("d", "decay"), [(1, 0), (5, 1), (16, 0), (16, 3), (16, 6)])
def test_rows_one_at_a_time_equal_a_fit(method, ridge, d, decay):
    """1 to 3 d + 2 rows: below rank, at the interpolation point, beyond it, with duplicates of earlier rows."""
    X, Y = problem(3 * d + 2, d, decay=decay)
    X[4::5] = X[::5][: len(X[4::5])]
    fit = LeastSquares(X[:1], Y[:1], method=method, ridge=ridge)
    for i in range(1, len(X)):
        fit.add(X[i : i + 1], Y[i : i + 1])
        seen = X[: i + 1] if not ridge else np.vstack([X[: i + 1], ridge**0.5 * np.eye(d)])
        assert close(fit.coef, full(X[: i + 1], Y[: i + 1], ridge), tolerance(seen)), i
    assert fit.n == len(X)


def test_relative_ridge_equals_a_fit():
    X, Y = problem(40, 12)
    fit = LeastSquares(X[:2], Y[:2], ridge=0.01, relative=True)
    for i in range(2, 40):
        fit.add(X[i : i + 1], Y[i : i + 1])
        penalty = 0.01 * (X[: i + 1] ** 2).sum() / 12
        assert fit.penalty == pytest.approx(penalty, rel=1e-13)
        assert close(fit.coef, full(X[: i + 1], Y[: i + 1], penalty), 1e-11)


@pytest.mark.parametrize("factor", [1e-150, 1e-6, 1e6, 1e100])
def test_scales(factor):
    """Matrix far from 1 in length; rows of lengths that differ by many orders."""
    X, Y = problem(30, 8)
    for rows in (X * factor, X * np.geomspace(1, factor if 1e-30 < factor < 1e30 else 1.0, 30)[:, None]):
        fit = LeastSquares(rows[:3], Y[:3])
        for i in range(3, 30):
            fit.add(rows[i : i + 1], Y[i : i + 1])
        coef = full(rows, Y)
        assert close(rows @ fit.coef.T, rows @ coef.T, max(1e-11, min(tolerance(rows), 1e-4)))


def test_rank_deficient_for_good():
    """Columns that repeat: rank stays below d however many rows come, and the fit is the one of least norm."""
    X, Y = problem(60, 5)
    X = np.hstack([X, X, X[:, :2]])
    fit = LeastSquares(X[:1], Y[:1])
    for i in range(1, 60):
        fit.add(X[i : i + 1], Y[i : i + 1])
        assert fit.rank == min(i + 1, 5)
        assert close(fit.coef, full(X[: i + 1], Y[: i + 1]), tolerance(X[: i + 1]))


def test_all_zero_rows():
    fit = LeastSquares(np.zeros((2, 3)), np.ones((2, 1)))
    assert fit.rank == 0
    fit.add(np.zeros((1, 3)), np.ones((1, 1)))
    np.testing.assert_array_equal(fit.coef, np.zeros((1, 3)))
    fit.add(np.eye(3), np.ones((3, 1)))
    np.testing.assert_allclose(fit.coef, np.ones((1, 3)), rtol=1e-14)


def test_new_targets_and_several_rows_at_once():
    X, Y = problem(70, 12, classes=4)
    order = np.argsort(Y.argmax(1), kind="stable")  # classes turn up one after the other
    X, Y = X[order], Y[order]
    fit = LeastSquares(X[:2], Y[:2, :1])
    begin, columns = 2, 1
    for end in (5, 6, 11, 30, 31, 70):
        while Y[:end].any(0).sum() > columns:
            fit.add_targets(columns)
            columns += 1
        fit.add(X[begin:end], Y[begin:end, :columns])
        assert close(fit.coef, full(X[:end], Y[:end, :columns]), tolerance(X[:end]))
        begin = end


def test_drift_over_a_long_run():
    """1000 rows on 8 columns, the first few nearly dependent; the fit starts again from its factor now and then."""
    X, Y = problem(1000, 8)
    X[:6] = X[0] + 1e-3 * X[:6]
    fit = LeastSquares(X[:1], Y[:1])
    for i in range(1, len(X)):
        fit.add(X[i : i + 1], Y[i : i + 1])
    assert close(fit.coef, full(X, Y), 1e-12)


def test_an_interrupted_update_is_undone(monkeypatch):
    X, Y = problem(20, 6)
    fit = LeastSquares(X[:10], Y[:10])
    fit.add(X[10:11], Y[10:11])
    before = fit.coef.copy()

    def interrupted(*_, coef, **__):
        coef[:] = np.nan
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(least_squares, "recursive_least_squares", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit.add(X[11:12], Y[11:12])
    assert close(fit.coef, before, 1e-12)
    fit.add(X[11:], Y[11:])
    assert close(fit.coef, full(X, Y), 1e-12)


def state_of(fit: LeastSquares) -> dict:
    return copy.deepcopy(vars(fit))


def assert_state(fit: LeastSquares, before: dict) -> None:
    assert vars(fit).keys() == before.keys()
    for name, value in vars(fit).items():
        np.testing.assert_equal(value, before[name], err_msg=name, strict=isinstance(value, np.ndarray))


@pytest.mark.parametrize("method", ["solve", "inv", "pinv"])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("n", [1, 4, 8, 9, 30])
@pytest.mark.parametrize("added", [0, 1, 3])
def test_steps_are_those_of_every_row_alone(method, ridge, n, added):
    """Below, at and above full rank, after a fit and after updates; rows within and outside of the span, and zero."""
    X, Y = problem(n + added, 8)
    fit = LeastSquares(X[:n], Y[:n], method=method, ridge=ridge)
    for i in range(n, n + added):
        fit.add(X[i : i + 1], Y[i : i + 1])
    rows, targets = problem(20, 8, seed=1)
    rows[3], rows[4], rows[5] = X[0], X[-1] - 2 * X[0], 0
    before = state_of(fit)
    K, sure = fit.steps(rows)
    assert_state(fit, before)
    assert sure.all()
    for x, t, k in zip(rows, targets, K, strict=True):
        alone = copy.deepcopy(fit)
        alone.add(x[None], t[None])
        assert close(fit.coef + np.outer(t - fit.coef @ x, k), alone.coef, 1e-9)


def test_steps_by_hand():
    """After the row (2, 0): (0, 4) is new, k = x / |x|^2 = (0, 1/4). (1, 0) is not: h = (1/4, 0), k = h / (1 + 1/4)."""
    fit = LeastSquares(np.array([[2.0, 0.0]]), np.array([[1.0]]))
    K, sure = fit.steps(np.array([[0.0, 4.0], [1.0, 0.0]]))
    np.testing.assert_allclose(K, [[0.0, 0.25], [0.2, 0.0]], rtol=4 * EPS)
    assert sure.tolist() == [True, True]


@pytest.mark.parametrize(("share", "sure"), [(0.0, True), (1e-15, True), (1e-9, False), (1e-2, True)])
def test_a_step_in_doubt_is_not_sure(share, sure):
    """The third row leaves the plane of the first two by a share of its length; the others are not touched by it."""
    fit = LeastSquares(np.array([[3.0, 0, 0], [1, 2, 0]]), np.ones((2, 1)))
    assert fit.steps(np.array([[1.0, 0, 0], [2, 1, share * 5**0.5], [0, 0, 1]]))[1].tolist() == [True, sure, True]


def test_steps_that_no_update_does():
    X, Y = problem(6, 3)
    fit = LeastSquares(X, Y)
    assert fit.steps(np.array([[1e150, 0, 0], [1.0, 0, 0], [1e-150, 0, 0]]))[1].tolist() == [False, True, True]
    assert not LeastSquares(X, Y, ridge=0.1, relative=True).steps(X)[1].any()
    nothing = LeastSquares(np.zeros((2, 3)), np.ones((2, 1)))
    K, sure = nothing.steps(np.array([[0.0, 0, 0], [0, 2, 0]]))
    assert sure.tolist() == [False, True]
    np.testing.assert_array_equal(K, [[0, 0, 0], [0, 0.5, 0]])
    assert [part.shape for part in fit.steps(np.empty((0, 3)))] == [(0, 3), (0,)]


@pytest.mark.parametrize("n", [1, 3, 7, 500])
def test_compressed_is_the_same_problem(n):
    X, Y = problem(n, 7)
    R, Z = compressed(X, Y)
    assert R.shape == (min(n, 7), 7)
    np.testing.assert_allclose(R.T @ R, X.T @ X, atol=1e-12 * n)
    np.testing.assert_allclose(R.T @ Z, X.T @ Y, atol=1e-12 * n)
    np.testing.assert_array_equal(np.tril(R, -1), 0)


def test_memory_does_not_grow_with_the_rows():
    X, Y = problem(20_000, 16)
    tracemalloc.start()
    fit = LeastSquares(X, Y)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000
    assert close(fit.coef, full(X, Y), 1e-12)
