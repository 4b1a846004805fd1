"""The pool of one query: the rows, what is labelled, what may be picked, and what is derived from them once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import (
    Matrix,
    as_numpy,
    as_positions,
    first_few,
    label_values,
    labeled_positions,
    n_jobs_checked,
    row_blocks,
    weights_checked,
)
from pyal.kernels.matrices import METRICS, taken_with
from pyal.rules import Rules, Upkeep, checked_rules

PROBA_TOLERANCE = 1e-2  # of the sum of a row: low-precision softmax passes, logits and percentages do not

# (picked (k,), candidates, m) -> the next picks, m of them, as if the k rows before had been picked in the same call
NextPicks = Callable[[NDArray[np.int64], NDArray[np.int64], int], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What `pyal.select` is told of the pool, as its caller wrote it; `pool` checks all of it.

    The arguments that select and score share stand here and nowhere else. A new one becomes a field of this class and
    of `Pool`.
    """

    X: Any
    y: Any = None
    labeled: Any = None
    candidates: Any = None
    proba: Any = None
    features: Any = None
    views: Any = None
    groups: Any = None
    max_per_group: int | None = None
    min_distance: float | None = None
    class_balance: bool = False
    weights: Any = None
    metric: str | None = None
    device: Any = None
    n_jobs: int | None = None

    @classmethod
    def split(cls, X: Any, y: Any, given: Mapping[str, Any]) -> tuple[Inputs, dict[str, Any]]:
        """(the inputs among the keyword arguments, the rest: options of the strategy)."""
        names = {f.name for f in dataclasses.fields(cls)}
        options = {name: value for name, value in given.items() if name not in names}
        return cls(X, y, **{name: value for name, value in given.items() if name in names}), options

    def pool(self, own_metric: str = "euclidean") -> Pool:
        """The `Pool` of these inputs; `pyal.select` says what they are and what is refused.

        own_metric: of the strategy, which metric=None stands for.
        """
        metric = metric_checked(self.metric) or own_metric
        n_jobs = n_jobs_checked(self.n_jobs)
        rows = kernels.checked_matrix(self.X, "X", device=self.device)
        n = rows.n
        known, labels = _labeled(self.y, self.labeled, n)
        is_labeled = _mask(known, n)
        if self.candidates is None:
            allowed = np.flatnonzero(~is_labeled).astype(np.int64, copy=False)
        else:
            allowed = as_positions(self.candidates, n, "candidates")
            both = allowed[is_labeled[allowed]]
            if both.size:
                raise ValueError(f"candidates must not hold labelled rows; these are labelled: {first_few(both)}")
        proba = features = views = None
        if self.proba is not None:
            proba = probabilities_of(as_numpy(self.proba, "proba"))
            check_proba(proba, n)
        if self.features is not None:
            features = kernels.checked_matrix(self.features, "features", device=rows.device)
            if features.n != n:
                raise ValueError(f"features must have one row per row of X, {n}; got {features.n}")
        if self.views is not None:
            views = tuple(taken_with(view, metric) for view in checked_views(self.views, rows))
        rules = checked_rules(self.groups, self.max_per_group, self.min_distance, self.class_balance, n)
        if rules is not None and rules.class_balance and proba is None:
            raise ValueError("class_balance goes by predicted class and needs proba=, which is missing")
        weights = None if self.weights is None else checked_weights(self.weights, n)
        return Pool(
            X=taken_with(rows, metric),
            labeled=known,
            candidates=allowed,
            y=labels,
            proba=proba,
            features=features,
            views=views,
            rules=rules,
            weights=weights,
            n_jobs=n_jobs,
            metric=metric,
        )

    def why_no_candidates(self, pool: Pool) -> str:
        """One sentence on why there is nothing to pick."""
        if self.candidates is not None:
            return "candidates is empty: there is no row to pick"
        sentence = f"all {pool.n} rows of X are labelled: there is no row to pick"
        values = label_values(self.y, pool.n)[0] if self.y is not None else np.empty(0)
        if values.dtype.kind == "f" and (values == -1).any():
            sentence += " (y is an array of floats, in which -1 is a label; NaN marks a hole)"
        return sentence


