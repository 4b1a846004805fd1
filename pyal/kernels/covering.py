"""Kernels that cover: each pick is the row that adds most to what lies near a chosen row."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_numpy, as_positions, empty, number, on_device, size, weights_checked
from pyal.kernels.launcher import launch
from pyal.kernels.matrices import Greedy, greedy, subset, value_dtype

# What a kernel carries, (n,) each: the value where nothing is covered, and the type (None: as squared distances).
_CARRIED: dict[str, dict[str, tuple[float, str | None]]] = {
    "k_center_greedy": {"coverage": (np.inf, None)},
    "ball_cover": {"is_covered": (0, "uint8"), "bounds": (-1, "int64")},
    "herding": {"best": (0, None), "bounds": (-1, "float64")},
}
# Of herding, in the order of the core.
_KERNELS = ("rbf", "laplace", "cauchy", "student_t", "top_hat")
_TAKE_PICKS_IN = {"ball_cover", "herding"}  # into what they carry, as if the next covered_by were certain to have them


class Carried:
    """What a kernel of coverage hands from one call to the next, so that what is covered already costs nothing again.

    A loop gives the same object to the calls of all its rounds. Picks and gains are the same as without it, and a later
    round costs less than the first. It starts afresh where covered_by lacks a row that is accounted for, and where
    kernel, X or an option is another than in the call before. X itself must not have changed. Memory: O(n).

    rows: ascending positions that are accounted for.

    >>> carried = Carried()
    >>> k_center_greedy([[0.0], [1.0], [9.0]], 1, covered_by=[0], carried=carried)[0].tolist(), carried.rows.tolist()
    ([2], [0])
    """

    def __init__(self) -> None:
        self.rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._arrays: dict[str, Any] = {}
        self._of: tuple[Any, ...] = ()  # what the arrays were made for
        self._lent: tuple[Any, ...] = ()

    @property
    def sqdist(self) -> Any:
        """(n,) squared distances of all rows to the nearest of `rows`, which k_center_greedy carries, where X lives.

        The next call writes to it.

        >>> carried = Carried()
        >>> picks, _ = k_center_greedy([[0.0], [1.0], [9.0]], 0, covered_by=[0], carried=carried)
        >>> carried.sqdist.tolist()
        [0.0, 1.0, 81.0]
        """
        return self._arrays["coverage"]

    def lend(self, kernel: str, asked: Greedy, covered: NDArray[np.int64], options: tuple[Any, ...]) -> dict[str, Any]:
        """The fields of a call: what is carried, and of `covered` what is new. `keep` follows when it has returned."""
        X = asked.X
        of = (kernel, X.address, X.n, X.d, X.dtype, X.factor is None, *options)
        if of != self._of or not np.isin(self.rows, covered, assume_unique=True).all():
            self.rows = np.empty(0, np.int64)
            self._arrays = {
                name: on_device(np.full(X.n, value, dtype or value_dtype(X)), X.device)
                for name, (value, dtype) in _CARRIED[kernel].items()
            }
        new, n_new = subset(np.setdiff1d(covered, self.rows, assume_unique=True), X, "covered_by")
        self._of = ()  # an interrupted kernel leaves nothing to go on from
        self._lent = of
        return {"covered": new, "n_covered": n_new, **self._arrays}

    def keep(self, rows: NDArray[np.int64]) -> None:
        """The kernel has returned, and what is carried accounts for these rows."""
        self._of, self.rows = self._lent, rows


def _launch(
    kernel: str,
    asked: Greedy,
    covered_by: Any,
    carried: Carried | None,
    options: tuple[Any, ...],
    n_jobs: int | None,
    **arguments: Any,
) -> None:
    """Runs a greedy kernel with what is carried, which depends on X and on `options`, some of its arguments."""
    fields = asked.fields | dict.fromkeys(_CARRIED[kernel])
    if carried is None:
        launch(kernel, asked.X, n_jobs, **fields, **arguments)
        return
    covered = np.empty(0, np.int64) if covered_by is None else as_positions(covered_by, asked.X.n, "covered_by")
    launch(kernel, asked.X, n_jobs, **fields | carried.lend(kernel, asked, covered, options), **arguments)
    picks = as_numpy(asked.positions, "positions")
    if kernel == "ball_cover":
        picks = picks[as_numpy(arguments["gains"], "gains") > 0]  # the others cover nothing new, labelled or not
    carried.keep(np.union1d(covered, picks) if kernel in _TAKE_PICKS_IN else covered)


def k_center_greedy(
    X: Any,
    batch_size: int,
    *,
    covered_by: Any = None,
    candidates: Any = None,
    start: int | None = None,
    carried: Carried | None = None,
    n_jobs: int | None = None,
) -> tuple[Any, Any]:
    """Farthest-first traversal: (positions (b,), sqradius (b,)) in the order picked.

    Each pick is the candidate farthest from what covered_by and the earlier picks cover, and sqradius is its squared
    distance to that: +inf for a first pick with nothing covered. Ties go to the lowest position. Memory: O(n), and on
    CPUs the latest picks, at most 2048, packed in 2 to 4 bytes per value. Gonzalez 1985; Sener & Savarese 2018,
    arXiv:1708.00489.

    batch_size: b, at most the number of candidates.
    start: position of the first pick. None: the rule picks it, or the lowest candidate where nothing is covered.
    carried: what earlier calls on this X have handed on, for calls that cover more and more.

    >>> k_center_greedy([[0.0], [1.0], [9.0], [5.0]], 3, start=0)[0].tolist()
    [0, 2, 3]
    """
    asked = greedy(X, batch_size, covered_by, candidates)
    X, b, chosen = asked.X, asked.batch_size, asked.candidates
    first = -1
    if start is not None:
        first = size(start, "start", 0, X.n - 1)
        if chosen is not None and first not in chosen:
            raise ValueError(f"start must be one of the candidates; got {first}")
    sqradius = empty((b,), value_dtype(X), X.device)
    _launch("k_center_greedy", asked, covered_by, carried, (), n_jobs, start=first, sqradius=sqradius)
    return asked.positions, sqradius


def ball_cover(
    X: Any,
    batch_size: int,
    radius: float,
    *,
    covered_by: Any = None,
    candidates: Any = None,
    carried: Carried | None = None,
    n_jobs: int | None = None,
) -> tuple[Any, Any]:
    """Greedy maximum coverage by balls: (positions (b,), gains (b,)) (ProbCover, Yehuda et al. 2022, arXiv:2205.11320).

    A row covers every row at Euclidean distance (not squared) strictly below radius, itself included. Each pick is the
    candidate that covers most rows that nothing covers yet, and gains are these numbers, int64. Ties go to the lowest
    position. Once gains are 0, every candidate is covered and the other picks are the lowest candidates left. Memory:
    O(n).

    batch_size: b, at most the number of candidates.
    radius: of the balls, above 0.
    carried: what earlier calls on this X with this radius have handed on, for calls that cover more and more.

    >>> ball_cover([[0.0], [1.0], [2.0], [9.0]], 2, 1.5)
    (array([1, 3]), array([3, 1]))
    """
    asked = greedy(X, batch_size, covered_by, candidates)
    X, b = asked.X, asked.batch_size
    gains = empty((b,), "int64", X.device)
    reach = number(radius, "radius", infinite=True)
    sqradius = max(reach * reach, sys.float_info.min)  # a square that vanishes would not even cover equal rows
    _launch("ball_cover", asked, covered_by, carried, (sqradius,), n_jobs, sqradius=sqradius, gains=gains)
    return asked.positions, gains


def herding(
    X: Any,
    batch_size: int,
    *,
    kernel: str = "rbf",
    bandwidth: float = 1.0,
    weights: Any = None,
    covered_by: Any = None,
    candidates: Any = None,
    carried: Carried | None = None,
    n_jobs: int | None = None,
) -> tuple[Any, Any]:
    """Greedy kernel coverage: (positions (b,), gains (b,) float64) (MaxHerding, Bae et al. 2024, arXiv:2407.12212).

    Each pick raises mean_x weights_x max_s k(x, s) over the chosen s most, and gains are the increases of that mean.
    Ties go to the lowest position. Memory: O(n).

    batch_size: b, at most the number of candidates.
    kernel: k of the distance r = |x - s| / bandwidth: "rbf" exp(-r^2), "laplace" exp(-r), "cauchy" 1 / (1 + r^2),
        "student_t" (1 + 2 r^2)^(-3/4), which has 1/2 degree of freedom, or "top_hat": 1 where r < 1, else 0. The picks
        of the last are those of ball_cover as long as they gain anything.
    bandwidth: a Euclidean distance (not squared), above 0.
    weights: (n,), at least 0, what the rows count. None: all rows count alike.
    carried: what earlier calls on this X with this kernel, this bandwidth and these weights have handed on, for
        calls that cover more and more.

    >>> herding([[0.0], [0.1], [0.2], [9.0]], 2)[0].tolist()
    [1, 3]
    """
    asked = greedy(X, batch_size, covered_by, candidates)
    X, b = asked.X, asked.batch_size
    if kernel not in _KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(_KERNELS)}; got {kernel!r}")
    options: tuple[Any, ...] = (kernel, number(bandwidth, "bandwidth"))
    if weights is not None:
        weights = weights_checked(weights, X.n)
        largest = float(weights.max())
        weights = weights / largest if largest > 0 else weights
        options += (weights.tobytes(),)
        weights = on_device(weights, X.device)
    gains = empty((b,), "float64", X.device)
    fields = {"kind": _KERNELS.index(kernel), "bandwidth": options[1], "weights": weights, "gains": gains}
    _launch("herding", asked, covered_by, carried, options, n_jobs, **fields)
    return asked.positions, gains if weights is None else gains * largest
