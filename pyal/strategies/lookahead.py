"""Strategies that look ahead: what would the model predict everywhere, had this row been learned too?

The model is a head on frozen embeddings, trained to the end by gradient descent on the squared error, in the limit in
which its neural tangent kernel does not move: kernel regression, to which one more row is a rank-one update
(csrc/kernels/ntk_lookahead.hpp). Both strategies draw a subset of the candidates, which is also what risks are counted
on, together with the labelled rows.
"""

from __future__ import annotations

from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy, size
from pyal.kernels.lookahead import Objective, lookahead_room, mean_ridge
from pyal.kernels.matrices import value_dtype
from pyal.pool import Pool
from pyal.strategies.pseudo_labels import cluster_pseudo_labels
from pyal.strategies.registry import strategy


@strategy(
    "ntkcpl",
    needs_once_labeled=("y", "proba"),
    memory="O(N + subset^2)",
    citation="Wen, Pizarro & Williams 2024, arXiv:2306.04099",
)
def ntkcpl(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    cluster_on: str = "self",
    initial_clusters: int | None = None,
    max_clusters: int = 100,
    constraints: str = "cannot_link",
    subset: int = 10_000,
    kernel: str = "empirical",
    width: int | None = None,
    depth: int | None = None,
    t: float | None = None,
    f0: str | None = None,
) -> NDArray[np.int64]:
    """Each pick leaves the fewest rows that the model, trained on cluster pseudo-labels, would get wrong.

    Pseudo-labels are made by `pyal.cluster_pseudo_labels` on X (cluster_on="self", better with few labels), or once
    rows are labelled on `features`, the activations of the last classifier (cluster_on="al", better with many). They
    stand for labels everywhere, at labelled rows too. proba, of the last classifier, tells which clusters confuse
    classes. y holds its column numbers, or all of its classes, then in their order. initial_clusters: the paper's b0,
    its first budget (20 on CIFAR-10); None: batch_size, at most max_clusters, and at least the columns of proba.
    max_clusters: 100 for CIFAR-10 and SVHN in the paper, 500 CIFAR-100, 300 ImageNet-100, 150 Pets. constraints: of the
    clustering. subset: candidates drawn at random, the paper's 10,000.

    The model: a fresh network with one hidden layer of `width` units (None: 512) on X and its empirical kernel,
    predictions starting from 0 (f0="zero" or None, the network less a frozen copy of itself) or from its outputs
    (f0="network", the paper's; its noise cost 3 to 8 points at 20 labels on digits and FashionMNIST); or the kernel of
    infinite width with `depth` (None: 1) hidden layers (kernel="infinite"), which starts from 0. The empirical kernel
    takes no depth, the infinite one no width and no f0: given, they are a ValueError. t: training time; None: to the
    end, with a ridge of 1e-6 of the mean of the kernel's diagonal; else ridge 1 / t, but no less, which stands in for
    stopping at t (the paper does not say what it uses; what counts is t times that diagonal). Ties in the number of
    wrong rows go to the lower squared error. Memory O(N) and the kernel of subset and labelled rows, twice.
    """
    if cluster_on not in ("self", "al"):
        raise ValueError(f"cluster_on must be 'self' or 'al'; got {cluster_on!r}")
    source = pool.X
    if cluster_on == "al" and len(pool.labeled):
        if pool.features is None:
            raise ValueError("strategy 'ntkcpl' with cluster_on='al' needs features= once rows are labelled")
        source = pool.features
    most = size(max_clusters, "max_clusters", 1)
    _check_model(kernel, width, depth, t, f0)
    some = _subset(pool, batch_size, subset, rng)
    b0 = min(batch_size, most) if initial_clusters is None else size(initial_clusters, "initial_clusters", 1)
    predicted = known = None
    if len(pool.labeled):
        assert pool.proba is not None
        b0 = max(b0, pool.proba.shape[-1]) if initial_clusters is None else b0
        known, predicted = np.full(pool.n, -1), _predicted(pool)
        known[pool.labeled] = _class_columns(pool)
    rows = np.sort(np.concatenate([pool.labeled, some]))
    target = cluster_pseudo_labels(
        source if rows.size == pool.n else source.take(rows),
        b0,
        labels=None if known is None else known[rows],
        predictions=None if predicted is None else predicted[rows],
        max_clusters=most,
        constraints=constraints,
        random_state=rng,
        n_jobs=pool.n_jobs,
    )
    start, R = _model(pool, rows, int(target.max()) + 1, kernel, width, depth, f0, rng)
    picks, _, _ = kernels.ntk_lookahead(
        R,
        start,
        target,
        batch_size,
        labeled=np.searchsorted(rows, pool.labeled),
        candidates=np.searchsorted(rows, some),
        targets=target,
        ridge=_ridge(R, t),
        n_jobs=pool.n_jobs,
    )
    chosen: NDArray[np.int64] = rows[as_numpy(picks, "positions")]
    return chosen


