"""The labels that picked rows may get, and what each way of labelling them would tell about the models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Configurations:
    """Ways to label the rows picked so far: all of them, or from `n_samples` > `max_configurations` on a sample.

    models: (M, T), what the labels of a configuration make of T equally probable models, a distribution over them.
    weights: (M,), how probable the configuration is.
    exact: whether these are all configurations that are possible at all.

    A sample holds the same number of configurations from every model: the labels that this model would give, drawn
    independently of each other.
    """

    def __init__(self, n_models: int, max_configurations: int, n_samples: int) -> None:
        self.models: Floats = np.full((1, n_models), 1 / n_models)
        self.weights: Floats = np.ones(1)
        self.exact = True
        self._most, self._samples = max_configurations, -(-n_samples // n_models) * n_models
        self._learned: list[Floats] = []

    def learn(self, p: Floats, rng: np.random.Generator) -> None:
        """Takes in another pick, whose probabilities are p, (T, C)."""
        if not self.exact:
            self._sample(p, rng)
            return
        labels = p[:, p.max(axis=0) > 0]  # that some model thinks possible
        if len(self.models) * labels.shape[1] <= self._most:
            self._learned.append(p)
            self._extend(labels)
            return
        self.exact = False
        self.models = np.full((self._samples, len(p)), 1 / len(p))
        self.weights = np.full(self._samples, 1 / self._samples)
        for earlier in (*self._learned, p):
            self._sample(earlier, rng)

    def merged(self) -> tuple[Floats, Floats]:
        """Mixtures and weights of at most T groups of configurations: those with the same most probable model.

        The entropy of a mixture is not below the mean of what it mixes (Jensen), so these bound entropies from above.
        """
        group = self.models.argmax(axis=1)
        sums = [self.weights[group == g] @ self.models[group == g] for g in np.unique(group)]
        weights = np.sum(sums, axis=1)
        return np.array(sums) / weights[:, None], weights

    def _extend(self, p: Floats) -> None:
        chances = self.models @ p
        models = self.models[:, None, :] * p.T
        possible = chances * self.weights[:, None] > 0
        self.weights = (chances * self.weights[:, None])[possible]
        self.models = models[possible] / chances[possible][:, None]

    def _sample(self, p: Floats, rng: np.random.Generator) -> None:
        T = len(p)
        for t in range(T):
            own = self.models[t::T]
            upto = np.cumsum(p[t])
            drawn = np.searchsorted(upto, rng.random(len(own)) * upto[-1], side="right")
            drawn = np.minimum(drawn, np.flatnonzero(p[t])[-1])  # a product may round up to the total
            own *= p[:, drawn].T
            own /= own.sum(axis=1, keepdims=True)
