"""A few words that tell one matrix from another."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from pyal.arrays.blocks import row_blocks
from pyal.arrays.matrix import Matrix, as_numpy

HASHED = 1 << 32  # bytes: of a larger matrix this much, in evenly spaced blocks, is what the fingerprint sees


def fingerprint(rows: Matrix, limit: int = HASHED) -> dict[str, Any]:
    """Shape, dtype and a hash of the values, the same on every device.

    Up to 4 GiB all values are hashed; of a larger matrix 4 GiB are, in blocks of 1 MiB, evenly spaced. `hashed` says
    how many rows were looked at. Memory: O(1).

    rows: the matrix.
    limit: how many bytes are hashed at most.

    >>> fingerprint(Matrix(np.zeros((2, 3)), "float64", "cpu"))["shape"]
    [2, 3]
    """
    width = rows.d * (8 if rows.dtype == "float64" else 4)
    parts = list(row_blocks(rows.n, width))  # of 1 MiB, as width counts bytes
    if rows.n * width > limit:
        most = max(2, limit // (parts[0].stop * width))
        parts = [parts[i] for i in np.unique(np.linspace(0, len(parts) - 1, most).astype(np.int64))]
    digest, hashed = hashlib.blake2b(digest_size=16), 0
    for part in parts:
        block = as_numpy(rows.part(part), "X")
        digest.update(np.ascontiguousarray(block).data)
        hashed += len(block)
    return {"shape": [rows.n, rows.d], "dtype": rows.dtype, "hash": digest.hexdigest(), "hashed": hashed}
