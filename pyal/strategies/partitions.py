"""Batches picked part by part: the candidates are split at random, and each part picks its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import size
from pyal.pool import NextPicks, Pool


def in_parts(
    pool: Pool, batch_size: int, n_partitions: int, rng: np.random.Generator, next_picks: NextPicks
) -> NDArray[np.int64]:
    """Greedy picks of each of n_partitions random parts of the candidates, one after the other.

    The parts, and their shares of the batch, differ by one row at most. Where there are fewer candidates than parts,
    each is a part. One part is all candidates: it draws nothing, and picks as `Pool.in_turn` does.
    """
    parts = min(size(n_partitions, "n_partitions", 1), len(pool.candidates))
    if parts == 1:
        return pool.in_turn(batch_size, next_picks)
    none = np.empty(0, np.int64)
    shares = [len(share) for share in np.array_split(np.arange(batch_size), parts)]
    split = [np.sort(part) for part in np.array_split(rng.permutation(pool.candidates), parts)]
    return np.concatenate([next_picks(none, part, share) for part, share in zip(split, shares, strict=True) if share])
