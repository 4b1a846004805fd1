"""Mutual information of labels and models: BALD and BatchBALD, in NumPy and torch."""

from __future__ import annotations

import numpy as np

from peers.registry import Array, peer


@peer("bald", "numpy")
def numpy_bald(proba: Array) -> Array:
    """In blocks of rows that stay in cache."""
    scores = []
    for begin in range(0, proba.shape[1], 512):
        p = proba[:, begin : begin + 512]
        scores.append(_entropies(p.mean(axis=0)) - _entropies(p).mean(axis=0))
    return np.concatenate(scores)


@peer("bald", "torch", "torch")
def torch_bald(proba: Array) -> Array:
    import torch

    p = torch.from_numpy(proba)
    scores = torch.special.entr(p.mean(dim=0)).sum(dim=-1) - torch.special.entr(p).sum(dim=-1).mean(dim=0)
    return np.asarray(scores.numpy())


@peer("batchbald", "torch", "torch", note="joint entropies over all configurations, every row at every pick")
def torch_batchbald(proba: Array, batch_size: int) -> Array:
    """As the paper writes it, exact, in double: joint entropies of what is picked and of each row besides."""
    import torch

    p = torch.from_numpy(proba).double().permute(1, 0, 2).contiguous()  # (N, T, C)
    alone = torch.special.entr(p).sum(dim=-1).mean(dim=1)
    picked = torch.ones((1, p.shape[1]), dtype=torch.float64)  # (configurations, T)
    of_picked, picks = 0.0, []
    for _ in range(batch_size):
        step = max(1, (1 << 24) // (len(picked) * p.shape[2]))  # rows at a time: 128 MB
        joint = [
            torch.special.entr(picked @ part / p.shape[1]).sum(dim=(1, 2)) for part in torch.split(p, step)
        ]  # (rows, configurations, C) each
        scores = torch.cat(joint) - alone - of_picked
        scores[picks] = -torch.inf
        pick = int(scores.argmax())
        picks.append(pick)
        of_picked += float(alone[pick])
        picked = (picked[:, None] * p[pick].T).reshape(-1, p.shape[1])
    return np.array(picks)


def _entropies(p: Array) -> Array:
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return -(p * logs).sum(axis=-1)
