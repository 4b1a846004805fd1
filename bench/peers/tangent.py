"""Neural tangent kernels, and looking ahead with them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from peers.registry import Array, peer


@peer("ntk", "numpy", max_rows=10_000, note="stores three matrices of N x N")
def numpy_ntk(X: Array, *, weights: tuple[Array, ...]) -> Array:
    W1, b1, W2, _ = (w.astype(X.dtype) for w in weights)
    hidden = X @ W1.T + b1
    active = (hidden > 0).astype(X.dtype)
    kernel = active * (W2**2).mean(axis=0) @ active.T
    kernel *= X @ X.T + 1
    hidden = np.maximum(hidden, 0)
    kernel += hidden @ hidden.T
    kernel += 1
    return kernel


@peer("ntk", "torch", "torch", max_rows=10_000, note="stores three matrices of N x N")
def torch_ntk(X: Array, *, weights: tuple[Array, ...]) -> Array:
    import torch

    rows = torch.from_numpy(X)
    W1, b1, W2, _ = (torch.from_numpy(w).to(rows.dtype) for w in weights)
    hidden = rows @ W1.T + b1
    active = (hidden > 0).to(rows.dtype)
    kernel = (active * W2.square().mean(0)) @ active.T
    kernel.mul_(torch.addmm(torch.ones(()), rows, rows.T))
    hidden.clamp_(min=0)
    return kernel.addmm_(hidden, hidden.T).add_(1).numpy()


@peer("ntk_infinite", "numpy", max_rows=10_000, note="in double, stores six matrices of N x N; arccos near 1")
def numpy_ntk_infinite(X: Array, *, depth: int) -> Array:
    rows = X.astype(np.float64)
    sigma = theta = 2 / X.shape[1] * rows @ rows.T
    norm = np.sqrt(np.diag(sigma))  # of every layer: without biases it stays what it is
    scale = np.outer(norm, norm)
    for _ in range(depth):
        cosine = np.clip(sigma / scale, -1, 1)
        rest = np.pi - np.arccos(cosine)
        sigma = scale / np.pi * (np.sqrt(1 - cosine**2) + rest * cosine)
        theta = sigma + theta * rest / np.pi
    return theta.astype(X.dtype)


@peer("ntk_lookahead", "torch", "torch", note="the same rank-one form, chunked over candidates")
def torch_lookahead(R: Array, f: Array, labels: Array, picks: int, ridge: float) -> tuple[Array, Array]:
    import torch

    R, f, labels = torch.from_numpy(R).clone(), torch.from_numpy(f.astype(R.dtype)), torch.from_numpy(labels)
    n, step = len(R), max(1, 200_000_000 // f.numel())
    positions, risks = [], []
    hot = torch.nn.functional.one_hot(labels, f.shape[1]).to(R.dtype)
    for _ in range(picks):
        risk = torch.empty(n)
        for j in range(0, n, step):
            change = R[j : j + step] / (R.diagonal()[j : j + step] + ridge)[:, None]
            after = torch.addcmul(f, change[:, :, None], (hot - f)[j : j + step, None])
            risk[j : j + step] = (after.argmax(2) != labels).sum(1)
        risk[positions] = float("inf")
        best = int(risk.argmin())
        positions.append(best)
        risks.append(float(risk[best]))
        u = R[best] / (R[best, best] + ridge).sqrt()
        f = f + torch.outer(u, (hot - f)[best] / (R[best, best] + ridge).sqrt())
        R = R.sub_(torch.outer(u, u))
    return np.array(positions), np.array(risks)


@peer("ntk_lookahead", "block inverse", max_rows=400, note="the textbook update of the inverse, candidate by candidate")
def block_inverse_lookahead(R: Array, f: Array, labels: Array, picks: int, ridge: float) -> tuple[Array, Array]:
    K, hot = R.astype(np.float64), np.eye(f.shape[1])[labels]
    learned: list[int] = []
    inverse = np.empty((0, 0))
    risks: list[float] = []
    for _ in range(picks):
        found = []
        for j in range(len(K)):
            if j in learned:
                continue
            larger = _bordered(inverse, K[learned, j], K[j, j] + ridge)
            rows = [*learned, j]
            after = f + K[:, rows] @ (larger @ (hot[rows] - f[rows]))
            found.append((float((after.argmax(axis=1) != labels).sum()), j))
        best = min(found)
        inverse = _bordered(inverse, K[learned, best[1]], K[best[1], best[1]] + ridge)
        learned.append(best[1])
        risks.append(best[0])
    return np.array(learned), np.array(risks)


def _bordered(inverse: Array, column: Array, corner: float) -> Array:
    """The inverse after one more row and column, by blocks."""
    side = inverse @ column
    schur = 1 / (corner - column @ side)
    return np.block([[inverse + schur * np.outer(side, side), -schur * side[:, None]], [-schur * side, schur]])


@peer("ntk_lookahead_traffic", "read and write", note="each pick negates the kernel in place: the floor of memory")
def read_and_write(R: Array, picks: int, n_jobs: int) -> None:
    parts = np.array_split(R.reshape(-1), n_jobs)
    with ThreadPoolExecutor(n_jobs) as threads:
        for _ in range(picks):
            list(threads.map(lambda part: np.negative(part, out=part), parts))
