"""Inputs small enough to check on paper. The reference and the kernels must both give them."""

from __future__ import annotations

import types

import numpy as np
import pytest
from data import host, put
from oracle import reference

E = np.exp(-np.array([0.0, 1.0, 2.0, 3.0, 4.0]))


@pytest.fixture(params=["reference", "kernels"])
def source(request: pytest.FixtureRequest) -> types.ModuleType:
    if request.param == "reference":
        return reference
    from pyal import kernels

    return kernels


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def same(result, *expected) -> None:
    for part, wanted in zip(host(result), expected, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-14)  # a few roundings in double


def test_knn(source):
    same(
        source.knn(column(0, 1, 3, 7), 2),
        [[1, 9], [1, 4], [4, 9], [16, 36]],
        [[1, 2], [0, 2], [1, 0], [2, 1]],
    )


def test_knn_ties_go_to_the_lower_position(source):
    same(
        source.knn(column(0, 1, -1, 1), 3),
        [[1, 1, 1], [0, 1, 4], [1, 4, 4], [0, 1, 4]],
        [[1, 2, 3], [3, 0, 2], [0, 1, 3], [1, 0, 2]],
    )


def test_knn_queries_may_find_themselves(source):
    same(source.knn(column(0, 1, 3), 2, queries=column(1, 9)), [[0, 1], [36, 64]], [[1, 0], [2, 1]])


def test_knn_groups(source):
    inf = np.inf
    same(
        source.knn(column(0, 1, 3, 7, 8), 2, groups=np.array([4, -1, 4, 9, -1])),
        [[9, inf], [inf, inf], [9, inf], [inf, inf], [inf, inf]],
        [[2, -1], [-1, -1], [0, -1], [-1, -1], [-1, -1]],
    )


def test_typicality(source):
    X, groups = column(0, 1, 3, 7), np.array([0, 0, 0, 1])
    same((source.typicality(X, 2),), 1 / (np.array([5, 2.5, 6.5, 26]) + 1e-5))
    same((source.typicality(X, 2, squared=False),), 1 / (np.array([2, 1.5, 2.5, 5]) + 1e-5))
    same((source.typicality(X, 5, groups=groups),), [1 / (5 + 1e-5), 1 / (2.5 + 1e-5), 1 / (6.5 + 1e-5), np.inf])


def test_k_center_greedy(source):
    X = column(0, 1, 3, 7)
    same(source.k_center_greedy(X, 4), [0, 3, 2, 1], [np.inf, 49, 9, 1])
    same(source.k_center_greedy(X, 4, covered_by=[1]), [3, 2, 0, 1], [36, 4, 1, 0])
    same(source.k_center_greedy(X, 2, covered_by=[1], start=0), [0, 3], [1, 36])
    same(source.k_center_greedy(X, 2, start=2, candidates=[1, 2]), [2, 1], [np.inf, 4])


def test_sup_scores(source):
    scores = source.sup_scores(column(1, 0), column(0, 3, 10), np.array([0, 0]), temperature=7 / np.log(3))
    same((scores,), [1 / (2 * 0.75 + 9 * 0.25), 1 / (3 * 0.75 + 10 * 0.25)])
    same((source.sup_scores(column(1, 5), column(1, 5), np.array([1, 1])),), [np.inf, 1 / 4])


def test_ball_cover(source):
    X = column(0, 1, 2, 5)
    same(source.ball_cover(X, 4, 1.5), [1, 3, 0, 2], [3, 1, 0, 0])
    same(source.ball_cover(X, 4, 1.0), [0, 1, 2, 3], [1, 1, 1, 1])  # strictly nearer than the radius
    same(source.ball_cover(X, 2, 1.5, covered_by=[0], candidates=[0, 1, 2]), [1, 0], [1, 0])


def test_purity_radius(source):
    X, labels = column(0, 1, 3, 7), np.array([0, 0, 1, 1])  # nearest row of the other label: 3, 2, 2, 6
    assert [source.purity_radius(X, labels, alpha) for alpha in (1, 0.95, 0.75, 0.5, 0.25)] == [2, 2, 2, 3, 6]
    assert source.purity_radius(X, np.zeros(4, dtype=np.int64)) == np.inf


def test_herding(source):
    X = column(0, 1, 2)
    gain = (1 - E[1]) / 3
    same(source.herding(X, 3), [1, 0, 2], [(1 + 2 * E[1]) / 3, gain, gain])
    same(source.herding(X, 1, bandwidth=2.0, covered_by=[2]), [0], [(1 - E[1] + np.exp(-0.25) - np.exp(-0.25)) / 3])
    same(source.herding(X, 2, weights=np.array([0.0, 0.0, 3.0]), candidates=[0, 1]), [1, 0], [E[1], 0])


@pytest.mark.parametrize(
    ("kernel", "one", "two"),  # at one and two bandwidths
    [("rbf", E[1], E[4]), ("laplace", E[1], E[2]), ("cauchy", 1 / 2, 1 / 5), ("student_t", 3**-0.75, 9**-0.75)],
)
def test_herding_kernels(source, kernel, one, two):
    """The row at 2 covers itself and twice `one`, then 0 and 4 add 1 - one each. Where 4 is covered, 0 adds 1 - two at
    itself and nothing at 2; 2 adds one - two at 0 and 1 - one at itself, which is as much.
    """
    X = column(0, 2, 4)
    same(
        source.herding(X, 3, kernel=kernel, bandwidth=2.0), [1, 0, 2], [(1 + 2 * one) / 3, (1 - one) / 3, (1 - one) / 3]
    )
    found = source.herding(X, 1, kernel=kernel, bandwidth=2.0, covered_by=[2], candidates=[0])
    same(found, [0], [(1 - two) / 3])
    found = source.herding(X, 1, kernel=kernel, bandwidth=2.0, covered_by=[2], candidates=[1])
    same(found, [1], [(1 - two) / 3])


