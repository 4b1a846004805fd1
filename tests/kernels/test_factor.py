"""Rows with a factor: every kernel that takes one answers, bit for bit, as on a copy that holds the products."""

from __future__ import annotations

import numpy as np
import pytest
from data import all_equal, blobs, duplicates, host, integers, near_duplicates, put, rounded

from pyal import kernels
from pyal.arrays import Matrix, as_matrix, on_device


def scaled(X: np.ndarray, factor: np.ndarray, dtype: str = "float32", device: str = "cpu") -> tuple[Matrix, Matrix]:
    """(the rows of X in storage type dtype with a factor each, a copy of the products)."""
    stored = as_matrix(put(X, dtype, device))
    computed = "float64" if dtype == "float64" else "float32"
    factor = factor.astype(computed)
    products = rounded(X, dtype).astype(computed) * factor[:, None]
    return (
        Matrix(stored.array, stored.dtype, stored.device, on_device(factor, stored.device)),
        Matrix(on_device(products, stored.device), computed, stored.device),
    )


def factors(n: int, *, spread: float = 3.0, middle: float = 1.0) -> np.ndarray:
    """(n,) around the middle; a third are 1, as if the row had none, and a third powers of two."""
    rng = np.random.default_rng(0)
    out = middle * np.exp(spread * rng.standard_normal(n))
    if middle == 1:
        out[::3] = 1
        out[1::3] = 2.0 ** rng.integers(-8, 9, len(out[1::3]))
    return out


