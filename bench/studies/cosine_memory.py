"""Peak extra memory of select(metric="cosine") on 200,000 rows of 512 columns, beside the memory of another pyal.

Each call runs in a process of its own, on clusters whose rows have all norms, and picks ten rows. `--than` is the
Python of an environment in which the other pyal is installed. probcover and maxherding pick among every hundredth row,
which saves time but no memory, and probcover is given its radius.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pools

import pyal

OPTIONS = ("rows", "strategies", "than")
QUICK = {"rows": 20_000}
ROWS, DIM, BATCH_SIZE = 200_000, 512, 10
STRATEGIES: dict[str, dict[str, Any]] = {
    "coreset": {},
    "typiclust": {},
    "probcover": {"candidates": slice(None, None, 100), "delta": 0.75},
    "maxherding": {"candidates": slice(None, None, 100)},
}


def measured(strategy: str, rows: int) -> dict[str, Any]:
    """Peak extra bytes and seconds of one call."""
    X = pools.make_pool("blobs", rows, DIM).X
    X *= np.random.default_rng(1).uniform(0.5, 2, (rows, 1)).astype(np.float32)
    options = dict(STRATEGIES[strategy])
    if "candidates" in options:
        options["candidates"] = np.arange(rows)[options["candidates"]]
    given = {"strategy": strategy, "batch_size": BATCH_SIZE, "metric": "cosine", "random_state": 0}
    pyal.select(X[:1000], **given)  # what a first call loads is not counted
    with measure.peak_memory() as peak:
        begin = time.perf_counter()
        pyal.select(X, **given, **options)
        seconds = time.perf_counter() - begin
    return {"extra": peak.extra, "seconds": seconds}


def run_in(python: str, strategy: str, rows: int) -> dict[str, Any]:
    """`measured` in a new process of this Python."""
    environment = os.environ | {"PYTHONPATH": str(Path(measure.__file__).parent)}
    command = [python, "-m", "studies.cosine_memory", strategy, str(rows)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    print(f"{python} {strategy}: {found['extra'] / 1e6:.0f} MB, {found['seconds']:.1f} s", file=sys.stderr, flush=True)
    return found


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:  # noqa: ARG001
    rows = given.rows or ROWS
    results = []
    for strategy in given.strategies or STRATEGIES:
        row: dict[str, Any] = {"strategy": strategy, "rows": f"{rows:,} x {DIM}", "X": f"{rows * DIM * 4 / 1e6:.0f} MB"}
        for name, python in [("before", given.than), ("now", sys.executable)]:
            if python:
                row[name] = f"{run_in(python, strategy, rows)['extra'] / 1e6:.0f} MB"
        results.append(row)
    return {"results": results}


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
