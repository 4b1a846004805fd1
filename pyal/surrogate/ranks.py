"""Order within groups: ranks, how well two orders agree, and what picking the first of an order costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def ranks_within(values: Float, group: Int) -> Float:
    """(m, F) ranks of values (m, F) within groups (m,): 0 for the lowest, 1 for the highest.

    Equals share the average of their ranks; a group of one has 0.5.
    """
    ranks = np.empty(values.shape)
    m = len(values)
    for column in range(values.shape[1] if m else 0):
        order = np.lexsort((values[:, column], group))
        value, number = values[order, column], group[order]
        opens_group = np.append(True, number[1:] != number[:-1])
        opens_tie = opens_group | np.append(True, value[1:] != value[:-1])
        starts, ties = np.flatnonzero(opens_group), np.flatnonzero(opens_tie)
        middle = ties + (np.diff(np.append(ties, m)) - 1) / 2
        of_group, of_tie = np.cumsum(opens_group) - 1, np.cumsum(opens_tie) - 1
        others = np.diff(np.append(starts, m))[of_group] - 1
        ranks[order, column] = np.where(others > 0, (middle[of_tie] - starts[of_group]) / np.maximum(others, 1), 0.5)
    return ranks


def spearman(predicted: Float, gains: Float, group: Int) -> float | None:
    """The rank correlation of predicted (m,) and gains (m,) within groups, averaged over the groups; ties share ranks.

    Groups of one and groups whose gains are all alike have no order to find and are left out; None where no group is
    left. Equal predictions in a group count as a correlation of 0.
    """
    ranks = ranks_within(np.column_stack([predicted, gains]), group) - 0.5  # the ranks of a group average 0.5
    _, of = np.unique(group, return_inverse=True)
    together, own, true = (
        np.bincount(of, ranks[:, a] * ranks[:, b]) if len(of) else np.empty(0) for a, b in ((0, 1), (0, 0), (1, 1))
    )
    ordered = true > 0
    if not ordered.any():
        return None
    scale = np.sqrt(own[ordered] * true[ordered])
    return float((together[ordered] / np.where(scale > 0, scale, 1)).mean())


def top_regret(predicted: Float, gains: Float, group: Int) -> tuple[float, float] | None:
    """(of the row predicted best, of a random row): the best gain of a group minus that row's, averaged over groups.

    Equal predictions: the first row. Groups of one are left out; None where no group is left.
    """
    order = np.lexsort((-np.arange(len(group)), predicted, group))
    _, of, sizes = np.unique(group, return_inverse=True, return_counts=True)
    several = sizes > 1
    if not several.any():
        return None
    best = np.full(len(sizes), -np.inf)
    np.maximum.at(best, of, gains)
    picked = gains[order[np.cumsum(sizes) - 1]]
    mean = np.bincount(of, gains) / sizes
    return float((best - picked)[several].mean()), float((best - mean)[several].mean())
