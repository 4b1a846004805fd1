"""Rows at norm 1 without a copy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from data import blobs, put, rounded

from pyal.arrays import as_matrix, as_numpy
from pyal.kernels.matrices import normalized

X = blobs(40, 6)


def test_values_are_within_an_ulp_of_the_quotients(dtype, device):
    given = as_matrix(put(X, dtype, device))
    exact = rounded(X, dtype)
    exact /= np.linalg.norm(exact, axis=1)[:, None]
    found = as_numpy(normalized(given), "X")
    becomes = "float64" if dtype == "float64" else "float32"
    assert found.dtype == becomes
    # the factor and the product are rounded once each, besides a few roundings of float64
    np.testing.assert_allclose(found, exact, rtol=2 * np.finfo(becomes).eps, atol=0)


def test_the_array_is_not_copied(dtype, device):
    given = as_matrix(put(X, dtype, device))
    found = normalized(given)
    assert found.array is given.array
    assert found.factor.shape == (40,)


def test_norms_are_taken_of_the_products():
    once = normalized(as_matrix(X))
    np.testing.assert_allclose(as_numpy(normalized(once), "X"), as_numpy(once, "X"), rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "dtype"),
    [
        ([[3e-200, 4e-200], [3e200, 4e200]], "float64"),
        ([[3e-320, 4e-320], [3.0, 4.0]], "float64"),
        ([[3e-300, 4e-300], [3e150, 4e150]], "float64"),
        ([[3e-44, 4e-44], [3.0, 4.0]], "float32"),
        ([[3e37, 4e37], [3.0, 4.0]], "float32"),
        ([[3e-7, 4e-7], [3.0, 4.0]], "float16"),
    ],
)
def test_norms_that_the_factor_could_not_invert(rows, dtype):
    given = np.array(rows).astype(dtype)
    exact = [[value / math.hypot(*row) for value in row] for row in given.tolist()]
    found = as_numpy(normalized(as_matrix(given)), "X")
    np.testing.assert_allclose(found, exact, rtol=2 * np.finfo(found.dtype).eps)


@pytest.mark.parametrize("scale", [1.0, 1e-170])
def test_zero_rows_are_named(scale):
    with pytest.raises(ValueError, match="zero rows; X has some at 1, 3"):
        normalized(as_matrix(np.array([[1.0], [0.0], [2.0], [0.0]]) * scale))


def test_a_memmap_is_not_copied(tmp_path):
    np.save(tmp_path / "X.npy", X)
    assert isinstance(normalized(as_matrix(tmp_path / "X.npy")).array, np.memmap)
