"""All that a loop is given, checked in one place; as the first record of its journal keeps it, and back from there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import (
    Matrix,
    as_positions,
    distinct,
    fingerprint,
    generator,
    n_jobs_checked,
)
from pyal.kernels.matrices import taken_with
from pyal.loop.journal import FORMAT
from pyal.loop.learner import (
    EstimatorLearner,
    HeldOut,
    as_learner,
    check_goes_on,
    checked_test,
    checked_validation,
    description,
    import_path,
    imported,
    rebuilt,
)
from pyal.loop.schedule import BatchSize, Stage, batch_size_schedule, files_of, strategy_schedule
from pyal.pool import checked_views, checked_weights, metric_checked
from pyal.rules import Rules, checked_rules
from pyal.strategies.subsets import Subset, subset_of


@dataclass(frozen=True, eq=False)
class Setup:
    """What a loop is given, all of it checked; made by `checked_setup`.

    X: the rows as given, which the learner sees.
    seen: the rows that strategies see, by metric: one entry for each that a stage takes. views_seen: the views, alike.
    allowed: (N,) True where a row may be picked at all.
    answers: (N,) the labels of all rows, in a simulation.
    X_path, test_path, validation_path: the files that the rows were read from, or None.

    All else is as in `pyal.Loop`.
    """

    X: Matrix
    seen: Mapping[str, Matrix]
    learner: Any
    stages: tuple[Stage, ...]
    batch_sizes: tuple[BatchSize, ...]
    metric: str | None = None
    initial: Stage | None = None
    allowed: NDArray[np.bool_] | None = None
    subset: int | str | None = None
    classes: list[Any] | None = None
    test: HeldOut | Callable[[Any], Any] | None = None
    validation: HeldOut | None = None
    answers: NDArray[Any] | None = None
    ids: list[Any] | None = None
    views: tuple[Matrix, ...] = ()
    views_seen: Mapping[str, tuple[Matrix, ...]] = field(default_factory=dict)
    rules: Rules | None = None
    weights: NDArray[np.float64] | None = None
    start: str = "fresh"
    seed: int = 0
    device: str | None = None
    n_jobs: int | None = None
    X_path: str | None = None
    test_path: str | None = None
    validation_path: str | None = None
    views_path: tuple[str | None, ...] = ()

    @cached_property
    def drawn_from(self) -> Subset | None:
        """What its subset says."""
        return None if self.subset is None else subset_of(self.subset)

    @cached_property
    def head(self) -> dict[str, Any] | None:
        """What the learner is, in words."""
        return description(self.learner)

    def rules_for(self, n_classes: int) -> Rules | None:
        """The rules of a round in which labels of so many classes are known: none is predicted with fewer than two."""
        rules = self.rules
        return rules if rules is None or n_classes > 1 else rules.without_classes()

    def __post_init__(self) -> None:
        """ValueError for parts that do not go together."""
        for stage in self.stages:
            asked = stage.needs_model(1, views=bool(self.views))
            if asked and self.learner is None:
                raise ValueError(
                    f"strategy {stage.name!r} needs {asked}, so the loop needs estimator=, which is missing"
                )
        if self.test is not None and self.learner is None:
            raise ValueError("test needs estimator=, which is missing")
        if isinstance(self.test, HeldOut) and not isinstance(self.learner, EstimatorLearner):
            raise TypeError("test must be a callable of the fitted learner: only scikit-learn classifiers know X_test")
        if self.validation is not None and not isinstance(self.learner, EstimatorLearner):
            raise TypeError("validation needs a scikit-learn classifier as estimator=: no learner knows X_validation")
        if self.validation is not None and not callable(getattr(self.learner.estimator, "predict_proba", None)):
            raise TypeError(
                f"validation needs an estimator with predict_proba, for the loss; {self.learner.estimator!r} has none"
            )
        if self.start != "fresh" and self.learner is None:
            raise ValueError(f"start={self.start!r} needs estimator=, which is missing")
        if self.start == "warm":
            check_goes_on(self.learner)
        by = self.drawn_from.by if self.drawn_from is not None else None
        if by is not None and self.learner is None and {"proba", "features"} & set(by.needed({}, labeled=True)):
            raise ValueError(f"subset={self.subset!r} needs estimator=, which is missing: {by.name} needs a model")
        if self.rules is not None and self.rules.class_balance and self.learner is None:
            raise ValueError("class_balance goes by predicted class and needs estimator=, which is missing")
        if self.weights is not None:
            for one in (*self.stages, *([] if self.initial is None else [self.initial])):
                one.check_weighs()
        if self.initial is not None and self.initial.needs_model(1):
            raise ValueError(f"initial must be a strategy that needs no proba; {self.initial.name!r} does")

    def record(self) -> dict[str, Any]:
        """The first record of a journal: X and X_test by path (where so given) and fingerprint, all else in full.

        Raises ValueError for a strategy that cannot be imported by name and options that JSON cannot hold.
        """
        import pyal  # for its version

        tested: dict[str, Any] | None = None
        if isinstance(self.test, HeldOut):
            tested = _held_out_record(self.test, self.test_path)
        elif self.test is not None:
            tested = {"callable": import_path(self.test)}
        return {
            "event": "start",
            "format": FORMAT,
            "pyal": pyal.__version__,
            "X": {**fingerprint(self.X), "path": self.X_path},
            "estimator": description(self.learner),
            "strategy": [_stage_record(stage) for stage in self.stages],
            **({"files": files} if (files := files_of(self.stages)) else {}),
            "batch_size": [[entry.batch_size, entry.until] for entry in self.batch_sizes],
            "initial": None if self.initial is None else _stage_record(self.initial)[0],
            "candidates": None if self.allowed is None else np.flatnonzero(self.allowed).tolist(),
            "test": tested,
            **(
                {}
                if self.validation is None
                else {"validation": _held_out_record(self.validation, self.validation_path)}
            ),
            "views": [
                {**fingerprint(view), "path": path} for view, path in zip(self.views, self.views_path, strict=True)
            ],
            "rules": None if self.rules is None else self.rules.record(),
            "weights": None if self.weights is None else self.weights.tolist(),
            "random_state": self.seed,
            **{name: getattr(self, name) for name in _AS_THEY_ARE},
        }


def _held_out_record(held_out: HeldOut, path: str | None) -> dict[str, Any]:
    return {**fingerprint(held_out.X), "path": path, "y": held_out.y.tolist()}


STARTS = ("fresh", "same", "warm")
_AS_THEY_ARE = (
    "metric",
    "subset",
    "classes",
    "ids",
    "device",
    "n_jobs",
    "start",
)  # in a record and among a loop's arguments


def checked_setup(
    X: Any,
    estimator: Any = None,
    strategy: Any = "typiclust",
    batch_size: Any = 10,
    *,
    options: Mapping[str, Any],
    seen: Mapping[str, Matrix] | None = None,
    ids: Any = None,
    classes: Any = None,
    test: Any = None,
    validation: Any = None,
    metric: Any = None,
    candidates: Any = None,
    subset: Any = None,
    initial: Any = None,
    views: Any = None,
    groups: Any = None,
    max_per_group: Any = None,
    min_distance: Any = None,
    class_balance: Any = False,
    weights: Any = None,
    start: Any = "fresh",
    random_state: Any = None,
    device: Any = None,
    n_jobs: Any = None,
) -> Setup:
    """The Setup of a loop's arguments; ValueError or TypeError for those that are refused, as `pyal.Loop` says.

    X, X_test: a `Matrix` was looked at before and is not again. seen: the rows of X by metric, as far as they are made
    already.
    """
    metric = metric_checked(metric)
    rows = kernels.checked_matrix(X, "X", device=device)
    learner = as_learner(estimator, rows)
    stages = strategy_schedule(strategy, options)
    first = None if initial is None else strategy_schedule(initial, {})[0]
    made = {} if seen is None else seen
    wanted = {stage.metric(metric) for stage in (*stages, *([] if first is None else [first]))}
    copies = () if views is None else checked_views(views, rows)
    return Setup(
        X=rows,
        seen={one: made.get(one) or _with_norms(taken_with(rows, one)) for one in sorted(wanted)},
        learner=learner,
        stages=stages,
        batch_sizes=batch_size_schedule(batch_size),
        metric=metric,
        initial=first,
        allowed=None if candidates is None else _allowed(candidates, rows.n),
        subset=_subset(subset),
        classes=None if classes is None else distinct(classes, "classes"),
        test=checked_test(test, rows),
        validation=checked_validation(validation, rows),
        ids=None if ids is None else _ids(ids, rows.n),
        views=copies,
        views_seen={one: tuple(_with_norms(taken_with(view, one)) for view in copies) for one in sorted(wanted)},
        rules=checked_rules(groups, max_per_group, min_distance, class_balance, rows.n),
        weights=None if weights is None else checked_weights(weights, rows.n),
        start=_start(start),
        seed=_seed(random_state),
        device=None if device is None else str(device),
        n_jobs=n_jobs_checked(n_jobs),
        X_path=_path(X),
        test_path=_path(test[0]) if isinstance(test, (tuple, list)) else None,
        validation_path=_path(validation[0]) if isinstance(validation, (tuple, list)) else None,
        views_path=() if views is None else tuple(_path(view) for view in views),
    )


def _with_norms(rows: Matrix) -> Matrix:
    """The rows with their norms, which no round computes again."""
    return rows if rows.sqnorms is not None else replace(rows, sqnorms=kernels.sqnorms(rows))


def setup_from_record(
    kept: Mapping[str, Any],
    *,
    X: Any,
    estimator: Any,
    test: Any,
    validation: Any,
    views: Any,
    device: Any,
    n_jobs: int | None,
) -> Setup:
    """The Setup that a journal's first record was made from; what is not None stands for what is not found again.

    Raises ValueError that says what to pass, and ValueError that says in what X, the test or the estimator is not the
    one that the loop started with.
    """
    if X is None:
        X = _found(kept["X"]["path"], "X")
    tested = kept["test"]
    if test is None and tested is not None:
        test = _callable(tested["callable"], "test") if "callable" in tested else None
        test = (_found(tested["path"], "X_test", "test"), tested["y"]) if test is None else test
    checked = kept.get("validation")
    if validation is None and checked is not None:
        validation = (_found(checked["path"], "X_validation", "validation"), checked["y"])
    seen = kept.get("views", [])  # of a journal that was begun before there were any, none
    if views is None and seen:
        views = [_found(view["path"], f"views[{v}]", "views") for v, view in enumerate(seen)]
    kept = {"start": "fresh", **kept}  # of a journal that was begun before it could be said
    as_kept = {name: kept[name] for name in (*_AS_THEY_ARE, "batch_size", "candidates", "random_state")}
    setup = checked_setup(
        X,
        rebuilt(kept["estimator"]) if estimator is None else estimator,
        [(_strategy(kept_strategy), until, options) for kept_strategy, until, options in kept["strategy"]],
        options={},
        test=test,
        validation=validation,
        initial=None if kept["initial"] is None else _strategy(kept["initial"]),
        views=views,
        weights=kept.get("weights"),
        **(kept.get("rules") or {}),
        **{**as_kept, **{k: v for k, v in {"device": device, "n_jobs": n_jobs}.items() if v is not None}},
    )
    _check_same(kept, setup.record())
    return setup


def _check_same(kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    views = [(f"views[{v}]", view) for v, view in enumerate(now["views"])]
    if len(views) != len(kept.get("views", [])):
        raise ValueError(
            f"views is not what this loop started with: {len(kept.get('views', []))} views, not {len(views)}"
        )
    for name, held in now.get("files", {}).items():
        if kept.get("files", {}).get(name) != held:
            raise ValueError(f"the file of an option is not what this loop started with: stage {name}")
    told = {**kept, **{f"views[{v}]": view for v, view in enumerate(kept.get("views", []))}}
    parts = ("X", "test", "validation", "estimator")
    for name, found in [*((name, now.get(name)) for name in parts), *views]:
        before, after = told.get(name) or {}, found or {}
        for key in (*before, *(key for key in after if key not in before)):
            if key != "path" and not _same(before.get(key), after.get(key)):
                raise ValueError(f"{name} is not what this loop started with: {_difference(key, before, after)}")


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
    if key == "parameters" and before[key] is not None and after[key] is not None:
        names = [n for n in {**before[key], **after[key]} if not _same(before[key].get(n), after[key].get(n))]
        return ", ".join(f"{n} was {before[key].get(n)!r} and is {after[key].get(n)!r}" for n in names)
    return f"{key} was {before.get(key)} and is {after.get(key)}"


def _stage_record(stage: Stage) -> list[Any]:
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
    own = {} if stage.own_metric is None else {"metric": stage.own_metric}
    options = {**stage.options, **own}
    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    try:
        kept = json.loads(json.dumps(given))
    except TypeError:
        kept = None
    if kept != given:
        raise TypeError(f"options of a loop with workdir= must be numbers, text, lists or dicts; got {given!r:.200}")
    return [strategy, stage.until, kept]


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


def _allowed(candidates: Any, n: int) -> NDArray[np.bool_] | None:
    """A mask of the candidates, None where they are all rows."""
    mask = np.zeros(n, bool)
    mask[as_positions(candidates, n, "candidates")] = True
    return None if mask.all() else mask


def _subset(subset: Any) -> int | str | None:
    if subset is not None:
        subset_of(subset)
    return subset if subset is None or isinstance(subset, str) else int(subset)


def _ids(ids: Any, n: int) -> list[Any]:
    found = distinct(ids, "ids")
    if len(found) != n:
        raise ValueError(f"ids must hold one id per row of X, {n}; got {len(found)}")
    return found


def _start(start: Any) -> str:
    if not isinstance(start, str) or start not in STARTS:
        raise ValueError(f"start must be {', '.join(map(repr, STARTS[:-1]))} or {STARTS[-1]!r}; got {start!r}")
    return start


def _seed(random_state: Any) -> int:
    """An integer that stands for the loop's randomness; a Generator or RandomState is drawn from."""
    rng = generator(random_state)
    return int(random_state) if isinstance(random_state, (int, np.integer)) else int(rng.integers(2**63))
