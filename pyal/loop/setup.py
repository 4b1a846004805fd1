"""How a run was set up, as its journal keeps it, and the way back to a loop's arguments."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyal.arrays import fingerprint
from pyal.loop.journal import FORMAT
from pyal.loop.learner import described, import_path, imported, rebuilt
from pyal.loop.round import HeldOut, Rounds
from pyal.loop.schedule import Stage


def settings(rounds: Rounds, *, X: Any, ids: list[Any] | None, metric: str, test: Any, device: Any) -> dict[str, Any]:
    """The first record of a journal: all that a loop was given, X and X_test by path (where so given) and fingerprint.

    Raises ValueError for a strategy that cannot be imported by name and options that JSON cannot hold.
    """
    import pyal  # for its version

    tested: dict[str, Any] | None = None
    if isinstance(rounds.test, HeldOut):
        tested = {**fingerprint(rounds.test.X), "path": _path(test[0]), "y": rounds.test.y.tolist()}
    elif rounds.test is not None:
        tested = {"callable": import_path(rounds.test)}
    record = {
        "event": "start",
        "format": FORMAT,
        "pyal": pyal.__version__,
        "X": {**fingerprint(rounds.given), "path": _path(X)},
        "estimator": described(rounds.estimator),
        "strategy": [_stage(stage) for stage in rounds.stages],
        "batch_size": [[entry.rows, entry.until] for entry in rounds.sizes],
        "initial": None if rounds.initial is None else _stage(rounds.initial)[0],
        "metric": metric,
        "subset": rounds.subset,
        "classes": rounds.classes,
        "seed": rounds.seed,
        "device": None if device is None else str(device),
        "n_jobs": rounds.n_jobs,
        "ids": ids,
        "candidates": None if rounds.allowed.all() else np.flatnonzero(rounds.allowed).tolist(),
        "test": tested,
    }
    return record


def loop_arguments(kept: Mapping[str, Any], *, X: Any, estimator: Any, test: Any) -> dict[str, Any]:
    """The arguments of the loop that kept these settings; X, estimator and test stand for what is not found again.

    Raises ValueError that says what to pass.
    """
    if X is None:
        X = _found(kept["X"]["path"], "X")
    tested = kept["test"]
    if test is None and tested is not None:
        test = _callable(tested["callable"], "test") if "callable" in tested else None
        test = (_found(tested["path"], "X_test", "test"), tested["y"]) if test is None else test
    return {
        "X": X,
        "estimator": rebuilt(kept["estimator"]) if estimator is None else estimator,
        "strategy": [(_strategy(s), until, options) for s, until, options in kept["strategy"]],
        "batch_size": kept["batch_size"],
        "initial": None if kept["initial"] is None else _strategy(kept["initial"]),
        "random_state": kept["seed"],
        "test": test,
        **{name: kept[name] for name in ("metric", "subset", "classes", "ids", "candidates")},
    }


def check_same(kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """ValueError that says in what X, the test or the estimator is not the one that the run started with."""
    for name in ("X", "test", "estimator"):
        before, after = kept[name] or {}, now[name] or {}
        for key in (*before, *(key for key in after if key not in before)):
            if key != "path" and not _same(before.get(key), after.get(key)):
                raise ValueError(f"{name} is not what this run started with: {_difference(key, before, after)}")


def _same(before: Any, after: Any) -> bool:
    """Equal; of import paths into a script, __main__, the module does not count: another script is __main__ too."""
    if isinstance(before, str) and isinstance(after, str) and "__main__" in (before.split(":")[0], after.split(":")[0]):
        return before.split(":")[-1] == after.split(":")[-1]
    return json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)  # so that NaN is NaN


def _difference(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if not before or not after:
        return "it had none" if not before else "it had one"
    if key == "hash":
        return "its values differ (shape and dtype are the same)"
    if key == "y":
        return "its labels differ"
    if key == "parameters":
        names = [n for n in {**before[key], **after[key]} if not _same(before[key].get(n), after[key].get(n))]
        return ", ".join(f"{n} was {before[key].get(n)!r} and is {after[key].get(n)!r}" for n in names)
    return f"{key} was {before.get(key)} and is {after.get(key)}"


def _stage(stage: Stage) -> list[Any]:
    strategy: Any = stage.strategy
    if not isinstance(strategy, str):
        path = import_path(strategy)
        try:
            importable = imported(path) is strategy
        except (ImportError, AttributeError):
            importable = False
        if not importable:
            raise ValueError(
                f"strategy {stage.name!r} must be a function at the top of a module for a loop with workdir=, which "
                "finds it again by name"
            )
        strategy = {"callable": path}
    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in stage.options.items()}
    try:
        options = json.loads(json.dumps(given))
    except TypeError:
        options = None
    if options != given:
        raise TypeError(f"options of a loop with workdir= must be numbers, text, lists or dicts; got {given!r:.200}")
    return [strategy, stage.until, options]


def _strategy(kept: Any) -> Any:
    return kept if isinstance(kept, str) else _callable(kept["callable"], None)


def _callable(path: str, argument: str | None) -> Any:
    try:
        return imported(path)
    except (ImportError, AttributeError) as error:
        then = f"pass {argument}=" if argument else "define it there before resuming"
        raise ValueError(f"{path} is not found ({error}); {then}") from None


def _found(path: str | None, name: str, argument: str | None = None) -> str:
    if path is None:
        raise ValueError(f"{name} was given as an array, which the workdir does not keep: pass {argument or name}=")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{name} is no longer at {path}: pass {argument or name}=")
    return path


def _path(X: Any) -> str | None:
    return os.path.abspath(os.fspath(X)) if isinstance(X, (str, os.PathLike)) else None
