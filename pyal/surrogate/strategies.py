"""The strategy that queries by a surrogate model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.pool import Pool
from pyal.strategies.registry import strategy
from pyal.strategies.subsets import drawn_subset
from pyal.surrogate.table import METRIC, RELATIVE_TO, Step, as_collected, table_of


@strategy(
    "surrogate",
    needs=("proba",),
    memory="O(N)",
    files=("model",),
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
    position. A model is refused where the loop has another head than the runs that it has learned from, or cannot give
    a column that it looks at. Where nothing is labelled, and so no distance to labelled rows is defined, rows are drawn
    at random. In the thesis it does not beat random; bench/results/surrogate.md says what was measured here.

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
    known = _model(model)
    known.check({} if pool.head is None else {"head": pool.head})
    if known.domain.get("metric") == METRIC:
        pool = as_collected(pool)
    rows = drawn_subset(pool, batch_size, subset, rng)
    if not len(pool.labeled):
        return rng.choice(rows, batch_size, replace=False)
    relative_to = known.domain.get("relative_to", RELATIVE_TO[0])
    if relative_to == "candidates":
        _warn_of_others(known.domain, len(rows))
    step = Step(known.domain.get("budget") if budget is None else budget, validation_loss, validation_accuracy)
    table = table_of(pool, rows, columns=known.columns, relative_to=relative_to, step=step)
    scores = known.predict(table.values, table.columns)
    return rows[np.argsort(-scores, kind="stable")[:batch_size]]


def _model(given: Any) -> Any:
    """The model itself, of a path what was saved there."""
    if isinstance(given, (str, os.PathLike)):
        path = os.path.abspath(os.fspath(given))
        return _loaded(path, os.stat(path).st_mtime_ns)
    lacking = [name for name in ("columns", "domain", "check", "predict") if not hasattr(given, name)]
    if lacking:
        raise TypeError(
            "model must be a pyal.surrogate.SurrogateModel or the path of one; "
            f"got {type(given).__name__}, which has no {lacking[0]}"
        )
    return given


def _warn_of_others(domain: Mapping[str, Any], count: int) -> None:
    """A UserWarning where features that are relative to the candidates are relative to far more of them, or fewer."""
    learned = domain.get("counterfactuals", count - 1) + 1
    if not learned / 2 <= count <= 2 * learned:
        warnings.warn(
            f"strategy 'surrogate': its model has learned from typicality among {learned} candidates, and here there "
            f"are {count}, which makes it another feature; give subset={learned}",
            UserWarning,
            stacklevel=3,
        )


@lru_cache(maxsize=8)
def _loaded(path: str, changed: int) -> Any:  # noqa: ARG001  (a file that has changed is read again)
    from pyal.surrogate.model import load

    return load(path)
