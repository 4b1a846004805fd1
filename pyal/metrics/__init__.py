"""What a labelling budget has bought, and what more of it is likely to buy: numbers made of learning curves, and
`cross_entropy` and `balanced_accuracy` of one classifier.

A set of learning curves is `acc` (S, R): the accuracy (or any score of which more is better) of seed s after round r,
with `n_labels` (R,) labels by then. A NaN is a measurement that is missing: what depends on it is NaN.
"""

from pyal.metrics.curves import (
    active_learning_gain,
    aubc,
    balanced_accuracy,
    curves_checked,
    effective_budget_ratio,
    label_efficiency,
    n_labels_checked,
    paired_p_values,
    pairwise_penalty_matrix,
    standard_deviation,
    standard_error,
)
from pyal.metrics.forecasts import Forecast, forecast
from pyal.metrics.likelihood import class_positions, cross_entropy

__all__ = [
    "Forecast", "active_learning_gain", "aubc", "balanced_accuracy", "class_positions", "cross_entropy",
    "curves_checked", "effective_budget_ratio", "forecast", "label_efficiency", "n_labels_checked", "paired_p_values",
    "pairwise_penalty_matrix", "standard_deviation", "standard_error",
]  # fmt: skip
