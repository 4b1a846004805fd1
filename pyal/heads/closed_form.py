"""Softmax regression in closed form: least squares on log targets, to which labels can be added one by one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from pyal.arrays import n_jobs_checked, number, row_blocks, size
from pyal.heads.inputs import checked_X, checked_X_y, one_hot, softmax
from pyal.kernels import rank_one_gains
from pyal.kernels.least_squares import LeastSquares
from pyal.metrics import class_positions, cross_entropy
from pyal.metrics.likelihood import LARGEST

_SOLVERS = ("solve", "inv", "pinv", "ridge")
_RIDGE = 1e-2  # times tr(X'X) / d
_LARGEST_MOVE = 1e140  # of a held-out row: far above, products of scores leave the range of float64


def principal_components(pool: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(mean (d,), components (k, d)) of the rows, by variance, from the covariance in float64.

    Of each component the entry of largest size is positive. Memory: O(d^2) and blocks of rows.
    """
    n, d = pool.shape
    mean = sum((pool[part].astype(np.float64).sum(0) for part in row_blocks(n, d)), np.zeros(d)) / n
    covariance = np.zeros((d, d))
    for part in row_blocks(n, d):
        centred = pool[part] - mean
        covariance += centred.T @ centred
    components = np.linalg.eigh(covariance)[1][:, : -k - 1 : -1].T
    largest = np.abs(components).argmax(1)
    return mean, components * np.sign(components[np.arange(k), largest])[:, None]


