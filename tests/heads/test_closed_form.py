"""The closed-form head: what METHODS of its source say exactly, scikit-learn's contract, labels one at a time."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import check_estimator

import pyal
from pyal.heads.closed_form import ClosedFormSoftmax

SOLVERS = ("solve", "inv", "pinv", "ridge")
NAMES = np.array(["ant", "bee", "cat", "dog"])


def labelled(n: int = 60, d: int = 8, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, NAMES[(X @ rng.standard_normal((d, 4)) + rng.standard_normal((n, 4))).argmax(1)]


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_are_those_of_the_formula(solver):
    """W = (X'X + alpha I)^-1 X' log(Y + epsilon), probabilities softmax(x W)."""
    X, y = labelled()
    Y = (y[:, None] == NAMES).astype(float)
    for epsilon in (1e-32, 1e-3, 0.5):
        head = ClosedFormSoftmax(solver, epsilon=epsilon).fit(X, y)
        alpha = 1e-2 * np.trace(X.T @ X) / 8 if solver == "ridge" else 0.0
        W = np.linalg.inv(X.T @ X + alpha * np.eye(8)) @ X.T @ np.log(Y + epsilon)
        assert head.alpha_ == pytest.approx(alpha)
        np.testing.assert_allclose(head.coef_, W.T, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(head.predict_proba(X), softmax(X @ W), atol=1e-10)


@pytest.mark.parametrize("n", [5, 8, 60])
def test_classes_are_those_of_least_squares_on_one_hot(n):
    """And softmax(x W) is softmax(73.68 x W_onehot): epsilon is an inverse temperature. Below, at and above d rows."""
    X, y = labelled(100)
    Y = (y[:n, None] == np.unique(y[:n])).astype(float)
    onehot = X @ np.linalg.lstsq(X[:n], Y, rcond=None)[0]
    for solver in ("solve", "inv", "pinv"):
        head = ClosedFormSoftmax(solver).fit(X[:n], y[:n])
        np.testing.assert_array_equal(head.predict(X), np.unique(y[:n])[onehot.argmax(1)])
        np.testing.assert_allclose(head.predict_proba(X), softmax(-np.log(1e-32) * onehot), atol=1e-9)
    assert -np.log(1e-32) == pytest.approx(73.68, abs=0.01)


def test_fewer_rows_than_columns_are_not_garbage():
    """256 columns of decaying spectrum, 20 to 100 rows: where LAPACK's solve of X'X returns noise without a word."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    X = np.maximum(X @ rng.standard_normal((64, 256)), 0)
    order = rng.permutation(len(X))[:600]
    X, y = X[order], y[order]
    for n, least in ((20, 0.5), (100, 0.85)):
        scores = [ClosedFormSoftmax(s).fit(X[:n], y[:n]).score(X, y) for s in SOLVERS]
        assert min(scores) > least
        assert scores[0] == scores[1] == scores[2]


def test_ridge_removes_the_interpolation_dip():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))[:62]  # about as many rows as columns that are not constant
    ridge, plain = (ClosedFormSoftmax(s).fit(X[order], y[order]).score(X, y) for s in ("ridge", "solve"))
    assert ridge > plain + 0.1


