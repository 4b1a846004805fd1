"""The features from which a surrogate predicts what a label is worth: a table with a row per candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy, number, row_blocks, size
from pyal.kernels.matrices import normalized
from pyal.pool import Inputs, Pool, as_they_are
from pyal.strategies.scores import two_largest

BASE = (
    "entropy",
    "least_confidence",
    "margin",
    "typicality",
    "coreset_distance",
    "cosine_distance",
    "embedding_variance",
    "prediction_variance",
)
STEP = ("step", "validation_loss", "validation_accuracy")
COLUMNS = BASE + STEP
RELATIVE_TO = ("pool", "candidates")
METRIC = "euclidean"  # of examples, whatever a strategy takes rows with
NEIGHBOURS = 20
_NO_USE = ("features", "groups", "max_per_group", "min_distance", "class_balance", "weights")


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of some rows of a pool.

    columns: their names. values: (m, F) float64, a row for each of `rows`. rows: (m,) positions in X.
    """

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    rows: NDArray[np.int64]

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        """(m,) one column; KeyError for a name that is not there."""
        if column not in self.columns:
            raise KeyError(f"{column!r} is no column of the table; it has {', '.join(self.columns)}")
        return self.values[:, self.columns.index(column)]


@dataclass(frozen=True)
class Step:
    """What is known of a whole step: how many labels there are to be in the end, and what the classifier is worth."""

    budget: int | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None


def feature_table(
    X: Any,
    y: Any = None,
    *,
    columns: Sequence[str] | None = None,
    relative_to: str = "pool",
    budget: int | None = None,
    validation_loss: float | None = None,
    validation_accuracy: float | None = None,
    **inputs: Any,
) -> FeatureTable:
    """The `FeatureTable` of all candidates of a pool.

    entropy: -sum_c p_c log p_c in nats. least_confidence: 1 - p_(1). margin: p_(1) - p_(2). Where proba is (T, N, C),
    p is its first pass.
    typicality: 1 / (mean squared distance to the 20 nearest other rows + 1e-5), at norm 1.
    coreset_distance: the Euclidean distance (not squared) to the nearest labelled row.
    cosine_distance: 1 - the cosine of the angle to the labelled row at the least angle, from 0 to 2.
    embedding_variance: the sum over the columns of the variance (divided by their number) over the row and its views.
    prediction_variance: the sum over the classes of the variance of their probability over the predictions for the
    image and its augmented copies. These are the passes of a (T, N, C) proba, the first of which is the original.
    step: the labels known, divided by budget.
    validation_loss, validation_accuracy: as given, the same for all rows.

    X, y, inputs: as for `pyal.select`: labeled, candidates, proba, views, metric, device, n_jobs. proba is needed for
        the first three columns, labelled rows for the two distances. metric="cosine" has coreset_distance and
        embedding_variance at norm 1 too.
    columns: their names and order. None: all that these inputs allow, in the order above.
    relative_to: "pool" looks for the nearest rows in all of X, "candidates" among the candidates alone.
    budget: how many labels there are to be in the end.
    validation_loss, validation_accuracy: what the classifier is worth on held-out rows.

    Memory: O(N), and 24 numbers a candidate for the neighbours. Source: Coello de Portugal 2023, section 4.7, which
    names these features and gives no formulas.

    >>> table = feature_table([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], labeled=[0], columns=["coreset_distance"])
    >>> table.rows.tolist(), table["coreset_distance"].round(3).tolist()
    ([1, 2], [1.414, 1.0])
    """
    given, rest = Inputs.split(X, y, inputs)
    unused = [name for name in inputs if name in rest or name in _NO_USE]
    if unused:
        raise TypeError(f"feature_table() has no use for {unused[0]}=")
    if isinstance(columns, str):
        raise TypeError(f"columns must be a list of names; got {columns!r}")
    pool = given.pool()
    if not len(pool.candidates):
        raise ValueError(given.why_no_candidates(pool))
    step = Step(budget, validation_loss, validation_accuracy)
    return table_of(pool, pool.candidates, columns=columns, relative_to=relative_to, step=step)