def _runs(values: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """The (begin, end) of equal neighbours."""
    edges = np.flatnonzero(np.diff(values)) + 1
    return pairwise([0, *edges.tolist(), len(values)]) if len(values) else iter(())


class PrincipalComponents(NamedTuple):
    """Of a pool: its mean (d,) and its components (k, d), both float64."""

    mean: NDArray[np.float64]
    components: NDArray[np.float64]


class ClosedFormSoftmax(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Softmax regression without iterations: W = argmin |X W - log(Y + epsilon)|, probabilities softmax(x W).

    Y (n, C) is one-hot. Since log(Y + epsilon) = log(epsilon) + (log1p(epsilon) - log(epsilon)) Y, the predicted class
    is the one that least squares on Y predicts, whatever epsilon is. The probabilities are softmax(73.68 x W_onehot)
    for 1e-32: epsilon is an inverse temperature, and these are peaked. Where X lacks full column rank, W is the
    solution of least norm. Where there are about as many rows as columns, the fit interpolates and accuracy dips;
    "ridge" does not. Nothing is random.

    solver: how (X'X)^-1 X' is applied, in float64 and from a QR factor of X. "solve" solves triangular systems, "inv"
        inverts X'X, "pinv" takes the singular values of X, of which those up to max(n, d) eps times the largest count
        as 0 (NumPy's lstsq), and "ridge" takes (X'X + alpha I)^-1. "solve" and "inv" turn to "pinv" where X has fewer
        rows than columns or an estimated reciprocal condition up to max(n, d) eps. LAPACK often raises nothing there,
        so each fit looks at it; all three give the same W up to rounding.
    pca: the number of principal components that X is reduced to. None: X is taken as it is. They are of `pool` where
        `fit` is given one, as a loop does, else of X.
    epsilon: above 0.
    fit_intercept: whether to append a column of ones, which "ridge" shrinks like the others.
    alpha: of "ridge". None: 1e-2 tr(X'X) / d.

    After `fit` there are classes_, coef_ (C, d) and intercept_ (C,) with W = coef_.T, rank_, alpha_ (0 without ridge),
    and with pca mean_ (d,) and components_ (k, d). Memory: O(d^2 + d C), whatever n is. Source: Coello de Portugal
    2023, Active Learning for Semi-Supervised Image Classification (master's thesis, Hildesheim).

    >>> head = ClosedFormSoftmax().fit([[0.0, 1.0], [1.0, 0.0], [1.0, 0.1]], ["cat", "dog", "dog"])
    >>> head.partial_fit([[0.1, 1.0]], ["bird"]).predict([[1.0, 0.2]]).tolist()
    ['dog']
    """

    takes_in_rows = True  # a loop with start="warm" has new labels taken in by partial_fit, one update for each

    def __init__(
        self,
        solver: Literal["solve", "inv", "pinv", "ridge"] = "solve",
        pca: int | None = None,
        epsilon: float = 1e-32,
        fit_intercept: bool = False,
        alpha: float | None = None,
    ) -> None:
        self.solver = solver
        self.pca = pca
        self.epsilon = epsilon
        self.fit_intercept = fit_intercept
        self.alpha = alpha

    def of_pool(self, pool: Any) -> PrincipalComponents | None:
        """What `fit` takes of a pool (N, d), labelled or not, to be found once for many fits; None without pca."""
        self._check_parameters()
        if self.pca is None:
            return None
        rows = checked_X(clone(self), pool, first=True)
        k = size(self.pca, "pca", 1, min(rows.shape), " (the smaller side of pool)")
        return PrincipalComponents(*principal_components(rows, k))

    def fit(self, X: Any, y: Any, pool: Any = None) -> ClosedFormSoftmax:
        """Fits X (n, d) and labels y (n,). With pca, pool gives the principal components: rows (N, d), or `of_pool`."""
        X, y = checked_X_y(self, X, y, first=True)
        self._check_parameters()
        self._reduce_to(X, pool)
        self.classes_ = np.unique(y)
        self._least_squares = self._fitted(self._columns(X), one_hot(y, self.classes_))
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> ClosedFormSoftmax:
        """Takes in further rows X (m, d) with labels y (m,), in O(d^2 + d C) a row; this equals a fit of all rows.

        Labels may be new, and `classes` may add classes before they turn up. Principal components and parameters stay
        as at the `fit` that this continues. With solver="ridge" and alpha=None every call fits all rows again, in
        O(d^3), as alpha
        changes with every row: give alpha where that matters. `LeastSquares` says how rounding is kept from piling up.
        """
        first = not hasattr(self, "classes_")
        X, y = checked_X_y(self, X, y, first=first)
        known = np.unique(y if classes is None else np.concatenate([np.unique(classes), np.unique(y)]))
        if first:
            self._check_parameters()
            self._reduce_to(X, None)
            self.classes_ = known
            self._least_squares = self._fitted(self._columns(X), one_hot(y, known))
            return self
        self._check_kind(known, "y")
        merged = np.union1d(self.classes_, known)
        for at in np.flatnonzero(~np.isin(merged, self.classes_)):
            self._least_squares.add_targets(int(at))
        self.classes_ = merged
        self._least_squares.add(self._columns(X), one_hot(y, merged))
        return self

    def after_each(
        self, X: Any, y: Any, X_test: Any, y_test: Any, *, n_jobs: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What `partial_fit` of each row alone would make of a held-out set: (accuracy (m,), loss (m,)).

        This is what copies of the head would answer, with row j and its label y_j added to copy j, for all j at once;
        the head stays as it is. The loss is `pyal.metrics.cross_entropy`: nats, at most 36.04 for a row. Where y_j is
        new it is one more class for row j alone. Labels in y_test that are not known then count as wrong, with the
        largest loss. O(d^2 + V d + V C) a row; but rows that an update does not do for (`partial_fit` says which, with
        solver="ridge" and alpha=None all) are added to copies one by one. Memory: O(d^2 + V (d + C)) and some 60 MB.

        X: (m, d) rows.
        y: (m,) the label that each would be given.
        X_test: (V, d) held-out rows.
        y_test: (V,) their labels.
        n_jobs: CPU threads. None: all that this process may use.

        >>> head = ClosedFormSoftmax().fit([[0.0, 1.0]], ["cat"])
        >>> X, y = [[1.0, 0.0], [1.0, 1.0]], ["dog", "cat"]
        >>> accuracy, loss = head.after_each(X, y, [[1.0, 0.1], [0.0, 1.0]], ["dog", "cat"])
        >>> accuracy.tolist(), loss.round(2).tolist()
        ([1.0, 0.5], [0.0, 18.02])
        """
        check_is_fitted(self)
        n_jobs = n_jobs_checked(n_jobs)
        X, y = checked_X_y(self, X, y, first=False)
        self._check_kind(y, "y")
        try:
            X_test, y_test = checked_X_y(self, X_test, y_test, first=False)
        except ValueError as error:
            raise ValueError(f"X_test and y_test: {error}") from error
        self._check_kind(y_test, "y_test")
        rows = self._columns(X_test)
        scores, reach = rows @ self._least_squares.coef.T, float(np.abs(rows).max())
        group = class_positions(y, np.union1d(self.classes_, y))
        group[np.isin(y, self.classes_)] = -1  # else by the new class
        accuracy, loss = np.empty(len(X)), np.empty(len(X))
        for part in row_blocks(len(X), len(rows) + 4 * rows.shape[1], 4):
            at = part.start + np.argsort(group[part], kind="stable")
            x = self._columns(X[at])
            K, sure = self._least_squares.steps(x)
            sure &= np.abs(K).max(axis=1) < _LARGEST_MOVE / max(reach, 1.0)
            for j in at[~sure]:
                head = copy.deepcopy(self).partial_fit(X[j : j + 1], y[j : j + 1])
                accuracy[j] = (head.predict(X_test) == y_test).mean()
                loss[j] = cross_entropy(y_test, head.predict_proba(X_test), head.classes_)
            at, x, G = at[sure], x[sure], K[sure] @ rows.T
            for begin, end in _runs(group[at]):
                j = at[begin:end]
                moved = self._moved(x[begin:end], y[j], scores, y_test)
                correct, loss[j] = rank_one_gains(
                    G[begin:end], *moved, scale=self._spread, cap=LARGEST, n_jobs=n_jobs
                )  # fmt: skip
                accuracy[j] = correct / len(rows)
        return accuracy, loss

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities (N, C) of the classes in classes_."""
        check_is_fitted(self)
        scores = self._scores(X)
        scores *= self._spread
        return softmax(scores)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of every row, (N,)."""
        check_is_fitted(self)
        return self.classes_[self._scores(X).argmax(1)]  # type: ignore[no-any-return]

    @property
    def coef_(self) -> NDArray[np.float64]:
        """W' without the intercept: (C, d), or (C, pca) in the principal components."""
        weights = self._weights()
        return weights[:, :-1] if self._ones else weights

    @property
    def intercept_(self) -> NDArray[np.float64]:
        """(C,); 0 without fit_intercept."""
        weights = self._weights()
        return weights[:, -1] if self._ones else np.zeros(len(weights))

    @property
    def rank_(self) -> int:
        """The rank of X (of X'X + alpha I with ridge), the column of ones included."""
        return self._least_squares.rank

    @property
    def alpha_(self) -> float:
        """The multiple of the identity added to X'X."""
        return self._least_squares.penalty

    @property
    def _spread(self) -> float:
        """The inverse temperature of x W_onehot."""
        return float(np.log1p(self._epsilon) - np.log(self._epsilon))

    def _check_kind(self, y: NDArray[Any], name: str) -> None:
        if (y.dtype.kind in "USO") != (self.classes_.dtype.kind in "USO"):
            raise ValueError(
                f"{name} must hold labels of the kind fitted before, such as {self.classes_[0]!r}; got {y[0]!r}"
            )

    def _moved(
        self, x: NDArray[np.float64], y: NDArray[Any], scores: NDArray[np.float64], y_test: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """errors, scores and labels for `rank_one_gains`; rows x are of known classes, or all of one new class."""
        coef, classes = self._least_squares.coef, np.union1d(self.classes_, y)
        for new in np.flatnonzero(~np.isin(classes, self.classes_)):
            coef, scores = np.insert(coef, new, 0.0, axis=0), np.insert(scores, new, 0.0, axis=1)
        errors, labels = one_hot(y, classes) - x @ coef.T, class_positions(y_test, classes)
        if (labels < 0).any():  # one more class, which nothing is predicted to be
            errors = np.hstack([errors, np.zeros((len(errors), 1))])
            scores = np.hstack([scores, np.full((len(scores), 1), -np.inf)])
            labels[labels < 0] = len(classes)
        return errors, scores, labels

    def _check_parameters(self) -> None:
        if self.solver not in _SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(map(repr, _SOLVERS))}; got {self.solver!r}")
        if self.alpha is not None and self.solver != "ridge":
            raise ValueError(f"alpha is only for solver='ridge'; got alpha={self.alpha!r} with {self.solver!r}")
        self._epsilon = number(self.epsilon, "epsilon")
        self._ones = bool(self.fit_intercept)  # parameters may have changed by the partial_fit that continues this fit

    def _reduce_to(self, X: NDArray[Any], pool: Any) -> None:
        self.__dict__.pop("components_", None)
        if self.pca is None:
            if pool is not None:
                raise ValueError("pool is only for pca; got pool with pca=None")
            return
        if isinstance(pool, PrincipalComponents):
            if pool.components.shape != (self.pca, X.shape[1]):
                raise ValueError(
                    f"pool must hold {self.pca} components of {X.shape[1]} columns; got {pool.components.shape}"
                )
            self.mean_, self.components_ = pool.mean, pool.components
            return
        rows = X if pool is None else checked_X(self, pool, first=False)
        k = size(self.pca, "pca", 1, min(rows.shape), f" (the smaller side of {'X' if pool is None else 'pool'})")
        self.mean_, self.components_ = principal_components(rows, k)

    def _fitted(self, X: NDArray[np.float64], Y: NDArray[np.float64]) -> LeastSquares:
        if self.solver != "ridge":
            return LeastSquares(X, Y, method=self.solver)
        if self.alpha is None:
            return LeastSquares(X, Y, ridge=_RIDGE, relative=True)
        return LeastSquares(X, Y, ridge=number(self.alpha, "alpha"))

    def _columns(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """The columns that are regressed on, float64."""
        if hasattr(self, "components_"):
            X = (X - self.mean_) @ self.components_.T
        X = np.ascontiguousarray(X, np.float64)
        return np.hstack([X, np.ones((len(X), 1))]) if self._ones else X

    def _weights(self) -> NDArray[np.float64]:
        coef = self._least_squares.coef
        # Each row of Y sums to 1, so the sum of its columns' fits is the fit of a column of ones.
        weights: NDArray[np.float64] = self._spread * coef + np.log(self._epsilon) * coef.sum(0)
        return weights

    def _scores(self, X: Any) -> NDArray[np.float64]:
        """x W_onehot, (N, C)."""
        X = checked_X(self, X, first=False)
        coef = self._least_squares.coef
        scores = np.empty((len(X), len(coef)))
        for part in row_blocks(len(X), X.shape[1]):
            scores[part] = self._columns(X[part]) @ coef.T
        return scores
