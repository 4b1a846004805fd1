"""Strategies that look ahead: what would the model predict everywhere, had this row been learned too?

The model is a head on frozen embeddings that gradient descent trains to the end on the squared error. In the limit in
which its neural tangent kernel does not move, this is kernel regression, and one more row is a rank-one update
(csrc/kernels/ntk_lookahead.hpp). Both strategies draw a subset of the candidates and look at these alone; risks are
counted on that subset and the labelled rows.
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
from pyal.strategies.label_columns import class_columns, class_numbers
from pyal.strategies.learned_rows import LearnedRows
from pyal.strategies.pseudo_labels import cluster_pseudo_labels
from pyal.strategies.registry import strategy
from pyal.strategies.subsets import drawn_subset


@strategy(
    "ntkcpl",
    needs_once_labeled=("y", "proba"),
    memory="O(N + subset^2)",
    needs_with=(("cluster_on", "al", "features"),),
    metric="cosine",
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
    subset: int | str = 10_000,
    kernel: str = "empirical",
    width: int | None = None,
    depth: int | None = None,
    t: float | None = None,
    f0: str | None = None,
) -> NDArray[np.int64]:
    """Picks the rows after which a model trained on cluster pseudo-labels would be wrong on the fewest rows.

    `pyal.cluster_pseudo_labels` makes the pseudo-labels. They stand for labels everywhere, at labelled rows too. Once
    rows are labelled, proba, from the last classifier, tells which clusters confuse classes, and y must hold its column
    numbers, or all of its classes, which then stand in their order. Ties in the number of wrong rows go to the lower
    squared error. The kernel of the subset and the labelled rows is in memory twice.

    cluster_on: "self" clusters X, which is better with few labels. "al" clusters `features`, the activations of the
        last classifier, once rows are labelled, which is better with many.
    initial_clusters: the paper's b0, its first budget (20 on CIFAR-10). None takes batch_size, in a loop the first one,
        at most max_clusters and at least the columns of proba.
    max_clusters: the largest number of clusters. The paper takes 100 for CIFAR-10 and SVHN, 500 for CIFAR-100, 300 for
        ImageNet-100 and 150 for Pets.
    constraints: "cannot_link", "must_link" or "both": what the clustering demands of labelled rows, as in
        `kernels.constrained_kmeans`.
    subset: how many candidates are drawn at random to be looked at; all are where that is less than the batch. The
        paper takes 10,000. "10b" is ten times the batch, and "10000 by badge" has that strategy pick them.
    kernel: "empirical" is the kernel of a fresh network with one hidden layer on X, "infinite" the kernel of a network
        of infinite width.
    width: hidden units of the network; None means 512. kernel="infinite" has no use for it and refuses it.
    depth: hidden layers for kernel="infinite"; None means 1. kernel="empirical" refuses it.
    t: training time. None trains to the end, with a ridge of 1e-6 times the mean of the kernel's diagonal. A number
        takes the ridge 1 / t instead, but no less than that, in place of stopping at t: what counts is t times that
        diagonal.
    f0: predictions before training. "zero" or None starts from 0, "network" from the outputs of the network, which
        kernel="infinite" refuses.

    Differs from its source: predictions start from 0, where the paper starts from the network's outputs. Their noise
    cost 3 to 8 points of accuracy at 20 labels on digits and FashionMNIST. The paper does not say how it uses t.
    """
    if cluster_on not in ("self", "al"):
        raise ValueError(f"cluster_on must be 'self' or 'al'; got {cluster_on!r}")
    source = pool.X
    if cluster_on == "al" and len(pool.labeled):
        assert pool.features is not None
        source = pool.features
    most = size(max_clusters, "max_clusters", 1)
    _check_model(kernel, width, depth, t, f0)
    some = drawn_subset(pool, batch_size, subset, rng)
    b0 = (
        min(pool.first_batch or batch_size, most)
        if initial_clusters is None
        else size(initial_clusters, "initial_clusters", 1)
    )
    predicted = known = None
    if len(pool.labeled):
        assert pool.proba is not None
        b0 = max(b0, pool.proba.shape[-1]) if initial_clusters is None else b0
        known, predicted = np.full(pool.n, -1), pool.predicted
        known[pool.labeled] = class_columns(pool)
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
    ridge = _ridge(R, t)

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        asked = picked, candidates, wanted
        return _looked_ahead(pool, rows, *asked, R, start, target, targets=target, ridge=ridge)[0]

    return pool.in_turn(batch_size, next_picks, among=some)


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
    subset: int | str = 4_000,
    kernel: str = "empirical",
    width: int | None = None,
    depth: int | None = None,
    t: float | None = None,
    f0: str | None = None,
) -> NDArray[np.int64]:
    """Picks the rows that would change the model's predictions most, if their predicted class were their label.

    The model has one output per class. Where nothing is labelled, or one class, there is one output, and whatever the
    objective, the picks are the rows that change it most. The kernel of the subset and the labelled rows is in memory
    twice.

    objective: what "most" means. "agreement": the fewest rows keep their class (pseudo-contrastive, the authors'
        default), and ties go to the larger change of the outputs. "output_change": the sum of the changes of the
        outputs is largest (most likely model output change). "expected_risk": the sum of 1 - the largest class
        probability is least, where outputs are projected on the simplex.
    sequential: True learns each pick with its predicted class before the next pick. False takes the batch_size best
        rows of one pass, as the authors do by default; ties go to the lowest position.
    subset: how many candidates are drawn at random to be looked at, as in ntkcpl. The authors take 4,000.
    kernel: "empirical" is the kernel of a fresh network with one hidden layer on X, "infinite" the kernel of a network
        of infinite width.
    width: hidden units of the network; None means 512. kernel="infinite" has no use for it and refuses it.
    depth: hidden layers for kernel="infinite"; None means 1. kernel="empirical" refuses it.
    t: training time, as in ntkcpl. None trains to the end.
    f0: predictions before training. "zero" or None starts from 0, "network" from the outputs of the network, which
        kernel="infinite" refuses.

    Differs from its source: the authors take the kernel of the whole trained network, and pick a batch in one pass.
    Their averages over all labels instead of the predicted one are not offered.
    """
    if objective not in (allowed := tuple(o for o in get_args(Objective) if o not in ("risk", "soft_risk"))):
        raise ValueError(f"objective must be one of {', '.join(allowed)}; got {objective!r}")
    _check_model(kernel, width, depth, t, f0)
    some = drawn_subset(pool, batch_size, subset, rng)
    rows = np.sort(np.concatenate([pool.labeled, some]))
    labels = np.full(rows.size, -1)
    classes = 1
    if pool.y is not None and len(pool.labeled):
        names, numbers = class_numbers(pool.y)
        classes = len(names)
        labels[np.searchsorted(rows, pool.labeled)] = numbers
    if classes == 1:  # all rows keep it, and no error is expected: what is left is the change
        objective = "output_change"
    start, R = _model(pool, rows, classes, kernel, width, depth, f0, rng)
    ridge = _ridge(R, t)
    learned = LearnedRows(R, start, ridge)

    def looked_ahead(
        picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if len(picked) and not len(learned.positions):
            learned.learn(np.searchsorted(rows, pool.labeled), labels[np.searchsorted(rows, pool.labeled)])
        if len(picked):
            learned.learn(np.searchsorted(rows, picked[len(learned.positions) - len(pool.labeled) :]))
        known = labels.copy()
        known[learned.positions] = learned.classes
        asked = picked, candidates, wanted
        return _looked_ahead(pool, rows, *asked, R, start, known, objective=cast(Objective, objective), ridge=ridge)

    if sequential:
        return pool.in_turn(batch_size, lambda *asked: looked_ahead(*asked)[0], among=some)
    value = looked_ahead(np.empty(0, np.int64), some, 0)[1][np.searchsorted(rows, some)]
    ranked = some[np.argsort(-value if objective == "output_change" else value, kind="stable")]
    return ranked[:batch_size] if pool.rules is None else pool.upkeep(batch_size, some).best(ranked, batch_size)


def _looked_ahead(
    pool: Pool,
    rows: NDArray[np.int64],
    picked: NDArray[np.int64],
    candidates: NDArray[np.int64],
    wanted: int,
    R: Matrix,
    start: Any,
    labels: NDArray[np.int64],
    **goal: Any,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What `Pool.in_turn` asks for, by a model of these rows, and the objectives of all of them before."""
    picks, _, scores = kernels.ntk_lookahead(
        R,
        start,
        labels,
        wanted,
        labeled=np.searchsorted(rows, np.concatenate([pool.labeled, picked])),
        candidates=np.searchsorted(rows, candidates),
        n_jobs=pool.n_jobs,
        **goal,
    )
    return rows[as_numpy(picks, "positions")], as_numpy(scores, "scores")


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
