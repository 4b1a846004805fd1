"""A few words that tell one matrix from another."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from pyal.arrays.matrix import Matrix, as_numpy

BLOCK = 1 << 20
HASHED = 1 << 32  # bytes: of a larger matrix this much, in evenly spaced blocks, is what the fingerprint sees


def fingerprint(rows: Matrix, limit: int = HASHED) -> dict[str, Any]:
    """Shape, dtype and a hash of the values: of all up to 4 GiB, else of 4 GiB in blocks of 1 MiB, evenly spaced.

    hashed says how many rows were looked at. The same on every device. Memory O(1).

    >>> fingerprint(Matrix(np.zeros((2, 3)), "float64", "cpu"))["shape"]
    [2, 3]
    """
    width = rows.d * (8 if rows.dtype == "float64" else 4)
    step = max(1, BLOCK // width)
    begins = np.arange(0, rows.n, step)
    if rows.n * width > limit:
        begins = begins[np.unique(np.linspace(0, len(begins) - 1, max(2, limit // (step * width))).astype(np.int64))]
    digest, hashed = hashlib.blake2b(digest_size=16), 0
    for begin in begins.tolist():
        block = as_numpy(rows.part(slice(begin, begin + step)), "X")
        digest.update(np.ascontiguousarray(block).data)
        hashed += len(block)
    return {"shape": [rows.n, rows.d], "dtype": rows.dtype, "hash": digest.hexdigest(), "hashed": hashed}
