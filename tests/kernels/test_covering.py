"""k_center_greedy, ball_cover and herding: every pick replayed against the reference."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from data import DIMENSIONS, POOLS, blobs, clear_radius, host, integers, put, rounded
from oracle import reference
from oracle.replay import check_ball_cover, check_herding, check_k_center_greedy, check_picks
from oracle.tolerance import kernel_atol, sqdist_rtol

from pyal import kernels

SUBSETS = {  # covered_by and candidates of 300 rows
    "none": {},
    "covered": {"covered_by": [5, 17, 250]},
    "candidates": {"candidates": np.arange(299, 100, -3)},
    "masks": {"covered_by": np.arange(300) % 50 == 7, "candidates": np.arange(300) % 3 != 1},
    "covered candidates": {"covered_by": np.arange(0, 300, 2), "candidates": np.arange(0, 300, 4)},
    "everything covered": {"covered_by": np.ones(300, dtype=bool)},
}


def bandwidth_of(X) -> float:
    """The middle distance of the pool: kernel values are then neither all 0 nor all 1."""
    return float(np.sqrt(np.median(reference.sqdist_between(X[:60], X)))) or 1.0


@functools.cache
def pool(n: int, d: int):
    X = blobs(n, d, seed=d)
    h = bandwidth_of(X)
    return X, sqdist_rtol(X, "float32"), clear_radius(X, 0.05), h, kernel_atol(X, h, "float32")


@pytest.mark.parametrize("d", DIMENSIONS)
def test_k_center_greedy_dimensions(engine, d):
    X, rtol, *_ = pool(300, d)
    check_k_center_greedy(X, *host(kernels.k_center_greedy(put(X, device=engine), 60)), rtol=rtol)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_ball_cover_dimensions(engine, d):
    X, _, radius, *_ = pool(300, d)
    check_ball_cover(X, *host(kernels.ball_cover(put(X, device=engine), 40, radius)), radius)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_herding_dimensions(engine, d):
    X, _, _, h, atol = pool(300, d)
    picks = host(kernels.herding(put(X, device=engine), 25, bandwidth=h))
    check_herding(X, *picks, bandwidth=h, atol=atol)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("part", [4, 100])
@pytest.mark.parametrize("given", [{}, {"covered_by": np.arange(0, 300, 7)}, {"candidates": np.arange(0, 300, 4)}])
def test_herding_with_a_small_bandwidth(engine, given, part, weighted):
    """Gains are then a row's own kernel value and little else, or exactly that: ties, to the lowest position."""
    X, h = pool(300, 31)[0], bandwidth_of(pool(300, 31)[0]) / part
    weights = np.random.default_rng(8).random(300) if weighted else None
    picks = host(kernels.herding(put(X, device=engine), 40, bandwidth=h, weights=weights, **given))
    check_herding(X, *picks, bandwidth=h, weights=weights, atol=kernel_atol(X, h, "float32"), **given)
    if part == 100 and not weighted and not given:
        assert picks[0].tolist() == list(range(40))


def test_a_thousand_rows(engine):
    X, rtol, radius, h, atol = pool(1000, 31)
    given = put(X, device=engine)
    check_k_center_greedy(X, *host(kernels.k_center_greedy(given, 300)), rtol=rtol)
    check_ball_cover(X, *host(kernels.ball_cover(given, 200, radius)), radius)
    check_herding(X, *host(kernels.herding(given, 40, bandwidth=h)), bandwidth=h, atol=atol)


def test_many_rows(device):
    """More rows than any block has, and picks until hardly a bound is fresh."""
    X = blobs(2500, 20, seed=6, centers=40)
    given, radius, h = put(X, device=device), clear_radius(X, 0.01), bandwidth_of(X) / 3
    check_k_center_greedy(X, *host(kernels.k_center_greedy(given, 2500)), rtol=sqdist_rtol(X, "float32"))
    check_ball_cover(X, *host(kernels.ball_cover(given, 400, radius)), radius)
    picks = host(kernels.herding(given, 15, bandwidth=h))
    check_herding(X, *picks, bandwidth=h, atol=kernel_atol(X, h, "float32"))


