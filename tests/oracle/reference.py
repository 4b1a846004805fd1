"""The executable specification: one plain float64 NumPy function per kernel contract in csrc/kernels.

Obviously right rather than fast, and independent of pyal: every distance is a sum of squared differences, every rule is
written out as its header states it. The functions take what pyal.kernels takes (positions or boolean masks), plus the
random numbers where a kernel is given them. replay.py holds kernels against these functions.
"""

from __future__ import annotations

import numpy as np

from oracle.retraining import learned_predictions, lookahead_objective, retrained

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


def kmeans_assign(X, centers, *, fixed=None):
    """assignment (n,), sums (k, d), counts (k,), sqdist (n,) of one assignment step; fixed (n,): a centre, or -1."""
    X, centers = values(X), values(centers)
    sqdist = np.array([sqdist_to(X, c) for c in centers])  # (k, n)
    assignment = np.argmin(sqdist, axis=0)  # the first minimum: ties to the lower centre
    if fixed is not None:
        assignment = np.where(np.asarray(fixed) >= 0, fixed, assignment)
    sums = np.array([X[assignment == c].sum(axis=0) for c in range(len(centers))])
    counts = np.bincount(assignment, minlength=len(centers))
    return assignment, sums, counts, sqdist[assignment, np.arange(len(X))]


def kmeans(X, centers, *, max_iter: int = 100, tol: float = 1e-4, fix=None):
    """Lloyd's algorithm from given centres: (centers, assignment to them, inertia).

    Stops when the sum of squared centre moves is at most tol * the mean variance of a feature. Before the means are
    taken, each empty cluster, in ascending order, gets the row farthest from its own centre (ties to the lowest
    position) of those off their centre and not alone in their cluster; where there is none, it keeps its centre.
    fix(centers) gives `fixed` for every assignment; fixed rows fill no empty cluster.
    """
    X, centers = values(X), values(centers)
    for _ in range(max_iter):
        fixed = None if fix is None else fix(centers)
        assignment, _, counts, sqdist = kmeans_assign(X, centers, fixed=fixed)
        for empty in np.flatnonzero(counts == 0):
            movable = (counts[assignment] > 1) & (sqdist > 0)
            if fixed is not None:
                movable &= fixed < 0
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
    assignment, _, _, sqdist = kmeans_assign(X, centers, fixed=None if fix is None else fix(centers))
    return centers, assignment, sqdist.sum()


def constrained_assign(points, centers, order, *, colour=None, apart=(), weight=None, before=None):
    """(assignment, relaxed), each (n,), of one greedy pass, or `before`, from the pass before, if that is better.

    apart: pairs of points that may not share a centre. colour: (n,), points of different colour may not; -1: none.
    """
    points, centers = values(points), values(centers)
    n, k = len(points), len(centers)
    colour = np.full(n, -1) if colour is None else np.asarray(colour)
    colours = set(colour[colour >= 0])
    assignment, relaxed = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=bool)
    owner: dict[int, int] = {}  # centre -> colour
    for g in order:
        others = {i + j - g for i, j in apart if g in (i, j)}
        barred = {assignment[h] for h in others}
        spare = k - len(owner) > len(colours - set(owner.values()))  # more free centres than colours in need of one
        feasible = []
        for c in range(k):
            free_to_take = c not in owner and (spare or colour[g] not in owner.values())
            if c not in barred and (colour[g] < 0 or owner.get(c) == colour[g] or free_to_take):
                feasible.append(c)
        relaxed[g] = not feasible
        allowed = feasible or list(range(k))
        assignment[g] = allowed[int(np.argmin(sqdist_to(centers[allowed], points[g])))]
        if feasible and colour[g] >= 0:
            owner[int(assignment[g])] = int(colour[g])
    if before is None:
        return assignment, relaxed
    weight = np.ones(n) if weight is None else values(weight)

    def badness(found) -> tuple[int, float]:
        return int(found[1].sum()), float((weight * ((points - centers[found[0]]) ** 2).sum(axis=1)).sum())

    return (assignment, relaxed) if badness((assignment, relaxed)) < badness(before) else before


