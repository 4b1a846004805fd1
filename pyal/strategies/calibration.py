"""Class probabilities made as sure as they are right, by the temperature that calibrates them on labelled rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