@dataclass(frozen=True, eq=False)
class Pool:
    """What a strategy is given, all of it checked. Its arrays belong to the caller and are never written to.

    X: the rows. With metric="cosine" their factors bring them to norm 1: X.array has them as they came, as_numpy(X)
        at norm 1.
    labeled: ascending int64 positions of the labelled rows.
    candidates: ascending int64 positions of what may be picked.
    y: (len(labeled),) labels of the labelled rows, in that order, or None. Labels of other rows are not here.
    proba: (N, C) or (T, N, C), on the host, or None.
    features: (N, h), or None.
    views: (N, d) rows of augmented copies, taken as X is; or None.
    rules: what a batch keeps besides, or None. Who picks a batch sees to it; a strategy for which the rows picked
        before a row make a difference does better to pick by `in_turn`.
    weights: (N,) what the rows count, float64 and not negative, or None.
    balanced_by: (N,) predicted classes that the rule class_balance goes by; None for those of proba.
    n_jobs: CPU threads, None for all.
    metric: what X is taken with, "euclidean" or "cosine".
    first_batch: the size of the first batch of the loop that asks, None in a single call.
    classes: how many classes the loop that asks was told of, None in a single call or where it was not.
    carried: what strategies keep from one round of a loop for the next, each under its own name. No pick depends on it:
        a loop that is resumed starts with nothing in it. None in a single call.
    head: the description of the classifier of the loop that asks (pyal.loop.learner), None where there is none.
    classify: rows -> (m, C) probabilities of the round's classifier for rows that need not be in the pool, a column for
        each of proba. None in a single call, and for a learner that is asked by position.
    validation: what the round's classifier is worth on held-out rows (pyal.loop.validation), None where a loop was
        given none.
    answers: (N,) the labels of all rows, which a simulation has and nobody else.
    """

    X: Matrix
    labeled: NDArray[np.int64]
    candidates: NDArray[np.int64]
    y: NDArray[Any] | None = None
    proba: NDArray[Any] | None = None
    features: Matrix | None = None
    views: tuple[Matrix, ...] | None = None
    rules: Rules | None = None
    weights: NDArray[np.float64] | None = None
    balanced_by: NDArray[np.int64] | None = None
    n_jobs: int | None = None
    metric: str = "euclidean"
    first_batch: int | None = None
    classes: int | None = None
    carried: dict[str, Any] | None = None
    head: Mapping[str, Any] | None = None
    classify: Callable[[Matrix], NDArray[Any]] | None = None
    validation: Any = None
    answers: NDArray[Any] | None = None

    @property
    def n(self) -> int:
        return self.X.n

    @cached_property
    def is_labeled(self) -> NDArray[np.bool_]:
        return _mask(self.labeled, self.n)

    @cached_property
    def is_candidate(self) -> NDArray[np.bool_]:
        return _mask(self.candidates, self.n)

    @cached_property
    def sqnorms(self) -> NDArray[np.float64]:
        """(N,) squared norms of the rows, on the host."""
        return as_numpy(kernels.sqnorms(self.X, n_jobs=self.n_jobs), "X")

    @cached_property
    def n_classes(self) -> int | None:
        """The number of columns of proba, else of classes among the labels where there are two or more, else None."""
        if self.proba is not None:
            return int(self.proba.shape[-1])
        seen = 0 if self.y is None else len(set(self.y.tolist()))
        return seen if seen > 1 else None

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) the column of the largest probability, of the mean over passes; the lowest where several are."""
        out = np.empty(self.n, np.int64)
        for part, passes in self.proba_blocks():
            out[part] = passes.mean(axis=0).argmax(axis=1)
        return out

    def upkeep(self, batch_size: int, among: NDArray[np.int64] | None = None) -> Upkeep:
        """The rules, which are not None, at the beginning of a batch; among: the candidates looked at, if not all.

        The shares of classes are those of all candidates.
        """
        assert self.rules is not None
        predicted = self.balanced_by
        if predicted is None and self.rules.class_balance:
            predicted = self.predicted
        upkeep = Upkeep(self.rules, self.X, self.candidates, predicted, batch_size, self.n_jobs)
        upkeep.candidates = self.candidates if among is None else among
        return upkeep

    def in_turn(
        self,
        batch_size: int,
        next_picks: NextPicks,
        *,
        ahead: bool = True,
        one_by_one: bool = False,
        among: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Greedy picks under the rules, as if a row that breaks one had not been a candidate at that pick.

        There are fewer than batch_size where no candidate is left that keeps the rules. Picks are asked for in one go,
        and from where they first break a rule asked for again. ahead: whether some are then asked for that may not be
        taken; False asks for one at a time, for kernels that start afresh when their last picks were not taken.
        one_by_one: True does so from the first pick on, where candidates count that are not picked themselves.
        among: the candidates that are looked at, where that is a subset.
        """
        if self.rules is None:
            return next_picks(np.empty(0, np.int64), self.candidates if among is None else among, batch_size)
        upkeep, picked = self.upkeep(batch_size, among), np.empty(0, np.int64)
        at_once = 1 if one_by_one else batch_size
        while (left := batch_size - len(picked)) and len(upkeep.candidates):
            wanted = min(left, at_once, len(upkeep.candidates))
            taken = upkeep.take(found := next_picks(picked, upkeep.candidates, wanted))
            if not len(taken):
                raise ValueError(f"next_picks must return candidates that are left; it returned {first_few(found)}")
            at_once = 1 if one_by_one or not ahead else 2 * wanted if len(taken) == wanted else 2 * len(taken)
            picked = np.concatenate([picked, taken])
        return picked

    def proba_blocks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Slices of rows and their probabilities as float64, (T, m, C) with T = 1 for (N, C), a few MB at a time."""
        assert self.proba is not None
        return _proba_blocks(self.proba)


def checked_views(views: Any, X: Matrix) -> tuple[Matrix, ...]:
    """The views, one Matrix for each, on X's device; ValueError or TypeError for those that do not match X."""
    if not isinstance(views, (list, tuple)) and len(getattr(views, "shape", ())) != 3:
        shape = getattr(views, "shape", type(views).__name__)
        raise ValueError(f"views must be (V, N, d) or a list of (N, d) embeddings; got {shape}")
    found = tuple(kernels.checked_matrix(view, f"views[{v}]", device=X.device) for v, view in enumerate(views))
    if not found:
        raise ValueError("views must hold at least one view; got none")
    for v, view in enumerate(found):
        if (view.n, view.d) != (X.n, X.d):
            raise ValueError(f"views must have the shape of X, {(X.n, X.d)}, each; views[{v}] has {(view.n, view.d)}")
    return found