def constrained_kmeans(X, centers, order, *, group, colour=None, apart=(), max_iter: int = 100, tol: float = 1e-4):
    """(centers, assignment, inertia, relaxed rows): kmeans where rows of one group (n,) >= 0 share a cluster.

    Groups are placed in `order` by constrained_assign, each at its mean; colour and apart are about groups.
    """
    X, group = values(X), np.asarray(group)
    means = np.array([X[group == g].mean(axis=0) for g in range(len(order))])
    found = None

    def fix(centers) -> np.ndarray:
        nonlocal found
        weight = np.bincount(group[group >= 0])
        found = constrained_assign(means, centers, order, colour=colour, apart=apart, weight=weight, before=found)
        return np.where(group >= 0, found[0][group], -1)

    result = kmeans(X, centers, max_iter=max_iter, tol=tol, fix=fix)
    assert found is not None
    return *result, np.flatnonzero((group >= 0) & found[1][group])


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


def rank_one_gains(G, errors, scores, labels, *, scale=1.0, cap=np.inf):
    G, errors, scores, labels = values(G), values(errors), values(scores), np.asarray(labels)
    correct, loss = np.zeros(len(G), np.int64), np.zeros(len(G))
    for j in range(len(G)):
        after = scores + G[j][:, None] * errors[j]
        apart = scale * (after - after.max(axis=1, keepdims=True))
        losses = np.log(np.exp(apart).sum(axis=1)) - apart[np.arange(len(labels)), labels]
        correct[j] = (after.argmax(axis=1) == labels).sum()
        loss[j] = np.minimum(losses, cap).mean()
    return correct, loss


def entropy(p) -> np.ndarray:
    """In nats, over the last axis."""
    p = values(p)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)


def mixture_entropies(proba, mixtures=None, weights=None, *, candidates=None) -> np.ndarray:
    proba = values(proba)[:, positions_of(candidates, np.shape(proba)[1], "all")]
    mixtures = np.eye(len(proba)) if mixtures is None else values(mixtures)
    weights = np.full(len(mixtures), 1 / len(mixtures)) if weights is None else values(weights)
    return weights @ np.array([entropy(sum(s * p for s, p in zip(shares, proba, strict=True))) for shares in mixtures])


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
    X, batch_size: int, *, first_uniform, uniforms, q=None, weights=None, covered_by=None, candidates=None,
    first="largest",
):  # fmt: skip
    rows = outer_rows(X, q)
    where = positions_of(candidates, len(rows), "all")
    importance = np.ones(len(where)) if weights is None else (values(weights) / max(np.max(weights), 1e-300))[where]
    covered = positions_of(covered_by, len(rows), "none")
    g = rows[where]
    bounds = nearest_sqdist(g, rows[covered])
    seen = np.zeros(len(g), dtype=np.int64)  # how many of the picks each bound has been compared with
    picked = np.zeros(len(g), dtype=bool)
    picks: list[int] = []

    def update(i: int) -> float:
        for pick in picks[seen[i] :]:
            bounds[i] = min(bounds[i], ((g[i] - g[pick]) ** 2).sum())
        seen[i] = len(picks)
        return bounds[i]

    for t in range(batch_size):
        if t == 0 and len(covered) == 0:
            pick = int(np.argmax(importance * sqnorms(g)))
            if first == "uniform":
                pick = int(first_uniform * len(g)) if weights is None else d2_draw(importance, picked, first_uniform)[0]
            bounds = sqdist_to(g, g[pick]) if q is None else 2 * (sqnorms(g) + sqnorms(g)[pick])
            seen[:] = q is None
        else:
            pick = -1
            for a in range(D2_ATTEMPTS):
                u, v = uniforms[t, 2 * a], uniforms[t, 2 * a + 1]
                i, all_zero = d2_draw(importance * bounds, picked, u)
                bound = bounds[i]
                if all_zero or v * bound < update(i):
                    pick = i
                    break
            if pick < 0:
                for i in np.flatnonzero(~picked):
                    update(i)
                pick, _ = d2_draw(importance * bounds, picked, uniforms[t, 2 * D2_ATTEMPTS])
        picks.append(pick)
        picked[pick] = True
        bounds[pick] = 0.0
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


