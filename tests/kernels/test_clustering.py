"""kmeans and sup_scores against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from data import DIMENSIONS, POOLS, blobs, host, integers, put, rounded
from oracle import reference
from oracle.tolerance import EPS32, EPS64, sqdist_rtol, sup_rtol

from pyal import kernels


def check_kmeans(X, result, expected, dtype: str = "float32") -> None:
    """Centres within 4 ulps of the largest coordinate: means are taken in double and rounded once an iteration."""
    centers, assignment, inertia = host(result)
    wanted, _, sqdist_sum = expected
    eps = EPS64 if dtype == "float64" else EPS32
    scale = np.abs(X).max()
    np.testing.assert_allclose(centers, wanted, rtol=0, atol=4 * eps * scale)
    check_assignment(X, centers, assignment, inertia, sqdist_rtol(np.concatenate([centers, X]), dtype))
    np.testing.assert_allclose(inertia, sqdist_sum, rtol=1e-3)  # a sanity check: the exact one is check_assignment


def check_assignment(X, centers, assignment, inertia, rtol: float) -> None:
    """Every row is with its nearest centre up to near-ties, and inertia is the sum of the squared distances."""
    sqdist = reference.sqdist_between(X, centers)
    own = sqdist[np.arange(len(X)), assignment]
    assert assignment.dtype == np.int64
    assert isinstance(inertia, float)
    assert (own <= sqdist.min(axis=1) * (1 + 2 * rtol)).all()
    np.testing.assert_allclose(inertia, own.sum(), rtol=rtol + len(X) * EPS64)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_kmeans_dimensions(engine, d):
    X = blobs(300, d, seed=d)
    init = X[:7].astype(np.float64)
    check_kmeans(X, kernels.kmeans(put(X, device=engine), 7, init=X[:7]), reference.kmeans(X, init))


@pytest.mark.parametrize("k", [1, 5, 40])
def test_kmeans_dtypes(engine, dtype, k):
    X = blobs(400, 12, seed=1)
    exact = rounded(X, dtype)
    init = exact[:k].astype("float64" if dtype == "float64" else "float32")
    check_kmeans(exact, kernels.kmeans(put(X, dtype, engine), k, init=init), reference.kmeans(exact, init), dtype)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 20])
def test_kmeans_stops_after_max_iter(engine, max_iter):
    X = blobs(500, 8, centers=30)
    given = put(X, device=engine)
    result = kernels.kmeans(given, 20, init=X[:20], max_iter=max_iter, tol=0)
    check_kmeans(X, result, reference.kmeans(X, X[:20], max_iter=max_iter, tol=0))


@pytest.mark.parametrize("tol", [1e-4, 1e-2, 1.0, 1e3])
def test_kmeans_stops_at_tol(engine, tol):
    X = blobs(500, 8, centers=30, seed=1)
    check_kmeans(
        X, kernels.kmeans(put(X, device=engine), 20, init=X[:20], tol=tol), reference.kmeans(X, X[:20], tol=tol)
    )


def test_kmeans_converged_is_a_fixed_point(engine):
    X = blobs(600, 10, centers=12)
    centers, assignment, _ = host(kernels.kmeans(put(X, device=engine), 12, tol=0, max_iter=500, random_state=0))
    means = np.array([X[assignment == c].mean(axis=0, dtype=np.float64) for c in range(12)])
    np.testing.assert_allclose(centers, means, atol=2 * EPS32 * np.abs(X).max())


def test_kmeans_refills_every_empty_cluster(engine):
    X = blobs(200, 6)
    init = np.concatenate([X[:3], np.full((5, 6), 1e3, dtype=np.float32)])
    centers, assignment, inertia = host(kernels.kmeans(put(X, device=engine), 8, init=init))
    assert (np.bincount(assignment, minlength=8) > 0).all()
    check_assignment(X, centers, assignment, inertia, sqdist_rtol(np.concatenate([centers, X]), "float32"))


def test_kmeans_of_as_many_clusters_as_rows(engine):
    X = blobs(40, 5)
    centers, assignment, inertia = host(kernels.kmeans(put(X, device=engine), 40, random_state=0))
    assert inertia == 0
    assert len(np.unique(assignment)) == 40
    np.testing.assert_array_equal(centers[assignment], X)


def test_kmeans_of_more_rows_than_are_kept():
    """270 MB of rows: on CPUs with bfloat16 arithmetic the last of them are converted again for every comparison."""
    block = integers(67, 4097, seed=8)
    X, init = np.tile(block.astype(np.float16), (500, 1)), block[[0, 30, 66]]
    centers, assignment, inertia = kernels.kmeans(X, 3, init=init, max_iter=2, tol=0)
    expected = reference.kmeans(block, init, max_iter=2, tol=0)  # each row 500 times: the means are the same
    np.testing.assert_array_equal(assignment, np.tile(expected[1], 500))
    np.testing.assert_allclose(centers, expected[0], rtol=0, atol=4 * EPS32 * np.abs(block).max())
    np.testing.assert_allclose(inertia, 500 * expected[2], rtol=sqdist_rtol(block, "float32"))


@pytest.mark.parametrize("name", POOLS)
def test_kmeans_pools(engine, name):
    X = POOLS[name]()
    result = host(kernels.kmeans(put(X, device=engine), 6, random_state=3))
    check_assignment(X, *result, sqdist_rtol(np.concatenate([result[0], X]), "float32"))
    spread = ((X - X.mean(axis=0, dtype=np.float64)) ** 2).sum()
    assert np.isfinite(result[0]).all()
    assert result[2] <= spread * (1 + 1e-6)


def test_kmeans_of_equal_rows(engine):
    centers, _, inertia = host(kernels.kmeans(put(POOLS["all_equal"](), device=engine), 4, random_state=0))
    np.testing.assert_array_equal(centers, np.float32(0.7))
    assert inertia == 0


def test_kmeans_random_state(engine):
    X = put(blobs(400, 8, centers=20), device=engine)
    first, again = host(kernels.kmeans(X, 20, random_state=5)), host(kernels.kmeans(X, 20, random_state=5))
    for part, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(part, other)
    one, best = ([kernels.kmeans(X, 20, n_init=n, random_state=seed)[2] for seed in range(6)] for n in (1, 8))
    assert len(set(one)) > 1
    assert np.mean(best) < np.mean(one)
    generator = np.random.default_rng(5)
    np.testing.assert_array_equal(host(kernels.kmeans(X, 20, random_state=generator))[1], first[1])


def test_kmeans_finds_clear_clusters(engine):
    X = np.concatenate([blobs(50, 4, centers=1, seed=s) + 100 * s for s in range(6)]).astype(np.float32)
    _, assignment, _ = host(kernels.kmeans(put(X, device=engine), 6, random_state=0))
    assert all(len(np.unique(assignment[50 * s : 50 * s + 50])) == 1 for s in range(6))
    assert len(np.unique(assignment)) == 6


def sup_case(n: int, d: int, k: int, dtype: str = "float32"):
    X = blobs(n, d, seed=d)
    exact = rounded(X, dtype)
    centers = exact[:: n // k][:k] + 0.25  # quarters survive every storage type's arithmetic here
    centers = centers.astype("float64" if dtype == "float64" else "float32")
    return X, exact, centers, reference.kmeans_assign(exact, centers)[0]


@pytest.mark.parametrize("d", DIMENSIONS)
def test_sup_scores_dimensions(engine, d):
    X, exact, centers, assignment = sup_case(300, d, 9)
    scores = host(kernels.sup_scores(put(X, device=engine), centers, assignment))
    wanted = reference.sup_scores(exact, centers, assignment)
    np.testing.assert_allclose(scores, wanted, rtol=sup_rtol(exact, centers, assignment, 1.0, "float32"))


@pytest.mark.parametrize("k", [2, 3, 5, 50])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 100.0])
def test_sup_scores_dtypes(engine, dtype, k, temperature):
    X, exact, centers, assignment = sup_case(200, 20, k, dtype)
    scores = host(kernels.sup_scores(put(X, dtype, engine), centers, assignment, temperature=temperature))
    wanted = reference.sup_scores(exact, centers, assignment, temperature=temperature)
    np.testing.assert_allclose(scores, wanted, rtol=sup_rtol(exact, centers, assignment, temperature, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sup_scores_of_every_number_of_centres(engine, dtype):
    """Up to past the width of a block, and more than one chunk of centres."""
    for k in (*range(2, 36), 600):
        X, exact, centers, assignment = sup_case(700, 10, k, dtype)
        scores = host(kernels.sup_scores(put(X, dtype, engine), centers, assignment))
        wanted = reference.sup_scores(exact, centers, assignment)
        np.testing.assert_allclose(scores, wanted, rtol=sup_rtol(exact, centers, assignment, 1.0, dtype))


@pytest.mark.parametrize("name", POOLS)
def test_sup_scores_pools(engine, name):
    X = POOLS[name]()
    centers = np.concatenate([X[:3], X[-4:] * np.float32(1.001)])
    assignment = np.arange(len(X)) % 7  # any assignment is one
    scores = host(kernels.sup_scores(put(X, device=engine), centers, assignment))
    wanted = reference.sup_scores(X, centers, assignment)
    finite = np.isfinite(wanted)
    rtol = sup_rtol(X[finite], centers, assignment[finite], 1.0, "float32") if finite.any() else 0.0
    np.testing.assert_allclose(scores, wanted, rtol=rtol)


def test_sup_scores_near_and_on_a_centre(engine):
    """|x|^2 + |c|^2 - 2<x, c> alone would give 0 or noise here."""
    centers = (100 + integers(4, 16, seed=2)).astype(np.float32)
    X = np.repeat(centers, 2, axis=0)
    X[1::2] += np.float32(2**-10)
    assignment = np.array([1, 1, 0, 0, 0, 0, 0, 0])
    for temperature in (1.0, 0.1):  # nearly all weight on one centre
        scores = host(kernels.sup_scores(put(X, device=engine), centers, assignment, temperature=temperature))
        wanted = reference.sup_scores(X, centers, assignment, temperature=temperature)
        finite = np.isfinite(wanted)
        np.testing.assert_array_equal(np.isfinite(scores), finite)
        rtol = sup_rtol(X[finite], centers, assignment[finite], temperature, "float32")
        np.testing.assert_allclose(scores[finite], wanted[finite], rtol=rtol)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_sup_scores_beside_a_far_centre(engine, dtype, temperature):
    """The weights of the near centres must not lose their digits to the norm of a far one."""
    X = integers(60, 5, seed=3)
    centers = np.concatenate([integers(6, 5, seed=4) + 0.25, np.full((1, 5), 2.0**20)]).astype(np.float32)
    assignment = np.arange(60) % 7
    scores = host(kernels.sup_scores(put(X, dtype, engine), centers, assignment, temperature=temperature))
    near = assignment < 6  # rows of the far one have near weights that any rounding of 2^20 decides
    wanted = reference.sup_scores(X[near], centers, assignment[near], temperature=temperature)
    eps = EPS64 if dtype == "float64" else EPS32
    # squared differences of these numbers are exact; a few roundings remain, and 6 / temperature ulps of a weight
    np.testing.assert_allclose(scores[near], wanted, rtol=8 * eps + 4 * EPS64 * 6 / temperature)


def test_permuted_rows_give_permuted_scores(engine):
    X, _, centers, assignment = sup_case(300, 24, 6)
    to = np.random.default_rng(0).permutation(300)
    scores = host(kernels.sup_scores(put(X, device=engine), centers, assignment))
    moved = host(kernels.sup_scores(put(X[to], device=engine), centers, assignment[to]))
    np.testing.assert_allclose(moved, scores[to], rtol=4 * EPS32)
    plain = host(kernels.kmeans(put(X, device=engine), 6, init=centers))
    shuffled = host(kernels.kmeans(put(X[to], device=engine), 6, init=centers))
    np.testing.assert_array_equal(shuffled[1], plain[1][to])
