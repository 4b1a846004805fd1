"""Least squares that takes further rows: a fit from a triangular factor, then updates by the compiled kernel."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import Matrix, address, as_matrix, as_numpy, cast, first_few, number, on_device, plain
from pyal.kernels.launcher import launch

Array = NDArray[np.float64]
Method = Literal["solve", "inv", "pinv"]

_EPSILON = float(np.finfo(np.float64).eps)
# Above the second share of the largest norm a row adds a direction, below the first (times d) it does not.
_DOUBT_LOW, _DOUBT_HIGH = 10 * _EPSILON, 1e-4
_NORMS = (1e-140, 1e140)  # outside, squares leave the range of float64


def recursive_least_squares(
    X: Any, targets: Any, *, root: Any, coef: Any, rank: int, basis: Any = None, scale: float = 0.0,
    n_jobs: int | None = None,
) -> tuple[int, int, float]:  # fmt: skip
    """How many rows of X a least-squares fit has taken in, and its rank and scale after them: (taken, rank, scale).

    The fit is changed in place, by updates of O(d^2 + d C) a row in double (Greville 1960, Potter 1963). With Z the
    rows that it has taken in so far:

    targets: (m, C), one row for each row of X.
    root: (d, d). Its first `rank` rows R have R'R = pinv(Z'Z).
    coef: (C, d), the minimum-norm map to the targets.
    rank: of Z.
    basis: (d, d). Its first `rank` rows are an orthonormal basis of the rows of Z. None: rank must be d.
    scale: the largest norm of a row of Z.

    root, coef and basis are C-contiguous float64 arrays where X lives. taken is smaller than m where rounding would
    decide whether row number `taken` lies in the span of the earlier ones: this row and those after it then need a fit
    of all rows. Memory: O(d^2 / 64).

    >>> root, basis, coef = np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((1, 2))
    >>> recursive_least_squares([[2.0, 0.0], [0.0, 4.0]], [[1.0], [3.0]], root=root, basis=basis, coef=coef, rank=0)
    (2, 2, 4.0)
    >>> coef
    array([[0.5 , 0.75]])
    """
    rows = plain(as_matrix(X))
    d = rows.d
    bad = np.flatnonzero(~np.isfinite(as_numpy(rows, "X")).all(1))
    if bad.size:
        raise ValueError(f"X must be finite; NaN or infinity in row {first_few(bad)}")
    goals = as_matrix(targets, "targets", device=rows.device)
    if goals.n != rows.n:
        raise ValueError(f"targets must have one row per row of X, {rows.n}; got {goals.n}")
    if not np.isfinite(as_numpy(goals, "targets")).all():
        raise ValueError("targets must be finite; got NaN or infinity")
    _in_place(root, (d, d), "root", rows)
    _in_place(coef, (goals.d, d), "coef", rows)
    if basis is not None:
        _in_place(basis, (d, d), "basis", rows)
    if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)):
        raise TypeError(f"rank must be an integer; got {rank!r}")
    scale = number(scale, "scale", low=-1e-300)
    if not (rank == d or (basis is not None and 0 <= rank < d)):
        raise ValueError(f"rank must be {d}, or with a basis in 0 .. {d}; got {rank}")
    counts, largest = on_device(np.array([rank, 0]), rows.device), on_device(np.array([scale], float), rows.device)
    launch(
        "recursive_least_squares",
        rows,
        n_jobs,
        targets=cast(goals.array, "float64"),
        C=goals.d,
        root=root,
        basis=basis,
        coef=coef,
        doubt_low=_DOUBT_LOW * d,
        doubt_high=_DOUBT_HIGH,
        scale=largest,
        counts=counts,
    )
    return int(counts[1]), int(counts[0]), float(largest[0])


def _in_place(a: Any, shape: tuple[int, int], name: str, rows: Matrix) -> None:
    found = as_matrix(a, name)
    if (found.n, found.d) != shape:
        raise ValueError(f"{name} must have shape {shape}; got {(found.n, found.d)}")
    same = found.dtype == "float64" and found.device == rows.device and found.address == address(a)
    if not same or not getattr(getattr(a, "flags", None), "writeable", True):
        raise ValueError(
            f"{name} must be a writable C-contiguous float64 array on {rows.device}: it is changed in place"
        )


def compressed(X: Array, Y: Array) -> tuple[Array, Array]:
    """At most d rows (R, Z) with R'R = X'X and R'Z = X'Y, R upper triangular: the same least-squares problem.

    By QR factorisations of blocks of rows, O(n d^2) without squaring the condition. Memory O(d^2 + d C).
    """
    d = X.shape[1]
    kept = np.empty((0, d + Y.shape[1]))
    step = 4 * kept.shape[1]
    for begin in range(0, len(X), step):
        part = slice(begin, begin + step)
        kept = np.asarray(np.linalg.qr(np.vstack([kept, np.hstack([X[part], Y[part]])]), mode="r"))[:d]
    return kept[:, :d].copy(), kept[:, d:].copy()


class LeastSquares:
    """The minimum-norm least-squares map coef (C, d) of rows X (n, d) to targets Y (n, C), to which rows can be added.

    X and Y must be finite. Memory: O(d^2 + d C), whatever n is.

    method: how the normal equations are solved where X has full column rank. "solve" takes a triangular factor of X,
        "inv" the explicit inverse of X'X, "pinv" the singular values of X, of which those up to max(n, d) eps times the
        largest count as 0. The first two turn to the third where the factor's estimated reciprocal condition is at most
        max(n, d) eps.
    ridge: lambda, the multiple of the identity that is added to X'X.
    relative: whether lambda is ridge tr(X'X) / d instead.

    `add` costs O(d^2 + d C) a row and equals a fit of all rows. Now and then it does fit all rows again, in O(d^3):
    where a row lies so close to the span of the others that rounding decides the rank, where norms leave 1e-140 ..
    1e140, and every d rows or so, which keeps rounding from piling up. With relative=True it always does, as lambda
    changes with every row.
    """

    def __init__(
        self, X: Array, Y: Array, *, method: Method = "solve", ridge: float = 0.0, relative: bool = False,
        n_jobs: int | None = None,
    ) -> None:  # fmt: skip
        self.method, self.ridge, self.relative, self.n_jobs = method, ridge, relative, n_jobs
        self.d, self.n, self.sqsum, self.scale = X.shape[1], 0, 0.0, 0.0
        self.coef: Array  # (C, d)
        self.rank: int
        self._root: Array
        self._basis: Array | None
        self._factor: tuple[Array, Array | None] | None  # triangular, or singular values and vectors
        self._blocks: list[tuple[Array, Array]] = []  # rows and targets that stand for all so far, 2 d rows at most
        self._append(X, Y)
        self._solve()

    @property
    def penalty(self) -> float:
        """lambda, the multiple of the identity in X'X + lambda I."""
        return self.ridge * self.sqsum / self.d if self.relative else self.ridge

    def add_targets(self, at: int) -> None:
        """A new column of targets before column `at`, 0 for all rows so far."""
        self._blocks = [(rows, np.insert(targets, at, 0.0, axis=1)) for rows, targets in self._blocks]
        self.coef = np.insert(self.coef, at, 0.0, axis=0)

    def add(self, X: Array, Y: Array) -> None:
        """Takes in the rows X (m, d) with targets Y (m, C)."""
        largest = max(self.scale, _largest_norm(X))
        if self.relative or len(X) > self.d or not _NORMS[0] < largest < _NORMS[1]:
            self._append(X, Y)
            self._solve()
            return
        if self._factor is not None:
            self._take_root()
        try:
            taken, self.rank, _ = recursive_least_squares(
                X, Y, root=self._root, basis=self._basis, coef=self.coef, rank=self.rank, scale=largest,
                n_jobs=self.n_jobs,
            )  # fmt: skip
        except BaseException:  # Ctrl-C may leave a row half taken in
            self._solve()
            raise
        if self.rank == self.d:
            self._basis = None
        if self._append(X, Y) or taken < len(X):
            self._solve()

    def steps(self, X: Array) -> tuple[Array, NDArray[np.bool_]]:
        """What every row x of X (m, d) alone would bring: K (m, d), sure (m,) bool.

        Of row x with targets t, `add` would do coef += (t - coef x) k'. sure is False, and k not to be used, where it
        would fit all rows instead: where rounding decides whether x lies in the span of the rows, where norms leave
        1e-140 .. 1e140, and everywhere with relative=True. The fit stays as it is. Memory: O(m d + d^2).
        """
        scales = np.maximum(_norms(X), self.scale)
        sure = (scales > _NORMS[0]) & (scales < _NORMS[1]) & (not self.relative)
        x, scales = X[sure], scales[sure]
        root, basis = self._root_and_basis()
        products = x @ root.T
        k = products @ root / (1 + np.einsum("ij,ij->i", products, products))[:, None]
        K = np.zeros_like(X)
        known = np.ones(len(x), bool)
        if basis is not None:
            rest = x - (x @ basis.T) @ basis
            rest -= (rest @ basis.T) @ basis  # once leaves the rounding of the first time
            left = _norms(rest)
            grows = left > _DOUBT_HIGH * scales
            k[grows] = rest[grows] / (left[grows] ** 2)[:, None]
            known = grows | (left <= _DOUBT_LOW * self.d * scales)
        K[sure] = k
        sure[sure] = known
        return K, sure

    def _append(self, X: Array, Y: Array) -> bool:
        """Whether the rows have been compressed, so that there is room for d more."""
        self.n += len(X)
        self.scale = max(self.scale, _largest_norm(X))
        if self.relative:
            self.sqsum += float(np.vdot(X, X))
        self._blocks.append((X.copy(), Y.copy()))
        if sum(len(rows) for rows, _ in self._blocks) <= 2 * self.d:
            return False
        self._blocks = [compressed(*self._rows())]
        return True

    def _rows(self) -> tuple[Array, Array]:
        rows, targets = zip(*self._blocks, strict=True)
        return np.vstack(rows), np.vstack(targets)

    def _solve(self) -> None:
        """coef and rank from the rows; the factor waits for the first `add`."""
        from scipy.linalg import lapack, solve_triangular

        d, limit = self.d, max(self.n, self.d) * _EPSILON
        rows, targets = self._rows()
        self._blocks = [(rows, targets)]
        if self.penalty > 0:  # as d further rows
            rows = np.vstack([rows, np.sqrt(self.penalty) * np.eye(d)])
            targets = np.vstack([targets, np.zeros((d, targets.shape[1]))])
        if self.method != "pinv" and len(rows) >= d:
            R, Z = compressed(rows, targets)
            if lapack.dtrcon(R)[0] > limit:
                if self.method == "inv":
                    inverse = solve_triangular(R, np.eye(d))
                    self.coef = np.ascontiguousarray((inverse @ (inverse.T @ (R.T @ Z))).T)
                else:
                    self.coef = np.ascontiguousarray(solve_triangular(R, Z).T)
                self.rank = d
                self._factor = (R, None)
                return
        U, s, Vt = np.linalg.svd(rows, full_matrices=False)
        self.rank = int((s > limit * s[0]).sum())
        s, Vt = s[: self.rank], Vt[: self.rank]
        self.coef = np.ascontiguousarray((targets.T @ U[:, : self.rank] / s) @ Vt)
        self._factor = (s, Vt)

    def _take_root(self) -> None:
        """What the kernel updates, from the factor."""
        root, basis = self._root_and_basis()
        empty = np.zeros((self.d - self.rank, self.d))
        self._factor = None
        self._root = np.vstack([root, empty])
        self._basis = None if basis is None else np.vstack([basis, empty])

    def _root_and_basis(self) -> tuple[Array, Array | None]:
        """R (rank, d) with R'R = pinv(Z'Z), Z being all rows, and where rank < d a basis of them (rank, d)."""
        from scipy.linalg import solve_triangular

        if self._factor is None:
            return self._root[: self.rank], None if self._basis is None else self._basis[: self.rank]
        factor, Vt = self._factor
        if Vt is None:
            return np.ascontiguousarray(solve_triangular(factor, np.eye(self.d)).T), None
        return Vt / factor[:, None], Vt if self.rank < self.d else None


def _norms(X: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", X, X)))


def _largest_norm(X: Array) -> float:
    return float(_norms(X).max(initial=0.0))
