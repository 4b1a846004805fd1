"""A subset of the candidates, for what is too slow for all of them: drawn at random, or picked by another strategy.

A subset is a number of rows, or text: "10b" is ten times the batch, and "10000 by badge", "10b by coreset" say which
strategy picks them, with its defaults.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import size
from pyal.pool import Pool
from pyal.strategies.registry import Strategy, find

_FORM = re.compile(r"([1-9][0-9]*)(b?)(?: by (\w+))?")


@dataclass(frozen=True)
class Subset:
    """How many rows, or how many times the batch, and what picks them, None for a draw at random."""

    count: int
    times_batch: bool = False
    by: Strategy | None = None

    def size(self, batch_size: int, n_candidates: int) -> int:
        """How many of so many candidates it holds: all of them where it is smaller than the batch.

        >>> subset_of("10b").size(5, 1000), subset_of(3).size(5, 1000)
        (50, 1000)
        """
        count = self.count * batch_size if self.times_batch else self.count
        return n_candidates if count < batch_size else min(count, n_candidates)

    def needs(self, *, labeled: bool) -> tuple[str, ...]:
        """What it cannot do without, as of a strategy."""
        return () if self.by is None else self.by.needed({}, labeled=labeled)

    def drawn(self, pool: Pool, batch_size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Ascending positions out of the pool's candidates, from which batch_size rows are to be picked."""
        count = self.size(batch_size, len(pool.candidates))
        if count == len(pool.candidates):
            return pool.candidates
        if self.by is None:
            return np.sort(rng.choice(pool.candidates, count, replace=False))
        pool = dataclasses.replace(pool, rules=None, weights=None)  # these are for the batch
        self.by.check_needs(pool, {})
        if len(pool.labeled):
            self.by.check_needs_once_labeled(pool, {})
        return np.sort(self.by.function(pool, count, rng=rng))


def subset_of(subset: Any, name: str = "subset") -> Subset:
    """The Subset of a number or a text; ValueError or TypeError for anything else.

    >>> subset_of("10b by coreset").by.name
    'coreset'
    """
    if not isinstance(subset, str):
        return Subset(size(subset, name, 1))
    form = _FORM.fullmatch(subset)
    if form is None or not (form[2] or form[3]):
        raise ValueError(
            f"{name} must be a number, or a multiple of the batch like '10b'; and may be picked by a strategy, like "
            f"'10b by badge' or '10000 by coreset'; got {subset!r}"
        )
    by = None if form[3] in (None, "random") else find(form[3])
    return Subset(int(form[1]), bool(form[2]), by)


def drawn_subset(pool: Pool, batch_size: int, subset: int | str | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ascending positions of the subset of this pool that a strategy looks at; None: all candidates."""
    return pool.candidates if subset is None else subset_of(subset).drawn(pool, batch_size, rng)
