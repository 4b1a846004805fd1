"""constrained_kmeans against the reference, and the constraints themselves; its kernels: test_assignment.py."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from data import POOLS, blobs, host, integers, put, rounded
from oracle import reference
from oracle.tolerance import EPS32, EPS64, sqdist_rtol
from test_clustering import check_assignment

from pyal import kernels

KINDS = ("cannot_link", "must_link", "both")


def some_labels(n: int, labeled: int, classes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.full(n, -1)
    labels[rng.choice(n, labeled, replace=False)] = rng.integers(0, classes, labeled)
    return labels


def grouped(labels: np.ndarray, constraints: str) -> tuple[np.ndarray, np.ndarray | None]:
    """(group (n,), colour of the groups), groups numbered by their lowest row."""
    keys: dict[int, int] = {}
    group = np.full(len(labels), -1)
    for i in np.flatnonzero(labels >= 0):
        if constraints == "must_link" and (labels == labels[i]).sum() == 1:
            continue  # linked to nothing
        key = int(i) if constraints == "cannot_link" else int(labels[i])
        group[i] = keys.setdefault(key, len(keys))
    colour = [labels[np.flatnonzero(group == g)[0]] for g in range(len(keys))]
    return group, None if constraints == "must_link" else np.unique(colour, return_inverse=True)[1]


def linked_groups(n: int, must: np.ndarray, cannot: np.ndarray) -> np.ndarray:
    """(n,) groups of the transitive closure of the pairs `must`, -1 for rows in no pair."""
    root = np.arange(n)
    for i, j in must:
        root[root == root[i]] = root[j]
    group, keys = np.full(n, -1), {}
    for i in np.unique(np.concatenate([must.ravel(), cannot.ravel()])):
        group[i] = keys.setdefault(int(root[i]), len(keys))
    return group


def violated(labels: np.ndarray, assignment: np.ndarray, constraints: str) -> set[int]:
    """Rows that share a cluster with another label, or do not share one with their own, as constraints forbid."""
    rows = np.flatnonzero(labels >= 0)
    same_label = labels[rows][:, None] == labels[rows]
    same_cluster = assignment[rows][:, None] == assignment[rows]
    wrong = np.zeros_like(same_label)
    if constraints != "must_link":
        wrong |= ~same_label & same_cluster
    if constraints != "cannot_link":
        wrong |= same_label & ~same_cluster
    return set(rows[wrong.any(axis=1)].tolist())


def check(X, result, expected, dtype: str = "float32") -> None:
    """Centres within 4 ulps of the largest coordinate, equal assignments: the data leave no near-ties."""
    centers, assignment, inertia = host(result)
    eps = EPS64 if dtype == "float64" else EPS32
    np.testing.assert_allclose(centers, expected[0], rtol=0, atol=4 * eps * np.abs(X).max())
    np.testing.assert_array_equal(assignment, expected[1])
    own = ((X.astype(np.float64) - centers[assignment].astype(np.float64)) ** 2).sum(axis=1)
    rtol = sqdist_rtol(np.concatenate([centers, X]), dtype)
    np.testing.assert_allclose(inertia, own.sum(), rtol=rtol + len(X) * EPS64)


@pytest.mark.parametrize("constraints", KINDS)
@pytest.mark.parametrize("k", [5, 12])
def test_against_the_reference(engine, dtype, constraints, k):
    X = blobs(300, 12, seed=1)
    exact = rounded(X, dtype)
    labels = some_labels(300, 60, 5)
    init = exact[:k].astype("float64" if dtype == "float64" else "float32")
    result = kernels.constrained_kmeans(
        put(X, dtype, engine), k, labels=labels, constraints=constraints, init=init, random_state=7
    )
    group, colour = grouped(labels, constraints)
    order = np.random.default_rng(7).permutation(group.max() + 1)
    *expected, relaxed = reference.constrained_kmeans(exact, init, order, group=group, colour=colour)
    assert relaxed.size == 0
    check(exact, result, expected, dtype)


@pytest.mark.parametrize("seed", range(4))
def test_pairs_against_the_reference(engine, seed):
    X, rng = blobs(200, 6, seed=seed), np.random.default_rng(seed)
    must, cannot = rng.integers(0, 200, (25, 2)), rng.integers(0, 200, (60, 2))
    must = must[must[:, 0] != must[:, 1]]
    group = linked_groups(200, must, cannot)
    cannot = cannot[group[cannot[:, 0]] != group[cannot[:, 1]]]
    group = linked_groups(200, must, cannot)
    order = np.random.default_rng(5).permutation(group.max() + 1)
    apart = {tuple(pair) for pair in group[cannot].tolist()}
    *expected, relaxed = reference.constrained_kmeans(X, X[:9], order, group=group, apart=apart)
    assert relaxed.size == 0
    pairs = {"must_link": must.tolist(), "cannot_link": cannot}
    result = kernels.constrained_kmeans(
        put(X, device=engine), 9, labels=None, constraints=pairs, init=X[:9], random_state=5
    )
    check(X, result, expected)
    assignment = host(result)[1]
    assert (assignment[must[:, 0]] == assignment[must[:, 1]]).all()
    assert (assignment[cannot[:, 0]] != assignment[cannot[:, 1]]).all()


@pytest.mark.parametrize("constraints", KINDS)
def test_constraints_are_kept(device, constraints):
    """Random small problems that are feasible: no constraint is broken, free rows are with the nearest centre."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(2, 50)), int(rng.integers(1, 10))
        k = min(k, n)
        X = [blobs, integers][seed % 2](n, int(rng.integers(1, 6)), seed=seed)
        labels = some_labels(n, int(rng.integers(0, n + 1)), k, seed)
        centers, assignment, inertia = host(
            kernels.constrained_kmeans(
                put(X, device=device), k, labels=labels, constraints=constraints, random_state=seed, tol=0
            )
        )
        assert not violated(labels, assignment, constraints), seed
        sqdist = reference.sqdist_between(X, centers)
        own = sqdist[np.arange(n), assignment]
        np.testing.assert_allclose(inertia, own.sum(), rtol=1e-5, atol=1e-8)
        free = labels < 0
        assert (own[free] <= sqdist.min(axis=1)[free] * (1 + 1e-5) + 1e-9).all(), seed


