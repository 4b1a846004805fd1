"""Can what a label is worth be predicted? The surrogate of Coello de Portugal 2023, and what a perfect one would do.

Loops label one row at a time, from 10 random labels to the budget, on digits and on embeddings of FashionMNIST and
CIFAR-10, with the closed-form head on 50 principal components and with a linear head trained by AdamW. The test files
give 1,000 rows for validation, on which gains are measured, and others for the test. Models learn from the runs of
seeds 0 to 4 (of which 3 is for validation of the model, 4 for its test) and are tried on seeds 5 to 9, which begin with
other labels. An interrupted study goes on.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import results_tables
from numpy.typing import NDArray
from studies import embeddings

import pyal
from pyal import metrics, surrogate
from pyal.heads import ClosedFormSoftmax, LinearHead, MLPHead
from pyal.simulation.workdir import read_workdir

OPTIONS = ("seeds", "rows", "n-jobs", "sets", "budget", "parts")
QUICK = {"seeds": 3, "rows": 600, "budget": 40, "sets": ["digits"]}
ROWS, BUDGET, INITIAL = 2_000, 200, 10
SETS = ("digits", "fashion_mnist", "cifar10")
HEADS: dict[str, tuple[Any, str]] = {  # and where a fit begins
    "closed form": (ClosedFormSoftmax("solve", pca=50), "warm"),
    "AdamW": (LinearHead(optimizer="adamw", lr=1e-2, epochs=100), "same"),
    "pseudo-inverse": (ClosedFormSoftmax("pinv", pca=50), "warm"),
    "MLP": (MLPHead(optimizer="adamw", lr=1e-3, epochs=100, hidden_layer_sizes=(128,)), "same"),
}
BASELINES = ("random", *surrogate.HEURISTICS)
LABELS = (20, 50, 100, 150, 200)
BOUNDS = "What a perfect surrogate reaches: points of test accuracy above random, ± standard error"
IMPROVED = "What brings a surrogate nearer (all among 500 candidates; rank correlation within the candidates of a step)"
QUERIED = "The six models as strategies, among 500 candidates (figures 5.6 and 5.9)"
ERRORS = "Mean squared errors on the test repetition (of acc in squared shares, of loss in squared nats)"
RANKS = "Average rank by error over all settings, 0 is best (table 5.8)"
HEURISTIC = "Heuristics, one label a round: mean accuracy over the rounds (tables 5.6 and 5.10)"
AFTER_50 = "Closed form by solve and by the pseudo-inverse, from the 50th round on (table 5.12)"
CANDIDATES = "Closed form, heuristics among 500 candidates and among all (table 5.9)"
HELD_OUT = "Validation and test: correlations over all rounds of all heuristics"
ABLATION = "A linear head and an MLP, up to 100 labels (figure 5.8)"
TITLES = (BOUNDS, IMPROVED, QUERIED, ERRORS, RANKS, HEURISTIC, AFTER_50, CANDIDATES, HELD_OUT, ABLATION)


class Setting:
    """One pool with one head."""

    def __init__(self, data: str, head: str, given: argparse.Namespace, out: Path) -> None:
        found = embeddings.read(data, given.rows or ROWS)
        held = min(1_000, len(found["X_test"]) // 3)
        self.data, self.head, self.given = data, head, given
        self.X, self.y = found["X"], found["y"]
        self.validation = found["X_test"][:held], found["y_test"][:held]
        self.test = found["X_test"][held : 4 * held], found["y_test"][held : 4 * held]
        self.estimator, self.start = HEADS[head]
        self.folder = out / "surrogate" / f"{data}.{head}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.budget = given.budget or BUDGET
        self.curves: dict[str, dict[str, NDArray[Any]]] = {}

    def shared(self) -> dict[str, Any]:
        return {
            "validation": self.validation,
            "test": self.test,
            "estimator": self.estimator,
            "initial": INITIAL,
            "budget": self.budget,
            "start": self.start,
            "n_jobs": self.given.n_jobs,
        }

    def examples(self, kind: str, **asked: Any) -> surrogate.Examples:
        """Collected once; kind names the file and the folder of the runs."""
        path = self.folder / f"{kind}.npz"
        if not path.exists():
            begin = time.perf_counter()
            found = surrogate.collect(
                self.X,
                self.y,
                seeds=self.given.seeds,
                name=self.data,
                workdir=self.folder / kind,
                **{**self.shared(), **asked},
            )
            found.save(path)
            say(f"{self.data}, {self.head}: {kind}, {len(found)} examples, {time.perf_counter() - begin:.0f} s")
        return surrogate.load_examples(path)

    def model(self, name: str, examples: surrogate.Examples, variant: str, **asked: Any) -> Path:
        """The file of a model, fitted once."""
        path = self.folder / f"{name}.model"
        if not path.exists():
            surrogate.fit(examples, variant, **asked).save(path)
        return path

    def compared(self, strategies: Mapping[str, Any], kind: str = "runs", **asked: Any) -> dict[str, NDArray[Any]]:
        """Curves of test accuracy by strategy, (seeds, rounds), on seeds that no model has learned from."""
        begin = time.perf_counter()
        seeds = [self.given.seeds + seed for seed in range(self.given.seeds)]
        given = {**self.shared(), "seeds": seeds, "batch_sizes": 1, "workdir": self.folder / kind, **asked}
        found = pyal.simulate(self.X, self.y, strategies=dict(strategies), **given)
        say(f"{self.data}, {self.head}: {', '.join(strategies)}, {time.perf_counter() - begin:.0f} s")
        self.curves[kind] = found.curves()
        return self.curves[kind]


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The tables of the page surrogate.md."""
    tables: dict[str, list[dict[str, Any]]] = {}
    settings = [Setting(data, head, given, out) for head in ("closed form", "AdamW") for data in given.sets or SETS]
    for setting in settings:
        for part in (bounds, improved, queried, errors, ablation, baselines):
            if not given.parts or part.__name__ in given.parts:
                for title, rows in part(setting, out).items():
                    tables.setdefault(title, []).extend(rows)
    if ERRORS in tables:
        tables[RANKS] = ranks(tables[ERRORS])
        tables[ERRORS] = [in_short(row) for row in tables[ERRORS] if row["part"] == "test"]
    if not given.parts:
        (out / "surrogate.png").write_bytes(picture(settings))
    ordered = {title: with_cells(tables[title]) for title in TITLES if title in tables}
    return {"seeds": given.seeds, "tables": ordered}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def spread(values: NDArray[Any]) -> str:
    return f"{values.mean():.4f} ± {values.std(ddof=1) if len(values) > 1 else float('nan'):.4f}"


