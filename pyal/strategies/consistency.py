"""Strategies that ask where a prediction does not hold: under augmentation, under dropout, or a small step away.

consistency and diff2aug_kmeans compare predictions of a row and of its augmented copies. These are the passes of proba,
(T, N, C) with T of 2 or more, of which the first is the original. Where proba is not of several passes and views= are
given, they are the predictions of a linear head for X and for each of the views. It is fitted inside, to the labelled
rows of X. dropquery and alfamix ask a head too, which their caller may give, and cluster the rows where it wavers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import as_numpy, size
from pyal.pool import Pool, as_they_are
from pyal.strategies.centroids import representatives
from pyal.strategies.linear_head import fitted_head, host_blocks, linear_map, predicted_classes
from pyal.strategies.registry import strategy
from pyal.strategies.scores import largest, score_strategy, two_largest

_FEW = 25  # times the batch: below, DropQuery lowers its bar


@score_strategy(
    "consistency",
    aliases=("csal",),
    needs=("proba",),
    instead=(("proba", "views"),),
    passes=True,
    citation="Gao et al. 2020, arXiv:1910.07153",
)
def consistency(pool: Pool) -> NDArray[np.float64]:
    """Picks the rows whose prediction changes most under augmentation.

    The score is the sum over the classes of the variance (divided by their number) of the class's probability over the
    predictions for the image and its augmented copies. These are the passes of a (T, N, C) proba where T is 2 or more.
    Otherwise views= must be given and rows labelled, with y=. A linear head is then fitted to the labelled rows of X
    and applied to X and to the views: `pyal.heads.ClosedFormSoftmax` with ridge, on centred rows. Where both are given,
    passes are used, and the views are not. With one class labelled that head is sure of it everywhere, all scores are
    0, and the lowest positions are picked.

    Differs from its source: the method there also trains the classifier, by MixMatch. Here it is the score alone.
    """
    return _scores(pool, "consistency", lambda p: p.var(axis=0).sum(axis=-1))


@strategy(
    "diff2aug_kmeans",
    needs=("proba",),
    instead=(("proba", "views"),),
    passes=True,
    memory="O(N + clusters d)",
    citation="Song, Berthelot & Rostamizadeh 2019, arXiv:1912.00594",
)
def diff2aug_kmeans(
    pool: Pool, batch_size: int, *, rng: np.random.Generator, uncertainty: str = "margin", n_clusters: int = 20
) -> NDArray[np.int64]:
    """Picks, in proportion to the size of each cluster, rows whose augmented copies are predicted with little margin.

    The score is p_(2) - p_(1), averaged over the predictions for the image and its augmented copies, which are those
    of `consistency`. k-means clusters all rows of X. A cluster's share of the batch is its share of the candidates, by
    largest remainders: what rounding down leaves goes to the largest fractions, then to the lowest cluster number. Each
    cluster gives its largest scores. The batch is ordered by score, and ties go to the lowest position.

    uncertainty: "margin", or "least_confidence", which is 1 - p_(1) for each prediction.
    n_clusters: the number of clusters, at most one for each row.

    Differs from its source: the predictions average over the original too, and rounding is by largest remainders, of
    which the paper says nothing.
    """
    if uncertainty not in ("margin", "least_confidence"):
        raise ValueError(f"uncertainty must be 'margin' or 'least_confidence'; got {uncertainty!r}")

    def score(p: NDArray[np.float64]) -> NDArray[np.float64]:
        most, second = two_largest(p if p.shape[-1] > 1 else np.concatenate([0 * p, p], axis=-1))
        each = second - most if uncertainty == "margin" else 1 - most
        return np.asarray(each.mean(axis=0))

    k = min(size(n_clusters, "n_clusters", 1), pool.n)
    scores = _scores(pool, "diff2aug_kmeans", score)
    owner = as_numpy(kernels.kmeans(pool.X, k, random_state=rng, n_jobs=pool.n_jobs)[1], "assignment")[pool.candidates]
    shares = largest_remainders(np.bincount(owner, minlength=k), batch_size)
    ordered = np.lexsort((-scores[pool.candidates], owner))
    sizes = np.bincount(owner, minlength=k)
    rank = np.arange(len(ordered)) - (np.cumsum(sizes) - sizes)[owner[ordered]]
    chosen = np.full(pool.n, -np.inf)
    kept = pool.candidates[ordered[rank < shares[owner[ordered]]]]
    chosen[kept] = scores[kept]
    return largest(pool, batch_size, chosen)


@strategy(
    "dropquery",
    needs_once_labeled=("y",),
    memory="O(N + (subset + clusters) d)",
    metric="cosine",
    citation="Gupte et al. 2024 (TMLR), arXiv:2401.14555",
)
def dropquery(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    head: Any = None,
    dropout: float = 0.75,
    passes: int = 3,
    subset: int = 50_000,
) -> NDArray[np.int64]:
    """Picks rows spread over those whose predicted class changes when features are dropped.

    Every row is predicted as it is and in several passes in which each of its features is 0 with the probability
    `dropout`, the others divided by 1 - dropout. The rows whose class changes in more than half of the passes, rounded
    down, are clustered by k-means into batch_size clusters, and the nearest to each centroid is picked, as in kmeans.
    Where these are fewer than 25 batch_size, rows whose class changes at all are taken. Where there are too few rows,
    candidates drawn at random make up for it. Where no head is given and fewer than two classes are labelled, all
    candidates are clustered.

    head: a fitted classifier with predict_proba on rows like those of X, as they came. None fits a linear one to the
        labelled rows at norm 1 (metric="euclidean": as they are), `pyal.heads.ClosedFormSoftmax` with ridge. A loop
        takes None only.
    dropout: the probability with which a feature is dropped, in (0, 1).
    passes: how many passes with dropout are made.
    subset: at most so many rows are clustered, as in kmeans.

    Differs from its source: there the head is the classifier that is being trained. All rows that waver are clustered.
    """
    if not 0 < dropout < 1:
        raise ValueError(f"dropout must lie in (0, 1); got {dropout!r}")
    times, most = size(passes, "passes", 1), size(subset, "subset", 1)
    X = pool.X if head is None else as_they_are(pool.X)
    if head is None and not _two_classes(pool):
        return representatives(pool, pool.candidates, batch_size, most, rng)
    asked = fitted_head(pool) if head is None else head
    if not callable(getattr(asked, "predict_proba", None)):
        raise TypeError(f"head must be a fitted classifier with predict_proba, or None; got {type(head).__name__}")
    changes = np.zeros(pool.n, np.int64)
    for part, (rows,) in host_blocks(X):
        before = predicted_classes(asked, rows)
        for _ in range(times):
            kept = rng.random(rows.shape, np.float32) >= dropout
            changes[part] += predicted_classes(asked, rows * kept / (1 - dropout)) != before
    changes = changes[pool.candidates]
    wavering = changes > times // 2
    if int(wavering.sum()) < _FEW * batch_size:
        wavering = changes > 0
    return representatives(pool, pool.candidates[wavering], batch_size, most, rng)


@strategy(
    "alfamix",
    aliases=("alfa_mix",),
    needs_once_labeled=("y",),
    memory="O(N + (subset + clusters + classes) d)",
    metric="cosine",
    citation="Parvaneh et al. 2022, arXiv:2203.07034",
)
def alfamix(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    head: Any = None,
    epsilon: float = 0.2,
    subset: int = 50_000,
) -> NDArray[np.int64]:
    """Picks rows spread over those whose predicted class changes when a little of a class's mean is mixed in.

    The anchors z* are the means of the labelled rows of each class. Row z becomes a z* + (1 - a) z, feature by feature,
    where a = e |z* - z| g / (|g| (z* - z)), the paper's closed form, with e = epsilon / sqrt(d) and g the gradient of
    the cross-entropy of the predicted class at z. That is z + e |z* - z| g / |g|, which is what is computed. The rows
    whose class changes for any anchor are clustered by k-means into batch_size clusters, and the nearest
    to each centroid is picked, as in kmeans. Where there are too few such rows, candidates drawn at random make up for
    it. Where nothing is labelled, or no head is given and one class is, all candidates are clustered.

    head: a fitted linear classifier with coef_ (C, d) and intercept_ (C,), on rows like those of X, as they came: its
        probabilities are softmax(x coef_' + intercept_), or of two classes a sigmoid with one row of coef_. None fits
        one to the labelled rows at norm 1 (metric="euclidean": as they are), `pyal.heads.ClosedFormSoftmax` with ridge.
        A loop takes None only.
    epsilon: the size of the step, times sqrt(d), above 0.
    subset: at most so many rows are clustered, as in kmeans.

    Differs from its source: there the head is the classifier that is being trained, and epsilon grows until enough rows
    change their class; here it is the one value of later comparisons. All rows that change are clustered.
    """
    if not 0 < epsilon < np.inf:
        raise ValueError(f"epsilon must be positive; got {epsilon!r}")
    most = size(subset, "subset", 1)
    X = pool.X if head is None else as_they_are(pool.X)
    given = None if head is None else linear_map(head, X.d)
    if not (_two_classes(pool) if given is None else len(pool.labeled)):
        return representatives(pool, pool.candidates, batch_size, most, rng)
    asked = fitted_head(pool) if given is None else given
    assert pool.y is not None
    labeled = np.asarray(as_numpy(X.take(pool.labeled), "X"), np.float64)
    anchors = np.stack([labeled[pool.y == label].mean(axis=0) for label in np.unique(pool.y)])
    flips = np.zeros(pool.n, bool)
    for part, (rows,) in host_blocks(X):
        flips[part] = flipped(asked.weights, asked.scores(rows), rows, anchors, epsilon / np.sqrt(X.d))
    return representatives(pool, pool.candidates[flips[pool.candidates]], batch_size, most, rng)


def flipped(
    weights: NDArray[np.float64],
    scores: NDArray[np.float64],
    rows: NDArray[np.float64],
    anchors: NDArray[np.float64],
    step: float,
) -> NDArray[np.bool_]:
    """(m,) whether a step of ALFA-Mix towards any anchor changes the class of the largest score.

    All anchors lead along the same gradient, and where scores are linear a class that is left is not met again: the
    farthest anchor tells for all of them.
    """
    from pyal.heads.inputs import softmax

    rest = np.arange(len(rows))
    top = scores.argmax(axis=1)
    pushed = softmax(scores.copy())
    pushed[rest, top] -= 1
    gradient = pushed @ weights
    norms = np.sqrt((gradient * gradient).sum(axis=1))
    sq = (rows * rows).sum(axis=1)[:, None] - 2 * rows @ anchors.T + (anchors * anchors).sum(axis=1)
    length = step * np.sqrt(np.maximum(sq.max(axis=1), 0)) / np.where(norms > 0, norms, np.inf)
    moved = scores + length[:, None] * (gradient @ weights.T)
    return np.asarray(moved.argmax(axis=1) != top)


def largest_remainders(sizes: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """`total` split in proportion to the sizes, no part above its size; total is at most their sum.

    >>> largest_remainders(np.array([5, 3, 2]), 4)
    array([2, 1, 1])
    """
    whole, rest = np.divmod(sizes * total, max(1, int(sizes.sum())))
    whole[np.argsort(-rest, kind="stable")[: total - int(whole.sum())]] += 1
    return np.asarray(whole, np.int64)


def _two_classes(pool: Pool) -> bool:
    return pool.y is not None and len(np.unique(pool.y)) > 1


def _scores(pool: Pool, name: str, score: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    scores = np.empty(pool.n)
    for part, p in _predictions(pool, name):
        scores[part] = score(p)
    return scores


def _predictions(pool: Pool, name: str) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Slices of rows and (T, m, C) predictions for them, the original first; ValueError where there is but one."""
    if pool.proba is not None and pool.proba.ndim == 3 and len(pool.proba) > 1:
        yield from pool.proba_blocks()
        return
    if pool.views is None:
        shape = None if pool.proba is None else pool.proba.shape
        raise ValueError(
            f"strategy {name!r} needs proba of several passes or members, (T, N, C) with T of 2 or more, or views=; "
            f"got shape {shape}"
        )
    if not len(pool.labeled) or pool.y is None:
        raise ValueError(
            f"strategy {name!r} with views= needs rows labelled by y=, to fit a head to; or proba of several passes, "
            "(T, N, C)"
        )
    head = fitted_head(pool)
    for part, blocks in host_blocks(pool.X, *pool.views):
        yield part, np.stack([head.predict_proba(block) for block in blocks])
