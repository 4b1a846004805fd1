"""What one select() costs with every strategy: seconds and peak memory, with nothing and with 100 rows labelled.

50,000 rows of 512 columns, 80 overlapping blobs on the unit sphere, a batch of 100, one call each after a small one.
What needs probabilities is given those of a linear model with random weights; committees get five passes.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import measure
import numpy as np
from numpy.typing import NDArray
from pools import make_pool

import pyal
from pyal.strategies import Strategy

OPTIONS = ("rows", "strategies")
QUICK = {"rows": 2000}
ROWS, COLUMNS, BATCH_SIZE, LABELED, CLASSES, PASSES = 50_000, 512, 100, 100, 10, 5


def model_of(X: NDArray[Any], passes: bool) -> NDArray[Any]:
    """(N, C) probabilities of a linear model, or (T, N, C) of several that are like each other."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((X.shape[1], CLASSES)).astype(np.float32)
    apart = 0.3 * rng.standard_normal((PASSES if passes else 1, *weights.shape)).astype(np.float32)
    logits = X @ (weights + apart)
    logits *= 3 / logits.std()
    proba = np.exp(logits - logits.max(axis=-1, keepdims=True))
    proba /= proba.sum(axis=-1, keepdims=True)
    return proba if passes else proba[0]


def cost(strategy: Strategy, X: NDArray[Any], labeled: int) -> tuple[float, int | None]:
    """(seconds, peak extra bytes) of a call."""
    given: dict[str, Any] = {}
    if labeled:
        rows = np.arange(0, len(X), len(X) // labeled)[:labeled]
        given["y"] = np.full(len(X), -1)
        given["y"][rows] = np.arange(labeled) % CLASSES
    if "proba" in strategy.needed({}, labeled=labeled > 0):
        given["proba"] = model_of(X, strategy.passes)
    batch_size = min(BATCH_SIZE, len(X) // 20)
    with warnings.catch_warnings(), measure.peak_memory() as peak:
        warnings.simplefilter("ignore", UserWarning)
        begin = time.perf_counter()
        picks = pyal.select(X, strategy=strategy.name, batch_size=batch_size, random_state=0, **given)
        seconds = time.perf_counter() - begin
    assert len(set(picks.tolist())) == batch_size
    return seconds, peak.extra


def run(given: argparse.Namespace, _: Path) -> dict[str, Any]:
    """A row for each strategy, by family."""
    X = make_pool("blobs", given.rows or ROWS, COLUMNS).X
    strategies = [s for s in pyal.list_strategies() if not given.strategies or s.name in given.strategies]
    results = []
    for strategy in sorted(strategies, key=lambda s: (s.family, s.name)):
        found = {}
        for labeled in (0, LABELED):
            cost(strategy, X[:1000], min(labeled, 20))  # what a first call pays for good
            print(f"{strategy.name}, {labeled} labelled ...", file=sys.stderr, flush=True)
            seconds, extra = cost(strategy, X, labeled)
            found[f"seconds, {labeled} labelled"] = f"{seconds:.3g}"
            found[f"MB, {labeled} labelled"] = "-" if extra is None else f"{extra / 1e6:.0f}"
        results.append({"family": strategy.family, "strategy": f"`{strategy.name}`", **found})
    return {"rows": len(X), "columns": COLUMNS, "results": results}
