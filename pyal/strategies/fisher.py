"""Fisher information of the last layer: factors of every row, and the greedy that lowers the trace of M^-1 F.

Row i has k vectors V_i = z_i (x) h_i of width w d, where z_i is (k, w) and h_i its row of activations. F is the mean of
V_i^T V_i over all rows, and M = ridge I + the sum of V_i^T V_i over the labelled and the picked rows, divided by how
many these will be. The trace does not change where F and M are scaled, so that the factors are, by
1 / sqrt(ridge (labelled + batch)): then M = I + sum V_i^T V_i, and F is a sum, too. That keeps rows of any scale within
float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import Matrix, as_numpy, on_device

Array = NDArray[np.floating]
LARGEST_RATIO = 1e10  # of the largest squared factor to the ridge: float64 still holds the inverse to some digits
SAME = 1e-9  # gains that differ by less, relatively, are ties: those of equal rows differ by rounding


@dataclass(frozen=True, eq=False)
class Factors:
    """z (N, k, w) and the rows h (N, d) of the factors V_i = z_i (x) h_i, (k, w d) each, which are never formed."""

    z: Array
    h: Matrix

    @property
    def width(self) -> int:
        return int(self.z.shape[2]) * self.h.d

    def scaled(self, ridge: float, rows: int) -> Factors:
        """Divided by sqrt(ridge * rows), so that the ridge becomes 1; a ridge that is too small is raised."""
        norms = as_numpy(kernels.sqnorms(self.h), "features")
        largest = np.sqrt(float(((self.z**2).sum(axis=(1, 2)) * norms).max()))
        if largest == 0:
            return self
        ratio = np.exp(np.clip(2 * np.log(largest) - np.log(ridge), -200, np.log(LARGEST_RATIO)))
        return Factors(self.z * (np.sqrt(ratio / rows) / largest), self.h)

    def of(self, rows: NDArray[np.int64]) -> Array:
        """The factors of some rows, (len(rows), k, w d)."""
        h = np.asarray(as_numpy(self.h.take(rows), "features"), np.float64)
        return np.asarray(self.z[rows][..., None] * h[:, None, None, :]).reshape(len(rows), self.z.shape[1], -1)

    def times(self, columns: Array) -> Array:
        """(N, k, m) products V_i columns, for columns (w d, m)."""
        w, m = self.z.shape[2], columns.shape[1]
        side = on_device(np.ascontiguousarray(columns.reshape(w, -1, m).transpose(1, 0, 2)), self.h.device)
        found = np.empty((*self.z.shape[:2], m))
        for part, h in self.h.blocks(max(w * m, 8 * self.h.d)):  # a block stays in cache
            products = as_numpy(h @ side.reshape(self.h.d, -1), "features").reshape(-1, w, m)
            found[part] = self.z[part] * products if w == 1 else self.z[part] @ products
        return found

    def sandwiched(self, middle: Array) -> Array:
        """(N, k, k) products V_i middle V_i^T, for a symmetric middle (w d, w d)."""
        w, d = self.z.shape[2], self.h.d
        side = on_device(np.ascontiguousarray(middle.reshape(w, d, w * d).transpose(1, 0, 2)), self.h.device)
        found = np.empty((*self.z.shape[:2], self.z.shape[1]))
        for part, h in self.h.blocks(w * w * d):
            products = (h @ side.reshape(d, -1)).reshape(-1, w * w, d) * h[:, None, :]
            z = self.z[part]
            found[part] = z @ as_numpy(products.sum(-1), "features").reshape(-1, w, w) @ z.transpose(0, 2, 1)
        return found

    def summed(self, counts: NDArray[np.bool_]) -> Array:
        """(w d, w d) sum of V_i^T V_i over the rows that count."""
        w, d = self.z.shape[2], self.h.d
        total = np.zeros((w, d, w, d))
        for part, block in self.h.blocks():
            if not counts[part].any():
                continue
            z = self.z[part][counts[part]]
            h = block[on_device(np.flatnonzero(counts[part]), self.h.device)]
            for a in range(w):
                for b in range(a + 1):
                    weights = on_device((z[:, :, a] * z[:, :, b]).sum(axis=1), self.h.device)
                    total[a, :, b] += as_numpy((h * weights[:, None]).T @ h, "features")
        for a in range(w):
            total[:a, :, a] = total[a, :, :a].transpose(1, 2, 0)
        return total.reshape(w * d, w * d)


def forward_backward(
    factors: Factors, fisher: Array, m: Array, candidates: NDArray[np.int64], batch_size: int, oversample: float
) -> NDArray[np.int64]:
    """Adds oversample * batch_size rows that lower tr(m^-1 fisher) most, then removes those it needs least."""
    most = min(max(batch_size, int(oversample * batch_size)), len(candidates))
    picks, inverse = _added(factors, fisher, m, candidates, most)
    return _kept(factors.of(picks), fisher, inverse, picks, batch_size)


def _added(
    factors: Factors, fisher: Array, m: Array, candidates: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], Array]:
    """The picks, and the inverse of m with all of them.

    Every row keeps inner = V m^-1 V^T and outer = V m^-1 F m^-1 V^T, which a pick changes by its own products: by
    Woodbury the trace falls by tr((I + inner)^-1 outer).
    """
    inverse = np.linalg.inv(m)
    inner, outer = factors.sandwiched(inverse), factors.sandwiched(inverse @ fisher @ inverse)
    closed = np.ones(len(inner), bool)
    closed[candidates] = False
    picks = np.empty(count, np.int64)
    for t in range(count):
        gains = _trace_changes(inner, outer, 1)
        gains[closed] = -np.inf
        picks[t] = pick = int(np.flatnonzero(gains >= gains.max() - SAME * abs(gains.max()))[0])
        closed[pick] = True
        v = factors.of(picks[t : t + 1])[0]
        g = inverse @ v.T
        weight = np.linalg.inv(np.eye(len(v)) + v @ g)
        if t + 1 < count:
            r = inverse @ (fisher @ g)
            both = factors.times(np.concatenate([g, r], axis=1))
            along, through = both[..., : len(v)] @ weight, both[..., len(v) :]
            cross = through @ along.transpose(0, 2, 1)
            outer += along @ (g.T @ fisher @ g) @ along.transpose(0, 2, 1) - cross - cross.transpose(0, 2, 1)
            inner -= along @ both[..., : len(v)].transpose(0, 2, 1)
        inverse -= g @ weight @ g.T
    return picks, inverse


def _kept(v: Array, fisher: Array, inverse: Array, picks: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The picks without those whose removal, one by one, raises the trace least; of ties the highest position goes."""
    n, k, width = v.shape
    flat = v.reshape(n * k, width)
    inner = (flat @ inverse @ flat.T).reshape(n, k, n, k)
    outer = (flat @ inverse @ fisher @ inverse @ flat.T).reshape(n, k, n, k)
    left = np.ones(n, bool)
    for _ in range(n - count):
        own = np.arange(n)
        rises = _trace_changes(inner[own, :, own], outer[own, :, own], -1)
        rises[~left] = np.inf
        ties = np.flatnonzero(rises <= rises.min() + SAME * abs(rises.min()))
        out = int(ties[np.argmax(picks[ties])])
        left[out] = False
        weight = np.linalg.inv(np.eye(k) - inner[out, :, out])
        along, through = inner[:, :, out] @ weight, outer[:, :, out]
        middle = np.einsum("iab,bc,jdc->iajd", along, outer[out, :, out], along)
        cross = np.einsum("iab,jcb->iajc", through, along)
        outer += middle + cross + cross.transpose(2, 3, 0, 1)
        inner += np.einsum("iab,jcb->iajc", along, inner[:, :, out].copy())
    return picks[left]


def _trace_changes(inner: Array, outer: Array, sign: int) -> Array:
    """tr((I + sign inner)^-1 outer) of each row: what it takes from the trace (1), or gives back when it goes (-1)."""
    k = inner.shape[1]
    if k == 1:
        return np.asarray(outer[:, 0, 0] / (1 + sign * inner[:, 0, 0]))
    return np.asarray(np.linalg.solve(np.eye(k) + sign * inner, outer).trace(axis1=1, axis2=2))
