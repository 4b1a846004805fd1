"""Strategies that cover the pool: every row should lie near a labelled one.

All of them work on X as it is. With metric="cosine" its rows are normalised, as in the sources of ProbCover and
MaxHerding. To cover in the space of the current classifier's activations, as papers on k-center do, pass these as X.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import as_numpy
from pyal.pool import Pool
from pyal.strategies.registry import strategy

DEFAULT_CLASSES = 10


@strategy(
    "coreset",
    aliases=("k_center", "k_center_greedy"),
    citation="Sener & Savarese 2018, arXiv:1708.00489; Gonzalez 1985",
)
def coreset(pool: Pool, batch_size: int, *, rng: np.random.Generator, first: str = "random") -> NDArray[np.int64]:
    """Picks, again and again, the candidate farthest from all that is labelled or picked (greedy k-center).

    first: the first pick where nothing is labelled: "random", "norm" (the row of the largest norm) or "index0" (the
        lowest position).

    Differs from its source: the paper goes on to refine the greedy picks by mixed-integer programming; pyal does not.
    """
    if first not in ("random", "norm", "index0"):
        raise ValueError(f"first must be 'random', 'norm' or 'index0'; got {first!r}")
    start = None
    if not len(pool.labeled) and first == "random":
        start = int(rng.choice(pool.candidates))
    elif not len(pool.labeled) and first == "norm":
        start = int(pool.candidates[np.argmax(pool.sqnorms[pool.candidates])])
    picks, _ = kernels.k_center_greedy(
        pool.X,
        batch_size,
        covered_by=pool.labeled,
        candidates=pool.candidates,
        start=start,
        carried=_carried(pool, "coreset"),
        n_jobs=pool.n_jobs,
    )
    return as_numpy(picks, "positions")


@strategy("probcover", memory="O(N + classes d)", citation="Yehuda et al. 2022, arXiv:2205.11320")
def probcover(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    delta: float | None = None,
    alpha: float = 0.95,
    n_classes: int | None = None,
    top: int = 1,
    exhausted: str = "random",
) -> NDArray[np.int64]:
    """Picks the rows whose balls of radius delta cover the most rows that no ball covers yet.

    A row covers another where their Euclidean distance (not squared) is strictly below delta, and it always covers
    itself. Labelled rows cover too.

    delta: radius of the balls. None takes the paper's purity heuristic, exactly: the largest radius at which a share
        alpha of the rows have only rows of their own k-means cluster in their ball. It does not depend on random_state,
        so that a loop finds it once. Where clusters touch, as on most real embeddings, this radius is small: a small
        batch then lies in the densest clusters only and does worse than random. The sources use 0.5 to 0.75 on
        normalised rows.
    alpha: the share of rows with a pure ball that delta=None asks for, in (0, 1].
    n_classes: the number of clusters for delta=None. None takes the columns of proba, else the number of classes among
        the labels (two or more), else 10.
    top: each pick is drawn from this many best rows. Above 1 a pick costs `top` passes over all pairs of rows.
    exhausted: what is picked when no candidate covers anything new: "random" rows, or the "lowest" positions.

    Differs from its source: when no candidate covers anything new, the authors' code picks position 0, labelled or not.
    """
    if exhausted not in ("random", "lowest"):
        raise ValueError(f"exhausted must be 'random' or 'lowest'; got {exhausted!r}")
    if int(top) < 1:
        raise ValueError(f"top must be at least 1; got {top!r}")
    radius = _purity_radius(pool, alpha, n_classes) if delta is None else float(delta)
    if not 0 < radius < np.inf:
        raise ValueError(f"delta must be a positive distance; got {delta!r}")
    if top == 1:
        positions, gains = kernels.ball_cover(
            pool.X,
            batch_size,
            radius,
            covered_by=pool.labeled,
            candidates=pool.candidates,
            carried=_carried(pool, "probcover"),
            n_jobs=pool.n_jobs,
        )
        picks = as_numpy(positions, "positions")[as_numpy(gains, "gains") > 0]
    else:
        picks = _cover_from_top(pool, batch_size, radius, int(top), rng)
    left = np.setdiff1d(pool.candidates, picks)
    missing = batch_size - len(picks)
    rest = left[:missing] if exhausted == "lowest" else rng.choice(left, missing, replace=False)
    return np.concatenate([picks, rest])


@strategy("maxherding", aliases=("max_herding",), citation="Bae, Noh & Sutherland 2024, arXiv:2407.12212")
def maxherding(pool: Pool, batch_size: int, *, rng: np.random.Generator, bandwidth: float = 1.0) -> NDArray[np.int64]:  # noqa: ARG001
    """Picks the rows that raise the kernel coverage of the pool most.

    The coverage is the mean over all rows of X of their largest kernel value to a labelled or picked row. The kernel is
    exp(-(distance / bandwidth)^2) of the Euclidean distance, without a factor 2.

    bandwidth: a distance. 1 is the authors' choice for normalised rows, which metric="cosine" gives; for other rows it
        should be of the order of the distances in X.

    Differs from its source: all rows of X count, where the authors' code takes a subset of 35,000.
    """
    if not 0 < bandwidth < np.inf:
        raise ValueError(f"bandwidth must be a positive distance; got {bandwidth!r}")
    picks, _ = kernels.herding(
        pool.X,
        batch_size,
        bandwidth=float(bandwidth),
        covered_by=pool.labeled,
        candidates=pool.candidates,
        carried=_carried(pool, "maxherding"),
        n_jobs=pool.n_jobs,
    )
    return as_numpy(picks, "positions")


def _carried(pool: Pool, name: str) -> kernels.Carried | None:
    """What the kernel of a strategy carries from round to round; None in a single call."""
    return None if pool.carried is None else pool.carried.setdefault(name, kernels.Carried())


def _purity_radius(pool: Pool, alpha: float, n_classes: int | None) -> float:
    """Of the pool alone, whatever the round and its random_state: the rounds of a loop share one radius."""
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must lie in (0, 1]; got {alpha!r}")
    if n_classes is not None and not 1 <= int(n_classes) <= pool.n:
        raise ValueError(f"n_classes must lie in 1 .. {pool.n}, the rows of X; got {n_classes!r}")
    k = min(int(n_classes or pool.n_classes or DEFAULT_CLASSES), pool.n)
    known = {} if pool.carried is None else pool.carried.setdefault("probcover: radius", {})
    if (k, alpha) not in known:
        _, assignment, _ = kernels.kmeans(pool.X, k, random_state=0, n_jobs=pool.n_jobs)
        radius = float(kernels.purity_radius(pool.X, assignment, alpha, n_jobs=pool.n_jobs))
        # one cluster is pure at any radius; equal rows in two clusters leave only balls of equal rows
        known[k, alpha] = min(max(radius, 1e-150), 1e150)
    return float(known[k, alpha])


def _cover_from_top(
    pool: Pool, batch_size: int, radius: float, top: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Picks drawn uniformly from the `top` candidates of the largest gains, until nothing new can be covered."""
    picks: list[int] = []
    while len(picks) < batch_size:
        covered = np.union1d(pool.labeled, np.array(picks, np.int64))
        left = np.setdiff1d(pool.candidates, picks)
        best: list[int] = []
        while len(best) < min(top, len(left)):
            position, gain = kernels.ball_cover(
                pool.X, 1, radius, covered_by=covered, candidates=np.setdiff1d(left, best), n_jobs=pool.n_jobs
            )
            if int(gain[0]) == 0:
                break
            best.append(int(position[0]))
        if not best:
            break
        picks.append(best[int(rng.integers(len(best)))])
    return np.array(picks, np.int64)
