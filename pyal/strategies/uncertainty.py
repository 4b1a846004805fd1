"""Strategies that ask for the rows a classifier is least sure of, from its class probabilities alone.

Each is a score. The batch is made of its largest values, and ties go to the lowest position.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool
from pyal.strategies.registry import strategy


def least_confidence_scores(pool: Pool, *, aggregate: str = "probs") -> NDArray[np.float64]:
    """(N,) 1 - the largest probability."""
    return _scores(pool, aggregate, lambda p: 1 - p.max(axis=-1))


def margin_scores(pool: Pool, *, aggregate: str = "probs") -> NDArray[np.float64]:
    """(N,) the second largest probability - the largest."""

    def metric(p: NDArray[np.float64]) -> NDArray[np.float64]:
        two = np.partition(p, -2, axis=-1)[..., -2:]
        return np.asarray(two[..., 0] - two[..., 1])

    return _scores(pool, aggregate, metric)


def entropy_scores(pool: Pool, *, aggregate: str = "probs") -> NDArray[np.float64]:
    """(N,) entropy in nats."""

    return _scores(pool, aggregate, entropies)


def entropies(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropies over the last axis, in nats; p log p is 0 at 0."""
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.asarray(-(p * logs).sum(axis=-1)) + 0.0


@strategy(
    "least_confidence",
    needs=("proba",),
    scores=least_confidence_scores,
    citation="Lewis & Gale 1994, arXiv:cmp-lg/9407020",
)
def least_confidence(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001
    aggregate: str = "probs",
) -> NDArray[np.int64]:
    """Picks the rows whose most probable class has the lowest probability.

    The score is 1 - max_c p_c, in float64.

    aggregate: what is averaged over the T passes of a (T, N, C) proba. "probs" averages the probabilities and scores
        their mean; "metric" scores each pass and averages the scores.
    """
    return largest(pool, batch_size, least_confidence_scores(pool, aggregate=aggregate))


@strategy("margin", needs=("proba",), scores=margin_scores, citation="Scheffer, Decomain & Wrobel 2001 (IDA)")
def margin(pool: Pool, batch_size: int, *, rng: np.random.Generator, aggregate: str = "probs") -> NDArray[np.int64]:  # noqa: ARG001
    """Picks the rows whose two most probable classes lie closest together.

    The score is p_(2) - p_(1), the second largest probability less the largest, in float64.

    aggregate: what is averaged over the T passes of a (T, N, C) proba. "probs" averages the probabilities and scores
        their mean; "metric" scores each pass and averages the scores.
    """
    return largest(pool, batch_size, margin_scores(pool, aggregate=aggregate))


@strategy("entropy", needs=("proba",), scores=entropy_scores, citation="Shannon 1948; Settles 2009, section 2.1")
def entropy(pool: Pool, batch_size: int, *, rng: np.random.Generator, aggregate: str = "probs") -> NDArray[np.int64]:  # noqa: ARG001
    """Picks the rows with the largest entropy of the class probabilities.

    The score is -sum_c p_c log p_c in nats, in float64, where 0 log 0 is 0.

    aggregate: what is averaged over the T passes of a (T, N, C) proba. "probs" averages the probabilities and scores
        their mean; "metric" scores each pass and averages the scores.
    """
    return largest(pool, batch_size, entropy_scores(pool, aggregate=aggregate))


def _scores(
    pool: Pool, aggregate: str, metric: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    if aggregate not in ("probs", "metric"):
        raise ValueError(f"aggregate must be 'probs' or 'metric'; got {aggregate!r}")
    scores = np.empty(pool.n)
    for part, p in pool.proba_blocks():
        scores[part] = metric(p.mean(axis=0)) if aggregate == "probs" else metric(p).mean(axis=0)
    return scores


def largest(pool: Pool, batch_size: int, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The candidates with the largest scores, best first; ties go to the lowest position."""
    order = np.argsort(-scores[pool.candidates], kind="stable")
    return pool.candidates[order[:batch_size]]
