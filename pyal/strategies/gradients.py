"""Strategies in the space of last-layer gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy
from pyal.pool import Pool, as_they_are
from pyal.strategies.fisher import Factors, forward_backward
from pyal.strategies.partitions import in_parts
from pyal.strategies.registry import strategy

WIDEST = 4096  # columns of the Fisher information of all classes: 128 MB a matrix


@strategy("badge", needs=("proba",), memory="O(N C)", weighs=True, citation="Ash et al. 2020, arXiv:1906.03671")
def badge(pool: Pool, batch_size: int, *, rng: np.random.Generator, n_partitions: int = 1) -> NDArray[np.int64]:
    """Picks diverse rows with large gradients of the loss at the predicted label, by k-means++.

    The gradient at row i is (onehot(argmax p_i) - p_i) x h_i. Here h_i is the row of `features` where these are given
    and the row of X as the classifier saw it, whatever the metric, where they are not, and p_i is the mean over the T
    passes of a (T, N, C) proba. The first pick has the largest gradient. Every other pick is drawn with a probability
    proportional to its squared distance to the nearest pick, or uniformly where all these distances are 0. Weights
    multiply the squared norms and distances. Labelled rows play no part. The gradients, N x (C d), are never formed.

    n_partitions: how many parts the candidates are split into at random; each part picks its share of the batch. 1 is
        BADGE itself, more parts are its variant for many classes.
    """
    h = _activations(pool)
    q = _residuals(pool, np.float64 if h.dtype == "float64" else np.float32)

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        covered = picked if len(picked) else None
        found = kernels.d2_sampling(
            h,
            wanted,
            q=q,
            weights=pool.weights,
            covered_by=covered,
            candidates=candidates,
            random_state=rng,
            n_jobs=pool.n_jobs,
        )
        return as_numpy(found, "positions")

    return in_parts(pool, batch_size, n_partitions, rng, next_picks)


@strategy(
    "bait",
    needs=("proba",),
    memory="O(N + d^2)",
    metric="cosine",
    citation="Ash et al. 2021, arXiv:2106.09675; Huseljic et al. 2024, arXiv:2404.08981 (binary)",
)
def bait(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001
    fisher: str = "binary",
    top: int | None = None,
    ridge: float = 0.01,
    oversample: float = 2.0,
) -> NDArray[np.int64]:
    """Picks the rows that tell most about the last layer, as its Fisher information measures it, for the whole pool.

    The batch S lowers tr(M^-1 F). Here F is the mean Fisher information of all rows of X, and M is ridge I plus the
    mean Fisher information of the labelled rows and S together. Rows are added one by one, each the one that lowers the
    trace most, until there are oversample times the batch. Then they are removed one by one, each the one without which
    the trace rises least. The rows are those of `features` where these are given, else of X, at norm 1 by default: of
    rows of many norms it picks the longest, which cost three to five points of accuracy on embeddings of CIFAR-10. p is
    the mean over the T passes of a (T, N, C) proba. All sums are float64, and gains that differ by less than 1e-9 of
    the largest are ties. Where every row is sure of its class, "binary" takes p (1 - p) to be the same for all. Rules
    (groups, min_distance, class_balance) are kept by its next best: rows are removed again, so that there is no order
    of picks in which to keep them.

    fisher: "binary" takes the Fisher information of row i as p (1 - p) h h^T, where p is its largest probability: as
        wide as h, which each pick reads once. "classes" takes that of all classes, the sum over c of
        p_c (e_c - p)(e_c - p)^T (x) h h^T. It is C d wide, 4096 at most, and takes O(N C^2 + (C d)^2) memory,
        O(N (C d)^2) time at first and O(N C^2 (C + d)) a pick.
    top: with fisher="classes" the sum goes over this many most probable classes. None takes all.
    ridge: lambda, above 0, to be seen beside the squared norms of the rows. Less than 1e-10 of the largest squared norm
        of a row's factors counts as that, for float64 to hold the inverse.
    oversample: how many times the batch is added before rows are removed, 1 or more. 1 removes none.

    Differs from its source: rows are taken at norm 1. A pick counts like a labelled row, as 1 / (labelled + batch),
    where the authors' code weighs each by batch / (labelled + batch); beside such picks their lambda of 1 is that
    divided by the batch here, as 0.01 is for a batch of 100. "classes" is their Fisher information; "binary" and top
    are those of the second source.
    """
    if not 0 < ridge < np.inf:
        raise ValueError(f"ridge must be positive; got {ridge!r}")
    if not 1 <= oversample < np.inf:
        raise ValueError(f"oversample must be at least 1; got {oversample!r}")
    assert pool.proba is not None
    h = pool.X if pool.features is None else pool.features
    factors = Factors(_fisher_factors(pool, h.d, fisher, top), h).scaled(float(ridge), len(pool.labeled) + batch_size)
    every = factors.summed(np.ones(pool.n, bool))
    m = np.eye(factors.width) + factors.summed(pool.is_labeled)
    return forward_backward(factors, every, m, pool.candidates, batch_size, float(oversample))


def _activations(pool: Pool) -> Matrix:
    """`features`, or the rows as the classifier saw them."""
    return as_they_are(pool.X) if pool.features is None else pool.features


def _fisher_factors(pool: Pool, d: int, fisher: str, top: int | None) -> NDArray[np.float64]:
    """(N, k, w): what stands before h in the factors of the Fisher information."""
    assert pool.proba is not None
    classes = pool.proba.shape[-1]
    if fisher not in ("binary", "classes"):
        raise ValueError(f"fisher must be 'binary' or 'classes'; got {fisher!r}")
    if top is not None and fisher == "binary":
        raise ValueError(f"top must be None where fisher='binary', which looks at one class; got {top!r}")
    if top is not None and not 1 <= int(top) <= classes:
        raise ValueError(f"top must lie in 1 .. {classes}, the classes; got {top!r}")
    if fisher == "classes" and classes * d > WIDEST:
        raise ValueError(
            f"fisher='classes' takes classes times columns up to {WIDEST}; got {classes} * {d} = {classes * d} "
            f"(fisher='binary' takes any)"
        )
    k, w = (1, 1) if fisher == "binary" else (int(top or classes), classes)
    z = np.empty((pool.n, k, w))
    for part, passes in pool.proba_blocks():
        p = passes.mean(axis=0)
        p /= p.sum(axis=1, keepdims=True)  # proba may sum to 1 but roughly
        if fisher == "binary":
            most = p.max(axis=1)
            z[part, 0, 0] = np.sqrt(most * np.maximum(1 - most, 0))
            continue
        likely = np.argsort(-p, axis=1, kind="stable")[:, :k]
        z[part] = np.eye(classes)[likely] - p[:, None, :]
        z[part] *= np.sqrt(np.take_along_axis(p, likely, axis=1))[:, :, None]
    if fisher == "binary" and not z.any():
        z[:] = 1
    return z


def _residuals(pool: Pool, dtype: type) -> NDArray[np.floating]:
    """(N, C) onehot(argmax p) - p, the difference taken in float64."""
    assert pool.proba is not None
    q: NDArray[np.floating] = np.empty((pool.n, pool.proba.shape[-1]), dtype)
    for part, passes in pool.proba_blocks():
        p = passes.mean(axis=0)
        top = p.argmax(axis=1)
        rows = np.arange(len(p))
        p *= -1
        p[rows, top] += 1
        q[part] = p
    return q