def gain(values: NDArray[Any], random: NDArray[Any]) -> str:
    """Points above random with the same seeds, and the standard error."""
    paired = 100 * (values - random)
    return f"{paired.mean():+.2f} ± {paired.std(ddof=1) / np.sqrt(len(paired)) if len(paired) > 1 else np.nan:.2f}"


def area(curves: NDArray[Any], start: int = 0) -> NDArray[Any]:
    """(seeds,) mean accuracy over the rounds from round `start` on."""
    return np.asarray(curves[:, min(start, curves.shape[1] - 1) :].mean(axis=1))


def collected(setting: Setting) -> surrogate.Examples:
    """Of all heuristics: what they picked, and where it is cheap, random candidates tried in every fifth step."""
    tried = {"counterfactuals": 30, "every": 5} if setting.head == "closed form" else {}
    return setting.examples("collected", **tried)


def of_picks(setting: Setting) -> surrogate.Examples:
    """The examples of the thesis."""
    found = collected(setting)
    return found.where(found.picked)


def baselines(setting: Setting, out: Path) -> dict[str, list[dict[str, Any]]]:
    """What heuristics reach, and whether gains on the validation rows are gains on the test rows."""
    examples = of_picks(setting)
    curves = read_workdir(setting.folder / "collected").curves()
    at = {"data": setting.data, "head": setting.head}
    found = {HEURISTIC: [{**at, **{name: spread(area(curves[name])) for name in BASELINES}}]}
    found[HELD_OUT] = [{**at, **correlations(examples, curves)}]
    if setting.head != "closed form":
        return found
    other = Setting(setting.data, "pseudo-inverse", setting.given, out)
    collected(other)
    inverse = read_workdir(other.folder / "collected").curves()
    found[AFTER_50] = [
        {"data": setting.data, "solver": solver, **{name: spread(area(some[name], 50)) for name in BASELINES}}
        for solver, some in (("solve", curves), ("pinv", inverse))
    ]
    few = setting.compared(
        {name: {} for name in surrogate.HEURISTICS}, "among500", subset=500, seeds=setting.given.seeds
    )
    found[CANDIDATES] = [
        {"data": setting.data, "candidates": count, **{name: spread(area(some[name])) for name in BASELINES}}
        for count, some in (("500", few), ("all", curves))
    ]
    return found


