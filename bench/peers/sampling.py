"""D^2 sampling: BADGE, and the start of k-means++."""

from __future__ import annotations

from typing import Any

import numpy as np

from peers.covering import skactiveml_labels
from peers.registry import Array, peer


@peer("badge", "numpy", note="factored, as in the current public BADGE code; other draws from the same law")
def numpy_badge(X: Array, batch_size: int, *, q: Array, random_state: int) -> Array:
    rng = np.random.default_rng(random_state)
    sqnorms = np.einsum("ij,ij->i", X, X) * np.einsum("ij,ij->i", q, q)
    nearest = np.full(len(X), np.inf, X.dtype)
    picks = [int(sqnorms.argmax())]
    for _ in range(batch_size - 1):
        pick = picks[-1]
        sqdist = sqnorms + sqnorms[pick] - 2 * (q @ q[pick]) * (X @ X[pick])
        np.minimum(nearest, np.maximum(sqdist, 0, out=sqdist), out=nearest)
        nearest[picks] = 0
        running = nearest.cumsum(dtype=np.float64)
        picks.append(int(np.searchsorted(running, rng.random() * running[-1], side="right")))
    return np.array(picks)


@peer(
    "badge",
    "scikit-activeml",
    "skactiveml.pool",
    package="scikit-activeml",
    note="1.0.1 keeps the origin as a ghost centre, may pick a row twice, stores N x C d",
)
def skactiveml_badge(X: Array, batch_size: int, *, q: Array, random_state: int) -> Array:
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Badge

    class Fixed(SkactivemlClassifier):
        """A classifier that has already answered: the pseudo-label is where q = proba - onehot is negative."""

        def fit(self, *_: Any) -> Fixed:
            return self

        def predict_proba(self, _: Array) -> Array:
            proba = q.copy()
            proba[np.arange(len(q)), q.argmin(axis=1)] += 1
            return proba

    query = Badge(random_state=random_state).query
    return np.asarray(query(X, skactiveml_labels(len(X)), clf=Fixed(), fit_clf=False, batch_size=batch_size))


@peer("kmeans_plusplus", "scikit-learn", "sklearn.cluster", note="other draws from the same law")
def sklearn_plusplus(X: Array, batch_size: int, *, random_state: int) -> Array:
    from sklearn.cluster import kmeans_plusplus

    return np.asarray(kmeans_plusplus(X, batch_size, n_local_trials=1, random_state=random_state)[1])
