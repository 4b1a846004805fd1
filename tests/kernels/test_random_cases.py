"""Many small random cases against the reference, on whole numbers: ties everywhere, and every answer is exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from data import host, put
from oracle import reference
from oracle.replay import check_herding, check_picks
from oracle.tolerance import kernel_atol

from pyal import kernels

CASES = 150
Case = tuple[np.random.Generator, np.ndarray, str]


def pool(rng: np.random.Generator) -> np.ndarray:
    """1 to 70 rows of 1 to 40 columns of a few whole numbers, some rows copied, sometimes far from 0."""
    n, d = int(rng.integers(1, 71)), int(rng.integers(1, 41))
    X = rng.integers(-2, 3, (n, d)) + int(rng.choice([0, 0, 100]))
    return X[rng.integers(0, n, n)] if rng.random() < 0.3 else X


def subset(rng: np.random.Generator, n: int, at_least: int = 0) -> np.ndarray | None:
    """None, positions in any order, or a mask."""
    kind = rng.integers(0, 3)
    chosen = rng.permutation(n)[: int(rng.integers(at_least, n + 1))]
    return None if kind == 0 else chosen if kind == 1 else np.isin(np.arange(n), chosen)


def picking(rng: np.random.Generator, n: int) -> tuple[int, dict]:
    given = {"covered_by": subset(rng, n), "candidates": subset(rng, n, at_least=1)}
    available = len(reference.positions_of(given["candidates"], n, "all"))
    return int(rng.integers(0, available + 1)), given


def equal(result, expected) -> None:
    for part, wanted in zip(host(result), expected, strict=True):
        np.testing.assert_array_equal(part, wanted)


def knn(rng: np.random.Generator, X: np.ndarray, device: str) -> None:
    k = int(rng.integers(1, len(X) + 4))
    given: dict = {}
    if rng.random() < 0.3:
        given["queries"] = pool(rng)[:, :1].repeat(X.shape[1], axis=1)
    elif rng.random() < 0.5:
        given["groups"] = rng.integers(-1, 4, len(X))
    on_device = {"queries": put(given["queries"], "float32", device)} if "queries" in given else given
    equal(kernels.knn(put(X, "float32", device), k, **on_device), reference.knn(X, k, **given))


def k_center_greedy(rng: np.random.Generator, X: np.ndarray, device: str) -> None:
    batch_size, given = picking(rng, len(X))
    if rng.random() < 0.3:
        given["start"] = int(rng.choice(reference.positions_of(given["candidates"], len(X), "all")))
    found = kernels.k_center_greedy(put(X, "float32", device), batch_size, **given)
    equal(found, reference.k_center_greedy(X, batch_size, **given))


def ball_cover(rng: np.random.Generator, X: np.ndarray, device: str) -> None:
    batch_size, given = picking(rng, len(X))
    radius = float(rng.choice([0.5, 1, 2, 3, 3.5, 5, 9, 100]))  # 1, 2, 3, 5 are distances that may occur
    found = kernels.ball_cover(put(X, "float32", device), batch_size, radius, **given)
    equal(found, reference.ball_cover(X, batch_size, radius, **given))


def herding(rng: np.random.Generator, X: np.ndarray, device: str) -> None:
    batch_size, given = picking(rng, len(X))
    given["kernel"] = str(rng.choice(list(reference.SIMILARITIES)))
    given["bandwidth"] = float(rng.choice([0.5, 2.0, 8.0, 100.0]))
    if rng.random() < 0.5:
        given["weights"] = rng.random(len(X)) * rng.integers(0, 2, len(X))
    found = host(kernels.herding(put(X, "float32", device), batch_size, **given))
    check_herding(X, *found, atol=kernel_atol(X, given["bandwidth"], "float32", given["kernel"]), **given)


def d2_sampling(rng: np.random.Generator, X: np.ndarray, device: str) -> None:
    batch_size, given = picking(rng, len(X))
    given["first"] = str(rng.choice(["largest", "uniform"]))
    given["q"] = rng.integers(-2, 3, (len(X), 3)).astype(np.float32) if rng.random() < 0.4 else None
    if rng.random() < 0.5:
        given["weights"] = 2.0 ** rng.integers(-3, 1, len(X)) * rng.integers(0, 2, len(X))
    seed = int(rng.integers(1 << 30))
    found = host(kernels.d2_sampling(put(X, "float32", device), batch_size, random_state=seed, **given))
    check_picks(found, batch_size, len(X), given["candidates"])
    draw = np.random.default_rng(seed)
    uniforms = {"first_uniform": draw.random(), "uniforms": draw.random((batch_size, reference.D2_UNIFORMS))}
    np.testing.assert_array_equal(found, reference.d2_sampling(X, batch_size, **uniforms, **given))


def kmeans(rng: np.random.Generator, X: np.ndarray, device: str) -> None:
    """One iteration from centres that are rows: the sums are exact, the means are rounded once."""
    init = X[rng.permutation(len(X))[: int(rng.integers(1, len(X) + 1))]].astype(np.float32)
    centers, assignment, inertia = host(kernels.kmeans(put(X, "float32", device), len(init), init=init, max_iter=1))
    wanted, _, sqdist_sum = reference.kmeans(X, init, max_iter=1)
    np.testing.assert_allclose(centers, wanted, rtol=2e-7)
    np.testing.assert_allclose(inertia, sqdist_sum, rtol=1e-4, atol=1e-4)  # near 0, what the centres' rounding leaves
    sqdist = reference.sqdist_between(X, centers)
    assert (sqdist[np.arange(len(X)), assignment] <= sqdist.min(axis=1) * (1 + 1e-5) + 1e-8).all()


def deduplicate(rng: np.random.Generator, X: np.ndarray, device: str) -> None:
    radius = float(rng.choice([0, 1, np.sqrt(2), np.sqrt(3), 2, 2.5, np.sqrt(7), 3, np.sqrt(11), 5]))
    groups, kept = host(kernels.deduplicate(put(X, "float32", device), radius))
    np.testing.assert_array_equal(kept[groups], reference.radius_groups(X, radius))


def purity_radius(rng: np.random.Generator, X: np.ndarray, device: str) -> None:
    labels, alpha = rng.integers(0, 3, len(X)) * 7 - 5, float(rng.choice([1.0, 0.95, 0.9, 0.5, 0.05]))
    found = kernels.purity_radius(put(X, "float32", device), labels, alpha)
    np.testing.assert_allclose(found, reference.purity_radius(X, labels, alpha), rtol=2e-7)  # one square root


CHECKS: list[Callable[[np.random.Generator, np.ndarray, str], None]] = [knn, k_center_greedy, ball_cover, herding]
CHECKS += [d2_sampling, kmeans, purity_radius, deduplicate]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_random_cases(engine, check):
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        try:
            check(rng, pool(rng), engine)
        except Exception as error:
            error.add_note(f"case of seed {seed}") if hasattr(error, "add_note") else None
            raise
