"""What a model would predict after one more label, for every candidate at once: of a kernel, of a linear classifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pyal import _cpu
from pyal.arrays import (
    Matrix,
    as_matrix,
    as_numpy,
    as_positions,
    empty,
    first_few,
    number,
    on_device,
    plain,
    row_blocks,
    size,
    vector,
    widened,
)
from pyal.kernels.launcher import launch
from pyal.kernels.matrices import checked_matrix, value_dtype
from pyal.kernels.memory import room

Objective = Literal["risk", "agreement", "soft_risk", "output_change", "expected_risk"]

_TILE = 1024  # rows and columns that are looked at together
# How far a kernel matrix may be from symmetric and positive semidefinite, as a share of its diagonal.
_ROUNDING = {"float64": 2.0**-40, "float32": 2.0**-12, "float16": 2.0**-6, "bfloat16": 2.0**-3}


def ntk_lookahead(
    R: Any,
    f: Any,
    labels: Any = None,
    batch_size: int = 1,
    *,
    labeled: Any = None,
    candidates: Any = None,
    targets: Any = None,
    objective: Objective = "risk",
    ridge: float | None = None,
    n_jobs: int | None = None,
) -> tuple[Any, Any, Any]:
    """Greedy look-ahead picks: (positions (b,), objectives (b,), scores (n,)), the last two float64.

    objectives holds the objective of each pick when it was made, scores the objective of every candidate before the
    first pick, and NaN elsewhere. Learning row j with label y moves the predictions of all rows to f + R[:, j]
    (onehot(y) - f_j) / (R_jj + ridge), and R accordingly: this is the closed form K (K_LL + ridge I)^-1 Y, exactly
    (Mohamadi et al. 2022, arXiv:2206.12569).

    R: (n, n) kernel of a Gaussian-process-like predictor, symmetric positive semidefinite: the prior where `labeled` is
        given, else the posterior. A `Matrix` is only looked at for its shape.
    f: (n, C) its predictions, before the rows `labeled` are learned too, within 1e18 of 0 (1e150 where R is float64).
    labels: (n,) the class that each row would be given. -1 or None: its largest prediction at that step.
    batch_size: b, how many rows to pick. 0 only scores.
    labeled: positions or a boolean mask of rows that are learned first, positions in the order given.
    targets: (n,) the right class of each row. -1 or None: its largest prediction.
    objective: what is least or largest over all n rows. "risk": rows whose class is not their target (least; Wen et al.
        2024). "agreement": rows that keep their class (least). "soft_risk": the sum of (1 - f[x, targets[x]])^2
        (least). "output_change": the sum of |change of f_x|, not squared (largest). "expected_risk": the sum of 1 - the
        maximum of f_x projected on the simplex (least). Ties in "risk" go to the lower soft risk, in "agreement" to the
        larger change, then to the lowest position.
    ridge: above 0. None: 1e-6 of the mean of R's diagonal.

    Raises ValueError for an R that is not symmetric or not positive semidefinite, as far as that is seen. Memory: 8 n
    (learned + picked) + O(n C) bytes, and where more than 8 rows are learned a working copy of R, (n, n) float32
    (float64 where R is).

    >>> K = [[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]]
    >>> ntk_lookahead(K, np.zeros((3, 2)), [1, 1, 1], targets=[1, 1, 1], ridge=0.1)[0].tolist()
    [0]
    """
    R = kernel_matrix(R)
    n = R.n
    f = _predictions(f, n)
    classes = f.shape[1]
    _within_range(f, value_dtype(R))
    ridge = mean_ridge(R) if ridge is None else number(ridge, "ridge")
    if ridge < _least_ridge(R):
        raise ValueError(f"ridge must be at least {_least_ridge(R):g} for R in {R.dtype}; got {ridge!r}")
    if objective not in get_args(Objective):
        raise ValueError(f"objective must be one of {', '.join(get_args(Objective))}; got {objective!r}")
    own, wanted = _classes(labels, n, classes, "labels"), _classes(targets, n, classes, "targets")
    learned = np.empty(0, np.int64) if labeled is None else _in_order(labeled, n)
    unknown = learned[own[learned] < 0]
    if unknown.size:
        raise ValueError(f"labels must hold the class of every labelled row; not so at {first_few(unknown)}")
    if candidates is None:
        allowed = np.setdiff1d(np.arange(n), learned)
    else:
        allowed = as_positions(candidates, n, "candidates")
        both = np.intersect1d(allowed, learned)
        if both.size:
            raise ValueError(f"candidates must not hold labelled rows; these are labelled: {first_few(both)}")
    b = size(batch_size, "batch_size", 0, allowed.size, " (the number of candidates)")
    if learned.size + b > _cpu.lookahead_pending:  # fewer need no working copy of R
        lookahead_room(n, value_dtype(R), R.device, copies=1)
    positions, objectives = empty((b,), "int64", R.device), empty((b,), "float64", R.device)
    scores = on_device(np.full(n, np.nan), R.device)
    indefinite = on_device(np.full(1, -1), R.device)
    launch(
        "ntk_lookahead",
        R,
        n_jobs,
        f=on_device(f, R.device),
        classes=classes,
        labels=on_device(own, R.device),
        targets=on_device(wanted, R.device),
        labeled=on_device(np.append(learned, 0), R.device),
        n_labeled=learned.size,
        candidates=on_device(np.append(allowed, 0), R.device),
        n_candidates=allowed.size,
        batch_size=b,
        objective=get_args(Objective).index(objective),
        ridge=ridge,
        positions=positions,
        objectives=objectives,
        scores=scores,
        indefinite=indefinite,
    )
    row = int(indefinite[0])
    if row >= 0:
        raise ValueError(f"R must be positive semidefinite; learning rows leaves a negative variance at row {row}")
    return positions, objectives, scores


def rank_one_gains(
    G: Any,
    errors: Any,
    scores: Any,
    labels: Any,
    *,
    scale: float = 1.0,
    cap: float = np.inf,
    n_jobs: int | None = None,
) -> tuple[Any, Any]:
    """How good a linear classifier is on V held-out rows after each of m candidates alone: (correct (m,), loss (m,)).

    Candidate j moves the scores of row v to s = scores_v + G[j, v] errors_j. correct: how many rows have their largest
    score, ties to the lowest class, at their label, int64. loss: the mean over the rows of min(cap, logsumexp(scale s)
    - scale s[label]), in nats, float64. Both are made of the same s in double; those that rounding makes equal are
    tied. Memory: 24 V C + 8 m C bytes.

    G: (m, V) how far each candidate moves each row: k_j . x_v for a step that adds (t_j - W x_j) k_j' to W.
    errors: (m, C) the targets of the candidates less what is predicted for them, within 1e150 of 0.
    scores: (V, C) before, within 1e300 of 0. -inf is a class that is not known and stays so.
    labels: (V,) columns of scores. Where the score of its label is -inf a row is wrong and its loss the cap.
    scale: what scores are multiplied by in the loss, an inverse temperature above 0.
    cap: the largest loss of a row, above 0.

    Raises ValueError where shapes do not fit, values are not finite, or a row of scores has no finite one.

    >>> correct, loss = rank_one_gains([[0.0], [2.0]], [[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0]], [0])
    >>> correct.tolist(), loss.round(3).tolist()
    ([0, 1], [1.313, 0.313])
    """
    moves = plain(checked_matrix(G, "G"))
    m, V = moves.n, moves.d
    E, S = _table(errors, "errors"), _table(scores, "scores")
    if len(E) != m:
        raise ValueError(f"errors must have one row per row of G, {m}; got {len(E)}")
    if len(S) != V:
        raise ValueError(f"scores must have one row per column of G, {V}; got {len(S)}")
    if E.shape[1] != S.shape[1]:
        raise ValueError(f"errors must have the classes of scores, {S.shape[1]}; got {E.shape[1]}")
    bad = np.flatnonzero(~(np.abs(E) <= 1e150).all(axis=1))
    if bad.size:
        raise ValueError(f"errors must be numbers within 1e150 of 0; not so in row {first_few(bad)}")
    bad = np.flatnonzero(~((np.abs(S) <= 1e300) | np.isneginf(S)).all(axis=1) | np.isneginf(S).all(axis=1))
    if bad.size:
        raise ValueError(
            f"scores must be numbers within 1e300 of 0 or -inf, not all -inf in a row; not so in row {first_few(bad)}"
        )
    own = vector(labels, V, "labels", "iu", "int64")
    bad = np.flatnonzero((own < 0) | (own >= S.shape[1]))
    if bad.size:
        raise ValueError(f"labels must be in 0 .. {S.shape[1] - 1}; got {own[bad[0]]} at {first_few(bad)}")
    correct, loss = empty((m,), "int64", moves.device), empty((m,), "float64", moves.device)
    launch(
        "rank_one_gains",
        moves,
        n_jobs,
        errors=on_device(E, moves.device),
        scores=on_device(np.ascontiguousarray(S.T), moves.device),
        labels=on_device(own, moves.device),
        C=S.shape[1],
        scale=number(scale, "scale"),
        cap=number(cap, "cap", infinite=True),
        correct=correct,
        loss=loss,
    )
    return correct, loss


def _table(values: Any, name: str) -> NDArray[np.float64]:
    """(., C) float64 on the host."""
    found = as_numpy(values, name)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {found.dtype}")
    if found.ndim != 2 or not found.shape[1]:
        raise ValueError(f"{name} must be 2-D, a column for each class; got shape {found.shape}")
    return np.ascontiguousarray(found, np.float64)


def _in_order(labeled: Any, n: int) -> NDArray[np.int64]:
    """Positions as they come, or those of a mask: of equal rows with different classes the first one counts."""
    ascending, given = as_positions(labeled, n, "labeled"), as_numpy(labeled, "labeled")
    return ascending if given.dtype.kind not in "iu" else given.astype(np.int64)


def lookahead_room(n: int, dtype: str, device: str, copies: int) -> None:
    """MemoryError where `copies` matrices (n, n) have no room: the kernel and its working copy are two."""
    what = f"looking ahead over {n} rows ({copies} of {n} x {n} in {dtype}; fewer candidates need less)"
    room(copies * n * n * np.dtype(dtype).itemsize, device, what)


def mean_ridge(R: Matrix) -> float:
    """The default ridge: 1e-6 of the mean of the diagonal, and of a size that can be divided by."""
    return max(1e-6 * float((_diagonal(R) / R.n).sum()), _least_ridge(R))


def determined_share(R: Matrix) -> float:
    """A row whose variance, the ridge included, falls to this share of its first is determined by what was learned."""
    return float(_cpu.lookahead_determined[value_dtype(R)])


def kernel_matrix(R: Any, name: str = "R") -> Matrix:
    """R as `Matrix`: square, finite, symmetric, with no negative diagonal and no negative 2 x 2 minor beyond rounding.

    Raises ValueError that says where it is not so. A `Matrix` is passed on once it is square. Memory: a few MB.
    """
    rows = plain(as_matrix(R, name))
    if rows.n != rows.d:
        raise ValueError(f"{name} must be square, (n, n); got shape {(rows.n, rows.d)}")
    if isinstance(R, Matrix):
        return rows
    diagonal = _diagonal(rows)
    bad = np.flatnonzero(~np.isfinite(diagonal))
    if bad.size:
        raise ValueError(f"{name} must be finite; NaN or infinity on the diagonal at row {first_few(bad)}")
    if (diagonal < 0).any():
        row = int(np.argmax(diagonal < 0))
        raise ValueError(f"{name} must be positive semidefinite; its diagonal holds {diagonal[row]:g} at row {row}")
    slack = _ROUNDING[rows.dtype]
    reach = np.sqrt(diagonal)
    reach += np.sqrt(slack) * float(reach.max())
    for i, j, tile, mirrored in _tiles(rows):
        largest = reach[i, None] * reach[j] * (1 + slack)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is an error, not a warning
            difference = np.abs(tile - mirrored)
        for wrong, rule in (
            (~(np.isfinite(tile) & np.isfinite(mirrored)), "be finite"),
            (~(difference <= slack * largest), "be symmetric"),
            (np.abs(tile) > largest, "be positive semidefinite"),
        ):
            if wrong.any():
                a, b = (int(at[0]) for at in np.nonzero(wrong))
                raise ValueError(
                    f"{name} must {rule}; {name}[{i.start + a}, {j.start + b}] is {tile[a, b]:g} and "
                    f"{name}[{j.start + b}, {i.start + a}] is {mirrored[a, b]:g}, the diagonal entries "
                    f"{diagonal[i.start + a]:g} and {diagonal[j.start + b]:g}"
                )
    return rows


def _tiles(R: Matrix) -> Iterator[tuple[slice, slice, NDArray[np.floating], NDArray[np.floating]]]:
    """Row slice, column slice, R there and R^T there, over the tiles on and above the diagonal, on the host."""
    dtype = value_dtype(R)
    parts = list(row_blocks(R.n, _TILE))
    for i, j in ((i, j) for at, i in enumerate(parts) for j in parts[at:]):
        tile, mirrored = (widened(Matrix(R.array[a, b], R.dtype, R.device), dtype).array for a, b in ((i, j), (j, i)))
        yield i, j, as_numpy(tile, "R"), as_numpy(mirrored, "R").T


def _diagonal(R: Matrix) -> NDArray[np.float64]:
    step = np.arange(R.n)
    diagonal = R.array[step, step] if R.device == "cpu" else R.array.diagonal()
    column = Matrix(diagonal[:, None], R.dtype, R.device)
    return as_numpy(widened(column, "float64").array, "R")[:, 0]


def _predictions(f: Any, n: int) -> NDArray[np.float64]:
    found = np.ascontiguousarray(as_numpy(f, "f"))
    if found.ndim != 2 or found.shape[0] != n or found.shape[1] < 1:
        raise ValueError(f"f must be (n, C) with n = {n}, one row per row of R, and C >= 1; got shape {found.shape}")
    if found.dtype.kind not in "iufb":
        raise TypeError(f"f must hold real numbers; got dtype {found.dtype}")
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if bad.size:
        raise ValueError(f"f must be finite; NaN or infinity in row {first_few(bad)}")
    return found.astype(np.float64)


def _within_range(f: NDArray[np.float64], computed: str) -> None:
    """ValueError where sums of squares of f would leave the type that is computed in."""
    limit = 1e150 if computed == "float64" else 1e18
    wrong = np.abs(f).max(axis=1) > limit
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"f must lie within {limit:g} of 0, for {computed} to hold sums of its squares; "
            f"got {f[row, np.abs(f[row]).argmax()]:g} in row {row}"
        )


def _least_ridge(R: Matrix) -> float:
    """1 / ridge must be finite in the type that R is computed with in: a row of variance 0 is divided by it."""
    return 4 * float(np.finfo(value_dtype(R)).tiny)


def _classes(a: Any, n: int, classes: int, name: str) -> NDArray[np.int64]:
    if a is None:
        return np.full(n, -1, np.int64)
    found = vector(a, n, name, "iu", "int64")
    outside = np.flatnonzero((found < -1) | (found >= classes))
    if outside.size:
        row = int(outside[0])
        raise ValueError(
            f"{name} must lie in 0 .. {classes - 1}, the columns of f, or be -1; got {found[row]} at {row}"
        )
    return found
