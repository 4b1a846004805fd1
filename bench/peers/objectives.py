"""What a batch is worth, in float64: equal objectives show equal answers where near-ties or chance part the picks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from peers.registry import Array


def sqdist_blocks(X: Array, Y: Array) -> Iterator[tuple[slice, Array]]:
    """Slices of the rows of X with their (block, len(Y)) squared distances to Y."""
    Y = Y.astype(np.float64)
    for begin in range(0, len(X), 4096):
        part = slice(begin, begin + 4096)
        rows = X[part].astype(np.float64)
        sqdist = (rows**2).sum(axis=1)[:, None] + (Y**2).sum(axis=1) - 2 * rows @ Y.T
        yield part, np.maximum(sqdist, 0)


def nearest_sqdist(X: Array, Y: Array) -> Array:
    """(n,) squared distance of each row of X to the nearest row of Y."""
    return np.concatenate([sqdist.min(axis=1) for _, sqdist in sqdist_blocks(X, Y)])


def badge_potential(X: Array, q: Array, picks: Array) -> float:
    """Sum over all rows of the squared distance of q_i x X_i to the nearest picked one."""
    total = 0.0
    q = q.astype(np.float64)
    qnorms, Xnorms = (q**2).sum(axis=1), (X.astype(np.float64) ** 2).sum(axis=1)
    norms = qnorms * Xnorms
    for begin in range(0, len(X), 4096):
        part = slice(begin, begin + 4096)
        inner = (q[part] @ q[picks].T) * (X[part].astype(np.float64) @ X[picks].astype(np.float64).T)
        total += np.maximum(norms[part, None] + norms[picks] - 2 * inner, 0).min(axis=1).sum()
    return total


def same_picks(mine: Array, theirs: Array, objective: tuple[float, float], tolerance: float, name: str) -> str:
    """Asserts that the objective of mine is theirs within the tolerance (relative), and says which it was."""
    assert len(set(mine.tolist())) == len(mine)
    if np.array_equal(mine, theirs):
        return "equal picks"
    apart = objective[0] / objective[1] - 1
    assert abs(apart) <= tolerance, f"{name}: pyal {objective[0]}, peer {objective[1]}, apart by more than {tolerance}"
    return f"{name} {100 * apart:+.2g} %"