def test_singular_columns_fall_back():
    X, y = labelled()
    X = np.hstack([X, X])
    expected = ClosedFormSoftmax("pinv").fit(X, y)
    for solver in ("solve", "inv"):
        head = ClosedFormSoftmax(solver).fit(X, y)
        assert head.rank_ == 8
        np.testing.assert_allclose(head.coef_, expected.coef_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_one_label_at_a_time_equals_a_fit(solver, fit_intercept):
    """1 to 3 d rows; classes turn up on the way, out of alphabetical order; rows come twice; alpha free and given."""
    X, y = labelled(24)
    y[:4], y[4:9] = "dog", np.where(y[4:9] == "ant", "bee", y[4:9])
    X[10], y[10], X[11] = X[3], "cat", X[2]
    for alpha in (None, 0.3) if solver == "ridge" else (None,):
        head = ClosedFormSoftmax(solver, fit_intercept=fit_intercept, alpha=alpha)
        for i in range(24):
            head.partial_fit(X[i : i + 1], y[i : i + 1])
            fresh = clone(head).fit(X[: i + 1], y[: i + 1])
            assert head.classes_.tolist() == fresh.classes_.tolist()
            np.testing.assert_allclose(head.coef_, fresh.coef_, atol=1e-7 * np.abs(fresh.coef_).max())
            np.testing.assert_allclose(head.intercept_, fresh.intercept_, atol=1e-7 * np.abs(fresh.coef_).max())
            np.testing.assert_allclose(head.predict_proba(X), fresh.predict_proba(X), atol=1e-6)
            assert head.alpha_ == pytest.approx(fresh.alpha_)


def test_partial_fit_after_fit_copies_and_pickles():
    X, y = labelled()
    head = ClosedFormSoftmax(pca=3).fit(X[:10], y[:10], pool=X)
    expected = ClosedFormSoftmax(pca=3).fit(X[:30], y[:30], pool=X).predict_proba(X)
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head)), head):
        other.partial_fit(X[10:20], y[10:20]).partial_fit(X[20:30], y[20:30])
        np.testing.assert_allclose(other.predict_proba(X), expected, atol=1e-9)


def test_input_is_neither_changed_nor_kept():
    X, y = labelled()
    head = ClosedFormSoftmax().fit(X[:20], y[:20]).partial_fit(X[20:21], y[20:21])
    before = head.coef_.copy()
    copied = X.copy()
    head.predict_proba(X)
    np.testing.assert_array_equal(X, copied)
    X[:] = 0
    head.partial_fit(copied[21:40], y[21:40])
    np.testing.assert_allclose(head.coef_, clone(head).fit(copied[:40], y[:40]).coef_, rtol=1e-8, atol=1e-8)
    assert not np.array_equal(before, head.coef_)


def test_announced_classes_and_one_class():
    X, y = labelled()
    head = ClosedFormSoftmax().partial_fit(X[:1], y[:1], classes=NAMES)
    assert head.classes_.tolist() == NAMES.tolist()
    assert head.predict_proba(X).shape == (60, 4)
    alone = ClosedFormSoftmax().fit(X[:3], ["x", "x", "x"])
    np.testing.assert_array_equal(alone.predict_proba(X), np.ones((60, 1)))
    assert set(alone.predict(X)) == {"x"}
    alone.partial_fit(X[3:5], ["y", "x"])
    np.testing.assert_allclose(
        alone.predict_proba(X), clone(alone).fit(X[:5], list("xxxyx")).predict_proba(X), atol=1e-9
    )


def test_text_may_come_as_objects():
    """As a column of a frame does, before or after a list of text."""
    X, y = labelled()
    expected = ClosedFormSoftmax().fit(X, y).predict_proba(X)
    for first, then in ((object, str), (str, object), (object, object)):
        head = ClosedFormSoftmax().fit(X[:20], y[:20].astype(first)).partial_fit(X[20:], y[20:].astype(then))
        np.testing.assert_allclose(head.predict_proba(X), expected, atol=1e-9)
        accuracy, _ = head.after_each(X[:2], y[:2].astype(then), X, y.astype(first))
        assert (accuracy > 0.5).all()


def test_what_is_found_in_a_pool_serves_many_fits():
    X, y = labelled(60, 6)
    head = ClosedFormSoftmax(pca=4)
    found = head.of_pool(X)
    assert not hasattr(head, "components_")
    for n in (2, 30):  # fewer rows than components too
        once = clone(head).fit(X[:n], y[:n], pool=found)
        np.testing.assert_array_equal(once.predict_proba(X), clone(head).fit(X[:n], y[:n], pool=X).predict_proba(X))
    assert ClosedFormSoftmax().of_pool(X) is None
    with pytest.raises(ValueError, match=r"pool must hold 3 components of 6 columns; got \(4, 6\)"):
        ClosedFormSoftmax(pca=3).fit(X, y, pool=found)
    with pytest.raises(ValueError, match=r"pca must be in 1 \.\. 6"):
        ClosedFormSoftmax(pca=7).of_pool(X)