def table_of(
    pool: Pool,
    rows: NDArray[np.int64],
    *,
    columns: Sequence[str] | None = None,
    relative_to: str = "pool",
    step: Step = Step(),
) -> FeatureTable:
    """The FeatureTable of these candidates of a pool; relative_to="candidates" means these rows.

    What depends on X alone is kept in what the pool carries from round to round, as are distances to labelled rows.
    """
    if relative_to not in RELATIVE_TO:
        raise ValueError(f"relative_to must be 'pool' or 'candidates'; got {relative_to!r}")
    makers, lacking = _makers(pool, rows, relative_to, step)
    names = tuple(name for name in COLUMNS if name in makers) if columns is None else tuple(columns)
    for name in names:
        if name not in COLUMNS:
            raise ValueError(f"columns must be among {', '.join(COLUMNS)}; got {name!r}")
        if name not in makers:
            raise ValueError(f"the column {name!r} needs {lacking[name]}")
    values = np.empty((len(rows), len(names)))
    for i, name in enumerate(names):
        values[:, i] = makers[name]()
    return FeatureTable(names, values, rows)


def as_collected(pool: Pool) -> Pool:
    """The pool of a loop as examples have it: rows as they are, and one probability of the classifier for each class.

    Strategies that ask for several passes are given those of models that differ, not of augmented copies.
    """
    proba = pool.proba
    if proba is not None and proba.ndim == 3 and pool.classify is not None:
        proba = pool.classify(as_they_are(pool.X))
    views = None if pool.views is None else tuple(as_they_are(view) for view in pool.views)
    return replace(pool, X=as_they_are(pool.X), views=views, proba=proba, metric=METRIC)


def _makers(
    pool: Pool, rows: NDArray[np.int64], relative_to: str, step: Step
) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """What computes each column, and what those columns lack that cannot be computed."""
    makers: dict[str, Callable[[], Any]] = {"typicality": lambda: _typicality(pool, rows, relative_to)}
    lacking = {name: f"{name}=, or validation= in a loop" for name in ("validation_loss", "validation_accuracy")}
    lacking["step"] = "budget="
    if pool.proba is None:
        lacking |= dict.fromkeys(("entropy", "least_confidence", "margin"), "proba=")
    else:
        p = _first_pass(pool, rows)
        makers["entropy"] = lambda: kernels.mixture_entropies(p, n_jobs=pool.n_jobs)
        makers["least_confidence"] = lambda: 1 - p.max(axis=1)
        makers["margin"] = lambda: np.subtract(*two_largest(p))
    if not len(pool.labeled):
        lacking |= dict.fromkeys(("coreset_distance", "cosine_distance"), "labelled rows")
    else:
        makers["coreset_distance"] = lambda: np.sqrt(_nearest_labeled(pool, "euclidean")[rows])
        makers["cosine_distance"] = lambda: _nearest_labeled(pool, "cosine")[rows] / 2
    if pool.views is None:
        lacking["embedding_variance"] = "views="
    else:
        makers["embedding_variance"] = lambda: _embedding_variance(pool, rows)
    if pool.proba is not None and (_passes(pool) > 1 or (pool.views is not None and pool.classify is not None)):
        makers["prediction_variance"] = lambda: _prediction_variance(pool, rows)
    else:
        lacking["prediction_variance"] = "a (T, N, C) proba of the images and their augmented copies"
    if step.budget is not None:
        share = len(pool.labeled) / size(step.budget, "budget", 1)
        makers["step"] = lambda: share
    for name in ("validation_loss", "validation_accuracy"):
        given = getattr(step, name)
        if given is None and pool.validation is not None:
            given = getattr(pool.validation, name.removeprefix("validation_"))
        if given is not None:
            makers[name] = partial(number, given, name, or_low=True)
    return makers, lacking


def _passes(pool: Pool) -> int:
    assert pool.proba is not None
    return len(pool.proba) if pool.proba.ndim == 3 else 1


