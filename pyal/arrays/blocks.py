"""Blocks of rows: NumPy works on some MB of many rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK_ELEMENTS = 1 << 20  # about 8 MB of float64


def row_blocks(n: int, width: int, blocks: int = 1) -> Iterator[slice]:
    """Slices that cover n rows of `width` elements, each of about `blocks` times 8 MB of float64 (one row at least).

    >>> list(row_blocks(3, BLOCK_ELEMENTS // 2))
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, blocks * BLOCK_ELEMENTS // max(1, width))
    return (slice(begin, min(begin + step, n)) for begin in range(0, n, step))
