"""knn, typicality, purity_radius and sqnorms against the reference."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from data import DIMENSIONS, POOLS, blobs, host, integers, put, rounded
from oracle import reference
from oracle.replay import check_knn
from oracle.tolerance import sqdist_rtol

from pyal import kernels


@functools.cache
def pool(n: int, d: int) -> tuple[np.ndarray, float]:
    X = blobs(n, d, seed=d)
    return X, sqdist_rtol(X, "float32")


@functools.cache
def expected(n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    return reference.knn(pool(n, d)[0], k)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_knn_dimensions(engine, d):
    X, rtol = pool(333, d)
    check_knn(X, 5, *host(kernels.knn(put(X, device=engine), 5)), rtol=rtol, expected=expected(333, d, 5))


@pytest.mark.parametrize("d", [16, 100])
def test_knn_a_thousand_rows(engine, d):
    X, rtol = pool(1000, d)
    check_knn(X, 20, *host(kernels.knn(put(X, device=engine), 20)), rtol=rtol, expected=expected(1000, d, 20))


def test_knn_many_rows(device):
    """A sample of 6000 rows, against queries that find themselves first."""
    X, rows = blobs(6000, 24, seed=8, centers=40), np.arange(0, 6000, 61)
    sqdist, positions = host(kernels.knn(put(X, device=device), 20))
    wanted = reference.knn(X, 21, queries=X[rows])
    np.testing.assert_array_equal(wanted[1][:, 0], rows)
    np.testing.assert_allclose(sqdist[rows], wanted[0][:, 1:], rtol=sqdist_rtol(X, "float32"))
    found = reference.values(X)[positions[rows]] - reference.values(X)[rows][:, None]
    np.testing.assert_allclose(sqdist[rows], (found**2).sum(axis=2), rtol=sqdist_rtol(X, "float32"))


def test_permuted_rows_give_permuted_neighbours(engine):
    X, to = pool(333, 17)[0], np.random.default_rng(0).permutation(333)
    plain, moved = (host(kernels.knn(put(rows, device=engine), 6)) for rows in (X, X[to]))
    np.testing.assert_array_equal(moved[0], plain[0][to])
    np.testing.assert_array_equal(to[moved[1]], plain[1][to])


@pytest.mark.parametrize("d", DIMENSIONS)
def test_sqnorms(engine, dtype, d):
    X = blobs(100, d)
    norms = host(kernels.sqnorms(put(X, dtype, engine)))
    assert norms.dtype == np.float64
    # d additions in double, in any order, are within d ulps of each other
    np.testing.assert_allclose(norms, reference.sqnorms(rounded(X, dtype)), rtol=d * np.finfo(np.float64).eps)


def test_sqnorms_show_what_is_not_finite(engine, dtype):
    X = blobs(40, 19)
    X[3, 18], X[9, 0], X[11, 7], X[20] = np.nan, np.inf, -np.inf, 0
    norms = host(kernels.sqnorms(put(X, dtype, engine)))
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(norms)), [3, 9, 11])
    assert norms[20] == 0


@pytest.mark.parametrize("d", [3, 64])
def test_knn_dtypes(engine, dtype, d):
    X = blobs(300, d, seed=1)
    exact = rounded(X, dtype)
    check_knn(exact, 7, *host(kernels.knn(put(X, dtype, engine), 7)), rtol=sqdist_rtol(exact, dtype))


def test_knn_whole_numbers_are_exact(engine, dtype):
    X = integers(400, 8)
    check_knn(X, 30, *host(kernels.knn(put(X, dtype, engine), 30)))


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("k", [1, 6, 7, 50])
def test_knn_few_rows(engine, n, k):
    X = integers(n, 3, seed=n)
    check_knn(X, k, *host(kernels.knn(put(X, device=engine), k)))


@pytest.mark.parametrize("name", POOLS)
def test_knn_pools(engine, name):
    X = POOLS[name]()
    found = host(kernels.knn(put(X, device=engine), 12))
    check_knn(X, 12, *found, rtol=sqdist_rtol(X, "float32"))
    if name in ("duplicates", "all_equal"):  # equal rows are equally far in any precision
        np.testing.assert_array_equal(found[1], reference.knn(X, 12)[1])


@pytest.mark.parametrize("m", [1, 7, 250])
def test_knn_queries(engine, m):
    X, copies = blobs(300, 17), m // 3
    queries = np.concatenate([blobs(m - copies, 17, seed=9), X[:copies]])
    sqdist, positions = host(kernels.knn(put(X, device=engine), 4, queries=put(queries, device=engine)))
    check_knn(X, 4, sqdist, positions, queries=queries, rtol=sqdist_rtol(np.concatenate([queries, X]), "float32"))
    np.testing.assert_array_equal(sqdist[m - copies :, 0], 0)


@pytest.mark.parametrize("k", [1, 5, 80])
def test_knn_groups(engine, k):
    X = blobs(300, 9)
    groups = np.random.default_rng(0).integers(-2, 6, 300) * 10**9  # labels, not counts
    groups[:3] = [7, 8, 8]  # alone in its group; two of a group
    found = host(kernels.knn(put(X, device=engine), k, groups=groups))
    check_knn(X, k, *found, groups=groups, rtol=sqdist_rtol(X, "float32"))
    assert found[1][0, 0] == -1
    assert found[1][1, 0] == 2
    assert (found[1][groups < 0] == -1).all()


def test_knn_a_group_of_all_negative(engine):
    sqdist, positions = host(kernels.knn(put(blobs(20, 3), device=engine), 2, groups=np.full(20, -1)))
    assert (positions == -1).all()
    assert np.isposinf(sqdist).all()


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("k", [1, 20, 400])
def test_typicality(engine, dtype, k, squared):
    X = blobs(150, 33)
    exact = rounded(X, dtype)
    groups = np.random.default_rng(1).integers(-1, 4, 150)
    groups[0] = 77  # no neighbour at all
    for given in (None, groups):
        scores = host(kernels.typicality(put(X, dtype, engine), k, groups=given, squared=squared))
        wanted = reference.typicality(exact, k, groups=given, squared=squared)
        # the mean and the reciprocal round a few times more, after the distances
        rtol = sqdist_rtol(exact, dtype) + 4 * np.finfo("float64" if dtype == "float64" else "float32").eps
        np.testing.assert_allclose(scores, wanted, rtol=rtol)
    assert np.isposinf(scores[0])
    assert np.isposinf(scores[groups < 0]).all()


def test_typicality_of_equal_rows(engine):
    scores = host(kernels.typicality(put(POOLS["all_equal"](), device=engine), 3))
    np.testing.assert_allclose(scores, 1e5, rtol=1e-6)  # 1e-5 itself is rounded to float32


@pytest.mark.parametrize("alpha", [1.0, 0.95, 0.5, 0.1])
def test_purity_radius(engine, dtype, alpha):
    X = blobs(250, 12)
    exact = rounded(X, dtype)
    labels = np.random.default_rng(2).integers(0, 3, 250)
    radius = kernels.purity_radius(put(X, dtype, engine), labels, alpha)
    assert isinstance(radius, float)
    wanted = reference.purity_radius(exact, labels, alpha)
    np.testing.assert_allclose(radius, wanted, rtol=sqdist_rtol(exact, dtype))


def test_purity_radius_is_the_largest(engine):
    X, labels = integers(200, 6), np.random.default_rng(3).integers(0, 2, 200)
    X[:, 0] += 40 * labels  # two clusters, and
    labels[:9] = 1 - labels[:9]  # nine rows on the wrong side
    radius = kernels.purity_radius(put(X, device=engine), labels, 0.9)
    nearest = np.sqrt(reference.knn(X, 1, labels=labels)[0][:, 0])
    assert np.mean(nearest >= radius) >= 0.9 > np.mean(nearest >= radius * (1 + 1e-6))
    assert kernels.purity_radius(put(X, device=engine), np.zeros(200, dtype=np.int64)) == np.inf