def _first_pass(pool: Pool, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    assert pool.proba is not None
    p = np.asarray(_only(pool.proba)[rows], np.float64)
    return p if p.shape[1] > 1 else np.concatenate([p, 0 * p], axis=1)


def _kept(pool: Pool, name: str, make: Callable[[], Any]) -> Any:
    """What the rounds of a loop share, made once; made anew in a single call."""
    if pool.carried is None:
        return make()
    known = pool.carried.setdefault("surrogate", {})
    if name not in known:
        known[name] = make()
    return known[name]


def _directions(pool: Pool) -> Matrix:
    """The rows at norm 1."""
    return pool.X if pool.metric == "cosine" else _kept(pool, "rows at norm 1", lambda: normalized(pool.X))


def _typicality(pool: Pool, rows: NDArray[np.int64], relative_to: str) -> NDArray[np.float64]:
    X = _directions(pool)
    if relative_to == "candidates":
        return _typicality_of(X.take(rows), None, pool.n_jobs)
    if pool.carried is None:
        return _typicality_of(X, rows, pool.n_jobs)
    found: NDArray[np.float64] = _kept(pool, "typicality", lambda: _typicality_of(X, None, pool.n_jobs))[rows]
    return found


def _typicality_of(X: Matrix, rows: NDArray[np.int64] | None, n_jobs: int | None) -> NDArray[np.float64]:
    """Of these rows among all rows of X; None: of all. A row that is alone is as typical as can be: 1e5."""
    if rows is None:
        found = kernels.knn(X, NEIGHBOURS, n_jobs=n_jobs)
    else:
        found = kernels.knn(X, NEIGHBOURS + 1, queries=X.take(rows), n_jobs=n_jobs)
    sqdist, position = (as_numpy(a, "X") for a in found)
    other = position >= 0
    if rows is not None:  # itself is no neighbour, and with many equals it may not be among the nearest
        other &= position != rows[:, None]
        other &= np.cumsum(other, axis=1) <= NEIGHBOURS
    total = np.where(other, sqdist, 0).astype(np.float64).sum(axis=1)
    return np.asarray(1 / (total / np.maximum(other.sum(axis=1), 1) + 1e-5))


def _nearest_labeled(pool: Pool, metric: str) -> NDArray[np.float64]:
    """(N,) squared distances to the nearest labelled row, in X as the pool has it or at norm 1."""
    X = _directions(pool) if metric == "cosine" else pool.X
    carried = _kept(pool, f"nearest, {metric}, {pool.metric}", kernels.Carried)
    kernels.k_center_greedy(X, 0, covered_by=pool.labeled, carried=carried, n_jobs=pool.n_jobs)
    return as_numpy(carried.sqdist, "distances").astype(np.float64)


def _embedding_variance(pool: Pool, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    assert pool.views is not None

    def of_all(some: NDArray[np.int64]) -> NDArray[np.float64]:
        assert pool.views is not None
        copies = [pool.X, *pool.views]
        out = np.empty(len(some))
        for part in row_blocks(len(some), pool.X.d * len(copies)):
            values = [as_numpy(one.take(some[part]), "views").astype(np.float64) for one in copies]
            out[part] = np.var(values, axis=0).sum(axis=1)
        return out

    if pool.carried is None:
        return of_all(rows)
    name = f"embedding variance, {pool.metric}"
    found: NDArray[np.float64] = _kept(pool, name, lambda: of_all(np.arange(pool.n)))[rows]
    return found


def _prediction_variance(pool: Pool, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    assert pool.proba is not None
    if pool.proba.ndim == 3 and len(pool.proba) > 1:
        passes = [np.asarray(p[rows], np.float64) for p in pool.proba]
    else:
        assert pool.views is not None
        assert pool.classify is not None
        copies = [pool.classify(as_they_are(view).take(rows)) for view in pool.views]
        passes = [_only(pool.proba)[rows], *copies]
    return np.asarray(np.var(np.asarray(passes, np.float64), axis=0).sum(axis=1))


def _only(proba: NDArray[Any]) -> NDArray[Any]:
    return proba[0] if proba.ndim == 3 else proba
