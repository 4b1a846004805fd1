"""Examples to learn from: runs of a simulation that label one row at a time, and what each label has brought."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import n_jobs_checked, size
from pyal.loop.learner import description
from pyal.pool import Pool
from pyal.simulation.experiment import run_all
from pyal.simulation.plan import Plan, checked_plan
from pyal.simulation.workdir import opened_workdir
from pyal.surrogate.archives import in_json
from pyal.surrogate.examples import Examples
from pyal.surrogate.table import METRIC, RELATIVE_TO, STEP, Step, as_collected, table_of

HEURISTICS = ("entropy", "margin", "least_confidence", "typiclust", "coreset", "badge")


def collect(
    X: Any,
    y: Any,
    *,
    validation: Any,
    estimator: Any,
    strategies: Any = HEURISTICS,
    seeds: Any = 5,
    budget: int = 500,
    initial: int | str | None = 10,
    test: Any = None,
    subset: int | str | None = None,
    counterfactuals: int = 0,
    every: int = 1,
    relative_to: str = "pool",
    views: Any = None,
    start: str = "fresh",
    metric: str | None = None,
    name: str = "",
    n_jobs: int | None = 1,
    workdir: Any = None,
) -> Examples:
    """`Examples` of what one label brings: simulations with one label a round, and their gains on held-out rows.

    Each round gives an example of the row that the strategy picked: its `feature_table` before it was labelled, and
    what the label has changed. Gains are accuracy after less accuracy before, and loss before less loss after, so that
    more is better; the loss is the mean cross-entropy in nats (`pyal.metrics.cross_entropy`).

    X, y, estimator, strategies, seeds, initial, subset, views, start, metric: as for `pyal.simulate`; "random" is
        always among the strategies. The estimator must be a scikit-learn classifier. The repetitions are its seeds.
    validation: (X_validation, y_validation), the held-out rows that gains are measured on.
    budget: how many labels each run has in the end.
    test: (X_test, y_test), on which the runs that a workdir keeps are measured. None: on the validation rows.
    counterfactuals: how many candidates drawn at random are tried besides in a round: each alone is labelled, the gain
        is taken, and the label taken back. `pyal.heads.ClosedFormSoftmax` does that by updates of rank one, for
        thousands of candidates at once; any other classifier is fitted again for each.
    every: their gains are taken in every so many rounds.
    relative_to: "pool" or "candidates", as for `feature_table`: the 500 or so candidates of a round, where a strategy
        will look at no more later. Then counterfactuals must be tried, and the picks count among them.
    name: of these data, which the examples keep.
    n_jobs: runs at a time, as for `pyal.simulate`.
    workdir: a folder that keeps each finished run. Called again with it, collect does only what is missing, and returns
        what it would have returned at once.

    Rounds in which labels of fewer than two classes are known give no example. Raises what `pyal.simulate` raises, and
    RuntimeError where a run fails: examples of some runs are not those of all.
    """
    if relative_to not in RELATIVE_TO:
        raise ValueError(f"relative_to must be 'pool' or 'candidates'; got {relative_to!r}")
    tried = size(counterfactuals, "counterfactuals", 0)
    if relative_to == "candidates" and not tried:
        raise ValueError("relative_to='candidates' needs counterfactuals=, the candidates of a round")
    if validation is None:
        raise TypeError("validation must be (X_validation, y_validation); got None")
    logging = Logging(budget, tried, size(every, "every", 1), relative_to)
    plan = checked_plan(
        X,
        y,
        test=validation if test is None else test,
        validation=validation,
        estimator=estimator,
        strategies=strategies,
        seeds=seeds,
        batch_sizes=1,
        budget=budget,
        initial=initial,
        subset=subset,
        metric=metric,
        device=None,
        views=views,
        start=start,
        observing=logging,
    )
    domain = _domain(plan, logging, name)  # what it cannot hold is found before anything is run
    folder = None if workdir is None else opened_workdir(workdir, plan)
    runs, failed = run_all(plan, folder, n_jobs_checked(n_jobs), desc="collect")
    if failed:
        (strategy, seed), why = next(iter(failed.items()))
        raise RuntimeError(f"{len(failed)} of {len(plan.keys)} runs failed; {strategy}, seed {seed}: {why}")
    return _examples([runs[key] for key in plan.keys], domain)


@dataclass(frozen=True)
class Logging:
    """Makes the log of each run."""

    budget: int
    counterfactuals: int
    every: int
    relative_to: str

    def __call__(self, strategy: str, seed: int) -> Log:
        """The log of this run."""
        stream = zlib.crc32(strategy.encode())  # the draws of one run are not those of another
        return Log(self, np.random.default_rng([seed, stream]))

    def record(self) -> dict[str, Any]:
        """All that it is made of."""
        return dict(vars(self))


@dataclass
class Log:
    """The examples of one run, round by round, as lists that JSON holds."""

    asked: Logging
    rng: np.random.Generator
    columns: list[str] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    seen: int = 0

    def __call__(self, pool: Pool, batch: NDArray[np.int64]) -> None:
        """Logs the features of the row picked and of the candidates tried, and what these would bring."""
        at, self.seen = self.seen, self.seen + 1
        if pool.proba is None:
            self.rounds.append({})
            return
        pool, gains_taken = as_collected(pool), at % self.asked.every == 0
        tried = np.empty(0, np.int64)
        if gains_taken or self.asked.relative_to == "candidates":  # then the features of the pick need the others too
            others = np.setdiff1d(np.flatnonzero(~pool.is_labeled), batch)
            tried = np.sort(self.rng.choice(others, min(self.asked.counterfactuals, len(others)), replace=False))
        rows = np.concatenate([batch, tried])
        table = table_of(pool, rows, relative_to=self.asked.relative_to, step=Step(self.asked.budget))
        self.columns = list(table.columns)
        if not gains_taken:
            rows, tried = batch, tried[:0]
        found = {"n_labels": len(pool.labeled), "values": table.values[: len(rows)].tolist()}
        if len(tried):
            assert pool.answers is not None
            accuracy, loss = pool.validation.after_each(tried, pool.answers[tried])
            found["accuracy"] = (accuracy - pool.validation.accuracy).tolist()
            found["loss"] = (pool.validation.loss - loss).tolist()
        self.rounds.append(found)

    def result(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The examples, to which the history gives the gains of the rows picked."""
        for at, found in enumerate(self.rounds):
            if found:
                before, after = history[at]["metrics"], history[at + 1]["metrics"]
                gained = after["validation_accuracy"] - before["validation_accuracy"]
                fallen = before["validation_loss"] - after["validation_loss"]
                found["accuracy"] = [gained, *found.get("accuracy", [])]
                found["loss"] = [fallen, *found.get("loss", [])]
        return {"columns": self.columns, "rounds": [found for found in self.rounds if found]}


