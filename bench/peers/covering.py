"""Greedy covers of a pool: k-center, balls, kernel herding."""

from __future__ import annotations

import numpy as np

from peers.registry import Array, peer


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

    return np.asarray(CoreSet(random_state=0).query(X, skactiveml_labels(len(X), covered_by), batch_size=batch_size))


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

    return np.asarray(
        ProbCover(deltas=[radius], random_state=0).query(X, skactiveml_labels(len(X)), batch_size=batch_size)
    )


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
    return np.asarray(query(X, skactiveml_labels(len(X)), batch_size=batch_size))


def skactiveml_labels(n: int, labeled: Array | tuple[()] = ()) -> Array:
    """As scikit-activeml takes them: NaN where a row is not labelled, one class for the others."""
    y = np.full(n, np.nan)
    y[list(labeled)] = 0
    return y
