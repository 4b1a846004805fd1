"""The classifier of a loop: a fresh copy fitted each round, what it says of all rows, and how it is found again."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import BLOCK_ELEMENTS, Matrix, as_numpy
from pyal.metrics import balanced_accuracy


def estimator_checked(estimator: Any) -> Any:
    """The estimator, a scikit-learn classifier that is not fitted here, or None; TypeError for anything else."""
    if estimator is None:
        return None
    lacking = [name for name in ("fit", "predict", "get_params") if not callable(getattr(estimator, name, None))]
    if lacking or isinstance(estimator, type):
        rest = "got a class: write its parentheses" if isinstance(estimator, type) else f"it has no {lacking[0]}"
        raise TypeError(
            f"estimator must be a scikit-learn classifier (an object with fit, predict, get_params); {rest}"
        )
    return estimator


def fitted(estimator: Any, X: Matrix, positions: NDArray[np.int64], labels: Sequence[Any], seed: int) -> Any:
    """A clone of the estimator fitted to the rows at `positions`; what in it is random and has no seed is given one.

    Labels of one class only are fitted by a constant (scikit-learn's DummyClassifier), as most classifiers need two.
    """
    from sklearn.base import clone
    from sklearn.dummy import DummyClassifier

    fresh = clone(estimator) if len(set(labels)) > 1 else DummyClassifier(strategy="prior")
    seeds = {
        name: seed
        for name, value in fresh.get_params(deep=True).items()
        if value is None and name.split("__")[-1] == "random_state"
    }
    if seeds:
        fresh.set_params(**seeds)
    return fresh.fit(_on_host(X.take(positions)), np.asarray(labels))


def probabilities(estimator: Any, X: Matrix, classes: Sequence[Any]) -> NDArray[np.floating]:
    """(N, C) of the fitted estimator, a column per class in the order given; 0 for classes that it has not seen.

    Asked block by block. Raises TypeError where the estimator has no predict_proba, ValueError where its columns are
    not its classes.
    """
    if not callable(getattr(estimator, "predict_proba", None)):
        raise TypeError(f"estimator must have predict_proba, which the strategy needs; {estimator!r} has none")
    column = {label: i for i, label in enumerate(classes)}
    known = as_numpy(estimator.classes_, "classes_").tolist()
    columns = [column[label] for label in known]
    out: NDArray[np.floating] | None = None
    for part, block in _blocks(X):
        proba = as_numpy(estimator.predict_proba(block), "predict_proba")
        if proba.shape != (len(block), len(known)):
            raise ValueError(f"predict_proba must give {(len(block), len(known))}, rows x classes; got {proba.shape}")
        if out is None:
            out = np.zeros((X.n, len(classes)), np.float32 if proba.dtype == np.float32 else np.float64)
        out[part, columns] = proba
    assert out is not None
    return out


def activations(estimator: Any, X: Matrix) -> NDArray[Any] | None:
    """(N, h) of `estimator.features`, asked block by block; None where it has no such method."""
    if not callable(getattr(estimator, "features", None)):
        return None
    return np.concatenate([as_numpy(estimator.features(block), "features") for _, block in _blocks(X)])


def held_out_scores(estimator: Any, X: Matrix, y: NDArray[Any]) -> dict[str, float]:
    """Accuracy and balanced accuracy (mean recall of the classes in y) of the fitted estimator on (X, y)."""
    predicted = np.concatenate([as_numpy(estimator.predict(block), "predict") for _, block in _blocks(X)])
    return {"accuracy": float(np.mean(predicted == y)), "balanced_accuracy": balanced_accuracy(y, predicted)}


def described(estimator: Any) -> dict[str, Any] | None:
    """Import path and parameters of the estimator as JSON holds them; what it cannot hold is put in words."""
    if estimator is None:
        return None
    parameters = {name: _plain(value) for name, value in sorted(estimator.get_params(deep=False).items())}
    return {"class": import_path(type(estimator)), "parameters": parameters}


def rebuilt(description: Mapping[str, Any] | None) -> Any:
    """The estimator of a description; ValueError where it cannot be made from that alone."""
    if description is None:
        return None
    parameters = description["parameters"]
    in_words = [name for name, value in parameters.items() if isinstance(value, dict) and "tuple" not in value]
    if in_words:
        raise ValueError(
            f"the estimator {description['class']} cannot be rebuilt (its {', '.join(in_words)}); pass estimator="
        )
    try:
        return imported(description["class"])(
            **{name: tuple(v["tuple"]) if isinstance(v, dict) else v for name, v in parameters.items()}
        )
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the estimator {description['class']} is not found ({error}); pass estimator=") from None


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


def _blocks(X: Matrix) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Slices of rows and the rows on the host in a type that classifiers take, some 100 MB at a time."""
    step = max(1, 16 * BLOCK_ELEMENTS // X.d)
    for begin in range(0, X.n, step):
        part = slice(begin, min(begin + step, X.n))
        yield part, _on_host(X.part(part))


def _on_host(X: Matrix) -> NDArray[Any]:
    array = np.asarray(as_numpy(X, "X"))
    return array.astype(np.float32) if array.dtype == np.float16 else array
