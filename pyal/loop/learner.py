"""What a loop trains: a learner, asked by position in the pool; a scikit-learn classifier on the rows of X is made one.

Its description in words and numbers, which a journal keeps, and the way back from that stand here too.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy, first_few, plain_labels, row_blocks
from pyal.metrics import balanced_accuracy
from pyal.pool import check_proba

_ADDS_MEMBERS = {"n_estimators", "max_leaf_nodes"}  # of forests and boosting: the members they have learn nothing new
_BLOCKS = 16  # of 8 MB each: the rows that a classifier is asked about at a time


class Learner(Protocol):
    """What `pyal.Loop` and `pyal.simulate` train; anything whose `fit` takes unlabeled= and seed= is one.

    Beside what stands here it may have `features(positions)`, (m, h) activations for strategies that use them,
    `passes(positions, seed)`, (T, m, C) probabilities of several models for strategies that ask where these disagree,
    and get_params(), the arguments it is made again of when a loop is resumed. A loop fits a shallow copy in each
    round, so that what is assigned in fit is that round's own. For a loop with start="warm" fit takes start= too: the
    learner as the last round fitted it, None in the first. It must not be changed.
    """

    classes_: Any  # after fit: labels in the order of the columns of predict_proba

    def fit(
        self, positions: NDArray[np.int64], labels: NDArray[Any], *, unlabeled: NDArray[np.int64], seed: int
    ) -> Any:
        """Trains from nothing on the labels of ascending positions, be they of one class only.

        unlabeled: the ascending positions of all rows without a label. All that is random follows from seed.
        """

    def predict_proba(self, positions: NDArray[np.int64]) -> Any:
        """(m, C) probabilities, or (T, m, C) of T passes; needed for strategies that need proba."""


@dataclass(eq=False)
class EstimatorLearner:
    """A scikit-learn classifier on the rows of X as a learner. What is passed to it goes block by block, on the host.

    estimator: as given, never fitted; fitted: its clone, fitted to the labels; a constant (scikit-learn's
    DummyClassifier) where they are of one class, as most classifiers need two. of_pool: what an estimator with
    `of_pool(X)` has found in the whole pool, once for all rounds; its `fit` is given it as pool=. labels: by position,
    what it was fitted to.
    """

    estimator: Any
    X: Matrix
    fitted: Any = None
    of_pool: dict[str, Any] = field(default_factory=dict)
    labels: dict[int, Any] = field(default_factory=dict)

    @property
    def classes_(self) -> Any:
        return self.fitted.classes_

    def fit(
        self,
        positions: NDArray[np.int64],
        labels: NDArray[Any],
        *,
        unlabeled: NDArray[np.int64],  # noqa: ARG002
        seed: int,
        start: EstimatorLearner | None = None,
    ) -> EstimatorLearner:
        """As of every learner; what in the estimator is random and has no seed is given this one."""
        before, self.labels = (
            {} if start is None else start.labels,
            dict(zip(positions.tolist(), labels.tolist(), strict=True)),
        )
        if start is not None and _takes_in_rows(start.fitted) and before.items() <= self.labels.items():
            new = np.array([position not in before for position in positions.tolist()], bool)
            self.fitted = copy.deepcopy(start.fitted)
            if new.any():
                self.fitted.partial_fit(on_host(self.X.take(positions[new])), labels[new])
            return self
        fresh = self._to_fit(set(labels.tolist()), start)
        seeds = dict.fromkeys(_unseeded(fresh), seed)
        if seeds:
            fresh.set_params(**seeds)
        whole = {}
        if callable(getattr(fresh, "of_pool", None)):
            if "pool" not in self.of_pool:
                self.of_pool["pool"] = self.estimator.of_pool(on_host(self.X))
            whole = {"pool": self.of_pool["pool"]}
        self.fitted = fresh.fit(on_host(self.X.take(positions)), labels, **whole)
        return self

    def _to_fit(self, classes: set[Any], start: EstimatorLearner | None) -> Any:
        """What is fitted: a constant for one class, the estimator of `start` if its classes are these, else a clone."""
        from sklearn.base import clone
        from sklearn.dummy import DummyClassifier

        if len(classes) < 2:
            return DummyClassifier(strategy="prior")
        if (
            start is None
            or _takes_in_rows(self.estimator)
            or set(as_numpy(start.classes_, "classes_").tolist()) != classes
        ):
            return clone(self.estimator)
        again = copy.deepcopy(start.fitted)
        return again.set_params(**dict.fromkeys(_unseeded(self.estimator)), **{str(_warm_parameter(again)): True})

    def predict_proba(self, positions: NDArray[np.int64]) -> NDArray[np.floating]:
        """(m, C); TypeError where the estimator has none, ValueError where its columns are not its classes."""
        return self._proba(self._blocks(positions), len(positions))

    def proba_of_rows(self, X: Matrix) -> NDArray[np.floating]:
        """The same of rows that are not in the pool."""
        return self._proba(((part, on_host(X.part(part))) for part in row_blocks(X.n, X.d, _BLOCKS)), X.n)

    def _proba(self, blocks: Iterable[tuple[slice, NDArray[Any]]], count: int) -> NDArray[np.floating]:
        if not callable(getattr(self.fitted, "predict_proba", None)):
            raise TypeError(f"estimator must have predict_proba, which the strategy needs; {self.fitted!r} has none")
        n_classes = len(self.classes_)
        out: NDArray[np.floating] | None = None
        for part, block in blocks:
            proba = as_numpy(self.fitted.predict_proba(block), "predict_proba")
            if proba.shape != (len(block), n_classes):
                raise ValueError(
                    f"predict_proba must give {(len(block), n_classes)}, rows x classes; got {proba.shape}"
                )
            if out is None:
                out = np.empty((count, n_classes), np.float32 if proba.dtype == np.float32 else np.float64)
            out[part] = proba
        assert out is not None
        return out

    def passes(self, positions: NDArray[np.int64], seed: int) -> NDArray[np.floating]:
        """(T, m, C) of the estimator's own `stochastic_proba(rows, random_state=seed)`; TypeError where it has none."""
        if not callable(getattr(self.fitted, "stochastic_proba", None)):
            raise TypeError(
                "estimator must have stochastic_proba, which the strategy needs, as LinearHead and MLPHead with "
                f"dropout and Committee of pyal.heads have; {self.fitted!r} has none"
            )
        blocks = [self.fitted.stochastic_proba(block, random_state=seed) for _, block in self._blocks(positions)]
        return np.concatenate([as_numpy(block, "stochastic_proba") for block in blocks], axis=1)

    def features(self, positions: NDArray[np.int64]) -> NDArray[Any] | None:
        """(m, h) of the estimator's own `features(rows)`, None where it has no such method."""
        if not callable(getattr(self.fitted, "features", None)):
            return None
        return np.concatenate([as_numpy(self.fitted.features(b), "features") for _, b in self._blocks(positions)])

    def predict_rows(self, X: Matrix) -> NDArray[Any]:
        """(m,) labels predicted for rows that are not in the pool."""
        parts = row_blocks(X.n, X.d, _BLOCKS)
        return np.concatenate([as_numpy(self.fitted.predict(on_host(X.part(part))), "predict") for part in parts])

    def _blocks(self, positions: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Slices of the positions and their rows; adjoining rows are not copied."""
        for part in row_blocks(len(positions), self.X.d, _BLOCKS):
            wanted = positions[part]
            begin, end = int(wanted[0]), int(wanted[-1]) + 1
            adjoin = end - begin == len(wanted) and bool((np.diff(wanted) == 1).all())
            yield part, on_host(self.X.part(slice(begin, end)) if adjoin else self.X.take(wanted))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The rows of a test set, on the host or a device, and their labels."""

    X: Matrix
    y: NDArray[Any]


def checked_test(test: Any, X: Matrix) -> HeldOut | Callable[[Any], Any] | None:
    """The test set, or the callable that stands for one; ValueError or TypeError for what does not fit X."""
    if test is None or isinstance(test, HeldOut) or (callable(test) and not isinstance(test, tuple)):
        return test
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise TypeError(
            f"test must be (X_test, y_test) or a callable of the fitted estimator; got {type(test).__name__}"
        )
    return _held_out(test, X, "test")


def checked_validation(validation: Any, X: Matrix) -> HeldOut | None:
    """The same of rows for validation, for which nothing stands."""
    if validation is None or isinstance(validation, HeldOut):
        return validation
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError(f"validation must be (X_validation, y_validation); got {type(validation).__name__}")
    return _held_out(validation, X, "validation")


def _held_out(pair: Any, X: Matrix, name: str) -> HeldOut:
    rows = kernels.checked_matrix(pair[0], f"X_{name}")
    if rows.d != X.d:
        raise ValueError(f"X_{name} must have as many columns as X, {X.d}; got {rows.d}")
    labels = plain_labels(pair[1], rows.n, f"y_{name}", f"row of X_{name}")
    if None in labels:
        raise ValueError(f"y_{name} must have no holes; it has one in row {labels.index(None)}")
    return HeldOut(rows, np.asarray(labels))


def as_learner(estimator: Any, X: Matrix) -> Any:
    """A learner as it is, a scikit-learn classifier on the rows of X as one, None for None; TypeError for the rest."""
    if estimator is None or (not isinstance(estimator, type) and is_learner(estimator)):
        return estimator
    lacking = [name for name in ("fit", "predict", "get_params") if not callable(getattr(estimator, name, None))]
    if lacking or isinstance(estimator, type):
        rest = "got a class: write its parentheses" if isinstance(estimator, type) else f"it has no {lacking[0]}"
        raise TypeError(
            "estimator must be a scikit-learn classifier (an object with fit, predict, get_params) or a learner (its "
            f"fit takes unlabeled= and seed=); {rest}"
        )
    return EstimatorLearner(estimator, X)


def is_learner(thing: Any) -> bool:
    """Whether its `fit` takes unlabeled= and seed=."""
    try:
        parameters = inspect.signature(thing.fit).parameters
    except (AttributeError, TypeError, ValueError):
        return False
    return {"unlabeled", "seed"} <= parameters.keys()


def given(learner: Any) -> Any:
    """What the user passed as estimator= for this learner."""
    return learner.estimator if isinstance(learner, EstimatorLearner) else learner


def check_goes_on(learner: Any) -> None:
    """ValueError for a learner whose fit cannot begin where that of the last round has ended."""
    thing, rule = (
        " ".join(repr(given(learner)).split()),
        "start='warm' needs an estimator with warm_start among its parameters",
    )
    if not isinstance(learner, EstimatorLearner):
        if "start" not in inspect.signature(learner.fit).parameters:
            raise ValueError(f"start='warm' needs a learner whose fit takes start=; {thing} has no such argument")
    elif _takes_in_rows(learner.estimator):
        return
    elif _warm_parameter(learner.estimator) is None:
        raise ValueError(f"{rule}; {thing} has none")
    elif _ADDS_MEMBERS & set(_last_step(learner.estimator).get_params(deep=False)):
        raise ValueError(f"{rule} by which training goes on; by that of {thing} only members are added")


def _takes_in_rows(estimator: Any) -> bool:
    """Whether its partial_fit of new rows equals a fit of all, as that of `pyal.heads.ClosedFormSoftmax` does."""
    return bool(getattr(estimator, "takes_in_rows", False))


def _last_step(estimator: Any) -> Any:
    """The estimator itself, of a scikit-learn pipeline the last one in it."""
    steps = getattr(estimator, "steps", None)
    return steps[-1][1] if isinstance(steps, list) else estimator


def _warm_parameter(estimator: Any) -> str | None:
    """The name that its parameter warm_start has; None where it has none."""
    last = _last_step(estimator)
    if not callable(getattr(last, "get_params", None)) or "warm_start" not in last.get_params(deep=False):
        return None
    return "warm_start" if last is estimator else f"{estimator.steps[-1][0]}__warm_start"


def _unseeded(estimator: Any) -> list[str]:
    """The names of its parameters random_state, those of its parts too, that are None."""
    every = estimator.get_params(deep=True)
    return [name for name, value in every.items() if value is None and name.split("__")[-1] == "random_state"]


def fitted(
    learner: Any,
    positions: NDArray[np.int64],
    labels: Sequence[Any],
    *,
    unlabeled: NDArray[np.int64],
    seed: int,
    **start: Any,
) -> Any:
    """A copy of the learner that is fitted to these labels; the learner itself stays as it was."""
    fresh = copy.copy(learner)
    fresh.fit(positions, np.asarray(labels), unlabeled=unlabeled, seed=seed, **start)
    return fresh


def model(learner: Any) -> Any:
    """Of a fitted learner what its user knows: the scikit-learn classifier, or the learner itself."""
    return learner.fitted if isinstance(learner, EstimatorLearner) else learner


def probabilities(learner: Any, n: int, classes: Sequence[Any], *, passes: int | None = None) -> NDArray[Any]:
    """(n, C) or (T, n, C) of a fitted learner for all rows, a column per class in the order given, and checked.

    Classes that it has not seen have columns of 0. passes: a seed asks for several passes, which learners without a
    method for them may return from predict_proba.
    """
    if passes is not None and callable(getattr(learner, "passes", None)):
        proba = as_numpy(learner.passes(np.arange(n), passes), "passes")
    elif callable(getattr(learner, "predict_proba", None)):
        proba = as_numpy(learner.predict_proba(np.arange(n)), "predict_proba")
    else:
        raise TypeError(f"estimator must have predict_proba, which the strategy needs; {learner!r} has none")
    return in_columns(proba, learner, classes, n)


def in_columns(proba: NDArray[Any], learner: Any, classes: Sequence[Any], n: int) -> NDArray[Any]:
    """What a learner has predicted for n rows, checked, with a column per class in the order given."""
    known = np.asarray(as_numpy(learner.classes_, "classes_")).tolist()
    if proba.ndim not in (2, 3) or proba.shape[-1] != len(known):
        raise ValueError(f"predict_proba must have a column for each of {len(known)} classes_; got {proba.shape}")
    strange = [label for label in known if label not in set(classes)]
    if strange:
        raise ValueError(f"classes_ must be among the classes of the loop (its classes=); got {first_few(strange)}")
    if known != list(classes):
        column = {label: i for i, label in enumerate(classes)}
        every = np.zeros((*proba.shape[:-1], len(classes)), proba.dtype)
        every[..., [column[label] for label in known]] = proba
        proba = every
    check_proba(proba, n)
    return proba


def activations(learner: Any, X: Matrix) -> Matrix | None:
    """(n, h) of a fitted learner's `features` for all rows, on X's device and looked at; None where it has none."""
    found = learner.features(np.arange(X.n)) if callable(getattr(learner, "features", None)) else None
    if found is None:
        return None
    features = kernels.checked_matrix(found, "features", device=X.device)
    if features.n != X.n:
        raise ValueError(f"features must have one row per row of X, {X.n}; got {features.n}")
    return features


def measured(learner: Any, test: HeldOut | Callable[[Any], Any]) -> dict[str, float]:
    """What a test says of a fitted learner: accuracy and balanced accuracy, or what a callable of the model returns."""
    if isinstance(test, HeldOut):
        predicted = learner.predict_rows(test.X)
        return {
            "accuracy": float(np.mean(predicted == test.y)),
            "balanced_accuracy": balanced_accuracy(test.y, predicted),
        }
    found = test(model(learner))
    return {str(k): float(v) for k, v in found.items()} if isinstance(found, Mapping) else {"test": float(found)}


def description(learner: Any) -> dict[str, Any] | None:
    """Import path and parameters of what the user passed as estimator=, as JSON holds them.

    What JSON cannot hold is put in words; parameters is None where a learner has no get_params.
    """
    if learner is None:
        return None
    thing = given(learner)
    asked = getattr(thing, "get_params", None)
    parameters = None
    if callable(asked):
        parameters = {name: _plain(value) for name, value in sorted(asked(deep=False).items())}
    return {"class": import_path(type(thing)), "parameters": parameters}


def rebuilt(kept: Mapping[str, Any] | None) -> Any:
    """The estimator or learner of a description; ValueError where it cannot be made from that alone."""
    if kept is None:
        return None
    parameters = kept["parameters"]
    if parameters is None:
        raise ValueError(f"the learner {kept['class']} cannot be rebuilt (it has no get_params); pass estimator=")
    in_words = [name for name, value in parameters.items() if isinstance(value, dict) and "tuple" not in value]
    if in_words:
        raise ValueError(
            f"the estimator {kept['class']} cannot be rebuilt (its {', '.join(in_words)}); pass estimator="
        )
    try:
        return imported(kept["class"])(
            **{name: tuple(v["tuple"]) if isinstance(v, dict) else v for name, v in parameters.items()}
        )
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the estimator {kept['class']} is not found ({error}); pass estimator=") from None


def import_path(thing: Callable[..., Any]) -> str:
    """ "module:name" of a class or function."""
    return f"{thing.__module__}:{thing.__qualname__}"


def imported(path: str) -> Any:
    """The class or function at "module:name"; ImportError or AttributeError where there is none."""
    module, _, names = path.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        members = [_plain(v) for v in value]
        if not any(isinstance(v, (list, dict)) for v in members):
            return members if isinstance(value, list) else {"tuple": members}
    text = repr(value)
    return {"repr": text if " at 0x" not in text else import_path(value if callable(value) else type(value))}


def on_host(X: Matrix) -> NDArray[Any]:
    """In a type that classifiers take."""
    array = np.asarray(as_numpy(X, "X"))
    return array.astype(np.float32) if array.dtype == np.float16 else array
