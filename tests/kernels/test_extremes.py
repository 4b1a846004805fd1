"""Scales at which products overflow or vanish: the answers still follow the definition."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import reference

from pyal import kernels


def lattice(scale: float, far: float, n: int = 1500) -> np.ndarray:
    """Many equal distances on a small lattice, and two rows far beyond it."""
    X = np.random.default_rng(0).integers(-50, 51, (n, 2)) * scale
    X[0], X[3] = far, -far
    return X


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("scale", [1e-18, 1e-20, 1e-22])
def test_a_lattice_that_vanishes_beside_far_rows(scale):
    X = lattice(scale, 1.0)
    sqdist, _ = kernels.knn(X, 3)
    wanted, _ = reference.knn(X, 3)
    np.testing.assert_allclose(sqdist, wanted, rtol=1e-12)
    covered = np.arange(10)
    _, sqradius = kernels.k_center_greedy(X, 3, covered_by=covered, candidates=np.arange(10, len(X)))
    wanted = reference.k_center_greedy(X, 3, covered_by=covered, candidates=np.arange(10, len(X)))[1]
    np.testing.assert_allclose(sqradius, wanted, rtol=1e-12)


@pytest.mark.usefixtures("isa")
def test_subnormal_rows():
    X = np.zeros((400, 3))
    X[5] = 1e-320
    assert np.isfinite(kernels.knn(X, 2)[0]).all()
    assert kernels.ball_cover(X, 2, 1.0)[1].tolist() == [400, 0]
    assert len(kernels.kmeans(X, 2, random_state=0)[0]) == 2
    assert np.isfinite(kernels.herding(X, 2)[1]).all()


@pytest.mark.usefixtures("isa")
def test_queries_and_covered_rows_far_from_the_pool():
    assert kernels.knn(np.zeros((2, 1)), 1, queries=[[1e20]])[1].tolist() == [[0]]
    near = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert kernels.knn(near, 1, queries=np.full((1, 4), 1e20, np.float32))[1].min() >= 0
    X = np.random.default_rng(0).normal(size=(40, 3)) * 1e-12
    X[:3] = 1e60
    assert kernels.k_center_greedy(X, 3, covered_by=[0, 1, 2], candidates=np.arange(3, 40))[0].min() >= 3
    assert kernels.kmeans(X, 2, init=X[[0, 5]])[1].tolist() == [0] * 3 + [1] * 37


@pytest.mark.usefixtures("isa")
def test_herding_with_a_bandwidth_that_vanishes():
    Y = np.concatenate([np.arange(1, 201), np.full(5, 201)])[:, None] * 1e30
    positions, gains = kernels.herding(Y, 1, bandwidth=1.0)
    assert positions.tolist() == [200]
    np.testing.assert_allclose(gains, 5 / 205)
    X = np.array([[0.0], [1.0], [5.0], [5.0], [5.0]])
    for weights in (np.full(5, 1e-60), np.full(5, 1e39)):
        positions, gains = kernels.herding(X, 2, weights=weights)
        wanted = reference.herding(X, 2, weights=weights / weights[0])
        assert positions.tolist() == wanted[0].tolist()
        np.testing.assert_allclose(gains, wanted[1] * weights[0], rtol=1e-6)


def test_the_radius_of_purity_is_pure():
    for seed in range(50):
        D = np.random.default_rng(seed).normal(size=(30, 3)).astype(np.float32)
        labels = np.arange(30) % 2
        radius = kernels.purity_radius(D, labels, 1.0)
        for label in (0, 1):
            other = np.flatnonzero(labels != label)
            kernels_gain = [
                kernels.ball_cover(D[[i, *other]], 1, radius, candidates=[0])[1][0] for i in range(label, 30, 2)
            ]
            assert set(kernels_gain) == {1}


@pytest.mark.parametrize("radius", [1e200, 1e-170])
def test_radii_whose_squares_are_out_of_range(radius):
    X = [[0.0], [0.0], [1.0]]
    assert kernels.ball_cover(X, 1, radius)[1].tolist() == [3 if radius > 1 else 2]


def test_q_of_any_scale_draws_the_same():
    rng = np.random.default_rng(0)
    X, q = rng.normal(size=(300, 8)).astype(np.float32), rng.normal(size=(300, 4))
    plain = kernels.d2_sampling(X, 20, q=q, random_state=0).tolist()
    for scale in (2.0**-600, 2.0**-60, 2.0**60, 2.0**500):
        assert kernels.d2_sampling(X, 20, q=q * scale, random_state=0).tolist() == plain


def test_kmeans_far_from_the_origin_goes_on_until_it_has_converged():
    X = np.random.default_rng(0).normal(size=(3000, 8))
    start = X[:30]
    near, far = kernels.kmeans(X, 30, init=start)[2], kernels.kmeans(X + 1e9, 30, init=start + 1e9)[2]
    assert abs(far / near - 1) < 0.005


def test_norms_beyond_squared_distances_in_float64_are_refused():
    with pytest.raises(ValueError, match=r"\bX\b"):
        kernels.knn([[1.3e154], [-1.3e154], [0.0]], 1)
