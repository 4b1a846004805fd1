"""Groups of near-duplicates against plain NumPy and SciPy: ties, chains, radius 0, many equal rows, memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from data import DIMENSIONS, POOLS, all_equal, blobs, clear_radius, duplicates, host, integers, put, rounded
from oracle import reference
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from pyal import kernels
from pyal.kernels.matrices import normalized


def check(found, first) -> None:
    """groups and kept are what the lowest positions of the groups, (n,), say."""
    groups, kept = host(found)
    wanted = np.flatnonzero(first == np.arange(len(first)))
    assert groups.dtype == kept.dtype == np.int64
    np.testing.assert_array_equal(kept, wanted)
    np.testing.assert_array_equal(kept[groups], first)


def test_by_hand():
    """On a line: 0, 1 and 2 are a chain, 5 stands twice, 9 alone; pairs at exactly the radius are near-duplicates."""
    X = [[0.0], [5.0], [1.0], [9.0], [2.0], [5.0]]
    for radius, groups, kept in (
        (1.0, [0, 1, 0, 2, 0, 1], [0, 1, 3]),
        (0.999, [0, 1, 2, 3, 4, 1], [0, 1, 2, 3, 4]),
        (0.0, [0, 1, 2, 3, 4, 1], [0, 1, 2, 3, 4]),
        (3.0, [0, 0, 0, 1, 0, 0], [0, 3]),
        (4.0, [0] * 6, [0]),
    ):
        found = kernels.deduplicate(X, radius)
        assert [part.tolist() for part in found] == [groups, kept]
    cosine = kernels.deduplicate([[1.0, 0.0], [0.0, 3.0], [7.0, 0.0], [0.0, 0.5]], 0.0, metric="cosine")
    assert [part.tolist() for part in cosine] == [[0, 1, 0, 1], [0, 1]]


@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("share", [0.002, 0.02])
def test_against_the_reference(engine, d, share):
    X = blobs(150, d, seed=d)
    radius = clear_radius(X, share)
    check(kernels.deduplicate(put(X, "float32", engine), radius), reference.radius_groups(X, radius))


@pytest.mark.parametrize("n", [1, 2, 7, 64, 65, 130, 1100])
def test_storage_types(engine, dtype, n):
    X = rounded(blobs(n, 20), dtype)
    radius = clear_radius(X, 0.01) if n > 2 else 1.0
    check(kernels.deduplicate(put(X, dtype, engine), radius), reference.radius_groups(X, radius))


@pytest.mark.parametrize("radius", [0.0, 1.0, np.sqrt(2), np.sqrt(3), 2.0, np.sqrt(5), np.sqrt(7), 3.0, 100.0])
def test_ties_are_near(engine, dtype, radius):
    """Whole numbers, whose distances are square roots as NumPy rounds them."""
    X = integers(200, 6)
    check(kernels.deduplicate(put(X, dtype, engine), radius), reference.radius_groups(X, float(radius)))


@pytest.mark.parametrize("name", POOLS)
def test_extreme_pools(engine, name):
    X = POOLS[name]()
    given = put(X, "float32", engine)
    check(kernels.deduplicate(given, 0.0), reference.radius_groups(X, 0.0))
    if name != "all_equal":
        radius = clear_radius(X, 0.01)
        check(kernels.deduplicate(given, radius), reference.radius_groups(X, radius))


def test_cosine_takes_rows_at_norm_1(engine, dtype):
    X = rounded(blobs(200, 12) * np.linspace(0.1, 9, 200)[:, None], dtype)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    radius = clear_radius(unit, 0.02)
    found = kernels.deduplicate(put(X, dtype, engine), radius, metric="cosine")
    check(found, reference.radius_groups(unit, radius))
    assert len(host(found[1])) < 200


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_a_long_chain_in_any_order_on_several_threads(n_jobs):
    """Rows that one link each connects, over all blocks, and a second chain that stays apart."""
    line = np.arange(4000.0)
    line[2000:] += 0.5
    order = np.random.default_rng(0).permutation(len(line))
    X = np.stack([line[order], np.zeros(len(line))], axis=1)
    groups, kept = kernels.deduplicate(X, 1.0, n_jobs=n_jobs)
    assert len(kept) == 2
    np.testing.assert_array_equal(groups, (order < 2000) != (order[0] < 2000))
    assert kept.tolist() == [0, int(np.argmax(groups == 1))]


@pytest.mark.parametrize("share", [5e-4, 1e-3, 0.01])
def test_against_components_of_the_graph(share):
    X = blobs(1500, 16)
    X = np.concatenate([X, X[:800] + np.float32(0.01)])
    radius = clear_radius(X, share)
    near = csr_matrix(reference.sqdist_between(X, X) <= radius * radius)
    count, label = connected_components(near, directed=False)
    first = np.array([np.flatnonzero(label == of)[0] for of in range(count)])[label]
    for n_jobs in (1, 2, 4, None):
        check(kernels.deduplicate(X, radius, n_jobs=n_jobs), first)
    assert len(np.unique(first)) <= 1500


@pytest.mark.usefixtures("isa")
def test_each_copy_goes_with_its_row():
    X = duplicates(600, 16, copies=10)
    groups, kept = kernels.deduplicate(X, 0.0)
    np.testing.assert_array_equal(kept, np.arange(60))
    np.testing.assert_array_equal(groups, np.arange(600) % 60)
    groups, kept = kernels.deduplicate(X[::-1], 0.0)
    np.testing.assert_array_equal(groups, np.arange(600) % 60)


def test_many_equal_rows_cost_no_more_than_others():
    """200 million links: they are neither stored nor followed."""
    seconds = []
    for X in (np.random.default_rng(0).standard_normal((20_000, 16), np.float32), np.ones((20_000, 16), np.float32)):
        X = kernels.checked_matrix(X)
        kernels.deduplicate(X, 0.01)
        tracemalloc.start()
        begin = time.process_time()
        groups, kept = kernels.deduplicate(X, 0.01)
        seconds.append(time.process_time() - begin)
        assert tracemalloc.get_traced_memory()[1] < 40 * 20_000 + 4 * 2**20 * kernels_threads()
        tracemalloc.stop()
    assert len(kept) == 1
    assert not groups.any()
    assert seconds[1] < 5 * seconds[0] + 0.5


def kernels_threads() -> int:
    from pyal.kernels.threads import thread_count

    return thread_count(None)


def test_kept_rows_are_apart_and_the_rest_is_near():
    X = np.tile(blobs(400, 8), (2, 1))
    X[400:] += np.float32(1e-3)
    groups, kept = kernels.deduplicate(X, 0.01)
    assert kernels.deduplicate(X[kept], 0.01)[1].tolist() == list(range(len(kept)))
    sqdist = reference.sqdist_between(X, X)
    np.fill_diagonal(sqdist, np.inf)
    assert (np.sqrt(sqdist.min(axis=1))[np.bincount(groups)[groups] > 1] <= 0.01).all()
    assert (np.diff(kept) > 0).all()


def test_scales_at_which_squares_vanish_or_overflow():
    X = integers(100, 4).astype(np.float64)
    wanted = reference.radius_groups(X, 1.0)
    for power in (-500, -60, 60, 500):
        check(kernels.deduplicate(X * 2.0**power, 2.0**power), wanted)
    assert len(kernels.deduplicate(X, 1e300)[1]) == 1
    check(kernels.deduplicate(X, 1e-300), reference.radius_groups(X, 0.0))


def test_rows_with_factors_are_taken_as_they_are_seen():
    X = kernels.checked_matrix(blobs(100, 8) * np.linspace(1, 5, 100, dtype=np.float32)[:, None])
    by_metric, by_hand = kernels.deduplicate(X, 0.1, metric="cosine"), kernels.deduplicate(normalized(X), 0.1)
    for a, b in zip(by_metric, by_hand, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(by_metric[1]) < len(kernels.deduplicate(all_equal(), 0.0)[0])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"radius": -0.1}, ValueError, "radius must be a finite number of at least 0; got -0.1"),
        ({"radius": np.nan}, ValueError, "radius must be a finite number of at least 0; got nan"),
        ({"radius": np.inf}, ValueError, "radius must be a finite number of at least 0; got inf"),
        ({"radius": "1"}, TypeError, "radius must be a number; got '1'"),
        ({"radius": True}, TypeError, "radius must be a number; got True"),
        ({"metric": "manhattan"}, ValueError, "metric must be 'euclidean' or 'cosine'; got 'manhattan'"),
        ({"metric": None}, ValueError, "metric must be 'euclidean' or 'cosine'; got None"),
        ({"X": np.zeros((3, 2)), "metric": "cosine"}, ValueError, "cannot normalise zero rows"),
    ],
)
def test_what_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        kernels.deduplicate(**({"X": blobs(9, 3), "radius": 1.0} | given))
