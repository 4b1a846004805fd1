"""The features of a surrogate for 10,000 candidates: a single call, and a round of a loop, against scikit-learn.

100 rows are labelled. PYAL_BENCH_N and PYAL_BENCH_CANDIDATES say how many rows and candidates there are (5000 and 2000
by default), of 512 columns.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from peers import Peer

from pyal import kernels
from pyal.pool import Inputs
from pyal.surrogate.table import FeatureTable, Step, table_of

N = int(os.environ.get("PYAL_BENCH_N") or 5000)
CANDIDATES, D, CLASSES, LABELED = int(os.environ.get("PYAL_BENCH_CANDIDATES") or 2000), 512, 10, 100
Given = dict[str, Any]


def of_model(p: np.ndarray) -> list[np.ndarray]:
    two = np.partition(p, -2, axis=1)[:, -2:]
    return [-(p * np.log(p)).sum(1), 1 - two[:, 1], two[:, 1] - two[:, 0]]


def scikit_typicality(X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    unit = normalize(X)
    distance, _ = NearestNeighbors(n_neighbors=21, algorithm="brute").fit(unit).kneighbors(unit[rows])
    return 1 / ((distance[:, 1:].astype(np.float64) ** 2).mean(1) + 1e-5)


def scikit_distances(X: np.ndarray, labeled: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    from sklearn.metrics import pairwise_distances_argmin_min
    from sklearn.metrics.pairwise import cosine_distances

    nearest = pairwise_distances_argmin_min(X[rows], X[labeled])[1]
    return [nearest, cosine_distances(X[rows], X[labeled]).min(1)]


def scikit_table(given: Given, typicality: np.ndarray | None = None) -> np.ndarray:
    """typicality: what a loop has kept from its first round."""
    rows = given["candidates"]
    typical = scikit_typicality(given["X"], rows) if typicality is None else typicality[rows]
    columns = [*of_model(given["proba"][rows]), typical, *scikit_distances(given["X"], given["labeled"], rows)]
    return np.stack(columns, axis=1)


def agree(mine: FeatureTable, theirs: np.ndarray) -> str:
    difference = np.abs(mine.values[:, :-1] - theirs).max(0) / np.abs(theirs).max(0)
    assert difference.max() < 1e-3  # what products of float32 lose of short distances
    return f"within {difference.max():.0e}"


SCIKIT = Peer("feature_table", "scikit-learn", scikit_table, ("sklearn",))


@pytest.fixture(scope="module")
def given() -> Given:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D), dtype=np.float32)
    X += 3 * rng.standard_normal((100, D), dtype=np.float32)[rng.integers(0, 100, N)]
    order = rng.permutation(N)
    labeled, rows = np.sort(order[:LABELED]), np.sort(order[LABELED : LABELED + CANDIDATES])
    return {"X": X, "labeled": labeled, "candidates": rows, "proba": rng.dirichlet(np.ones(CLASSES), N)}


def as_before(carried: Given | None) -> Given | None:
    """What a round is handed, one label behind: it is written to."""
    if carried is None:
        return None
    kept = carried["surrogate"]
    return {"surrogate": {k: copy.deepcopy(v) if isinstance(v, kernels.Carried) else v for k, v in kept.items()}}


@pytest.mark.parametrize("round_", ["single call", "later round"])
def test_table(versus: Callable[..., Any], given: Given, round_: str, n_jobs: int) -> None:
    pool = Inputs(**given, n_jobs=n_jobs).pool()
    kept = carried = None
    if round_ == "later round":
        carried = {}
        table_of(dataclasses.replace(pool, labeled=pool.labeled[:-1], carried=carried), pool.candidates)
        kept = np.full(N, np.nan)
        kept[given["candidates"]] = scikit_typicality(given["X"], given["candidates"])
    work = f"{round_}, {len(pool.candidates)} candidates of {N} x {D}"

    def mine() -> FeatureTable:
        return table_of(dataclasses.replace(pool, carried=as_before(carried)), pool.candidates, step=Step(500))

    versus("feature_table", work, mine, SCIKIT, partial(SCIKIT.call, given, kept), agree)
