"""The configuration files of pyal simulate and of pyal surrogate collect: TOML, or JSON with the same keys.

Paths are relative to the file's folder. Of pyal simulate:

    seeds = 5                                  # or a list; this and what follows, but data: as in pyal.simulate
    initial = 20
    batch_sizes = [[10, 100], [50, 500]]       # 10 until 100 labels, then 50 until 500; or 10, or [30, 50, 100]
    workdir = "runs/first"                     # resumable, and what pyal plot reads
    # budget, subset, metric, max_per_group, min_distance, class_balance, start, device, n_jobs

    [data]
    X = "train.npy"                            # (N, d)
    y = "train_labels.npy"                     # (N,), none missing
    X_test = "test.npy"
    y_test = "test_labels.npy"
    # groups = "patients.npy", weights = "weights.npy", views = ["flipped.npy", "sharpened.npy"]
    # X_validation = "held_out.npy", y_validation = "held_out_labels.npy"

    [estimator]
    class = "sklearn.linear_model.LogisticRegression"   # where Python imports it from
    max_iter = 1000                            # and its parameters

    [strategies.margin]                        # a name and its options; or strategies = ["margin", "typiclust"]
    [strategies.typiclust]
    metric = "cosine"
    [strategies."first typical"]
    strategy = [["typiclust", 50], ["margin"]]          # a schedule: until how many labels, then to the end

pyal surrogate collect labels one row a round: it takes no batch_sizes, no test and no rules, needs the validation data,
and knows counterfactuals, every, relative_to and name besides, as in pyal.surrogate.collect.

TOML is read by Python 3.11 and later, or where the package tomli is installed.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.strategies.registry import list_strategies

DATA = ("X", "y", "X_test", "y_test")
NEEDED = ("data", "estimator", "strategies")
VALIDATION = ("X_validation", "y_validation")
ALSO = ("groups", "weights", "views", *VALIDATION)
KEYS = (
    *NEEDED,
    *("seeds", "batch_sizes", "budget", "initial", "subset", "metric", "max_per_group", "min_distance"),
    *("class_balance", "start", "device", "n_jobs", "workdir"),
)
OF_COLLECT = (
    *("data", "estimator"),
    *("strategies", "seeds", "budget", "initial", "subset", "counterfactuals", "every", "relative_to", "start"),
    *("metric", "name", "n_jobs", "workdir"),
)


def read(path: str) -> dict[str, Any]:
    """The arguments of `pyal.simulate` that a file stands for; ValueError, TypeError or OSError for what is wrong."""
    found = _read(path, (KEYS, NEEDED), ((*DATA, *ALSO), DATA))
    test = found.pop("X_test"), found.pop("y_test")
    return {**found, "test": test}


def read_collection(path: str) -> dict[str, Any]:
    """The same of `pyal.surrogate.collect`."""
    needed = ("X", "y", *VALIDATION)
    return _read(path, (OF_COLLECT, OF_COLLECT[:2]), ((*needed, "views"), needed))


def _read(
    path: str,
    keys: tuple[Collection[str], Collection[str]],
    of_data: tuple[Collection[str], Collection[str]],
) -> dict[str, Any]:
    """What a file says, checked and found. keys, of_data: the names that are known, and those that are needed."""
    found = _parsed(path)
    _check_keys(path, "", found, *keys)
    folder = os.path.dirname(os.path.abspath(path))
    data = _table(path, found.pop("data"), "data")
    if any(name in data for name in VALIDATION):
        of_data = (of_data[0], (*of_data[1], *VALIDATION))
    _check_keys(path, "data.", data, *of_data)
    files = {name: os.path.join(folder, _text(path, data[name], f"data.{name}")) for name in of_data[1]}
    estimator = _estimator(path, _table(path, found.pop("estimator"), "estimator"))
    if "workdir" in found:
        found["workdir"] = os.path.join(folder, _text(path, found["workdir"], "workdir"))
    if isinstance(found.get("strategies"), dict):
        found["strategies"] = {name: _strategy(name, value, folder) for name, value in found["strategies"].items()}
    given: dict[str, Any] = {name: _labels(file) if name.startswith("y") else file for name, file in files.items()}
    for name in ("groups", "weights"):
        if name in data:
            found[name] = _labels(os.path.join(folder, _text(path, data[name], f"data.{name}")))
    if "views" in data:
        if not isinstance(data["views"], list):
            raise TypeError(f"{path}: data.views must be a list of files; got {data['views']!r}")
        found["views"] = [os.path.join(folder, _text(path, view, "data.views")) for view in data["views"]]
    if "X_validation" in given:
        found["validation"] = (given.pop("X_validation"), given.pop("y_validation"))
    return {**found, **given, "estimator": estimator}


def _parsed(path: str) -> dict[str, Any]:
    text = Path(path).read_bytes()
    kind = os.path.splitext(path)[1].lower()
    if kind not in (".toml", ".json"):
        raise ValueError(f"{path} must be a .toml or .json file")
    try:
        found = (json if kind == ".json" else _toml()).loads(text.decode("utf-8"))
    except ValueError as error:  # of both libraries, and of the decoding
        raise ValueError(f"{path} is not {kind[1:].upper()}: {error}") from None
    return _table(path, found, "the file")


def _toml() -> Any:
    for name in ("tomllib", "tomli"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise RuntimeError("TOML needs Python 3.11 or the package tomli; the same keys in a .json file need neither")


def _estimator(path: str, table: dict[str, Any]) -> Any:
    where = _text(path, table.pop("class", None), "estimator.class")
    module, _, name = where.replace(":", ".").rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: estimator.class must be where Python imports it from; {where!r}: {error}") from None
    try:
        return made(**table)
    except TypeError as error:
        raise TypeError(f"{path}: estimator does not take its parameters: {error}") from None


def _strategy(name: str, value: Any, folder: str) -> Any:
    """An entry of strategies; [strategy] in its schedule is [strategy, None]: TOML has no word for None."""
    if not isinstance(value, dict):
        return value
    if not isinstance(value.get("strategy"), list):
        return _with_files(value.get("strategy", name), value, folder)
    stages = [(*e, None) if isinstance(e, list) and len(e) == 1 else e for e in value["strategy"]]
    return {
        **value,
        "strategy": [
            (*e[:2], _with_files(e[0], e[2], folder)) if isinstance(e, list) and len(e) == 3 else e for e in stages
        ],
    }


def _with_files(strategy: Any, options: Any, folder: str) -> Any:
    """The options, of which those that name files are relative to the folder."""
    if not isinstance(options, dict) or not isinstance(strategy, str):
        return options
    names = next((s.files for s in list_strategies() if strategy in (s.name, *s.aliases)), ())
    found = {name: os.path.join(folder, options[name]) for name in names if isinstance(options.get(name), str)}
    return {**options, **found}


def _labels(path: str) -> NDArray[Any]:
    """Numbers or text, which is no pickle."""
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path} must be a .npy file of numbers or text") from None
    return np.asarray(found)


def _check_keys(path: str, table: str, found: Collection[str], known: Collection[str], needed: Collection[str]) -> None:
    for key in found:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {table}{close[0]}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"{path}: there is no setting {table}{key}; {hint}")
    missing = [key for key in needed if key not in found]
    if missing:
        raise ValueError(f"{path}: {table}{missing[0]} is missing")


def _table(path: str, value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{path}: {name} must be a table; got {value!r}")
    return dict(value)


def _text(path: str, value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{path}: {name} must be text; got {value!r}")
    return value
