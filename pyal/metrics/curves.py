"""Numbers made of learning curves: areas, label efficiency, tests over the seeds; and what a curve must be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_numpy, number, size

Array = NDArray[np.float64]


def aubc(acc: Any, n_labels: Any = None, *, mode: str = "mean", start: int = 0) -> Array:
    """(S,) area under the budget curve of each seed, in the units of acc.

    acc: (S, R).
    n_labels: (R,), rising; only mode="trapz" needs it.
    mode: "mean" is the plain mean over the rounds. "trapz" is the integral over the labels divided by their range, the
        only meaningful one where batches differ in size; it needs two rounds.
    start: how many of the first rounds are left out.

    Raises ValueError or TypeError for what does not fit. Memory: O(S R).

    >>> aubc([[0.5, 0.7, 0.9]]).round(3).tolist()
    [0.7]
    >>> aubc([[0.5, 0.7, 0.9]], [10, 20, 100], mode="trapz").round(3).tolist()
    [0.778]
    """
    curves = curves_checked(acc, "acc")
    first = size(start, "start", 0, curves.shape[1] - 1, " (the last round)")
    if mode not in ("mean", "trapz"):
        raise ValueError(f"mode must be 'mean' or 'trapz'; got {mode!r}")
    if n_labels is None and mode == "trapz":
        raise ValueError("mode='trapz' needs n_labels, which is missing")
    labels = None if n_labels is None else n_labels_checked(n_labels, curves)[first:]
    curves = curves[:, first:]
    if mode == "mean" or labels is None:
        return np.asarray(curves.mean(axis=1))
    if len(labels) < 2:
        raise ValueError(f"mode='trapz' needs at least 2 rounds; got {len(labels)} after start={first}")
    middles = (curves[:, 1:] + curves[:, :-1]) / 2
    return np.asarray(middles @ np.diff(labels) / (labels[-1] - labels[0]))


def label_efficiency(
    acc: Any, acc_random: Any, n_labels: Any, target: float, *, n_labels_random: Any = None, interpolate: bool = True
) -> float:
    """The labels that random needs to reach `target`, divided by the labels that the method needs: above 1 is good.

    Both curves are averaged over the seeds and made monotone by a running maximum. The result is NaN where one of them
    never reaches the target, or has a NaN before it does.

    acc: (S, R) of the method.
    acc_random: (S', R') of random.
    n_labels: (R,) of the method.
    target: in the units of acc.
    n_labels_random: (R',) of random. None: n_labels.
    interpolate: whether to interpolate linearly between rounds. False counts whole rounds, the literal definition.

    Raises ValueError or TypeError for what does not fit. Memory: O(R). Source: Best Practices in Pool-based Active
    Learning for Image Classification (2021), appendix A.12.

    >>> label_efficiency([[0.5, 0.9]], [[0.4, 0.6]], [10, 20], 0.6)
    1.6
    """
    curves, random = curves_checked(acc, "acc"), curves_checked(acc_random, "acc_random")
    labels = n_labels_checked(n_labels, curves)
    random_labels = n_labels_checked(
        n_labels if n_labels_random is None else n_labels_random, random, "n_labels_random"
    )
    wanted = number(target, "target", -np.inf)
    return _labels_to(wanted, random, random_labels, interpolate) / _labels_to(wanted, curves, labels, interpolate)


def effective_budget_ratio(acc: Any, acc_random: Any, n_labels: Any, *, weight: str = "labels") -> float:
    """The share of the budget, 0 to 1, at which the method beats random by more than one standard deviation of random.

    The deviation is the sample's (ddof=1). One seed of random has none, and then the result is NaN.

    acc: (S, R) of the method.
    acc_random: (S', R) of random.
    n_labels: (R,).
    weight: "labels" counts a round by the labels that it stands for (half the way to each neighbour), "rounds" counts
        all rounds alike.

    Raises ValueError or TypeError for what does not fit. Memory: O(R). Source: NTKCPL, Wen et al. 2023,
    arXiv:2306.04099, table 2.

    >>> effective_budget_ratio([[0.5, 0.9, 0.9]], [[0.4, 0.6, 0.8], [0.6, 0.7, 0.9]], [10, 20, 60])
    0.5
    """
    curves, random = curves_checked(acc, "acc"), curves_checked(acc_random, "acc_random", rounds_of=acc)
    labels = n_labels_checked(n_labels, curves)
    if weight not in ("labels", "rounds"):
        raise ValueError(f"weight must be 'labels' or 'rounds'; got {weight!r}")
    bar = random.mean(axis=0) + standard_deviation(random)
    mean = curves.mean(axis=0)
    if np.isnan(bar).any() or np.isnan(mean).any():
        return float("nan")
    cells = np.ones(len(labels))
    if weight == "labels" and len(labels) > 1:
        gaps = np.diff(labels)
        cells = (np.append(gaps, 0) + np.append(0, gaps)) / 2
    return float(cells[mean > bar].sum() / cells.sum())


def active_learning_gain(acc: Any, acc_random: Any) -> Array:
    """(R,) by how much the method is better than random after each round, both averaged over the seeds.

    acc: (S, R) of the method.
    acc_random: (S', R) of random.

    Raises ValueError or TypeError for what does not fit. Memory: O(R).

    >>> active_learning_gain([[0.5, 0.75]], [[0.5, 0.5]]).tolist()
    [0.0, 0.25]
    """
    curves, random = curves_checked(acc, "acc"), curves_checked(acc_random, "acc_random", rounds_of=acc)
    return np.asarray(curves.mean(axis=0) - random.mean(axis=0))


def balanced_accuracy(y: Any, y_pred: Any) -> float:
    """The mean over the classes in y of the share of their rows that y_pred has right (recall), 0 to 1.

    A class that only y_pred has counts only as the error that it is. `standard_error` gives the spread over seeds.

    y: (n,) classes of any kind.
    y_pred: (n,) classes of the same kind.

    Raises ValueError for shapes that do not fit and where there is no row. Memory: O(n).

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 1, 1]).__round__(3)
    0.833
    """
    truth, predicted = as_numpy(y, "y"), as_numpy(y_pred, "y_pred")
    if truth.ndim != 1 or not len(truth):
        raise ValueError(f"y must be (n,) with n > 0; got shape {truth.shape}")
    if predicted.shape != truth.shape:
        raise ValueError(f"y_pred must have one class per row of y, {truth.shape}; got {predicted.shape}")
    _, position = np.unique(truth, return_inverse=True)
    right = np.bincount(position, weights=np.asarray(truth == predicted, float))
    return float((right / np.bincount(position)).mean())


def standard_deviation(acc: Any) -> Array:
    """(R,) standard deviation of the sample over the seeds (ddof=1); NaN for one seed.

    acc: (S, R).

    >>> standard_deviation([[1.0, 2.0], [3.0, 2.0]]).round(3).tolist()
    [1.414, 0.0]
    """
    curves = curves_checked(acc, "acc")
    if len(curves) == 1:
        return np.full(curves.shape[1], np.nan)
    return np.asarray(curves.std(axis=0, ddof=1))


def standard_error(acc: Any) -> Array:
    """(R,) standard error of the mean over the seeds, the deviation over sqrt(S); NaN for one seed.

    acc: (S, R).

    >>> standard_error([[1.0, 2.0], [3.0, 2.0]]).round(3).tolist()
    [1.0, 0.0]
    """
    return np.asarray(standard_deviation(acc) / np.sqrt(len(acc)))


def paired_p_values(acc: Any, acc_other: Any) -> Array:
    """(R,) p-values of two-sided t-tests after each round, the seeds being the pairs; 1 where all pairs are equal.

    With one seed there is no test, and the result is NaN.

    acc: (S, R) of a method.
    acc_other: (S, R) of another; row s of both is from the same seed.

    Raises ValueError or TypeError for what does not fit. Memory: O(S R).

    >>> paired_p_values([[0.5], [0.6], [0.9]], [[0.4], [0.6], [0.7]]).round(3).tolist()
    [0.225]
    """
    from scipy.special import stdtr  # the distribution function; scipy.stats takes much longer to import

    curves, other = curves_checked(acc, "acc"), curves_checked(acc_other, "acc_other")
    if curves.shape != other.shape:
        raise ValueError(f"acc_other must have the seeds and rounds of acc, {curves.shape}; got {other.shape}")
    if len(curves) == 1:
        return np.full(curves.shape[1], np.nan)
    difference = curves - other
    mean, error = difference.mean(axis=0), standard_error(difference)
    t = np.full(len(mean), np.inf)
    np.divide(np.abs(mean), error, out=t, where=error != 0)
    t[mean == 0] = 0
    return np.asarray(2 * stdtr(len(curves) - 1, -t))


def pairwise_penalty_matrix(acc: Any, *, alpha: float = 0.05) -> Array:
    """(K, K): entry [i, j] is the share of rounds at which method i beats method j significantly, 0 to 1.

    A win is a higher mean and a two-sided paired t-test over the seeds below alpha. The entry is NaN where a pair has a
    NaN. Matrices of several data sets are added; the mean of a column then says how often its method is beaten.

    acc: (K, S, R), or a list of K arrays (S, R). Seed s is the same in all.
    alpha: the level of the test.

    Raises ValueError or TypeError for what does not fit and for one seed, which nothing can be tested with. Memory: O(K
    S R). Source: BADGE, Ash et al. 2020, arXiv:1906.03671, section 4.

    >>> pairwise_penalty_matrix([[[0.9], [0.8], [0.9]], [[0.1], [0.2], [0.2]]]).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    curves = [curves_checked(one, f"acc[{k}]") for k, one in enumerate(acc)]
    level = number(alpha, "alpha")
    if level >= 1:
        raise ValueError(f"alpha must be below 1; got {alpha!r}")
    shapes = {one.shape for one in curves}
    if len(shapes) != 1:
        raise ValueError(f"acc must hold methods of the same seeds and rounds; got shapes {sorted(shapes)}")
    if len(curves[0]) == 1:
        raise ValueError("acc must have at least 2 seeds to test with; got 1")
    wins = np.zeros((len(curves), len(curves)))
    for i, one in enumerate(curves):
        for j, other in enumerate(curves[:i]):
            p, gain = paired_p_values(one, other), active_learning_gain(one, other)
            unknown = np.nan if np.isnan(p).any() else 0.0
            wins[i, j] = np.mean((p < level) & (gain > 0)) + unknown
            wins[j, i] = np.mean((p < level) & (gain < 0)) + unknown
    return wins


def curves_checked(acc: Any, name: str, *, rounds_of: Any = None) -> Array:
    """acc as float64 (S, R), checked; with the rounds of `rounds_of` where that is given."""
    array = as_numpy(acc, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}")
    if array.ndim != 2 or 0 in array.shape:
        hint = " (one seed: a list of one curve)" if array.ndim == 1 else ""
        raise ValueError(f"{name} must be (seeds, rounds), both at least 1; got shape {array.shape}{hint}")
    if np.isinf(array).any():
        raise ValueError(f"{name} must not hold infinities")
    if rounds_of is not None and array.shape[1] != np.shape(rounds_of)[1]:
        raise ValueError(f"{name} must have the rounds of acc, {np.shape(rounds_of)[1]}; got {array.shape[1]}")
    return array.astype(np.float64)


def n_labels_checked(n_labels: Any, curves: Array, name: str = "n_labels") -> Array:
    """n_labels as float64 (R,), one per round of the curves, checked to rise."""
    array = as_numpy(n_labels, name)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold numbers of labels; got dtype {array.dtype}")
    if array.shape != (curves.shape[1],):
        raise ValueError(f"{name} must have one entry per round, ({curves.shape[1]},); got shape {array.shape}")
    labels = array.astype(np.float64)
    if not (np.isfinite(labels).all() and (labels > 0).all() and (np.diff(labels) > 0).all()):
        raise ValueError(f"{name} must be positive and rise from round to round; got {array.tolist()}")
    return labels


def _labels_to(target: float, curves: Array, labels: Array, interpolate: bool) -> float:
    """The labels at which the monotone mean curve reaches the target; NaN where it does not."""
    curve = np.maximum.accumulate(curves.mean(axis=0))  # a NaN stays: what comes after it is not known
    reached = np.flatnonzero(curve >= target)
    if not len(reached):
        return float("nan")
    r = int(reached[0])
    if r == 0 or not interpolate:
        return float(labels[r])
    share = (target - curve[r - 1]) / (curve[r] - curve[r - 1])
    return float(labels[r - 1] + share * (labels[r] - labels[r - 1]))