PACKED = 2048  # picks after which k_center_greedy packs the rows that are left once more
MANY = 2600
GIVEN = {  # what is given beside the rows, which are whole numbers: their squared distances are exact, and many tie
    "nothing": {},
    "three rows are covered": {"covered_by": [5, 17, 2599]},
    "most rows are covered": {"covered_by": np.arange(MANY) % 6 != 0},
    "candidates": {"candidates": np.random.default_rng(3).permutation(MANY)[:2300]},
    "a start": {"start": 2599},
    "everything": {"covered_by": [9, 2000], "candidates": np.arange(MANY) % 8 != 3, "start": 1234},
    "each row twenty times": {},
    "each row twice": {},
}


@functools.cache
def many_picks(given: str):
    """The rows, how many are picked, and the reference's picks."""
    X = integers(MANY, 3, largest=50, seed=7)  # hardly a row comes twice
    if given == "each row twenty times":
        X = X[np.random.default_rng(1).integers(0, 130, MANY)]
    if given == "each row twice":  # whichever pick was missed, its twin shows it
        X = np.random.default_rng(1).permutation(np.tile(np.unique(X, axis=0)[:2200], (2, 1)))
    batch_size = len(reference.positions_of(GIVEN[given].get("candidates"), MANY, "all"))
    assert batch_size > PACKED
    return X, batch_size, reference.k_center_greedy(X, batch_size, **GIVEN[given])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", GIVEN)
def test_no_pick_is_lost_where_rows_are_packed_again(engine, dtype, given):
    X, batch_size, expected = many_picks(given)
    found = host(kernels.k_center_greedy(put(X, dtype, engine), batch_size, n_jobs=1, **GIVEN[given]))
    for part, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_threads_lose_no_pick_where_rows_are_packed_again(device, n_jobs):
    """Their number decides how many rows are brought up to date at a time."""
    X, batch_size, expected = many_picks("everything")
    found = host(kernels.k_center_greedy(put(X, device=device), batch_size, n_jobs=n_jobs, **GIVEN["everything"]))
    for part, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, wanted)


LINES = {  # (n, 1) rows that tie everywhere
    "all equal": lambda n: np.full((n, 1), 0.7, np.float32),
    "two values": lambda n: (np.arange(n)[:, None] % 5 == 4).astype(np.float32),
    "last alone": lambda n: (np.arange(n)[:, None] == n - 1).astype(np.float32),
    "few values": lambda n: integers(n, 1, seed=n, largest=20),
}
OF_LINE = {
    "all": lambda _: None,
    "every third": lambda n: np.arange(n)[::-3],
    "the end": lambda n: np.arange(n) >= n // 2,
}


@functools.cache
def line(name: str, n: int, some: str):
    X, candidates = LINES[name](n), OF_LINE[some](n)
    b = min(300, len(reference.positions_of(candidates, n, "all")))
    return X, candidates, b, reference.k_center_greedy(X, b, candidates=candidates)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 4095, 4096, 4097])
def test_k_center_greedy_takes_the_first_of_the_largest(engine, n):
    """Numbers of candidates around powers of 64, the fan of the tree that the largest is found with."""
    for name, some in itertools.product(LINES, OF_LINE):
        X, candidates, b, expected = line(name, n, some)
        found = host(kernels.k_center_greedy(put(X, device=engine), b, candidates=candidates, n_jobs=1))
        for part, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, wanted, err_msg=f"{name}, {some}")


