"""What changes under augmentation, dropout or mixing: cases worked out by hand, plain NumPy, and heads of a caller."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from oracle.reference import sqdist_between
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

import pyal
from pyal.heads import ClosedFormSoftmax, Committee
from pyal.pool import Inputs
from pyal.strategies.consistency import flipped, largest_remainders
from pyal.strategies.linear_head import fitted_head, linear_map

N = 120
X = blobs(N, 6)
Y = np.random.default_rng(3).integers(0, 3, N)
STARTED = np.where(np.arange(N) < 30, Y, -1)
VIEWS = np.stack([X + 0.8 * np.random.default_rng(v).standard_normal(X.shape).astype(np.float32) for v in (1, 2)])
BOTH = ("consistency", "diff2aug_kmeans")


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def pool_of(rows=X, y=STARTED, metric="euclidean"):
    return Inputs(rows, y, metric=metric).pool()


# ---- predictions of augmented copies


def test_consistency_by_hand():
    # row 0: 1 and 0 in both classes, mean 0.5: variance 0.25 each, together 0.5. Row 1: always the same: 0.
    # Row 2: 0.9, 0.7 and 0.1, 0.3: mean 0.8, deviation 0.1: 0.01 each, together 0.02
    proba = np.array([[[1, 0], [0.5, 0.5], [0.9, 0.1]], [[0, 1], [0.5, 0.5], [0.7, 0.3]]])
    rows = np.zeros((3, 1))
    np.testing.assert_allclose(pyal.score(rows, strategy="consistency", proba=proba), [0.5, 0, 0.02], atol=1e-15)
    assert pyal.select(rows, strategy="csal", proba=proba, batch_size=3).tolist() == [0, 2, 1]


def test_consistency_against_plain_numpy():
    proba = np.random.default_rng(0).dirichlet(np.full(5, 0.3), (7, 400))
    expected = np.zeros(400)
    for i in range(400):
        for c in range(5):
            values = proba[:, i, c]
            expected[i] += sum((v - values.mean()) ** 2 for v in values) / 7
    np.testing.assert_allclose(pyal.score(np.zeros((400, 1)), strategy="consistency", proba=proba), expected)


def views_as_passes(metric: str, views=VIEWS) -> np.ndarray:
    """(3, N, C) by the head that the documentation names, from scikit-learn's point of view."""

    def seen(rows):
        rows = np.asarray(rows, np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) if metric == "cosine" else rows

    labeled = seen(X)[:30]
    mean = labeled.mean(axis=0)
    scale = np.sqrt(((labeled - mean) ** 2).sum(axis=1).mean())
    head = ClosedFormSoftmax(solver="ridge", epsilon=1e-3, fit_intercept=True).fit((labeled - mean) / scale, Y[:30])
    return np.stack([head.predict_proba((seen(rows) - mean) / scale) for rows in (X, *views)])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("strategy", BOTH)
def test_views_stand_for_passes_by_a_head_fitted_inside(strategy, metric):
    passes = views_as_passes(metric)
    given = {"strategy": strategy, "batch_size": 10, "metric": metric, "random_state": 0}
    expected = pyal.select(X, STARTED, proba=passes, **given)
    np.testing.assert_array_equal(pyal.select(X, STARTED, views=VIEWS, **given), expected)
    alone = pyal.select(X, STARTED, views=VIEWS, proba=passes[0], **given)  # one pass has nothing to compare
    np.testing.assert_array_equal(alone, expected)
    other = passes[:, ::-1] ** 3
    other /= other.sum(axis=-1, keepdims=True)
    np.testing.assert_array_equal(
        pyal.select(X, STARTED, views=VIEWS, proba=other, **given), pyal.select(X, STARTED, proba=other, **given)
    )
    assert expected.tolist() != pyal.select(X, STARTED, proba=other, **given).tolist()


