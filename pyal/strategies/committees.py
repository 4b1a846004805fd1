"""Strategies that ask where several models disagree: the members of a committee, or passes with dropout.

All of them need proba of shape (T, N, C) with T of 2 or more. The same model must stand behind a pass at all rows, as
in `pyal.heads`, whose LinearHead, MLPHead and Committee a loop asks for such passes. Each but powerbald is a score in
float64: the batch is made of its largest values, and ties go to the lowest position.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.pool import Pool
from pyal.strategies.configurations import Configurations
from pyal.strategies.registry import strategy
from pyal.strategies.scores import TINY, drawn, largest, score_strategy

Scored = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (T, m, C) -> (m,)

ROUNDING = 1e-9  # nats, above all that rounding does to a score: what is below tells nothing
FIRST_WAVE = 64  # rows


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
    proba = _passes(pool, "dbal")
    return np.asarray(kernels.mixture_entropies(proba, _equal_parts(proba), n_jobs=pool.n_jobs))


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


@strategy(
    "batchbald",
    needs=("proba",),
    passes=True,
    memory="O(N + configurations T)",
    citation="Kirsch, van Amersfoort & Gal 2019, arXiv:1906.08158",
)
def batchbald(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    max_configurations: int = 10_000,
    n_samples: int = 10_000,
    candidates_per_pick: int | None = None,
) -> NDArray[np.int64]:
    """Picks the rows whose labels together would tell most about which of the models is right.

    Each pick is the row that adds most to I(y_1 .. y_b; model), the mutual information of the labels of the batch and
    the model, so that rows that tell the same are not picked together. The first is the pick of `bald`. What row i adds
    is the mean, over the configurations (the ways in which the rows picked so far may be labelled), of
    H(sum_t w_t p_ti) - sum_t w_t H(p_ti) in nats, with w the distribution over the T models given the configuration.

    C classes make C^t configurations of t rows, and a pick costs up to N x configurations x T x C, so batches should be
    of 10 rows or fewer. What a row once added bounds what it may add later, and most rows are not looked at again.
    Where every row would add less than 1e-9 nats, the rest of the batch is picked by `bald`.

    max_configurations: how many configurations are gone through one by one, at least 1. Where there would be more,
        labels are drawn.
    n_samples: how many configurations are drawn then, at least 1, the same number for every model.
    candidates_per_pick: for each row of the batch, how many of the rows with the largest BALD are looked at, at least
        1; the authors' code keeps 20 or more. None looks at all.

    Differs from its source: it compares what rows add, given the picks, instead of joint entropies, which are large and
    nearly the same. In samples it subtracts the mean entropy of the models as the sample weights them: that is unbiased
    too, never below 0, and varies less.
    """
    for option, value in (("max_configurations", max_configurations), ("n_samples", n_samples)):
        if value < 1:
            raise ValueError(f"{option} must be at least 1; got {value}")
    if candidates_per_pick is not None and candidates_per_pick < 1:
        raise ValueError(f"candidates_per_pick must be at least 1, or None for all; got {candidates_per_pick}")
    bald = _information(pool, "batchbald")
    left = largest(pool, len(pool.candidates), np.where(bald > ROUNDING, bald, 0))
    if candidates_per_pick is not None:
        left = left[: candidates_per_pick * batch_size]
    configurations = Configurations(len(_passes(pool, "batchbald")), max_configurations, n_samples)
    return _jointly(pool, batch_size, left, bald, configurations, rng)


def _jointly(
    pool: Pool,
    batch_size: int,
    by_bald: NDArray[np.int64],
    bald: NDArray[np.float64],
    configurations: Configurations,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """batch_size of the positions by_bald: greedily while there is something to learn, then in that order.

    Under rules, as if a row that breaks one had not been there at that pick; there may be fewer then.
    """
    upkeep = None if pool.rules is None else pool.upkeep(batch_size)
    proba = np.ascontiguousarray(_passes(pool, "batchbald"))  # once, not in every call of a kernel
    left = np.sort(by_bald)
    bounds = bald[left]  # on what the rows that are left add
    picks: list[int] = []
    while len(picks) < batch_size and len(left):
        pick = _best(bounds, functools.partial(_added, proba, left, configurations, pool.n_jobs) if picks else None)
        if bounds[pick] <= ROUNDING:
            break
        picks.append(int(left[pick]))
        if upkeep is None:
            left, bounds = np.delete(left, pick), np.delete(bounds, pick)
        else:
            upkeep.take(left[[pick]])
            kept = np.isin(left, upkeep.candidates)
            left, bounds = left[kept], bounds[kept]
        if len(picks) < batch_size and len(left):
            configurations.learn(np.asarray(proba[:, picks[-1]], np.float64), rng)
            if not configurations.exact:
                bounds = _added(proba, left, configurations, pool.n_jobs, merged=True)
    rest = by_bald[~np.isin(by_bald, picks)]
    if upkeep is not None and len(picks) < batch_size:
        rest = upkeep.take(rest, skip=True)
    return np.append(np.array(picks, np.int64), rest[: batch_size - len(picks)])


def _best(bounds: NDArray[np.float64], values: Callable[[NDArray[np.intp]], NDArray[np.float64]] | None) -> int:
    """The first of the largest values, which bounds are not below; what is computed takes the place of its bound."""
    if values is None:
        return int(bounds.argmax())
    order = np.argsort(-bounds, kind="stable")
    computed = np.full(len(bounds), -np.inf)
    best, begin, end = -np.inf, 0, FIRST_WAVE
    while begin < len(order) and bounds[order[begin]] >= best - ROUNDING:
        wave = np.sort(order[begin:end])
        computed[wave] = values(wave)
        best, begin, end = float(computed.max()), end, 3 * end
    np.copyto(bounds, computed, where=np.isfinite(computed))
    return int(computed.argmax())


def _added(
    proba: NDArray[Any],
    left: NDArray[np.int64],
    configurations: Configurations,
    n_jobs: int | None,
    which: NDArray[np.intp] | None = None,
    *,
    merged: bool = False,
) -> NDArray[np.float64]:
    """What rows add to the information of the picks, in nats; merged: not less than that."""
    rows = left if which is None else left[which]
    if not len(rows):
        return np.empty(0)
    mixtures, weights = configurations.merged() if merged else (configurations.models, configurations.weights)
    together = kernels.mixture_entropies(proba, mixtures, weights, candidates=rows, n_jobs=n_jobs)
    alone = kernels.mixture_entropies(proba, weights=weights @ mixtures, candidates=rows, n_jobs=n_jobs)
    return np.asarray(together - alone)


def _information(pool: Pool, name: str) -> NDArray[np.float64]:
    """BALD's score; name: of the strategy that asks."""
    proba = _passes(pool, name)
    of_mean = kernels.mixture_entropies(proba, _equal_parts(proba), n_jobs=pool.n_jobs)
    of_each = kernels.mixture_entropies(proba, n_jobs=pool.n_jobs)
    return np.asarray(np.maximum(of_mean - of_each, 0))


def _equal_parts(proba: NDArray[Any]) -> NDArray[np.float64]:
    return np.full((1, len(proba)), 1 / len(proba))


def _scores(pool: Pool, name: str, score: Scored) -> NDArray[np.float64]:
    _passes(pool, name)
    scores = np.empty(pool.n)
    for part, p in pool.proba_blocks():
        scores[part] = score(p)
    return scores


def _passes(pool: Pool, name: str) -> NDArray[Any]:
    """proba of several passes, else a ValueError that names the strategy."""
    assert pool.proba is not None
    if pool.proba.ndim != 3 or len(pool.proba) < 2:
        raise ValueError(
            f"strategy {name!r} needs proba of several passes or members, (T, N, C) with T of 2 or more; got shape "
            f"{pool.proba.shape}"
        )
    return pool.proba
