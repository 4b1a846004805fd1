"""One run of a simulation: one strategy with one seed, from its first label to its last."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.loop.loop import Loop
from pyal.rules import even_share
from pyal.selection import select
from pyal.simulation.comparison import COLUMNS, Run
from pyal.simulation.plan import Plan


def run(plan: Plan, strategy: str, seed: int, *, n_jobs: int | None = None) -> Run:
    """What the strategy picks and what its labels are worth, as `comparison` takes it. n_jobs: its threads."""
    observer = None if plan.observing is None else plan.observing(strategy, seed)
    loop = Loop.of(replace(plan.setups[strategy], seed=seed, n_jobs=n_jobs), observer)
    picks = []
    if plan.initial:
        first = _initial(plan, seed, n_jobs)
        loop.teach(first, plan.y[first])
        picks.append(first.tolist())
    for size in plan.batch_sizes:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the rules leave")  # an error follows
            batch = loop.query()
        if len(batch) < size:
            raise ValueError(
                f"the rules leave {len(batch)} rows for a batch of {size} at {len(loop.labeled)} labels: a run goes to "
                "the budget or not at all, so that runs can be compared"
            )
        loop.teach(batch, plan.y[batch])
        picks.append(batch.tolist())
    loop.evaluate()
    found: Run = {"strategy": strategy, "seed": seed, "records": _records(loop.history), "picks": picks}
    return found if observer is None else {**found, "observed": observer.result(loop.history)}


def _initial(plan: Plan, seed: int, n_jobs: int | None) -> NDArray[np.int64]:
    """Ascending positions of the labels that all strategies start from."""
    rng, by, n = np.random.default_rng(seed), plan.initial_by, len(plan.y)
    if by is None:
        return np.sort(rng.choice(n, plan.initial, replace=False))
    if by != "class":
        shared = plan.shared
        picks = select(
            shared.X, strategy=by, batch_size=plan.initial, metric=shared.metric, random_state=rng, n_jobs=n_jobs
        )
        return np.sort(picks)
    classes = np.unique(plan.y, return_inverse=True)[1]
    order = rng.permutation(n)
    share = even_share(np.bincount(classes), plan.initial)
    members = [order[classes[order] == c] for c in range(int(classes.max()) + 1)]
    whole = np.concatenate([rows[: share - 1] for rows in members])  # the share is the least that is enough
    last = np.array([rows[share - 1] for rows in members if len(rows) >= share])
    return np.sort(np.concatenate([whole, rng.permutation(last)[: plan.initial - len(whole)]]))


def _records(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A record per round with labels: what they were worth, and the seconds of choosing the last of them."""
    records = []
    before: Mapping[str, Any] = {}
    for entry in history:
        if entry["n_labeled"]:
            found = {
                "n_labels": entry["n_labeled"],
                **{name: _measured(entry["metrics"], name) for name in ("accuracy", "balanced_accuracy")},
                "seconds_select": before.get("select"),
                "seconds_predict": before.get("predict", 0.0) if before else None,
                "seconds_fit": entry["seconds"]["fit"],
            }
            records.append({column: found[column] for column in COLUMNS})
        before = entry["seconds"]
    return records


def _measured(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics:
        raise ValueError(f"test must return a dict with accuracy and balanced_accuracy; got {', '.join(metrics)}")
    return metrics[name]
