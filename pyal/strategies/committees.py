"""Strategies that ask where several models disagree: the members of a committee, or passes with dropout.

All of them need proba of shape (T, N, C) with T of 2 or more. The same model must stand behind a pass at all rows, as
in `pyal.heads`, whose LinearHead, MLPHead and Committee a loop asks for such passes. Each but powerbald is a score in
float64: the batch is made of its largest values, and ties go to the lowest position.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool
from pyal.strategies.registry import strategy
from pyal.strategies.uncertainty import entropies, largest

Scored = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (T, m, C) -> (m,)


def bald_scores(pool: Pool, name: str = "bald") -> NDArray[np.float64]:
    """(N,) entropy of the mean - mean of the entropies, in nats, not below 0; name: of the strategy that asks."""
    return _scores(pool, name, lambda p: np.maximum(entropies(p.mean(axis=0)) - entropies(p).mean(axis=0), 0))


def dbal_scores(pool: Pool) -> NDArray[np.float64]:
    """(N,) entropy of the mean, in nats."""
    return _scores(pool, "dbal", lambda p: entropies(p.mean(axis=0)))


def variation_ratio_scores(pool: Pool, *, definition: str = "votes") -> NDArray[np.float64]:
    """(N,) 1 - the share of the votes for the class with most of them, or 1 - the largest mean probability."""
    if definition not in ("votes", "mean"):
        raise ValueError(f"definition must be 'votes' or 'mean'; got {definition!r}")

    def of_votes(p: NDArray[np.float64]) -> NDArray[np.float64]:
        votes = p.argmax(axis=-1)
        shares = [(votes == c).mean(axis=0) for c in range(p.shape[-1])]
        return np.asarray(1 - np.max(shares, axis=0))

    return _scores(pool, "variation_ratio", of_votes if definition == "votes" else lambda p: 1 - p.mean(0).max(-1))


def mean_std_scores(pool: Pool) -> NDArray[np.float64]:
    """(N,) mean over the classes of the standard deviation of their probability over the passes."""
    return _scores(pool, "mean_std", lambda p: p.std(axis=0).mean(axis=-1))


@strategy(
    "bald",
    needs=("proba",),
    passes=True,
    scores=bald_scores,
    citation="Houlsby et al. 2011, arXiv:1112.5745; Gal, Islam & Ghahramani 2017, arXiv:1703.02910",
)
def bald(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:  # noqa: ARG001
    """Picks the rows whose label would tell most about which of the models is right.

    The score is the mutual information of label and model: H(mean_t p_t) - mean_t H(p_t), in nats.
    """
    return largest(pool, batch_size, bald_scores(pool))


@strategy(
    "dbal",
    needs=("proba",),
    passes=True,
    scores=dbal_scores,
    citation="Gal, Islam & Ghahramani 2017, arXiv:1703.02910",
)
def dbal(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:  # noqa: ARG001
    """Picks the rows whose mean prediction has the largest entropy.

    The score is H(mean_t p_t) in nats, which is `entropy` on the mean of the passes.
    """
    return largest(pool, batch_size, dbal_scores(pool))


@strategy(
    "variation_ratio",
    aliases=("variation_ratios",),
    needs=("proba",),
    passes=True,
    scores=variation_ratio_scores,
    citation="Freeman 1965; Gal, Islam & Ghahramani 2017, arXiv:1703.02910; Beluch et al. 2018 (CVPR)",
)
def variation_ratio(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001
    definition: str = "votes",
) -> NDArray[np.int64]:
    """Picks the rows on whose class the models agree least.

    definition: "votes" is 1 - f / T, where f of the T models predict the class that most of them predict. "mean" is
        1 - max_c of the mean probabilities, which published code gives the same name.
    """
    return largest(pool, batch_size, variation_ratio_scores(pool, definition=definition))


@strategy(
    "mean_std",
    needs=("proba",),
    passes=True,
    scores=mean_std_scores,
    citation="Kampffmeyer, Salberg & Jenssen 2016 (CVPR workshops); Gal, Islam & Ghahramani 2017, arXiv:1703.02910",
)
def mean_std(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:  # noqa: ARG001
    """Picks the rows whose class probabilities vary most from model to model.

    The score is the mean over the classes of sqrt(mean_t p_tc^2 - (mean_t p_tc)^2).
    """
    return largest(pool, batch_size, mean_std_scores(pool))


@strategy("powerbald", needs=("proba",), passes=True, citation="Kirsch et al. 2023, arXiv:2106.12059")
def powerbald(pool: Pool, batch_size: int, *, rng: np.random.Generator, beta: float = 1.0) -> NDArray[np.int64]:
    """Draws rows with probabilities proportional to a power of their BALD score, without replacement.

    It takes the batch_size largest beta log(BALD) + Gumbel noise, so that the batch is not all of one kind. Rows whose
    score is 0 are drawn after all others.

    beta: the power, above 0. A large one is BALD itself.
    """
    if not 0 < beta < np.inf:
        raise ValueError(f"beta must be a positive power; got {beta!r}")
    scores = np.maximum(
        bald_scores(pool, "powerbald"), np.finfo(np.float64).tiny
    )  # 1e-308: far below what rounding leaves
    noisy = np.full(pool.n, -np.inf)
    noisy[pool.candidates] = beta * np.log(scores[pool.candidates]) + rng.gumbel(size=len(pool.candidates))
    return largest(pool, batch_size, noisy)


def _scores(pool: Pool, name: str, score: Scored) -> NDArray[np.float64]:
    assert pool.proba is not None
    if pool.proba.ndim != 3 or len(pool.proba) < 2:
        raise ValueError(
            f"strategy {name!r} needs proba of several passes or members, (T, N, C) with T of 2 or more; got shape "
            f"{pool.proba.shape}"
        )
    scores = np.empty(pool.n)
    for part, p in pool.proba_blocks():
        scores[part] = score(p)
    return scores