@strategy(
    "lookahead",
    aliases=("ntk_lookahead",),
    needs_once_labeled=("y",),
    memory="O(N + subset^2)",
    citation="Mohamadi, Bae & Sutherland 2022, arXiv:2206.12569",
)
def lookahead(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    objective: str = "agreement",
    sequential: bool = True,
    subset: int = 4_000,
    kernel: str = "empirical",
    width: int | None = None,
    depth: int | None = None,
    t: float | None = None,
    f0: str | None = None,
) -> NDArray[np.int64]:
    """Each pick would change the model's predictions most, were its predicted class its label.

    objective: "agreement", the fewest rows that keep their class (the authors' default, pseudo-contrastive; ties go to
    the larger change of the outputs); "output_change", the largest sum of changes of the outputs (most likely model
    output change); "expected_risk", the least sum of 1 - the largest class probability, outputs projected on the
    simplex. The authors' averages over all labels instead of the predicted one are not offered. sequential: each pick
    is learned with its predicted class before the next; False: the batch_size best of one pass, as the authors' default
    has it, ties to the lowest position. subset: candidates drawn at random, the authors' 4,000.

    The model, width, depth, t, f0 and kernel are those of ntkcpl, with one output a class; the authors take the kernel
    of the whole trained network instead. With nothing labelled there is one class, and the picks are those that change
    its output most. Memory O(N) and the kernel of subset and labelled rows, twice.
    """
    if objective not in (allowed := tuple(o for o in get_args(Objective) if o not in ("risk", "soft_risk"))):
        raise ValueError(f"objective must be one of {', '.join(allowed)}; got {objective!r}")
    _check_model(kernel, width, depth, t, f0)
    some = _subset(pool, batch_size, subset, rng)
    rows = np.sort(np.concatenate([pool.labeled, some]))
    labels = np.full(rows.size, -1)
    classes = 1
    if pool.y is not None and len(pool.labeled):
        names, numbers = _class_numbers(pool.y)
        classes = len(names)
        labels[np.searchsorted(rows, pool.labeled)] = numbers
    if classes == 1 and objective == "agreement":  # all rows keep it: what is left is the tie-break
        objective = "output_change"
    start, R = _model(pool, rows, classes, kernel, width, depth, f0, rng)
    candidates = np.searchsorted(rows, some)
    picks, _, scores = kernels.ntk_lookahead(
        R,
        start,
        labels,
        batch_size if sequential else 0,
        labeled=np.searchsorted(rows, pool.labeled),
        candidates=candidates,
        objective=cast(Objective, objective),
        ridge=_ridge(R, t),
        n_jobs=pool.n_jobs,
    )
    if sequential:
        best = as_numpy(picks, "positions")
    else:
        value = as_numpy(scores, "scores")[candidates] * (-1 if objective == "output_change" else 1)
        best = candidates[np.argsort(value, kind="stable")[:batch_size]]
    chosen: NDArray[np.int64] = rows[best]
    return chosen