def checked_weights(weights: Any, n: int) -> NDArray[np.float64]:
    """(n,) float64 weights; ValueError or TypeError for those that are negative, infinite, NaN or all 0."""
    found = weights_checked(weights, n)
    if not found.any():
        raise ValueError("weights must not be all 0")
    return found


def metric_checked(metric: Any) -> str | None:
    """The metric, None for the strategy's own; a ValueError for one that is unknown."""
    if metric is not None and metric not in METRICS:
        raise ValueError(f"metric must be {', '.join(map(repr, METRICS))} or None; got {metric!r}")
    return None if metric is None else str(metric)


def as_they_are(rows: Matrix) -> Matrix:
    """The rows without the factors that `taken_with` may have given them."""
    return rows if rows.factor is None else dataclasses.replace(rows, factor=None, sqnorms=None)


def _labeled(y: Any, labeled: Any, n: int) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
    """Positions of the labelled rows and, where y is given, their labels."""
    positions = None if labeled is None else as_positions(labeled, n, "labeled")
    if y is None:
        return np.empty(0, np.int64) if positions is None else positions, None
    values, _ = label_values(y, n)
    if positions is None:
        positions = labeled_positions(y, n)
    elif not _plus_minus_one(values):  # there labeled= is what tells the class -1 from a hole
        by_y = labeled_positions(y, n)
        if not np.array_equal(positions, by_y):
            differ = np.setxor1d(positions, by_y)
            raise TypeError(
                f"y and labeled disagree on which rows are labelled (first at row {differ[0]}: "
                f"{len(positions)} by labeled, {len(by_y)} by y); give one of them"
            )
    return positions, values[positions]