@pytest.mark.parametrize("d", [7, 64])
def test_dtypes(engine, dtype, d):
    X = blobs(200, d, seed=3)
    exact, given = rounded(X, dtype), put(X, dtype, engine)
    radius, h = clear_radius(exact, 0.1), bandwidth_of(exact)
    check_k_center_greedy(exact, *host(kernels.k_center_greedy(given, 50)), rtol=sqdist_rtol(exact, dtype))
    check_ball_cover(exact, *host(kernels.ball_cover(given, 50, radius)), radius)
    picks = host(kernels.herding(given, 20, bandwidth=h))
    check_herding(exact, *picks, bandwidth=h, atol=kernel_atol(exact, h, dtype))


def test_whole_numbers_are_exact(engine, dtype):
    X = integers(300, 5)
    given = put(X, dtype, engine)
    check_k_center_greedy(X, *host(kernels.k_center_greedy(given, 300)))
    check_k_center_greedy(X, *host(kernels.k_center_greedy(given, 99, covered_by=[4, 5])), covered_by=[4, 5])
    for radius in (1.0, 2.0, 3.5, 100.0):  # 1 and 2 are distances that occur, and do not count
        check_ball_cover(X, *host(kernels.ball_cover(given, 300, radius)), radius)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_rows_all_picked(engine, n):
    X = integers(n, 3, seed=n)
    given = put(X, device=engine)
    check_k_center_greedy(X, *host(kernels.k_center_greedy(given, n)))
    check_ball_cover(X, *host(kernels.ball_cover(given, n, 3.5)), 3.5)
    check_herding(X, *host(kernels.herding(given, n, bandwidth=3.0)), bandwidth=3.0, atol=kernel_atol(X, 3, "float32"))
    for call in (kernels.k_center_greedy(given, 0), kernels.ball_cover(given, 0, 1.0), kernels.herding(given, 0)):
        assert [part.shape for part in host(call)] == [(0,), (0,)]


@pytest.mark.parametrize("name", POOLS)
def test_pools(engine, name):
    X = POOLS[name]()
    given, n = put(X, device=engine), len(X)
    check_k_center_greedy(X, *host(kernels.k_center_greedy(given, n)), rtol=sqdist_rtol(X, "float32"))
    radius = clear_radius(X, 0.2) or 1.0  # all equal: no two distances
    check_ball_cover(X, *host(kernels.ball_cover(given, n, radius)), radius)
    h = bandwidth_of(X)
    picks = host(kernels.herding(given, min(n, 60), bandwidth=h))
    check_herding(X, *picks, bandwidth=h, atol=kernel_atol(X, h, "float32"))


def test_equal_rows_in_order(engine):
    given = put(POOLS["all_equal"](), device=engine)
    for call in (kernels.k_center_greedy(given, 100), kernels.ball_cover(given, 100, 0.5), kernels.herding(given, 100)):
        np.testing.assert_array_equal(host(call)[0], np.arange(100))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_rows_among_others_go_lowest_first(engine, dtype):
    """Rows that are equal have equal gains, however a kernel came to know them."""
    for seed in range(48):
        rng = np.random.default_rng(seed)
        d = (2, 5, 16, 64)[seed % 4]
        X = rng.standard_normal((200, d))[rng.integers(0, 200, 200)].astype(np.float32)
        given, h = put(X, dtype, engine), (0.2, 0.5, 1.0)[seed % 3] * bandwidth_of(X)
        picks = host(kernels.herding(given, 40, bandwidth=h, covered_by=[7, 8]))
        check_herding(X, *picks, bandwidth=h, covered_by=[7, 8], atol=kernel_atol(X, h, dtype))
        check_k_center_greedy(X, *host(kernels.k_center_greedy(given, 40)), rtol=sqdist_rtol(X, dtype))


@pytest.mark.parametrize("subset", SUBSETS)
def test_subsets(engine, subset):
    X, rtol, radius, h, atol = pool(300, 9)
    given, which = put(X, device=engine), SUBSETS[subset]
    check_k_center_greedy(X, *host(kernels.k_center_greedy(given, 50, **which)), rtol=rtol, **which)
    check_ball_cover(X, *host(kernels.ball_cover(given, 50, radius, **which)), radius, **which)
    picks = host(kernels.herding(given, 50, bandwidth=h, **which))
    check_herding(X, *picks, bandwidth=h, atol=atol, **which)


