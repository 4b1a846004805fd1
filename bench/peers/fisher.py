"""BAIT with factors of rank one as a textbook has it: every pick multiplies all rows by the inverse again."""

from __future__ import annotations

from typing import Any

import numpy as np

from peers.registry import Array, peer


def _textbook(v: Any, fisher: Any, identity: Any, batch_size: int) -> list[int]:
    """v (N, d), scaled so that the ridge and every pick count 1; the operators are those of NumPy and of torch."""
    inverse, picks = identity, []
    for _ in range(2 * batch_size):
        g = v @ inverse
        gains = ((g @ fisher) * g).sum(1) / (1 + (g * v).sum(1))
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        g = g[picks[-1]]
        inverse = inverse - g[:, None] * g[None, :] / (1 + g @ v[picks[-1]])
    while len(picks) > batch_size:
        g = v[picks] @ inverse
        rises = ((g @ fisher) * g).sum(1) / (1 - (g * v[picks]).sum(1))
        out = int(rises.argmin())
        g = g[out]
        inverse = inverse + g[:, None] * g[None, :] / (1 - g @ v[picks[out]])
        del picks[out]
    return picks


def _rank_one(X: Array, p: Array, batch_size: int) -> Array:
    most = p.max(1)
    return np.asarray(X, np.float64) * np.sqrt(most * (1 - most) / batch_size)[:, None]


@peer("bait", "numpy textbook", note="stores all rows in float64")
def numpy_bait(X: Array, p: Array, batch_size: int) -> Array:
    v = _rank_one(X, p, batch_size)
    return np.array(_textbook(v, v.T @ v, np.eye(X.shape[1]), batch_size))


@peer("bait", "torch textbook", "torch", note="stores all rows in float64")
def torch_bait(X: Array, p: Array, batch_size: int) -> Array:
    import torch

    v = torch.from_numpy(_rank_one(X, p, batch_size))
    identity = torch.eye(X.shape[1], dtype=torch.float64)
    return np.array(_textbook(v, v.T @ v, identity, batch_size))
