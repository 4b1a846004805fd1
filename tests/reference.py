"""The executable specification: one plain float64 NumPy function per kernel contract in csrc/kernels.

Obviously right rather than fast, and independent of pyal: every distance is a sum of squared differences, every rule is
written out as its header states it. The functions take what pyal.kernels takes (positions or boolean masks), plus the
random numbers where a kernel is given them. replay.py holds kernels against these functions.
"""

from __future__ import annotations

import numpy as np

D2_ATTEMPTS = 32
D2_UNIFORMS = 2 * D2_ATTEMPTS + 1
D2_BLOCK = 256


def values(X) -> np.ndarray:
    return np.asarray(X, dtype=np.float64)


def positions_of(which, n: int, default: str) -> np.ndarray:
    """Ascending distinct positions of a mask, a list of positions, or None ("all" or "none" by `default`)."""
    if which is None:
        return np.arange(n if default == "all" else 0)
    which = np.asarray(which)
    return np.flatnonzero(which) if which.dtype == bool else np.unique(which).astype(np.int64)


def sqdist_to(X: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(n,) squared distances of the rows of X to one row x."""
    return ((X - x) ** 2).sum(axis=1)


def sqdist_between(A, B) -> np.ndarray:
    """(m, n) squared distances between the rows of A and of B."""
    A, B = values(A), values(B)
    return np.array([sqdist_to(B, a) for a in A]).reshape(len(A), len(B))


def nearest_sqdist(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(n,) squared distance to the nearest of the centres, +inf where there is none."""
    nearest = np.full(len(X), np.inf)
    for center in centers:
        nearest = np.minimum(nearest, sqdist_to(X, center))
    return nearest


def sqnorms(X) -> np.ndarray:
    return (values(X) ** 2).sum(axis=1)


def knn(X, k: int, *, queries=None, groups=None, labels=None) -> tuple[np.ndarray, np.ndarray]:
    X = values(X)
    rows = X if queries is None else values(queries)
    sqdist = np.full((len(rows), k), np.inf)
    positions = np.full((len(rows), k), -1, dtype=np.int64)
    for i, row in enumerate(rows):
        allowed = np.ones(len(X), dtype=bool)
        if queries is None:
            allowed[i] = False
        if groups is not None:
            groups = np.asarray(groups)
            allowed &= (groups == groups[i]) & (groups[i] >= 0)
        if labels is not None:
            allowed &= np.asarray(labels) != np.asarray(labels)[i]
        neighbours = np.flatnonzero(allowed)
        away = sqdist_to(X[neighbours], row)
        nearest = np.argsort(away, kind="stable")[:k]  # stable: ties to the lower position
        sqdist[i, : len(nearest)] = away[nearest]
        positions[i, : len(nearest)] = neighbours[nearest]
    return sqdist, positions


def typicality(X, k: int, *, groups=None, squared: bool = True) -> np.ndarray:
    sqdist, positions = knn(X, k, groups=groups)
    scores = np.full(len(sqdist), np.inf)
    for i in range(len(sqdist)):
        found = sqdist[i][positions[i] >= 0]
        if len(found):
            scores[i] = 1 / (np.mean(found if squared else np.sqrt(found)) + 1e-5)
    return scores


def k_center_greedy(X, batch_size: int, *, covered_by=None, candidates=None, start=None):
    X = values(X)
    nearest = nearest_sqdist(X, X[positions_of(covered_by, len(X), "none")])
    left = list(positions_of(candidates, len(X), "all"))
    positions, sqradius = [], []
    for t in range(batch_size):
        pick = start if t == 0 and start is not None else left[int(np.argmax(nearest[left]))]
        positions.append(pick)
        sqradius.append(nearest[pick])
        left.remove(pick)
        nearest = np.minimum(nearest, sqdist_to(X, X[pick]))
    return np.array(positions, dtype=np.int64), np.array(sqradius, dtype=np.float64)


def kmeans_assign(X, centers):
    """assignment (n,), sums (k, d), counts (k,), sqdist (n,) of one assignment step."""
    X, centers = values(X), values(centers)
    sqdist = np.array([sqdist_to(X, c) for c in centers])  # (k, n)
    assignment = np.argmin(sqdist, axis=0)  # the first minimum: ties to the lower centre
    sums = np.array([X[assignment == c].sum(axis=0) for c in range(len(centers))])
    counts = np.bincount(assignment, minlength=len(centers))
    return assignment, sums, counts, sqdist[assignment, np.arange(len(X))]


def kmeans(X, centers, *, max_iter: int = 100, tol: float = 1e-4):
    """Lloyd's algorithm from given centres: (centers, assignment to them, inertia).

    Stops when the sum of squared centre moves is at most tol * the mean variance of a feature. Before the means are
    taken, each empty cluster, in ascending order, gets the row farthest from its own centre (ties to the lowest
    position) of those off their centre and not alone in their cluster; where there is none, it keeps its centre.
    """
    X, centers = values(X), values(centers)
    for _ in range(max_iter):
        assignment, _, counts, sqdist = kmeans_assign(X, centers)
        for empty in np.flatnonzero(counts == 0):
            movable = (counts[assignment] > 1) & (sqdist > 0)
            if not movable.any():
                break
            row = int(np.argmax(np.where(movable, sqdist, -1.0)))
            counts[assignment[row]] -= 1
            counts[empty], assignment[row], sqdist[row] = 1, empty, 0.0
        means = [X[assignment == c].mean(axis=0) if counts[c] else centers[c] for c in range(len(centers))]
        moved = ((np.array(means) - centers) ** 2).sum()
        centers = np.array(means)
        if moved <= tol * X.var(axis=0).mean():
            break
    assignment, _, _, sqdist = kmeans_assign(X, centers)
    return centers, assignment, sqdist.sum()


def sup_scores(X, centers, assignment, *, temperature: float = 1.0) -> np.ndarray:
    X, centers = values(X), values(centers)
    scores = np.empty(len(X))
    for i, own in enumerate(assignment):
        others = [c for c in range(len(centers)) if c != own]
        between = np.linalg.norm(centers[others] - centers[own], axis=1)
        weights = np.exp(-(between - between.min()) / temperature)
        weights /= weights.sum()
        mean = (weights * np.linalg.norm(centers[others] - X[i], axis=1)).sum()
        scores[i] = np.inf if mean == 0 else 1 / mean
    return scores


def recursive_least_squares(X, targets):
    """What the state stands for after all rows: coef (C, d), pinv(X'X), the projector onto the rows of X, its rank."""
    X = values(X)
    pinv = np.linalg.pinv(X, rcond=max(X.shape) * np.finfo(float).eps)
    return (pinv @ values(targets)).T, pinv @ pinv.T, pinv @ X, int(np.linalg.matrix_rank(X))


def outer_rows(X, q=None) -> np.ndarray:
    """The rows that d2_sampling is about: X, or with q the flattened outer products q_i x X_i."""
    X = values(X)
    return X if q is None else (values(q)[:, :, None] * X[:, None, :]).reshape(len(X), -1)


def d2_draw(weights: np.ndarray, picked: np.ndarray, u: float) -> tuple[int, bool]:
    """A candidate number drawn with u by the block rule, and whether all weights were 0 (then it is the pick)."""
    starts = range(0, len(weights), D2_BLOCK)
    sums = []
    for first in starts:
        block_sum = 0.0
        for w in weights[first : first + D2_BLOCK]:
            block_sum += w
        sums.append(block_sum)
    total = 0.0
    for block_sum in sums:
        total += block_sum
    if total == 0:
        left = np.flatnonzero(~picked)
        return int(left[int(u * len(left))]), True
    target = u * total
    before, block = 0.0, -1
    for b, block_sum in enumerate(sums):
        if before + block_sum > target:
            block = b
            break
        before += block_sum
    if block < 0:
        block = max(b for b, block_sum in enumerate(sums) if block_sum > 0)
        before = 0.0
        for block_sum in sums[:block]:
            before += block_sum
    running, last = 0.0, -1
    for i in range(starts[block], min(starts[block] + D2_BLOCK, len(weights))):
        running += weights[i]
        if weights[i] > 0:
            last = i
        if running > target - before:
            return i, False
    return last, False


def d2_sampling(
    X, batch_size: int, *, first_uniform, uniforms, q=None, covered_by=None, candidates=None, first="largest"
):
    rows = outer_rows(X, q)
    where = positions_of(candidates, len(rows), "all")
    covered = positions_of(covered_by, len(rows), "none")
    g = rows[where]
    weights = nearest_sqdist(g, rows[covered])
    seen = np.zeros(len(g), dtype=np.int64)  # how many of the picks each weight has been compared with
    picked = np.zeros(len(g), dtype=bool)
    picks: list[int] = []

    def update(i: int) -> float:
        for pick in picks[seen[i] :]:
            weights[i] = min(weights[i], ((g[i] - g[pick]) ** 2).sum())
        seen[i] = len(picks)
        return weights[i]

    for t in range(batch_size):
        if t == 0 and len(covered) == 0:
            pick = int(np.argmax(sqnorms(g))) if first == "largest" else int(first_uniform * len(g))
            weights = sqdist_to(g, g[pick])
            seen[:] = 1
        else:
            pick = -1
            for a in range(D2_ATTEMPTS):
                u, v = uniforms[t, 2 * a], uniforms[t, 2 * a + 1]
                i, all_zero = d2_draw(weights, picked, u)
                bound = weights[i]
                if all_zero or v * bound < update(i):
                    pick = i
                    break
            if pick < 0:
                for i in np.flatnonzero(~picked):
                    update(i)
                pick, _ = d2_draw(weights, picked, uniforms[t, 2 * D2_ATTEMPTS])
        picks.append(pick)
        picked[pick] = True
        weights[pick] = 0.0
    return where[picks].astype(np.int64)


def ball_cover(X, batch_size: int, radius: float, *, covered_by=None, candidates=None):
    X = values(X)
    covers = sqdist_between(X, X) < radius * radius
    uncovered = ~covers[positions_of(covered_by, len(X), "none")].any(axis=0)
    left = list(positions_of(candidates, len(X), "all"))
    positions, gains = [], []
    for _ in range(batch_size):
        gain = covers[left][:, uncovered].sum(axis=1)
        best = int(np.argmax(gain))
        gains.append(gain[best])
        positions.append(left.pop(best))
        uncovered &= ~covers[positions[-1]]
    return np.array(positions, dtype=np.int64), np.array(gains, dtype=np.int64)


def purity_radius(X, assignment, alpha: float = 0.95) -> float:
    """The largest radius whose open balls hold rows of one label only, for a share of at least alpha of the rows."""
    r = np.sort(np.sqrt(knn(X, 1, labels=assignment)[0][:, 0]))
    failures = int(np.floor((1 - alpha) * len(r) + 1e-9))  # so many rows may have another label in their ball
    return float(r[min(failures, len(r) - 1)])


def herding(X, batch_size: int, *, bandwidth: float = 1.0, weights=None, covered_by=None, candidates=None):
    X = values(X)
    weights = np.ones(len(X)) if weights is None else values(weights)
    kernel = np.exp(-sqdist_between(X, X) / bandwidth**2)
    covered = positions_of(covered_by, len(X), "none")
    m = kernel[covered].max(axis=0) if len(covered) else np.zeros(len(X))
    left = list(positions_of(candidates, len(X), "all"))
    positions, gains = [], []
    for _ in range(batch_size):
        gain = (weights * np.maximum(0, kernel[left] - m)).mean(axis=1)
        best = int(np.argmax(gain))
        gains.append(gain[best])
        positions.append(left.pop(best))
        m = np.maximum(m, kernel[positions[-1]])
    return np.array(positions, dtype=np.int64), np.array(gains, dtype=np.float64)
