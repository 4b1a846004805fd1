"""Every strategy on embeddings of real images, from 20 to 200 labels: accuracy, seconds and memory.

    PYAL_DATA=... python bench/real_data.py [--quick]

The pools are the whole training sets of FashionMNIST and CIFAR-10 (60,000 and 50,000 rows of 128 columns). Strategies
that need no model pick 20, then 30, 50 and 100 more with their own picks labelled. Those that need probabilities, and
the random control, all start from the same 20 random labels and are given the probabilities of the current classifier,
a logistic regression; its accuracy on the test set is reported. The table goes to the screen, everything to JSON.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

import pyal

Array = NDArray[Any]

BUDGETS = (20, 50, 100, 200)
DATA_SETS = {"fashion_mnist": "FashionMNIST", "cifar10": "CIFAR-10"}
# Run besides the defaults: the purity heuristic of ProbCover picks a radius far below the authors' own on these data.
VARIANTS: dict[str, list[dict[str, Any]]] = {"probcover": [{"delta": 0.75}]}
RAW = ("coreset", "random")  # as their sources have it; the other strategies that look at distances normalise the rows
RESULTS = Path(__file__).resolve().parent / "results" / "real_data.json"


def labels_of(folder: Path, name: str) -> dict[str, Array]:
    """train and test labels; unpacked once and kept in the temporary folder."""
    kept = Path(tempfile.gettempdir()) / f"pyal-labels-{name}.npz"
    if not kept.exists():
        spec = importlib.util.spec_from_file_location("load", folder / "load.py")
        assert spec
        assert spec.loader
        load = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(load)
        labels = {split: getattr(load, name)(split)[1] for split in ("train", "test")}
        with tempfile.NamedTemporaryFile(dir=kept.parent, suffix=".npz", delete=False) as part:
            np.savez(part, **labels)
        os.replace(part.name, kept)
    with np.load(kept) as stored:
        return {split: stored[split] for split in ("train", "test")}


def read_data(folder: Path, name: str, rows: int | None) -> dict[str, Array]:
    """X, y, X_test, y_test; float32."""
    with np.load(folder / "features" / f"{name}.npz") as stored:
        X, X_test = stored["train"][:rows].astype(np.float32), stored["test"].astype(np.float32)
    labels = labels_of(folder, name)
    return {"X": X, "y": labels["train"][:rows], "X_test": X_test, "y_test": labels["test"]}


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
    named = strategy.name + "".join(f", {option}={value}" for option, value in options.items())
    return {"strategy": named, "metric": metric, **{key: [run[key] for run in runs] for key in runs[0]}}


def table(title: str, results: list[dict[str, Any]]) -> str:
    """Markdown: mean and standard deviation over the seeds, first the control."""
    head = [
        f"{title}",
        "metric",
        *(f"{budget} labels" for budget in BUDGETS),
        "first select",
        "last select",
        "extra memory",
    ]
    lines = [head, ["---"] * len(head)]
    for result in results:
        accuracy = np.array(result["accuracy"])
        spread = accuracy.std(axis=0, ddof=min(1, len(accuracy) - 1))
        seconds, extra = np.array(result["seconds"]), np.array(result["extra"])
        lines.append(
            [
                result["strategy"],
                result["metric"],
                *(f"{mean:.3f} ± {std:.3f}" for mean, std in zip(accuracy.mean(axis=0), spread, strict=True)),
                f"{np.median(seconds[:, 0]):.3f} s",
                f"{np.median(seconds[:, -1]):.3f} s",
                f"{extra.max() / 1e6:.0f} MB",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def chosen_metric(strategy: Any, asked: str | None) -> str:
    if asked:
        return asked
    return "euclidean" if strategy.name in RAW or "proba" in strategy.needs else "cosine"


def arguments_of(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Every strategy on embeddings of real images (PYAL_DATA).")
    parser.add_argument(
        "--quick", action="store_true", help="one seed, 5,000 rows, nothing written unless --out is given"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="only the first rows of each pool")
    parser.add_argument(
        "--metric", choices=["euclidean", "cosine"], help="for all strategies; default: as their sources"
    )
    parser.add_argument("--strategies", nargs="+", metavar="NAME", help="default: all that are registered")
    parser.add_argument("--sets", nargs="+", choices=list(DATA_SETS), default=list(DATA_SETS))
    parser.add_argument("--out", type=Path, help=f"JSON; default: {RESULTS.relative_to(RESULTS.parents[2])}")
    given = parser.parse_args(argv)
    if given.quick:
        given.seeds, given.rows = 1, given.rows or 5000
    elif given.out is None:
        given.out = RESULTS
    return given


def main(argv: list[str]) -> None:
    given = arguments_of(argv)
    if not os.environ.get("PYAL_DATA"):
        sys.exit("PYAL_DATA must name the folder of the data sets")
    folder = Path(os.environ["PYAL_DATA"])
    measure.limit_threads()
    strategies = [s for s in pyal.list_strategies() if not given.strategies or s.name in given.strategies]
    strategies.sort(key=lambda s: (s.name != "random", "proba" in s.needs, s.name))
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "command": "python bench/real_data.py " + shlex.join(argv),
        "machine": measure.machine(),
        "budgets": BUDGETS,
        "results": [],
    }
    for name in given.sets:
        data = read_data(folder, name, given.rows)
        results = []
        for strategy in strategies:
            for options in [{}, *VARIANTS.get(strategy.name, [])]:
                print(f"{DATA_SETS[name]}: {strategy.name} ...", file=sys.stderr, flush=True)
                metric = chosen_metric(strategy, given.metric)
                results.append(run_strategy(data, strategy, options, metric, given.seeds))
        print(table(DATA_SETS[name], results), end="\n\n", flush=True)
        report["results"] += [{"data": name, "rows": len(data["X"]), **result} for result in results]
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
