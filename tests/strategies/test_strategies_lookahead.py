"""Cluster pseudo-labels, and the strategies that look ahead, against what their papers write down."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs, put
from oracle import reference

import pyal
from pyal import _cpu, cluster_pseudo_labels, kernels
from pyal.kernels import memory

CENTERS = np.array([[0.0, 0.0], [20, 0], [0, 20], [20, 20]])


def four(n: int = 80, *, seed: int = 0):
    """(n, 2) rows of four far groups, and the group of each."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 4
    return (CENTERS[group] + rng.standard_normal((n, 2))).astype(np.float32), group


def same_partition(a, b) -> bool:
    return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a.tolist())) == len(set(b.tolist()))


def known(n: int, rows, classes) -> np.ndarray:
    labels = np.full(n, -1)
    labels[rows] = classes
    return labels


def test_nothing_labelled_is_kmeans():
    X, _ = four()
    found = cluster_pseudo_labels(X, 7, random_state=3)
    np.testing.assert_array_equal(found, kernels.kmeans(X, 7, random_state=3)[1])
    assert found.dtype == np.int64


def test_the_confused_cluster_is_split():
    """Two groups that one cluster holds: it is the only one whose rows are not all of one class."""
    X, group = four()
    X[group == 1] = X[group == 0][:20] + np.float32([4, 0])  # near to group 0, far from the others
    labels = known(80, np.flatnonzero(group == 0)[:8], 0)
    found = cluster_pseudo_labels(X, 3, labels=labels, predictions=group, max_clusters=4, random_state=0)
    assert same_partition(found, group)


def test_number_of_clusters():
    """min(labelled // 2, max_clusters), and never fewer than the initial ones."""
    X, group = four(120)
    for n_labeled, most, wanted in [(10, 100, 5), (40, 100, 20), (40, 8, 8), (6, 100, 4), (0, 100, 4)]:
        labels = known(120, np.arange(n_labeled), group[:n_labeled])
        found = cluster_pseudo_labels(X, 4, labels=labels, predictions=group, max_clusters=most, random_state=1)
        assert sorted(set(found.tolist())) == list(range(wanted))


def test_labels_count_before_predictions():
    """A group whose rows are all labelled otherwise than predicted is not confused."""
    X, group = four()
    mixed = np.where((group == 2) & (np.arange(80) % 3 == 0), 1, 0)  # group 2 is predicted to be of two classes
    labels = known(80, np.flatnonzero(group == 3), 5)
    found = cluster_pseudo_labels(X, 4, labels=labels, predictions=mixed, max_clusters=5, random_state=0)
    assert len(set(found[group == 2].tolist())) == 2  # the split one
    for other in (0, 1, 3):
        assert len(set(found[group == other].tolist())) == 1


def test_labels_of_different_classes_do_not_share_a_cluster():
    X, _ = four()
    labels = known(80, [0, 4, 8, 12], [0, 1, 2, 3])  # all of one group
    found = cluster_pseudo_labels(X, 4, labels=labels, predictions=np.zeros(80, int), random_state=0)
    assert len(set(found[[0, 4, 8, 12]].tolist())) == 4


@pytest.mark.parametrize(
    ("wrong", "split"),
    [
        ((2, 6, 4), 1),  # the most rows: not the largest cluster, which is 0, nor the largest share, which 2 has
        ((6, 6, 4), 0),  # a tie goes to the larger cluster
        ((1, 3, 4), 2),
    ],
)
def test_the_cluster_with_the_most_confusing_rows_is_split(wrong, split):
    sizes = (40, 20, 8)
    group = np.repeat(np.arange(3), sizes)
    X = (CENTERS[group] + np.random.default_rng(0).standard_normal((68, 2))).astype(np.float32)
    predictions, labels = group.copy(), np.full(68, -1)
    for g in range(3):
        rows = np.flatnonzero(group == g)
        predictions[rows[: wrong[g]]] = 7
        labels[rows[-3:]] = g
    found = cluster_pseudo_labels(X, 3, labels=labels, predictions=predictions, max_clusters=4, random_state=0)
    assert [len(set(found[group == g].tolist())) for g in range(3)] == [1 + (g == split) for g in range(3)]


def test_equal_rows_are_never_split():
    X = np.repeat([[0.0, 0.0], [9.0, 0.0]], 20, axis=0)
    labels = known(40, np.arange(0, 40, 2), 0)
    found = cluster_pseudo_labels(X, 2, labels=labels, predictions=np.arange(40) % 2, random_state=0)
    assert len(set(found.tolist())) == 2


