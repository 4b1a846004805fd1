"""k-means sampling, ActiveFT, hierarchical k-means and typicality in other features: by hand, and in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from oracle.reference import kmeans as plain_kmeans
from oracle.reference import sqdist_between

import pyal
from pyal.arrays import as_matrix
from pyal.kernels.clustering import nearest_centers
from pyal.strategies.centroids import nearest_distinct
from pyal.strategies.cluster_tree import ClusterTree, balanced_picks, cluster_tree, quotas
from pyal.strategies.sphere_centroids import learned_centroids, loss_and_gradient

# ---- k-means sampling


@pytest.mark.parametrize("seed", range(5))
def test_kmeans_takes_the_row_nearest_to_each_centre_the_largest_cluster_first(seed):
    # far groups: 3 rows around mean 101 (nearest: 100.9), 4 rows around mean 1.5 (nearest: 1.4 at distance 0.1)
    X = np.array([[100.0], [100.9], [102.1], [0.0], [1.4], [1.7], [2.9]])
    assert pyal.select(X, strategy="kmeans", batch_size=2, random_state=seed).tolist() == [4, 1]
    # without 1.4 the mean of 0, 1.7, 2.9 is 1.533; both have 3 rows, so that the lower position comes first
    picks = pyal.select(X, strategy="kmeans_sampling", batch_size=2, labeled=[4], random_state=seed)
    assert picks.tolist() == [1, 5]


def test_nearest_distinct_gives_a_shared_row_to_the_first():
    # all three centres are nearest to 0; the second takes 1 (distance 0.6), the third what is left: -3
    X = as_matrix([[0.0], [1.0], [-3.0], [50.0]])
    assert nearest_distinct(X, np.array([[0.1], [0.4], [-0.2]])).tolist() == [0, 1, 2]
    assert nearest_distinct(X, np.array([[0.1], [0.4]]), allowed=np.array([False, True, False, True])).tolist() == [
        1,
        3,
    ]


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
def test_nearest_distinct_against_plain_numpy(share):
    rng = np.random.default_rng(3)
    X, C = rng.standard_normal((400, 3)), 0.1 * rng.standard_normal((20, 3))  # centres that share their nearest rows
    allowed = rng.random(400) < share
    allowed[:20] = True
    sqdist = np.where(allowed[:, None], sqdist_between(X, C), np.inf)
    expected = []
    for j in range(20):
        expected.append(int(sqdist[:, j].argmin()))
        sqdist[expected[-1]] = np.inf
    assert nearest_distinct(as_matrix(X), C, allowed=allowed).tolist() == expected


def test_nearest_distinct_of_equal_rows():
    assert nearest_distinct(as_matrix(np.ones((40, 2))), np.ones((30, 2))).tolist() == list(range(30))


def test_kmeans_picks_lie_nearest_to_the_means_of_their_clusters():
    rng = np.random.default_rng(0)
    X = 60 * np.eye(6)[rng.integers(0, 6, 300)] + rng.standard_normal((300, 6))
    picks = pyal.select(X, strategy="kmeans", batch_size=6, random_state=0)
    centers, owner, _ = plain_kmeans(X, X[picks])  # blobs lie apart: from any row of each, the same six clusters
    found = sqdist_between(X, centers).argmin(axis=0)
    assert sorted(picks.tolist()) == sorted(found.tolist())
    sizes = np.bincount(owner)
    assert (np.diff(sizes[owner[picks]]) <= 0).all()


def test_kmeans_of_equal_rows_is_filled_at_random():
    picks = {tuple(pyal.select(np.ones((50, 3)), strategy="kmeans", batch_size=4, random_state=s)) for s in range(4)}
    assert len(picks) == 4
    assert all(len(set(one)) == 4 for one in picks)


def test_nearest_centers_takes_half_precision_as_it_is():
    X, C = blobs(200, 7).astype(np.float16), blobs(9, 7, seed=2)
    sqdist, owner = nearest_centers(as_matrix(X), C)
    expected = sqdist_between(X, C)
    np.testing.assert_array_equal(owner, expected.argmin(axis=1))
    np.testing.assert_allclose(sqdist, expected.min(axis=1), rtol=1e-4)


# ---- typicality in other features


def test_typiclust_measures_typicality_in_features():
    # one cluster; in X row 1 is most typical, in the features row 3: k = 2, (1 + 1) / 2 against (1 + 4) / 2 and more
    X = np.array([[0.0], [1.0], [2.0], [9.0]])
    F = np.array([[30.0], [0.0], [2.0], [1.0]])
    given = {"strategy": "typiclust", "metric": "euclidean", "random_state": 0}
    assert pyal.select(X, **given).tolist() == [1]
    assert pyal.select(X, features=F, **given).tolist() == [1]
    assert pyal.select(X, features=F, typical_in="features", **given).tolist() == [3]
    assert pyal.select(X, features=F, typical_in="features", labeled=[3], max_clusters=1, **given).tolist() == [1]


def test_typiclust_takes_features_at_norm_1_where_X_is():
    X = blobs(60, 4)
    F = blobs(60, 3, seed=1) * np.linspace(1, 9, 60, dtype=np.float32)[:, None]
    at_norm_1 = F / np.linalg.norm(F, axis=1, keepdims=True)
    given = {"strategy": "typiclust", "typical_in": "features", "batch_size": 5, "random_state": 0}
    np.testing.assert_array_equal(pyal.select(X, features=F, **given), pyal.select(X, features=at_norm_1, **given))
    F[7] = 0
    with pytest.raises(ValueError, match="cannot normalise zero rows; features has some at 7"):
        pyal.select(X, features=F, **given)


def test_typiclust_says_that_features_are_missing():
    X = blobs(60, 4)
    for labeled in (None, [0]):
        with pytest.raises(
            ValueError, match="'typiclust' with typical_in='features' needs features=, which is missing"
        ):
            pyal.select(X, strategy="typiclust", typical_in="features", labeled=labeled)
    with pytest.raises(ValueError, match="strategy 'typiclust' needs features, so the loop needs estimator="):
        pyal.Loop(X, strategy="typiclust", typical_in="features")
    with pytest.raises(ValueError, match="typical_in must be 'self' or 'features'; got 'X'"):
        pyal.select(X, strategy="typiclust", typical_in="X")


def test_a_loop_gives_typiclust_the_activations_of_its_model():
    pytest.importorskip("torch")
    from pyal.heads import MLPHead

    X, y = blobs(120, 6), np.arange(120) % 3
    head = MLPHead((8,), epochs=5, random_state=0)
    started = np.where(np.arange(120) < 30, y, -1)
    given = {"typical_in": "features", "metric": "euclidean", "random_state": 3}
    loop = pyal.Loop(X, head, "typiclust", 5, y=started, **given)
    assert len(set(loop.query().tolist())) == 5
    empty = pyal.Loop(X, head, "typiclust", 5, **given)
    with pytest.raises(ValueError, match="'typiclust' needs features, and labels of 0 classes are known"):
        empty.query()


# ---- ActiveFT


def at_norm_1(a: np.ndarray) -> np.ndarray:
    return a / np.linalg.norm(a, axis=1, keepdims=True)


def plain_loss(free: np.ndarray, constant: np.ndarray, frozen: np.ndarray, rows: np.ndarray, t: float) -> float:
    """Written from the paper: one row after the other. constant: the free centroids where they push others away."""
    c = np.concatenate([at_norm_1(free), frozen])
    others = np.concatenate([at_norm_1(constant), frozen])
    total = 0.0
    for f in rows:
        k = int(np.argmax([f @ one for one in c]))
        pull = np.exp(f @ c[k] / t)
        push = sum(np.exp(o @ c[k] / t) for o in others)
        total -= np.log(pull / (pull + push))
    return total / len(rows)


@pytest.mark.parametrize("n_frozen", [0, 3])
def test_the_gradient_of_activeft_is_that_of_its_loss(n_frozen):
    rng = np.random.default_rng(n_frozen)
    rows, free = at_norm_1(rng.standard_normal((40, 5))), 1.7 * rng.standard_normal((4, 5))
    frozen = at_norm_1(rng.standard_normal((n_frozen, 5))) if n_frozen else np.zeros((0, 5))
    loss, gradient = loss_and_gradient(free, frozen, rows, 0.3)
    assert loss == pytest.approx(plain_loss(free, free, frozen, rows, 0.3), rel=1e-12)
    for at in np.ndindex(free.shape):
        step = np.zeros_like(free)
        step[at] = 1e-6
        slope = plain_loss(free + step, free, frozen, rows, 0.3) - plain_loss(free - step, free, frozen, rows, 0.3)
        assert gradient[at] == pytest.approx(slope / 2e-6, rel=1e-5, abs=1e-8)


def test_activeft_against_plain_numpy():
    rng = np.random.default_rng(5)
    X, labeled = at_norm_1(rng.standard_normal((60, 4))), np.array([2, 30])
    picks = pyal.select(
        X, strategy="activeft", labeled=labeled, batch_size=5, iterations=30, learning_rate=0.02, random_state=7
    )
    candidates = np.setdiff1d(np.arange(60), labeled)
    free = X[np.random.default_rng(7).choice(candidates, 5, replace=False)].copy()
    mean, square = np.zeros_like(free), np.zeros_like(free)
    for step in range(1, 31):
        g = np.zeros_like(free)
        for at in np.ndindex(free.shape):
            h = np.zeros_like(free)
            h[at] = 1e-6
            g[at] = plain_loss(free + h, free, X[labeled], X, 0.07) - plain_loss(free - h, free, X[labeled], X, 0.07)
        g /= 2e-6
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        free -= 0.02 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    similar = at_norm_1(free) @ X.T
    similar[:, labeled] = -np.inf
    expected = []
    for row in similar:
        row[expected] = -np.inf
        expected.append(int(row.argmax()))
    assert picks.tolist() == expected


def test_activeft_by_hand():
    # one centroid, one row, t = 1: c = (1, 0) and f = (0, 1). The sum is e^1, the loss log(1 + e) - 0, the weight
    # e / (1 + e); the gradient is weight * (c - f), of which the part along c vanishes: (0, -weight)
    loss, gradient = loss_and_gradient(np.array([[1.0, 0.0]]), np.zeros((0, 2)), np.array([[0.0, 1.0]]), 1.0)
    assert loss == pytest.approx(np.log(1 + np.e))
    np.testing.assert_allclose(gradient, [[0, -np.e / (1 + np.e)]], atol=1e-15)
    # Adam's first step has the size of the learning rate: (1, 0.5) at norm 1
    moved = learned_centroids(
        lambda: np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]), np.zeros((0, 2)),
        temperature=1.0, iterations=1, learning_rate=0.5,
    )  # fmt: skip
    np.testing.assert_allclose(moved, [[1 / np.sqrt(1.25), 0.5 / np.sqrt(1.25)]], rtol=1e-7)


def test_activeft_stays_finite_at_low_temperatures():
    X = blobs(50, 4)
    for temperature in (1e-3, 1e-6):
        picks = pyal.select(X, strategy="activeft", batch_size=5, temperature=temperature, iterations=20)
        assert len(set(picks.tolist())) == 5
    rows = at_norm_1(X).astype(np.float32)
    loss, gradient = loss_and_gradient(rows[:3], rows[3:5], rows, 1e-4)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_activeft_takes_rows_at_norm_1_whatever_the_metric():
    X = blobs(80, 5) * np.linspace(1, 5, 80, dtype=np.float32)[:, None]
    given = {"strategy": "activeft", "batch_size": 6, "random_state": 1}
    np.testing.assert_array_equal(pyal.select(X, **given), pyal.select(X, metric="euclidean", **given))


# ---- hierarchical k-means


def test_quotas():
    # level 2 takes 2 + 1 + 2 of 6; of the one that is left the first of the largest rests is given: the third
    assert quotas(np.array([3, 1, 9]), np.array([0, 0, 0]), 6).tolist() == [2, 1, 3]
    # what is taken already counts: 0 + 2 against 3 + 0
    assert quotas(np.array([5, 5]), np.array([3, 0]), 3).tolist() == [0, 3]
    assert quotas(np.array([5, 5]), np.array([3, 0]), 5).tolist() == [1, 4]
    assert quotas(np.array([0, 4, 2]), np.array([9, 0, 0]), 6).tolist() == [0, 4, 2]


@pytest.mark.parametrize("seed", range(20))
def test_quotas_are_as_even_as_can_be(seed):
    """Moving one from a group to another never helps; every total and no group is exceeded."""
    rng = np.random.default_rng(seed)
    free, taken = rng.integers(0, 8, 6), rng.integers(0, 5, 6)
    for total in range(int(free.sum()) + 1):
        given = quotas(free, taken, total)
        assert given.sum() == total
        assert (given >= 0).all()
        assert (given <= free).all()
        highest = (given + taken)[given > 0].max(initial=0)
        assert (given + taken)[given < free].min(initial=99) >= highest - 1


def test_balanced_picks_by_hand():
    # finest clusters: {0, 1, 2, 3}, {4, 5}, {6}; above: {a, b} and {c}. Four picks: c has one row, the other three go
    # to a and b: one each, and one more to a, which has the most left. With row 0 labelled: 1 to a, 2 to b
    tree = ClusterTree([np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 1])], np.zeros(7))
    order = np.array([0.0, 3, 1, 2, 5, 4, 0])
    nothing, first = np.zeros(7, bool), np.arange(7) == 0
    assert balanced_picks(tree, nothing, np.arange(7), 4, order).tolist() == [0, 5, 6, 2]
    assert balanced_picks(tree, first, np.arange(1, 7), 4, order).tolist() == [2, 5, 6, 4]


def test_hierarchical_kmeans_balances_where_kmeans_follows_density():
    rng = np.random.default_rng(0)
    centers = 40 * np.eye(4)
    sizes = [600, 30, 30, 30]
    X = np.concatenate([c + rng.standard_normal((n, 4)) for c, n in zip(centers, sizes, strict=True)])
    of = np.repeat(np.arange(4), sizes)
    picks = pyal.select(X, strategy="hierarchical_kmeans", levels=[40, 4], batch_size=12, random_state=0)
    assert np.bincount(of[picks]).tolist() == [3, 3, 3, 3]
    labeled = np.flatnonzero(of == 1)[:3]
    picks = pyal.select(
        X, strategy="hierarchical_kmeans", levels=[40, 4], batch_size=9, labeled=labeled, random_state=0
    )
    assert np.bincount(of[picks], minlength=4).tolist() == [3, 0, 3, 3]


def test_closest_rows_are_those_nearest_to_their_centroid():
    X = np.array([[0.0], [1.1], [3.0], [100.0], [101.0], [102.1]])  # means 1.367 and 101.033
    picks = pyal.select(X, strategy="hierarchical_kmeans", levels=[2], within="closest", resampling_steps=0,
                        batch_size=2, random_state=0)  # fmt: skip
    assert sorted(picks.tolist()) == [1, 4]


def test_resampling_spreads_centroids():
    """A dense blob and a sparse line: k-means follows the density, resampled k-means gives the line more centroids."""
    rng = np.random.default_rng(1)
    X = as_matrix(np.concatenate([rng.standard_normal((3000, 2)), np.c_[np.linspace(5, 30, 120), np.zeros(120)]]))
    on_line = []
    for steps in (0, 10):
        tree = cluster_tree(X, [40], resampling_steps=steps, resampled=10, rng=np.random.default_rng(0))
        on_line.append(len(np.unique(tree.owners[0][3000:])))
    assert on_line[1] > on_line[0]


@pytest.mark.parametrize(
    ("strategy", "option", "words"),
    [
        ("kmeans", {"subset": 0}, "subset must be at least 1; got 0"),
        ("activeft", {"temperature": 0.0}, "temperature must be positive; got 0.0"),
        ("activeft", {"learning_rate": float("nan")}, "learning_rate must be positive; got nan"),
        ("activeft", {"iterations": 0}, "iterations must be at least 1; got 0"),
        ("activeft", {"sample": 0}, "sample must be at least 1; got 0"),
        ("hierarchical_kmeans", {"within": "first"}, "within must be 'random' or 'closest'; got 'first'"),
        ("hierarchical_kmeans", {"levels": []}, r"levels must be a list of numbers of clusters or None; got \[\]"),
        ("hierarchical_kmeans", {"levels": 5}, "levels must be a list of numbers of clusters or None; got 5"),
        ("hierarchical_kmeans", {"levels": [5, 5]}, r"levels must fall, from the finest .* got \[5, 5\]"),
        ("hierarchical_kmeans", {"levels": [5, 0]}, "levels must be at least 1; got 0"),
        ("hierarchical_kmeans", {"resampling_steps": -1}, "resampling_steps must be at least 0; got -1"),
        ("hierarchical_kmeans", {"resampled": 0}, "resampled must be at least 1; got 0"),
    ],
)
def test_bad_options(strategy, option, words):
    with pytest.raises(ValueError, match=words):
        pyal.select(blobs(30, 3), strategy=strategy, **option)
