"""The control that every other strategy is measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool
from pyal.strategies.registry import strategy


@strategy("random", citation="the control of every comparison")
def random(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Picks rows uniformly at random, without replacement."""
    return rng.choice(pool.candidates, batch_size, replace=False)
