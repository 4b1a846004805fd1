"""Rows of 4097 columns, which is no multiple of anything and longer than any block of columns: each kernel."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs, clear_radius, host, put
from oracle import reference
from oracle.replay import check_ball_cover, check_herding, check_k_center_greedy, check_knn, check_picks
from oracle.tolerance import EPS32, EPS64, kernel_atol, sqdist_rtol, sup_rtol

from pyal import kernels

WIDE = 4097
X = blobs(60, WIDE)
RTOL = sqdist_rtol(X, "float32")
LABELS = np.where(np.arange(60) % 4, -1, np.arange(60) % 3)


@pytest.fixture
def given(engine):
    return put(X, device=engine)


def test_sqnorms(given):
    np.testing.assert_allclose(host(kernels.sqnorms(given)), reference.sqnorms(X), rtol=WIDE * EPS64)


def test_knn(given):
    check_knn(X, 4, *host(kernels.knn(given, 4)), rtol=RTOL)
    check_knn(X, 4, *host(kernels.knn(given, 4, queries=X[:9])), queries=X[:9], rtol=RTOL)


def test_typicality(given):
    np.testing.assert_allclose(host(kernels.typicality(given, 5)), reference.typicality(X, 5), rtol=2 * RTOL)


def test_k_center_greedy(given):
    check_k_center_greedy(X, *host(kernels.k_center_greedy(given, 60)), rtol=RTOL)


def test_ball_cover(given):
    radius = clear_radius(X, 0.1)
    check_ball_cover(X, *host(kernels.ball_cover(given, 60, radius)), radius)


def test_deduplicate(given):
    radius = clear_radius(X, 0.05)
    first = reference.radius_groups(X, radius)
    assert 1 < len(set(first)) < 60
    groups, kept = host(kernels.deduplicate(given, radius))
    np.testing.assert_array_equal(kept[groups], first)


def test_purity_radius(given):
    found = kernels.purity_radius(given, np.arange(60) % 2, 0.5)
    np.testing.assert_allclose(found, reference.purity_radius(X, np.arange(60) % 2, 0.5), rtol=RTOL)


def test_herding(given):
    h = float(np.sqrt(np.median(reference.sqdist_between(X, X))))
    check_herding(X, *host(kernels.herding(given, 40, bandwidth=h)), bandwidth=h, atol=kernel_atol(X, h, "float32"))


@pytest.mark.parametrize("factored", [False, True])
def test_d2_sampling(given, factored):
    q = np.random.default_rng(0).dirichlet(np.ones(7), 60).astype(np.float32) - np.float32(0.25) if factored else None
    picks = host(kernels.d2_sampling(given, 30, q=q, random_state=3))
    check_picks(picks, 30, 60)
    rng = np.random.default_rng(3)
    first_uniform, uniforms = rng.random(), rng.random((30, reference.D2_UNIFORMS))
    wanted = reference.d2_sampling(X, 30, q=q, first_uniform=first_uniform, uniforms=uniforms)
    np.testing.assert_array_equal(picks, wanted)


@pytest.mark.parametrize("labels", [None, LABELS], ids=["kmeans", "constrained_kmeans"])
def test_kmeans(given, labels):
    if labels is None:
        found = kernels.kmeans(given, 6, init=X[:6])
        wanted = reference.kmeans(X, X[:6].astype(np.float64))
    else:
        found = kernels.constrained_kmeans(given, 6, labels=labels, init=X[:6], random_state=7)
        group = np.where(labels < 0, -1, np.cumsum(labels >= 0) - 1)
        order = np.random.default_rng(7).permutation(group.max() + 1)
        wanted = reference.constrained_kmeans(X, X[:6], order, group=group, colour=labels[labels >= 0])
    centers, assignment, inertia = host(found)
    np.testing.assert_allclose(centers, wanted[0], rtol=0, atol=4 * EPS32 * np.abs(X).max())
    np.testing.assert_array_equal(assignment, wanted[1])
    own = ((X.astype(np.float64) - centers[assignment].astype(np.float64)) ** 2).sum()
    np.testing.assert_allclose(inertia, own, rtol=RTOL)


def test_sup_scores(given):
    centers = (X[:5] + np.float32(0.25)).astype(np.float32)
    assignment = reference.kmeans_assign(X, centers)[0]
    wanted = reference.sup_scores(X, centers, assignment, temperature=50.0)
    scores = host(kernels.sup_scores(given, centers, assignment, temperature=50.0))
    np.testing.assert_allclose(scores, wanted, rtol=sup_rtol(X, centers, assignment, 50.0, "float32"))


@pytest.mark.parametrize("arguments", [{"weights": kernels.ntk_weights(WIDE, 9, 2, random_state=0)}, {"depth": 2}])
def test_ntk(given, arguments):
    K = kernels.ntk(given, kind="infinite" if "depth" in arguments else "empirical", **arguments)
    wanted = reference.ntk(X, X, **arguments)
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert (np.abs(host(K) - wanted) / scale).max() <= 1e-5


def test_ntk_outputs():
    weights = kernels.ntk_weights(WIDE, 9, 2, random_state=0)
    W1, b1, W2, b2 = weights
    hidden = np.maximum(X.astype(np.float64) @ W1.T + b1, 0)
    np.testing.assert_allclose(kernels.ntk_outputs(X, weights), hidden @ W2.T + b2, rtol=1e-4, atol=1e-5)


def test_recursive_least_squares(engine):
    """Fewer rows than columns: every row adds a direction, and the map gives the targets back."""
    Y = np.eye(3)[np.arange(60) % 3]
    shapes = {"root": (WIDE, WIDE), "basis": (WIDE, WIDE), "coef": (3, WIDE)}
    fit = {name: put(np.zeros(shape), "float64", engine) for name, shape in shapes.items()}
    taken, rank, _ = kernels.recursive_least_squares(put(X, "float64", engine), Y, **fit, rank=0)
    assert (taken, rank) == (60, 60)
    Z = X.astype(np.float64)
    pinv = np.linalg.pinv(Z)
    rtol = 1000 * EPS64 * np.linalg.cond(Z) ** 2
    np.testing.assert_allclose(host(fit["coef"]), (pinv @ Y).T, rtol=0, atol=rtol * np.abs(pinv @ Y).max())
    basis = host(fit["basis"])[:60]
    np.testing.assert_allclose(basis @ basis.T, np.eye(60), atol=1e4 * EPS64)
    root = Z @ host(fit["root"])[:60].T
    np.testing.assert_allclose(root @ root.T, np.eye(60), atol=rtol)


def test_every_kernel_is_here():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")} | {"constrained_kmeans"}
    not_of_columns = {"Carried", "checked_matrix", "ntk_weights"}
    not_of_columns |= {"ntk_lookahead", "mixture_entropies"}  # of a kernel matrix, and of rows of N C probabilities
    not_of_columns |= {"rank_one_gains"}  # of held-out rows
    assert set(kernels.__all__) - tested == not_of_columns
