"""Every strategy against random from the first label to the 500th, balanced and long-tailed: what to use when.

The pools are the training sets of FashionMNIST and CIFAR-10, their first 50 principal components. In a long-tailed one
(_lt) class c of ten keeps 50^(-c/9) of its rows, drawn at random, so that the last has a fiftieth of the first; the
test set is balanced. Nothing is labelled at the start. Strategies that need a model pick at random until labels of two
classes are known. All are judged by one logistic regression; committees are five of it on bootstrap samples. The
strategies that look ahead look at 2,000 candidates, and refine filters twice by 27 batches, not five times by 100.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results_tables import TITLES
from sklearn.linear_model import LogisticRegression
from studies import embeddings

import pyal
from pyal.heads import Committee

OPTIONS = ("seeds", "rows", "n-jobs", "strategies", "sets")
QUICK = {"seeds": 1, "rows": 3000}
SETS = ("fashion_mnist", "cifar10", "fashion_mnist_lt", "cifar10_lt")
COLUMNS = 50  # the stored columns are principal components, in order
BATCH_SIZES = (20, 30, 50, 100, 100, 100, 100)
BUDGETS = (20, 50, 100, 200, 500)
IMBALANCE = 50
LESS: dict[str, dict[str, Any]] = {  # of what takes long
    "lookahead": {"subset": 2000},
    "ntkcpl": {"subset": 2000},
    "refine": {"rounds": 2, "batches": 27},
}


class Probe(LogisticRegression):  # type: ignore[misc]
    """A logistic regression that makes a committee of itself where a strategy asks for several passes."""

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Probe:
        self.seen_ = (X, y)
        super().fit(X, y)
        return self

    def stochastic_proba(self, X: NDArray[Any], random_state: int) -> NDArray[np.float64]:
        member = LogisticRegression(max_iter=self.max_iter)
        if getattr(self, "committee_", (None,))[0] != random_state:
            self.committee_ = random_state, Committee(member, random_state=random_state).fit(*self.seen_)
        return self.committee_[1].stochastic_proba(X)


def read(name: str, rows: int | None) -> dict[str, NDArray[Any]]:
    data = embeddings.read(name.removesuffix("_lt"), rows)
    data |= {part: np.ascontiguousarray(data[part][:, :COLUMNS]) for part in ("X", "X_test")}
    if name.endswith("_lt"):
        kept = long_tailed(data["y"])
        data |= {part: data[part][kept] for part in ("X", "y")}
    return data


def long_tailed(y: NDArray[Any]) -> NDArray[np.int64]:
    """Ascending positions of the rows that are left: floor(n_c IMBALANCE^(-c / (C - 1))) of class c.

    They are drawn, the same ones in every study: were they the first of their class, low positions, to which ties go,
    would be those of rare classes.
    """
    rng = np.random.default_rng(0)
    classes = np.unique(y)
    kept = [
        rng.permutation(rows)[: int(len(rows) * IMBALANCE ** (-c / (len(classes) - 1)))]
        for c, rows in enumerate(np.flatnonzero(y == name) for name in classes)
    ]
    return np.sort(np.concatenate(kept))


def strategies_of(names: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for strategy in pyal.list_strategies():
        if not names or strategy.name in names:
            found[strategy.name] = LESS.get(strategy.name, {})
    return found


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Mean accuracy at each budget, and its gain over random with the standard error of the pairs."""
    results = []
    for name in given.sets or SETS:
        data = read(name, given.rows)
        found = pyal.simulate(
            data["X"],
            data["y"],
            test=(data["X_test"], data["y_test"]),
            estimator=Probe(max_iter=1000),
            strategies=strategies_of(given.strategies),
            seeds=given.seeds,
            batch_sizes=list(BATCH_SIZES),
            n_jobs=given.n_jobs,
            workdir=out / f"which_strategy.{name}",
        )
        at = np.searchsorted(np.cumsum(BATCH_SIZES), BUDGETS)
        curves = found.curves()
        for strategy, accuracy in curves.items():
            gain = accuracy - curves["random"]
            error = gain.std(axis=0, ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.full(gain.shape[1], np.nan)
            results.append(
                {
                    "data": name,
                    "rows": len(data["X"]),
                    "strategy": strategy,
                    "accuracy": np.round(accuracy.mean(axis=0)[at], 4).tolist(),
                    "gain": np.round(gain.mean(axis=0)[at], 4).tolist(),
                    "error": np.round(error[at], 4).tolist(),
                }
            )
    (out / "which_strategy.png").write_bytes(picture(results))
    return {"seeds": given.seeds, "at": BUDGETS, "results": results}


def picture(results: list[dict[str, Any]]) -> bytes:
    """A PNG of all gains in points of accuracy: a line for each strategy, best first, a column for each budget."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(r["data"] for r in results))
    gains = {(r["strategy"], r["data"]): 100 * np.array(r["gain"]) for r in results if r["strategy"] != "random"}
    names = list(dict.fromkeys(name for name, _ in gains))
    names.sort(key=lambda name: -sum(float(gains[name, data].sum()) for data in sets))
    table = np.array([np.concatenate([gains[name, data] for data in sets]) for name in names])
    figure = Figure(figsize=(11, 0.24 * len(names) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(table, cmap="RdBu", vmin=-15, vmax=15, aspect="auto")
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            shade = "white" if abs(value) > 10 else "black"
            axes.text(column, row, f"{value:+.0f}", ha="center", va="center", fontsize=7, color=shade)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xticks(range(table.shape[1]), [str(b) for b in BUDGETS] * len(sets), fontsize=8)
    titles = axes.secondary_xaxis("top")
    titles.set_xticks(
        [len(BUDGETS) * (at + 0.5) - 0.5 for at in range(len(sets))],
        [TITLES.get(data, data) for data in sets],
        fontsize=9,
    )
    titles.tick_params(length=0)
    for at in range(1, len(sets)):
        axes.axvline(len(BUDGETS) * at - 0.5, color="black", linewidth=1)
    axes.set_xlabel("labels; points of accuracy above random")
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()
