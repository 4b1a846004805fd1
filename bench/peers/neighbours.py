"""Norms of rows, nearest neighbours, and the typicality that is built on them."""

from __future__ import annotations

import numpy as np

from peers.registry import Array, peer


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


@peer("deduplicate", "faiss", "faiss", "scipy", package="faiss-cpu")
def faiss_deduplicate(X: Array, radius: float) -> Array:
    import faiss

    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    ends, _, positions = index.range_search(X, radius * radius)
    return _components(ends.astype(np.int64), positions)


@peer("deduplicate", "scikit-learn", "sklearn.neighbors", package="scikit-learn")
def sklearn_deduplicate(X: Array, radius: float) -> Array:
    from sklearn.neighbors import radius_neighbors_graph

    graph = radius_neighbors_graph(X, radius, mode="connectivity", include_self=True)
    return _components(graph.indptr, graph.indices)


def _components(ends: Array, neighbours: Array) -> Array:
    """(n,) groups in the order of their first rows."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    links = csr_matrix((np.ones(len(neighbours), np.int8), neighbours, ends), shape=(len(ends) - 1, len(ends) - 1))
    label = connected_components(links, directed=False)[1]
    order = np.unique(label, return_index=True)[1].argsort().argsort()
    return np.asarray(order[label])
