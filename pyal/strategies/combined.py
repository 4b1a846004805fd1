"""Strategies made of others, and one that shares the batch among the classes: TCM, Refine and DIRECT."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import size
from pyal.kernels.matrices import taken_with
from pyal.pool import Pool
from pyal.strategies import registry
from pyal.strategies.clusters import typiclust
from pyal.strategies.distances import DEFAULT_CLASSES
from pyal.strategies.label_columns import class_columns
from pyal.strategies.registry import Strategy, strategy
from pyal.strategies.scores import largest, two_largest
from pyal.strategies.uncertainty import margin, mean_proba

LABELS_A_CLASS = 20  # before TCM goes over to margins


@strategy(
    "tcm",
    needs_once_labeled=("proba",),
    memory="O(N + clusters d)",
    metric="cosine",
    citation="Doucet, Estermann, Aczel & Wattenhofer 2024, arXiv:2403.03728",
)
def tcm(pool: Pool, batch_size: int, *, rng: np.random.Generator, switch_after: int | None = None) -> NDArray[np.int64]:
    """Picks as typiclust while labels are few, and by the smallest margin from then on.

    A batch is typiclust's where fewer than switch_after rows are labelled when it is asked for, and margin's otherwise:
    no batch is part one and part the other. Both take their default options. Margins need proba, which is asked for
    once rows are labelled even where it is not yet looked at. Where nothing is labelled it is always typiclust.

    switch_after: how many labels. None takes 20 for each class: the columns of proba, else the classes among the labels
        where there are two or more, else 10.

    Differs from its source: the paper has a transition point and a step size for budgets of several sizes. One rule
    stands for them here, which follows what others report of the paper.
    """
    if switch_after is None:
        labels = LABELS_A_CLASS * (pool.n_classes or DEFAULT_CLASSES)
    else:
        labels = size(switch_after, "switch_after", 0)
    if len(pool.labeled) < max(labels, 1):
        return typiclust(pool, batch_size, rng=rng)
    return largest(pool, batch_size, margin(pool))


@strategy(
    "refine",
    needs_once_labeled=("y", "proba"),
    memory="O(N + rows (d + C))",
    citation="Huseljic, Herde, Rauch, Hahn & Sick 2025, arXiv:2511.22344",
)
def refine(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    strategies: str = "random,margin,badge,bait,typiclust,alfamix,dropquery,maxherding,uherding",
    final: str = "uherding",
    rounds: int = 5,
    batches: int = 100,
    first_subset: int = 5_000,
    alpha: float = 0.4,
    cap: int = 10_000,
) -> NDArray[np.int64]:
    """Picks out of what several strategies would pick, after rounds that leave only their picks in the pool.

    In each round every strategy picks batches // strategies batches (at least one), each of the labelled rows and a
    random subset of the candidates that are left; what no batch holds is dropped. The last strategy picks out of the
    rest. Each strategy takes rows as its own source does, and metric="cosine" takes them at norm 1 for all; each has
    its default options. With nothing labelled, those that need an input which is not given sit out. That is 500 calls:
    for 10,000 rows of 128 columns 11 seconds on two cores to pick 20, and 55 to pick 100.
    It does not grow with the pool, but for the drawing of the subsets.

    strategies: their names, with commas between them.
    final: the strategy that picks from what is left.
    rounds: how often the pool is filtered.
    batches: how many batches are picked in a round, by all strategies together.
    first_subset: how many candidates a batch of the first round is picked from; never fewer than the batch.
    alpha: the share of what is left that a batch of the next rounds is picked from, in (0, 1].
    cap: the most rows that are left by a round; where there are more, some are drawn.

    Differs from its source: a round that would leave no more than one batch is the last.
    """
    for name, count in (("rounds", rounds), ("batches", batches), ("first_subset", first_subset), ("cap", cap)):
        size(count, name, 1)
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must lie in (0, 1]; got {alpha!r}")
    members, last = _members(pool, strategies), _member(pool, final, "final")
    if any(member.metric == "cosine" for member in (*members, last)):
        taken_with(pool.X, "cosine")  # refuses rows of zeros by their place in X
    left, count = pool.candidates, int(first_subset)
    for _ in range(int(rounds)):
        if len(left) == batch_size:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a filter's batch may be poor: the last one may not
            picked = [
                _picks_from(pool, member, _drawn(left, max(count, batch_size), rng), batch_size, rng)
                for member in members
                for _ in range(max(1, int(batches) // len(members)))
            ]
        left = _drawn(np.unique(picked), max(int(cap), batch_size), rng)
        count = int(alpha * len(left))
    return _picks_from(pool, last, left, batch_size, rng)


@strategy(
    "direct",
    needs_once_labeled=("y", "proba"),
    memory="O(N C + C batch)",
    citation="Nuggehalli, Zhang, Jain & Nowak 2025, arXiv:2312.09196",
)
def direct(pool: Pool, batch_size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Picks the rows around the best threshold of each class, as many for a rare class as for a common one.

    For class k, row i has the score g = p_k - the largest other probability. The threshold of k splits the labelled
    rows into k above and the others below with the fewest errors: the middle of two neighbouring scores, or of the last
    score and -1 or 1. Of equally good ones it is the nearest to 0, where the classifier itself decides, then the lower.
    Classes take turns, that with the fewest labels first (then the lower column), and in its turn a class picks the row
    nearest above its threshold, the next time the nearest below, and so on. A row that another class has picked is
    passed over. Once rows are labelled, y must hold column numbers of proba, or all of its classes, which then stand in
    their order. With nothing labelled, rows are drawn at random, as the paper begins. p is the mean over the T passes
    of a (T, N, C) proba. X plays no part.

    Differs from its source, which asks for labels one after the other within a batch to narrow the thresholds down
    (half of the budget), and then annotates around them: a call gets no labels before it returns, so that the whole
    batch is of the second kind.
    """
    if not len(pool.labeled):
        chosen: NDArray[np.int64] = rng.choice(pool.candidates, batch_size, replace=False)
        return chosen
    p, columns = mean_proba(pool), class_columns(pool)
    two = two_largest(p)
    labels = np.bincount(columns, minlength=p.shape[1])
    first_in_turn = np.argsort(labels, kind="stable")[:batch_size]
    turns = [_around_threshold(pool, scores_of(p, two, int(k)), columns == k, batch_size) for k in first_in_turn]
    picks: dict[int, None] = {}
    for turn in itertools.cycle(turns):
        picks[next(row for row in turn if row not in picks)] = None
        if len(picks) == batch_size:
            return np.array(list(picks), np.int64)
    raise AssertionError("there is at least one class")