def test_pca_is_that_of_the_pool():
    X, y = labelled(200, 12)
    X[:, 0] *= 5
    head = ClosedFormSoftmax(pca=4).fit(X[:50], y[:50], pool=X.astype(np.float32))
    theirs = PCA(4, svd_solver="full").fit(X)
    np.testing.assert_allclose(np.abs(head.components_ @ theirs.components_.T), np.eye(4), atol=1e-4)
    np.testing.assert_allclose(head.mean_, X.mean(0), atol=1e-6)
    assert head.coef_.shape == (4, 4)
    expected = ClosedFormSoftmax().fit(theirs.transform(X[:50]), y[:50]).predict_proba(theirs.transform(X))
    np.testing.assert_allclose(head.predict_proba(X), expected, atol=1e-3)
    assert not hasattr(head.set_params(pca=None).fit(X, y), "components_")


@pytest.mark.parametrize("kind", ["float32", "torch", "list", "Fortran", "memmap"])
def test_arrays_of_any_kind(kind, tmp_path):
    X, y = labelled()
    expected = ClosedFormSoftmax().fit(X.astype(np.float32), y).predict_proba(X.astype(np.float32))
    given = X.astype(np.float32)
    if kind == "torch":
        given = pytest.importorskip("torch").from_numpy(given)
    elif kind == "list":
        given = given.tolist()
    elif kind == "Fortran":
        given = np.asfortranarray(given)
    elif kind == "memmap":
        np.save(tmp_path / "X.npy", given)
        given = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_allclose(ClosedFormSoftmax().fit(given, y).predict_proba(given), expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore")  # of the checks themselves
@pytest.mark.parametrize("head", [ClosedFormSoftmax(), ClosedFormSoftmax("ridge", fit_intercept=True)], ids=str)
def test_scikit_learn_contract(head):
    check_estimator(head)


BAD = [
    ({"solver": "lu"}, {}, "solver must be one of 'solve', 'inv', 'pinv', 'ridge'; got 'lu'"),
    ({"epsilon": 0.0}, {}, "epsilon must be a finite number above 0"),
    ({"alpha": 0.1}, {}, "alpha is only for solver='ridge'"),
    ({"solver": "ridge", "alpha": -1.0}, {}, "alpha must be a finite number above 0"),
    ({"pca": 9}, {}, "pca must be in 1 .. 8"),
    ({"pca": 0}, {}, "pca must be in 1 .. 8"),
    ({}, {"pool": np.zeros((5, 8))}, "pool is only for pca"),
    ({"pca": 2}, {"pool": np.zeros((5, 7))}, "7 features"),
    ({"pca": 2}, {"pool": np.full((5, 8), np.nan)}, "NaN"),
]


@pytest.mark.parametrize(("parameters", "more", "said"), BAD, ids=[said for _, _, said in BAD])
def test_bad_parameters_are_named(parameters, more, said):
    X, y = labelled()
    with pytest.raises(ValueError, match=said):
        ClosedFormSoftmax(**parameters).fit(X, y, **more)


def test_bad_rows_change_nothing():
    X, y = labelled()
    head = ClosedFormSoftmax().fit(X, y)
    before = head.predict_proba(X)
    for rows, labels, said in (
        (X[:1] * np.nan, y[:1], "NaN"),
        (X[:1, :3], y[:1], "features"),
        (X[:2], y[:1], "inconsistent"),
        (X[:1], [3], "labels of the kind fitted before"),
    ):
        with pytest.raises(ValueError, match=said):
            head.partial_fit(rows, labels)
        np.testing.assert_array_equal(head.predict_proba(X), before)


def test_heads_are_reached_from_pyal():
    assert pyal.heads is sys.modules["pyal.heads"]