def equal_up_to_scale(n: int = 300, d: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are equal once their factors, powers of two, are multiplied in."""
    factor = 2.0 ** np.random.default_rng(6).integers(-6, 7, n)
    return (duplicates(n, d) / factor[:, None]).astype(np.float32), factor


# name: (rows, factors)
POOLS = {
    "blobs": (blobs(), factors(300)),
    "odd sizes": (blobs(257, 19), factors(257, spread=0.5)),
    "one column": (blobs(101, 1), factors(101)),
    "wide": (blobs(70, 513), factors(70, spread=0.1)),
    "ties": (integers(), 2.0 ** np.random.default_rng(1).integers(0, 2, 300)),
    "equal up to scale": equal_up_to_scale(),
    "all equal": (all_equal(), factors(100)),
    "near duplicates": (near_duplicates(), np.full(300, 0.3)),
    "huge factors": (blobs() * np.float32(1e-4), factors(300, spread=0.1, middle=1e12)),
    "tiny factors": (blobs() * np.float32(1e4), factors(300, spread=0.1, middle=1e-12)),
}


# What is asked of a kernel; r is a distance that about half of the rows have to the first one.
CASES = {
    "sqnorms": lambda X, _: kernels.sqnorms(X),
    "knn": lambda X, _: kernels.knn(X, 7),
    "knn in groups": lambda X, _: kernels.knn(X, 3, groups=np.arange(X.n) % 4 - 1),
    "typicality": lambda X, _: kernels.typicality(X, 5),
    "purity_radius": lambda X, _: kernels.purity_radius(X, np.arange(X.n) % 3),
    "k_center_greedy": lambda X, _: kernels.k_center_greedy(X, 40),
    "k_center_greedy, covered": lambda X, _: kernels.k_center_greedy(X, 15, covered_by=[5, 3], candidates=some(X)),
    "kmeans": lambda X, _: kernels.kmeans(X, 6, random_state=0),
    "kmeans, empty clusters": lambda X, _: kernels.kmeans(X, 40, random_state=0, max_iter=3),
    "kmeans, centres given": lambda X, _: kernels.kmeans(X, 4, init=X.take([7, 8, 9, 10])),
    "constrained_kmeans": lambda X, _: kernels.constrained_kmeans(X, 6, labels=np.arange(X.n) % 5 - 1, random_state=0),
    "sup_scores": lambda X, r: kernels.sup_scores(X, X.take([1, 2, 3]), np.arange(X.n) % 3, temperature=r),
    "d2_sampling": lambda X, _: kernels.d2_sampling(X, 30, random_state=0),
    "d2_sampling, covered": lambda X, _: kernels.d2_sampling(X, 9, covered_by=[5], candidates=some(X), random_state=0),
    "d2_sampling, outer": lambda X, _: kernels.d2_sampling(X, 30, q=outer(X), random_state=0),
    "d2_sampling, outer, covered": lambda X, _: kernels.d2_sampling(X, 9, q=outer(X), covered_by=[5], random_state=0),
    "ball_cover": lambda X, r: kernels.ball_cover(X, 20, r),
    "ball_cover, covered": lambda X, r: kernels.ball_cover(X, 5, r / 2, covered_by=[5], candidates=some(X)),
    "deduplicate": lambda X, r: kernels.deduplicate(X, r / 2),
    "herding": lambda X, r: kernels.herding(X, 20, bandwidth=r),
    "herding, covered": lambda X, r: kernels.herding(X, 5, bandwidth=r, covered_by=[5], candidates=some(X)),
}  # fmt: skip


def some(X: Matrix) -> np.ndarray:
    return np.arange(9, X.n, 4)


def outer(X: Matrix) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((X.n, 3)).astype(np.float32)


def distance(products: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(products - products[0], axis=1))) or 1.0


def assert_same_bits(found: object, wanted: object) -> None:
    for a, b in zip(
        *(host(each) if isinstance(each, tuple) else (host(each),) for each in (found, wanted)), strict=True
    ):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pool", POOLS)
def test_a_kernel_answers_as_on_a_copy(engine, pool, case):
    rows, copy = scaled(*POOLS[pool], device=engine)
    r = distance(host(copy.array))
    assert_same_bits(CASES[case](rows, r), CASES[case](copy, r))


@pytest.mark.parametrize("case", CASES)
def test_in_every_storage_type(engine, dtype, case):
    rows, copy = scaled(*POOLS["odd sizes"], dtype, engine)
    r = distance(host(copy.array))
    assert_same_bits(CASES[case](rows, r), CASES[case](copy, r))


@pytest.mark.parametrize("of_queries", ["float32", "float64", "float16", "bfloat16"])
def test_queries_have_factors_of_their_own(engine, dtype, of_queries):
    X, X_copy = scaled(*POOLS["odd sizes"], dtype, engine)
    Q, Q_copy = scaled(blobs(90, 19, seed=3), factors(90)[::-1], of_queries, engine)
    wanted = kernels.knn(X_copy, 5, queries=Q_copy)
    for rows in (X, X_copy):
        for queries in (Q, Q_copy):
            assert_same_bits(kernels.knn(rows, 5, queries=queries), wanted)


def test_more_rows_than_a_block(engine):
    rows, copy = scaled(blobs(3000, 24), factors(3000, spread=0.1, middle=0.5), device=engine)
    for case in ("knn", "kmeans", "k_center_greedy", "herding"):
        assert_same_bits(CASES[case](rows, 5.0), CASES[case](copy, 5.0))


@pytest.mark.parametrize("kind", ["empirical", "infinite"])
def test_the_tangent_kernel_is_of_the_products(dtype, kind):
    rows, copy = scaled(blobs(20, 5), factors(20), dtype)
    given = {"random_state": 0} if kind == "empirical" else {}
    assert_same_bits(
        kernels.ntk(rows, rows.part(slice(3, 9)), kind=kind, **given),
        kernels.ntk(copy, copy.part(slice(3, 9)), kind=kind, **given),
    )


def test_a_fit_is_on_the_products(dtype):
    rows, copy = scaled(blobs(20, 5), factors(20), dtype)
    fits = []
    for X in (rows, copy):
        root, basis, coef = np.zeros((5, 5)), np.zeros((5, 5)), np.zeros((1, 5))
        kernels.recursive_least_squares(X, np.arange(20.0)[:, None], root=root, basis=basis, coef=coef, rank=0)
        fits.append((root, basis, coef))
    assert_same_bits(*fits)
