"""Class probabilities made as sure as they are right, by the temperature that calibrates them on labelled rows.

What UHerding makes of them stands here too: what each row counts, and how near labelled rows lie to each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import as_numpy
from pyal.pool import Pool
from pyal.strategies.label_columns import class_columns
from pyal.strategies.scores import two_largest

TEMPERATURES = np.arange(10, 200) / 10  # 1.0 to 19.9
BINS = 15


def tempered(p: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """p^(1 / temperature), each row divided by its sum: the softmax of logits over the temperature.

    >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3)
    array([[0.667, 0.333]])
    """
    powers = (p / p.max(axis=-1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def calibration_error(p: NDArray[np.float64], columns: NDArray[np.int64]) -> float:
    """The expected calibration error: |mean confidence - share right| over 15 equal bins of confidence, by their rows.

    columns: (n,) the right column of each row. A bin holds confidences from above its lower end to its upper end.

    >>> calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])).__round__(3)
    0.4
    """
    sure = p.max(axis=1)
    excess = sure - (p.argmax(axis=1) == columns)
    bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return float(abs(np.bincount(bins, excess, BINS)).sum() / len(p))


def fitted_temperature(p: NDArray[np.float64], columns: NDArray[np.int64]) -> float:
    """The temperature of 1.0, 1.1, ..., 19.9 with the least calibration error, the lowest where several have it."""
    errors = [calibration_error(tempered(p, float(t)), columns) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(np.round(errors, 12)))])


def uncertainties(pool: Pool, uncertainty: str, temperature: float | None) -> NDArray[np.float64]:
    """(N,) what the rows count. Labelled rows may count, too: they are covered, so that nothing adds to them."""
    assert pool.proba is not None
    passes = pool.proba if pool.proba.ndim == 3 else pool.proba[None]
    if temperature is None:
        known = np.asarray(passes[:, pool.labeled], np.float64).mean(axis=0)
        temperature = fitted_temperature(known, class_columns(pool))
    weights = np.empty(pool.n)
    for part, block in pool.proba_blocks():
        p = tempered(block.mean(axis=0), float(temperature))
        if uncertainty == "entropy":
            weights[part] = kernels.mixture_entropies(p, n_jobs=pool.n_jobs)
            continue
        most, second = two_largest(p)
        weights[part] = 1 - most + (second if uncertainty == "margin" else 0)
    return np.maximum(weights, 0)  # a sum of probabilities may round to more than 1


def closest_labels(pool: Pool) -> float | None:
    """The smallest distance between two labelled rows that are not the same row, None where there are no two.

    Rows at norm 1 that are multiples of each other differ by rounding, in half precision by some ten thousandths.
    """
    rows = np.unique(as_numpy(pool.X.take(pool.labeled), "X"), axis=0)
    if len(rows) < 2:
        return None
    same = 1e-6 * float(as_numpy(kernels.sqnorms(rows), "X").mean())
    square = as_numpy(kernels.knn(rows, len(rows) - 1, n_jobs=pool.n_jobs)[0], "X")
    return float(np.sqrt(square[square > same].min())) if (square > same).any() else None
