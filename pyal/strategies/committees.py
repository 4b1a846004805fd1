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
from pyal.strategies.scores import TINY, drawn, score_strategy
from pyal.strategies.uncertainty import entropies

Scored = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (T, m, C) -> (m,)


@score_strategy(
    "bald",
    needs=("proba",),
    passes=True,
    citation="Houlsby et al. 2011, arXiv:1112.5745; Gal, Islam & Ghahramani 2017, arXiv:1703.02910",
)
def bald(pool: Pool) -> NDArray[np.float64]:
    """Picks the rows whose label would tell most about which of the models is right.

    The score is the mutual information of label and model: H(mean_t p_t) - mean_t H(p_t), in nats, not below 0.
    """
    return _information(pool, "bald")


@score_strategy("dbal", needs=("proba",), passes=True, citation="Gal, Islam & Ghahramani 2017, arXiv:1703.02910")
def dbal(pool: Pool) -> NDArray[np.float64]:
    """Picks the rows whose mean prediction has the largest entropy.

    The score is H(mean_t p_t) in nats, which is `entropy` on the mean of the passes.
    """
    return _scores(pool, "dbal", lambda p: entropies(p.mean(axis=0)))


@score_strategy(
    "variation_ratio",
    aliases=("variation_ratios",),
    needs=("proba",),
    passes=True,
    citation="Freeman 1965; Gal, Islam & Ghahramani 2017, arXiv:1703.02910; Beluch et al. 2018 (CVPR)",
)
def variation_ratio(pool: Pool, *, definition: str = "votes") -> NDArray[np.float64]:
    """Picks the rows on whose class the models agree least.

    definition: "votes" is 1 - f / T, where f of the T models predict the class that most of them predict. "mean" is
        1 - max_c of the mean probabilities, which published code gives the same name.
    """
    if definition not in ("votes", "mean"):
        raise ValueError(f"definition must be 'votes' or 'mean'; got {definition!r}")

    def of_votes(p: NDArray[np.float64]) -> NDArray[np.float64]:
        votes = p.argmax(axis=-1)
        shares = [(votes == c).mean(axis=0) for c in range(p.shape[-1])]
        return np.asarray(1 - np.max(shares, axis=0))

    return _scores(pool, "variation_ratio", of_votes if definition == "votes" else lambda p: 1 - p.mean(0).max(-1))


@score_strategy(
    "mean_std",
    needs=("proba",),
    passes=True,
    citation="Kampffmeyer, Salberg & Jenssen 2016 (CVPR workshops); Gal, Islam & Ghahramani 2017, arXiv:1703.02910",
)
def mean_std(pool: Pool) -> NDArray[np.float64]:
    """Picks the rows whose class probabilities vary most from model to model.

    The score is the mean over the classes of sqrt(mean_t p_tc^2 - (mean_t p_tc)^2).
    """
    return _scores(pool, "mean_std", lambda p: p.std(axis=0).mean(axis=-1))


@strategy("powerbald", needs=("proba",), passes=True, weighs=True, citation="Kirsch et al. 2023, arXiv:2106.12059")
def powerbald(pool: Pool, batch_size: int, *, rng: np.random.Generator, beta: float = 1.0) -> NDArray[np.int64]:
    """Draws rows with probabilities proportional to a power of their BALD score, without replacement.

    It takes the batch_size largest beta log(BALD) + Gumbel noise, so that the batch is not all of one kind. Rows whose
    score is 0 are drawn after all others. Weights multiply the power.

    beta: the power, above 0. A large one is BALD itself.
    """
    if not 0 < beta < np.inf:
        raise ValueError(f"beta must be a positive power; got {beta!r}")
    log_values = beta * np.log(np.maximum(_information(pool, "powerbald"), TINY))
    if pool.weights is not None:
        log_values += np.log(np.maximum(pool.weights, TINY))
    return drawn(pool, batch_size, log_values, rng)


def _information(pool: Pool, name: str) -> NDArray[np.float64]:
    """BALD's score; name: of the strategy that asks."""
    return _scores(pool, name, lambda p: np.maximum(entropies(p.mean(axis=0)) - entropies(p).mean(axis=0), 0))


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
