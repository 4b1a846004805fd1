"""A round of the loop, a query and its answer, against the same written out: fit, predict_proba, pyal.select.

What the loop adds is which rows may be picked, a record, and with a workdir two lines of its journal, each synced
before the call returns, at the speed of the disk that holds the temporary folder. typiclust needs no model, so that its
round is a selection alone; margin fits a head to 500 labels and asks it for all rows. The column answers has the
milliseconds of the phases in the round that was checked, the JSON their medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers import Peer
from pools import Pool

import pyal
from pyal.heads import ClosedFormSoftmax
from pyal.loop.journal import Journal

BATCH_SIZE, LABELED, CLASSES, SEED = 100, 500, 10, 0


def labels_of(X: np.ndarray) -> np.ndarray:
    """(N,) -1, and classes for LABELED rows."""
    rng = np.random.default_rng(SEED)
    y = np.full(len(X), -1)
    rows = rng.choice(len(X), min(LABELED, len(X) // 4), replace=False)
    y[rows] = (X[rows] @ rng.standard_normal((X.shape[1], CLASSES))).argmax(1)
    return y


def by_hand(X: np.ndarray, y: np.ndarray, strategy: str, batch_size: int, number: int, n_jobs: int) -> np.ndarray:
    """The picks of round `number`, drawn from the generator that a loop makes of its seed and the round."""
    known = np.flatnonzero(y >= 0)
    proba = None
    if strategy == "margin":
        proba = ClosedFormSoftmax("ridge").fit(X[known], y[known]).predict_proba(X)
    rng = np.random.default_rng(np.random.SeedSequence((SEED, number)).spawn(3)[2])
    return pyal.select(X, y, strategy=strategy, batch_size=batch_size, proba=proba, random_state=rng, n_jobs=n_jobs)


class Round:
    """The next round of one loop. discard() stands for the answer, so that every round has the same labels.

    The round has another number each time, so that the head is fitted and the strategy draws other random numbers.
    """

    def __init__(self, loop: pyal.Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = loop
        self.seconds: list[dict[str, float]] = []
        self.appending = 0.0
        append = Journal.append

        def timed_append(journal: Journal, *record: Any) -> Any:
            begin = time.perf_counter()
            mark = append(journal, *record)
            self.appending += time.perf_counter() - begin
            return mark

        monkeypatch.setattr(Journal, "append", timed_append)

    def __call__(self) -> tuple[int, np.ndarray]:
        """Its number and its picks."""
        self.appending, begin = 0.0, time.perf_counter()
        picks = self.loop.query()
        self.loop.discard()
        total = time.perf_counter() - begin
        entry = self.loop.history[-1]
        phases = {**entry["seconds"], "journal": self.appending}
        self.seconds.append({**phases, "other": total - sum(phases.values())})
        return entry["round"], picks

    def phases(self, last: int) -> dict[str, float]:
        """Median seconds of each phase in the last rounds."""
        return {name: statistics.median(s[name] for s in self.seconds[-last:]) for name in self.seconds[-1]}


BY_HAND = Peer("loop", "by hand", by_hand, note="fit, predict_proba and pyal.select; the ratio is what the loop adds")


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "workdir"])
@pytest.mark.parametrize("strategy", ["typiclust", "margin"])
def test_round(
    versus: Callable[..., Any],
    benchmark: Any,
    pool: Pool,
    strategy: str,
    kept: bool,
    n_jobs: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, batch_size = pool.X, min(BATCH_SIZE, len(pool.X) // 20)
    y = labels_of(X)
    options = {"random_state": SEED, "n_jobs": n_jobs, "workdir": tmp_path / "run" if kept else None}
    with pyal.Loop(X, ClosedFormSoftmax("ridge"), strategy, batch_size, y=y, **options) as loop:
        ours = Round(loop, monkeypatch)

        def theirs() -> np.ndarray:
            return by_hand(X, y, strategy, batch_size, 0, n_jobs)

        def agree(mine: Any, _: Any) -> str:
            """Random draws differ from round to round: my round is done by hand once more, and is equal."""
            number, picks = mine
            assert picks.tolist() == by_hand(X, y, strategy, batch_size, number, n_jobs).tolist()
            phases = ", ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in ours.phases(1).items())
            return f"equal picks; ms: {phases}"

        work = f"{strategy}, {pool}, {int((y >= 0).sum())} labels, b={batch_size}" + ", workdir" * kept
        versus("loop", work, ours, BY_HAND, theirs, agree)
        benchmark.extra_info["seconds_by_phase"] = ours.phases(benchmark.stats.stats.rounds)
