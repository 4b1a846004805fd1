"""What a round's classifier is worth on held-out rows, and what it would be worth with one more label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_numpy
from pyal.loop.learner import EstimatorLearner, HeldOut, model, on_host
from pyal.metrics import cross_entropy

Refit = Callable[[int, Any], Any]


@dataclass(frozen=True, eq=False)
class Validation:
    """Of one round: accuracy and loss on held-out rows, the mean cross-entropy in nats (`pyal.metrics.cross_entropy`).

    learner: as fitted in this round. refit: (position, label) -> what the learner would be with this label too.
    """

    held_out: HeldOut
    learner: EstimatorLearner
    refit: Refit
    accuracy: float
    loss: float

    @classmethod
    def of(cls, held_out: HeldOut, learner: EstimatorLearner, refit: Refit) -> Validation:
        """What the fitted learner is worth."""
        return cls(held_out, learner, refit, *_worth(learner, held_out))

    def after_each(
        self, positions: NDArray[np.int64], labels: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(accuracy (m,), loss (m,)) that the learner would have with each of these labels alone.

        By rank-one updates where the classifier has `after_each`, as `pyal.heads.ClosedFormSoftmax` does, else by a fit
        for each.
        """
        if callable(getattr(model(self.learner), "after_each", None)):
            rows, test = on_host(self.learner.X.take(positions)), on_host(self.held_out.X)
            accuracy, loss = model(self.learner).after_each(rows, labels, test, self.held_out.y)
            return np.asarray(accuracy, np.float64), np.asarray(loss, np.float64)
        pairs = zip(positions.tolist(), labels.tolist(), strict=True)
        worth = [_worth(self.refit(position, label), self.held_out) for position, label in pairs]
        found = np.array(worth, np.float64).reshape(-1, 2)
        return found[:, 0], found[:, 1]


def _worth(learner: EstimatorLearner, held_out: HeldOut) -> tuple[float, float]:
    """Accuracy, and mean cross-entropy."""
    accuracy = float(np.mean(learner.predict_rows(held_out.X) == held_out.y))
    classes = as_numpy(learner.classes_, "classes_")
    return accuracy, cross_entropy(held_out.y, learner.proba_of_rows(held_out.X), classes)