def test_herding_top_hat(source):
    """At a distance of 2 a hat of 2 ends; one of 2.5 around the middle row covers all three."""
    X = column(0, 2, 4)
    same(source.herding(X, 3, kernel="top_hat", bandwidth=2.0), [0, 1, 2], [1 / 3, 1 / 3, 1 / 3])
    same(source.herding(X, 3, kernel="top_hat", bandwidth=2.5), [1, 0, 2], [1, 0, 0])
    weights = np.array([1.0, 0.0, 3.0])
    same(source.herding(X, 2, kernel="top_hat", bandwidth=2.0, weights=weights), [2, 0], [1, 1 / 3])


def test_kmeans():
    from pyal import kernels

    X, init = column(0, 1, 10, 11), column(0, 10)
    for result in (reference.kmeans(X, init), kernels.kmeans(X, 2, init=init)):
        same(result, column(0.5, 10.5), [0, 0, 1, 1], 1.0)


def test_kmeans_refills_empty_clusters():
    from pyal import kernels

    X, init = column(0, 1, 2, 10), column(0, 100, 1)  # nobody is nearest to 100; 10 is the farthest from its centre, 1
    for result in (reference.kmeans(X, init), kernels.kmeans(X, 3, init=init)):
        same(result, column(0, 10, 1.5), [0, 2, 2, 1], 0.5)


def test_kmeans_assign():
    result = reference.kmeans_assign(column(0, 1, 3, 7), column(2, 0, 9))
    same(result, [1, 0, 0, 2], column(4, 0, 7), [2, 1, 1], [0, 1, 1, 4])


def test_sqnorms():
    np.testing.assert_array_equal(reference.sqnorms([[3, 4], [0, -2]]), [25, 4])


def test_d2_sampling():
    """[0, 1, 3]: the largest first; 0 with weight 9 of 13; then 1, whose bound 4 is stale: refused once, then taken."""
    uniforms = np.zeros((3, reference.D2_UNIFORMS))
    uniforms[1, :2] = 0.5, 0.9  # target 6.5 of 9 + 4 + 0: row 0, and 0.9 * 9 < 9
    uniforms[2, :4] = 0.5, 0.5, 0.5, 0.5  # 0.5 * 4 < 1 does not hold; 0.5 * 1 < 1 does
    picks = reference.d2_sampling(column(0, 1, 3), 3, first_uniform=0.0, uniforms=uniforms)
    np.testing.assert_array_equal(picks, [2, 0, 1])
    assert reference.d2_draw(np.array([9.0, 4.0, 0.0]), np.zeros(3, bool), 0.5) == (0, False)
    assert reference.d2_draw(np.array([9.0, 4.0, 0.0]), np.zeros(3, bool), 9.0 / 13) == (1, False)
    assert reference.d2_draw(np.zeros(3), np.array([True, False, False]), 0.99) == (2, True)
    spread = np.zeros(600)
    spread[[0, 300, 599]] = 1.0  # one in each block of 256
    assert [reference.d2_draw(spread, spread < 0, u)[0] for u in (0.0, 0.34, 0.99)] == [0, 300, 599]


def test_d2_sampling_with_weights():
    """[0, 1, 3] weighing 4, 1, 1: squared norms 0, 1, 9, so 2 is first; then 4 * 9 and 1 * 4 are drawn from.

    Scaled by the largest weight these are 9 and 1, and 0.89 and 0.91 of their sum are 8.9 and 9.1. Weights 0, 10, 1
    make 1 the first, by 10 against 9, and then 2 the only one that can be drawn: 0.1 * 4 against 0.
    """
    uniforms = np.zeros((3, reference.D2_UNIFORMS))
    uniforms[2, :2] = 0.5, 0.1
    for u, second in ((0.89, 0), (0.91, 1)):
        uniforms[1, :2] = u, 0.5
        given = {"first_uniform": 0.0, "uniforms": uniforms}
        assert reference.d2_sampling(column(0, 1, 3), 3, weights=[4, 1, 1], **given).tolist() == [2, second, 1 - second]
        assert reference.d2_sampling(column(0, 1, 3), 2, weights=[0, 10, 1], **given).tolist() == [1, 2]
    drawn = [
        reference.d2_sampling(
            column(0, 1, 3), 1, weights=[1, 0, 3], first="uniform", first_uniform=u, uniforms=uniforms
        )[0]
        for u in (0.0, 0.24, 0.26, 0.99)
    ]
    assert drawn == [0, 0, 2, 2]


def test_d2_sampling_of_outer_products(source):
    """g = (1, 0), (0, 4), (0, -4): norms 1, 16, 16, the first of the largest wins; all are then apart from it."""
    X, q = np.array([[1.0], [2.0], [-2.0]]), np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    if source is reference:
        given = {"first_uniform": 0.5, "uniforms": np.full((3, 65), 0.5)}
        np.testing.assert_array_equal(reference.outer_rows(X, q), [[1, 0], [0, 4], [0, -4]])
    else:
        given = {"random_state": 0}
    picks = source.d2_sampling(X, 3, q=q, **given)
    assert picks[0] == 1
    assert sorted(picks) == [0, 1, 2]


def test_golden_cases_hold_on_every_engine(engine):
    from pyal import kernels

    X = put(column(0, 1, 3, 7), "float32", engine)
    same(kernels.k_center_greedy(X, 4), [0, 3, 2, 1], [np.inf, 49, 9, 1])
    same(kernels.knn(X, 1), column(1, 1, 4, 16), column(1, 0, 1, 2))
    same(kernels.ball_cover(X, 2, 2.5), [1, 3], [3, 1])
