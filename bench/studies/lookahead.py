"""An MLP head at 20 to 200 labels, picked by looking ahead and otherwise, on digits, FashionMNIST and CIFAR-10.

    PYAL_DATA=... python bench/lookahead_real_data.py -o OUT [--quick]

The table of NTKCPL's Table 1 on other embeddings: test accuracy of `pyal.heads.MLPHead` (the last weights, trained
anew each round), mean and standard deviation over five seeds; 20 labels a batch up to 100, then 100. Strategies that
need a model start from the 20 random labels of the control, as in the paper; coreset, typiclust and ntkcpl pick from
the first. digits is scikit-learn's (every other image is a test image); the others are the embeddings of
bench/real_data.py, whole pools. OUT: a folder; per data set runs (an interrupted call is taken up), table.csv and
summary.txt, and results.json of all.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np
from real_data import DATA_SETS, Array, read_data
from sklearn.datasets import load_digits

import pyal
from pyal.heads.probes import MLPHead

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
    "ntkcpl(self)": {"strategy": "ntkcpl", "metric": METRIC, "initial_clusters": START},
    "ntkcpl(al)": {"strategy": "ntkcpl", "metric": METRIC, "initial_clusters": START, "cluster_on": "al"},
}


def data_of(name: str, folder: Path, rows: int | None) -> dict[str, Array]:
    if name != "digits":
        return read_data(folder, name, rows)
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return {"X": X[::2], "y": y[::2], "X_test": X[1::2], "y_test": y[1::2]}


def arguments_of(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Looking ahead on digits, FashionMNIST and CIFAR-10 (PYAL_DATA).")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a folder; an interrupted run in it is taken up")
    parser.add_argument("--quick", action="store_true", help="two seeds, 3,000 rows")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="only the first rows of each pool")
    parser.add_argument("--n-jobs", type=int, default=measure.threads(), help="runs at a time; default: one per CPU")
    parser.add_argument("--sets", nargs="+", choices=["digits", *DATA_SETS], default=["digits", *DATA_SETS])
    given = parser.parse_args(argv)
    if given.quick:
        given.seeds, given.rows = 2, given.rows or 3000
    return given


def main(argv: list[str]) -> None:
    given = arguments_of(argv)
    if not os.environ.get("PYAL_DATA") and given.sets != ["digits"]:
        sys.exit("PYAL_DATA must name the folder of the data sets")
    measure.limit_threads()
    given.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "command": "python bench/lookahead_real_data.py " + shlex.join(argv),
        "machine": measure.machine(),
        "results": [],
    }
    for name in given.sets:
        data = data_of(name, Path(os.environ.get("PYAL_DATA", "")), given.rows)
        begin = time.perf_counter()
        found = pyal.simulate(
            data["X"],
            data["y"],
            test=(data["X_test"], data["y_test"]),
            estimator=MLPHead(),
            strategies=STRATEGIES,
            seeds=given.seeds,
            batch_sizes=BATCH_SIZES,
            budget=200,
            n_jobs=given.n_jobs,
            workdir=given.out / name,
        )
        seconds = time.perf_counter() - begin
        (given.out / f"{name}.txt").write_text(found.summary() + "\n")
        found.to_csv(str(given.out / f"{name}.csv"), force=True)
        curves = {strategy: np.round(curve, 4).tolist() for strategy, curve in found.curves().items()}
        report["results"].append({"data": name, "rows": len(data["X"]), "seconds": round(seconds), "accuracy": curves})
        print(f"{name}, {len(data['X'])} rows, {seconds:.0f} s\n{found.summary()}\n", flush=True)
    (given.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
