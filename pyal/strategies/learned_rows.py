"""What kernel regression has learned row by row, and the classes that rows had for it when they were learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import Matrix, as_numpy
from pyal.kernels.lookahead import determined_share


class LearnedRows:
    """The rows of a kernel matrix that are learned one after the other, as `kernels.ntk_lookahead` learns them.

    K + ridge I = G G^T over these rows, in float64. Before row i is learned its prediction is f_i plus the sum over the
    earlier rows k of G_ik z_k, where z_k is what was wrong at row k, divided by G_kk. Memory: O(rows (rows + classes)),
    and a copy of the kernel's rows that come in at a time.

    positions: the rows in the order learned; classes: those they were learned with.
    """

    def __init__(self, R: Matrix, f: NDArray[np.floating], ridge: float) -> None:
        self.positions: NDArray[np.int64] = np.empty(0, np.int64)
        self.classes: NDArray[np.int64] = np.empty(0, np.int64)
        self._R, self._f, self._ridge = R, f, ridge
        self._G, self._z = np.empty((0, 0)), np.empty((0, f.shape[1]))

    def learn(self, positions: NDArray[np.int64], classes: NDArray[np.int64] | None = None) -> None:
        """Learns more rows with their classes; None: each with the class that is predicted when its turn comes."""
        begin = len(self.positions)
        self.positions = np.concatenate([self.positions, positions])
        end = len(self.positions)
        K = as_numpy(self._R.take(positions), "R")[:, self.positions].astype(np.float64)
        G, z, taught = np.zeros((end, end)), np.zeros((end, self._z.shape[1])), np.zeros(end, np.int64)
        G[:begin, :begin], z[:begin], taught[:begin] = self._G, self._z, self.classes
        for k in range(end):
            first = max(k, begin)
            column = K[first - begin :, k] - G[first:, :k] @ G[k, :k]
            if k >= begin:
                G[k, k] = self._root(float(column[0]), float(K[k - begin, k]))
                predicted = self._f[positions[k - begin]] + G[k, :k] @ z[:k]
                taught[k] = predicted.argmax() if classes is None else classes[k - begin]
                wrong = -predicted
                wrong[taught[k]] += 1
                z[k] = wrong / G[k, k]
            below = slice(max(k + 1, begin), end)
            G[below, k] = column[below.start - first :] / G[k, k]
        self._G, self._z, self.classes = G, z, taught

    def _root(self, variance: float, prior: float) -> float:
        """G_kk; infinite for a row that the rows before it determine, which then changes nothing."""
        known = not variance + self._ridge > determined_share(self._R) * (prior + self._ridge)
        return float("inf") if known else float(np.sqrt(variance + self._ridge))
