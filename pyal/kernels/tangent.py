"""The neural tangent kernel of ReLU networks, and the networks that its empirical kind belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import Matrix, as_numpy, empty, generator, number, on_device, plain, size, widened
from pyal.kernels.launcher import launch
from pyal.kernels.matrices import checked_matrix, sqnorms, value_dtype
from pyal.kernels.memory import room

_KINDS = ("empirical", "infinite")  # in the order of NtkKind
_WIDTH, _OUTPUTS = 512, 10
Weights = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def ntk_weights(d: int, width: int = _WIDTH, n_outputs: int = _OUTPUTS, *, random_state: Any = None) -> Weights:
    """Fresh weights of a network with one hidden ReLU layer: (W1 (width, d), b1 (width,), W2 (n_outputs, width), b2).

    They are float64. W1 ~ N(0, 2 / d) keeps the scale of the inputs (He et al. 2015, arXiv:1502.01852), W2 ~ N(0, 1 /
    width), and the biases are 0. Memory: the weights.

    d: columns of the inputs.
    width: hidden units.
    n_outputs: outputs.

    >>> [w.shape for w in ntk_weights(4, 16, 3, random_state=0)]
    [(16, 4), (16,), (3, 16), (3,)]
    """
    d, width, n_outputs = size(d, "d", 1), size(width, "width", 1), size(n_outputs, "n_outputs", 1)
    rng = generator(random_state)
    W1 = rng.standard_normal((width, d)) * np.sqrt(2 / d)
    W2 = rng.standard_normal((n_outputs, width)) / np.sqrt(width)
    return W1, np.zeros(width), W2, np.zeros(n_outputs)


def ntk_outputs(X: Any, weights: Any) -> Any:
    """Outputs of the network at these weights, W2 relu(W1 x + b1) + b2 for every row x of X: (n, C).

    At these outputs `ntk(X, weights=weights)` is linearised: they are the f0 of kernel regression with it. They are
    computed in double and returned as float32, or float64 where X is. Memory: the outputs and a few MB.

    weights: what `ntk_weights` returns.

    >>> ntk_outputs([[1.0], [-2.0]], ([[1.0], [-1.0]], [0.0, 0.0], [[1.0, 1.0]], [0.5])).ravel().tolist()
    [1.5, 2.5]
    """
    X = checked_matrix(X)
    W1, b1, W2, b2 = _checked(weights, X.d)
    out = empty((X.n, len(b2)), value_dtype(X), X.device)
    W2, b2 = on_device(W2, X.device), on_device(b2, X.device)
    for part, hidden in _preactivations(X, W1, b1):
        out[part] = hidden.clip(0) @ W2.T + b2
    return out


def ntk(
    X: Any,
    Z: Any = None,
    *,
    kind: Literal["empirical", "infinite"] = "empirical",
    weights: Any = None,
    width: int | None = None,
    n_outputs: int | None = None,
    random_state: Any = None,
    depth: int | None = None,
    weight_variance: float | None = None,
    bias_variance: float | None = None,
    n_jobs: int | None = None,
) -> Any:
    """Neural tangent kernel of the rows of X with the rows of Z, (n, m), or of X with itself, symmetric.

    kind="empirical" is the kernel of f = W2 relu(W1 x + b1) + b2 at given weights, averaged over its C outputs:
    relu(a_x) . relu(a_z) + 1 + (x . z + 1) sum_h v_h [a_xh > 0] [a_zh > 0], with a = W1 x + b1 and v_h = mean_c
    W2_ch^2. Derivatives are taken by the weights themselves, without factors of the width.

    kind="infinite" is its limit of infinite width with `depth` hidden layers, where derivatives are scaled so that the
    limit exists (Jacot et al. 2018, arXiv:1806.07572).

    Z: (m, d). None: X itself.
    kind: "empirical" or "infinite"; each refuses the arguments of the other.
    weights: (W1 (h, d), b1 (h,), W2 (C, h), b2 (C,)), for "empirical". None: `ntk_weights` draws them.
    width: hidden units that are drawn; None means 512.
    n_outputs: outputs that are drawn; None means 10.
    depth: hidden layers, for "infinite"; None means 1.
    weight_variance: weights of "infinite" have this variance / fan-in; None means 2.
    bias_variance: variance of the biases of "infinite"; None means 0.

    It is computed in float32 (float64 where X or Z is), activations and angles in double. n_jobs does not reach the
    matrix product that gives the activations. Raises MemoryError where the kernel has no room. Memory: the kernel, for
    "empirical" also n + m rows of h activations, and some MB per thread.

    >>> ntk([[1.0], [2.0]], kind="infinite").round(9).tolist()
    [[4.0, 8.0], [8.0, 16.0]]
    """
    if kind not in _KINDS:
        raise ValueError(f"kind must be 'empirical' or 'infinite'; got {kind!r}")
    drawn = {"width": width, "n_outputs": n_outputs, "random_state": random_state}
    limit = {"depth": depth, "weight_variance": weight_variance, "bias_variance": bias_variance}
    _refused(limit if kind == "empirical" else {"weights": weights, **drawn}, f"kind={kind!r} has no use for it")
    if weights is not None:
        _refused(drawn, "weights are given, and nothing is drawn")
    X = plain(checked_matrix(X))
    Z = None if Z is None else plain(checked_matrix(Z, "Z", device=X.device))
    if Z is not None and Z.d != X.d:
        raise ValueError(f"Z must have the {X.d} columns of X; got {Z.d}")
    if Z is not None and Z.dtype != X.dtype:
        dtype = "float64" if "float64" in (X.dtype, Z.dtype) else "float32"
        X, Z = widened(X, dtype), widened(Z, dtype)
    if kind == "empirical":
        if weights is None:
            shape = _WIDTH if width is None else width, _OUTPUTS if n_outputs is None else n_outputs
            weights = ntk_weights(X.d, *shape, random_state=random_state)
        weights = _checked(weights, X.d)
        _room(X, Z, len(weights[1]))
        with np.errstate(over="ignore"):  # what is too large is an error, not a warning
            arguments = _empirical(X, Z, weights)
        return _kernel(X, Z, n_jobs, arguments)
    depth = 1 if depth is None else size(depth, "depth", 1)
    w = 2.0 if weight_variance is None else number(weight_variance, "weight_variance")
    b = 0.0 if bias_variance is None else _not_negative(bias_variance, "bias_variance")
    _room(X, Z, 0)
    with np.errstate(over="ignore"):
        arguments = _infinite(X, Z, depth, w, b, n_jobs)
    return _kernel(X, Z, n_jobs, arguments)


def _refused(arguments: dict[str, Any], why: str) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} must be None: {why}; got {value!r}")


def _not_negative(value: Any, name: str) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else number(value, name)


def _room(X: Matrix, Z: Matrix | None, width: int) -> None:
    """MemoryError where the kernel and the activations have no room."""
    m, dtype = (X if Z is None else Z).n, value_dtype(X)
    values = X.n * m + (X.n + (0 if Z is None else m)) * width
    room(values * np.dtype(dtype).itemsize, X.device, f"the kernel of {X.n} x {m} rows in {dtype}")


def _kernel(X: Matrix, Z: Matrix | None, n_jobs: int | None, arguments: dict[str, Any]) -> Any:
    m, dtype = (X if Z is None else Z).n, value_dtype(X)
    K = empty((X.n, m), dtype, X.device)
    unused = {"width": 0, "x_hidden": None, "z_hidden": None, "output_weight": None, "depth": 0,
              "weight_variance": 0.0, "bias_variance": 0.0, "x_roots": None, "z_roots": None}  # fmt: skip
    launch("ntk", X, n_jobs, Z=None if Z is None else Z.address, m=m, **{**unused, **arguments}, K=K)
    return K


def _checked(weights: Any, d: int) -> Weights:
    """(W1, b1, W2, b2) in float64 on the host, of shapes that fit, finite."""
    if not isinstance(weights, (tuple, list)) or len(weights) != 4:
        raise TypeError(f"weights must be the four arrays (W1, b1, W2, b2); got {type(weights).__name__}")
    names = ("W1", "b1", "W2", "b2")
    arrays = [as_numpy(w, f"weights ({name})") for w, name in zip(weights, names, strict=True)]
    width = arrays[0].shape[0] if arrays[0].ndim else 0
    outputs = arrays[3].shape[0] if arrays[3].ndim else 0
    for name, array, shape in zip(names, arrays, [(width, d), (width,), (outputs, width), (outputs,)], strict=True):
        if array.shape != shape or 0 in shape:
            raise ValueError(
                f"weights must have shapes (h, {d}), (h,), (C, h), (C,) with h, C >= 1; got {name} of {array.shape}"
                + (f" beside h = {width}, C = {outputs}" if name in ("b1", "W2") else "")
            )
        if array.dtype.kind not in "iuf":
            raise TypeError(f"weights must hold real numbers; got {name} of dtype {array.dtype}")
        if not np.isfinite(array).all():
            raise ValueError(f"weights must be finite; NaN or infinity in {name}")
    W1, b1, W2, b2 = (np.ascontiguousarray(array, np.float64) for array in arrays)
    return W1, b1, W2, b2


def _preactivations(X: Matrix, W1: NDArray[np.float64], b1: NDArray[np.float64]) -> Iterator[tuple[slice, Any]]:
    """W1 x + b1 in double, a few MB at a time."""
    W1, b1 = on_device(W1, X.device), on_device(b1, X.device)
    for part, block in X.blocks(width=len(b1)):
        yield part, block @ W1.T + b1


def _empirical(X: Matrix, Z: Matrix | None, weights: Weights) -> dict[str, Any]:
    """What the kernel needs of the network: pre-activations, and the mean square of the output weights of each unit."""
    W1, b1, W2, _ = weights
    dtype = value_dtype(X)
    output_weight = (W2**2).mean(0)
    hidden, largest = [], []
    for each in [X] if Z is None else [X, Z]:
        hidden.append(empty((each.n, len(b1)), dtype, X.device))
        most = 0.0
        for part, block in _preactivations(each, W1, b1):
            hidden[-1][part] = block
            most = max(most, float((block.clip(0) ** 2).sum(1).max()))
        largest.append(most + 1 + float(output_weight.sum()) * (float(sqnorms(each).max()) + 1))
    _representable(largest, dtype)
    return {"kind": _KINDS.index("empirical"), "width": len(b1), "x_hidden": hidden[0], "z_hidden": hidden[-1],
            "output_weight": on_device(output_weight.astype(dtype), X.device)}  # fmt: skip


def _infinite(X: Matrix, Z: Matrix | None, depth: int, w: float, b: float, n_jobs: int | None) -> dict[str, Any]:
    """What the kernel needs of the limit: the square roots of every layer's variance."""
    roots, largest = [], []
    for each in [X] if Z is None else [X, Z]:
        variance = w / X.d * sqnorms(each, n_jobs=n_jobs) + b
        roots.append(empty((depth + 1, each.n), "float64", X.device))
        diagonal = 0 * variance
        for layer in range(depth + 1):
            variance = w / 2 * variance + b if layer else variance
            diagonal = variance + w / 2 * diagonal
            roots[-1][layer] = variance**0.5
        largest.append(float(diagonal.max()))
    _representable(largest, value_dtype(X))
    return {"kind": _KINDS.index("infinite"), "depth": depth, "weight_variance": w, "bias_variance": b,
            "x_roots": roots[0], "z_roots": roots[-1]}  # fmt: skip


def _representable(largest: list[float], dtype: str) -> None:
    """No value is larger than the larger of the two diagonals (Cauchy and Schwarz)."""
    limit = float(np.finfo(dtype).max)
    if not max(largest) < limit / 2:
        hint = "; give X in float64" if dtype == "float32" else ""
        raise ValueError(f"X and Z must give kernel values that {dtype} holds; got one of {max(largest):g}{hint}")
