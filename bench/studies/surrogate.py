"""Can what a label is worth be predicted? The surrogate of Coello de Portugal 2023, and what a perfect one would do.

Loops label one row at a time, from 10 random labels to the budget, on digits and on embeddings of FashionMNIST and
CIFAR-10, with the closed-form head on 50 principal components and with a linear head trained by AdamW. The test files
give 1,000 rows for validation, on which gains are measured, and others for the test. Models learn from the runs of
seeds 0 to 4 (of which 3 is for validation of the model, 4 for its test) and are tried on seeds 5 to 9, which begin with
other labels. An interrupted study goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies import embeddings

import pyal
from pyal import surrogate
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
        return found.curves()


def run(given: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The tables of the page surrogate.md."""
    tables: dict[str, list[dict[str, Any]]] = {}
    settings = [Setting(data, head, given, out) for head in ("closed form", "AdamW") for data in given.sets or SETS]
    for setting in settings:
        for part in (bounds, improved, queried, errors, baselines):
            if not given.parts or part.__name__ in given.parts:
                for title, rows in part(setting, out).items():
                    tables.setdefault(title, []).extend(rows)
    if "errors" in tables:
        tables.update(ranks(tables))
    return {"seeds": given.seeds, "tables": {title: with_cells(rows) for title, rows in tables.items()}}


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
    found = {"baselines": [{**at, **{name: spread(area(curves[name])) for name in BASELINES}}]}
    found["validation and test"] = [{**at, **correlations(examples, curves)}]
    if setting.head != "closed form":
        return found
    other = Setting(setting.data, "pseudo-inverse", setting.given, out)
    collected(other)
    inverse = read_workdir(other.folder / "collected").curves()
    found["solve and pseudo-inverse"] = [
        {"data": setting.data, "solver": solver, **{name: spread(area(some[name], 50)) for name in BASELINES}}
        for solver, some in (("solve", curves), ("pinv", inverse))
    ]
    few = setting.compared(
        {name: {} for name in surrogate.HEURISTICS}, "among500", subset=500, seeds=setting.given.seeds
    )
    found["candidates"] = [
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
    return {"errors": rows}


def ranks(tables: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Table 5.8: the mean rank of the inputs by error, over the settings."""
    return {
        "ranks": [
            {"split": split, **row}
            for split in ("thesis", "honest")
            for row in surrogate.average_ranks([row for row in tables["errors"] if row["split"] == split])
        ]
    }


LABELS = (20, 50, 100, 150, 200)


def curve_row(setting: Setting, name: str, curves: dict[str, NDArray[Any]], **first: Any) -> dict[str, Any]:
    """The area under a curve, its gain over random, and that at some numbers of labels."""
    own, random = curves[name], curves["random"]
    at = {
        f"{n} labels": gain(own[:, n - INITIAL], random[:, n - INITIAL]) for n in LABELS if n - INITIAL < own.shape[1]
    }
    area_ = gain(area(own), area(random)) if name != "random" else ""
    return {"data": setting.data, "head": setting.head, "strategy": name, **first, "AUBC": spread(area(own)),
            "over random": area_, **({} if name == "random" else at)}  # fmt: skip


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
    return {"queried": with_cells([curve_row(setting, name, curves) for name in ("random", *asked)])}


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
        asked = {"budget": min(100, setting.budget), "seeds": [5, 6, 7][: setting.given.seeds]}
    curves = setting.compared(perfect, "bounds", **asked)
    return {"bounds": with_cells([curve_row(setting, name, curves) for name in ("random", *perfect)])}


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
    return {"improved": with_cells(rows)}
