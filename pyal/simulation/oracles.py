"""Controls that see the answers: how far one would get by knowing what no strategy can know.

They are callables for `pyal.simulate`, where "oracle_loss" and "oracle_gain" name them, and pick at random until labels
of two classes are known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.metrics import class_positions
from pyal.pool import Pool
from pyal.strategies.scores import largest
from pyal.strategies.subsets import drawn_subset


def oracle_loss(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Picks the rows on which the classifier is most wrong: -log of the probability of the true label is largest.

    p is the mean over the T passes of a (T, N, C) proba. A class without a column has the probability 0, and ties go to
    the lowest position.
    """
    if pool.proba is None:
        return rng.choice(pool.candidates, batch_size, replace=False)
    answers = _answers(pool)
    column = class_positions(answers, np.unique(answers[pool.labeled]))
    scores = np.zeros(pool.n)
    for part, passes in pool.proba_blocks():
        own = np.take_along_axis(passes.mean(axis=0), column[part, None], axis=1)[:, 0]
        scores[part] = -np.where(column[part] >= 0, own, 0)
    return largest(pool, batch_size, scores)


def oracle_gain(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    target: str = "accuracy",
    subset: int | str | None = None,
) -> NDArray[np.int64]:
    """Picks the rows whose true label, alone, would help the classifier most on the held-out rows for validation.

    It is what a perfect surrogate would pick: the upper bound of all strategies that predict the gain of one label and
    take the largest. `pyal.heads.ClosedFormSoftmax` is updated by rank one for each candidate; any other classifier is
    fitted again for each. A batch of several is the best of one pass.

    target: what is to be gained: "accuracy", where ties go to the lower loss, or "loss", the mean cross-entropy. Then
        ties go to the lowest position.
    subset: how many candidates are drawn at random to be looked at, as in lookahead. None: all.
    """
    if target not in ("accuracy", "loss"):
        raise ValueError(f"target must be 'accuracy' or 'loss'; got {target!r}")
    answers = _answers(pool)
    if pool.validation is None:
        if pool.proba is None:
            return rng.choice(pool.candidates, batch_size, replace=False)
        raise ValueError("strategy 'oracle_gain' needs validation=, the held-out rows to gain on, which is missing")
    rows = drawn_subset(pool, batch_size, subset, rng)
    accuracy, loss = pool.validation.after_each(rows, answers[rows])
    order = np.lexsort((loss, -accuracy)) if target == "accuracy" else np.argsort(loss, kind="stable")
    return rows[order[:batch_size]]


def _answers(pool: Pool) -> NDArray[Any]:
    if pool.answers is None:
        raise ValueError("oracle strategies need the answers for all rows, which only pyal.simulate has")
    return pool.answers


ORACLES: dict[str, Callable[..., NDArray[np.int64]]] = {"oracle_loss": oracle_loss, "oracle_gain": oracle_gain}
