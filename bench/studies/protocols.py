"""Two published comparisons on frozen features, at their settings and on the features at hand.

boss: the comparison of dal-toolbox (BoSS), 10 random labels, then 10 a round up to 70, 1,000 candidates a round, the
mean accuracy of the seven evaluations. cdalbench: CDALBench's, one label a class, then 20 a round up to 500, all
candidates, the mean over the rounds. The head is a logistic regression on all columns, the pools are 10,000 rows. The
published figures are of other features (DINOv2, SimCLR), so that only orders can be compared. What decides these is
tried by changing one setting at a time: the budget, the candidates, the metric, the size of a round.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from studies import embeddings

import pyal

OPTIONS = ("seeds", "rows", "n-jobs", "strategies")
QUICK = {"seeds": 1, "rows": 2000}
ROWS = 10_000
DATA = {"boss": "cifar10", "cdalbench": "fashion_mnist"}  # of which both print figures
NAMES = ("random", "margin", "coreset", "badge", "typiclust", "dropquery", "bait", "alfamix")
PUBLISHED = {
    "boss": dict(zip(NAMES, (0.713, 0.745, 0.693, 0.748, 0.777, 0.789, 0.796, 0.783), strict=True)),
    "cdalbench": {
        "margin": 0.670, "badge": 0.665, "coreset": 0.651, "typiclust": 0.449, "random": 0.633
    },
}  # fmt: skip
BOSS = {"initial": 10, "batch_sizes": 10, "budget": 70, "subset": 1000}
CDALBENCH = {"initial": "10 by class", "batch_sizes": 20, "budget": 510}
# protocol and what is changed: the settings, and the metric that all strategies are given (None: their own)
SETTINGS: dict[tuple[str, str], tuple[dict[str, Any], str | None]] = {
    ("boss", ""): (BOSS, None),
    ("boss", "all candidates"): ({**BOSS, "subset": None}, None),
    ("boss", "up to 300 labels"): ({**BOSS, "budget": 300, "batch_sizes": 50, "initial": 50}, None),
    ("cdalbench", ""): (CDALBENCH, None),
    ("cdalbench", "up to 70 labels"): ({**CDALBENCH, "budget": 70}, None),
    ("cdalbench", "rows as they are"): (CDALBENCH, "euclidean"),
    ("cdalbench", "100 a round"): ({**CDALBENCH, "batch_sizes": 100}, None),
}


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The mean accuracy over the rounds with its standard error, by protocol and strategy, best first."""
    names = given.strategies or [s.name for s in pyal.list_strategies() if s.name in NAMES]
    results = []
    for (protocol, changed), (settings, metric) in SETTINGS.items():
        data = embeddings.read(DATA[protocol], given.rows or ROWS)
        found = pyal.simulate(
            data["X"],
            data["y"],
            test=(data["X_test"], data["y_test"]),
            estimator=LogisticRegression(max_iter=1000),
            strategies=names,
            seeds=given.seeds,
            metric=metric,
            n_jobs=given.n_jobs,
            workdir=out / f"protocols.{protocol} {changed}".strip(),
            **settings,
        )
        means = {name: curves.mean(axis=1) for name, curves in found.curves().items()}
        for name, seeds in sorted(means.items(), key=lambda mean: -float(mean[1].mean())):
            error = seeds.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else float("nan")
            results.append(
                {
                    "protocol": f"{protocol}, {changed}" if changed else protocol,
                    "strategy": name,
                    "mean accuracy": f"{seeds.mean():.3f} ± {error:.3f}",
                    "published": "" if changed else PUBLISHED[protocol].get(name, ""),
                }
            )
    return {"seeds": given.seeds, "results": results}
