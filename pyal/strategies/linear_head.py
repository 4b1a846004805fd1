"""The linear classifier that strategies fit to the labelled rows by themselves, or take from their caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import Matrix, as_numpy, row_blocks
from pyal.pool import Pool

Floats = NDArray[np.float64]

_EPSILON = 1e-3  # of the targets: a row fitted exactly has the probability 0.99 among ten classes


@dataclass(frozen=True, eq=False)
class LinearMap:
    """Scores x weights' + bias, of which softmax makes probabilities. weights: (C, d). bias: (C,)."""

    weights: Floats
    bias: Floats

    def scores(self, rows: Floats) -> Floats:
        return np.asarray(rows @ self.weights.T + self.bias)

    def predict_proba(self, rows: Floats) -> Floats:
        from pyal.heads.inputs import softmax  # scikit-learn comes with it

        return np.asarray(softmax(self.scores(rows)))


def fitted_head(pool: Pool) -> LinearMap:
    """Softmax regression in closed form, with ridge, on the labelled rows of X as the metric takes them.

    It is `pyal.heads.ClosedFormSoftmax` with solver="ridge" and epsilon=1e-3 on rows that are centred and divided by
    one number, so that neither an offset nor a scale matters. Nothing is random. A class per label, in their order.
    """
    from pyal.heads import ClosedFormSoftmax

    assert pool.y is not None
    rows = np.asarray(as_numpy(pool.X.take(pool.labeled), "X"), np.float64)
    mean = rows.mean(axis=0)
    rows = rows - mean
    scale = float(np.sqrt((rows * rows).sum(axis=1).mean())) or 1.0
    classes = np.unique(pool.y, return_inverse=True)[1].reshape(-1)
    head = ClosedFormSoftmax(solver="ridge", epsilon=_EPSILON, fit_intercept=True).fit(rows / scale, classes)
    weights = head.coef_ / scale
    return LinearMap(weights, head.intercept_ - weights @ mean)


def linear_map(head: Any, d: int) -> LinearMap:
    """The weights of a fitted head, coef_ (C, d) and intercept_ (C,); one row of them means two classes.

    Raises TypeError where it has none, ValueError where they do not fit rows of d columns.
    """
    if not hasattr(head, "coef_"):
        raise TypeError(
            "head must be a fitted linear classifier, with coef_ and intercept_ as scikit-learn's LogisticRegression "
            f"has them, or None; got {type(head).__name__}"
        )
    weights = np.atleast_2d(np.asarray(as_numpy(head.coef_, "head.coef_"), np.float64))
    bias = np.asarray(as_numpy(getattr(head, "intercept_", 0.0), "head.intercept_"), np.float64)
    bias = np.broadcast_to(bias, (len(weights),)) if bias.size == 1 else bias
    if weights.shape[1] != d or bias.shape != (len(weights),):
        raise ValueError(
            f"head must have coef_ (C, {d}) and intercept_ (C,), for the columns of X; got {weights.shape} and "
            f"{bias.shape}"
        )
    if len(weights) == 1:  # of the second class against the first
        weights, bias = np.vstack([0 * weights, weights]), np.array([0.0, bias[0]])
    return LinearMap(weights, bias)


def predicted_classes(head: Any, rows: Floats) -> NDArray[np.int64]:
    """(m,) columns of the largest probabilities that a head gives these rows; errors name the head."""
    proba = np.asarray(as_numpy(head.predict_proba(rows), "head.predict_proba"))
    if proba.ndim != 2 or len(proba) != len(rows):
        raise ValueError(f"head.predict_proba must give ({len(rows)}, C) for as many rows; got {proba.shape}")
    return np.asarray(proba.argmax(axis=1))


def host_blocks(*matrices: Matrix) -> Iterator[tuple[slice, list[Floats]]]:
    """Slices of rows and their float64 values in each of the matrices, on the host, a few MB at a time."""
    for part in row_blocks(matrices[0].n, len(matrices) * matrices[0].d):
        yield part, [np.array(as_numpy(X.part(part), "X"), np.float64, subok=False) for X in matrices]