def _plus_minus_one(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "i" and bool(((values == -1) | (values == 1)).all())


def probabilities_of(given: NDArray[Any]) -> NDArray[Any]:
    """The array itself, or what it holds the logarithms of: none is above 0, and the first row sums to 1."""
    if given.dtype.kind != "f" or given.ndim not in (2, 3) or 0 in given.shape:
        return given
    below = False
    for part in row_blocks(given.shape[-2], given.size // given.shape[-2]):
        block = given[..., part, :]
        if not (block <= 0).all():  # NaN too: check_proba names it
            return given
        below = below or bool((block < 0).any())
    total = np.exp(np.asarray(given[..., :1, :], np.float64)).sum(axis=-1)
    return np.exp(given) if below and (abs(total - 1) <= PROBA_TOLERANCE).all() else given


def check_proba(proba: NDArray[Any], n: int) -> None:
    """ValueError or TypeError for what is not (n, C) or (T, n, C) probabilities, naming the first row that is wrong."""
    shape = proba.shape
    if proba.dtype.kind not in "biuf":
        raise TypeError(f"proba must hold real numbers; got dtype {proba.dtype}")
    if proba.ndim not in (2, 3) or 0 in shape:
        hint = " (binary: np.stack([1 - p, p], axis=1))" if proba.ndim == 1 else ""
        raise ValueError(f"proba must be (N, C) or (T, N, C) with N = {n}; got shape {shape}{hint}")
    if shape[-2] != n:
        raise ValueError(f"proba must have one row per row of X, {n}; got shape {shape}")
    if shape[-1] < 2:
        raise ValueError(f"proba must have a column for each of at least 2 classes; got shape {shape}")
    for part in row_blocks(n, proba.size // n):
        if _sums_to_one(proba[..., part, :]):
            continue
        block = np.array(proba[..., part, :], np.float64, subok=False).reshape(-1, part.stop - part.start, shape[-1])
        total = block.sum(axis=-1)
        checks: tuple[tuple[Any, str], ...] = (
            (~np.isfinite(total), "be finite"),
            ((block < 0).any(axis=-1), "not be negative"),
            (abs(total - 1) > PROBA_TOLERANCE, "sum to 1 over the classes"),
        )
        for wrong, rule in checks:
            if wrong.any():
                row = int(np.argmax(wrong.any(axis=0)))
                step = int(np.argmax(wrong[:, row]))
                listed = first_few([f"{v:.4g}" for v in block[step, row]])
                raise ValueError(
                    f"proba must {rule}; row {part.start + row} sums to {total[step, row]:.6g} and holds {listed}"
                )


def _sums_to_one(block: NDArray[Any]) -> bool:
    """Whether these are probabilities without any doubt, told in the type they have."""
    if block.dtype.kind != "f" or block.dtype.itemsize not in (4, 8) or not block.min() >= 0:
        return False
    total = block @ np.ones(block.shape[-1], block.dtype)
    return bool((abs(total - 1) <= PROBA_TOLERANCE / 2).all())


def _proba_blocks(proba: NDArray[Any]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    passes = proba if proba.ndim == 3 else proba[None]
    for part in row_blocks(passes.shape[1], passes.shape[0] * passes.shape[2]):
        yield part, np.array(passes[:, part], dtype=np.float64, subok=False)


def _mask(positions: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, bool)
    mask[positions] = True
    return mask
