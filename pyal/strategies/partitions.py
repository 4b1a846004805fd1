"""Batches picked part by part: the candidates are split at random, and each part picks its share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool

# (candidates of a part, ascending; how many to pick) -> picks
PickPart = Callable[[NDArray[np.int64], int], NDArray[np.int64]]


def in_parts(
    pool: Pool, batch_size: int, n_partitions: int, rng: np.random.Generator, pick: PickPart
) -> NDArray[np.int64]:
    """What `pick` returns for each of n_partitions random parts of the candidates, one after the other.

    The parts, and their shares of the batch, differ by one row at most. One part is all candidates, and draws nothing.
    """
    parts = int(n_partitions)
    if not 1 <= parts <= len(pool.candidates):
        raise ValueError(f"n_partitions must lie in 1 .. {len(pool.candidates)}, the candidates; got {n_partitions!r}")
    if parts == 1:
        return pick(pool.candidates, batch_size)
    shares = [len(share) for share in np.array_split(np.arange(batch_size), parts)]
    split = np.array_split(rng.permutation(pool.candidates), parts)
    return np.concatenate([pick(np.sort(part), share) for part, share in zip(split, shares, strict=True) if share])
