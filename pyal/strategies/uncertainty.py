"""Strategies that ask for the rows a classifier is least sure of, from its class probabilities alone.

Each but falcun is a score. The batch is made of its largest values, and ties go to the lowest position.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import row_blocks
from pyal.pool import Pool
from pyal.strategies.registry import strategy
from pyal.strategies.scores import score_strategy


@score_strategy("least_confidence", needs=("proba",), citation="Lewis & Gale 1994, arXiv:cmp-lg/9407020")
def least_confidence(pool: Pool, *, aggregate: str = "probs") -> NDArray[np.float64]:
    """Picks the rows whose most probable class has the lowest probability.

    The score is 1 - max_c p_c, in float64.

    aggregate: what is averaged over the T passes of a (T, N, C) proba. "probs" averages the probabilities and scores
        their mean; "metric" scores each pass and averages the scores.
    """
    return _scores(pool, aggregate, lambda p: 1 - p.max(axis=-1))


@score_strategy("margin", needs=("proba",), citation="Scheffer, Decomain & Wrobel 2001 (IDA)")
def margin(pool: Pool, *, aggregate: str = "probs") -> NDArray[np.float64]:
    """Picks the rows whose two most probable classes lie closest together.

    The score is p_(2) - p_(1), the second largest probability less the largest, in float64.

    aggregate: what is averaged over the T passes of a (T, N, C) proba. "probs" averages the probabilities and scores
        their mean; "metric" scores each pass and averages the scores.
    """

    def metric(p: NDArray[np.float64]) -> NDArray[np.float64]:
        two = np.partition(p, -2, axis=-1)[..., -2:]
        return np.asarray(two[..., 0] - two[..., 1])

    return _scores(pool, aggregate, metric)


@score_strategy("entropy", needs=("proba",), citation="Shannon 1948; Settles 2009, section 2.1")
def entropy(pool: Pool, *, aggregate: str = "probs") -> NDArray[np.float64]:
    """Picks the rows with the largest entropy of the class probabilities.

    The score is -sum_c p_c log p_c in nats, in float64, where 0 log 0 is 0.

    aggregate: what is averaged over the T passes of a (T, N, C) proba. "probs" averages the probabilities and scores
        their mean; "metric" scores each pass and averages the scores.
    """
    _check_aggregate(aggregate)
    assert pool.proba is not None
    passes = len(pool.proba) if pool.proba.ndim == 3 else 1
    mixture = np.full((1, passes), 1 / passes) if aggregate == "probs" else None
    return np.asarray(kernels.mixture_entropies(pool.proba, mixture, n_jobs=pool.n_jobs))


@strategy("falcun", needs=("proba",), memory="O(N C)", citation="Gilhuber et al. 2022 (FALCUN)")
def falcun(pool: Pool, batch_size: int, *, rng: np.random.Generator, gamma: float = 10.0) -> NDArray[np.int64]:
    """Draws uncertain rows whose class probabilities differ from each other.

    Row i begins with d_i = 1 - (p_(1) - p_(2)). Each pick is drawn with a probability proportional to d_i^gamma, and
    then d_i becomes at most the sum over the classes of |p_i - p| to the pick, which is 0 at the pick itself. Where all
    d_i are 0, rows are drawn uniformly. p is the mean over the T passes of a (T, N, C) proba. X plays no part.

    gamma: how sharply large d_i are preferred, above 0; 10 is the authors'.
    """
    if not 0 < gamma < np.inf:
        raise ValueError(f"gamma must be a positive power; got {gamma!r}")
    assert pool.proba is not None
    p = np.empty((pool.n, pool.proba.shape[-1]))
    for part, passes in pool.proba_blocks():
        p[part] = passes.mean(axis=0)
    p = p[pool.candidates]
    two = np.partition(p, -2, axis=-1)[:, -2:]
    d, left = 1 - (two[:, 1] - two[:, 0]), np.ones(len(p), bool)
    picks = np.empty(batch_size, np.int64)
    for t in range(batch_size):
        most = float(d.max())
        weights = (d / most) ** gamma if most > 0 else left.astype(np.float64)
        upto = np.cumsum(weights)
        pick = int(np.searchsorted(upto, rng.random() * upto[-1], side="right"))
        pick = min(pick, int(np.flatnonzero(weights)[-1]))  # a product may round up to the total
        picks[t], left[pick] = pick, False
        for part in row_blocks(len(p), p.shape[1]):
            d[part] = np.minimum(d[part], abs(p[part] - p[pick]).sum(axis=1))
        d[~left] = 0
    return pool.candidates[picks]


def _scores(
    pool: Pool, aggregate: str, metric: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    _check_aggregate(aggregate)
    scores = np.empty(pool.n)
    for part, p in pool.proba_blocks():
        scores[part] = metric(p.mean(axis=0)) if aggregate == "probs" else metric(p).mean(axis=0)
    return scores


def _check_aggregate(aggregate: str) -> None:
    if aggregate not in ("probs", "metric"):
        raise ValueError(f"aggregate must be 'probs' or 'metric'; got {aggregate!r}")
