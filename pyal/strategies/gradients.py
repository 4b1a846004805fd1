"""Strategies in the space of last-layer gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import as_numpy
from pyal.pool import Pool, as_they_are
from pyal.strategies.registry import strategy


@strategy("badge", needs=("proba",), memory="O(N C)", citation="Ash et al. 2020, arXiv:1906.03671")
def badge(pool: Pool, batch_size: int, *, rng: np.random.Generator, n_partitions: int = 1) -> NDArray[np.int64]:
    """Picks diverse rows with large gradients of the loss at the predicted label, by k-means++.

    The gradient at row i is (onehot(argmax p_i) - p_i) x h_i. Here h_i is the row of `features` where these are given
    and the row of X as the classifier saw it, whatever the metric, where they are not, and p_i is the mean over the T
    passes of a (T, N, C) proba. The first pick has the largest gradient. Every other pick is drawn with a probability
    proportional to its squared distance to the nearest pick, or uniformly where all these distances are 0. Labelled
    rows play no part. The gradients, N x (C d), are never formed.

    n_partitions: how many parts the candidates are split into at random; each part picks its share of the batch. 1 is
        BADGE itself, more parts are its variant for many classes.
    """
    parts = int(n_partitions)
    if not 1 <= parts <= len(pool.candidates):
        raise ValueError(f"n_partitions must lie in 1 .. {len(pool.candidates)}, the candidates; got {n_partitions!r}")
    h = as_they_are(pool.X) if pool.features is None else pool.features
    q = _residuals(pool, np.float64 if h.dtype == "float64" else np.float32)
    if parts == 1:
        return as_numpy(
            kernels.d2_sampling(h, batch_size, q=q, candidates=pool.candidates, random_state=rng, n_jobs=pool.n_jobs),
            "positions",
        )
    picks = []
    shares = np.array_split(np.arange(batch_size), parts)
    for part, share in zip(np.array_split(rng.permutation(pool.candidates), parts), shares, strict=True):
        if len(share):
            picks.append(
                as_numpy(
                    kernels.d2_sampling(
                        h, len(share), q=q, candidates=np.sort(part), random_state=rng, n_jobs=pool.n_jobs
                    ),
                    "positions",
                )
            )
    return np.concatenate(picks)


def _residuals(pool: Pool, dtype: type) -> NDArray[np.floating]:
    """(N, C) onehot(argmax p) - p, the difference taken in float64."""
    assert pool.proba is not None
    q: NDArray[np.floating] = np.empty((pool.n, pool.proba.shape[-1]), dtype)
    for part, passes in pool.proba_blocks():
        p = passes.mean(axis=0)
        top = p.argmax(axis=1)
        rows = np.arange(len(p))
        p *= -1
        p[rows, top] += 1
        q[part] = p
    return q