@pytest.mark.parametrize("constraints", [*KINDS, {}, {"must_link": [(3, 3)]}, {"cannot_link": np.empty((0, 2), int)}])
def test_without_constraints_it_is_kmeans(engine, constraints):
    X = put(blobs(400, 12, centers=15, seed=2), device=engine)
    labels = np.full(400, -1) if isinstance(constraints, str) else None
    for given in ({}, {"init": host(X)[:15]}, {"max_iter": 3, "tol": 0}):
        found = kernels.constrained_kmeans(X, 15, labels=labels, constraints=constraints, random_state=4, **given)
        for part, wanted in zip(host(found), host(kernels.kmeans(X, 15, random_state=4, **given)), strict=True):
            np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("constraints", ["cannot_link", "must_link"])
def test_labels_that_rule_out_nothing(constraints):
    """One label only, or every label once."""
    X = blobs(100, 5)
    labels = np.full(100, -1)
    labels[10:14] = 3 if constraints == "cannot_link" else np.arange(4)
    found = kernels.constrained_kmeans(X, 6, labels=labels, constraints=constraints, random_state=0)
    for part, wanted in zip(found, kernels.kmeans(X, 6, random_state=0), strict=True):
        np.testing.assert_array_equal(part, wanted)


def test_inertia_never_rises(device):
    X = put(blobs(500, 8, centers=12, seed=3), device=device)
    labels = some_labels(500, 120, 8, seed=1)
    for constraints in KINDS:
        inertia = [
            kernels.constrained_kmeans(
                X, 15, labels=labels, constraints=constraints, random_state=2, tol=0, max_iter=steps
            )[2]
            for steps in range(1, 16)
        ]
        assert (np.diff(inertia) <= 1e-6 * inertia[0]).all(), inertia


def test_more_labels_than_clusters(device):
    """The rows that no cluster is left for are named, once, and the reference names the same."""
    X = blobs(80, 4)
    labels = some_labels(80, 30, 7)
    group, colour = grouped(labels, "cannot_link")
    order = np.random.default_rng(3).permutation(30)
    *expected, relaxed = reference.constrained_kmeans(X, X[:4], order, group=group, colour=colour)
    with pytest.warns(UserWarning, match="constrained_kmeans") as caught:
        result = kernels.constrained_kmeans(put(X, device=device), 4, labels=labels, init=X[:4], random_state=3)
    check(X, result, expected)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    said = re.findall(r"\d+", str(caught[0].message).partition("row ")[2])
    assert [int(row) for row in said[:5]] == relaxed[:5].tolist()
    assert len(relaxed) > 5
    assert int(said[5]) == len(relaxed)
    kept = labels.copy()
    kept[relaxed] = -1
    assert not violated(kept, host(result)[1], "cannot_link")


def test_pairs_that_leave_no_cluster():
    """Three rows that all keep apart, and two clusters: one of the three is placed against the constraints."""
    X = np.array([[0.0], [1.0], [10.0], [11.0]])
    pairs = {"cannot_link": [(0, 1), (1, 2), (0, 2)]}
    with pytest.warns(UserWarning, match=r"of 2 was left for row [012];"):
        _, assignment, _ = kernels.constrained_kmeans(X, 2, labels=None, constraints=pairs, random_state=0)
    assert len(np.unique(assignment[:3])) == 2