def _subset(pool: Pool, batch_size: int, subset: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ascending positions of the candidates that are looked at: `subset` at random, at least a batch."""
    if int(subset) < 1:
        raise ValueError(f"subset must be at least 1; got {subset!r}")
    count = max(int(subset), batch_size)
    if count >= len(pool.candidates):
        return pool.candidates
    return np.sort(rng.choice(pool.candidates, count, replace=False))


def _check_model(kernel: str, width: int | None, depth: int | None, t: float | None, f0: str | None) -> None:
    if kernel not in ("empirical", "infinite"):
        raise ValueError(f"kernel must be 'empirical' or 'infinite'; got {kernel!r}")
    unused: dict[str, Any] = {"depth": depth} if kernel == "empirical" else {"width": width, "f0": f0}
    for name, value in unused.items():
        if value is not None:
            raise ValueError(f"{name} must be None: kernel={kernel!r} has no use for it; got {value!r}")
    if f0 not in ("network", "zero", None):
        raise ValueError(f"f0 must be 'network' or 'zero'; got {f0!r}")
    for name, count in (("width", width), ("depth", depth)):
        if count is not None:
            size(count, name, 1)
    if t is not None and not 0 < t < np.inf:
        raise ValueError(f"t must be a positive training time, or None for infinity; got {t!r}")


def _model(
    pool: Pool,
    rows: NDArray[np.int64],
    outputs: int,
    kernel: str,
    width: int | None,
    depth: int | None,
    f0: str | None,
    rng: np.random.Generator,
) -> tuple[Any, Matrix]:
    """(predictions before training (m, outputs), kernel) of the head on these rows."""
    X = pool.X if rows.size == pool.n else pool.X.take(rows)
    start = np.zeros((rows.size, outputs))
    lookahead_room(rows.size, value_dtype(X), X.device, copies=2)
    if kernel == "infinite":
        K = kernels.ntk(X, kind="infinite", depth=depth, n_jobs=pool.n_jobs)
    else:
        given = {} if width is None else {"width": width}
        weights = kernels.ntk_weights(X.d, n_outputs=outputs, random_state=rng, **given)
        K = kernels.ntk(X, weights=weights, n_jobs=pool.n_jobs)
        if f0 == "network":
            start = as_numpy(kernels.ntk_outputs(X, weights), "f0")
    return start, Matrix(K, value_dtype(X), X.device)


def _ridge(R: Matrix, t: float | None) -> float:
    return mean_ridge(R) if t is None else max(1 / float(t), mean_ridge(R))


def _predicted(pool: Pool) -> NDArray[np.int64]:
    """(N,) column of the largest mean probability."""
    out = np.empty(pool.n, np.int64)
    for part, passes in pool.proba_blocks():
        out[part] = passes.mean(axis=0).argmax(axis=1)
    return out


def _class_numbers(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(the classes in their order, the rank of each label's)."""
    try:
        names, numbers = np.unique(y, return_inverse=True)
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in y.tolist()}))
        raise TypeError(f"y must hold labels that can be put in order; got {kinds}") from None
    return names, numbers.astype(np.int64, copy=False)


def _class_columns(pool: Pool) -> NDArray[np.int64]:
    """The columns of proba that the labels name, or stand for by their rank, as in scikit-learn's classes_."""
    assert pool.y is not None
    assert pool.proba is not None
    columns = pool.proba.shape[-1]
    names, numbers = _class_numbers(pool.y)
    if all(isinstance(name, (int, float)) and name in range(columns) for name in names.tolist()):
        return pool.y.astype(np.int64)
    if len(names) != columns:
        raise ValueError(
            f"y must hold column numbers of proba, 0 .. {columns - 1}, or all its {columns} classes in their order; "
            f"got {len(names)} other classes"
        )
    return numbers.astype(np.int64)