def test_the_score_of_views_is_a_variance():
    expected = views_as_passes("euclidean").var(axis=0).sum(axis=-1)
    found = pyal.score(X, STARTED, strategy="consistency", views=list(VIEWS))
    np.testing.assert_allclose(found[30:], expected[30:], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("strategy", BOTH)
def test_what_is_missing_is_named(strategy):
    with pytest.raises(ValueError, match=f"strategy '{strategy}' needs proba= or views=, which is missing"):
        pyal.select(X, strategy=strategy)
    one = np.full((N, 3), 1 / 3)
    for proba in (one, one[None]):
        with pytest.raises(ValueError, match=rf"'{strategy}' needs proba of several passes.*or views=; got shape"):
            pyal.select(X, strategy=strategy, proba=proba)
    for known in ({}, {"labeled": [1, 2]}):
        with pytest.raises(ValueError, match=f"strategy '{strategy}' with views= needs rows labelled by y="):
            pyal.select(X, strategy=strategy, views=VIEWS, **known)


@pytest.mark.parametrize("strategy", BOTH)
def test_one_class_labelled(strategy):
    picks = pyal.select(X, np.where(np.arange(N) < 5, 2, -1), strategy=strategy, views=VIEWS, batch_size=4)
    assert len(set(picks.tolist())) == 4
    if strategy == "consistency":
        assert picks.tolist() == [5, 6, 7, 8]


# ---- diff2aug


def test_largest_remainders():
    # 4 of 5 : 3 : 2 is 2 : 1.2 : 0.8: the one that is left goes to 0.8
    assert largest_remainders(np.array([5, 3, 2]), 4).tolist() == [2, 1, 1]
    assert largest_remainders(np.array([1, 1, 1]), 2).tolist() == [1, 1, 0]
    assert largest_remainders(np.array([4, 0, 1]), 5).tolist() == [4, 0, 1]


def test_diff2aug_kmeans_by_hand():
    # two far clusters of 4 and 2 rows: 3 picks are 2 and 1. Margins of the two passes, averaged, rows 0 to 5:
    # (.0+.2)/2, (.8+.8)/2, (.4+.2)/2, (.6+.8)/2; (.9+.9)/2, (.6+.8)/2: smallest 0 and 2 of the first, 5 of the second
    margins = np.array([[0.0, 0.8, 0.4, 0.6, 0.9, 0.6], [0.2, 0.8, 0.2, 0.8, 0.9, 0.8]])
    proba = np.stack([(1 + margins) / 2, (1 - margins) / 2], axis=-1)
    rows = np.array([[0.0], [1.0], [2.0], [3.0], [100.0], [101.0]])
    given = {"strategy": "diff2aug_kmeans", "proba": proba, "n_clusters": 2, "random_state": 0}
    assert pyal.select(rows, batch_size=3, **given).tolist() == [0, 2, 5]
    # with row 0 labelled 3 candidates against 2: of 3 picks 1.8 and 1.2: 2 and 1
    assert pyal.select(rows, batch_size=3, labeled=[0], **given).tolist() == [2, 3, 5]


@pytest.mark.parametrize("uncertainty", ["margin", "least_confidence"])
def test_diff2aug_kmeans_against_plain_numpy(uncertainty):
    rng = np.random.default_rng(2)
    owner = rng.integers(0, 4, 90)
    rows = 50 * np.eye(4)[owner] + rng.standard_normal((90, 4))
    proba, labeled = rng.dirichlet(np.ones(3), (5, 90)), np.arange(0, 90, 7)
    picks = pyal.select(
        rows, strategy="diff2aug_kmeans", proba=proba, labeled=labeled, n_clusters=4, batch_size=13,
        uncertainty=uncertainty, random_state=0,
    )  # fmt: skip
    ordered = np.sort(proba, axis=-1)
    each = ordered[..., -2] - ordered[..., -1] if uncertainty == "margin" else 1 - ordered[..., -1]
    score = each.mean(axis=0)
    free = np.setdiff1d(np.arange(90), labeled)
    exact = 13 * np.bincount(owner[free]) / len(free)
    quota = np.floor(exact).astype(int)
    quota[np.argsort(-(exact - quota))[: 13 - quota.sum()]] += 1
    expected = [i for c in range(4) for i in sorted(free[owner[free] == c], key=lambda i: -score[i])[: quota[c]]]
    assert picks.tolist() == sorted(expected, key=lambda i: -score[i])


# ---- the head


def test_the_fitted_head_separates_and_ignores_offset_and_scale():
    pool = pool_of()
    head = fitted_head(pool)
    moved = fitted_head(pool_of(X * np.float32(8) + np.float32(64)))
    np.testing.assert_allclose(moved.predict_proba(X * 8.0 + 64), head.predict_proba(X * 1.0), rtol=1e-2, atol=1e-4)
    easy = np.array([[0.0, 0], [0, 1], [9, 0], [9, 1]])
    proba = fitted_head(pool_of(easy, np.array([5, 5, 2, 2]))).predict_proba(easy)
    assert proba.argmax(axis=1).tolist() == [1, 1, 0, 0]  # classes in their order: 2, 5
    assert proba.max(axis=1).min() > 0.9


def test_weights_of_a_callers_head():
    several = LogisticRegression().fit(X, Y)
    np.testing.assert_allclose(linear_map(several, 6).predict_proba(X * 1.0), several.predict_proba(X), rtol=1e-5)
    two = LogisticRegression().fit(X, Y > 0)
    np.testing.assert_allclose(linear_map(two, 6).predict_proba(X * 1.0), two.predict_proba(X), rtol=1e-5)


class Fixed:
    """A head that predicts class 1 where the first feature is above 1, and remembers what it was shown."""

    def __init__(self):
        self.shown = []

    def predict_proba(self, rows):
        self.shown.append(rows)
        above = (rows[:, 0] > 1).astype(float)
        return np.stack([1 - above, above], axis=1)


# ---- DropQuery


def test_dropquery_clusters_what_changes_under_dropout():
    # first features 3 lose class 1 whenever they are dropped, those of 0 never change: with 60 passes all of the first
    # kind waver, and of these the two groups are far apart: the rows nearest to their means are 2 and 6
    rows = np.array([[3, 10.0], [3, 12], [3, 11.1], [0, 5], [3, 50], [3, 53], [3, 51.5], [0, 51.5]])
    given = {"strategy": "dropquery", "head": Fixed(), "passes": 60, "metric": "euclidean", "random_state": 0}
    assert sorted(pyal.select(rows, batch_size=2, **given).tolist()) == [2, 6]
    assert sorted(pyal.select(rows, np.where(np.arange(8) == 2, 0, -1), batch_size=4, **given).tolist()) != [0, 1, 2, 3]
    picks = pyal.select(rows, batch_size=7, **given)
    assert set(picks[:6]) == {0, 1, 2, 4, 5, 6}  # too few waver: the last is drawn from the others
    assert picks[6] in (3, 7)


def test_dropquery_lowers_its_bar_only_while_few_waver():
    """Row i changes in every pass where 1 < x_i0 is dropped; with dropout 0.5 and 3 passes about half change twice."""
    rng = np.random.default_rng(0)
    rows = np.c_[np.full(400, 3.0), rng.standard_normal((400, 2))]
    given = {"strategy": "dropquery", "head": Fixed(), "metric": "euclidean", "dropout": 0.5, "random_state": 11}
    changes = dropped_changes(rows, 0.5, 3, 11)
    many = set(np.flatnonzero(changes > 1))
    assert 25 * 4 < len(many) < 25 * 12 < (changes > 0).sum()
    for size, allowed in ((4, many), (12, set(np.flatnonzero(changes > 0)))):
        picks = set(pyal.select(rows, batch_size=size, **given).tolist())
        assert picks <= allowed
        if size == 12:
            assert not picks <= many


def dropped_changes(rows: np.ndarray, dropout: float, passes: int, seed: int) -> np.ndarray:
    """Passes in which the class of `Fixed` changes: one block of rows, one mask a pass."""
    rng, head = np.random.default_rng(seed), Fixed()
    before = head.predict_proba(rows).argmax(axis=1)
    changes = np.zeros(len(rows), int)
    for _ in range(passes):
        kept = rng.random(rows.shape, np.float32) >= dropout
        changes += head.predict_proba(np.where(kept, rows / (1 - dropout), 0)).argmax(axis=1) != before
    return changes


def test_dropquery_shows_a_head_the_rows_as_they_came():
    head = Fixed()
    pyal.select(X, strategy="dropquery", head=head, dropout=0.5, batch_size=2, random_state=0)
    assert len(head.shown) == 4
    np.testing.assert_array_equal(head.shown[0], X)
    for rows in head.shown[1:]:
        dropped = rows == 0
        assert 0.4 < dropped.mean() < 0.6
        np.testing.assert_allclose(rows[~dropped], 2.0 * X[~dropped])


@pytest.mark.parametrize("strategy", ["dropquery", "alfamix"])
def test_without_two_classes_the_picks_are_those_of_kmeans(strategy):
    expected = pyal.select(X, strategy="kmeans", metric="cosine", batch_size=8, random_state=5)
    np.testing.assert_array_equal(pyal.select(X, strategy=strategy, batch_size=8, random_state=5), expected)
    one = np.where(np.arange(N) < 9, 2, -1)
    expected = pyal.select(X, one, strategy="kmeans", metric="cosine", batch_size=8, random_state=5)
    np.testing.assert_array_equal(pyal.select(X, one, strategy=strategy, batch_size=8, random_state=5), expected)


# ---- ALFA-Mix


def test_alfamix_step_by_hand():
    # two classes, scores (x, -x) of one feature: row 0.5 has p = softmax(0.5, -0.5) and class 0; g = (p - onehot) W is
    # -(1 - p_0) - p_1 < 0, so that g / |g| = -1. The farthest anchor, -5.5, is 6 away: a step of e 6 crosses 0 from
    # e = 1 / 12 on, whereas the anchor at 1.5 alone, 1 away, needs e = 1 / 2
    W, row = np.array([[1.0], [-1.0]]), np.array([[0.5]])
    far, near = np.array([[1.5], [-5.5]]), np.array([[1.5]])
    assert flipped(W, row @ W.T, row, far, 0.09).tolist() == [True]
    assert flipped(W, row @ W.T, row, far, 0.08).tolist() == [False]
    assert flipped(W, row @ W.T, row, near, 0.49).tolist() == [False]
    assert flipped(W, row @ W.T, row, near, 0.51).tolist() == [True]
    assert flipped(np.zeros((2, 1)), np.zeros((1, 2)), row, far, 9.0).tolist() == [False]  # no gradient, no step


@pytest.mark.parametrize("seed", range(5))
def test_alfamix_against_plain_numpy(seed):
    """Feature by feature with the paper's alpha, every anchor, the gradient by differences."""
    rng = np.random.default_rng(seed)
    W, b, rows, anchors = (rng.standard_normal(s) for s in ((4, 3), (4,), (60, 3), (4, 3)))
    step = 0.2 / np.sqrt(3)

    def loss(z, c):
        return -np.log(softmax(z @ W.T + b)[c])

    expected = []
    for z in rows:
        c = int((z @ W.T + b).argmax())
        g = np.array([loss(z + h, c) - loss(z - h, c) for h in 1e-6 * np.eye(3)]) / 2e-6
        changed = []
        for anchor in anchors:
            alpha = step * np.linalg.norm(anchor - z) * g / (np.linalg.norm(g) * (anchor - z))
            changed.append(int(((alpha * anchor + (1 - alpha) * z) @ W.T + b).argmax()) != c)
        expected.append(any(changed))
    assert flipped(W, rows @ W.T + b, rows, anchors, step).tolist() == expected
    assert 0 < sum(expected) < 60


def test_alfamix_picks_from_what_flips():
    head = LogisticRegression().fit(X[:30], Y[:30])
    anchors = np.stack([X[:30][Y[:30] == c].mean(axis=0) for c in range(3)]).astype(np.float64)
    scores = X @ head.coef_.T + head.intercept_
    flips = flipped(head.coef_, scores, X.astype(np.float64), anchors, 0.2 / np.sqrt(6))
    flips[:30] = False
    given = {"strategy": "alfamix", "head": head, "metric": "euclidean", "random_state": 0}
    picks = pyal.select(X, STARTED, batch_size=6, **given)
    assert flips[picks].all()
    some = np.flatnonzero(flips)
    centers, _, _ = pyal.kernels.kmeans(X[some], 6, random_state=0)
    assert sorted(picks.tolist()) == sorted(some[sqdist_between(X[some], centers).argmin(axis=0)].tolist())
    most = pyal.select(X, STARTED, batch_size=int(flips.sum()) + 3, **given)
    assert set(most[:-3]) == set(some)


# ---- in a loop, and what is refused


@pytest.mark.parametrize("strategy", BOTH)
def test_a_loop_asks_a_committee_for_its_passes(strategy):
    loop = pyal.Loop(X, Committee(GaussianNB(), n_members=4), strategy, 5, y=STARTED, random_state=3)
    assert len(set(loop.query().tolist())) == 5


def test_loops_and_simulations_run_with_the_head_inside(tmp_path):
    loop = pyal.Loop(X, strategy="dropquery", batch_size=5, y=STARTED, workdir=tmp_path / "run", random_state=0)
    first = loop.query()
    expected = pyal.Loop(X, strategy="dropquery", batch_size=5, y=STARTED, random_state=0).query()
    np.testing.assert_array_equal(first, expected)
    found = pyal.simulate(
        X, Y, test=(X, Y), estimator=GaussianNB(), strategies=["dropquery", "alfamix", "kmeans"], seeds=1,
        batch_sizes=5, budget=20,
    )  # fmt: skip
    assert not found.failures


@pytest.mark.parametrize(
    ("strategy", "option", "error", "words"),
    [
        (
            "diff2aug_kmeans",
            {"uncertainty": "entropy"},
            ValueError,
            "uncertainty must be 'margin' or 'least_conf.*'ent",
        ),
        ("diff2aug_kmeans", {"n_clusters": 0}, ValueError, "n_clusters must be at least 1; got 0"),
        ("dropquery", {"dropout": 1.0}, ValueError, r"dropout must lie in \(0, 1\); got 1.0"),
        ("dropquery", {"passes": 0}, ValueError, "passes must be at least 1; got 0"),
        ("dropquery", {"subset": 0}, ValueError, "subset must be at least 1; got 0"),
        ("dropquery", {"head": 7}, TypeError, "head must be a fitted classifier with predict_proba, or None; got int"),
        ("alfamix", {"epsilon": 0.0}, ValueError, "epsilon must be positive; got 0.0"),
        ("alfamix", {"subset": 0}, ValueError, "subset must be at least 1; got 0"),
        ("alfamix", {"head": Fixed()}, TypeError, "head must be a fitted linear classifier, with coef_ .*got Fixed"),
        (
            "alfamix",
            {"head": LogisticRegression().fit(X[:, :2], Y)},
            ValueError,
            r"head must have coef_ \(C, 6\) and intercept_ \(C,\), for the columns of X; got \(3, 2\)",
        ),
    ],
)
def test_bad_options(strategy, option, error, words):
    proba = np.random.default_rng(0).dirichlet(np.ones(3), (2, N))
    with pytest.raises(error, match=words):
        pyal.select(X, STARTED, strategy=strategy, proba=proba, **option)


def test_a_head_of_other_rows_is_refused():
    class Short:
        def predict_proba(self, rows):
            return np.ones((len(rows) - 1, 2))

    with pytest.raises(ValueError, match=r"head.predict_proba must give \(120, C\) for as many rows; got \(119, 2\)"):
        pyal.select(X, STARTED, strategy="dropquery", head=Short())


def test_labels_without_classes_are_asked_for():
    for strategy in ("dropquery", "alfamix"):
        with pytest.raises(ValueError, match=f"strategy '{strategy}' needs y= once rows are labelled"):
            pyal.select(X, labeled=[0, 1], strategy=strategy)
