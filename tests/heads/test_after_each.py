"""`after_each` of the closed form: what copies of the head, or fits from scratch, give row by row."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from pyal import metrics
from pyal.heads import closed_form
from pyal.heads.closed_form import ClosedFormSoftmax

NAMES = np.array(["ant", "bee", "cat", "dog"])
HEADS = {
    "solve": ClosedFormSoftmax(),
    "inv": ClosedFormSoftmax("inv"),
    "pinv": ClosedFormSoftmax("pinv"),
    "ridge": ClosedFormSoftmax("ridge", alpha=0.3),
    "ridge, free": ClosedFormSoftmax("ridge"),
    "intercept": ClosedFormSoftmax(fit_intercept=True),
    "pca": ClosedFormSoftmax(pca=4, fit_intercept=True),
    "warm": ClosedFormSoftmax(epsilon=0.1),
}


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> ClosedFormSoftmax:
    return clone(HEADS[request.param])


def rows(n: int, d: int = 8, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose labels follow a linear map with noise, the same map for every seed."""
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((n, d)), np.random.default_rng(99).standard_normal((d, 4))
    return X, NAMES[(X @ W + rng.standard_normal((n, 4))).argmax(1)]


def answers(head: ClosedFormSoftmax, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    return float((head.predict(X) == y).mean()), metrics.cross_entropy(y, head.predict_proba(X), head.classes_)


def by_copies(head, X, y, X_test, y_test) -> tuple[np.ndarray, np.ndarray]:
    """Each row added to a copy, which is then asked."""
    copies = [copy.deepcopy(head).partial_fit(X[j : j + 1], y[j : j + 1]) for j in range(len(X))]
    accuracy, loss = zip(*(answers(one, X_test, y_test) for one in copies), strict=True)
    return np.array(accuracy), np.array(loss)


def assert_same(found, wanted, tolerance: float = 1e-9) -> None:
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n", [3, 5, 8, 9, 40])
def test_equals_copies(head, n):
    """Below, at and above as many rows as columns; rows again and times 2, a sum of rows, a zero row; a new class."""
    X, y = rows(n)
    y[y == "bee"] = "ant"
    head.fit(X, y, **({"pool": rows(50, seed=3)[0]} if head.pca else {}))
    more, labels = rows(15, seed=1)
    labels[:4] = ["bee", "bee", "ant", "dog"]
    more[4], more[5], more[6], more[7] = 2 * X[0], X[0] - X[1], 0, X[1]
    labels[4], labels[7] = "bee", y[1]
    test = rows(30, seed=2)
    assert_same(head.after_each(more, labels, *test), by_copies(head, more, labels, *test), 1e-8)


@pytest.mark.parametrize("n", [4, 8, 40])
def test_equals_fits_from_scratch(head, n):
    X, y = rows(n)
    pool = {"pool": X} if head.pca else {}
    more, labels = rows(10, seed=1)
    test = rows(30, seed=2)
    head.fit(X, y, **pool)
    fits = [clone(head).fit(np.vstack([X, more[[j]]]), np.append(y, labels[j]), **pool) for j in range(10)]
    accuracy, loss = zip(*(answers(fit, *test) for fit in fits), strict=True)
    assert_same(head.after_each(more, labels, *test), (np.array(accuracy), np.array(loss)), 1e-7)


def test_by_hand():
    """x -> w x through (1, "a"): scores (1, 0) x of "a" and, once it is known, "b", which starts at 0.

    (1, "b") makes both 1/2: a tie that "a" wins. (2, "b") has k = 2 / 5, so "a" falls by 2 * 2 / 5 to 1/5 and "b" rises
    to 2/5: x = 1 is a "b", x = -1 an "a". The inverse temperature is log 2 - log 1 = log 2 at epsilon = 1, so
    that p_b(1) = 2^(2/5) / (2^(1/5) + 2^(2/5)).
    """
    head = ClosedFormSoftmax(epsilon=1.0).fit([[1.0]], ["a"])
    accuracy, loss = head.after_each([[1.0], [2.0], [2.0]], ["b", "b", "a"], [[1.0], [-1.0]], ["b", "a"])
    assert accuracy.tolist() == [0.5, 1.0, 0.5]
    p = 2**0.4 / (2**0.2 + 2**0.4)
    # the last one leaves "a" at 1/5 * (1 + 4) = 1 less 2/5 * (2 - 1) = 3/5, the only class: "b" is not known
    np.testing.assert_allclose(loss, [np.log(2), -np.log(p), 26 * np.log(2)], rtol=1e-14)


def test_one_class_alone_and_labels_of_none():
    """Where only one class is known all are of it; what stays unknown counts as wrong, at 36.04 nats."""
    X, _ = rows(5)
    head = ClosedFormSoftmax().fit(X[:3], [7, 7, 7])
    largest = 52 * np.log(2)
    accuracy, loss = head.after_each(X[3:], [7, 7], X, [7, 7, 7, 8, 9])
    np.testing.assert_allclose(accuracy, 0.6)
    np.testing.assert_allclose(loss, 0.4 * largest)
    accuracy, loss = head.after_each(X, [7, 7, 7, 7, 7], X, [8, 9, 8, 9, 8])
    np.testing.assert_array_equal(accuracy, 0)
    np.testing.assert_allclose(loss, largest)


@pytest.mark.parametrize("y", [[5, 3, 9, 3, 1, 9], [5.0, 3.0, 9.0, 3.0, 1.0, 9.0], list("xaxpax")])
def test_several_new_classes_at_once(y):
    """Each is one more class for its own rows alone, wherever it stands among the others; labels of several kinds."""
    X, _ = rows(4)
    known = {int: [3, 5], float: [3.0, 5.0], str: ["b", "x"]}[type(y[0])]
    head = ClosedFormSoftmax().fit(X, known * 2)
    more, test = rows(6, seed=1)[0], rows(12, seed=2)[0]
    y_test = np.array(y * 2)
    given = more, np.array(y), test, y_test
    assert_same(head.after_each(*given), by_copies(head, *given))
    assert_same(head.after_each(*(part.tolist() for part in given)), by_copies(head, *given))


def test_rows_in_doubt_are_added_to_copies(monkeypatch):
    """A fit of all rows judges one that leaves their span by 1e-9 of its length, and norms far from 1."""
    X, y = rows(3)
    head = ClosedFormSoftmax().fit(X, y)
    more, labels = rows(6, seed=1)
    more[2] = X[0] + 1e-9 * more[2]
    more[4] *= 1e145
    test = rows(20, seed=2)
    wanted = by_copies(head, more, labels, *test)
    copied = []

    def counted(original):
        copied.append(original)
        return pickle.loads(pickle.dumps(original))

    monkeypatch.setattr(closed_form.copy, "deepcopy", counted)
    assert_same(head.after_each(more, labels, *test), wanted)
    assert len(copied) == 2


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e145, 1e155, 1e300])
def test_held_out_rows_of_any_scale(scale):
    X, y = rows(20)
    head = ClosedFormSoftmax().fit(X, y)
    more, labels = rows(5, seed=1)
    test, y_test = rows(20, seed=2)
    given = more, labels, test * scale, y_test
    assert_same(head.after_each(*given), by_copies(head, *given))


