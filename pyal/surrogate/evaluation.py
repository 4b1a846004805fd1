"""How good surrogates are: errors in the units of the target, order within steps, and what the order would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pyal.surrogate.examples import Examples
from pyal.surrogate.model import SurrogateModel
from pyal.surrogate.ranks import spearman, top_regret

PARTS = ("train", "validation", "test")

_INPUTS = ("plain", "asn", "asnvalid")


def evaluate(models: Sequence[SurrogateModel], examples: Examples) -> list[dict[str, Any]]:
    """One row per model and part of its split that has examples here: what the model predicts against what came.

    A part is the seeds that the model's split put there; test also takes seeds that the model never saw. So examples
    of another domain need seeds of their own, or they count as rows that were trained on. Under the thesis's split
    validation and test are the same rows, and both figures are flattered by the search.

    A row has "model", "setting" (its domain in words), "target", "inputs" ("plain", "asn" or "asnvalid"), "backend",
    "objective", "ranked", "part", and the figures, None where there is none to give:
    rows, groups: how many.
    mse: the mean squared error, in units of the target squared. A model with objective="ranking" has none.
    mse_of_mean: that of predicting the mean target of the rows trained on.
    explained: 1 - mse / mse_of_mean.
    spearman: the rank correlation over all rows.
    spearman_within: that within groups, averaged over the groups of at least 2 whose gains differ.
    regret: within groups of at least 2, the best gain minus that of the row predicted best, averaged.
    regret_of_random: the same for a row drawn at random.

    models: what `fit` or `load` returned.
    examples: with the columns of every model, in any order.
    """
    return [row for model in models for row in _evaluated(model, examples)]


def measures(model: SurrogateModel, examples: Examples, mean: float) -> dict[str, Any]:
    """The figures of `evaluate` for these rows; mean: of the targets trained on."""
    scores = model.predict(examples.values_of(model.columns), model.columns, examples.group)
    gains: NDArray[np.float64] = getattr(examples, model.target)
    regret = top_regret(scores, gains, examples.group)
    has_units = model.objective == "regression"
    mse = float(((scores - gains) ** 2).mean()) if has_units else None
    of_mean = float(((mean - gains) ** 2).mean())
    return {
        "rows": len(examples),
        "groups": len(np.unique(examples.group)),
        "mse": mse,
        "mse_of_mean": of_mean if has_units else None,
        "explained": 1 - mse / of_mean if mse is not None and of_mean > 0 else None,
        "spearman": spearman(scores, gains, np.zeros(len(examples), np.int64)),
        "spearman_within": spearman(scores, gains, examples.group),
        "regret": regret[0] if regret else None,
        "regret_of_random": regret[1] if regret else None,
    }


def average_ranks(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The thesis's table 5.8: average ranks over settings of the MSE of plain, asn and asnvalid, per target and part.

    rows: of `evaluate`, for several settings. Rows without an MSE are left out.

    In each setting the three are ranked 0, 1, 2 from the lowest MSE, ties sharing the average. That the lowest is 0 is
    read from the published table, whose three ranks average 1 (0.4, 1.133 and 1.467) and of which 0.4 is called best.

    Returns rows with "target", "part", "inputs", "average_rank", "average_mse" and "settings", how many there were.
    Raises ValueError where a setting lacks one of the three, or has it twice.
    """
    tables: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        if row["mse"] is None:
            continue
        setting = tables.setdefault((row["target"], row["part"]), {}).setdefault(row["setting"], {})
        if row["inputs"] in setting:
            raise ValueError(
                "rows must hold one model per setting, target and inputs; there are two of "
                f"{row['setting']!r}, {row['target']}, {row['inputs']}"
            )
        setting[row["inputs"]] = row["mse"]
    found = []
    for (target, part), settings in tables.items():
        for name, setting in settings.items():
            missing = [inputs for inputs in _INPUTS if inputs not in setting]
            if missing:
                raise ValueError(
                    f"rows must hold plain, asn and asnvalid of every setting; {name!r}, {target}, {part} lacks "
                    + ", ".join(missing)
                )
        mse = np.array([[setting[inputs] for inputs in _INPUTS] for setting in settings.values()])
        ranks = rankdata(mse, axis=1).mean(axis=0) - 1
        for at, inputs in enumerate(_INPUTS):
            figures = {"average_rank": float(ranks[at]), "average_mse": float(mse[:, at].mean())}
            found.append({"target": target, "part": part, "inputs": inputs, **figures, "settings": len(settings)})
    return found


def _evaluated(model: SurrogateModel, examples: Examples) -> list[dict[str, Any]]:
    seeds = model.measured["seeds"]
    seen = np.isin(examples.seed, [*seeds["train"], *seeds["validation"]])
    of_part = {part: np.isin(examples.seed, seeds[part]) for part in PARTS}
    of_part["test"] |= ~seen
    said = {
        "model": model.name,
        "setting": _setting(model.domain),
        "target": model.target,
        "inputs": model.name.partition("_")[2] or "plain",
        "backend": model.backend,
        "objective": model.objective,
        "ranked": model.ranked,
    }
    return [
        {**said, "part": part, **measures(model, examples.where(rows), model.measured["train_mean"])}
        for part, rows in of_part.items()
        if rows.any()
    ]


def _setting(domain: Mapping[str, Any]) -> str:
    words = [str(domain["name"])] if "name" in domain else []
    return ", ".join(words + [f"{key}={value}" for key, value in domain.items() if key != "name"])
