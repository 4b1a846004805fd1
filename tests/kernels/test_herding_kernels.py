"""herding with every kernel but rbf, which test_covering holds to the reference: picks are replayed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from data import POOLS, blobs, clear_radius, host, integers, put, rounded
from oracle import reference
from oracle.replay import check_ball_cover, check_herding
from oracle.tolerance import kernel_atol

from pyal import kernels

KERNELS = ["laplace", "cauchy", "student_t", "top_hat"]
SUBSETS: dict[str, dict[str, Any]] = {
    "none": {},
    "covered": {"covered_by": [5, 17, 250]},
    "candidates": {"candidates": np.arange(299, 200, -3)},  # few: they are joined with all rows
    "covered candidates": {"covered_by": np.arange(0, 300, 2), "candidates": np.arange(300) % 4 != 3},
    "everything covered": {"covered_by": np.ones(300, dtype=bool)},
}


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def width(X, share: float = 0.3) -> float:
    """A distance that holds this share of the pairs; no pair is at it, as a top hat would turn on a rounding there."""
    return clear_radius(X, share) or 1.0


def check(X, kernel: str, h: float, batch_size: int, engine: str, dtype: str = "float32", **given) -> np.ndarray:
    picks = host(kernels.herding(put(X, dtype, engine), batch_size, kernel=kernel, bandwidth=h, **given))
    check_herding(X, *picks, kernel=kernel, bandwidth=h, atol=kernel_atol(X, h, dtype, kernel), **given)
    return picks[0]


@functools.cache
def pool(d: int):
    return blobs(300, d, seed=d)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.99])
@pytest.mark.parametrize("d", [1, 17, 64])
def test_dimensions(engine, kernel, d, share):
    check(pool(d), kernel, width(pool(d), share), 25, engine)


def test_dtypes(engine, dtype, kernel):
    X = rounded(blobs(200, 19, seed=3), dtype)
    check(X, kernel, width(X), 20, engine, dtype)


@pytest.mark.parametrize("name", POOLS)
def test_pools(engine, kernel, name):
    """Equal rows, a cluster far away, offsets, huge and tiny scales."""
    X = POOLS[name]()
    check(X, kernel, width(X), min(len(X), 40), engine)


@pytest.mark.parametrize("power", [-80, 80])
def test_scales_that_float32_cannot_square(device, kernel, power):
    X, s = blobs(200, 6).astype(np.float64), 2.0**power
    near, far = put(X, "float64", device), put(X * s, "float64", device)
    h = width(X)
    for found, wanted in zip(
        host(kernels.herding(far, 30, kernel=kernel, bandwidth=h * s)),
        host(kernels.herding(near, 30, kernel=kernel, bandwidth=h)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("subset", SUBSETS)
def test_subsets(engine, kernel, subset):
    check(pool(9), kernel, width(pool(9)), 30, engine, **SUBSETS[subset])


@pytest.mark.parametrize("zeros", [0.0, 0.5, 1.0])
def test_weights(engine, kernel, zeros):
    X, rng = pool(17), np.random.default_rng(0)
    weights = rng.random(300) * (rng.random(300) >= zeros)
    check(X, kernel, width(X), 30, engine, weights=weights)


@pytest.mark.parametrize("bandwidth", [1e-15, 1e-3, 1e3, 1e6, 1e15])
def test_extreme_bandwidths(engine, kernel, bandwidth):
    """Rows cover nothing but themselves, or everything: gains tie up to the last bits, or are 0."""
    check(blobs(120, 8), kernel, bandwidth, 30, engine)


@pytest.mark.parametrize("bandwidth", [1e-170, 1e200])
def test_bandwidths_whose_squares_are_out_of_range(kernel, bandwidth):
    X = np.array([[0.0], [0.0], [1.0]])
    positions, gains = kernels.herding(X, 3, kernel=kernel, bandwidth=bandwidth)
    assert positions.tolist() == ([0, 1, 2] if bandwidth > 1 else [0, 2, 1])
    np.testing.assert_allclose(gains, [1, 0, 0] if bandwidth > 1 else [2 / 3, 1 / 3, 0], atol=1e-15)


def test_equal_rows_go_lowest_first(engine, kernel):
    """Also when all rows are covered, though weights have been added up and taken off again."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((120, (1, 5, 16)[seed % 3]))[rng.integers(0, 30, 120)].astype(np.float32)
        weights = rng.random(120) if seed % 2 else None
        picks = check(X, kernel, width(X, 0.2), 60, engine, covered_by=[7, 8], weights=weights)
        last = picks[40:]  # 30 rows are different
        assert (np.diff(last) > 0).all()


def test_many_rows(device, kernel):
    """More rows than any block has, and so many picks that the bounds are made anew."""
    X = blobs(2500, 20, seed=6, centers=40)
    check(X, kernel, width(X, 0.02), 40, device)


def test_a_loop_carries_what_belongs_to_one_kernel(engine, kernel):
    X = pool(9)
    given, h, carried = put(X, device=engine), width(X), kernels.Carried()
    for others in (["rbf"], [], ["laplace", "cauchy", "student_t", "top_hat"], []):
        for other in others:
            kernels.herding(given, 9, kernel=other, bandwidth=h, covered_by=carried.rows, carried=carried)
        covered = carried.rows
        found = host(kernels.herding(given, 9, kernel=kernel, bandwidth=h, covered_by=covered, carried=carried))
        wanted = host(kernels.herding(given, 9, kernel=kernel, bandwidth=h, covered_by=covered))
        for part, expected in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_a_top_hat_covers_like_balls(engine, share):
    X, covered = pool(17), [3, 44]
    given, radius = put(X, device=engine), clear_radius(X, share)
    positions, gains = host(kernels.herding(given, 100, kernel="top_hat", bandwidth=radius, covered_by=covered))
    count = int((gains > 0).sum())
    whole = np.rint(gains * 300).astype(np.int64)
    np.testing.assert_allclose(gains * 300, whole, rtol=1e-14)
    check_ball_cover(X, positions, whole, radius, covered_by=covered)  # those of no gain are the lowest in both
    balls = host(kernels.ball_cover(given, 100, radius, covered_by=covered))
    np.testing.assert_array_equal(positions[:count], balls[0][:count])
    np.testing.assert_array_equal(whole, balls[1])


def test_a_top_hat_leaves_out_its_own_radius(engine, dtype):
    """Distances of whole numbers are exact: rows at the bandwidth are not covered, just as by balls."""
    X = integers(200, 4)
    for radius in (1.0, 2.0, 3.0, 3.5):
        found = host(kernels.herding(put(X, dtype, engine), 60, kernel="top_hat", bandwidth=radius))
        check_ball_cover(X, found[0], np.rint(found[1] * 200).astype(np.int64), radius)


def test_a_kernel_that_is_not_known():
    message = "kernel must be one of rbf, laplace, cauchy, student_t, top_hat; got 'gauss'"
    with pytest.raises(ValueError, match=message):
        kernels.herding(np.eye(3), 1, kernel="gauss")


def test_the_replay_tells_kernels_apart():
    X = np.array([[0.0], [1.0], [3.0], [3.0]])
    for kernel in KERNELS:
        found = reference.herding(X, 2, kernel=kernel, bandwidth=1.5)
        check_herding(X, *found, kernel=kernel, bandwidth=1.5)
        for other in {"rbf", *KERNELS} - {kernel}:
            with pytest.raises(AssertionError):
                check_herding(X, *found, kernel=other, bandwidth=1.5, atol=1e-6)
