"""Strategies against random on FashionMNIST: 60,000 embeddings, their first 50 principal components, five seeds.

    PYAL_DATA=... python bench/simulate_fashion.py -o OUT [--quick]

`pyal.simulate` from 20 random labels to 500 in batches of 10 to 100, accuracy on the 10,000 test images. OUT is a
folder: runs/ (resumable: an interrupted call is taken up), table.csv, summary.txt, curves.png, and run.json with the
command, the machine and the seconds. Strategies that look at distances are given normalised rows where their sources
do that, as in bench/real_data.py.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import measure
from real_data import VARIANTS, chosen_metric, read_data

import pyal
from pyal import plots

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
            name = strategy.name + "".join(f", {option}={value}" for option, value in options.items())
            found[name] = {"strategy": strategy.name, "metric": chosen_metric(strategy, None), **options}
    return found


def estimator_of(name: str) -> Any:
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1000)
    if importlib.util.find_spec("pyal.heads") is None:
        sys.exit("--estimator closed_form needs pyal.heads")
    return importlib.import_module("pyal.heads").ClosedFormSoftmax()


def arguments_of(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Strategies against random on FashionMNIST (PYAL_DATA).")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a folder; an interrupted run in it is taken up")
    parser.add_argument("--quick", action="store_true", help="two seeds, 5,000 rows, up to 100 labels")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="only the first rows of the pool")
    parser.add_argument("--n-jobs", type=int, default=measure.threads(), help="runs at a time; default: one per CPU")
    parser.add_argument("--strategies", nargs="+", metavar="NAME", help="default: all that are registered")
    parser.add_argument("--estimator", choices=("logistic", "closed_form"), default="logistic")
    given = parser.parse_args(argv)
    if given.quick:
        given.seeds, given.rows = 2, given.rows or 5000
    return given


def main(argv: list[str]) -> None:
    given = arguments_of(argv)
    if not os.environ.get("PYAL_DATA"):
        sys.exit("PYAL_DATA must name the folder of the data sets")
    data = read_data(Path(os.environ["PYAL_DATA"]), "fashion_mnist", given.rows)
    measure.limit_threads()
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
        workdir=given.out,
    )
    seconds = time.perf_counter() - begin
    found.to_csv(str(given.out / "table.csv"), force=True)
    (given.out / "summary.txt").write_text(found.summary() + "\n")
    (given.out / "curves.png").write_bytes(plots.comparison_image(found))
    report = {
        "date": datetime.date.today().isoformat(),
        "command": "python bench/simulate_fashion.py " + shlex.join(argv),
        "machine": measure.machine(),
        "rows": len(data["X"]),
        "columns": COLUMNS,
        "seconds": round(seconds, 1),
    }
    (given.out / "run.json").write_text(json.dumps(report, indent=1) + "\n")
    print(found.summary())
    print(f"\n{seconds:.0f} s in this call; table, summary and plot in {given.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
