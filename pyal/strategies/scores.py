"""Strategies that are a score per row: the batch is made of the largest values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool
from pyal.strategies.registry import strategy

TINY = float(np.finfo(np.float64).tiny)  # stands for 0 where a logarithm is taken: far below what rounding leaves
Scores = TypeVar("Scores", bound=Callable[..., NDArray[np.float64]])


def score_strategy(name: str, *, floor: float = 0.0, **facts: Any) -> Callable[[Scores], Scores]:
    """Registers `scores(pool, **options)`, (N,) float64, as a strategy; its docstring and options are the strategy's.

    floor: the score of a row that is worth nothing; weights multiply what is above it. facts: as for `strategy`.
    """

    def register(scores: Scores) -> Scores:
        @functools.wraps(scores)
        def weighed(pool: Pool, **options: Any) -> NDArray[np.float64]:
            found = scores(pool, **options)
            return found if pool.weights is None else floor + pool.weights * (found - floor)

        @functools.wraps(scores)
        def pick(pool: Pool, batch_size: int, *, rng: np.random.Generator, **options: Any) -> NDArray[np.int64]:  # noqa: ARG001
            return best(pool, batch_size, weighed(pool, **options))

        first, *options = inspect.signature(scores).parameters.values()
        batch_size = inspect.Parameter("batch_size", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        rng = inspect.Parameter("rng", inspect.Parameter.KEYWORD_ONLY)
        pick.__signature__ = inspect.Signature([first, batch_size, rng, *options])  # type: ignore[attr-defined]
        strategy(name, scores=weighed, weighs=True, **facts)(pick)
        return scores

    return register


def largest(pool: Pool, batch_size: int, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The candidates with the largest scores, best first; ties go to the lowest position."""
    order = np.argsort(-scores[pool.candidates], kind="stable")
    return pool.candidates[order[:batch_size]]


def best(pool: Pool, batch_size: int, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The same under the pool's rules: the next best stand in for rows that break one; there may be fewer then."""
    if pool.rules is None:
        return largest(pool, batch_size, scores)
    return pool.upkeep(batch_size).best(largest(pool, len(pool.candidates), scores), batch_size)


def drawn(pool: Pool, batch_size: int, log_values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Candidates drawn one after the other in proportion to their values, without replacement.

    They are the largest of log value + Gumbel noise.

    log_values: (N,), finite.
    """
    noisy = np.full(pool.n, -np.inf)
    noisy[pool.candidates] = log_values[pool.candidates] + rng.gumbel(size=len(pool.candidates))
    return best(pool, batch_size, noisy)


def two_largest(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(the largest, the second largest) over the last axis, of two columns or more."""
    two = np.partition(p, -2, axis=-1)
    return two[..., -1], two[..., -2]
