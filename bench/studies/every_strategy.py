"""Every strategy on embeddings of real images, from 20 to 200 labels: accuracy, seconds and memory.

The pools are the training sets of FashionMNIST and CIFAR-10 (60,000 and 50,000 rows of 128 columns). Strategies that
need no model pick 20 rows, then 30, 50 and 100 more with their own picks labelled. Those that need probabilities, and
the random control, start from the same 20 random labels and are given the probabilities of the current classifier, a
logistic regression, whose accuracy on the test set is reported. Rows are taken as the sources of the strategies take
them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np
from sklearn.linear_model import LogisticRegression
from studies import embeddings
from studies.embeddings import Array

import pyal

OPTIONS = ("seeds", "rows", "strategies", "sets", "metric")
QUICK = {"seeds": 1, "rows": 5000}
BUDGETS = (20, 50, 100, 200)
# Run besides the defaults: the authors' own radius, and the paper's rule, which finds one far below it on these data.
VARIANTS: dict[str, list[dict[str, Any]]] = {"probcover": [{"delta": 0.75}, {"delta": "purity"}]}


def fitted(X: Array, y: Array, labeled: Array) -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(X[labeled], y[labeled])


def run_seed(
    data: dict[str, Array], strategy: Any, options: dict[str, Any], metric: str, seed: int
) -> dict[str, list[float]]:
    """Accuracy at each budget; seconds and peak extra bytes of each selection (none where the start is given)."""
    X, y = data["X"], data["y"]
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"accuracy": [], "seconds": [], "extra": []}
    labeled = np.empty(0, np.int64)
    if "proba" in strategy.needs or strategy.name == "random":
        labeled = rng.choice(len(X), BUDGETS[0], replace=False)
    for budget in BUDGETS:
        if len(labeled) < budget:
            needs = strategy.needs + (strategy.needs_once_labeled if len(labeled) else ())
            proba = fitted(X, y, labeled).predict_proba(X) if "proba" in needs else None
            known = np.full(len(X), -1)
            known[labeled] = y[labeled]
            with measure.peak_memory() as peak:
                begin = time.perf_counter()
                picks = pyal.select(
                    X,
                    known,
                    strategy=strategy.name,
                    batch_size=budget - len(labeled),
                    proba=proba,
                    metric=metric,
                    random_state=seed,
                    n_jobs=measure.threads(),
                    **options,
                )
                found["seconds"].append(round(time.perf_counter() - begin, 6))
            found["extra"].append(float("nan") if peak.extra is None else peak.extra)
            labeled = np.concatenate([labeled, picks])
        assert len(np.unique(labeled)) == budget
        accuracy = fitted(X, y, labeled).score(data["X_test"], data["y_test"])
        found["accuracy"].append(round(float(accuracy), 4))
    return found


def run_strategy(
    data: dict[str, Array], strategy: Any, options: dict[str, Any], metric: str, seeds: int
) -> dict[str, Any]:
    runs = [run_seed(data, strategy, options, metric, seed) for seed in range(seeds)]
    of_seeds = {key: [run[key] for run in runs] for key in runs[0]}
    return {"strategy": named(strategy, options), "metric": metric, **of_seeds}


def named(strategy: Any, options: dict[str, Any]) -> str:
    """Its name, and the options that differ from its defaults."""
    return strategy.name + "".join(f", {option}={value}" for option, value in options.items())


def chosen_metric(strategy: Any, asked: str | None) -> str:
    return asked or strategy.metric


def run(given: argparse.Namespace, _: Path) -> dict[str, Any]:
    """Results by data set, strategy and options: accuracies, seconds and bytes of every seed."""
    strategies = [s for s in pyal.list_strategies() if not given.strategies or s.name in given.strategies]
    strategies.sort(key=lambda s: (s.name != "random", "proba" in s.needs, s.name))
    results = []
    for name in given.sets or ("fashion_mnist", "cifar10"):
        data = embeddings.read(name, given.rows)
        for strategy in strategies:
            for options in [{}, *VARIANTS.get(strategy.name, [])]:
                print(f"{name}: {named(strategy, options)} ...", file=sys.stderr, flush=True)
                metric = chosen_metric(strategy, given.metric)
                found = run_strategy(data, strategy, options, metric, given.seeds)
                results.append({"data": name, "rows": len(data["X"]), **found})
    return {"budgets": BUDGETS, "results": results}
