"""An MLP head at 20 to 200 labels, picked by looking ahead and otherwise, on digits, FashionMNIST and CIFAR-10.

It measures what NTKCPL's Table 1 reports, on other embeddings: the test accuracy of `pyal.heads.MLPHead`, which is
trained from scratch each round and keeps its last weights. Batches have 20 labels up to 100, then 100; rows are
normalised. Strategies that need a model start from the 20 random labels of the control, as in the paper; coreset,
typiclust and ntkcpl pick from the first. An interrupted study goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from studies import embeddings

import pyal
from pyal.heads import MLPHead

OPTIONS = ("seeds", "rows", "n-jobs", "sets")
QUICK = {"seeds": 2, "rows": 3000}
START = 20
BATCH_SIZES = [(20, 100), (100, 200)]
METRIC = "cosine"


def after_random(strategy: str, **options: Any) -> dict[str, Any]:
    return {"strategy": [("random", START), (strategy, None, options)], "metric": METRIC}


STRATEGIES: dict[str, Any] = {
    "coreset": {"metric": METRIC, "first": "random"},
    "typiclust": {"metric": METRIC},
    "badge": after_random("badge"),
    "lookahead": after_random("lookahead"),
    "lookahead(change)": after_random("lookahead", objective="output_change"),  # what the paper calls LookAhead
    "ntkcpl(self)": {"strategy": "ntkcpl", "metric": METRIC, "initial_clusters": START},
    "ntkcpl(al)": {"strategy": "ntkcpl", "metric": METRIC, "initial_clusters": START, "cluster_on": "al"},
}


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Per data set the accuracies of every strategy, seed and number of labels; the folder lookahead keeps the runs."""
    results = []
    for name in given.sets or ("digits", "fashion_mnist", "cifar10"):
        data = embeddings.read(name, given.rows)
        begin = time.perf_counter()
        found = pyal.simulate(
            data["X"],
            data["y"],
            test=(data["X_test"], data["y_test"]),
            estimator=MLPHead(),
            strategies=STRATEGIES,
            seeds=given.seeds,
            batch_sizes=BATCH_SIZES,
            budget=BATCH_SIZES[-1][1],
            n_jobs=given.n_jobs,
            workdir=out / "lookahead" / name,
        )
        seconds = time.perf_counter() - begin
        curves = {strategy: np.round(curve, 4).tolist() for strategy, curve in found.curves().items()}
        results.append({"data": name, "rows": len(data["X"]), "seconds": round(seconds), "accuracy": curves})
        print(f"{name}, {seconds:.0f} s\n{found.summary()}\n", file=sys.stderr, flush=True)
    return {"budgets": found.n_labels.tolist(), "results": results}
