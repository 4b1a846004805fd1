"""Several classifiers of one kind, whose disagreement strategies such as BALD ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from pyal.arrays import generator, size
from pyal.heads.inputs import checked_X, checked_X_y


class Committee(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Members of one kind, each fitted to labels drawn from its own, or from its own seed alone.

    estimator: any scikit-learn classifier with predict_proba. None: LogisticRegression.
    n_members: T, 2 or more.
    bootstrap: True fits each member to a sample with replacement, drawn class by class, so that every member knows
        every class. False fits all to the same rows, so that members differ only by their random_state: what is not
        random makes members that agree everywhere.
    random_state: None, an int, a Generator or a RandomState.

    After fit: classes_, members_.

    >>> X, y = np.array([[0.0], [1.0], [4.0], [5.0]]), [0, 0, 1, 1]
    >>> Committee(n_members=3, random_state=0).fit(X, y).stochastic_proba(X).shape
    (3, 4, 2)
    """

    def __init__(
        self, estimator: Any = None, n_members: int = 5, bootstrap: bool = True, random_state: Any = None
    ) -> None:
        self.estimator = estimator
        self.n_members = n_members
        self.bootstrap = bootstrap
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Committee:
        """Fits the members to X (n, d) and labels y (n,); labels of one class alone are learned too."""
        from sklearn.dummy import DummyClassifier
        from sklearn.linear_model import LogisticRegression

        X, y = checked_X_y(self, X, y, first=True)
        members, rng = size(self.n_members, "n_members", 2), generator(self.random_state)
        self.classes_ = np.unique(y)
        kind = LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator
        if len(self.classes_) == 1:  # most classifiers need two
            kind = DummyClassifier(strategy="prior")
        self.members_ = []
        for _ in range(members):
            member = clone(kind)
            seeds = [name for name in member.get_params() if name.split("__")[-1] == "random_state"]
            member.set_params(**{name: int(rng.integers(2**31)) for name in seeds})
            rows = self._drawn(y, rng) if self.bootstrap else np.arange(len(y))
            self.members_.append(member.fit(X[rows], y[rows]))
        return self

    def stochastic_proba(self, X: Any, n_passes: int | None = None, random_state: Any = None) -> NDArray[np.float64]:  # noqa: ARG002
        """(T, N, C) probabilities of the members, as `pyal.select(..., proba=)` takes them for BALD.

        n_passes: T, which is the number of members; another one is a ValueError. random_state: nothing is random here.
        """
        check_is_fitted(self)
        X = checked_X(self, X, first=False)
        if n_passes is not None and n_passes != len(self.members_):
            raise ValueError(f"n_passes must be the number of members, {len(self.members_)}; got {n_passes!r}")
        return np.stack([np.asarray(member.predict_proba(X), np.float64) for member in self.members_])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The mean of the members' probabilities, (N, C), of the classes in classes_."""
        return np.asarray(self.stochastic_proba(X).mean(axis=0))

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of every row, (N,)."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]  # type: ignore[no-any-return]

    def _drawn(self, y: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
        """Ascending positions, as many of each class as it has, drawn with replacement."""
        of_each = (np.flatnonzero(y == label) for label in self.classes_)
        return np.sort(np.concatenate([rng.choice(rows, len(rows)) for rows in of_each]))
