"""Balls around rows: who lies in whose, the radii that keep balls of one predicted class, and greedy picks by balls.

All comparisons of distances are exact: products of matrices in float32 decide where they can, and differences of rows
in float64 where rounding might matter. A row lies in a ball where its Euclidean distance is strictly below the radius,
and always in its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import BLOCK_ELEMENTS, as_numpy, row_blocks
from pyal.pool import Pool

HALVINGS = 5  # of [0, the largest radius]: 1.1 is bisected until what is left is narrower than 0.05
_SIDES = 1 << 11, 1 << 9  # of a block of distances, if rows are not wider


class Nearness:
    """Which rows of a pool lie how near to which; rows are named by their place in `positions`."""

    def __init__(self, pool: Pool, positions: NDArray[np.int64]) -> None:
        self.X, self.positions = pool.X, positions
        norm = float(np.sqrt(pool.sqnorms[positions].max()))
        self.scale = 2.0 ** -int(np.frexp(norm)[1])  # norms of at most 1: no square is beyond float32
        total = np.zeros(pool.X.d)
        for part in row_blocks(len(positions), pool.X.d):
            total += self._rows(positions[part]).sum(axis=0, dtype=np.float64)
        self.center = total / len(positions)  # products of rows far from 0 would say little

    def levels(
        self, of: NDArray[np.int64], to: NDArray[np.int64], radii: NDArray[np.float64]
    ) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
        """Slices of two sets of rows, and how many of the ascending radii each distance between them reaches."""
        with np.errstate(over="ignore"):
            bounds = np.maximum(
                (radii * self.scale) ** 2, sys.float_info.min
            )  # a square of 0 would not hold equal rows
        for part in _steps(len(of), _SIDES[0], self.X.d):
            A, a = self._centered(of[part])
            for other in _steps(len(to), _SIDES[1], self.X.d):
                B, b = self._centered(to[other])
                square = A @ B.T
                square *= -2
                square += a[:, None]
                square += b
                slack = (self.X.d + 16) * (2.0**-23 * float(a.max() + b.max()) + 1e-37)
                found = _reached(square, bounds + slack)
                unsure = np.nonzero(found != _reached(square, bounds - slack))
                self._decide(found, unsure, of[part], to[other], bounds)
                yield part, other, found

    def _decide(
        self,
        found: NDArray[Any],
        unsure: tuple[NDArray[np.int64], ...],
        of: NDArray[np.int64],
        to: NDArray[np.int64],
        bounds: NDArray[np.float64],
    ) -> None:
        """Writes the levels of the unsure pairs, by differences."""
        for part in row_blocks(len(unsure[0]), 2 * self.X.d):
            i, j = unsure[0][part], unsure[1][part]
            apart = self._rows(self.positions[of[i]]).astype(np.float64) - self._rows(self.positions[to[j]])
            found[i, j] = np.searchsorted(bounds, (apart * apart).sum(axis=1), side="right")

    def counts(self, of: NDArray[np.int64], to: NDArray[np.int64], radius: float) -> NDArray[np.int64]:
        """(len(of),) how many rows of `to` lie in the ball of each."""
        out = np.zeros(len(of), np.int64)
        for part, _, levels in self.levels(of, to, np.array([radius])):
            out[part] += (levels == 0).sum(axis=1)
        return out

    def within(self, row: int, to: NDArray[np.int64], radius: float) -> NDArray[np.int64]:
        """Those rows of `to` that lie in the ball of one."""
        inside = np.zeros(len(to), bool)
        for _, other, levels in self.levels(np.array([row]), to, np.array([radius])):
            inside[other] = levels[0] == 0
        return to[inside]

    def _rows(self, positions: NDArray[np.int64]) -> NDArray[np.floating]:
        rows = as_numpy(self.X.take(positions), "X")
        wide = rows if rows.dtype == np.float64 else rows.astype(np.float32, copy=False)
        return np.asarray(wide * wide.dtype.type(self.scale))

    def _centered(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(rows less the centre, their squared norms)."""
        whole = self._rows(self.positions[rows])
        moved = (whole - self.center.astype(whole.dtype)).astype(np.float32, copy=False)
        return moved, np.einsum("ij,ij->i", moved, moved, dtype=np.float64).astype(np.float32)


@dataclass(frozen=True)
class LabeledBalls:
    """(L,) radii of the labelled rows, and which rows lie in their balls."""

    radii: NDArray[np.float64]
    covered: NDArray[np.bool_]

    @property
    def coverage(self) -> float:
        """The share of the rows that lie in a ball."""
        return float(self.covered.mean())


def labeled_balls(
    near: Nearness,
    labeled: NDArray[np.int64],
    columns: NDArray[np.int64],
    predicted: NDArray[np.int64],
    largest: float,
) -> LabeledBalls:
    """The balls of labelled rows in which a share 0.4 + 0.2 c of the rows is predicted as their label.

    columns: the label of each, as predicted: of all rows. c is the largest share of the rows that the balls cover when
    this c says how pure they are. A radius is the middle of what five halvings of [0, largest] leave, to two decimals.
    """
    leaves = 2**HALVINGS
    every = np.arange(len(predicted))
    tried = np.arange(1, leaves) * largest / leaves
    purest = _largest_threshold(_purities(near, labeled, columns, predicted, tried))
    radii = np.round((2 * np.arange(leaves) + 1) * largest / (2 * leaves), 2)
    until = np.full(len(every), -np.inf)  # the threshold up to which a row is covered
    reached = np.pad(purest, ((0, 0), (0, 1)), constant_values=-np.inf)
    for part, other, levels in near.levels(labeled, every, radii):
        until[other] = np.maximum(until[other], np.take_along_axis(reached[part], levels, axis=1).max(axis=0))
    shares = np.arange(1, len(every) + 1) / len(every)
    enough = np.sort(until)[::-1] >= 0.4 + 0.2 * shares
    threshold = 0.4 + 0.2 * float(shares[enough][-1])
    return LabeledBalls(radii[(purest >= threshold).sum(axis=1) - 1], until >= threshold)


