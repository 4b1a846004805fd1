"""Peak extra memory of every registered strategy on a pool of 20,000 rows: what its documentation says, and no more."""

from __future__ import annotations

import gc
import re
import tracemalloc

import numpy as np
import pytest
from data import blobs
from surrogates import UNSURE_AND_FAR

import pyal
from pyal.strategies.registry import Strategy

N, D, CLASSES, BATCH, SUBSET, WIDTH = 20_000, 64, 10, 10, 200, 32
MB = 2**20
FORBIDDEN = min(N * N // 8, N * CLASSES * D * 4)  # bytes of an (N, N) matrix of bits and of (N, C d) in float32
SYMBOLS = {"N": N, "C": CLASSES, "d": D, "clusters": 500, "classes": CLASSES, "subset": SUBSET + 50, "hidden": 128}
SYMBOLS |= {"rows": 5_000 + 50, "batch": BATCH}
SYMBOLS |= {"sample": 2048, "labeled": 50, "resampled": 10}
SYMBOLS |= {"T": 2, "configurations": 10_000}
OPTIONS = {"subset": SUBSET, "width": WIDTH, "bandwidth": 8.0, "rounds": 2, "batches": 18, "model": UNSURE_AND_FAR}
LABELED = np.arange(0, N, 400)
SYMBOLS |= {"labels": len(LABELED)}


def documented(strategy: Strategy) -> int:
    """The O() of a strategy as bytes: 1200 a row (knn's candidates), 24 for any other unit, 8 MB of blocks."""
    formula = strategy.memory.removeprefix("O(").removesuffix(")")
    product = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula).replace("^", "**")
    units = eval(product, {"__builtins__": {}}, dict(SYMBOLS))
    rows = N if re.match(r"N( \+|$)", formula) else 0
    return 1200 * rows + 24 * (units - rows) + 8 * MB


@pytest.mark.parametrize("name", ["coreset", "typiclust", "supclust", "probcover", "maxherding"])
def test_cosine_makes_no_copy(name, tmp_path):
    """Not even of a file that is mapped: the factors take far less than an eighth of X."""
    X = blobs(2000, 1024)
    np.save(tmp_path / "X.npy", X)
    options = {"bandwidth": 8.0} if name == "maxherding" else {}

    def peak(metric: str) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            pyal.select(tmp_path / "X.npy", strategy=name, batch_size=2, metric=metric, random_state=0, **options)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak("cosine")  # what a first call allocates for good is not counted
    assert peak("cosine") < peak("euclidean") + X.nbytes // 8


@pytest.mark.parametrize("strategy", pyal.list_strategies(), ids=lambda s: s.name)
@pytest.mark.parametrize("labeled", [None, LABELED], ids=["nothing labelled", "50 labelled"])
def test_peak_is_what_is_documented(strategy, labeled):
    """NumPy reports what it allocates, and kernels allocate nothing themselves."""
    X, proba = blobs(N, D), np.random.default_rng(1).dirichlet(np.ones(CLASSES), N)
    options = {name: value for name, value in OPTIONS.items() if name in strategy.options}
    if strategy.passes:
        proba = np.stack([proba, proba[:, ::-1]])
    given = {"proba": proba} if "proba" in (*strategy.needs, *strategy.needs_once_labeled) else {}
    if labeled is not None and "y" in strategy.needs_once_labeled:
        given["y"] = np.full(N, -1)
        given["y"][labeled] = np.arange(len(labeled)) % CLASSES
    elif labeled is not None:
        given["labeled"] = labeled

    def ask(rows: np.ndarray) -> None:
        n = len(rows)
        part = {name: a[..., :n, :] if a.ndim > 1 else a[:n] for name, a in given.items() if name != "labeled"}
        part |= {name: a[a < n] for name, a in given.items() if name == "labeled"}
        pyal.select(rows, strategy=strategy.name, batch_size=BATCH, random_state=0, **part, **options)

    ask(X[:2000])  # what a first call allocates for good is not counted
    gc.collect()
    tracemalloc.start()
    try:
        ask(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= documented(strategy) < FORBIDDEN, f"{peak / MB:.1f} MB"
    print(f"{strategy.name}: {peak / MB:.1f} of {documented(strategy) / MB:.1f} MB")
