"""Strategies that cover the pool: every row should lie near a labelled one.

ProbCover, MaxHerding and UHerding take rows at norm 1, as their sources do, where no metric is given; k-center takes
them as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import as_numpy
from pyal.pool import NextPicks, Pool
from pyal.strategies.balls import GreedyBalls, Nearness, competence, labeled_balls
from pyal.strategies.calibration import closest_labels, uncertainties
from pyal.strategies.distances import ball_radius, spread, warn_where_alike, warn_where_empty
from pyal.strategies.label_columns import class_columns
from pyal.strategies.partitions import in_parts
from pyal.strategies.registry import strategy
from pyal.strategies.subsets import drawn_subset
from pyal.strategies.uncertainty import margin


@strategy(
    "coreset",
    aliases=("k_center", "k_center_greedy"),
    needs_with=(("cover_on", "al", "features"),),
    citation="Sener & Savarese 2018, arXiv:1708.00489; Gonzalez 1985",
)
def coreset(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    first: str = "random",
    cover_on: str = "self",
    n_partitions: int = 1,
) -> NDArray[np.int64]:
    """Picks, again and again, the candidate farthest from all that is labelled or picked (greedy k-center).

    first: the first pick where nothing is labelled: "random", "norm" (the row of the largest norm) or "index0" (the
        lowest position).
    cover_on: "self" measures distances in X. "al" measures them in `features`, the activations of the last classifier,
        once rows are labelled, as papers that compare with Coreset do.
    n_partitions: how many parts the candidates are split into at random; each part picks its share of the batch, as if
        there were no other candidates. 1 is greedy k-center itself.

    Differs from its source: the paper goes on to refine the greedy picks by mixed-integer programming; pyal does not.
    """
    if first not in ("random", "norm", "index0"):
        raise ValueError(f"first must be 'random', 'norm' or 'index0'; got {first!r}")
    if cover_on not in ("self", "al"):
        raise ValueError(f"cover_on must be 'self' or 'al'; got {cover_on!r}")
    X, carried = pool.X, _carried(pool, "coreset")
    if cover_on == "al" and len(pool.labeled):
        assert pool.features is not None
        X, carried = pool.features, None  # other activations in each round

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        covered = np.union1d(pool.labeled, picked)
        picks, _ = kernels.k_center_greedy(
            X,
            wanted,
            covered_by=covered,
            candidates=candidates,
            start=None if len(covered) else _first(pool, candidates, first, rng),
            carried=carried,
            n_jobs=pool.n_jobs,
        )
        return as_numpy(picks, "positions")

    return in_parts(pool, batch_size, n_partitions, rng, next_picks)


def _first(pool: Pool, candidates: NDArray[np.int64], first: str, rng: np.random.Generator) -> int:
    """The first pick where nothing is labelled."""
    if first == "random":
        return int(rng.choice(candidates))
    return int(candidates[np.argmax(pool.sqnorms[candidates]) if first == "norm" else 0])


@strategy(
    "kmeans_plus_plus",
    aliases=("kmeanspp", "d2_sampling"),
    weighs=True,
    citation="Arthur & Vassilvitskii 2007 (SODA)",
)
def kmeans_plus_plus(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws rows far from all that is labelled or picked: the seeds of k-means++.

    Each row is drawn with a probability proportional to its squared Euclidean distance to the nearest labelled or
    picked row, times its weight where weights are given, or uniformly where all of these are 0. Where nothing is
    labelled the first is drawn uniformly, or in proportion to the weights.
    """

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        covered = np.union1d(pool.labeled, picked)
        picks = kernels.d2_sampling(
            pool.X,
            wanted,
            weights=pool.weights,
            covered_by=covered,
            candidates=candidates,
            first="uniform",
            random_state=rng,
            n_jobs=pool.n_jobs,
        )
        return as_numpy(picks, "positions")

    return pool.in_turn(batch_size, next_picks)


