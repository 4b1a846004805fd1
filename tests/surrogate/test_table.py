"""The feature table against plain NumPy definitions, in one call and from round to round of a loop."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

import pyal
from pyal.surrogate import COLUMNS, feature_table
from pyal.surrogate.table import Step, table_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype(np.float32) + 1
Y = RNG.integers(0, 3, 60)
PROBA = RNG.dirichlet(np.ones(3), 60)
VIEWS = X + RNG.normal(scale=0.1, size=(2, 60, 5)).astype(np.float32)
LABELED = np.array([3, 17, 40])


def plain(X, proba, labeled, rows, views, of_views, budget, loss, accuracy, among=None):
    """Every column by its definition, row by row, in float64."""
    X, among = np.asarray(X, float), np.arange(len(X)) if among is None else among
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    out = []
    for i in rows:
        p = np.sort(proba[i])[::-1]
        entropy = -sum(q * np.log(q) for q in p if q > 0)
        others = among[among != i]
        near = np.sort(((unit[others] - unit[i]) ** 2).sum(1))[:20]
        copies = np.array([X[i], *(np.asarray(view, float)[i] for view in views)])
        predictions = np.array([q[i] for q in of_views])
        out.append(
            [
                entropy,
                1 - p[0],
                p[0] - p[1],
                1 / (near.mean() + 1e-5),
                np.linalg.norm(X[labeled] - X[i], axis=1).min(),
                1 - (unit[labeled] @ unit[i]).max(),
                ((copies - copies.mean(0)) ** 2).mean(0).sum(),
                ((predictions - predictions.mean(0)) ** 2).mean(0).sum(),
                len(labeled) / budget,
                loss,
                accuracy,
            ]
        )
    return np.array(out)


def given(**changes):
    passes = np.array([PROBA, np.roll(PROBA, 1, axis=1), RNG.permuted(PROBA, axis=1)])
    whole = {"labeled": LABELED, "proba": passes, "views": VIEWS, "budget": 40}
    return {**whole, "validation_loss": 1.5, "validation_accuracy": 0.25, **changes}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("relative_to", ["pool", "candidates"])
def test_each_column_is_its_definition(dtype, relative_to):
    rows, typed = np.array([0, 1, 2, 5, 8, 30, 31, 59]), X.astype(dtype)
    asked = given(candidates=rows, relative_to=relative_to, views=VIEWS.astype(dtype))
    table = feature_table(typed, **asked)
    among = rows if relative_to == "candidates" else None
    wanted = plain(typed, PROBA, LABELED, rows, asked["views"], asked["proba"], 40, 1.5, 0.25, among)
    assert table.columns == COLUMNS
    assert table.rows.tolist() == rows.tolist()
    np.testing.assert_allclose(table.values, wanted, rtol=2e-3 if dtype == np.float16 else 2e-5, atol=1e-6)


def test_a_table_worked_out_by_hand():
    X = [[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]
    table = feature_table(X, labeled=[0], proba=[[1, 0], [0.5, 0.5], [0.9, 0.1]], budget=4)
    # at norm 1, row 1 is sqrt 2 from both others: its typicality is 1 / (2 + 1e-5). Row 2 lies on row 0 there, and its
    # is 1 / ((0 + 2) / 2 + 1e-5)
    assert table.columns == (*COLUMNS[:6], "step")
    log2 = 0.5 * np.log(2) * 2
    low = -0.9 * np.log(0.9) - 0.1 * np.log(0.1)
    wanted = [
        [log2, 0.5, 0.0, 1 / (2 + 1e-5), np.sqrt(5), 1.0, 0.25],
        [low, 0.1, 0.8, 1 / (1 + 1e-5), 2.0, 0.0, 0.25],
    ]
    np.testing.assert_allclose(table.values, wanted, rtol=1e-6, atol=1e-7)
    assert table["margin"].tolist() == table.values[:, 2].tolist()
    with pytest.raises(KeyError, match="'nearness' is no column of the table; it has entropy"):
        table["nearness"]


def test_rows_with_more_equals_than_neighbours():
    X = np.ones((40, 2), np.float32)
    table = feature_table(X, labeled=[0], columns=["typicality", "coreset_distance", "cosine_distance"])
    np.testing.assert_allclose(table["typicality"], 1e5)
    assert not table["coreset_distance"].any()
    np.testing.assert_allclose(table["cosine_distance"], 0, atol=1e-6)


def test_one_row_alone_is_as_typical_as_can_be():
    np.testing.assert_allclose(feature_table([[2.0, 1.0]], columns=["typicality"]).values, [[1e5]])


class Watched:
    """Compares the table of every round with that of a single call on the same inputs."""

    def __init__(self, metric, relative_to):
        self.metric, self.relative_to, self.rounds = metric, relative_to, 0

    def __call__(self, pool, batch_size, *, rng):
        rows = np.sort(rng.choice(pool.candidates, 12, replace=False))
        if pool.proba is not None:
            step = Step(40)
            found = table_of(pool, rows, relative_to=self.relative_to, step=step)
            views = [pool.classify(pyal.pool.as_they_are(view)) for view in pool.views]
            passes = np.array([pool.proba, *views])
            alone = feature_table(
                X,
                labeled=pool.labeled,
                candidates=rows,
                proba=passes,
                views=VIEWS,
                metric=self.metric,
                relative_to=self.relative_to,
                budget=40,
                validation_loss=pool.validation.loss,
                validation_accuracy=pool.validation.accuracy,
            )
            assert found.columns == alone.columns == COLUMNS
            assert found.values.tolist() == alone.values.tolist()
            self.rounds += 1
        return rows[:batch_size]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("relative_to", ["pool", "candidates"])
def test_in_a_loop_it_is_the_table_of_a_single_call_to_the_bit(metric, relative_to):
    watched = Watched(metric, relative_to)
    known = np.where(np.arange(60) < 6, Y, -1)
    loop = pyal.Loop(
        X,
        GaussianNB(),
        watched,
        3,
        y=known,
        classes=[0, 1, 2],
        metric=metric,
        views=VIEWS,
        validation=(X[:20], Y[:20]),
        random_state=0,
    )
    for _ in range(4):
        batch = loop.query()
        loop.teach(batch, Y[batch])
    assert watched.rounds == 4


def test_columns_in_the_order_asked_and_only_those():
    table = feature_table(X, **given(columns=["step", "margin"]))
    assert table.columns == ("step", "margin")
    assert set(table["step"]) == {3 / 40}


def test_labels_given_as_y_are_the_labelled_rows():
    y = np.full(60, -1)
    y[LABELED] = Y[LABELED]
    one, other = feature_table(X, y, proba=PROBA), feature_table(X, labeled=LABELED, proba=PROBA)
    assert one.values.tolist() == other.values.tolist()
    assert len(one.rows) == 57


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"columns": ["nearness"]}, "columns must be among entropy, .*; got 'nearness'"),
        ({"columns": ["step"], "budget": None}, "the column 'step' needs budget="),
        ({"columns": ["entropy"], "proba": None}, "the column 'entropy' needs proba="),
        ({"columns": ["cosine_distance"], "labeled": []}, "the column 'cosine_distance' needs labelled rows"),
        ({"columns": ["embedding_variance"], "views": None}, "the column 'embedding_variance' needs views="),
        (
            {"columns": ["prediction_variance"], "proba": PROBA, "views": None},
            r"the column 'prediction_variance' needs a \(T, N, C\) proba of the images and their augmented copies",
        ),
        (
            {"columns": ["validation_loss"], "validation_loss": None},
            "'validation_loss' needs validation_loss=, or validation",
        ),
        ({"relative_to": "batch"}, "relative_to must be 'pool' or 'candidates'; got 'batch'"),
        ({"budget": 0}, "budget must be .*1"),
        ({"validation_loss": np.nan}, "validation_loss must be a finite number"),
        ({"candidates": []}, "candidates is empty"),
    ],
)
def test_what_is_refused(changes, rule):
    with pytest.raises(ValueError, match=rule):
        feature_table(X, **given(**changes))


def test_rows_without_a_direction_are_refused():
    rows = X.copy()
    rows[7] = 0
    with pytest.raises(ValueError, match=re.compile("norm|zero")):
        feature_table(rows, labeled=LABELED)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"neighbours": 3}, r"feature_table\(\) has no use for neighbours="),
        ({"groups": Y, "max_per_group": 1}, r"feature_table\(\) has no use for groups="),
        ({"weights": None}, r"feature_table\(\) has no use for weights="),
        ({"columns": "typicality"}, "columns must be a list of names; got 'typicality'"),
    ],
)
def test_arguments_that_it_has_no_use_for(given, rule):
    with pytest.raises(TypeError, match=rule):
        feature_table(X, **given)
