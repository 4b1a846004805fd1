"""Strategies that ask for the rows a classifier is least sure of, from its class probabilities alone.

Each but falcun and cdal is a score. The batch is made of its largest values, and ties go to the lowest position.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import row_blocks
from pyal.pool import Pool
from pyal.strategies.registry import strategy
from pyal.strategies.scores import score_strategy, two_largest


@score_strategy("least_confidence", needs=("proba",), citation="Lewis & Gale 1994, arXiv:cmp-lg/9407020")
def least_confidence(pool: Pool, *, aggregate: str = "probs") -> NDArray[np.float64]:
    """Picks the rows whose most probable class has the lowest probability.

    The score is 1 - max_c p_c, in float64.

    aggregate: what is averaged over the T passes of a (T, N, C) proba. "probs" averages the probabilities and scores
        their mean; "metric" scores each pass and averages the scores.
    """
    return _scores(pool, aggregate, lambda p: 1 - p.max(axis=-1))


@score_strategy("margin", floor=-1.0, needs=("proba",), citation="Scheffer, Decomain & Wrobel 2001 (IDA)")
def margin(pool: Pool, *, aggregate: str = "probs") -> NDArray[np.float64]:
    """Picks the rows whose two most probable classes lie closest together.

    The score is p_(2) - p_(1), the second largest probability less the largest, in float64.

    aggregate: what is averaged over the T passes of a (T, N, C) proba. "probs" averages the probabilities and scores
        their mean; "metric" scores each pass and averages the scores.
    """

    def metric(p: NDArray[np.float64]) -> NDArray[np.float64]:
        most, second = two_largest(p)
        return np.asarray(second - most)

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


@strategy("falcun", needs=("proba",), weighs=True, memory="O(N C)", citation="Gilhuber et al. 2022 (FALCUN)")
def falcun(pool: Pool, batch_size: int, *, rng: np.random.Generator, gamma: float = 10.0) -> NDArray[np.int64]:
    """Draws uncertain rows whose class probabilities differ from each other.

    Row i begins with d_i = 1 - (p_(1) - p_(2)). Each pick is drawn with a probability proportional to d_i^gamma, and
    then d_i becomes at most the sum over the classes of |p_i - p| to the pick, which is 0 at the pick itself. Where all
    d_i are 0, rows are drawn uniformly. p is the mean over the T passes of a (T, N, C) proba. X plays no part. Weights
    multiply d_i^gamma.

    gamma: how sharply large d_i are preferred, above 0; 10 is the authors'.
    """
    if not 0 < gamma < np.inf:
        raise ValueError(f"gamma must be a positive power; got {gamma!r}")
    p = mean_proba(pool)
    most, second = two_largest(p)
    d = 1 - (most - second)

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        left = candidates.copy()
        distance, drawn = d[left], []
        for row in picked:
            _lower(distance, p, left, row)
        for _ in range(wanted):
            drawn.append(int(left[_draw(distance, gamma, None if pool.weights is None else pool.weights[left], rng)]))
            others = left != drawn[-1]
            left, distance = left[others], distance[others]
            _lower(distance, p, left, drawn[-1])
        return np.array(drawn, np.int64)

    return pool.in_turn(batch_size, next_picks)


def _lower(distance: NDArray[np.float64], p: NDArray[np.float64], rows: NDArray[np.int64], pick: int) -> None:
    """Makes each distance at most that of its row to the pick."""
    for part in row_blocks(len(rows), p.shape[1]):
        distance[part] = np.minimum(distance[part], abs(p[rows[part]] - p[pick]).sum(axis=1))


def _draw(
    distance: NDArray[np.float64], gamma: float, weights: NDArray[np.float64] | None, rng: np.random.Generator
) -> int:
    """A number drawn in proportion to weights distance^gamma; uniformly where all of these are 0."""
    most = float(distance.max())
    value = (distance / most) ** gamma if most > 0 else np.ones(len(distance))
    if weights is not None:
        weighed = value * (weights / weights.max()) if weights.any() else value
        value = weighed if weighed.any() else np.ones(len(distance))
    upto = np.cumsum(value)
    number = int(np.searchsorted(upto, rng.random() * upto[-1], side="right"))
    return min(number, int(np.flatnonzero(value)[-1]))  # a product may round up to the total


@strategy("cdal", needs=("proba",), memory="O(N C)", citation="Agarwal et al. 2020, arXiv:2008.05723")
def cdal(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Picks, again and again, the candidate whose class probabilities differ most from all that is labelled or picked.

    This is greedy k-center. Two rows are 1/2 sum_c (p_c - q_c)(log p_c - log q_c) apart, the mean of the two
    Kullback-Leibler divergences in nats, with probabilities of at least 1e-12. p is the mean over the T passes of a
    (T, N, C) proba. Where nothing is labelled, the first pick is drawn. X plays no part.

    Differs from its source: this is CDAL-CS, without the policy that CDAL-RL learns. The authors' code draws the first
    pick of every batch, and skips distances that are not finite.
    """
    p = mean_proba(pool)
    np.maximum(p, 1e-12, out=p)
    logs = np.log(p)

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        apart, left, picks = np.full(pool.n, np.inf), np.zeros(pool.n, bool), np.empty(wanted, np.int64)
        left[candidates] = True
        centers = np.concatenate([pool.labeled, picked])
        if len(centers):
            _move_closer(apart, p, logs, centers)
        for t in range(wanted):
            drawn = t == 0 and not len(centers)
            picks[t] = rng.choice(candidates) if drawn else np.argmax(np.where(left, apart, -1))
            left[picks[t]] = False
            _move_closer(apart, p, logs, picks[t : t + 1])
        return picks

    return pool.in_turn(batch_size, next_picks)


def _move_closer(
    apart: NDArray[np.float64], p: NDArray[np.float64], logs: NDArray[np.float64], centers: NDArray[np.int64]
) -> None:
    """Lowers `apart`, (N,), to the divergence of the nearest centre where that is less.

    Products of matrices find the nearest of several centres; its divergence is then summed up from the differences, so
    that it is 0 between equal rows.
    """
    q, log_q = p[centers], logs[centers]
    own = (q * log_q).sum(axis=1)
    for part in row_blocks(len(p), 4 * (p.shape[1] + len(centers))):
        nearest = np.zeros(len(apart[part]), np.int64)
        if len(centers) > 1:
            nearest = (own - p[part] @ log_q.T - logs[part] @ q.T).argmin(axis=1)
        found = ((p[part] - q[nearest]) * (logs[part] - log_q[nearest])).sum(axis=1) / 2
        np.minimum(apart[part], found, out=apart[part])


def mean_proba(pool: Pool) -> NDArray[np.float64]:
    """(N, C) mean over the passes of proba."""
    assert pool.proba is not None
    p = np.empty((pool.n, pool.proba.shape[-1]))
    for part, passes in pool.proba_blocks():
        p[part] = passes.mean(axis=0)
    return p


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