def test_must_link_is_transitive_and_carries_cannot_link():
    X = np.arange(8.0)[:, None]
    pairs = {"must_link": [(0, 1), (1, 2), (6, 7)], "cannot_link": [(2, 6)]}
    _, assignment, _ = kernels.constrained_kmeans(X, 3, labels=None, constraints=pairs, random_state=0)
    assert len(set(assignment[[0, 1, 2]])) == 1
    assert assignment[6] == assignment[7] != assignment[0]


def test_on_paper():
    """0 and 1 may not share: what is placed first stays near, and the cluster at 9 takes the other one.

    Linked, 0 and 9 have their mean halfway, which ties to the centre 0; then 1, the only free row, fills the other.
    """
    X, init = np.array([[0.0], [1.0], [9.0]]), np.array([[0.0], [9.0]])
    for seed in range(4):
        first = int(np.random.default_rng(seed).permutation(2)[0])
        labels = np.array([0, 1, -1])
        found = kernels.constrained_kmeans(X, 2, labels=labels, init=init, random_state=seed, max_iter=1)
        assert found[1].tolist() == ([0, 1, 1] if first == 0 else [1, 0, 1])
    linked = kernels.constrained_kmeans(X, 2, labels=[5, -1, 5], constraints="must_link", init=init)
    assert linked[1].tolist() == [0, 1, 0]
    assert linked[0].tolist() == [[4.5], [1.0]]


@pytest.mark.parametrize("name", POOLS)
def test_pools(device, name):
    X = POOLS[name]()
    labels = some_labels(len(X), len(X) // 3, 6, seed=1)
    for constraints in KINDS:
        centers, assignment, inertia = host(
            kernels.constrained_kmeans(put(X, device=device), 8, labels=labels, constraints=constraints, random_state=0)
        )
        assert not violated(labels, assignment, constraints)
        assert np.isfinite(centers).all()
        assert np.isfinite(inertia)


def test_equal_rows_of_different_labels(device):
    """Nothing but the constraint tells the rows apart."""
    X = np.zeros((6, 3), np.float32)
    centers, assignment, inertia = host(
        kernels.constrained_kmeans(put(X, device=device), 3, labels=[0, 1, 2, 0, 1, 2], random_state=0)
    )
    assert not violated(np.arange(6) % 3, assignment, "cannot_link")
    assert inertia == 0
    np.testing.assert_array_equal(centers, 0)


@pytest.mark.parametrize("constraints", KINDS)
def test_all_rows_labelled(device, constraints):
    X = blobs(90, 4, seed=5)
    labels = np.arange(90) % 6
    _, assignment, _ = host(
        kernels.constrained_kmeans(put(X, device=device), 9, labels=labels, constraints=constraints, random_state=0)
    )
    assert not violated(labels, assignment, constraints)


def test_one_cluster_and_as_many_as_rows(device):
    X = blobs(30, 4)
    given = put(X, device=device)
    centers, assignment, _ = host(
        kernels.constrained_kmeans(given, 1, labels=np.full(30, 2), constraints="both", random_state=0)
    )
    np.testing.assert_allclose(centers[0], X.mean(axis=0), rtol=1e-5)
    assert (assignment == 0).all()
    labels = np.arange(30)
    centers, assignment, inertia = host(kernels.constrained_kmeans(given, 30, labels=labels, random_state=0))
    assert inertia == 0
    assert len(np.unique(assignment)) == 30
    with pytest.warns(UserWarning, match="row"):
        kernels.constrained_kmeans(given, 1, labels=labels % 2, random_state=0)


def test_an_empty_cluster_takes_free_rows_only(device):
    """Two far centres are empty: one row may fill them, the three others are bound."""
    X = np.array([[0.0], [1.0], [2.0], [4.0]], np.float32)
    init = np.array([[0.0], [100.0], [200.0]], np.float32)
    centers, assignment, _ = host(
        kernels.constrained_kmeans(
            put(X, device=device), 3, labels=[1, 1, -1, 1], constraints="must_link", init=init, random_state=0
        )
    )
    assert assignment.tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(centers[:, 0], [5 / 3, 2, 200], rtol=1e-6)


def test_threads_and_types_of_labels_change_nothing():
    X, labels = blobs(3000, 20, centers=30), some_labels(3000, 1500, 9)
    expected = kernels.constrained_kmeans(X, 30, labels=labels, random_state=1, n_jobs=1)
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for given, n_jobs in ((labels, 2), (labels, None), (labels.tolist(), 1), (labels.astype(np.int8), 1)):
        found = kernels.constrained_kmeans(X, 30, labels=given, random_state=1, n_jobs=n_jobs)
        for part, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, wanted)
    found = kernels.constrained_kmeans(X, 30, labels=torch.from_numpy(labels), random_state=np.random.default_rng(1))
    np.testing.assert_array_equal(found[1], expected[1])
    renamed = np.where(labels >= 0, 1000 - 7 * labels, -1)
    np.testing.assert_array_equal(kernels.constrained_kmeans(X, 30, labels=renamed, random_state=1)[1], expected[1])


