"""The control that every other strategy is measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool
from pyal.strategies.registry import strategy
from pyal.strategies.scores import TINY, drawn


@strategy("random", weighs=True, citation="the control of every comparison")
def random(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Picks rows uniformly at random, without replacement.

    With weights each pick is drawn in proportion to the weights of the rows that are left; where all of these are 0,
    uniformly.
    """
    if pool.weights is not None:
        return drawn(pool, batch_size, np.log(np.maximum(pool.weights, TINY)), rng)
    return rng.choice(pool.candidates, batch_size, replace=False)
