"""Strategies against random on FashionMNIST: 60,000 embeddings, their first 50 principal components, five seeds.

`pyal.simulate` from 20 random labels to 500 in batches of 10 to 100, accuracy on the 10,000 test images. An interrupted
study goes on. Strategies that look at distances are given normalised rows where their sources do that.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression
from studies import embeddings
from studies.every_strategy import VARIANTS, chosen_metric, named

import pyal
from pyal import plots
from pyal.heads import ClosedFormSoftmax

OPTIONS = ("seeds", "rows", "n-jobs", "strategies", "estimator")
QUICK = {"seeds": 2, "rows": 5000}
COLUMNS = 50  # the stored columns are principal components, in order
INITIAL = 20
BATCH_SIZES = [(10, 50), (25, 100), (50, 200), (100, 500)]


def strategies_of(names: list[str] | None) -> dict[str, Any]:
    """All that are registered, and a variant where the default is known to be far off."""
    found: dict[str, Any] = {}
    for strategy in sorted(pyal.list_strategies(), key=lambda s: ("proba" in s.needs, s.name)):
        if names and strategy.name not in names:
            continue
        for options in [{}, *VARIANTS.get(strategy.name, [])]:
            metric = chosen_metric(strategy, None)
            found[named(strategy, options)] = {"strategy": strategy.name, "metric": metric, **options}
    return found


def estimator_of(name: str) -> Any:
    return LogisticRegression(max_iter=1000) if name == "logistic" else ClosedFormSoftmax()


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The summary as lines, and what it took; the folder simulate_fashion keeps the runs, the table and the picture."""
    data = embeddings.read("fashion_mnist", given.rows)
    kept = out / "simulate_fashion"
    begin = time.perf_counter()
    found = pyal.simulate(
        data["X"][:, :COLUMNS].copy(),
        data["y"],
        test=(data["X_test"][:, :COLUMNS].copy(), data["y_test"]),
        estimator=estimator_of(given.estimator),
        strategies=strategies_of(given.strategies),
        seeds=given.seeds,
        initial=INITIAL,
        batch_sizes=BATCH_SIZES,
        budget=100 if given.quick else None,
        n_jobs=given.n_jobs,
        workdir=kept,
    )
    seconds = round(time.perf_counter() - begin, 1)
    found.to_csv(str(kept / "table.csv"), force=True)
    (out / "simulate_fashion.png").write_bytes(plots.comparison_image(found))
    summary = found.summary().split("\n")
    return {"rows": len(data["X"]), "columns": COLUMNS, "seconds": seconds, "summary": summary}
