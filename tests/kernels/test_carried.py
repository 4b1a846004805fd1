"""What coverage kernels carry from call to call: picks and gains are the same as where nothing is carried."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from data import blobs, host, put

from pyal import kernels

N = 400
KERNELS = {
    "k_center_greedy": kernels.k_center_greedy,
    "ball_cover": lambda X, batch_size, **given: kernels.ball_cover(X, batch_size, 2.5, **given),
    "herding": lambda X, batch_size, **given: kernels.herding(X, batch_size, bandwidth=3.0, **given),
    "herding cauchy": lambda X, b, **given: kernels.herding(X, b, kernel="cauchy", bandwidth=3.0, **given),
    "herding top_hat": lambda X, b, **given: kernels.herding(X, b, kernel="top_hat", bandwidth=3.0, **given),
}
TAKE_PICKS_IN = set(KERNELS) - {"k_center_greedy"}


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def check_rounds(kernel: str, X: Any, rounds: list[dict[str, Any]]) -> kernels.Carried:
    """Each round labels what the one before picked, and what it says itself; with `carried` nothing may differ."""
    carried, labeled = kernels.Carried(), np.empty(0, np.int64)
    for number, given in enumerate(rounds):
        labeled = np.union1d(labeled, given.get("labeled", [])).astype(np.int64)
        labeled = np.setdiff1d(labeled, given.get("withdrawn", []))
        options = {name: given[name] for name in given if name not in ("labeled", "withdrawn", "batch_size")}
        call = [X, given.get("batch_size", 15)]
        expected = host(KERNELS[kernel](*call, covered_by=labeled, **options))
        got = host(KERNELS[kernel](*call, covered_by=labeled, **options, carried=carried))
        for found, wanted in zip(got, expected, strict=True):
            np.testing.assert_array_equal(found, wanted, err_msg=f"round {number}")
        taken_in = got[0][got[1] > 0] if kernel == "ball_cover" else got[0]
        accounted = np.union1d(labeled, taken_in) if kernel in TAKE_PICKS_IN else labeled
        np.testing.assert_array_equal(carried.rows, accounted)
        labeled = np.union1d(labeled, got[0])
    return carried


def test_rounds(kernel, engine, dtype):
    check_rounds(kernel, put(blobs(N, 9), dtype, engine), [{}] * 6)


def test_labels_that_were_not_picked(kernel, device):
    some = [{"labeled": [3, 200]}, {"labeled": [7]}, {}, {"labeled": np.arange(0, N, 9)}, {}]
    check_rounds(kernel, put(blobs(N, 5), device=device), some)


def test_candidates_that_change(kernel, device):
    subsets = [np.arange(0, N, 3), np.arange(N) % 3 != 0, np.arange(N - 20, N), None, np.arange(0, N, 2)]
    check_rounds(kernel, put(blobs(N, 5), device=device), [{"candidates": some, "batch_size": 8} for some in subsets])


def test_a_batch_of_none(kernel, device):
    some = [{"batch_size": 0}, {"labeled": [5], "batch_size": 0}, {}, {"batch_size": 0}, {}]
    check_rounds(kernel, put(blobs(N, 5), device=device), some)


def test_a_label_withdrawn_starts_afresh(kernel):
    check_rounds(kernel, blobs(N, 5), [{"labeled": [3, 200]}, {"withdrawn": [200]}, {}])


def test_equal_rows(kernel, device):
    X = np.repeat(blobs(N // 8, 6), 8, axis=0)
    check_rounds(kernel, put(X, device=device), [{}] * 6)


def test_all_rows_equal(kernel):
    check_rounds(kernel, np.ones((50, 3), np.float32), [{"batch_size": 5}] * 4)


def test_everything_covered(kernel, device):
    check_rounds(kernel, put(blobs(N, 5), device=device), [{}, {"labeled": np.arange(N)}, {}])


def test_all_rows_picked(kernel):
    X = blobs(60, 5)
    given = [{"batch_size": 20, "candidates": np.arange(20 * part, 20 * part + 20)} for part in range(3)]
    check_rounds(kernel, X, given)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_many_rows(kernel, n_jobs):
    check_rounds(kernel, blobs(5000, 16), [{"batch_size": 40, "n_jobs": n_jobs}] * 3)


def test_another_matrix_starts_afresh(kernel):
    carried = kernels.Carried()
    KERNELS[kernel](blobs(N, 5), 9, carried=carried)
    other = blobs(N, 5, seed=7)
    expected = KERNELS[kernel](other, 9)
    np.testing.assert_array_equal(KERNELS[kernel](other, 9, carried=carried)[0], expected[0])


@pytest.mark.parametrize("name", ["bandwidth", "weights"])
def test_another_option_starts_afresh(name):
    X, carried = blobs(N, 5), kernels.Carried()
    other = {"bandwidth": 1.0} if name == "bandwidth" else {"weights": np.arange(N)}
    first = kernels.herding(X, 9, carried=carried, bandwidth=3.0)[0]
    expected = kernels.herding(X, 9, covered_by=first, **{"bandwidth": 3.0} | other)
    got = kernels.herding(X, 9, covered_by=first, **{"bandwidth": 3.0} | other, carried=carried)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


def test_another_radius_starts_afresh():
    X, carried = blobs(N, 5), kernels.Carried()
    first = kernels.ball_cover(X, 9, 3.0, carried=carried)[0]
    expected = kernels.ball_cover(X, 9, 1.5, covered_by=first)
    got = kernels.ball_cover(X, 9, 1.5, covered_by=first, carried=carried)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])
