"""badge and kmeans_plus_plus with weights: by hand, against the definition, and as they were where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from oracle import reference

import pyal

X = blobs(600, 16, seed=2)
P = np.random.default_rng(2).dirichlet(np.full(4, 0.5), 600)
Q = (np.eye(4)[P.argmax(axis=1)] - P).astype(np.float32)
WEIGHTS = np.random.default_rng(8).random(600) * (np.arange(600) % 5 > 0)


def test_without_weights_picks_are_what_they_were():
    """Recorded before weights were known."""
    expected = {
        "badge": [220, 383, 88, 441, 266, 358, 63, 382, 410, 303],
        "kmeans_plus_plus": [483, 390, 92, 451, 257, 361, 209, 423, 418, 236],
    }
    for strategy, picks in expected.items():
        given = {"strategy": strategy, "proba": P, "batch_size": 10, "random_state": 5}
        assert pyal.select(X, **given).tolist() == picks
    parts = [435, 35, 427, 579, 159, 457, 375, 220, 499, 506]
    given = {"strategy": "badge", "proba": P, "batch_size": 10, "random_state": 5, "n_partitions": 3}
    assert pyal.select(X, **given).tolist() == parts
    assert pyal.select(X, weights=np.full(600, 0.3), **given).tolist() == parts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labeled", [[], [3, 50, 51]])
def test_against_the_definition(seed, labeled):
    candidates = np.setdiff1d(np.arange(40, 600), labeled)
    given = {"weights": WEIGHTS, "labeled": labeled, "candidates": candidates, "batch_size": 30, "random_state": seed}
    rng = np.random.default_rng(seed)
    uniforms = {"first_uniform": rng.random(), "uniforms": rng.random((30, reference.D2_UNIFORMS))}
    uniforms |= {"candidates": candidates, "weights": WEIGHTS}
    expected = reference.d2_sampling(X, 30, covered_by=np.array(labeled, int), first="uniform", **uniforms)
    assert pyal.select(X, strategy="kmeans_plus_plus", **given).tolist() == expected.tolist()
    expected = reference.d2_sampling(X, 30, q=Q, **uniforms)
    assert pyal.select(X, strategy="badge", proba=P, **given).tolist() == expected.tolist()


def test_badge_begins_with_the_largest_weight_times_squared_norm():
    """Gradients (1 - p) (1, -1) x h: |g|^2 = 2 (1 - p)^2 h^2, here 2 * 0.16 * (1, 4, 9) = 0.32, 1.28 and 2.88.

    Weights 1, 3, 1 make that 0.32, 3.84 and 2.88; weights 13, 3, 1 make it 4.16, 3.84 and 2.88.
    """
    h, proba = np.array([[1.0], [2.0], [3.0]]), np.tile([0.6, 0.4], (3, 1))
    for weights, first in ((None, 2), ([1, 3, 1], 1), ([13, 3, 1], 0), ([0, 0, 5], 2)):
        assert pyal.select(h, strategy="badge", proba=proba, weights=weights, random_state=0).tolist() == [first]


def test_draws_are_in_proportion_to_weight_times_squared_distance():
    """From the label at 0 the rows 1, 2, 3 have 1, 4, 9; weights 4, 1, 0 make that 4, 4 and 0: one half each."""
    line, rng = np.array([[0.0], [1.0], [2.0], [3.0]]), np.random.default_rng(0)
    given = {"strategy": "kmeans_plus_plus", "weights": [9, 4, 1, 0], "random_state": rng}
    drawn = [pyal.select(line, labeled=[0], **given)[0] for _ in range(3000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 3000, [0, 0.5, 0.5, 0], atol=0.03)
    firsts = [pyal.select(line, **given)[0] for _ in range(3000)]  # nothing labelled: in proportion to the weights
    np.testing.assert_allclose(np.bincount(firsts, minlength=4) / 3000, np.array([9, 4, 1, 0]) / 14, atol=0.03)


@pytest.mark.parametrize("labeled", [[], [0]])
def test_where_no_candidate_has_weight_draws_are_uniform(labeled):
    line, rng = np.array([[0.0], [1.0], [2.0], [9.0]]), np.random.default_rng(0)
    given = {"strategy": "kmeans_plus_plus", "weights": [1, 0, 0, 0], "random_state": rng, "candidates": [1, 2, 3]}
    drawn = [pyal.select(line, labeled=labeled, **given)[0] for _ in range(3000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 3000, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.03)


@pytest.mark.parametrize("strategy", ["badge", "kmeans_plus_plus"])
@pytest.mark.parametrize("options", [{}, {"groups": np.arange(600) // 20, "max_per_group": 2}])
def test_rows_without_weight_come_last_also_under_rules(strategy, options):
    weights = np.where(np.arange(600) % 6 == 0, WEIGHTS + 0.1, 0)
    given = {"strategy": strategy, "proba": P, "weights": weights, "random_state": 0, **options}
    picks = pyal.select(X, batch_size=60, **given)
    assert weights[picks[:50]].min() > 0
    if options:
        assert np.bincount(options["groups"][picks]).max() == 2
    else:
        assert weights[pyal.select(X, batch_size=101, **given)[:100]].min() > 0


def test_parts_of_badge_keep_to_the_weights():
    weights = np.where(np.arange(600) % 2, 1.0, 0.0)
    picks = pyal.select(X, strategy="badge", proba=P, weights=weights, batch_size=30, n_partitions=4, random_state=0)
    assert (picks % 2 == 1).all()
