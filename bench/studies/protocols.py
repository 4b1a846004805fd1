"""Two published comparisons on frozen features, at their settings and on the features at hand.

boss: the comparison of dal-toolbox (BoSS), 10 random labels, then 10 a round up to 70, 1,000 candidates a round, the
mean accuracy of the seven evaluations. cdalbench: CDALBench's, one label a class, then 20 a round up to 500, all
candidates, the mean over the rounds. The head is a logistic regression on all columns, the pools are 10,000 rows. The
published figures are of other features (DINOv2, SimCLR), so that only orders can be compared. What decides these is
tried by changing one setting at a time: the budget, the candidates, the metric, the size of a round. One label a round
is CDALBench's other setting: 500 rounds, for the strategies whose figures are published, and two seeds at most.
--sets names settings as the table does.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from studies import embeddings

import pyal

OPTIONS = ("seeds", "rows", "n-jobs", "strategies", "sets")
QUICK = {"seeds": 1, "rows": 2000}
ROWS = 10_000
DATA = {"boss": "cifar10", "cdalbench": "fashion_mnist"}  # of which both print figures
NAMES = ("random", "margin", "coreset", "badge", "typiclust", "dropquery", "bait", "alfamix")
BOSS = {"initial": 10, "batch_sizes": 10, "budget": 70, "subset": 1000}
CDALBENCH = {"initial": "10 by class", "batch_sizes": 20, "budget": 510}


@dataclass(frozen=True)
class Setting:
    """Arguments of `pyal.simulate`, and what was published of them.

    metric: what all strategies are given, None for their own. only_published: whether other strategies are left out.
    seeds: at most so many are run, where a run takes long.
    """

    given: dict[str, Any]
    metric: str | None = None
    published: dict[str, float] = field(default_factory=dict)
    only_published: bool = False
    seeds: int | None = None


# By protocol, and what is changed of it.
SETTINGS: dict[tuple[str, str], Setting] = {
    ("boss", ""): Setting(
        BOSS, published=dict(zip(NAMES, (0.713, 0.745, 0.693, 0.748, 0.777, 0.789, 0.796, 0.783), strict=True))
    ),
    ("boss", "all candidates"): Setting({**BOSS, "subset": None}),
    ("boss", "up to 300 labels"): Setting({**BOSS, "budget": 300, "batch_sizes": 50, "initial": 50}),
    ("cdalbench", ""): Setting(
        CDALBENCH,
        published={"margin": 0.670, "badge": 0.665, "coreset": 0.651, "typiclust": 0.449, "random": 0.633},
    ),
    ("cdalbench", "up to 70 labels"): Setting({**CDALBENCH, "budget": 70}),
    ("cdalbench", "rows as they are"): Setting(CDALBENCH, metric="euclidean"),
    ("cdalbench", "100 a round"): Setting({**CDALBENCH, "batch_sizes": 100}),
    ("cdalbench", "one a round"): Setting(
        {**CDALBENCH, "batch_sizes": 1},
        published={"margin": 0.680, "badge": 0.680, "coreset": 0.684, "typiclust": 0.649, "random": 0.639},
        only_published=True,
        seeds=2,
    ),
}


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The mean accuracy over the rounds with its standard error, by protocol and strategy, best first."""
    names = given.strategies or [s.name for s in pyal.list_strategies() if s.name in NAMES]
    called = {f"{protocol}, {changed}" if changed else protocol: (protocol, changed) for protocol, changed in SETTINGS}
    unknown = [name for name in given.sets or () if name not in called]
    if unknown:
        sys.exit(f"--sets knows {'; '.join(called)}; got {unknown[0]!r}")
    results = []
    for name, (protocol, changed) in called.items():
        if name in (given.sets or called):
            folder = out / f"protocols.{protocol} {changed}".strip()
            results += _results(name, SETTINGS[protocol, changed], DATA[protocol], names, given, folder)
    return {"seeds": given.seeds, "results": results}


def _results(
    name: str, setting: Setting, data_set: str, strategies: list[str], given: argparse.Namespace, workdir: Path
) -> list[dict[str, Any]]:
    """The rows of one setting; its runs are kept in workdir."""
    data = embeddings.read(data_set, given.rows or ROWS)
    seeds = min(given.seeds, setting.seeds or given.seeds)
    found = pyal.simulate(
        data["X"],
        data["y"],
        test=(data["X_test"], data["y_test"]),
        estimator=LogisticRegression(max_iter=1000),
        strategies=[s for s in strategies if s in setting.published or not setting.only_published],
        seeds=seeds,
        metric=setting.metric,
        n_jobs=given.n_jobs,
        workdir=workdir,
        **setting.given,
    )
    means = {strategy: curves.mean(axis=1) for strategy, curves in found.curves().items()}
    results = []
    for strategy, mean in sorted(means.items(), key=lambda curve: -float(curve[1].mean())):
        error = mean.std(ddof=1) / np.sqrt(len(mean)) if len(mean) > 1 else float("nan")
        results.append(
            {
                "protocol": name,
                "strategy": strategy,
                "mean accuracy": f"{mean.mean():.3f} ± {error:.3f}",
                "published": setting.published.get(strategy, ""),
            }
        )
    return results