def radius_groups(X, radius: float) -> np.ndarray:
    """(n,) lowest position of each row's group: what pairs at most the radius apart connect takes the lowest of all."""
    near = np.sqrt(sqdist_between(X, X)) <= radius
    first = np.arange(len(X))
    while (lower := np.where(near, first, len(X)).min(axis=1) < first).any():
        first[lower] = np.where(near, first, len(X)).min(axis=1)[lower]
    return first


SIMILARITIES = {  # of r^2, r = distance / bandwidth
    "rbf": lambda square: np.exp(-square),
    "laplace": lambda square: np.exp(-np.sqrt(square)),
    "cauchy": lambda square: 1 / (1 + square),
    "student_t": lambda square: (1 + square / 0.5) ** (-(0.5 + 1) / 2),
    "top_hat": lambda square: (square < 1).astype(square.dtype),
}


def herding(
    X, batch_size: int, *, kernel="rbf", bandwidth: float = 1.0, weights=None, covered_by=None, candidates=None
):
    X = values(X)
    weights = np.ones(len(X)) if weights is None else values(weights)
    kernel = SIMILARITIES[kernel](sqdist_between(X, X) / bandwidth**2)
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


def ntk_lookahead(
    K, f, labels, batch_size: int, *, labeled=(), candidates=None, targets=None, objective="risk", ridge, determined
):
    """Picks, their objectives and the first scores, every candidate retrained from scratch at every step."""
    n = len(K)
    labels = np.full(n, -1) if labels is None else np.asarray(labels)
    targets = np.full(n, -1) if targets is None else np.asarray(targets)
    learned, taught = list(labeled), [int(labels[i]) for i in labeled]
    left = [int(j) for j in positions_of(candidates, n, "all") if j not in learned]
    positions, objectives, scores = [], [], np.full(n, np.nan)
    for t in range(max(batch_size, 1)):
        before = learned_predictions(K, f, learned, taught, ridge)
        predicted = before.argmax(axis=1)
        wanted = np.where(targets < 0, predicted, targets)
        given = np.where(labels < 0, predicted, labels)
        keys = []
        for j in left:
            after = retrained(K, f, learned, taught, j, int(given[j]), ridge, determined)
            value = lookahead_objective(before, after, wanted, objective)
            tie = {"risk": "soft_risk", "agreement": "output_change"}.get(objective, objective)
            second = lookahead_objective(before, after, wanted, tie)
            keys.append(
                (-value if objective == "output_change" else value, -second if tie == "output_change" else second, j)
            )
            if t == 0:
                scores[j] = value
        if batch_size == 0:
            break
        best = min(keys)
        positions.append(best[2])
        objectives.append(abs(best[0]))
        learned.append(best[2])
        taught.append(int(given[best[2]]))
        left.remove(best[2])
    return np.array(positions, np.int64), np.array(objectives), scores


def ntk(
    X, Z=None, *, weights=None, depth: int = 1, weight_variance: float = 2.0, bias_variance: float = 0.0
) -> np.ndarray:
    """At weights (W1, b1, W2, b2) the empirical kernel, without them the infinite one; the angles by arccos."""
    X = values(X)
    Z = X if Z is None else values(Z)
    if weights is not None:
        W1, b1, W2, _ = (values(w) for w in weights)
        a, c, v = X @ W1.T + b1, Z @ W1.T + b1, (W2**2).mean(axis=0)
        active = (a > 0).astype(float) * v @ (c > 0).T.astype(float)
        return np.maximum(a, 0) @ np.maximum(c, 0).T + 1 + active * (X @ Z.T + 1)
    half, d = weight_variance / 2, X.shape[1]
    x, z = 2 * half * sqnorms(X) / d + bias_variance, 2 * half * sqnorms(Z) / d + bias_variance
    sigma = theta = 2 * half * X @ Z.T / d + bias_variance
    for _ in range(depth):
        scale = np.sqrt(x[:, None] * z)
        angle = np.arccos(np.clip(sigma / np.where(scale > 0, scale, 1), -1, 1))
        sigma = half * scale * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi + bias_variance
        theta = sigma + half * theta * (np.pi - angle) / np.pi
        x, z = half * x + bias_variance, half * z + bias_variance
    return theta