def _purities(
    near: Nearness,
    labeled: NDArray[np.int64],
    columns: NDArray[np.int64],
    predicted: NDArray[np.int64],
    radii: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(L, R) the share of the rows in each ball that are predicted as the label of its centre."""
    width = len(radii) + 1
    same, whole = np.zeros((len(labeled), width)), np.zeros((len(labeled), width))
    for part, other, levels in near.levels(labeled, np.arange(len(predicted)), radii):
        cells = (levels + width * np.arange(len(levels))[:, None]).ravel()
        alike = columns[part, None] == predicted[other]
        for counts, weights in ((whole, None), (same, alike.ravel())):
            counts[part] += np.bincount(cells, weights, width * len(levels)).reshape(-1, width)
    return np.asarray(same.cumsum(axis=1) / whole.cumsum(axis=1))[:, :-1]  # a centre lies in its own ball


def _largest_threshold(purity: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L, R + 1) the largest threshold at which bisection by purity ends in the interval j or a later one.

    Bisection goes on in the upper half where the ball at the middle is as pure as the threshold, else in the lower.
    """

    def between(begin: int, end: int) -> NDArray[np.float64]:
        if end - begin == 1:
            return np.full((len(purity), 1), np.inf)
        middle = (begin + end) // 2
        at_middle = purity[:, middle - 1 : middle]
        lower, upper = between(begin, middle), between(middle, end)
        return np.hstack([np.maximum(at_middle, lower), np.minimum(at_middle, upper)])

    return between(0, purity.shape[1] + 1)


def competence(coverage: float, midpoint: float, steepness: float) -> float:
    """The logistic function of the coverage, divided by what it is where all is covered; to three decimals.

    >>> [competence(share, 0.8, 50.0) for share in (0.7, 0.8, 0.85, 1.0)]
    [0.007, 0.5, 0.924, 1.0]
    """
    here, full = (1 + np.tanh(steepness * (share - midpoint) / 2) for share in (coverage, 1.0))
    return round(float(here / full), 3)


@dataclass(eq=False)
class GreedyBalls:
    """Picks by what their balls of one radius hold that nothing covers yet, and by another score of each row.

    covered, may_cover: of each row, whether a ball holds it, and whether its own ball counts. score: of each row.
    weight: of the score, 1 - weight that of the number of rows in the ball. Both are brought to [0, 1] at each pick.
    """

    near: Nearness
    radius: float
    covered: NDArray[np.bool_]
    may_cover: NDArray[np.bool_]
    score: NDArray[np.float64]
    weight: float
    picked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        open_rows = np.flatnonzero(self.may_cover)
        self.degree = np.zeros(len(self.covered), np.int64)
        self.degree[open_rows] = self.near.counts(open_rows, np.flatnonzero(~self.covered), self.radius)
        self._begin = self.covered, self.degree, self.score
        self._restart()

    def _restart(self) -> None:
        self.covered, self.degree, self.score = (whole.copy() for whole in self._begin)
        self.picked = []

    def after(self, picked: list[int]) -> None:
        """Brings it to where these rows were picked, in any case."""
        if picked[: len(self.picked)] != self.picked:
            self._restart()
        for row in picked[len(self.picked) :]:
            self.take(row)

    def best(self, candidates: NDArray[np.int64]) -> int:
        """The candidate of the largest value; of several the one of the largest score, then the first."""
        value = (self.weight * _scaled(self.score) + (1 - self.weight) * _scaled(self.degree))[candidates]
        tied = candidates[value == value.max()]
        return int(tied[np.argmax(self.score[tied])])

    def take(self, row: int) -> None:
        """Covers the ball of a row, whose score becomes 0."""
        new = self.near.within(row, np.flatnonzero(~self.covered), self.radius)
        holding = np.flatnonzero(self.degree)
        if len(new):
            self.degree[holding] -= self.near.counts(holding, new, self.radius)
        self.covered[new], self.score[row] = True, 0.0
        self.picked.append(row)


def _scaled(values: NDArray[Any]) -> NDArray[np.float64]:
    """Brought to [0, 1] by the smallest and the largest; 0 where all are equal."""
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / (high - low if high > low else 1.0), np.float64)


def _reached(square: NDArray[np.float32], bounds: NDArray[np.float64]) -> NDArray[Any]:
    """How many of the ascending bounds each value reaches; of a single one, whether."""
    known = np.minimum(bounds, 1e38).astype(np.float32)
    return square >= known[0] if len(known) == 1 else np.searchsorted(known, square, side="right")


def _steps(n: int, most: int, d: int) -> Iterator[slice]:
    """Slices of at most so many rows, fewer where rows are wide."""
    step = max(1, min(most, BLOCK_ELEMENTS // d))
    return (slice(begin, min(begin + step, n)) for begin in range(0, n, step))