def _members(pool: Pool, names: str) -> list[Strategy]:
    """The strategies of a list of names; with nothing labelled, those alone that have what they need."""
    listed = [name.strip() for name in names.split(",")]
    found = [registry.find(name) for name in listed]
    if len({one.name for one in found}) < len(found):
        raise ValueError(f"strategies must name each strategy once; got {names!r}")
    if not len(pool.labeled):
        found = [one for one in found if all(getattr(pool, need) is not None for need in one.needs)]
        if not found:
            raise ValueError(f"strategies must name one that can pick the first rows from what is given; got {names!r}")
    return [_member(pool, one.name, "strategies") for one in found]


def _member(pool: Pool, name: str, option: str) -> Strategy:
    found = registry.find(name)
    if found.name == "refine":
        raise ValueError(f"{option} must not name refine itself")
    found.check_needs(pool, {})
    if len(pool.labeled):
        found.check_needs_once_labeled(pool, found.options)
    return found


def _drawn(positions: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """So many of them, ascending; all where there are no more."""
    return positions if count >= len(positions) else np.sort(rng.choice(positions, count, replace=False))


def _picks_from(
    pool: Pool, member: Strategy, candidates: NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """What a strategy picks from a pool of these candidates and the labelled rows alone."""
    rows = np.sort(np.concatenate([pool.labeled, candidates]))
    metric = "cosine" if "cosine" in (pool.metric, member.metric) else "euclidean"
    part = dataclasses.replace(
        pool,
        X=taken_with(pool.X.take(rows), metric),
        labeled=np.searchsorted(rows, pool.labeled),
        candidates=np.searchsorted(rows, candidates),
        proba=None if pool.proba is None else pool.proba[..., rows, :],
        features=None if pool.features is None else pool.features.take(rows),
        views=None if pool.views is None else tuple(taken_with(view.take(rows), metric) for view in pool.views),
        rules=None,  # of the whole pool, as weights are: who asks for the batch sees to them
        weights=None,
        metric=metric,
        carried=None,
    )
    chosen: NDArray[np.int64] = rows[np.asarray(member.function(part, batch_size, rng=rng))]
    return chosen


def _around_threshold(
    pool: Pool, scores: NDArray[np.float64], is_class: NDArray[np.bool_], count: int
) -> Iterator[int]:
    """The candidates on both sides of the threshold of a class in turns, the nearest first; `count` of them.

    scores: (N,). is_class: whether the labelled rows are of the class.
    """
    threshold = best_threshold(scores[pool.labeled], is_class)
    scores = scores[pool.candidates]
    above = np.argsort(np.where(scores > threshold, scores, np.inf), kind="stable")[: (scores > threshold).sum()]
    below = np.argsort(np.where(scores > threshold, np.inf, -scores), kind="stable")[: (scores <= threshold).sum()]
    pairs = itertools.zip_longest(above[:count].tolist(), below[:count].tolist())
    rows = [row for pair in pairs for row in pair if row is not None][:count]
    return iter(pool.candidates[rows].tolist())


def scores_of(
    p: NDArray[np.float64], two: tuple[NDArray[np.float64], NDArray[np.float64]], k: int
) -> NDArray[np.float64]:
    """p_k - the largest other probability, of which `two` holds the two largest of each row."""
    return np.asarray(p[:, k] - np.where(p[:, k] < two[0], *two))


def best_threshold(scores: NDArray[np.float64], is_class: NDArray[np.bool_]) -> float:
    """Where scores in -1 to 1 are split into True above and False below with the fewest errors.

    >>> best_threshold(np.array([-0.5, 0.1, 0.3, 0.9]), np.array([False, False, True, True]))
    0.2
    """
    order = np.argsort(scores, kind="stable")
    ends = np.concatenate([[-1.0], scores[order], [1.0]])
    true = is_class[order]
    errors = np.append(0, np.cumsum(true)) + np.append(np.cumsum(~true[::-1])[::-1], 0)
    middles = (ends[:-1] + ends[1:]) / 2
    apart = (ends[:-1] < ends[1:]) | (np.arange(len(middles)) % len(true) == 0)  # the first and the last always are
    errors = np.where(apart, errors, len(true) + 1)
    return float(middles[np.lexsort((middles, abs(middles), errors))[0]])
