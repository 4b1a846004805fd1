"""d2_sampling: the picks of the reference for the same uniforms, and the law they follow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from data import DIMENSIONS, POOLS, blobs, host, integers, put, rounded
from oracle import reference
from oracle.replay import check_picks

from pyal import kernels


def expected(X, batch_size: int, seed: int, **given) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first_uniform = rng.random()
    uniforms = rng.random((batch_size, reference.D2_UNIFORMS))
    return reference.d2_sampling(X, batch_size, first_uniform=first_uniform, uniforms=uniforms, **given)


def same_picks(X, batch_size: int, seed: int, dtype: str, device: str, **given) -> None:
    exact = rounded(X, dtype)
    picks = host(kernels.d2_sampling(put(X, dtype, device), batch_size, random_state=seed, **given))
    check_picks(picks, batch_size, len(X), given.get("candidates"))
    np.testing.assert_array_equal(picks, expected(exact, batch_size, seed, **given))


@pytest.mark.parametrize("d", DIMENSIONS)
def test_dimensions(engine, d):
    same_picks(blobs(600, d, seed=d), 40, d, "float32", engine)


@pytest.mark.parametrize("first", ["largest", "uniform"])
def test_dtypes(engine, dtype, first):
    same_picks(blobs(700, 20), 60, 1, dtype, engine, first=first)


@pytest.mark.parametrize("n", [1, 2, 7, 256, 257, 513])
def test_whole_numbers_all_picked(engine, dtype, n):
    """Sums are exact here, and the equal rows at the end are drawn uniformly."""
    same_picks(integers(n, 4, seed=n), n, 2, dtype, engine, first="uniform")


@pytest.mark.parametrize("classes", [1, 3, 10])
def test_outer_products(engine, dtype, classes):
    X = blobs(300, 9)
    q = np.random.default_rng(0).dirichlet(np.ones(classes), 300) - 0.25
    q = q.astype("float64" if dtype == "float64" else "float32")
    same_picks(X, 50, 3, dtype, engine, q=q)
    same_picks(X, 50, 4, dtype, engine, q=q, covered_by=[1, 2], candidates=np.arange(2, 300, 3))


def test_outer_products_of_equal_rows(engine):
    X, q = np.tile(integers(6, 5), (10, 1)), np.tile(integers(6, 3, seed=1), (10, 1))
    picks = host(kernels.d2_sampling(put(X, device=engine), 60, q=q, random_state=0))
    check_picks(picks, 60, 60)
    distinct = len(np.unique(reference.outer_rows(X, q), axis=0))
    assert len(np.unique(reference.outer_rows(X, q)[picks[:distinct]], axis=0)) == distinct, (
        "an equal row came too early"
    )


@pytest.mark.parametrize("name", POOLS)
def test_pools(engine, name):
    X = POOLS[name]()
    picks = host(kernels.d2_sampling(put(X, device=engine), len(X), random_state=1))
    check_picks(picks, len(X), len(X))
    if name != "near_duplicates":  # there the last weights are rounding errors of the float32 sums
        np.testing.assert_array_equal(picks[:30], expected(X, len(X), 1)[:30])


@pytest.mark.parametrize(
    "given",
    [
        {"covered_by": [5, 17, 250]},
        {"candidates": np.arange(299, 100, -3)},
        {"covered_by": np.arange(300) % 50 == 7, "candidates": np.arange(300) % 3 != 1},
        {"covered_by": np.arange(0, 300, 2), "candidates": np.arange(0, 300, 4)},  # all at 0: drawn uniformly
        {"covered_by": np.ones(300, dtype=bool)},
        {"candidates": np.arange(300) % 2 == 0, "first": "uniform"},
    ],
)
def test_subsets(engine, given):
    same_picks(blobs(300, 9), 45, 6, "float32", engine, **given)


def test_bounds_too_stale_for_32_attempts(engine):
    """A tight cluster 1000 away from the first pick: once one of it is picked, every bound in it is far too large."""
    X = integers(1500, 3, seed=5)
    X[1:] += 1000
    X[0] = 4000  # the largest; whole numbers below 2^24 squared: float32 is exact
    same_picks(X, 30, 7, "float32", engine)


WEIGHTS = {
    "spread": np.linspace(0.1, 3, 300),
    "some 0": np.where(np.arange(300) % 3 == 0, 0.0, np.linspace(1, 2, 300)),
    "one": np.where(np.arange(300) == 137, 5.0, 0.0),
    "none of the candidates": np.where(np.arange(300) % 3 == 0, 1.0, 0.0),
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("first", ["largest", "uniform"])
@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize(
    "given", [{}, {"candidates": np.flatnonzero(np.arange(300) % 3 == 1)}, {"covered_by": [5, 17]}]
)
def test_weights(engine, weights, first, factored, given):
    q = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32) if factored else None
    same_picks(blobs(300, 9), 45, 6, "float32", engine, weights=WEIGHTS[weights], first=first, q=q, **given)


@pytest.mark.parametrize("first", ["largest", "uniform"])
def test_weights_of_whole_numbers(engine, dtype, first):
    """Sums are exact, rows are equal, and all are picked: those without weight last."""
    X, weights = integers(513, 4, seed=9), 2.0 ** np.random.default_rng(1).integers(0, 3, 513)
    weights[::5] = 0
    same_picks(X, 513, 2, dtype, engine, weights=weights, first=first)
    picks = host(kernels.d2_sampling(put(X, dtype, engine), 60, weights=weights, first=first, random_state=4))
    assert weights[picks].min() > 0


@pytest.mark.parametrize("first", ["largest", "uniform"])
def test_weights_that_are_equal_change_nothing(engine, first):
    X = put(blobs(700, 20), device=engine)
    plain = host(kernels.d2_sampling(X, 60, first=first, random_state=3))
    for weight in (1.0, 0.3, 1e300, 1e-300):
        weighed = host(kernels.d2_sampling(X, 60, weights=np.full(700, weight), first=first, random_state=3))
        if first == "largest":
            np.testing.assert_array_equal(weighed, plain)
        else:  # floor(u n), and the row at u of the sum: the same but for rounding
            assert weighed[0] in (plain[0], plain[0] - 1)


def test_weights_too_uneven_for_32_attempts(engine):
    X = integers(1500, 3, seed=5)
    X[1:] += 1000
    X[0] = 4000
    same_picks(X, 30, 7, "float32", engine, weights=2.0 ** (np.arange(1500) % 4))


def test_generator_and_seed_draw_the_same(engine):
    X = put(blobs(300, 5), device=engine)
    generator = np.random.default_rng(9)
    first = host(kernels.d2_sampling(X, 20, random_state=generator))
    np.testing.assert_array_equal(first, host(kernels.d2_sampling(X, 20, random_state=9)))
    after = np.random.default_rng(9)
    after.random()
    after.random((20, 65))
    assert generator.random() == after.random(), "one uniform, then (batch_size, 65), and nothing else"
    assert host(kernels.d2_sampling(X, 20, random_state=10)).tolist() != first.tolist()


def law(X, draws: int, first: str, weights=1.0) -> dict[tuple[int, ...], float]:
    """The probability of every ordered tuple of picks: the first by rule, then weight times D^2 over its sum."""
    sqdist = reference.sqdist_between(X, X)
    n = len(X)
    weights, probability = np.broadcast_to(weights, n), {}
    for picks in itertools.permutations(range(n), draws):
        p = weights[picks[0]] / weights.sum()
        if first == "largest":
            p = float(picks[0] == np.argmax(weights * (X**2).sum(axis=1)))
        for t in range(1, draws):
            nearest = weights * sqdist[list(picks[:t])].min(axis=0)
            p *= nearest[picks[t]] / nearest.sum()
        if p > 0:
            probability[picks] = p
    return probability


def chi_square(counts: dict, probability: dict, total: int) -> tuple[float, float]:
    """The statistic over all cells expected at least 5 times (the rest as one), and the value passed once in 10^4."""
    from scipy.stats import chi2

    likely = {cell: p for cell, p in probability.items() if p * total >= 5}
    rest = 1 - sum(likely.values())
    statistic = sum((counts.get(cell, 0) - p * total) ** 2 / (p * total) for cell, p in likely.items())
    if rest * total >= 5:
        statistic += (total - sum(counts.get(cell, 0) for cell in likely) - rest * total) ** 2 / (rest * total)
    return statistic, float(chi2.ppf(1 - 1e-4, len(likely)))


@pytest.mark.parametrize("first", ["uniform", "largest"])
@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("weights", [None, [1.0, 2, 0.5, 0, 3, 1]])
def test_the_law(first, factored, weights):
    """Every ordered four-tuple of six rows in 4000 fixed seeds, under D^2 and, to show that it can fail, other laws."""
    X = np.array([[0, 0], [1, 0], [0, 2], [3, 3], [3.5, 3], [-4, 1]])
    q = np.array([[1.0, 0], [1, 1], [0, 1], [0.5, 1], [1, 0.5], [1, -1]]) if factored else None
    rows = reference.outer_rows(X, q)
    total = 4000
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(total):
        given = {"q": q, "weights": weights, "first": first, "random_state": seed, "n_jobs": 1}
        picks = tuple(int(i) for i in kernels.d2_sampling(X, 4, **given))
        counts[picks] = counts.get(picks, 0) + 1
    probability = law(rows, 4, first, 1.0 if weights is None else np.array(weights))
    statistic, limit = chi_square(counts, probability, total)
    assert statistic < limit
    flat = {cell: 1 / len(probability) for cell in probability}
    assert chi_square(counts, flat, total)[0] > limit, "this test could not tell D^2 from uniform picks"
    if weights is not None:
        assert chi_square(counts, law(rows, 4, first), total)[0] > limit, "this test could not tell weights from none"


def test_the_law_of_the_reference():
    """The reference itself, three picks of five rows in 2000 seeds."""
    X = np.array([[0, 0], [1, 0], [0, 2], [3, 3], [-4, 1.0]])
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(2000):
        picks = tuple(int(i) for i in expected(X, 3, seed, first="uniform"))
        counts[picks] = counts.get(picks, 0) + 1
    statistic, limit = chi_square(counts, law(X, 3, "uniform"), 2000)
    assert statistic < limit