@strategy(
    "probcover",
    memory="O(N + classes d)",
    metric="cosine",
    weighs=True,
    citation="Yehuda et al. 2022, arXiv:2205.11320",
)
def probcover(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    delta: float | str | None = None,
    coverage: float = 0.55,
    alpha: float = 0.95,
    n_classes: int | None = None,
    top: int = 1,
    exhausted: str = "random",
) -> NDArray[np.int64]:
    """Picks the rows whose balls of radius delta cover the most rows that no ball covers yet.

    A row covers another where their Euclidean distance (not squared) is strictly below delta, and it always covers
    itself. Labelled rows cover too. Where weights are given, each pick has the largest sum of the weights of the rows
    that it covers anew; they have no part in the radius.

    delta: radius of the balls; the sources use 0.5 to 0.75 on rows at norm 1. None takes the radius at which as many
        balls as there will be labels, placed greedily over the whole pool, cover a share `coverage` of it. It is found
        by bisection, on 5,000 rows spread evenly over a larger pool (or four for each ball, where that is more).
        "purity" is the paper's rule, exactly: the largest radius at which a share alpha of the rows have only rows of
        their own k-means cluster in their ball. Where clusters touch, as on most real embeddings, that radius is small,
        a batch lies in the densest clusters only and does worse than random. It does not depend on random_state, so
        that a loop finds it once. A UserWarning tells the share where the balls of a first batch cover less than 10 %.
    coverage: the share of the pool that delta=None asks for, in (0, 1].
    alpha: the share of rows with a pure ball that delta="purity" asks for, in (0, 1].
    n_classes: the number of clusters for delta="purity". None takes the columns of proba, else the number of classes
        among the labels (two or more), else 10. In a loop it is the same in all rounds: the loop's classes=, else 10.
    top: each pick is drawn from this many best rows. Above 1 a pick costs `top` passes over all pairs of rows.
    exhausted: what is picked when no candidate covers anything new, or nothing that has weight: "random" rows, or the
        "lowest" positions.

    Differs from its source: delta is "purity" there. When no candidate covers anything new, the authors' code picks
    position 0, labelled or not.
    """
    if exhausted not in ("random", "lowest"):
        raise ValueError(f"exhausted must be 'random' or 'lowest'; got {exhausted!r}")
    if int(top) < 1:
        raise ValueError(f"top must be at least 1; got {top!r}")
    radius = ball_radius(pool, batch_size, delta, coverage, alpha, n_classes)
    carried, gained = _carried(pool, "probcover") if top == 1 else None, []

    def by_gain(covered: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        given: dict[str, Any] = {"covered_by": covered, "candidates": candidates, "carried": carried}
        if pool.weights is None:
            positions, gains = kernels.ball_cover(pool.X, wanted, radius, n_jobs=pool.n_jobs, **given)
        else:
            given |= {"kernel": "top_hat", "bandwidth": radius, "weights": pool.weights}
            positions, gains = kernels.herding(pool.X, wanted, n_jobs=pool.n_jobs, **given)
        gained.append(as_numpy(gains, "gains"))
        return as_numpy(positions, "positions")[gained[-1] > 0]

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        covered = np.union1d(pool.labeled, picked)
        if top == 1:
            picks = by_gain(covered, candidates, wanted)
        else:
            picks = _cover_from_top(by_gain, covered, candidates, wanted, int(top), rng)
        left, missing = np.setdiff1d(candidates, picks), wanted - len(picks)
        rest = left[:missing] if exhausted == "lowest" else rng.choice(left, missing, replace=False)
        return np.concatenate([picks, rest])

    found = pool.in_turn(batch_size, next_picks, ahead=False)
    if top == 1 and len(gained) == 1:
        rows = gained[0] if pool.weights is None else _rows_covered(pool, found, radius)
        warn_where_alike(pool, "probcover", "delta", radius, rows)
        warn_where_empty(pool, radius, rows)
    return found


@strategy(
    "maxherding",
    aliases=("max_herding",),
    metric="cosine",
    weighs=True,
    citation="Bae, Noh & Sutherland 2024, arXiv:2407.12212",
)
def maxherding(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001
    kernel: str = "rbf",
    bandwidth: float | None = None,
) -> NDArray[np.int64]:
    """Picks the rows that raise the kernel coverage of the pool most.

    The coverage is the mean over all rows of X of their largest kernel value to a labelled or picked row, each times
    its weight where weights are given. The kernel is one of r = distance / bandwidth, of the Euclidean distance. All
    pairs of rows are gone through several times: the first 100 picks of 50,000 rows of 512 columns take 25 seconds on
    two cores.

    kernel: "rbf" is exp(-r^2), without a factor 2, "laplace" exp(-r), "cauchy" 1 / (1 + r^2), "student_t"
        (1 + r^2 / beta)^(-(beta + 1) / 2) with beta = 0.5, and "top_hat" 1 where r < 1 and 0 elsewhere. With "top_hat"
        and no weights the picks are those of probcover with delta=bandwidth, and the lowest positions once all rows are
        covered.
    bandwidth: a distance. None takes 1, the authors' choice, for rows at norm 1 (metric="cosine"). For rows as they are
        it takes the root of the mean squared distance of a row to the mean of all, which is 1 where rows of norm 1 are
        spread evenly around 0. A UserWarning says so where it is so small that a pick covers no row but itself, or so
        large that nothing is left to cover.

    Differs from its source: all rows of X count, where the authors' code takes a subset of 35,000.
    """
    h = _bandwidth(pool, bandwidth)
    carried, gained = _carried(pool, "maxherding"), []

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        picks, gains = kernels.herding(
            pool.X,
            wanted,
            kernel=kernel,
            bandwidth=h,
            weights=pool.weights,
            covered_by=np.union1d(pool.labeled, picked),
            candidates=candidates,
            carried=carried,
            n_jobs=pool.n_jobs,
        )
        gained.append(as_numpy(gains, "gains") * pool.n)
        return as_numpy(picks, "positions")

    found = pool.in_turn(batch_size, next_picks, ahead=False)
    if len(gained) == 1 and pool.weights is None:
        warn_where_alike(pool, "maxherding", "bandwidth", h, gained[0])
    return found


@strategy(
    "uherding",
    aliases=("uncertainty_herding",),
    needs_once_labeled=("y", "proba"),
    memory="O(N + labels (d + C))",
    metric="cosine",
    weighs=True,
    citation="Bae, Oliveira & Sutherland 2025 (ICLR), arXiv:2412.20644",
)
def uherding(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001
    uncertainty: str = "margin",
    kernel: str = "rbf",
    bandwidth: float | None = None,
    temperature: float | None = None,
) -> NDArray[np.int64]:
    """Picks the rows that raise the kernel coverage of what the classifier is unsure of most.

    The coverage is that of maxherding, where each row counts with its uncertainty under calibrated probabilities. Where
    nothing is labelled, or no row is unsure, all rows count 1, and the picks are maxherding's. As labels become more,
    the bandwidth falls, so that the picks go from rows that cover much to rows that are unsure. y must hold column
    numbers of proba, or all of its classes, which then stand in their order; p is the mean over the T passes of a
    (T, N, C) proba. It takes as long as maxherding.

    uncertainty: "margin" is 1 - (p_(1) - p_(2)), "entropy" -sum_c p_c log p_c in nats and "least_confidence" 1 - p_(1).
    kernel: that of maxherding: "rbf", "laplace", "cauchy", "student_t" or "top_hat".
    bandwidth: a distance, as in maxherding. None takes the smallest one between two labelled rows that are not the same
        but for rounding (a thousandth of their norms) and, where there are no two, what maxherding does.
    temperature: T in p^(1 / T), divided by its sum over the classes. None takes that of 1.0, 1.1, ..., 19.9 with the
        least expected calibration error (15 bins) over the labelled rows.

    Differs from its source: there the temperature is that of a second classifier, fitted to 70 % of the labels and
    calibrated on the others. proba comes from one that has seen all labels, and is surer of these.
    """
    if uncertainty not in ("margin", "entropy", "least_confidence"):
        raise ValueError(f"uncertainty must be 'margin', 'entropy' or 'least_confidence'; got {uncertainty!r}")
    if temperature is not None and not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be positive; got {temperature!r}")
    h, weights = _bandwidth(pool, bandwidth), None
    if len(pool.labeled):
        weights = uncertainties(pool, uncertainty, temperature)
        weights = weights if weights.any() else None
        h = _bandwidth(pool, bandwidth if bandwidth is not None else closest_labels(pool))
    if pool.weights is not None:
        weights = pool.weights if weights is None else weights * pool.weights
    carried = None if pool.rules is None else kernels.Carried()  # the weights are others in each round

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        picks, _ = kernels.herding(
            pool.X,
            wanted,
            kernel=kernel,
            bandwidth=h,
            weights=weights,
            covered_by=np.union1d(pool.labeled, picked),
            candidates=candidates,
            carried=carried,
            n_jobs=pool.n_jobs,
        )
        return as_numpy(picks, "positions")

    return pool.in_turn(batch_size, next_picks, ahead=False)


@strategy(
    "dcom",
    needs_once_labeled=("y", "proba"),
    memory="O(N + labels)",
    metric="cosine",
    citation="Mishal & Weinshall 2024, arXiv:2407.01804",
)
def dcom(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    delta: float | None = None,
    max_delta: float = 1.1,
    midpoint: float = 0.8,
    steepness: float = 50.0,
    subset: int | str | None = 10_000,
) -> NDArray[np.int64]:
    """Picks rows whose balls cover much while the labelled balls cover little, and unsure rows once they cover most.

    With nothing labelled the picks are probcover's. Else each labelled row has a ball of its own:
    the largest in which a share 0.4 + 0.2 c of the rows is predicted as its label, where c is the coverage, the share
    of the rows that all these balls cover. The competence s = (1 + exp(-k (1 - a))) / (1 + exp(-k (c - a))), to three
    decimals, rises from 0 to 1. Each pick has the largest s u + (1 - s) n. n is the number of rows in its ball, of the
    mean radius, that nothing covers yet, and its ball is then covered. u is 1 less the margin p_(1) - p_(2), and 0 for
    rows that are labelled or picked; both are brought to [0, 1] over all rows. Ties go to the larger u. Distances are
    Euclidean (not squared), and strictly below the radius. p is the mean over the T passes of a (T, N, C) proba, and y
    must hold column numbers of proba, or all of its classes, which then stand in their order.

    delta: the radius where nothing is labelled. None takes what probcover does; the authors take 0.75 for CIFAR-10.
    max_delta: radii are bisected on [0, max_delta], five times, and rounded to two decimals.
    midpoint: a, the coverage at which the competence is about a half, in [0, 1].
    steepness: k, above 0.
    subset: where there are more candidates, so many of them, drawn at random, and the labelled rows stand for the pool;
        or as in a loop, like "10b by badge". None takes all rows, which is a pass or two over all their pairs: a minute
        or two for 50,000 rows of 512 columns, where a subset takes five seconds.

    Differs from its source: the authors keep radii from round to round, find those of new labels alone, by the coverage
    of the round before, and begin with 0.75, then the mean. Here all are found anew, by the largest c for which the
    balls cover a share c. Their subset is the whole pool.
    """
    _check_dcom(delta, max_delta, midpoint, steepness)
    if not len(pool.labeled):
        return probcover(pool, batch_size, rng=rng, delta=delta)
    drawn = drawn_subset(pool, batch_size, subset, rng)
    some = len(drawn) < len(pool.candidates)
    rows = np.union1d(pool.labeled, drawn) if some else np.arange(pool.n)
    near, labeled = Nearness(pool, rows), np.searchsorted(rows, pool.labeled)
    balls = labeled_balls(near, labeled, class_columns(pool), pool.predicted[rows], float(max_delta))
    score, may_cover = margin(pool)[rows], np.ones(len(rows), bool)
    score -= score.min()
    score[labeled], may_cover[labeled] = 0, False
    weight = competence(balls.coverage, float(midpoint), float(steepness))
    greedy = GreedyBalls(near, float(balls.radii.mean()), balls.covered, may_cover, score, weight)

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        begun = np.searchsorted(rows, picked).tolist()
        greedy.after(begun)
        left = np.searchsorted(rows, candidates)
        for _ in range(wanted):
            greedy.take(greedy.best(np.setdiff1d(left, greedy.picked)))
        return rows[greedy.picked[len(begun) :]]

    return pool.in_turn(batch_size, next_picks, ahead=False, among=drawn)


def _check_dcom(delta: float | None, max_delta: float, midpoint: float, steepness: float) -> None:
    if delta is not None and not 0 < delta < np.inf:
        raise ValueError(f"delta must be a positive distance or None; got {delta!r}")
    if not 0.1 <= max_delta < np.inf:
        raise ValueError(f"max_delta must be a distance of at least 0.1, as radii have two decimals; got {max_delta!r}")
    if not 0 <= midpoint <= 1:
        raise ValueError(f"midpoint must lie in [0, 1]; got {midpoint!r}")
    if not 0 < steepness < np.inf:
        raise ValueError(f"steepness must be positive; got {steepness!r}")


def _bandwidth(pool: Pool, bandwidth: float | None) -> float:
    """The distance given, or what stands for None: 1 for rows at norm 1, else their spread."""
    if bandwidth is not None and not 0 < bandwidth < np.inf:
        raise ValueError(f"bandwidth must be a positive distance; got {bandwidth!r}")
    return float(bandwidth) if bandwidth is not None else 1.0 if pool.metric == "cosine" else spread(pool) or 1.0


def _carried(pool: Pool, name: str) -> kernels.Carried | None:
    """What the kernel of a strategy carries from round to round, or from pick to pick under rules; None in one call."""
    if pool.carried is None:
        return None if pool.rules is None else kernels.Carried()
    known: kernels.Carried = pool.carried.setdefault(name, kernels.Carried())
    return known


def _rows_covered(pool: Pool, picks: NDArray[np.int64], radius: float) -> NDArray[np.int64]:
    """How many rows each of the picks covers anew, the largest number first."""
    _, gains = kernels.ball_cover(
        pool.X, len(picks), radius, covered_by=pool.labeled, candidates=picks, n_jobs=pool.n_jobs
    )
    return as_numpy(gains, "gains")


def _cover_from_top(
    by_gain: NextPicks,
    covered_by: NDArray[np.int64],
    candidates: NDArray[np.int64],
    batch_size: int,
    top: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Picks drawn uniformly from the `top` candidates of the largest gains, until nothing new can be covered."""
    picks: list[int] = []
    while len(picks) < batch_size:
        covered = np.union1d(covered_by, np.array(picks, np.int64))
        left = np.setdiff1d(candidates, picks)
        best: list[int] = []
        while len(best) < min(top, len(left)):
            found = by_gain(covered, np.setdiff1d(left, best), 1)
            if not len(found):
                break
            best += found.tolist()
        if not best:
            break
        picks.append(best[int(rng.integers(len(best)))])
    return np.array(picks, np.int64)
