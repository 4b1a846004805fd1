"""What every head does with X and y before it computes: scikit-learn's checks, arrays from any library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets

from pyal.arrays import as_numpy


def checked_X(estimator: Any, X: Any, *, first: bool) -> NDArray[Any]:
    """(n, d) finite float32 or float64; first: its columns are remembered, else compared with those remembered."""
    return _validated(estimator, first, _host(X, "X"), dtype=[np.float64, np.float32])  # type: ignore[no-any-return]


def checked_X_y(estimator: Any, X: Any, y: Any, *, first: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """`checked_X`, and (n,) class labels."""
    y = y if y is None else as_numpy(y, "y")
    X, y = _validated(estimator, first, _host(X, "X"), y=y, dtype=[np.float64, np.float32])
    check_classification_targets(y)
    return X, y


def one_hot(y: NDArray[Any], classes: NDArray[Any], dtype: Any = np.float64) -> NDArray[Any]:
    """(n, C); classes are sorted and hold every label."""
    Y: NDArray[Any] = np.zeros((len(y), len(classes)), dtype)
    Y[np.arange(len(y)), np.searchsorted(classes, y)] = 1
    return Y


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """Softmax of the rows, in place; scores of any finite size."""
    scores -= scores.max(1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(1, keepdims=True)
    return scores


def _host(X: Any, name: str) -> Any:
    """X on the host; a frame as it is, for scikit-learn to look at the names of its columns."""
    return X if hasattr(X, "columns") else as_numpy(X, name)


def _validated(estimator: Any, first: bool, X: Any, **options: Any) -> Any:
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn before 1.6
        return estimator._validate_data(X, reset=first, **options)
    return validate_data(estimator, X, reset=first, **options)