def test_blocks_change_nothing(monkeypatch):
    X, y = rows(20)
    y[y == "bee"] = "ant"
    head = ClosedFormSoftmax().fit(X, y)
    more, labels = rows(50, seed=1)
    test = rows(20, seed=2)
    whole = head.after_each(more, labels, *test)
    monkeypatch.setattr(closed_form, "row_blocks", lambda n, *_: [slice(i, min(i + 7, n)) for i in range(0, n, 7)])
    assert_same(head.after_each(more, labels, *test), whole, 1e-12)


@pytest.mark.parametrize("added", [0, 1, 20])
def test_nothing_changes(head, added):
    """Neither the head, bit for bit, whether it has been fitted or updated, nor what comes in."""
    X, y = rows(25)
    head.fit(X[:5], y[:5])
    if added:
        head.partial_fit(X[5 : 5 + added], y[5 : 5 + added])
    before = pickle.dumps(head)
    given = (*rows(10, seed=1), *rows(12, seed=2))
    copies = [part.copy() for part in given]
    first = head.after_each(*given, n_jobs=1)
    assert pickle.dumps(head) == before
    for part, part_before in zip(given, copies, strict=True):
        np.testing.assert_array_equal(part, part_before)
    for n_jobs in (2, None):
        for found, wanted in zip(head.after_each(*given, n_jobs=n_jobs), first, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_float32_and_torch():
    torch = pytest.importorskip("torch")
    X, y = rows(20)
    head = ClosedFormSoftmax().fit(X, y)
    more, labels = rows(10, seed=1)
    test, y_test = rows(12, seed=2)
    narrow, narrow_test = more.astype(np.float32), test.astype(np.float32)
    wanted = head.after_each(narrow.astype(float), labels, narrow_test.astype(float), y_test)
    for kind in (np.asarray, torch.from_numpy):
        assert_same(head.after_each(kind(narrow), labels, kind(narrow_test), y_test), wanted)


def test_bad_input_is_named():
    X, y = rows(10)
    with pytest.raises(NotFittedError):
        ClosedFormSoftmax().after_each(X, y, X, y)
    head = ClosedFormSoftmax().fit(X, y)
    for given, said in (
        ((X[:, :3], y, X, y), "^X has 3 features"),
        ((X, y[:3], X, y), "^Found input variables with inconsistent"),
        ((X * np.nan, y, X, y), "^Input X contains NaN"),
        ((X, np.arange(10), X, y), "^y must hold labels of the kind fitted before, such as .*ant.*; got .*0"),
        ((X[:0], y[:0], X, y), "^Found array with 0 sample"),
        ((X, y, X[:, :3], y), "X_test and y_test: X has 3 features"),
        ((X, y, X, y[:3]), "X_test and y_test: Found input variables with inconsistent"),
        ((X, y, np.full_like(X, np.inf), y), "X_test and y_test: Input X contains"),
        ((X, y, X[:0], y[:0]), "X_test and y_test: Found array with 0 sample"),
        ((X, y, X, np.arange(10)), "y_test must hold labels of the kind fitted before"),
    ):
        with pytest.raises(ValueError, match=said):
            head.after_each(*given)
    with pytest.raises(ValueError, match="n_jobs must be"):
        head.after_each(X, y, X, y, n_jobs=0)