def test_start(engine):
    X, rtol, *_ = pool(300, 9)
    given = put(X, device=engine)
    for which in ({"start": 299}, {"start": 4, "covered_by": [4, 9]}, {"start": 8, "candidates": np.arange(0, 300, 2)}):
        check_k_center_greedy(X, *host(kernels.k_center_greedy(given, 40, **which)), rtol=rtol, **which)


@pytest.mark.parametrize("zeros", [0.0, 0.5, 1.0])
def test_herding_weights(engine, zeros):
    X, _, _, h, atol = pool(300, 17)
    rng = np.random.default_rng(0)
    weights = rng.random(300) * (rng.random(300) >= zeros)
    picks = host(kernels.herding(put(X, device=engine), 30, bandwidth=h, weights=weights))
    check_herding(X, *picks, bandwidth=h, weights=weights, atol=atol)


@pytest.mark.parametrize("bandwidth", [1e-3, 0.1, 1e3, 1e6])
def test_herding_extreme_bandwidths(engine, bandwidth):
    """Kernels of all 0 but the diagonal, and of all 1: gains tie up to the last bits."""
    X = blobs(120, 8)
    picks = host(kernels.herding(put(X, device=engine), 30, bandwidth=bandwidth))
    check_herding(X, *picks, bandwidth=bandwidth, atol=kernel_atol(X, bandwidth, "float32"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_ball_cover_extreme_radii(engine, share):
    X = blobs(250, 16)
    radius = clear_radius(X, share)
    check_ball_cover(X, *host(kernels.ball_cover(put(X, device=engine), 250, radius)), radius)


def test_permuted_rows_give_permuted_picks(engine):
    """Without ties the same rows are picked, wherever they stand."""
    X, _, radius, h, _ = pool(300, 33)
    to = np.random.default_rng(1).permutation(300)
    first, second = put(X, device=engine), put(X[to], device=engine)
    covered, moved = np.arange(3), np.flatnonzero(np.isin(to, np.arange(3)))
    plain = host(kernels.k_center_greedy(first, 80, covered_by=covered))
    shuffled = host(kernels.k_center_greedy(second, 80, covered_by=moved))
    np.testing.assert_array_equal(to[shuffled[0]], plain[0])
    plain = host(kernels.herding(first, 20, bandwidth=h, covered_by=covered))
    shuffled = host(kernels.herding(second, 20, bandwidth=h, covered_by=moved))
    np.testing.assert_array_equal(to[shuffled[0]], plain[0])
    plain = host(kernels.ball_cover(first, 1, radius))  # counts tie: only the first gain is sure to be the same
    shuffled = host(kernels.ball_cover(second, 1, radius))
    assert plain[1] == shuffled[1]
    check_picks(shuffled[0], 1, 300)


def test_the_replay_can_fail():
    """The checkers refuse a wrong pick, a wrong value and a tie to the higher position."""
    X = np.array([[0.0], [1.0], [3.0], [3.0]])
    for positions, sqradius in (
        ([0, 1], [np.inf, 1]),
        ([0, 2], [np.inf, 8]),
        ([0, 3], [np.inf, 9]),
        ([1, 2], [np.inf, 4]),
    ):
        with pytest.raises(AssertionError):
            check_k_center_greedy(X, np.array(positions), np.array(sqradius, dtype=float))
    with pytest.raises(AssertionError):
        check_k_center_greedy(X, np.array([0, 3]), np.array([np.inf, 9.0]), rtol=1e-6)
    good = reference.herding(X, 2)
    check_herding(X, *good)
    for positions, gains in ((good[0][::-1], good[1]), (good[0], good[1] * 1.001)):
        with pytest.raises(AssertionError):
            check_herding(X, positions, gains, atol=1e-6)
    with pytest.raises(AssertionError):
        check_ball_cover(X, np.array([1, 2]), np.array([3, 1]), 1.5)
