"""Strategies that cluster the pool and pick so many rows of each cluster, often one.

TypiClust and SUPClust cluster all rows of X into min(labelled + batch_size, max_clusters) clusters. They visit the
clusters with the fewest labelled rows first (among those the largest first, then the lowest number) and take one row
from each, round after round. Only the candidates of a cluster that are not yet picked are ranked, and among these alone
typicality is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy, size
from pyal.kernels.matrices import normalized
from pyal.pool import Pool, as_they_are
from pyal.strategies.centroids import nearest_distinct, representatives
from pyal.strategies.cluster_rounds import round_robin, top_fraction_filter
from pyal.strategies.cluster_tree import balanced_picks, cluster_tree
from pyal.strategies.registry import strategy
from pyal.strategies.sphere_centroids import learned_centroids


@strategy(
    "typiclust",
    aliases=("tpc_rp", "typiclust_rp"),
    needs_always_with=(("typical_in", "features", "features"),),
    memory="O(N + clusters d)",
    metric="cosine",
    citation="Hacohen, Dekel & Weinshall 2022, arXiv:2202.02794",
)
def typiclust(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    max_clusters: int = 500,
    min_cluster_size: int = 5,
    k_nn: int = 20,
    squared: bool = True,
    typical_in: str = "self",
) -> NDArray[np.int64]:
    """Picks the most typical row of each cluster, from the clusters with the fewest labels first.

    Typicality is 1 / (mean squared distance to the k nearest rows + 1e-5). Here k is k_nn or, where that is less, half
    the number of rows left in the cluster, rounded down.

    max_clusters: the largest number of clusters. A batch that would need more visits them again.
    min_cluster_size: clusters of at most this many rows are left out until nothing else is left. Where all clusters are
        that small, none is left out.
    k_nn: how many nearest rows typicality looks at.
    squared: False takes plain distances, as the paper prints them; the authors' code squares them.
    typical_in: "self" measures typicality in X. "features" measures it in `features`, other embeddings of the rows,
        such as those of another dimension (Ono 2024, thesis, ETH Zurich), at norm 1 where X is. Clusters are those of X
        either way. In a loop, features are the activations of the last classifier.

    Differs from its source where the authors' code fails: the last row of a cluster is simply taken (there: the mean of
    nothing), a cluster with no row left is skipped (there: an error), and labels are counted by cluster number.
    """
    if typical_in not in ("self", "features"):
        raise ValueError(f"typical_in must be 'self' or 'features'; got {typical_in!r}")
    assignment = _clustering(pool, batch_size, rng, max_clusters)[1]
    source = None
    if typical_in == "features":
        assert pool.features is not None
        source = normalized(pool.features, "features") if pool.metric == "cosine" else pool.features
    return round_robin(pool, batch_size, assignment, min_cluster_size, k_nn, squared, typical_in=source)


@strategy(
    "supclust", memory="O(N + clusters (d + clusters))", metric="cosine", citation="Ono et al. 2024, arXiv:2403.03741"
)
def supclust(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    temperature: float = 1.0,
    fraction: float = 0.10,
    max_clusters: int = 500,
    min_cluster_size: int = 5,
    k_nn: int = 20,
    squared: bool = True,
    centers: str = "kmeans",
) -> NDArray[np.int64]:
    """Picks, of each cluster's most typical rows, the one closest to the other clusters.

    Clusters are made and visited, and typicality is measured, as in typiclust. Of the rows left in a cluster the most
    typical ones are kept, and of these the row with the largest 1 / (weighted mean distance to the other centres) is
    picked. The weights are softmax(-|c_i - c_j| / temperature) over all other clusters, and distances are Euclidean
    (not squared). Where there is only one cluster, the picks are typiclust's.

    temperature: how slowly the weights fall with the distance of two centres. On normalised rows these distances hardly
        differ, so that the paper's 1 weighs all clusters about equally.
    fraction: the share of a cluster's rows that is kept, in (0, 1]; at least one row is.
    max_clusters: the largest number of clusters, as in typiclust.
    min_cluster_size: clusters of at most this many rows are left out until nothing else is left, as in typiclust.
    k_nn: how many nearest rows typicality looks at.
    squared: False takes plain distances for typicality.
    centers: what stands for a cluster in these distances. "kmeans" is the centre that k-means returns, to which each of
        its rows is nearest; "mean" is the mean of these rows. They differ where k-means stops before all is still.
    """
    if centers not in ("kmeans", "mean"):
        raise ValueError(f"centers must be 'kmeans' or 'mean'; got {centers!r}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1]; got {fraction!r}")
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be positive; got {temperature!r}")
    middles, assignment = _clustering(pool, batch_size, rng, max_clusters)
    if centers == "mean":  # one step of Lloyd's from here: the assignment to these centres is known, and its means
        middles = kernels.kmeans(pool.X, len(middles), init=middles, max_iter=1, tol=0.0, n_jobs=pool.n_jobs)[0]
    if len(middles) == 1:
        return round_robin(pool, batch_size, assignment, min_cluster_size, k_nn, squared)
    sup = as_numpy(
        kernels.sup_scores(pool.X, middles, assignment, temperature=float(temperature), n_jobs=pool.n_jobs), "scores"
    )

    def most_central(groups: NDArray[np.int64], typical: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.where(top_fraction_filter(typical, groups, fraction), sup, -np.inf)

    return round_robin(pool, batch_size, assignment, min_cluster_size, k_nn, squared, most_central)


@strategy(
    "lcmd",
    memory="O(N + labels d)",
    needs_with=(("cluster_on", "al", "features"),),
    citation="Holzmueller et al. 2023, arXiv:2203.09410",
)
def lcmd(
    pool: Pool, batch_size: int, *, rng: np.random.Generator, first: str = "norm", cluster_on: str = "self"
) -> NDArray[np.int64]:
    """Picks, again and again, the row of the largest cluster that is farthest from its centre.

    LCMD stands for largest cluster maximum distance. The labelled and the picked rows are the centres, and every
    candidate belongs to the nearest one; where two are equally near, to the lower labelled row or the earlier pick. The
    size of a cluster is the sum of the squared distances of its candidates to the centre, in float64. Of clusters of
    one size the centre that came first is taken, labelled rows by position.

    first: the first pick where nothing is labelled: "norm" (the row of the largest norm, as in the paper) or "random".
    cluster_on: "self" measures distances in X. "al" measures them in `features`, the activations of the last
        classifier, once rows are labelled.

    Differs from its source: the paper measures distances by kernels of the trained network, of which
    cluster_on="al" is that of the last layer; it also offers sketches of full gradients.
    """
    if first not in ("norm", "random"):
        raise ValueError(f"first must be 'norm' or 'random'; got {first!r}")
    if cluster_on not in ("self", "al"):
        raise ValueError(f"cluster_on must be 'self' or 'al'; got {cluster_on!r}")
    X = pool.X
    if cluster_on == "al" and len(pool.labeled):
        assert pool.features is not None
        X = pool.features

    def next_picks(picked: NDArray[np.int64], candidates: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        before = np.concatenate([pool.labeled, picked])
        if not len(before) and first == "norm":
            before = candidates[[np.argmax(pool.sqnorms[candidates])]]
        elif not len(before):
            before = rng.choice(candidates, 1)
        known = len(pool.labeled) + len(picked)
        return _largest_cluster_picks(X, before, candidates, known + wanted, pool.n_jobs)[known:]

    return pool.in_turn(batch_size, next_picks, one_by_one=True)


def _largest_cluster_picks(
    X: Matrix, centers: NDArray[np.int64], candidates: NDArray[np.int64], count: int, n_jobs: int | None
) -> NDArray[np.int64]:
    """The centres and what LCMD picks after them, `count` in all."""
    owner = as_numpy(kernels.knn(X.gathered(centers), 1, queries=X, n_jobs=n_jobs)[1], "positions")[:, 0]
    nearest = kernels.Carried()
    sqdist = _distances_to(X, centers, nearest, n_jobs)
    while len(centers) < count:
        members = np.setdiff1d(candidates, centers, assume_unique=True)
        sizes = np.bincount(owner[members], sqdist[members], len(centers))
        sizes[np.bincount(owner[members], minlength=len(centers)) == 0] = -1  # a cluster of size 0 may have rows
        members = members[owner[members] == sizes.argmax()]
        centers = np.append(centers, members[sqdist[members].argmax()])
        before, sqdist = sqdist, _distances_to(X, centers, nearest, n_jobs)
        owner[sqdist < before] = len(centers) - 1
    return centers


def _distances_to(
    X: Matrix, centers: NDArray[np.int64], carried: kernels.Carried, n_jobs: int | None
) -> NDArray[np.float64]:
    """(N,) squared distances to the nearest centre, of which only those that `carried` does not know are looked at."""
    kernels.k_center_greedy(X, 0, covered_by=centers, carried=carried, n_jobs=n_jobs)
    return as_numpy(carried.sqdist, "distances").astype(np.float64)


@strategy(
    "kmeans",
    aliases=("kmeans_sampling",),
    memory="O(N + (subset + clusters) d)",
    citation="Zhdanov 2019, arXiv:1901.05954, without its weights; Yuan, Lin & Boyd-Graber 2020, arXiv:2010.09535",
)
def kmeans(pool: Pool, batch_size: int, *, rng: np.random.Generator, subset: int = 50_000) -> NDArray[np.int64]:
    """Picks the candidate nearest to each centre of k-means with as many clusters as there are picks.

    The candidates are clustered from picks of k-means++. The largest cluster's centre chooses first, among equally
    large ones that with the lowest position, and each takes the nearest row that is left (Euclidean distance). Where
    rows are equal and there are fewer clusters, candidates drawn at random make up for it. Labelled rows play no part.
    Rows in half precision are copied to float32.

    subset: at most so many candidates are clustered, drawn at random, in a copy. All are, without one, where every row
        of X is a candidate.
    """
    return representatives(pool, pool.candidates, batch_size, size(subset, "subset", 1), rng)


@strategy(
    "activeft",
    memory="O(N + (sample + labeled + clusters) d)",
    metric="cosine",
    citation="Xie et al. 2023, arXiv:2303.14382",
)
def activeft(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    temperature: float = 0.07,
    iterations: int = 300,
    learning_rate: float = 1e-3,
    sample: int = 2_048,
) -> NDArray[np.int64]:
    """Picks the rows nearest to centroids that are trained to lie where the rows are and far from each other.

    The centroids begin at candidates drawn at random. Adam lowers the mean over the rows f of log(e^(f c_k / t) +
    sum_j e^(c_j c_k / t)) - f c_k / t, where c_k is the centroid nearest to f and j runs over all centroids. Labelled
    rows are centroids that stay where they are. At the end each centroid, in the order drawn, takes the nearest
    candidate that is left. Rows and centroids are at norm 1, whatever the metric. It computes in float32 on the CPU.
    Candidates are copied for that where they are fewer than an eighth of the rows.

    temperature: t, above 0.
    iterations: steps of Adam.
    learning_rate: of Adam, above 0.
    sample: each step takes the mean over so many rows of X, drawn anew; over all where X has no more.

    Differs from its source: there every step is over all rows, as with sample=len(X) here, which takes a copy of them.
    Labelled rows are centroids here so that it works in rounds; the paper picks once.
    """
    for name, value in (("temperature", temperature), ("learning_rate", learning_rate)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive; got {value!r}")
    steps, drawn = size(iterations, "iterations", 1), size(sample, "sample", 1)
    X = pool.X if pool.metric == "cosine" else normalized(as_they_are(pool.X))
    every = None if drawn < pool.n else _rows(X, np.arange(pool.n))
    centroids = learned_centroids(
        lambda: _rows(X, np.sort(rng.choice(pool.n, drawn, replace=False))) if every is None else every,
        _rows(X, rng.choice(pool.candidates, batch_size, replace=False)),
        _rows(X, pool.labeled),
        temperature=float(temperature),
        iterations=steps,
        learning_rate=float(learning_rate),
    )
    return nearest_distinct(X, centroids, allowed=pool.is_candidate, n_jobs=pool.n_jobs)


@strategy(
    "hierarchical_kmeans",
    memory="O(N + clusters resampled d)",
    citation="Vo et al. 2024, arXiv:2405.15613",
)
def hierarchical_kmeans(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    levels: Sequence[int] | None = None,
    resampling_steps: int = 0,
    resampled: int = 10,
    within: str = "closest",
) -> NDArray[np.int64]:
    """Picks rows that are balanced over clusters, over the clusters of their centroids, and so on.

    k-means clusters all rows of X, then the centroids, level by level. The batch is split over the clusters of the
    highest level as evenly as their candidates allow, each share over the clusters inside, and so on; labelled rows
    count as picked. What cannot be split goes to the clusters with the most candidates. The first picks are one of each
    of the finest clusters that has a share, those with the most candidates first.

    levels: numbers of clusters, the finest first, which must fall. None takes ten times the batch, but no more than
        1,000 or twice the batch, and the batch; the finest at most half the rows. A level has no more clusters than
        members.
    resampling_steps: how often k-means is repeated at each level on the members nearest to each centroid, half as many
        as a cluster has on average. So centroids spread over what there is, however rare.
    resampled: the largest number of members of a cluster that such a repetition takes.
    within: "closest" takes those rows of a finest cluster that are nearest to its centroid, "random" draws them.

    Differs from its source, which curates data for pretraining: there k-means is repeated, 10 times, and rows are
    drawn. On FashionMNIST that moves centroids to outliers and costs ten points of accuracy at 40 labels. Labelled rows
    count, so that it works in rounds, and the batch has its exact size.
    """
    if within not in ("random", "closest"):
        raise ValueError(f"within must be 'random' or 'closest'; got {within!r}")
    steps, few = size(resampling_steps, "resampling_steps", 0), size(resampled, "resampled", 1)
    tree = cluster_tree(
        pool.X, _levels(levels, pool.n, batch_size), resampling_steps=steps, resampled=few, rng=rng, n_jobs=pool.n_jobs
    )
    order = rng.random(pool.n) if within == "random" else tree.distance
    return balanced_picks(tree, pool.is_labeled, pool.candidates, batch_size, order)


def _levels(levels: Any, n: int, batch_size: int) -> list[int]:
    if levels is None:
        finest = max(1, min(max(2 * batch_size, min(10 * batch_size, 1_000)), n // 2))
        return [finest, batch_size] if batch_size < finest else [finest]
    if isinstance(levels, (str, bytes)) or not isinstance(levels, Sequence) or not len(levels):
        raise ValueError(f"levels must be a list of numbers of clusters or None; got {levels!r}")
    found = [size(k, "levels", 1) for k in levels]
    if any(above >= below for below, above in pairwise(found)):
        raise ValueError(f"levels must fall, from the finest level to the highest; got {levels!r}")
    return found


def _rows(X: Matrix, positions: NDArray[np.int64]) -> NDArray[np.floating]:
    """(m, d) float32 on the host."""
    factor = None if X.factor is None else X.factor[positions]
    return np.asarray(as_numpy(Matrix(X.array[positions], X.dtype, X.device, factor), "X"), np.float32)


def _clustering(
    pool: Pool, batch_size: int, rng: np.random.Generator, max_clusters: int
) -> tuple[Any, NDArray[np.int64]]:
    """Centres, where X lives, and assignment, on the host."""
    if int(max_clusters) < 1:
        raise ValueError(f"max_clusters must be at least 1; got {max_clusters!r}")
    k = min(len(pool.labeled) + batch_size, int(max_clusters), pool.n)
    centers, assignment, _ = kernels.kmeans(pool.X, k, random_state=rng, n_jobs=pool.n_jobs)
    return centers, as_numpy(assignment, "assignment").astype(np.int64, copy=False)
