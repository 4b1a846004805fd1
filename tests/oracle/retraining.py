"""The closed form of kernel regression, trained from scratch, and what learning one more row is worth."""

from __future__ import annotations

import numpy as np


def learned_predictions(K, f, learned, taught, ridge: float) -> np.ndarray:
    """(n, C) predictions of the closed form trained from scratch on the rows `learned` with the classes `taught`."""
    K, f = np.asarray(K, np.float64), np.asarray(f, np.float64)
    if not len(learned):
        return f
    Y = np.eye(f.shape[1])[taught]
    weights = np.linalg.solve(K[np.ix_(learned, learned)] + ridge * np.eye(len(learned)), Y - f[learned])
    return f + K[:, learned] @ weights


def variances(K, learned, ridge: float) -> np.ndarray:
    """(n,) diagonal of the posterior kernel."""
    K = np.asarray(K, np.float64)
    if not len(learned):
        return K.diagonal().copy()
    reduced = np.linalg.solve(K[np.ix_(learned, learned)] + ridge * np.eye(len(learned)), K[learned])
    return K.diagonal() - (K[:, learned] * reduced.T).sum(axis=1)


def on_simplex(v: np.ndarray) -> np.ndarray:
    """The point of the probability simplex nearest to v."""
    ordered = np.sort(v)[::-1]
    thresholds = (np.cumsum(ordered) - 1) / np.arange(1, len(v) + 1)
    return np.maximum(v - thresholds[np.flatnonzero(ordered > thresholds)[-1]], 0)


def lookahead_objective(before, after, targets, objective: str) -> float:
    """What learning one row that moves the predictions from `before` to `after` is worth."""
    rows = np.arange(len(before))
    if objective == "risk":
        return float((after.argmax(axis=1) != targets).sum())
    if objective == "agreement":
        return float((after.argmax(axis=1) == before.argmax(axis=1)).sum())
    if objective == "soft_risk":
        return float(((1 - after[rows, targets]) ** 2).sum())
    if objective == "output_change":
        return float(np.linalg.norm(after - before, axis=1).sum())
    return float(sum(1 - on_simplex(v).max() for v in after))


def retrained(K, f, learned, taught, j: int, label: int, ridge: float, determined: float) -> np.ndarray:
    """Predictions after row j was learned too; a row that what is learned determines changes nothing."""
    if variances(K, learned, ridge)[j] + ridge <= determined * (np.asarray(K, np.float64)[j, j] + ridge):
        return learned_predictions(K, f, learned, taught, ridge)
    return learned_predictions(K, f, [*learned, j], [*taught, label], ridge)