def correlations(examples: surrogate.Examples, curves: dict[str, NDArray[Any]]) -> dict[str, str]:
    """Between validation and test: of accuracies, and of what one label changes."""
    accuracy, gained = [], []
    for name, runs in curves.items():
        for seed, run_ in enumerate(runs):
            rows = examples.where((examples.strategy == name) & (examples.seed == seed))
            order = np.argsort(rows.n_labels)
            held = rows.values_of(["validation_accuracy"])[order, 0]
            accuracy.append((held, run_[: len(held)]))
            gained.append((rows.gain_accuracy[order], np.diff(run_)[: len(held)]))
    levels, steps = (
        np.corrcoef(*(np.concatenate(side) for side in zip(*pairs, strict=True))) for pairs in (accuracy, gained)
    )
    zero = np.concatenate([one for one, _ in gained])
    return {
        "correlation of accuracies": f"{levels[0, 1]:.3f}",
        "of the gains of one label": f"{steps[0, 1]:.3f}",
        "mean gain of one label": f"{100 * zero.mean():.3f} points",
        "its standard deviation": f"{100 * zero.std():.2f} points",
    }


def errors(setting: Setting, out: Path) -> dict[str, list[dict[str, Any]]]:  # noqa: ARG001
    """How far off the six models are, with the split of the thesis and with the honest one."""
    examples, rows = of_picks(setting), []
    for split in ("thesis", "honest"):
        models = [
            surrogate.load(setting.model(f"{split}.{variant}", examples, variant, split=split))
            for variant in surrogate.VARIANTS
        ]
        told = surrogate.evaluate(models, examples)
        rows += [{"data": setting.data, "head": setting.head, "split": split, **row} for row in told]
    return {ERRORS: rows}


def in_short(row: dict[str, Any]) -> dict[str, Any]:
    """What a table has room for."""
    said = {name: row[name] for name in ("data", "head", "split", "model")}
    figures = {name: row[name] for name in ("mse", "mse_of_mean", "explained", "spearman")}
    return {**said, **{name: f"{value:.3g}" for name, value in figures.items()}}


def ranks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Table 5.8: the mean rank of the inputs by error, over the settings; of training and test rows."""
    found = []
    for split in ("thesis", "honest"):
        every = surrogate.average_ranks([row for row in rows if row["split"] == split])
        for row in (row for row in every if row["part"] != "validation"):
            figures = {"average rank": f"{row['average_rank']:.2f}", "average MSE": f"{row['average_mse']:.3g}"}
            found.append({"split": split, **{name: row[name] for name in ("target", "part", "inputs")}, **figures})
    return found


def ablation(setting: Setting, out: Path) -> dict[str, list[dict[str, Any]]]:
    """The same strategies with a linear head and with an MLP, both by AdamW."""
    if setting.head != "AdamW":
        return {}
    found = []
    for head in ("AdamW", "MLP"):
        one = setting if head == setting.head else Setting(setting.data, head, setting.given, out)
        names = ("margin", "typiclust", "coreset")
        few = {"budget": min(100, one.budget)}
        curves = one.compared({name: {} for name in names}, "ablation", **few)
        found += [curve_row(one, name, curves) for name in ("random", *names)]
    return {ABLATION: found}


def curve_row(setting: Setting, name: str, curves: dict[str, NDArray[Any]], **first: Any) -> dict[str, Any]:
    """The area under a curve, its gain over random, and that at some numbers of labels."""
    own, random = curves[name], curves["random"]
    at = {
        f"{n} labels": gain(own[:, n - INITIAL], random[:, n - INITIAL]) for n in LABELS if n - INITIAL < own.shape[1]
    }
    n_labels = INITIAL + np.arange(own.shape[1])
    efficiency = metrics.label_efficiency(own, random, n_labels, float(random.mean(axis=0).max()))
    compared = {"over random": gain(area(own), area(random)), **at, "label efficiency": efficiency_in_words(efficiency)}
    return {
        **{"data": setting.data, "head": setting.head, "strategy": name, **first, "AUBC": spread(area(own))},
        **({} if name == "random" else compared),
    }


def efficiency_in_words(efficiency: float) -> str:
    """The labels that random needs for its best accuracy over those needed; - where it is never reached."""
    return f"{efficiency:.2f}" if np.isfinite(efficiency) else "-"


def with_cells(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with every cell that another one has."""
    names = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    return [{name: row.get(name, "") for name in names} for row in rows]


def queried(setting: Setting, out: Path) -> dict[str, list[dict[str, Any]]]:  # noqa: ARG001
    """The six models as strategies, among 500 random candidates a step as in the thesis."""
    examples = of_picks(setting)
    asked: dict[str, Any] = {"typiclust": {}}
    for variant in surrogate.VARIANTS:
        path = setting.model(f"honest.{variant}", examples, variant)
        asked[variant] = {"strategy": "surrogate", "model": str(path)}
    curves = setting.compared(asked, "queried")
    return {QUERIED: with_cells([curve_row(setting, name, curves) for name in ("random", *asked)])}


