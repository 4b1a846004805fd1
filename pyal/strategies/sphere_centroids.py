"""Centroids on the unit sphere that gradient descent moves to where rows are and away from each other (ActiveFT)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import row_blocks

Floats = NDArray[np.floating]

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam


def learned_centroids(
    batches: Callable[[], Floats],
    start: Floats,
    frozen: Floats,
    *,
    temperature: float,
    iterations: int,
    learning_rate: float,
) -> Floats:
    """(b, d) centroids at norm 1 after `iterations` steps of Adam on `loss_and_gradient`, from `start` (b, d).

    batches: gives the rows (m, d) of each step, at norm 1.
    frozen: (l, d) centroids that stay where they are.
    """
    free = start.copy()
    mean, square = np.zeros_like(free), np.zeros_like(free)
    for step in range(1, iterations + 1):
        gradient = loss_and_gradient(free, frozen, batches(), temperature)[1]
        mean += (1 - _BETAS[0]) * (gradient - mean)
        square += (1 - _BETAS[1]) * (gradient * gradient - square)
        size = learning_rate / (1 - _BETAS[0] ** step)
        free -= size * mean / (np.sqrt(square / (1 - _BETAS[1] ** step)) + _EPSILON)
    return _at_norm_1(free)


def loss_and_gradient(free: Floats, frozen: Floats, rows: Floats, temperature: float) -> tuple[float, Floats]:
    """The loss of ActiveFT, and its gradient (b, d) with respect to the free centroids.

    With c the centroids at norm 1 and k the one nearest to row f, a row's loss is log(e^(f c_k / t) + sum_j e^(c_j c_k
    / t)) - f c_k / t, where j runs over all centroids, k and the frozen ones too. The loss is its mean over the rows.
    c_j is a constant, as in the authors' code: the sum moves c_k alone. Ties in k go to the lowest. Memory: blocks of
    rows, and (b, b + l).
    """
    c = _at_norm_1(free)
    every = np.concatenate([c, frozen])
    pull = c @ every.T / temperature  # (b, b + l)
    top = pull.max(axis=1, keepdims=True)
    shares = np.exp(pull - top)
    sums = shares.sum(axis=1, keepdims=True)
    log_sums, middle = (np.log(sums) + top)[:, 0], (shares / sums) @ every
    frozen_sums = _log_sums(frozen @ every.T / temperature) if len(frozen) else frozen[:, 0]
    all_sums = np.concatenate([log_sums, frozen_sums])
    total, weights, gradient = 0.0, np.zeros(len(free), free.dtype), np.zeros_like(free)
    for part in row_blocks(len(rows), max(every.shape)):
        f = rows[part]
        similar = f @ every.T
        k = similar.argmax(axis=1)
        p = similar[np.arange(len(f)), k] / temperature
        gap = all_sums[k] - p
        total += float(np.logaddexp(0, gap).sum(dtype=np.float64))
        moves = np.flatnonzero(k < len(free))
        weight = np.zeros((len(f), len(free)), free.dtype)
        weight[moves, k[moves]] = 1 / (1 + np.exp(-np.clip(gap[moves], -80, 80)))  # clipped: float32 holds e^80
        gradient -= weight.T @ f
        weights += weight.sum(axis=0)
    gradient += weights[:, None] * middle
    gradient /= len(rows) * temperature
    gradient -= (gradient * c).sum(axis=1, keepdims=True) * c  # through the norm
    return total / len(rows), gradient / _norms(free)


def _log_sums(pull: Floats) -> Floats:
    top = pull.max(axis=1, keepdims=True)
    return np.asarray((np.log(np.exp(pull - top).sum(axis=1, keepdims=True)) + top)[:, 0])


def _at_norm_1(a: Floats) -> Floats:
    return np.asarray(a / _norms(a))


def _norms(a: Floats) -> Floats:
    return np.asarray(np.maximum(np.sqrt((a * a).sum(axis=1, keepdims=True)), np.finfo(a.dtype).tiny))
