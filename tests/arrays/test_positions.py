"""Positions and masks in: which rows they name, and what is refused in which words."""

from __future__ import annotations

import numpy as np
import pytest

from pyal.arrays import as_positions


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([2, 0], [0, 2]),
        ((1,), [1]),
        ([], []),
        (range(2), [0, 1]),
        (np.array([3, 1], np.uint8), [1, 3]),
        (np.array([True, False, True, False]), [0, 2]),
        ([False] * 4, []),
    ],
)
def test_positions(given, expected):
    found = as_positions(given, 4, "labeled")
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_positions_of_torch():
    torch = pytest.importorskip("torch")
    assert as_positions(torch.tensor([True, False, True]), 3, "labeled").tolist() == [0, 2]
    assert as_positions(torch.tensor([2, 0]), 3, "labeled").tolist() == [0, 2]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([4], ValueError, "0 .. 3; got 4"),
        ([-1], ValueError, "got -1"),
        ([1, 1], ValueError, "more than once: 1"),
        ([True], ValueError, "one entry per row, 4; got 1"),
        ([0.0], TypeError, "float64"),
        ([[0]], ValueError, "1-D"),
        (2, ValueError, "1-D"),
        (["a"], TypeError, "<U1"),
        ({1}, TypeError, "set"),
    ],
)
def test_positions_that_do_not_fit(given, error, words):
    with pytest.raises(error, match=words) as raised:
        as_positions(given, 4, "candidates")
    assert "candidates" in str(raised.value)
