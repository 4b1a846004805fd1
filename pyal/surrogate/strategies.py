"""The strategy that queries by a surrogate model."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool
from pyal.strategies.registry import strategy
from pyal.strategies.subsets import drawn_subset
from pyal.surrogate.table import RELATIVE_TO, Step, table_of


@strategy(
    "surrogate",
    needs=("proba",),
    memory="O(N)",
    citation="Coello de Portugal 2023, Active Learning for Semi-Supervised Image Classification (thesis, Hildesheim)",
)
def surrogate(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    model: Any = None,
    subset: int | str | None = 500,
    budget: int | None = None,
    validation_loss: float | None = None,
    validation_accuracy: float | None = None,
) -> NDArray[np.int64]:
    """Picks the rows whose label is predicted to bring most, by a model that has learned it from finished runs.

    The model is one of `pyal.surrogate.fit`, and predicts the gain in validation accuracy, or the fall of the
    validation loss, from `pyal.surrogate.feature_table`. A batch is the largest predictions, and ties go to the lowest
    position. A model is refused where the pool has other columns, or the loop another head, than the runs that it has
    learned from. Where nothing is labelled, and no distance to labelled rows is defined, rows are drawn at random. In
    the thesis, and in what we measured, it does not beat random (bench/results/surrogate.md).

    model: a `pyal.surrogate.SurrogateModel`, or the path of one that was saved.
    subset: how many candidates are drawn at random to be looked at, 500 as in the thesis; as in lookahead. None: all.
    budget: how many labels there are to be in the end, for a model that looks at the share of it. None: that of the
        runs which the model has learned from.
    validation_loss: what the classifier is worth on held-out rows, for a model that looks at it. None: that of the loop
        (its validation=).
    validation_accuracy: the same.
    """
    if model is None:
        raise ValueError(
            "strategy 'surrogate' needs model=, a pyal.surrogate.SurrogateModel or the path of one, which is missing"
        )
    known = _loaded(os.path.abspath(os.fspath(model)), os.stat(model).st_mtime_ns) if _is_path(model) else model
    known.check({"metric": pool.metric, **({} if pool.head is None else {"head": pool.head})})
    rows = drawn_subset(pool, batch_size, subset, rng)
    if not len(pool.labeled):
        return rng.choice(rows, batch_size, replace=False)
    relative_to = known.domain.get("relative_to", RELATIVE_TO[0])
    step = Step(known.domain.get("budget") if budget is None else budget, validation_loss, validation_accuracy)
    table = table_of(pool, rows, columns=known.columns, relative_to=relative_to, step=step)
    scores = np.full(pool.n, -np.inf)
    scores[rows] = known.predict(table.values, table.columns)
    return rows[np.argsort(-scores[rows], kind="stable")[:batch_size]]


def _is_path(model: Any) -> bool:
    return isinstance(model, (str, os.PathLike))


@lru_cache(maxsize=8)
def _loaded(path: str, changed: int) -> Any:  # noqa: ARG001  (a file that has changed is read again)
    from pyal.surrogate.model import load

    return load(path)