def test_more_initial_clusters_than_rows():
    assert sorted(cluster_pseudo_labels([[0.0], [1.0], [5.0]], 9, random_state=0).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_initial": 0}, "n_initial must be at least 1"),
        ({"max_clusters": 0}, "max_clusters must be at least 1"),
        ({"labels": [0, 1]}, "labels must have shape"),
        ({"labels": [0, -2, -1, -1]}, "labels must hold class numbers"),
        ({"labels": [0, -1, -1, -1]}, "predictions must be given once rows are labelled"),
        ({"labels": [0, -1, -1, -1], "predictions": [0, 0, -1, 0]}, "predictions must hold a class for every row"),
        ({"labels": [0, -1, -1, -1], "predictions": [0.5, 0, 0, 0]}, "predictions must hold integers"),
        ({"labels": [0, 1, -1, -1], "predictions": [0] * 4, "constraints": "never"}, "constraints"),
        ({"constraints": "never"}, "constraints must be one of"),  # nothing labelled
    ],
)
def test_bad_pseudo_label_input(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        cluster_pseudo_labels([[0.0], [1.0], [2.0], [5.0]], **({"n_initial": 2} | arguments))


@pytest.mark.filterwarnings("error")
def test_class_numbers_may_be_large():
    X, group = four()
    labels = known(80, np.arange(8), 10**12 + group[:8])
    arguments = {"n_initial": 4, "max_clusters": 4, "random_state": 0}
    found = cluster_pseudo_labels(X, labels=labels, predictions=2**62 + group, **arguments)
    expected = cluster_pseudo_labels(X, labels=known(80, np.arange(8), group[:8]), predictions=4 + group, **arguments)
    np.testing.assert_array_equal(found, expected)


def test_more_classes_than_clusters_is_said():
    """In words that hold where only some rows of X are clustered, and without the kernel's own warning."""
    X, group = four()
    y = known(80, np.arange(60, 68), group[60:68])
    message = r"^cluster pseudo-labels: 4 classes are labelled and there are 3 initial clusters, so that labels of"
    with pytest.warns(UserWarning, match=message) as caught:
        cluster_pseudo_labels(X, 3, labels=y, predictions=group)
    with pytest.warns(UserWarning, match=message) as caught_too:
        pyal.select(X, y, strategy="ntkcpl", proba=np.eye(4)[group], batch_size=2, initial_clusters=3, subset=20)
    assert len(caught) == len(caught_too) == 1


# ---- the strategies ----


def model(X, classes: int, rng, *, width: int = 512, f0: str = "network"):
    """The strategies' network, drawn as they draw it: kernel and first predictions."""
    weights = kernels.ntk_weights(X.shape[1], width, classes, random_state=rng)
    start = reference.values(kernels.ntk_outputs(X, weights)) if f0 == "network" else np.zeros((len(X), classes))
    return reference.ntk(X, weights=weights), start


def test_ntkcpl_minimises_the_risk_it_says():
    """Every step by hand in float64: pseudo-labels, network, kernel, retraining from scratch."""
    X = blobs(60, 5, seed=8).astype(np.float64)
    picks = pyal.select(X, strategy="ntkcpl", metric="euclidean", batch_size=5, random_state=4, t=20.0, f0="network")
    rng = np.random.default_rng(4)
    target = cluster_pseudo_labels(X, 5, random_state=rng)
    K, start = model(X, 5, rng)
    expected = reference.ntk_lookahead(K, start, target, 5, targets=target, ridge=1 / 20, determined=2.0**-44)
    np.testing.assert_array_equal(picks, expected[0])


def test_ntkcpl_learns_pseudo_labels_at_labelled_rows_too():
    X = blobs(60, 5, seed=9).astype(np.float64)
    labeled = np.array([3, 20, 41, 55])
    y = known(60, labeled, [0, 1, 2, 2])
    proba = np.random.default_rng(0).dirichlet(np.ones(3), 60)
    options = {"initial_clusters": 4, "t": 5.0, "f0": "zero", "width": 64, "metric": "euclidean"}
    picks = pyal.select(X, y, strategy="ntkcpl", proba=proba, batch_size=6, random_state=1, **options)
    rng = np.random.default_rng(1)
    target = cluster_pseudo_labels(X, 4, labels=y, predictions=proba.argmax(axis=1), random_state=rng)
    K, start = model(X, int(target.max()) + 1, rng, width=64, f0="zero")
    expected = reference.ntk_lookahead(
        K, start, target, 6, labeled=labeled, targets=target, ridge=0.2, determined=2.0**-44
    )
    np.testing.assert_array_equal(picks, expected[0])


@pytest.mark.parametrize("objective", ["agreement", "output_change", "expected_risk"])
@pytest.mark.parametrize("sequential", [True, False])
def test_lookahead_does_what_it_says(objective, sequential):
    X = blobs(50, 4, seed=10).astype(np.float64)
    labeled = np.array([2, 9, 33])
    y = known(50, labeled, [7, 5, 5])
    options = {"objective": objective, "sequential": sequential, "kernel": "infinite", "depth": 2, "t": 30.0}
    picks = pyal.select(X, y, strategy="lookahead", batch_size=4, random_state=0, **options)
    K = reference.ntk(X, depth=2)
    labels = known(50, labeled, [1, 0, 0])  # by rank: 5 is class 0
    arguments = {"labeled": labeled, "objective": objective, "ridge": 1 / 30, "determined": 2.0**-44}
    expected = reference.ntk_lookahead(K, np.zeros((50, 2)), labels, 4 if sequential else 0, **arguments)
    if sequential:
        np.testing.assert_array_equal(picks, expected[0])
    else:
        value = expected[2] * (-1 if objective == "output_change" else 1)
        np.testing.assert_array_equal(picks, np.argsort(np.where(np.isnan(value), np.inf, value), kind="stable")[:4])


def test_classes_may_have_any_names():
    X = blobs(60, 5, seed=9)
    proba = np.random.default_rng(0).dirichlet(np.ones(3), 60)
    rows, classes = [3, 20, 41, 55], np.array([0, 1, 2, 2])
    named = np.full(60, None)
    named[rows] = np.array(["cat", "dog", "eel"])[classes]
    for strategy in ("ntkcpl", "lookahead"):
        expected = pyal.select(
            X, known(60, rows, classes), strategy=strategy, proba=proba, batch_size=5, random_state=0
        )
        found = pyal.select(X, named, strategy=strategy, proba=proba, batch_size=5, random_state=0)
        np.testing.assert_array_equal(found, expected)


def test_cluster_on_al_uses_the_features():
    X, group = four()
    features = np.eye(4)[group][:, ::-1] + 0.01 * X[:, :1]
    y = known(80, [0, 1, 2], [0, 1, 2])
    proba = np.eye(4)[group]
    arguments = {"strategy": "ntkcpl", "proba": proba, "batch_size": 4, "random_state": 0, "cluster_on": "al"}
    picks = pyal.select(X, y, features=features, **arguments)
    assert not np.array_equal(
        picks, pyal.select(X, y, features=np.random.default_rng(0).permutation(features), **arguments)
    )
    with pytest.raises(ValueError, match="cluster_on='al' needs features="):
        pyal.select(X, y, **arguments)
    pyal.select(X, **(arguments | {"proba": None}))  # with nothing labelled there is no classifier


def test_only_the_subset_is_looked_at():
    X, _ = four(400)
    for strategy in ("ntkcpl", "lookahead"):
        picks = pyal.select(X, strategy=strategy, batch_size=3, subset=10, random_state=0)
        assert len(set(picks.tolist())) == 3
        assert len(pyal.select(X, strategy=strategy, batch_size=30, subset=10, random_state=0)) == 30


@pytest.mark.parametrize(
    ("strategy", "options", "message"),
    [
        ("ntkcpl", {"cluster_on": "both"}, "cluster_on must be"),
        ("ntkcpl", {"kernel": "finite"}, "kernel must be"),
        ("ntkcpl", {"f0": "one"}, "f0 must be"),
        ("ntkcpl", {"subset": 0}, "subset must be"),
        ("ntkcpl", {"t": 0.0}, "t must be a positive"),
        ("ntkcpl", {"width": 0}, "width must be"),
        ("ntkcpl", {"initial_clusters": 0}, "initial_clusters must be at least 1; got 0"),
        ("ntkcpl", {"max_clusters": 0}, "max_clusters must be at least 1; got 0"),
        ("ntkcpl", {"constraints": "never"}, "constraints must be one of"),
        ("lookahead", {"objective": "risk"}, "objective must be one of agreement, output_change, expected_risk"),
        ("lookahead", {"depth": 0, "kernel": "infinite"}, "depth must be"),
    ],
)
def test_bad_options(strategy, options, message):
    with pytest.raises(ValueError, match=message):
        pyal.select(four()[0], strategy=strategy, batch_size=2, random_state=0, **options)


@pytest.mark.parametrize("strategy", ["ntkcpl", "lookahead"])
@pytest.mark.parametrize(
    ("kernel", "option", "value"),
    [
        ("empirical", "depth", 1),
        ("infinite", "width", 512),
        ("infinite", "f0", "zero"),
        ("infinite", "f0", "network"),
    ],
)
def test_an_option_that_the_kernel_has_no_use_for_is_refused(strategy, kernel, option, value):
    message = f"{option} must be None: kernel='{kernel}' has no use for it; got {value!r}"
    given = {"strategy": strategy, "batch_size": 2, "random_state": 0, option: value}
    with pytest.raises(ValueError, match=message):
        pyal.select(four()[0], kernel=kernel, **given)
    if kernel == "empirical":  # the default one
        with pytest.raises(ValueError, match=message):
            pyal.select(four()[0], **given)


@pytest.mark.parametrize("strategy", ["ntkcpl", "lookahead"])
def test_options_left_out_have_their_usual_values(strategy):
    X = blobs(60, 5, seed=2)
    arguments = {"strategy": strategy, "batch_size": 6, "random_state": 0}
    for kernel, usual in (("empirical", {"width": 512, "f0": "zero"}), ("infinite", {"depth": 1})):
        plain = pyal.select(X, kernel=kernel, **arguments)
        np.testing.assert_array_equal(plain, pyal.select(X, kernel=kernel, **usual, **arguments))
        np.testing.assert_array_equal(plain, pyal.select(X, kernel=kernel, **dict.fromkeys(usual), **arguments))


def test_all_rows_zero():
    """A kernel of zeros: nothing can be learned, and the first rows are as good as any."""
    for strategy in ("ntkcpl", "lookahead"):
        given = {"strategy": strategy, "metric": "euclidean", "kernel": "infinite", "random_state": 0}
        picks = pyal.select(np.zeros((9, 2), np.float32), batch_size=3, **given)
        np.testing.assert_array_equal(picks, [0, 1, 2])


@pytest.mark.parametrize("objective", ["agreement", "expected_risk"])
@pytest.mark.parametrize("sequential", [True, False])
def test_with_one_class_the_output_decides(sequential, objective):
    """Every row keeps its only class, and none is expected to be wrong: neither is a guide."""
    X = blobs(60, 5, seed=2)
    for y in (None, known(60, [4, 5], 3)):
        arguments = {"strategy": "lookahead", "batch_size": 6, "random_state": 0, "sequential": sequential}
        picks = pyal.select(X, y, objective=objective, **arguments)
        np.testing.assert_array_equal(picks, pyal.select(X, y, objective="output_change", **arguments))
        assert picks.tolist() != list(range(6))


def test_a_long_time_is_no_longer_than_to_the_end():
    X = blobs(60, 5, seed=2)
    for strategy in ("ntkcpl", "lookahead"):
        picks = [pyal.select(X, strategy=strategy, batch_size=6, t=t, random_state=0) for t in (None, 1e12, 1e300)]
        for other in picks[1:]:
            np.testing.assert_array_equal(picks[0], other)


def test_labels_of_kinds_that_have_no_order():
    X, group = four()
    y = np.full(80, None)
    y[:3] = ["a", 1, "b"]
    for strategy in ("ntkcpl", "lookahead"):
        with pytest.raises(TypeError, match="y must hold labels that can be put in order; got int, str"):
            pyal.select(X, y, strategy=strategy, proba=np.eye(4)[group], batch_size=2)


def test_labels_that_fit_no_column_of_proba():
    X, group = four()
    y = known(80, [0, 1, 2], [0, 10, 20])
    with pytest.raises(ValueError, match=r"y must hold column numbers of proba, 0 \.\. 3, or all its 4 classes"):
        pyal.select(X, y, strategy="ntkcpl", proba=np.eye(4)[group], batch_size=2)


def test_a_kernel_that_has_no_room(monkeypatch):

    monkeypatch.setattr(memory, "_available_bytes", lambda _: 10_000)
    X, _ = four()
    with pytest.raises(MemoryError, match=r"looking ahead over 80 rows .* needs 5.12e-05 GB"):
        pyal.select(X, strategy="lookahead", batch_size=2)
    with pytest.raises(MemoryError, match="looking ahead over 80 rows"):
        kernels.ntk_lookahead(put(np.eye(80)), np.zeros((80, 2)), batch_size=_cpu.lookahead_pending + 1)


def test_in_a_loop_the_first_batch_says_how_many_clusters_there_are():
    from sklearn.naive_bayes import GaussianNB

    X, _ = four(120)

    def batches(**options) -> list[list[int]]:
        loop = pyal.Loop(X, GaussianNB(), "ntkcpl", [(4, 4), (9, None)], random_state=1, width=32, **options)
        found = [loop.query().tolist()]
        loop.teach(loop.outstanding, [0, 1, 2, 3])
        return [*found, loop.query().tolist()]

    assert batches() == batches(initial_clusters=4)
    assert batches()[1] != batches(initial_clusters=9)[1]
