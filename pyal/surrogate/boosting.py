"""Boosted trees by two libraries: how one set of parameters is fitted, with early stopping on other rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyal.surrogate.model import xgboost
from pyal.surrogate.ranks import ranks_within, spearman

Float = NDArray[np.float64]


class Rows(NamedTuple):
    """Rows of one part of a split: features (m, F), targets (m,) and groups (m,), the rows of a group side by side."""

    values: Float
    target: Float
    group: NDArray[np.int64]


class Task(NamedTuple):
    """What every set of parameters is fitted to. Targets are in units in which those of train have variance 1."""

    train: Rows
    validation: Rows
    objective: str
    rounds: int
    patience: int
    seed: int


class Fitted(NamedTuple):
    """Trees up to the best round, how many those are, and their loss on the validation rows, lower is better."""

    trees: Any
    rounds: int
    loss: float


def fitted_by_xgboost(task: Task, parameters: Mapping[str, float]) -> Fitted:
    """Trees of XGBoost: squared error, or pairs of rows in a group. One thread: sums are then of one order."""
    library = xgboost()
    settings = {
        **parameters,
        "tree_method": "hist",
        "nthread": 1,
        "seed": task.seed,
        "base_score": 0.0,
        "verbosity": 0,
    }
    if task.objective == "ranking":
        # All pairs with one of the 32 rows ranked highest so far; the other method draws pairs at random.
        settings |= {"objective": "rank:pairwise", "lambdarank_pair_method": "topk"}
        settings |= {"lambdarank_num_pair_per_sample": 32}
    else:
        settings |= {"objective": "reg:squarederror"}
    train, validation = (_matrix(library, rows, task.objective) for rows in (task.train, task.validation))
    trees = library.Booster(settings, cache=[train, validation])
    loss, losses, best = _validation_loss(task), [], 0
    # Not xgboost.train: its early stopping sees a loss of one's own to six decimals only.
    for at in range(task.rounds):
        trees.update(train, at)
        losses.append(loss(np.asarray(trees.predict(validation), np.float64)))
        if losses[at] < losses[best]:
            best = at
        elif at - best >= task.patience:
            break
    return Fitted(trees[: best + 1], best + 1, losses[best])


def fitted_by_sklearn(task: Task, parameters: Mapping[str, float]) -> Fitted:
    """Trees of scikit-learn's HistGradientBoostingRegressor, squared error.

    It cannot be given validation rows before scikit-learn 1.7, so it grows in steps that double, until the best round
    lies `patience` rounds back; then the best rounds alone are fitted again.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    trees = HistGradientBoostingRegressor(
        learning_rate=parameters["learning_rate"],
        max_depth=int(parameters["max_depth"]),
        l2_regularization=parameters["lambda"],
        max_leaf_nodes=None,
        early_stopping=False,
        warm_start=True,
        random_state=task.seed,
    )
    loss = _validation_loss(task)
    grown, rounds = 0, 0
    with threadpool_limits(1, user_api="openmp"):
        while grown < task.rounds and grown - rounds < task.patience:
            grown = min(task.rounds, max(task.patience + 1, 2 * grown))
            trees.set_params(max_iter=grown).fit(task.train.values, task.train.target)
            losses = [loss(scores) for scores in trees.staged_predict(task.validation.values)]
            rounds = _best_round(losses, task.patience)
        trees.set_params(max_iter=rounds, warm_start=False).fit(task.train.values, task.train.target)
    return Fitted(trees, rounds, losses[rounds - 1])


BACKENDS: dict[str, Callable[[Task, Mapping[str, float]], Fitted]] = {
    "xgboost": fitted_by_xgboost,
    "sklearn": fitted_by_sklearn,
}


def _validation_loss(task: Task) -> Callable[[Float], float]:
    """The mean squared error, or for a ranking 1 minus the rank correlation within groups."""
    _, target, group = task.validation
    if task.objective == "ranking":
        return lambda scores: 1 - (spearman(scores, target, group) or 0.0)
    return lambda scores: float(((scores - target) ** 2).mean())


def _best_round(losses: list[float], patience: int) -> int:
    """How many rounds had the lowest loss when `patience` rounds after them had brought none lower."""
    best = 0
    for at, loss in enumerate(losses):
        if loss < losses[best]:
            best = at
        elif at - best >= patience:
            break
    return best + 1


def _matrix(library: Any, rows: Rows, objective: str) -> Any:
    if objective == "regression":
        return library.DMatrix(rows.values, rows.target, nthread=1)
    order = ranks_within(rows.target[:, None], rows.group)[:, 0]  # gains have no scale that pairs could see
    _, query = np.unique(rows.group, return_inverse=True)
    return library.DMatrix(rows.values, order, qid=query, nthread=1)
