"""What messages say of many rows."""

from __future__ import annotations

import numpy as np

from pyal.arrays import first_few


def test_first_few():
    assert first_few(np.arange(3)) == "0, 1, 2"
    assert first_few(np.arange(9)) == "0, 1, 2, 3, 4, ... (9 in all)"
