"""The pools that everything is measured on: noise, clusters, and embeddings of real images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pool:
    """Matrix to select from: kind and float32 X."""

    kind: str
    X: NDArray[np.float32]

    def head(self, rows: int | None) -> Pool:
        return Pool(self.kind, self.X[:rows])

    def radius(self, share: float) -> float:
        """The distance below which about this share of all pairs lies."""
        sample = self.X[np.random.default_rng(0).choice(len(self.X), min(1000, len(self.X)), replace=False)]
        sample = sample.astype(np.float64)
        sqnorms = (sample**2).sum(axis=1)
        sqdist = sqnorms[:, None] + sqnorms - 2 * sample @ sample.T
        return float(np.sqrt(np.quantile(sqdist[np.triu_indices(len(sample), 1)], share)))

    def __str__(self) -> str:
        return f"{self.kind} {len(self.X)} x {self.X.shape[1]}"


def make_pool(kind: str, rows: int, dim: int) -> Pool:
    """iid: standard normal. blobs: overlapping. real: embeddings of CIFAR-10. The last two on the unit sphere."""
    rng = np.random.default_rng(0)
    if kind == "iid":
        return Pool(kind, rng.standard_normal((rows, dim), np.float32))
    if kind == "blobs":
        middles = rng.standard_normal((80, dim), np.float32)
        X = middles[rng.integers(0, len(middles), rows)] + rng.standard_normal((rows, dim), np.float32)
    elif kind == "real":
        if not os.environ.get("PYAL_DATA"):
            pytest.skip("real data: the environment variable PYAL_DATA is not set")
        with np.load(Path(os.environ["PYAL_DATA"]) / "features" / "cifar10.npz") as stored:
            X = stored["train"][:rows, :dim].astype(np.float32)
    else:
        raise pytest.UsageError(f"PYAL_BENCH_DATA knows iid, blobs and real; got {kind!r}")
    return Pool(kind, np.ascontiguousarray(X / np.linalg.norm(X, axis=1, keepdims=True)))