def _domain(plan: Plan, logging: Logging, name: str) -> dict[str, Any]:
    """What the examples are of."""
    shared = plan.shared
    return {
        "name": name,
        "columns_of_X": shared.X.d,
        "rows_of_X": shared.X.n,
        "head": in_json(description(shared.learner)),
        "metric": METRIC,
        "start": shared.start,
        "initial": plan.initial,
        **logging.record(),
    }


def _examples(runs: Sequence[Mapping[str, Any]], domain: dict[str, Any]) -> Examples:
    """All rounds of all runs as one table, in which each round of a run is a group."""
    columns = next((tuple(run["observed"]["columns"]) for run in runs if run["observed"]["rounds"]), STEP[:1])
    values, rows = [np.empty((0, len(columns)))], []
    group = 0
    for run in runs:
        for found in run["observed"]["rounds"]:
            values.append(np.array(found["values"], np.float64))
            for i in range(len(found["values"])):
                who = run["strategy"] if i == 0 else ""
                rows.append(
                    (found["accuracy"][i], found["loss"][i], run["seed"], who, found["n_labels"], i == 0, group)
                )
            group += 1
    accuracy, loss, seed, strategy, n_labels, picked, groups = zip(*rows, strict=True) if rows else [()] * 7
    return Examples(
        columns=columns,
        values=np.concatenate(values),
        gain_accuracy=np.array(accuracy, np.float64),
        gain_loss=np.array(loss, np.float64),
        seed=np.array(seed, np.int64),
        strategy=np.array(strategy, np.str_),
        n_labels=np.array(n_labels, np.int64),
        picked=np.array(picked, bool),
        group=np.array(groups, np.int64),
        domain=domain,
    )
