"""The loop: ask for a batch, be taught its labels, fit, ask again; on disk at every step where a workdir is given."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import first_few, label_values, labeled_positions, plain_labels, positions_of
from pyal.loop.history import Record, State, fits, replay
from pyal.loop.journal import Journal, Mark, create_journal, open_journal, refuse_existing
from pyal.loop.learner import HeldOut, model
from pyal.loop.round import Observer, Rounds
from pyal.loop.setup import Setup, checked_setup, setup_from_record


class Loop:
    """Active learning by rounds: `query` gives the next batch, `teach` takes its labels, `history` says how it went.

    X: (N, d) embeddings, as for `pyal.select`. They are looked at once.
    estimator: a scikit-learn classifier (fit, predict, predict_proba, get_params), a learner, or None for strategies
        that need no model. A classifier is cloned and fitted to all labels, on X as given, in each round where the
        strategy or the test asks for it. A random_state of None in it is given the round's seed, and strategies get
        what its method `features(X)` returns, if it has one. A learner is asked by position and need not know X. It has
        `fit(positions, labels, *, unlabeled, seed)`, `predict_proba(positions)` with `classes_`, and perhaps
        `features(positions)`; pyal.loop.learner.Learner says the rest.
    strategy: a name out of `pyal.list_strategies()` or a callable; or a schedule of (strategy, until_n_labels) or
        (strategy, until_n_labels, options), each in force while fewer rows are labelled.
    batch_size: an integer, or a schedule of (batch_size, until_n_labels). A last limit other than None ends the loop.
    y: labels known from the start, with holes as in `pyal.select`.
    ids: one distinct text or integer per row.
    classes: all classes, where they are known beforehand: they fix the columns of proba. None: the classes seen so far,
        sorted.
    test: (X_test, y_test), for accuracy and balanced accuracy of a classifier in every round; or a callable of the
        fitted estimator or learner that returns a number or a dict of numbers.
    validation: (X_validation, y_validation), held-out rows that a strategy may go by, as "surrogate" does, so that they
        are no test. What the round's classifier is worth on them is in the history, as validation_accuracy and
        validation_loss: the mean cross-entropy in nats, as `pyal.metrics.cross_entropy` has it.
    metric: "euclidean" or "cosine", for the strategies. None: for each as its source does. A stage of a schedule may
        have its own, as "metric" among its options.
    candidates: positions or a boolean mask of what may be picked at all.
    subset: how many of these the strategy may pick from in a round: a number, or a multiple of the batch like "10b".
        They are drawn at random, or picked by a strategy: "10b by badge"; at random while that has no model to go by.
        None, or fewer than the batch: all. Where rules leave less than a batch of them, the strategy may pick from all.
    initial: the strategy while labels of fewer than two classes are known, where the one in force needs proba. None:
        such a round is an error.
    views, groups, max_per_group, min_distance, class_balance, weights: as in `pyal.select`, for every batch of its own.
        class_balance holds from the round in which labels of two classes are known.
    start: where the fit of a round begins. "fresh": a clone that is given the round's seed. "same": a clone that is
        given one seed in all rounds, which depends on random_state alone, so that initial weights are the same. "warm":
        the classifier of the last round goes on, by its own warm_start=True, or a clone where a class has come or gone;
        `pyal.heads.ClosedFormSoftmax` takes in what is new row by row, which equals a fit of all but for rounding; a
        learner is given it as start=, if its fit has that argument. A classifier without a warm_start that trains on is
        refused. With a workdir, a resumed loop makes the fits of all earlier rounds again before its first.
    random_state: None, an int, a Generator or a RandomState.
    device, n_jobs: as in `pyal.select`.
    workdir: a folder that keeps the loop, see below.
    options: the strategy's own, where it is not a schedule.

    Each round draws from generators of its own, made of random_state and the round's number, and fits labels in the
    order of their rows. The picks therefore do not depend on the order in which labels came, nor on restarts. Memory:
    O(N) beyond X, O(N C) where proba is needed.

    With a workdir every answer and every batch is on disk when the call returns, and `Loop.resume(workdir)` goes on
    after whatever ended the process. The folder keeps settings, labels and history as text. Of X it keeps the path or
    nothing, with a hash of all of it (above 4 GiB, of that much in evenly spaced blocks). A full disk is an OSError,
    and the loop is as it was. A folder that holds a loop, or that another process works in, is refused.

    >>> loop = Loop([[0.0], [1.0], [5.0], [6.0]], strategy="coreset", batch_size=2, y=["a", None, None, None])
    >>> loop.query()
    array([3, 1])
    >>> loop.teach([3], ["b"])
    >>> loop.outstanding
    array([1])
    """

    _journal: Journal | None

    def __init__(
        self,
        X: Any,
        estimator: Any = None,
        strategy: Any = "typiclust",
        batch_size: Any = 10,
        *,
        y: Any = None,
        ids: Any = None,
        classes: Any = None,
        test: Any = None,
        validation: Any = None,
        metric: str | None = None,
        candidates: Any = None,
        subset: int | str | None = None,
        initial: str | Callable[..., Any] | None = None,
        views: Any = None,
        groups: Any = None,
        max_per_group: int | None = None,
        min_distance: float | None = None,
        class_balance: bool = False,
        weights: Any = None,
        start: str = "fresh",
        random_state: Any = None,
        device: Any = None,
        n_jobs: int | None = None,
        workdir: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        if workdir is not None:
            refuse_existing(os.fspath(workdir))
        setup = checked_setup(
            X,
            estimator,
            strategy,
            batch_size,
            options=options,
            ids=ids,
            classes=classes,
            test=test,
            validation=validation,
            metric=metric,
            candidates=candidates,
            subset=subset,
            initial=initial,
            views=views,
            groups=groups,
            max_per_group=max_per_group,
            min_distance=min_distance,
            class_balance=class_balance,
            weights=weights,
            start=start,
            random_state=random_state,
            device=device,
            n_jobs=n_jobs,
        )
        self._begin(setup)
        known = [] if y is None else [self._known(y)]
        if workdir is not None:
            records = [setup.record(), *known]
            self._journal, mark = create_journal(os.path.abspath(workdir), records)
            self._now = replay(records), mark
        elif known:
            self._now = replay(known), Mark()

    @classmethod
    def of(cls, setup: Setup, observe: Observer | None = None) -> Loop:
        """A loop in memory, of what was checked before (pyal.loop.setup); nothing in it is looked at again.

        observe: is shown the pool and the batch of every round.
        """
        loop = cls.__new__(cls)
        loop._begin(setup, observe)
        return loop

    def _begin(self, setup: Setup, observe: Observer | None = None) -> None:
        self._setup = setup
        self._rounds = Rounds(setup, observe)
        self._position_of = {} if setup.ids is None else {name: i for i, name in enumerate(setup.ids)}
        self._journal = None
        self._now = State(), Mark()  # assigned as one: an interruption leaves both as they were

    @classmethod
    def resume(
        cls,
        workdir: str | os.PathLike[str],
        *,
        X: Any = None,
        estimator: Any = None,
        test: Any = None,
        validation: Any = None,
        views: Any = None,
        device: Any = None,
        n_jobs: int | None = None,
    ) -> Loop:
        """The loop of a workdir as its last `query`, `teach`, ... left it, on whatever day and however it ended.

        It picks what a loop would pick that was never interrupted.

        workdir: the folder.
        X, estimator, test, validation, views: to be passed again where they were given as arrays, or cannot be made
            from an import path and plain parameters.
        device, n_jobs: others than before. None: as before.

        Raises FileNotFoundError where there is no loop, and BlockingIOError where another process has it. Raises
        ValueError where X, the estimator or the test is not the one that the loop started with (it says what differs),
        where something is not found again, and where the file is damaged (it names the line) or of a newer format. A
        last record whose write was cut off, so that its call never returned, is dropped with a UserWarning.
        """
        journal, mark, records = open_journal(os.path.abspath(workdir))
        try:
            given = {"X": X, "estimator": estimator, "test": test, "validation": validation, "views": views}
            given |= {"device": device, "n_jobs": n_jobs}
            loop = cls.of(setup_from_record(records[0], **given))
            loop._now = replay(records), mark
            loop._rounds.behind = fits(records) if loop._setup.start == "warm" else []
            loop._journal = journal
        except BaseException:
            journal.close()
            raise
        return loop

    def close(self) -> None:
        """Lets another process, or another Loop, have the workdir; nothing else is needed to end a loop."""
        if self._journal is not None:
            self._journal.close()

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self._state
        return (
            f"<pyal.Loop: {self.n} rows, {len(state.labels)} labelled, {len(state.skipped)} skipped, "
            f"{len(state.outstanding)} outstanding, {state.round} rounds>"
        )

    @property
    def n(self) -> int:
        """The rows of X."""
        return self._setup.X.n

    @property
    def workdir(self) -> str | None:
        """The folder that keeps the loop, or None."""
        return None if self._journal is None else os.path.dirname(self._journal.path)

    @property
    def ids(self) -> list[Any] | None:
        """The id of each row, or None."""
        return None if self._setup.ids is None else list(self._setup.ids)

    @property
    def labels(self) -> NDArray[np.object_]:
        """(N,) labels, None where there is none; `pyal.select` takes it as y."""
        out = np.full(self.n, None, object)
        for position, label in self._state.labels.items():
            out[position] = label
        return out

    @property
    def labeled(self) -> NDArray[np.int64]:
        """Ascending positions of the labelled rows."""
        return np.array(sorted(self._state.labels), np.int64)

    @property
    def skipped(self) -> NDArray[np.int64]:
        """Ascending positions of the rows that were answered without a label; they are not asked again."""
        return np.array(sorted(self._state.skipped), np.int64)

    @property
    def outstanding(self) -> NDArray[np.int64]:
        """Positions that were asked and are not answered, in the order picked."""
        return np.array(self._state.outstanding, np.int64)

    @property
    def history(self) -> list[dict[str, Any]]:
        """A dict per round: round, strategy, seed, n_labeled, n_classes, batch, metrics, seconds.

        n_labeled, n_classes and metrics describe the state in which the batch was picked. After `evaluate` the last
        record has no batch (and strategy None) until the round's `query`. seconds has a number per phase: fit,
        evaluate, predict, select.
        """
        return [
            {**e, "batch": list(e["batch"]), "metrics": dict(e["metrics"]), "seconds": dict(e["seconds"])}
            for e in self._state.history
        ]

    @property
    def relabeled(self) -> list[dict[str, Any]]:
        """A dict per label that was changed: round, position, before, after (None: taken back, the row is skipped)."""
        return [dict(entry) for entry in self._state.relabeled]

    @property
    def estimator_(self) -> Any:
        """The estimator or learner as last fitted by `query` or `evaluate`, else None.

        Where one class is known it is a constant in place of a scikit-learn classifier.
        """
        return None if self._rounds.fit is None else model(self._rounds.fit.learner)

    def query(self) -> NDArray[np.int64]:
        """Positions to label next, int64, in the order picked: what is left of the last batch, else a new batch.

        Raises ValueError where no row is left, where a schedule has ended, and where the strategy needs proba and
        labels of fewer than two classes are known. A UserWarning says where fewer rows than wanted are left.
        """
        if not self._state.outstanding:
            self._record({"event": "query", "record": self._rounds.asked(self._state)})
        return self.outstanding

    def teach(self, rows: Any, labels: Any, *, by: str | None = None) -> None:
        """Takes labels of rows: part of a batch or all of it, in any order, and of any other rows too.

        rows: positions, or ids where the loop has them. Text is an id. An integer is a position, unless ids are
            integers.
        labels: one per row, numbers or text. None, NaN or pd.NA skips the row: it counts as answered and is not asked
            again. A new label replaces an old one, which `relabeled` keeps.
        by: "position" or "id", which must be said where ids are integers.

        Raises ValueError or TypeError, and takes nothing, for unknown rows, another number of labels, a row that comes
        twice with different labels, the integer -1 (a class, or a hole?), text among numbers, and a label outside
        `classes` where these are given.
        """
        positions = self._positions(rows, by)
        answer = self._taught(positions, plain_labels(labels, len(positions), "labels", "row taught"))
        if positions:
            self._record(answer)

    def unskip(self, rows: Any, *, by: str | None = None) -> None:
        """Lets skipped rows be asked again; rows as in `teach`. ValueError, and nothing done, for a row not skipped."""
        positions = self._positions(rows, by)
        wrong = [position for position in positions if position not in self._state.skipped]
        if wrong:
            raise ValueError(f"rows must be skipped ones; these are not: {first_few(wrong)}")
        if positions:
            self._record({"event": "unskip", "positions": positions})

    def discard(self) -> None:
        """Gives what is outstanding back to the pool: the next `query` picks a new batch."""
        if self._state.outstanding:
            self._record({"event": "discard"})

    def evaluate(self) -> dict[str, float]:
        """The metrics of the test with the labels known now, kept in `history`; ValueError without test or labels."""
        entry = self._rounds.evaluated(self._state)
        self._record({"event": "evaluate", "record": entry})
        return dict(entry["metrics"])

    @property
    def _state(self) -> State:
        return self._now[0]

    def _record(self, record: Record) -> None:
        """Takes a record: on disk first, then in memory."""
        state, mark = self._now
        state = state.after(record)
        if self._journal is not None:
            mark = self._journal.append(mark, {**record, "time": round(time.time(), 3)})
        self._now = state, mark

    def _known(self, y: Any) -> Record:
        """The record of the labels known from the start."""
        known = labeled_positions(y, self.n)
        labels = label_values(y, self.n)[0][known]
        return self._taught(known.tolist(), plain_labels(labels, len(known), "y", "labelled row"))

    def _taught(self, positions: list[int], labels: list[Any]) -> Record:
        """The record of an answer, each row once; ValueError or TypeError for labels that do not go together."""
        answer: dict[int, Any] = {}
        for position, label in zip(positions, labels, strict=True):
            if answer.setdefault(position, label) != label:
                raise ValueError(f"row {position} comes twice with different labels: {answer[position]!r}, {label!r}")
        new = [label for label in answer.values() if label is not None]
        classes, held_out = self._setup.classes, (self._setup.test, self._setup.validation)
        if classes is not None and not set(new) <= set(classes):
            wrong = [label for label in new if label not in set(classes)]
            raise ValueError(f"labels must be among the classes {first_few(classes)}; got {first_few(wrong)}")
        told = [label for one in held_out if isinstance(one, HeldOut) for label in one.y[:1].tolist()]
        before = [*list(self._state.labels.values())[:1], *told]
        if len({isinstance(label, str) for label in before + new}) > 1:
            shown = ", ".join(map(repr, [*before, *new][:5]))
            raise TypeError(f"labels must be all text or all numbers, here, in test and in validation; got {shown}")
        return {"event": "teach", "positions": list(answer), "labels": list(answer.values())}

    def _positions(self, rows: Any, by: str | None) -> list[int]:
        return positions_of(rows, self.n, self._position_of, by)
