"""Examples whose gains are a known function of two features, and noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.surrogate import Examples

COLUMNS = ("typicality", "entropy", "step", "margin", "validation_loss", "validation_accuracy")


def truth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A step in entropy and a slope in margin: 0 .. 2, variance 1/4 + 1/12 for uniform features."""
    return (values[:, 1] > 0.5) + values[:, 3]


def logged(
    *,
    repetitions: int = 4,
    steps: int = 40,
    candidates: int = 5,
    scale: float = 1e-3,
    noise: float = 0.1,
    **changed: Any,
) -> Examples:
    """`candidates` rows of each step, the first one picked, by repetition; uniform features."""
    rng = np.random.default_rng(17)
    n = repetitions * steps * candidates
    values = rng.random((n, len(COLUMNS)))
    step = np.arange(n) // candidates % steps
    values[:, 2] = step / steps
    gains = scale * (truth(values) + noise * rng.standard_normal(n))
    picked = np.arange(n) % candidates == 0
    given = {
        "columns": COLUMNS,
        "values": values,
        "gain_accuracy": gains,
        "gain_loss": -gains,
        "seed": np.arange(n) // (candidates * steps),
        "strategy": np.where(picked, "margin", ""),
        "n_labels": step + 10,
        "picked": picked,
        "group": np.arange(n) // candidates,
        "domain": {"name": "made", "columns_of_X": 8, "head": "ridge"},
    }
    return Examples(**{**given, **changed})