def test_arguments_unmodified():
    X, labels, pairs = blobs(50, 3), some_labels(50, 20, 3), np.array([[1, 2], [3, 4]])
    before = X.copy(), labels.copy(), pairs.copy()
    kernels.constrained_kmeans(X, 5, labels=labels, random_state=0)
    kernels.constrained_kmeans(X, 5, labels=None, constraints={"cannot_link": pairs}, random_state=0)
    for a, b in zip((X, labels, pairs), before, strict=True):
        np.testing.assert_array_equal(a, b)


SMALL = blobs(20, 4)
LABELS = np.arange(20) % 3
BAD = [
    ("labels", ValueError, "19", {"labels": LABELS[:-1]}),
    ("labels", ValueError, "(20, 1)", {"labels": LABELS[:, None]}),
    ("labels", TypeError, "float64", {"labels": LABELS + 0.5}),
    ("labels", TypeError, "bool", {"labels": LABELS > 0}),
    ("labels", ValueError, "-2 in row 3", {"labels": np.where(np.arange(20) == 3, -2, LABELS)}),
    ("labels", ValueError, "cannot_link", {"labels": None}),
    ("labels", ValueError, "pairs", {"constraints": {"must_link": [(0, 1)]}}),
    ("constraints", ValueError, "'cannot'", {"constraints": "cannot"}),
    ("constraints", TypeError, "NoneType", {"constraints": None}),
    ("constraints", TypeError, "list", {"labels": None, "constraints": [(0, 1)]}),
    ("constraints", ValueError, "'cannot'", {"labels": None, "constraints": {"cannot": [(0, 1)]}}),
    ("constraints", ValueError, "(1, 3)", {"labels": None, "constraints": {"must_link": [(0, 1, 2)]}}),
    ("constraints", ValueError, "(2,)", {"labels": None, "constraints": {"must_link": (0, 1)}}),
    ("constraints", TypeError, "float64", {"labels": None, "constraints": {"must_link": [(0.5, 1)]}}),
    ("constraints", ValueError, "20", {"labels": None, "constraints": {"cannot_link": [(0, 20)]}}),
    ("constraints", ValueError, "-1", {"labels": None, "constraints": {"cannot_link": [(-1, 2)]}}),
    ("constraints", ValueError, "(4, 4)", {"labels": None, "constraints": {"cannot_link": [(4, 4)]}}),
    (
        "constraints",
        ValueError,
        "(3, 7)",
        {"labels": None, "constraints": {"must_link": [(7, 5), (5, 3)], "cannot_link": [(1, 2), (3, 7)]}},
    ),
    ("n_clusters", ValueError, "21", {"n_clusters": 21}),
    ("n_clusters", TypeError, "2.0", {"n_clusters": 2.0}),
    ("init", ValueError, "(3, 4)", {"init": SMALL[:3]}),
    ("tol", ValueError, "nan", {"tol": np.nan}),
    ("max_iter", ValueError, "0", {"max_iter": 0}),
    ("random_state", TypeError, "str", {"random_state": "seed"}),
    ("n_jobs", ValueError, "0", {"n_jobs": 0}),
]


@pytest.mark.parametrize(("name", "error", "came", "given"), BAD, ids=[f"{name}-{came}" for name, _, came, _ in BAD])
def test_bad_arguments(name, error, came, given):
    with pytest.raises(error, match=rf"\b{name}\b") as caught:
        kernels.constrained_kmeans(SMALL, **{"n_clusters": 5, "labels": LABELS, **given})
    assert came in str(caught.value)


def test_a_feasible_problem_is_never_relaxed():
    """As many labels as clusters, in any order and from any centres, leave a cluster for each: no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(40):
            X = blobs(30, 2, seed=seed)
            labels = np.random.default_rng(seed).permutation(30) % 6
            _, assignment, _ = kernels.constrained_kmeans(X, 6, labels=labels, random_state=seed)
            assert not violated(labels, assignment, "cannot_link")


def test_free_rows_are_with_the_nearest_centre(engine):
    X = blobs(400, 10, seed=9)
    labels = some_labels(400, 100, 5, seed=2)
    centers, assignment, _ = host(
        kernels.constrained_kmeans(put(X, device=engine), 12, labels=labels, random_state=0, max_iter=4)
    )
    free = labels < 0
    own = reference.sqdist_between(X[free], centers)[np.arange(free.sum()), assignment[free]]
    rtol = sqdist_rtol(np.concatenate([centers, X]), "float32")
    check_assignment(X[free], centers, assignment[free], float(own.sum()), rtol)
