"""The folder of a simulation: its settings, and one file per finished run, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pyal import files
from pyal.arrays import fingerprint
from pyal.loop.learner import HeldOut, description, import_path
from pyal.rules import Rules
from pyal.simulation.comparison import CONTROL, Comparison, Run, comparison
from pyal.simulation.plan import Plan

SETTINGS = "settings.json"


@dataclass(frozen=True)
class Workdir:
    """A folder that keeps the finished runs of a plan; made by `opened_workdir`."""

    path: str

    def read(self, strategy: str, seed: int) -> Run | None:
        """The finished run, None where there is none."""
        file = self._file(strategy, seed)
        return _read(file) if file.exists() else None

    def write(self, run: Run) -> None:
        """Keeps a finished run."""
        _write(self._file(run["strategy"], run["seed"]), run)

    def _file(self, strategy: str, seed: int) -> Path:
        return Path(self.path) / "runs" / f"{quote(strategy, safe=' ,=()')}.seed{seed}.json"


def opened_workdir(path: Any, plan: Plan) -> Workdir:
    """The folder for the runs of a plan, made where it is not there; refused where it keeps the runs of another plan.

    Raises ValueError naming the first difference, OSError where the folder cannot be written.
    """
    folder = Path(path)
    shared, strategies = (_plain(told) for told in (_shared(plan), plan.strategies()))
    before: dict[str, Any] = {}
    if (folder / SETTINGS).exists():
        stored = _read(folder / SETTINGS)
        before = stored["strategies"]
        both = {name: before[name] for name in strategies if name in before}
        asked = {**shared, "strategies": {name: strategies[name] for name in both}}
        _check_same(folder, {**stored, "strategies": both}, asked)
    elif next(_run_files(folder), None) is not None:
        raise ValueError(f"workdir {folder} has runs and no {SETTINGS}, so nothing says what they are of")
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    if {**before, **strategies} != before:
        _write(folder / SETTINGS, {**shared, "strategies": {**before, **strategies}})
    return Workdir(str(folder))


def _shared(plan: Plan) -> dict[str, Any]:
    """What must be the same for runs to be compared, whatever the strategy; arrays by shape, type and a hash."""
    shared, test = plan.shared, plan.shared.test
    tested: dict[str, Any] = {}
    if isinstance(test, HeldOut):
        tested = {"X_test": fingerprint(test.X), "y_test": _labels_fingerprint(test.y)}
    elif test is not None:
        tested = {"test": import_path(test)}
    return {
        "X": fingerprint(shared.X),
        "y": _labels_fingerprint(plan.y),
        **tested,
        "estimator": description(shared.learner),
        "initial": plan.initial,
        **({} if plan.initial_by is None else {"initial_by": plan.initial_by}),
        "batch_sizes": plan.batch_sizes,
        "subset": shared.subset,
        **({"views": [fingerprint(view) for view in shared.views]} if shared.views else {}),
        **({} if shared.rules is None else {"rules": _rules(shared.rules)}),
        **({} if shared.start == "fresh" else {"start": shared.start}),
        **({} if shared.validation is None else {"validation": _held_out(shared.validation)}),
        **({} if plan.observing is None else {"observing": plan.observing.record()}),
        **({} if shared.weights is None else {"weights": _labels_fingerprint(shared.weights)}),
    }


def _held_out(held_out: HeldOut) -> dict[str, Any]:
    return {"X": fingerprint(held_out.X), "y": _labels_fingerprint(held_out.y)}


def _rules(rules: Rules) -> dict[str, Any]:
    groups = None if rules.groups is None else _labels_fingerprint(rules.groups)
    return {**rules.record(), "groups": groups}


def read_workdir(path: Any) -> Comparison:
    """The Comparison of all that a simulation has finished in this folder; ValueError where it is not one's folder."""
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path)!r}")
    if not (folder / SETTINGS).exists():
        raise ValueError(f"{path} is not the workdir of a simulation: it has no {SETTINGS}")
    settings = _read(folder / SETTINGS)
    runs = [_read(file) for file in _run_files(folder)]
    if not runs:
        raise ValueError(f"{path} has no finished run yet")
    order = {name: i for i, name in enumerate([CONTROL, *settings["strategies"]])}
    runs.sort(key=lambda run: (order.get(run["strategy"], len(order)), run["strategy"], run["seed"]))
    return comparison(runs, {}, settings["initial"])


def _check_same(folder: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    before, now = dict(_leaves(stored)), dict(_leaves(asked))
    for key in [*now, *before]:
        if key not in before or key not in now or json.dumps(before[key]) != json.dumps(now[key]):  # NaN is NaN
            there, here = (repr(d[key]) if key in d else "missing" for d in (before, now))
            raise ValueError(f"workdir {folder} keeps runs of other settings: {key} is {there} there and {here} here")


def _leaves(settings: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping, by its dotted name."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from _leaves(value, f"{name}.{key}" if name else key)
    else:
        yield name, settings


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    """As it is read back from JSON."""
    return dict(json.loads(json.dumps(told, default=_in_words)))


def _run_files(folder: Path) -> Iterator[Path]:
    return iter(sorted((folder / "runs").glob("*.seed*.json")))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{file} is damaged, or no file of a simulation: remove it to have it made again") from None
    assert isinstance(found, dict)
    return found


def _write(file: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, default=_in_words)
    files.write_whole(str(file), text.encode(), force=True)


def _in_words(value: Any) -> Any:
    """What JSON does not know: NumPy's numbers as Python's, functions by their import path, the rest as it prints."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    text = repr(value)
    return text if " at 0x" not in text else import_path(value if hasattr(value, "__qualname__") else type(value))


def _labels_fingerprint(y: NDArray[Any]) -> dict[str, Any]:
    digest = hashlib.blake2b("\n".join(map(str, y.tolist())).encode(), digest_size=16)
    return {"shape": list(y.shape), "hash": digest.hexdigest()}