def bounds(setting: Setting, out: Path) -> dict[str, list[dict[str, Any]]]:  # noqa: ARG001
    """What a perfect surrogate would reach: the largest true gain of one label."""
    perfect = {
        "oracle_gain": {},
        "oracle_gain, loss": {"strategy": "oracle_gain", "target": "loss"},
        "oracle_loss": {},
        "typiclust": {},
    }
    asked: dict[str, Any] = {}
    if setting.head == "closed form":
        perfect["oracle_gain, 500 candidates"] = {"strategy": "oracle_gain", "subset": 500}
        perfect["oracle_gain, loss, 500 candidates"] = {**perfect["oracle_gain, loss"], "subset": 500}
    else:  # a fit for each candidate
        perfect["oracle_gain"] = {"subset": 20}
        perfect["oracle_gain, loss"] |= {"subset": 20}
        asked = {"budget": min(100, setting.budget)}
    curves = setting.compared(perfect, "bounds", **asked)
    return {BOUNDS: with_cells([curve_row(setting, name, curves) for name in ("random", *perfect)])}


def improved(setting: Setting, out: Path) -> dict[str, list[dict[str, Any]]]:
    """Which change of what is learned brings the model nearer to the bound; closed form alone, where it is cheap."""
    if setting.head != "closed form":
        return {}
    picked = of_picks(setting)
    sets = setting.given.sets or SETS
    every = {name: collected(Setting(name, setting.head, setting.given, out)) for name in sets}
    tried = {name: found.where(~found.picked) for name, found in every.items()}
    own = tried[setting.data]
    learned: dict[str, tuple[surrogate.Examples, str, dict[str, Any]]] = {}
    for target in ("acc", "loss"):
        variant = f"{target}_asnvalid"
        learned[f"{target}: of what heuristics picked"] = (picked, variant, {})
        learned[f"{target}: mean of ten labels"] = (picked.averaged(10), variant, {})
        learned[f"{target}: of random candidates"] = (own, variant, {})
        learned[f"{target}: and ranks as features"] = (own, variant, {"ranked": True})
        learned[f"{target}: and ranking them"] = (own, variant, {"objective": "ranking"})
        learned[f"{target}: and both"] = (own, variant, {"objective": "ranking", "ranked": True})
        others = [one for name, one in tried.items() if name != setting.data]
        if others:
            together = surrogate.concatenated(others)
            learned[f"{target}: the last, of the other data sets"] = (
                together, variant, {"objective": "ranking", "ranked": True},
            )  # fmt: skip
    paths = {
        name: setting.model(f"improved.{at}", examples, variant, **how)
        for at, (name, (examples, variant, how)) in enumerate(learned.items())
    }
    judged = own.of_seeds(setting.given.seeds - 1)
    told = {name: surrogate.evaluate([surrogate.load(path)], judged)[0] for name, path in paths.items()}
    curves = setting.compared(
        {name: {"strategy": "surrogate", "model": str(path)} for name, path in paths.items()}, "improved"
    )
    rows = [
        {
            **curve_row(setting, name, curves),
            **{key: f"{told[name][key]:.3f}" for key in ("spearman_within",) if key in told[name]},
        }
        for name in paths
    ]
    return {IMPROVED: with_cells(rows)}


def picture(settings: list[Setting]) -> bytes:
    """A PNG: test accuracy above random by labels, of the closed form, by what knows answers and what predicts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = {
        "bounds": {
            "oracle_gain": "largest true gain, accuracy",
            "oracle_gain, loss": "largest true gain, loss",
            "oracle_loss": "largest true loss of a row",
            "typiclust": "typiclust",
        },
        "queried": {"acc_asnvalid": "surrogate of the thesis, acc_asnvalid"},
        "improved": {"loss: and ranking them": "surrogate that ranks random candidates, loss"},
    }
    closed = [setting for setting in settings if setting.head == "closed form"]
    figure = Figure(figsize=(4 * len(closed), 3.4), layout="constrained")
    panels = figure.subplots(1, len(closed), squeeze=False)[0]
    for axes, setting in zip(panels, closed, strict=True):
        for kind, lines in drawn.items():
            curves = setting.curves[kind]
            for name, label in lines.items():
                gained = 100 * (curves[name] - curves["random"])
                n = INITIAL + np.arange(gained.shape[1])
                error = gained.std(axis=0, ddof=1) / np.sqrt(len(gained))
                (line,) = axes.plot(n, gained.mean(axis=0), label=label, linewidth=1.2)
                axes.fill_between(
                    n, gained.mean(axis=0) - error, gained.mean(axis=0) + error, color=line.get_color(), alpha=0.15
                )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(results_tables.TITLES.get(setting.data, setting.data), fontsize=10)
        axes.set_xlabel("labels", fontsize=9)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("points above random", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()
