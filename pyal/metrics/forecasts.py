"""When to stop: a learning curve is fitted and carried on, with what the next labels are likely to bring."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyal.arrays import as_numpy, generator, number, size
from pyal.metrics.curves import Array, curves_checked, n_labels_checked

PARAMETERS = 4
LOW, HIGH = np.array([0.0, -30.0, 0.0, 0.02]), np.array([1.0, 5.0, 1e3, 4.0])  # of a_max, log rate, alpha, beta
STARTS = [(rate, beta) for rate in (-4.0, -2.0, -0.5) for beta in (0.3, 0.7, 1.2)]


@dataclass(frozen=True, eq=False)
class Forecast:
    """A learning curve that `forecast` has fitted: a_max (1 - (1 - delta)^((n / batch + alpha)^beta)) after n labels.

    a_max: the accuracy that the curve rises to, at most 1.
    delta: the share of the way there that is gone where n / batch + alpha is 1.
    alpha: a head start, in batches.
    beta: how the pace changes: 1 keeps it, less slows down.
    batch: the labels of one round, on average.
    n_labels: labels by the last round.
    level: of all intervals.
    draws: (draws, 4) a_max, log(-log(1 - delta)), alpha and beta of the fits to other draws of the noise.
    """

    a_max: float
    delta: float
    alpha: float
    beta: float
    batch: float
    n_labels: float
    level: float
    draws: Array = field(repr=False)

    def accuracy(self, n: Any) -> Any:
        """The accuracy of the curve after n labels, a number or an array of them; in 0 to 1, and it never falls."""
        found = _curve(self._fitted, self._batches(n))
        return float(found) if np.ndim(n) == 0 else found

    def interval(self, n: Any) -> tuple[Any, Any]:
        """(low, high) around accuracy(n): where the mean over many runs is likely to lie, at the given level."""
        batches = np.atleast_1d(self._batches(n))
        low, high = self._between(_curve(self.draws.T[..., None], batches.ravel()), n)
        return (low, high) if np.ndim(n) == 0 else (low.reshape(batches.shape), high.reshape(batches.shape))

    def gain(self, next: int = 100) -> tuple[float, float, float]:
        """(gain, low, high): the accuracy that so many labels more are likely to bring; 0 or more."""
        more = self.n_labels + size(next, "next", 1)
        rise = _curve(self.draws.T, self._batches(more)) - _curve(self.draws.T, self._batches(self.n_labels))
        low, high = self._between(rise[:, None], 0)
        return self.accuracy(more) - self.accuracy(self.n_labels), low, high

    def __str__(self) -> str:
        gain, low, high = (100 * value for value in self.gain(100))
        least, most = self._between(self.draws[:, :1], 0)
        return (
            f"accuracy {self.accuracy(self.n_labels):.3f} after {self.n_labels:g} labels; the next 100 are likely to "
            f"bring {gain:.1f} points ({100 * self.level:g} % interval {low:.1f} to {high:.1f}), and the curve rises "
            f"to {self.a_max:.3f} ({least:.3f} to {most:.3f}) in the end"
        )

    @property
    def _fitted(self) -> Array:
        return np.array([self.a_max, _log_rate(self.delta), self.alpha, self.beta])

    def _batches(self, n: Any) -> Any:
        if isinstance(n, (str, bytes)):
            raise TypeError(f"n must be numbers of labels; got {n!r}")
        labels = np.asarray(as_numpy(n, "n"), np.float64)
        if not (np.isfinite(labels).all() and (labels >= 0).all()):
            raise ValueError(f"n must be numbers of labels, 0 or more; got {n!r}")
        return labels / self.batch

    def _between(self, values: Array, like: Any) -> tuple[Any, Any]:
        low, high = np.quantile(values, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return (float(low[0]), float(high[0])) if np.ndim(like) == 0 else (low, high)


def forecast(acc: Any, n_labels: Any, *, level: float = 0.9, draws: int = 200, random_state: Any = 0) -> Forecast:
    """The learning curve carried on: what accuracy to expect after more labels, and what the next ones will bring.

    The mean over the seeds is fitted by least squares with a_max (1 - (1 - delta)^((n / batch + alpha)^beta)), the
    curve of PALM, Machnio, Nielsen & Ghazi 2025, arXiv:2507.15381, which rises and levels off. The intervals are those
    of a bootstrap: the fitted curve gets other draws of the noise, is fitted again, and the quantiles of these fits are
    taken. A draw is normal noise of the size of the residuals and, with two seeds or more, the mean of as many of the
    seeds' own deviations from their mean, each kept whole over the rounds. Both are widened as a t distribution is, for
    what so few rounds or seeds leave unknown. Where the curve does follow this form the intervals are about right for
    one run and rather wide for several. They are for the mean of many runs, and they do not know of other forms: of an
    accuracy that creeps on after a steep rise the fitted curve may say too early that it has levelled off.

    acc: (S, R) accuracies in 0 to 1, or (R,) of one run; 5 rounds or more.
    n_labels: (R,), rising.
    level: of the intervals, in (0, 1).
    draws: of the bootstrap; each is a fit.
    random_state: of the draws.

    A UserWarning says where the accuracy falls, which this curve cannot. Raises ValueError or TypeError for what does
    not fit. Memory: O(S R + draws). Differs from its source: alpha is not negative, a_max is at most 1, all rounds are
    fitted by their labels, and the source has no intervals.

    >>> labels = [20, 40, 60, 80, 100, 120]
    >>> found = forecast([1 - 0.5 ** (n / 50) for n in labels], labels)
    >>> found.accuracy(200).__round__(4), found.gain(100)[0].__round__(4)
    (0.9375, 0.1421)
    """
    given = as_numpy(acc, "acc")
    curves = curves_checked(given[None] if given.ndim == 1 else given, "acc")
    labels = n_labels_checked(n_labels, curves)
    if curves.shape[1] <= PARAMETERS:
        raise ValueError(f"acc must have at least {PARAMETERS + 1} rounds to fit a curve to; got {curves.shape[1]}")
    if np.isnan(curves).any():
        raise ValueError("acc must have no NaN: a curve is fitted to all of it")
    if curves.min() < 0 or curves.max() > 1:
        hint = " (percentages: divide by 100)" if 1 < curves.max() <= 100 else ""
        raise ValueError(f"acc must lie in 0 to 1; got {curves.min():g} to {curves.max():g}{hint}")
    inside = number(level, "level")
    if inside >= 1:
        raise ValueError(f"level must be below 1; got {level!r}")
    times, rng = size(draws, "draws", 1), generator(random_state)
    mean = curves.mean(axis=0)
    _warn_where_falling(mean, labels)
    batch = float((labels[-1] - labels[0]) / (len(labels) - 1))
    x = labels / batch
    fitted = _best_fit(x, mean)
    curve = _curve(fitted, x)
    noise = _noise(curves, curve, times, inside, rng)
    found = np.array([_fit(x, curve + one, fitted, 1e-7)[0] for one in noise])
    delta = -np.expm1(-np.exp(fitted[1]))
    return Forecast(
        float(fitted[0]), float(delta), float(fitted[2]), float(fitted[3]), batch, float(labels[-1]), inside, found
    )


def _curve(parameters: Any, x: Any) -> Any:
    """a_max (1 - exp(-rate (x + alpha)^beta)), where rate is -log(1 - delta)."""
    a_max, log_rate, alpha, beta = parameters
    with np.errstate(divide="ignore"):
        return a_max * -np.expm1(-np.exp(log_rate + beta * np.log(x + alpha)))


def _log_rate(delta: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.clip(np.log(-np.log1p(-delta)), LOW[1], HIGH[1]))


def _slopes(parameters: Array, x: Array) -> Array:
    """(R, 4): the derivatives of the curve by its parameters."""
    a_max, log_rate, alpha, beta = parameters
    shifted = np.log(x + alpha)
    k = np.exp(log_rate + beta * shifted)
    by_k = a_max * np.exp(-k) * k  # times d log k
    return np.column_stack([-np.expm1(-k), by_k, by_k * beta / (x + alpha), by_k * shifted])


def _fit(x: Array, y: Array, start: Array, tolerance: float) -> tuple[Array, float]:
    """(parameters, sum of squares) of the fit that starts from these parameters."""
    from scipy.optimize import least_squares  # takes long to import

    found = least_squares(
        lambda p: _curve(p, x) - y,
        np.clip(start, LOW + 1e-6, HIGH - 1e-6),
        jac=lambda p: _slopes(p, x),
        bounds=(LOW, HIGH),
        x_scale=(0.1, 1.0, 1.0, 0.3),
        ftol=tolerance,
        xtol=tolerance,
        gtol=tolerance,
        max_nfev=300,
    )
    return found.x, 2 * float(found.cost)


def _best_fit(x: Array, y: Array) -> Array:
    """The best of the fits from several starts."""
    tops = (float(y.max()), (float(y.max()) + 1) / 2)
    fits = [_fit(x, y, np.array([top, rate, 0.5, beta]), 1e-6) for top in tops for rate, beta in STARTS]
    return _fit(x, y, min(fits, key=lambda fit: fit[1])[0], 1e-12)[0]


def _noise(curves: Array, curve: Array, times: int, level: float, rng: np.random.Generator) -> Array:
    """(times, R) draws of the noise around the fitted curve, from the residuals, and from the seeds where there are."""
    mean, (seeds, rounds) = curves.mean(axis=0), curves.shape
    deviation = np.sqrt(((mean - curve) ** 2).sum() / (rounds - PARAMETERS))
    drawn = _widened(rounds - PARAMETERS, level) * deviation * rng.standard_normal((times, rounds))
    if seeds > 1:
        of_seeds = (curves - mean)[rng.integers(seeds, size=(times, seeds))].mean(axis=1)
        drawn += _widened(seeds - 1, level) * np.sqrt(seeds / (seeds - 1)) * of_seeds  # they vary around their own mean
    return np.asarray(drawn)


def _widened(freedom: int, level: float) -> float:
    """How much farther out a t distribution has its quantile than the normal one."""
    from scipy.special import ndtri, stdtrit

    return float(stdtrit(freedom, (1 + level) / 2) / ndtri((1 + level) / 2))


def _warn_where_falling(mean: Array, labels: Array) -> None:
    at = np.log(labels) - np.log(labels).mean()
    if float(at @ mean) < -1e-12:
        warnings.warn(
            f"accuracy falls with the labels, from {mean[0]:.3g} after {labels[0]:g} to {mean[-1]:.3g} after "
            f"{labels[-1]:g}: the fitted curve, which cannot fall, says nothing of what is to come",
            UserWarning,
            stacklevel=3,
        )
