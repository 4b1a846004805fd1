"""k-means, what is computed from its clusters, and TypiClust."""

from __future__ import annotations

from typing import Any

import numpy as np

from peers.neighbours import faiss_typicality
from peers.registry import Array, peer


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
