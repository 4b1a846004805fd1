"""What a user would run today instead of pyal: every peer behind the same call as the kernel it stands against.

A peer imports its package only when it is asked to, so that a missing one is a named skip. Where a peer computes
something else than pyal does, its note says what, and the benchmark compares the objective.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from registry import PEERS, Peer, peer

Array = NDArray[Any]


def peers_of(kernel: str) -> list[Peer]:
    return [p for p in PEERS if p.kernel == kernel]


# Matrix: norms, and is every value finite?


@peer("sqnorms", "numpy")
def numpy_sqnorms(X: Array) -> Array:
    if not np.isfinite(X).all():
        raise ValueError("not finite")
    return np.einsum("ij,ij->i", X, X)


@peer("sqnorms", "scikit-learn", "sklearn.utils.extmath")
def sklearn_sqnorms(X: Array) -> Array:
    from sklearn.utils import check_array
    from sklearn.utils.extmath import row_norms

    return row_norms(check_array(X, dtype=X.dtype), squared=True)


# Nearest neighbours


@peer("knn", "faiss", "faiss", package="faiss-cpu")
def faiss_knn(X: Array, k: int) -> tuple[Array, Array]:
    import faiss

    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    sqdist, positions = index.search(X, k + 1)
    return _drop_self(sqdist, positions)


@peer("knn", "scikit-learn", "sklearn.neighbors")
def sklearn_knn(X: Array, k: int) -> tuple[Array, Array]:
    from sklearn.neighbors import NearestNeighbors

    dist, positions = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(X).kneighbors()
    return dist**2, positions


@peer("knn", "torch", "torch")
def torch_knn(X: Array, k: int) -> tuple[Array, Array]:
    import torch

    rows = torch.from_numpy(X)
    parts = []
    for begin in range(0, len(rows), 2048):
        dist = torch.cdist(rows[begin : begin + 2048], rows)
        own = torch.arange(len(dist))
        dist[own, begin + own] = torch.inf
        parts.append(dist.topk(k, largest=False))
    return torch.cat([p.values for p in parts]).square().numpy(), torch.cat([p.indices for p in parts]).numpy()


@peer("typicality", "lightly-mundig", "lightly_mundig", note="plain distances on another scale: the order is compared")
def mundig_typicality(X: Array, k: int) -> Array:
    from lightly_mundig import Typicality

    return np.asarray(Typicality(X).calculate_typicality(k))


@peer("typicality", "faiss", "faiss", package="faiss-cpu")
def faiss_typicality(X: Array, k: int) -> Array:
    return 1 / (faiss_knn(X, k)[0].mean(axis=1) + 1e-5)


def _drop_self(sqdist: Array, positions: Array) -> tuple[Array, Array]:
    """The k neighbours of k + 1 found: without the row itself, or the last one where duplicates hide it."""
    own = positions == np.arange(len(positions))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(positions), positions.shape[1] - 1
    return sqdist[~own].reshape(shape), positions[~own].reshape(shape)


# Greedy k-center


@peer("k_center_greedy", "numpy")
def numpy_k_center(X: Array, batch_size: int, *, covered_by: Array) -> Array:
    sqnorms = np.einsum("ij,ij->i", X, X)
    nearest = np.full(len(X), np.inf, X.dtype)
    picks: list[int] = []
    for step in range(-len(covered_by), batch_size):
        pick = int(covered_by[step]) if step < 0 else int(nearest.argmax())
        np.minimum(nearest, sqnorms + sqnorms[pick] - 2 * (X @ X[pick]), out=nearest)
        nearest[pick] = -np.inf
        picks += [pick] * (step >= 0)
    return np.array(picks)


@peer("k_center_greedy", "torch", "torch")
def torch_k_center(X: Array, batch_size: int, *, covered_by: Array) -> Array:
    import torch

    rows = torch.from_numpy(X)
    sqnorms = rows.square().sum(1)
    nearest = torch.full((len(X),), torch.inf)
    picks: list[int] = []
    for step in range(-len(covered_by), batch_size):
        pick = int(covered_by[step]) if step < 0 else int(nearest.argmax())
        torch.minimum(nearest, torch.addmv(sqnorms, rows, rows[pick], alpha=-2).add_(sqnorms[pick]), out=nearest)
        nearest[pick] = -torch.inf
        picks += [pick] * (step >= 0)
    return np.array(picks)


@peer("k_center_greedy", "lightly-mundig", "lightly_mundig")
def mundig_k_center(X: Array, batch_size: int, *, covered_by: Array) -> Array:
    from lightly_mundig import Selection

    selection = Selection()
    selection.add_diversifying_strategy(X, 1.0)
    chosen = selection.run_selection(covered_by.tolist(), len(X), len(covered_by) + batch_size)
    return np.asarray(chosen[len(covered_by) :])


@peer("k_center_greedy", "scikit-activeml", "skactiveml.pool", package="scikit-activeml", note="ties fall at random")
def skactiveml_k_center(X: Array, batch_size: int, *, covered_by: Array) -> Array:
    from skactiveml.pool import CoreSet

    return np.asarray(CoreSet(random_state=0).query(X, _labels(len(X), covered_by), batch_size=batch_size))


def _labels(n: int, labeled: Array | tuple[()] = ()) -> Array:
    y = np.full(n, np.nan)
    y[list(labeled)] = 0
    return y


# k-means


@peer("kmeans", "faiss", "faiss", package="faiss-cpu", note="told not to subsample")
def faiss_kmeans(X: Array, n_clusters: int, *, init: Array, max_iter: int) -> tuple[Array, Array, float]:
    import faiss

    n, d = X.shape
    kmeans = faiss.Kmeans(d, n_clusters, niter=max_iter, max_points_per_centroid=n, min_points_per_centroid=1)
    kmeans.train(X, init_centroids=init)
    sqdist, assignment = kmeans.assign(X)
    return kmeans.centroids, assignment, float(sqdist.sum(dtype=np.float64))


@peer("kmeans", "scikit-learn", "sklearn.cluster")
def sklearn_kmeans(X: Array, n_clusters: int, *, init: Array, max_iter: int) -> tuple[Array, Array, float]:
    from sklearn.cluster import KMeans

    fit = KMeans(n_clusters, init=init, n_init=1, max_iter=max_iter, tol=0, algorithm="lloyd").fit(X)
    return fit.cluster_centers_, fit.labels_, float(fit.inertia_)


@peer("constrained_kmeans", "pyal kmeans", "pyal", note="without the constraints: the ratio is what they cost")
def free_kmeans(X: Array, n_clusters: int, **given: Any) -> tuple[Any, Any, float]:
    from pyal import kernels

    return kernels.kmeans(X, n_clusters, **given)


@peer("kmeans_from_seed", "MiniBatchKMeans", "sklearn.cluster", package="scikit-learn", note="approximate")
def sklearn_minibatch(X: Array, n_clusters: int, *, random_state: int) -> tuple[Array, Array, float]:
    from sklearn.cluster import MiniBatchKMeans

    fit = MiniBatchKMeans(n_clusters, batch_size=5000, n_init="auto", random_state=random_state).fit(X)
    return fit.cluster_centers_, fit.labels_, float(fit.inertia_)


@peer("kmeans_from_seed", "KMeans", "sklearn.cluster", package="scikit-learn", note="another random start")
def sklearn_kmeans_from_seed(X: Array, n_clusters: int, *, random_state: int) -> tuple[Array, Array, float]:
    from sklearn.cluster import KMeans

    fit = KMeans(n_clusters, n_init=1, max_iter=100, random_state=random_state).fit(X)
    return fit.cluster_centers_, fit.labels_, float(fit.inertia_)


# SUP scores


@peer("sup_scores", "torch", "torch")
def torch_sup_scores(X: Array, centers: Array, assignment: Array) -> Array:
    import torch

    rows, middles = torch.from_numpy(X), torch.from_numpy(centers)
    between = torch.cdist(middles, middles).fill_diagonal_(torch.inf)
    weights = torch.softmax(-between, dim=1)
    away = torch.cdist(rows, middles)
    return (1 / (weights[torch.from_numpy(assignment)] * away).sum(1)).numpy()


@peer("sup_scores", "scikit-learn", "sklearn.metrics", "scipy.special")
def sklearn_sup_scores(X: Array, centers: Array, assignment: Array) -> Array:
    from scipy.special import softmax
    from sklearn.metrics import euclidean_distances

    between = euclidean_distances(centers)
    np.fill_diagonal(between, np.inf)
    weights = softmax(-between, axis=1).astype(X.dtype)
    away = euclidean_distances(X, centers)
    return 1 / np.einsum("ij,ij->i", weights[assignment], away)


# D^2 sampling


@peer("badge", "numpy", note="factored, as in the current public BADGE code; other draws from the same law")
def numpy_badge(X: Array, batch_size: int, *, q: Array, random_state: int) -> Array:
    rng = np.random.default_rng(random_state)
    sqnorms = np.einsum("ij,ij->i", X, X) * np.einsum("ij,ij->i", q, q)
    nearest = np.full(len(X), np.inf, X.dtype)
    picks = [int(sqnorms.argmax())]
    for _ in range(batch_size - 1):
        pick = picks[-1]
        sqdist = sqnorms + sqnorms[pick] - 2 * (q @ q[pick]) * (X @ X[pick])
        np.minimum(nearest, np.maximum(sqdist, 0, out=sqdist), out=nearest)
        nearest[picks] = 0
        running = nearest.cumsum(dtype=np.float64)
        picks.append(int(np.searchsorted(running, rng.random() * running[-1], side="right")))
    return np.array(picks)


@peer(
    "badge",
    "scikit-activeml",
    "skactiveml.pool",
    package="scikit-activeml",
    note="1.0.1 keeps the origin as a ghost centre, may pick a row twice, stores N x C d",
)
def skactiveml_badge(X: Array, batch_size: int, *, q: Array, random_state: int) -> Array:
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Badge

    class Fixed(SkactivemlClassifier):
        """A classifier that has already answered: the pseudo-label is where q = proba - onehot is negative."""

        def fit(self, *_: Any) -> Fixed:
            return self

        def predict_proba(self, _: Array) -> Array:
            proba = q.copy()
            proba[np.arange(len(q)), q.argmin(axis=1)] += 1
            return proba

    query = Badge(random_state=random_state).query
    return np.asarray(query(X, _labels(len(X)), clf=Fixed(), fit_clf=False, batch_size=batch_size))


@peer("kmeans_plusplus", "scikit-learn", "sklearn.cluster", note="other draws from the same law")
def sklearn_plusplus(X: Array, batch_size: int, *, random_state: int) -> Array:
    from sklearn.cluster import kmeans_plusplus

    return np.asarray(kmeans_plusplus(X, batch_size, n_local_trials=1, random_state=random_state)[1])


# Coverage


@peer("ball_cover", "radius graph", "sklearn.neighbors", package="scikit-learn", max_rows=20_000)
def graph_ball_cover(X: Array, batch_size: int, radius: float) -> Array:
    from sklearn.neighbors import radius_neighbors_graph

    graph = radius_neighbors_graph(X, radius, mode="connectivity", include_self=True)
    ends, neighbours = graph.indptr, graph.indices
    gains, covered = np.diff(ends).astype(np.int64), np.zeros(len(X), bool)
    picks: list[int] = []
    for _ in range(batch_size):
        picks.append(int(gains.argmax()))
        ball = neighbours[ends[picks[-1]] : ends[picks[-1] + 1]]
        fresh = ball[~covered[ball]]
        covered[fresh] = True
        for row in fresh:
            gains[neighbours[ends[row] : ends[row + 1]]] -= 1
        gains[picks[-1]] = -len(X)
    return np.array(picks)


@peer(
    "ball_cover",
    "scikit-activeml",
    "skactiveml.pool",
    package="scikit-activeml",
    max_rows=10_000,
    note="stores N x N, closed balls, ties fall at random",
)
def skactiveml_ball_cover(X: Array, batch_size: int, radius: float) -> Array:
    from skactiveml.pool import ProbCover

    return np.asarray(ProbCover(deltas=[radius], random_state=0).query(X, _labels(len(X)), batch_size=batch_size))


@peer("herding", "torch", "torch", max_rows=10_000, note="stores N x N")
def torch_herding(X: Array, batch_size: int, *, bandwidth: float) -> Array:
    import torch

    rows = torch.from_numpy(X)
    kernel = torch.cdist(rows, rows).div_(bandwidth).square_().neg_().exp_()
    best = torch.zeros(len(X))
    picks: list[int] = []
    for _ in range(batch_size):
        gains = (kernel - best).clamp_(min=0).mean(1)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        torch.maximum(best, kernel[picks[-1]], out=best)
    return np.array(picks)


@peer(
    "herding",
    "scikit-activeml",
    "skactiveml.pool",
    package="scikit-activeml",
    max_rows=10_000,
    note="stores N x N, ties fall at random",
)
def skactiveml_herding(X: Array, batch_size: int, *, bandwidth: float) -> Array:
    from skactiveml.pool import MaxHerding

    query = MaxHerding(normalize_samples=False, metric_dict={"gamma": bandwidth**-2}, random_state=0).query
    return np.asarray(query(X, _labels(len(X)), batch_size=batch_size))


# TypiClust as its authors do it: k-means, then in each of the largest clusters the row with the nearest neighbours


@peer("typiclust", "MiniBatchKMeans + faiss", "sklearn.cluster", "faiss", package="scikit-learn and faiss-cpu")
def minibatch_typiclust(X: Array, batch_size: int, *, random_state: int) -> Array:
    return _most_typical(X, batch_size, sklearn_minibatch(X, batch_size, random_state=random_state)[1])


@peer("typiclust", "KMeans + faiss", "sklearn.cluster", "faiss", package="scikit-learn and faiss-cpu")
def sklearn_typiclust(X: Array, batch_size: int, *, random_state: int) -> Array:
    return _most_typical(X, batch_size, sklearn_kmeans_from_seed(X, batch_size, random_state=random_state)[1])


@peer("typiclust", "faiss + faiss", "faiss", package="faiss-cpu", note="25 iterations, told not to subsample")
def faiss_typiclust(X: Array, batch_size: int, *, random_state: int) -> Array:
    init = X[np.random.default_rng(random_state).choice(len(X), batch_size, replace=False)]
    return _most_typical(X, batch_size, faiss_kmeans(X, batch_size, init=init, max_iter=25)[1])


def _most_typical(X: Array, batch_size: int, assignment: Array) -> Array:
    members = [np.flatnonzero(assignment == c) for c in range(assignment.max() + 1)]
    clusters = sorted((m for m in members if len(m) > 5), key=len, reverse=True)
    picks: list[int] = []
    for i in range(batch_size):
        left = np.setdiff1d(clusters[i % len(clusters)], picks)
        picks.append(int(left[faiss_typicality(X[left], min(20, len(left) // 2)).argmax()]))
    return np.array(picks)
