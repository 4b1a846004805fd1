"""D^2 sampling: the picks of BADGE, and the seeds of k-means."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pyal import _cpu
from pyal.arrays import cast, generator, on_device, weights_checked, widened
from pyal.kernels.launcher import launch
from pyal.kernels.matrices import checked_matrix, greedy, sqnorms, value_dtype


def d2_sampling(
    X: Any,
    batch_size: int,
    *,
    q: Any = None,
    weights: Any = None,
    covered_by: Any = None,
    candidates: Any = None,
    first: Literal["largest", "uniform"] = "largest",
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Any:
    """k-means++ picks, (b,) positions: each is drawn in proportion to its squared distance to what is chosen.

    With weights it is drawn in proportion to weight times squared distance. Where all of these are 0, a candidate is
    drawn uniformly. Memory: O(n + 65 b).

    batch_size: b, how many rows to pick.
    q: (n, C). With it the rows are the outer products q_i x X_i, which are never formed: this is BADGE (Ash et al.
        2020, arXiv:1906.03671). They are computed with in float32, or in float64 where X is.
    weights: (n,), at least 0, what the rows count. None: all rows count alike, as they do with equal weights.
    first: the first pick where nothing is covered: "largest" is the row of the largest norm, or of the largest weight
        times squared norm; "uniform" is drawn, in proportion to the weights where these are given.

    >>> d2_sampling([[0.0], [0.0], [5.0]], 2, random_state=0).tolist()
    [2, 0]
    """
    asked = greedy(X, batch_size, covered_by, candidates)
    X, b = asked.X, asked.batch_size
    if first not in ("largest", "uniform"):
        raise ValueError(f"first must be 'largest' or 'uniform'; got {first!r}")
    factor, columns = None, 0
    if q is not None:
        Q = checked_matrix(q, "q", device=X.device)
        if Q.n != X.n:
            raise ValueError(f"q must have one row per row of X, {X.n}; got {Q.n}")
        wide = widened(Q, "float64" if Q.dtype == "float64" else "float32").array
        if (
            not 1e-12 < float(sqnorms(Q).max()) < 1e12
        ):  # a power of two changes no probability, and keeps the products of norms in range
            wide = wide * 2.0 ** -float(np.frexp(float(abs(wide).max()))[1])
        factor, columns = cast(wide, value_dtype(X)), Q.d
    importance = None
    if weights is not None:
        found = weights_checked(weights, X.n)
        importance = on_device(found / max(float(found.max()), np.finfo(np.float64).tiny), X.device)
    rng = generator(random_state)
    first_uniform, uniforms = rng.random(), rng.random((b, _cpu.d2_uniforms))
    launch(
        "d2_sampling",
        X,
        n_jobs,
        **asked.fields,
        q=factor,
        q_cols=columns,
        first=int(first == "uniform"),
        first_uniform=first_uniform,
        uniforms=on_device(uniforms, X.device),
        importance=importance,
    )
    return asked.positions
