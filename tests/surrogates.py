"""A stand-in for a fitted surrogate, which predicts a weighted sum of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Weighted:
    """What the strategy asks of a model; weights by column."""

    def __init__(self, weights: Mapping[str, float], **domain: Any) -> None:
        self.weights, self.domain = weights, domain
        self.columns = tuple(weights)
        self.seen: list[np.ndarray] = []

    def check(self, domain_now: Mapping[str, Any]) -> None:
        for key, value in domain_now.items():
            if self.domain.get(key, value) != value:
                raise ValueError(f"fitted with {key}={self.domain[key]!r}, and here it is {value!r}")

    def predict(self, values: np.ndarray, columns: Sequence[str]) -> np.ndarray:
        assert tuple(columns) == self.columns
        self.seen.append(values)
        return values @ np.array(list(self.weights.values()))


UNSURE_AND_FAR = Weighted({"entropy": 1.0, "coreset_distance": 0.5, "typicality": 1e-3})
