"""One round of a loop: fit, evaluate, predict, select. What it does follows from the loop's setup and the state."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import Matrix
from pyal.loop.history import State
from pyal.loop.learner import EstimatorLearner, activations, fitted, in_columns, measured, probabilities
from pyal.loop.schedule import Stage, in_force
from pyal.loop.setup import Setup
from pyal.loop.validation import Validation
from pyal.pool import Pool
from pyal.rules import away_from
from pyal.selection import pick

Observer = Callable[[Pool, NDArray[np.int64]], None]


@dataclass(eq=False)
class Fit:
    """The learner fitted to `labels` in a round, and what was measured of it; good for these labels only."""

    labels: Any
    round: int
    learner: Any
    metrics: dict[str, float]
    seconds: dict[str, float]
    validation: Validation | None = None


@dataclass(eq=False)
class Rounds:
    """The rounds of a loop, and what one leaves to the next: the last fit, and what strategies carry.

    None of that changes a batch, and a loop that is resumed starts without it; but with start="warm" fits go on from
    each other. before: then the learner as the round before this one fitted it. behind: the rounds and labels of the
    fits that a resumed loop makes again, in order, before its first. observe: is shown what a batch was picked from,
    and the batch.
    """

    setup: Setup
    observe: Observer | None = None
    fit: Fit | None = None
    carried: dict[str, Any] = field(default_factory=dict)
    before: Any = None
    behind: list[tuple[int, Mapping[int, Any]]] = field(default_factory=list)

    def asked(self, state: State) -> dict[str, Any]:
        """The record of the round that follows `state`, with its batch; ValueError where there is none."""
        setup = self.setup
        stage, batch_size = self._in_force(state)
        subset_rng, _, select_rng, _ = _generators(setup.seed, state.round)
        candidates = self._candidates(state)
        rules = setup.rules_for(state.n_classes)
        by_model = bool(stage.needs_model(len(state.labels), views=bool(setup.views)))
        own = by_model or (not isinstance(stage.strategy, str) and state.n_classes > 1)  # what the strategy looks at
        balanced = rules is not None and rules.class_balance
        for_subset = state.n_classes > 1 and bool({"proba", "features"} & set(self._subset_needs(state)))
        observed = state.n_classes > 1 and self.observe is not None
        with_model = own or balanced or for_subset or observed
        judged = setup.test is not None or setup.validation is not None
        fit = self._fitted(state) if with_model or judged else None
        seconds = {} if fit is None else dict(fit.seconds)
        proba = features = None
        if fit is not None and with_model:
            started = time.perf_counter()
            asks_passes = stage.passes and by_model
            seed = int(_generators(setup.seed, state.round)[3].integers(2**32)) if asks_passes else None
            proba = probabilities(fit.learner, setup.X.n, self._known_classes(state), passes=seed)
            features = activations(fit.learner, setup.X)
            seconds["predict"] = time.perf_counter() - started
        started = time.perf_counter()
        labeled, y = self._labeled(state)
        metric = stage.metric(setup.metric)
        pool = Pool(
            X=setup.seen[metric],
            labeled=labeled,
            candidates=candidates,
            y=y,
            proba=proba,
            features=features,
            views=setup.views_seen[metric] if setup.views else None,
            rules=rules,
            weights=setup.weights,
            n_jobs=setup.n_jobs,
            metric=metric,
            first_batch=setup.batch_sizes[0].batch_size,
            classes=None if setup.classes is None else len(setup.classes),
            carried=self.carried,
            head=self.setup.head,
            classify=None if proba is None else self._classifier(fit, state),
            validation=None if fit is None or proba is None else fit.validation,
            answers=setup.answers,
        )
        batch = self._picked(pool, stage, own, state, batch_size, subset_rng, select_rng)
        seconds["select"] = time.perf_counter() - started
        if self.observe is not None:
            self.observe(pool, batch)
        return self._record(state, fit, seconds, stage.name, batch.tolist())

    def evaluated(self, state: State) -> dict[str, Any]:
        """The record of the round that follows `state` before its batch is asked: metrics only."""
        if self.setup.test is None and self.setup.validation is None:
            raise ValueError("evaluate() needs test= or validation=, which are missing")
        fit = self._fitted(state)
        if fit is None:
            raise ValueError("evaluate() needs labels, and none are known")
        return self._record(state, fit, dict(fit.seconds))

    def _record(
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
            "seed": self.setup.seed,
            "n_labeled": len(state.labels),
            "n_classes": state.n_classes,
            "batch": list(batch),
            "metrics": {} if fit is None else dict(fit.metrics),
            "seconds": seconds,
        }

    def _in_force(self, state: State) -> tuple[Stage, int]:
        """Strategy and batch size at this number of labels."""
        setup, n_labeled = self.setup, len(state.labels)
        entry, stage = in_force(setup.batch_sizes, n_labeled), in_force(setup.stages, n_labeled)
        if entry is None or stage is None:
            ended = "batch_size" if entry is None else "strategy"
            raise ValueError(f"the schedule of {ended} has ended: {n_labeled} rows are labelled")
        if not stage.needs_model(n_labeled) or state.n_classes > 1:
            return stage, entry.batch_size
        if setup.initial is None:
            asked = stage.needs_model(n_labeled)
            raise ValueError(
                f"strategy {stage.name!r} needs {asked}, and labels of {state.n_classes} classes are known where a "
                f"classifier needs two: teach some, or say initial='random', or strategy=[('random', 20), "
                f"({stage.name!r}, None)]"
            )
        return setup.initial, entry.batch_size

    def _fitted(self, state: State) -> Fit | None:
        """This round's learner with its metrics, fitted once; None where there is nothing to fit."""
        setup, labels = self.setup, state.labels
        if setup.learner is None or not labels:
            return None
        if self.fit is None or self.fit.labels is not labels or self.fit.round != state.round:
            self._catch_up(state.round)
            started = time.perf_counter()
            learner = self._trained(labels, state.round)
            seconds = {"fit": time.perf_counter() - started}
            started = time.perf_counter()
            metrics = {} if setup.test is None else measured(learner, setup.test)
            validation = self._validated(learner, labels, state.round)
            if validation is not None:
                metrics |= {"validation_accuracy": validation.accuracy, "validation_loss": validation.loss}
            if metrics:
                seconds["evaluate"] = time.perf_counter() - started
            self.fit = Fit(labels, state.round, learner, metrics, seconds, validation)
        return self.fit

    def _validated(self, learner: Any, labels: Mapping[int, Any], round_: int) -> Validation | None:
        """What the learner of this round is worth on the held-out rows for validation, where there are any."""
        held_out = self.setup.validation
        if held_out is None:
            return None
        start = {"start": learner} if self.setup.start == "warm" else None

        def refit(position: int, label: Any) -> Any:
            return self._trained({**labels, position: label}, round_, start)

        return Validation.of(held_out, learner, refit)

    def _classifier(self, fit: Fit | None, state: State) -> Callable[[Matrix], NDArray[Any]] | None:
        """What gives the probabilities that this round's classifier has for other rows."""
        if fit is None or not isinstance(fit.learner, EstimatorLearner):
            return None
        learner, classes = fit.learner, self._known_classes(state)
        return lambda rows: in_columns(learner.proba_of_rows(rows), learner, classes, rows.n)

    def _trained(self, labels: Mapping[int, Any], round_: int, start: dict[str, Any] | None = None) -> Any:
        """The learner fitted to these labels as in this round; start: what to go on from, not the last round's."""
        setup = self.setup
        if start is None:
            start = {"start": self.before} if setup.start == "warm" else {}
        seed = int(_generators(setup.seed, 0 if setup.start == "same" else round_)[1].integers(2**32))
        positions = np.array(sorted(labels), np.int64)
        known = [labels[p] for p in positions.tolist()]
        unlabeled = np.delete(np.arange(setup.X.n), positions)
        return fitted(setup.learner, positions, known, unlabeled=unlabeled, seed=seed, **start)

    def _catch_up(self, round_: int) -> None:
        """Sees to it that `before` is of the last round before this one that had a fit."""
        if self.setup.start != "warm":
            return
        while self.behind:
            earlier, labels = self.behind[0]
            self.before = self._trained(labels, earlier)
            self.behind = self.behind[1:]  # after the fit: an interruption leaves it to be made again
        if self.fit is not None and self.fit.round < round_:
            self.before = self.fit.learner

    def _subset_needs(self, state: State) -> tuple[str, ...]:
        """What the strategy that picks the subset needs, () where none does."""
        subset = self.setup.drawn_from
        return () if subset is None else subset.needs(labeled=bool(state.labels))

    def _picked(
        self,
        pool: Pool,
        stage: Stage,
        own: bool,
        state: State,
        batch_size: int,
        subset_rng: np.random.Generator,
        select_rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """The batch, out of the round's subset where there is one, and of all candidates where rules leave too few.

        pool: with all that was asked of the model. own: whether the strategy looks at that too, or rules and subset
        alone.
        """
        seen = pool
        if not own and pool.proba is not None:
            balanced = pool.rules is not None and pool.rules.class_balance
            seen = replace(
                pool,
                proba=None,
                features=None,
                classify=None,
                validation=None,
                balanced_by=pool.predicted if balanced else None,
            )
        subset = self.setup.drawn_from
        if subset is None:
            return pick(seen, stage.strategy, batch_size, rng=select_rng, options=stage.options)
        if any(getattr(pool, need) is None for need in self._subset_needs(state)) and state.n_classes < 2:
            subset = replace(subset, by=None)
        if pool.rules is not None:
            away = away_from(pool.labeled, pool.rules, pool.X, pool.candidates, n_jobs=pool.n_jobs)
            pool = replace(pool, candidates=away if len(away) else pool.candidates)
        some = replace(seen, candidates=subset.drawn(pool, batch_size, subset_rng))
        with warnings.catch_warnings():
            if len(some.candidates) < len(pool.candidates):
                warnings.filterwarnings("ignore", "the rules leave")
            batch = pick(some, stage.strategy, batch_size, rng=select_rng, options=stage.options)
        if len(batch) == batch_size or len(some.candidates) == len(pool.candidates):
            return batch
        return pick(seen, stage.strategy, batch_size, rng=select_rng, options=stage.options)

    def _candidates(self, state: State) -> NDArray[np.int64]:
        """Ascending positions that may be picked in this round."""
        setup = self.setup
        allowed = np.ones(setup.X.n, bool) if setup.allowed is None else setup.allowed
        free = allowed.copy()
        free[list(state.labels)] = False
        free[list(state.skipped)] = False
        positions = np.flatnonzero(free).astype(np.int64, copy=False)
        if not len(positions):
            labeled, skipped = (int(allowed[list(rows)].sum()) for rows in (state.labels, state.skipped))
            raise ValueError(
                f"there is no row to pick: of {int(allowed.sum())} candidates {labeled} are labelled and "
                f"{skipped} skipped"
            )
        return positions

    def _known_classes(self, state: State) -> list[Any]:
        return sorted(set(state.labels.values())) if self.setup.classes is None else self.setup.classes

    def _labeled(self, state: State) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ascending positions of the labelled rows, and for each the column of proba that its label has."""
        column = {label: i for i, label in enumerate(self._known_classes(state))}
        positions = sorted(state.labels)
        return np.array(positions, np.int64), np.array([column[state.labels[p]] for p in positions], np.int64)


def _generators(seed: int, round_: int) -> list[np.random.Generator]:
    """Of one round: for the subset, the learner, the strategy and the learner's passes."""
    return [np.random.default_rng(child) for child in np.random.SeedSequence((seed, round_)).spawn(4)]
