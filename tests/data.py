"""Pools that the tests run on, and their way into every array library, storage type and device."""

from __future__ import annotations

import numpy as np
import pytest

DIMENSIONS = (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 513)  # they straddle the vector widths
DTYPES = ("float32", "float64", "float16", "bfloat16")


def blobs(n: int = 300, d: int = 16, *, seed: int = 0, centers: int = 5) -> np.ndarray:
    """(n, d) float32 around a few centres: distances of two scales, no ties."""
    rng = np.random.default_rng(seed)
    middles = 2 * rng.standard_normal((centers, d))
    return (middles[rng.integers(0, centers, n)] + 0.5 * rng.standard_normal((n, d))).astype(np.float32)


def integers(n: int = 300, d: int = 8, *, seed: int = 0, largest: int = 3) -> np.ndarray:
    """(n, d) small whole numbers: exact in every storage type and every sum, full of ties and equal rows."""
    return np.random.default_rng(seed).integers(-largest, largest + 1, (n, d)).astype(np.float32)


def duplicates(n: int = 300, d: int = 16, *, copies: int = 10) -> np.ndarray:
    """Every row `copies` times, the copies far from each other."""
    return np.tile(blobs(n // copies, d, seed=1), (copies, 1))


def all_equal(n: int = 100, d: int = 16) -> np.ndarray:
    return np.full((n, d), 0.7, dtype=np.float32)


def far_cluster(n: int = 300, d: int = 16) -> np.ndarray:
    """Two clusters 1e4 apart, the last tenth being the far one."""
    X = blobs(n, d, seed=2)
    X[-(n // 10) :] += np.float32(1e4)
    return X


def large_offset(n: int = 300, d: int = 16) -> np.ndarray:
    """X = 1e4 + small noise: |x|^2 + |y|^2 - 2<x, y> in float32 would lose every digit of the distances."""
    return (1e4 + 0.05 * np.random.default_rng(3).standard_normal((n, d))).astype(np.float32)


def near_duplicates(n: int = 300, d: int = 16) -> np.ndarray:
    """Pairs whose distance is the last few bits of their coordinates."""
    X = np.repeat(blobs(n // 2, d, seed=4), 2, axis=0)
    steps = np.random.default_rng(5).integers(0, 4, X[1::2].shape)
    X[1::2] += steps * np.spacing(np.abs(X[1::2]))
    return X


POOLS = {
    "duplicates": duplicates,
    "all_equal": all_equal,
    "far_cluster": far_cluster,
    "large_offset": large_offset,
    "near_duplicates": near_duplicates,
    "huge": lambda: blobs() * np.float32(1e15),
    "tiny": lambda: blobs() * np.float32(1e-15),
}


def bits_bfloat16(X: np.ndarray) -> np.ndarray:
    """The uint16 patterns of X rounded to bfloat16, ties to even."""
    bits = np.ascontiguousarray(X, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def rounded(X: np.ndarray, dtype: str) -> np.ndarray:
    """float64 values of X as stored in dtype: what a kernel is given, exactly."""
    if dtype == "bfloat16":
        return (bits_bfloat16(X).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.asarray(X).astype(dtype).astype(np.float64)


def put(X: np.ndarray, dtype: str = "float32", device: str = "cpu"):
    """X as NumPy on a CPU (bfloat16, which NumPy lacks: torch), as torch on CUDA."""
    if device == "cpu" and dtype != "bfloat16":
        return np.asarray(X).astype(dtype)
    torch = pytest.importorskip("torch", reason="bfloat16 input needs torch" if device == "cpu" else "no torch")
    return torch.from_numpy(rounded(X, dtype)).to(getattr(torch, dtype)).to(device)


def host(result):
    """NumPy arrays of what a kernel returned, on whichever device."""
    if isinstance(result, tuple):
        return tuple(host(part) for part in result)
    return result.cpu().numpy() if hasattr(result, "cpu") else result


def clear_radius(X, share: float) -> float:
    """A radius that holds about this share of all pairs and that no pair's distance comes near, in any precision."""
    from oracle.reference import sqdist_between

    sqdist = sqdist_between(X, X)
    sqdist = np.sort(sqdist[np.triu_indices(len(sqdist), 1)])
    middle = int(share * (len(sqdist) - 1))
    around = sqdist[max(0, middle - 500) : middle + 500]
    widest = int(np.argmax(np.diff(around)))
    return float(np.sqrt((around[widest] + around[widest + 1]) / 2))
