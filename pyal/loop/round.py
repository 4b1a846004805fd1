"""One round of a loop: fit, evaluate, predict, select. What it does follows from the run's settings and the state."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import Matrix
from pyal.loop.history import State
from pyal.loop.learner import activations, fitted, held_out_scores, probabilities
from pyal.loop.schedule import BatchSize, Stage, in_force
from pyal.selection import select


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Matrix, on the host or a device, and their labels."""

    X: Matrix
    y: NDArray[Any]


@dataclass(eq=False)
class Fit:
    """The estimator fitted to `labels` in a round, and what was measured of it; good for these labels only."""

    labels: Any
    round: int
    estimator: Any
    metrics: dict[str, float]
    seconds: dict[str, float]


@dataclass(eq=False)
class Rounds:
    """The settings of a run, all of them checked, and the last fit.

    X: the rows that strategies see (normalised with metric="cosine"); given: the rows that the estimator sees.
    allowed: (N,) True where a row may be picked at all. The rest is as in `pyal.Loop`.
    """

    X: Matrix
    given: Matrix
    estimator: Any
    stages: tuple[Stage, ...]
    sizes: tuple[BatchSize, ...]
    initial: Stage | None
    allowed: NDArray[np.bool_]
    subset: int | None
    classes: list[Any] | None
    test: HeldOut | Callable[[Any], Any] | None
    seed: int
    n_jobs: int | None
    fit: Fit | None = None

    def __post_init__(self) -> None:
        for stage in self.stages:
            if "proba" in stage.needs(1) and self.estimator is None:
                raise ValueError(f"strategy {stage.name!r} needs proba, so the loop needs estimator=, which is missing")
        if self.test is not None and self.estimator is None:
            raise ValueError("test needs estimator=, which is missing")
        if self.initial is not None and "proba" in self.initial.needs(1):
            raise ValueError(f"initial must be a strategy that needs no proba; {self.initial.name!r} does")
        largest = max(entry.rows for entry in self.sizes)
        if self.subset is not None and self.subset < largest:
            raise ValueError(f"subset must be at least batch_size, {largest}; got {self.subset}")

    def asked(self, state: State) -> dict[str, Any]:
        """The record of the round that follows `state`, with its batch; ValueError where there is none."""
        stage, rows = self._in_force(state)
        subset_rng, _, select_rng = _generators(self.seed, state.round)
        candidates = self._candidates(state, subset_rng)
        with_model = "proba" in stage.needs(len(state.labels)) or (
            not isinstance(stage.strategy, str) and _n_classes(state) > 1
        )
        fit = self._fitted(state) if with_model or self.test is not None else None
        seconds = {} if fit is None else dict(fit.seconds)
        proba, features = None, None
        if fit is not None and with_model:
            started = time.perf_counter()
            proba = probabilities(fit.estimator, self.given, self._known_classes(state))
            features = activations(fit.estimator, self.given)
            seconds["predict"] = time.perf_counter() - started
        started = time.perf_counter()
        batch = select(
            self.X,
            self._codes(state),
            labeled=sorted(state.labels),
            strategy=stage.strategy,
            batch_size=rows,
            candidates=candidates,
            proba=proba,
            features=features,
            random_state=select_rng,
            n_jobs=self.n_jobs,
            **stage.options,
        )
        seconds["select"] = time.perf_counter() - started
        return self._entry(state, fit, seconds, stage.name, batch.tolist())

    def evaluated(self, state: State) -> dict[str, Any]:
        """The record of the round that follows `state` before its batch is asked: metrics only."""
        if self.test is None:
            raise ValueError("evaluate() needs test=, which is missing")
        fit = self._fitted(state)
        if fit is None:
            raise ValueError("evaluate() needs labels, and none are known")
        return self._entry(state, fit, dict(fit.seconds))

    def _entry(
        self,
        state: State,
        fit: Fit | None,
        seconds: dict[str, float],
        strategy: str | None = None,
        batch: Sequence[int] = (),
    ) -> dict[str, Any]:
        return {
            "round": state.round,
            "strategy": strategy,
            "seed": self.seed,
            "n_labeled": len(state.labels),
            "n_classes": _n_classes(state),
            "batch": list(batch),
            "metrics": {} if fit is None else dict(fit.metrics),
            "seconds": seconds,
        }

    def _in_force(self, state: State) -> tuple[Stage, int]:
        """Strategy and batch size at this number of labels."""
        n_labeled, seen = len(state.labels), _n_classes(state)
        rows, stage = in_force(self.sizes, n_labeled), in_force(self.stages, n_labeled)
        if rows is None or stage is None:
            ended = "batch_size" if rows is None else "strategy"
            raise ValueError(f"the schedule of {ended} has ended: {n_labeled} rows are labelled")
        if "proba" not in stage.needs(n_labeled) or seen > 1:
            return stage, rows.rows
        if self.initial is None:
            raise ValueError(
                f"strategy {stage.name!r} needs proba, and labels of {seen} classes are known where a classifier "
                f"needs two: teach some, or say initial='random', or strategy=[('random', 20), ({stage.name!r}, None)]"
            )
        return self.initial, rows.rows

    def _fitted(self, state: State) -> Fit | None:
        """This round's estimator with its metrics, fitted once; None where there is nothing to fit."""
        labels = state.labels
        if self.estimator is None or not labels:
            return None
        if self.fit is None or self.fit.labels is not labels or self.fit.round != state.round:
            seed = int(_generators(self.seed, state.round)[1].integers(2**32))
            positions = np.array(sorted(labels), np.int64)
            started = time.perf_counter()
            model = fitted(self.estimator, self.given, positions, [labels[p] for p in positions.tolist()], seed)
            seconds = {"fit": time.perf_counter() - started}
            metrics = {}
            if self.test is not None:
                started = time.perf_counter()
                metrics = _metrics(self.test, model)
                seconds["evaluate"] = time.perf_counter() - started
            self.fit = Fit(labels, state.round, model, metrics, seconds)
        return self.fit

    def _candidates(self, state: State, rng: np.random.Generator) -> NDArray[np.int64]:
        """Ascending positions that may be picked in this round."""
        free = self.allowed.copy()
        free[list(state.labels)] = False
        free[list(state.skipped)] = False
        positions = np.flatnonzero(free).astype(np.int64, copy=False)
        if not len(positions):
            labeled, skipped = (int(self.allowed[list(rows)].sum()) for rows in (state.labels, state.skipped))
            raise ValueError(
                f"there is no row to pick: of {int(self.allowed.sum())} candidates {labeled} are labelled and "
                f"{skipped} skipped"
            )
        if self.subset is None or self.subset >= len(positions):
            return positions
        return np.sort(rng.choice(positions, self.subset, replace=False))

    def _known_classes(self, state: State) -> list[Any]:
        return sorted(set(state.labels.values())) if self.classes is None else self.classes

    def _codes(self, state: State) -> NDArray[np.int64]:
        """(N,) the column of proba of each label, -1 for a hole."""
        column = {label: i for i, label in enumerate(self._known_classes(state))}
        codes = np.full(self.X.n, -1, np.int64)
        for position, label in state.labels.items():
            codes[position] = column[label]
        return codes


def _metrics(test: HeldOut | Callable[[Any], Any], estimator: Any) -> dict[str, float]:
    if isinstance(test, HeldOut):
        return held_out_scores(estimator, test.X, test.y)
    found = test(estimator)
    return {str(k): float(v) for k, v in found.items()} if isinstance(found, dict) else {"test": float(found)}


def _n_classes(state: State) -> int:
    return len(set(state.labels.values()))


def _generators(seed: int, round_: int) -> list[np.random.Generator]:
    """Of one round: for the subset, the estimator and the strategy."""
    return [np.random.default_rng(child) for child in np.random.SeedSequence((seed, round_)).spawn(3)]
