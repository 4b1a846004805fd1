"""Kernels about what class probabilities of several models tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_matrix, as_numpy, as_positions, empty, on_device
from pyal.kernels.launcher import launch


def mixture_entropies(
    proba: Any, mixtures: Any = None, weights: Any = None, *, candidates: Any = None, n_jobs: int | None = None
) -> Any:
    """Mean entropy of mixtures of the passes, in nats: sum_j weights_j H(sum_t mixtures_jt p_t) for every row, (n,).

    It is float64 and computed in double. Whether the passes are probabilities is not looked at. With a mixture of equal
    parts of all passes less the passes by themselves this is BALD. Memory: O(n + M T), and a copy of proba where it is
    not C-contiguous.

    proba: (T, n, C), or (n, C) for one pass.
    mixtures: (M, T), not negative. None: each pass by itself, M = T.
    weights: (M,), not negative. None: 1 / M each.
    candidates: positions of the rows asked for, in ascending order. None: all rows.

    >>> P = [[[1.0, 0.0]], [[0.0, 1.0]]]
    >>> mixture_entropies(P, [[0.5, 0.5]]).round(3).tolist(), mixture_entropies(P).tolist()
    ([0.693], [0.0])
    """
    proba = proba if hasattr(proba, "reshape") else as_numpy(proba, "proba")
    shape = tuple(proba.shape)
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(f"proba must be (T, n, C) or (n, C); got shape {shape}")
    passes, n, classes = shape if len(shape) == 3 else (1, *shape)
    X = as_matrix(proba.reshape(passes, n * classes), "proba")
    M = passes
    if mixtures is not None:
        mixtures = _shares(mixtures, "mixtures")
        if mixtures.ndim != 2 or mixtures.shape[1] != passes or not len(mixtures):
            raise ValueError(f"mixtures must be (M, {passes}), a share for each pass; got shape {mixtures.shape}")
        M = len(mixtures)
        mixtures = on_device(np.ascontiguousarray(mixtures.T), X.device)
    weights = np.full(M, 1 / M) if weights is None else _shares(weights, "weights")
    if weights.shape != (M,):
        raise ValueError(f"weights must have shape ({M},); got {weights.shape}")
    rows = None if candidates is None else as_positions(candidates, n, "candidates")
    entropies = empty((n if rows is None else len(rows),), "float64", X.device)
    if len(entropies):
        launch(
            "mixture_entropies",
            X,
            n_jobs,
            classes=classes,
            mixtures=mixtures,
            weights=on_device(weights, X.device),
            m=M,
            candidates=None if rows is None else on_device(rows, X.device),
            n_candidates=0 if rows is None else len(rows),
            entropies=entropies,
        )
    return entropies


def _shares(values: Any, name: str) -> NDArray[np.float64]:
    found = as_numpy(values, name)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {found.dtype}")
    found = np.ascontiguousarray(found, np.float64)
    if not (np.isfinite(found).all() and (found >= 0).all()):
        raise ValueError(f"{name} must be finite and not negative")
    return found
