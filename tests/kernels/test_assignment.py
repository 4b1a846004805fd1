"""The kernels below k-means, called as clustering.py does: constrained_assign, and kmeans_assign with fixed rows."""

from __future__ import annotations

import numpy as np
import pytest
from data import host, integers, put
from oracle import reference

from pyal import kernels
from pyal.arrays import empty, on_device
from pyal.kernels.launcher import launch
from pyal.kernels.memory import Scratch


def conflict_lists(n: int, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    partners = [[int(j if i == g else i) for i, j in apart if g in (i, j)] for g in range(n)]
    start = np.cumsum([0, *map(len, partners)])
    return start, np.array([h for each in partners for h in each] or [0], dtype=np.int64)


def placed(X, centers, order, *, colour=None, apart=None, weight=None, before=None):
    """The kernel constrained_assign on Matrix X."""
    n = X.n
    start, conflicts = (None, None) if apart is None else conflict_lists(n, apart)
    weight = np.ones(n) if weight is None else weight
    given = {"centers": centers, "order": order, "colour": colour, "conflict_start": start, "conflicts": conflicts}
    given = {name: None if a is None else on_device(a, X.device) for name, a in {**given, "weight": weight}.items()}
    out = {"assignment": empty((n,), "int64", X.device), "relaxed": empty((n,), "uint8", X.device)}
    if before is not None:
        out = {name: on_device(a.copy(), X.device) for name, a in zip(out, before, strict=True)}
    n_colours = 0 if colour is None else int(colour.max()) + 1
    launch(
        "constrained_assign",
        X,
        None,
        k=len(centers),
        n_colours=n_colours,
        again=int(before is not None),
        **given,
        **out,
    )
    return host(out["assignment"]), host(out["relaxed"])


@pytest.mark.parametrize("kind", ["colours", "more colours than centres", "pairs", "both", "neither"])
def test_constrained_assign(engine, dtype, kind):
    """Whole numbers: every distance and every sum is exact, ties and equal rows abound."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n, k, d = int(rng.integers(1, 40)), int(rng.integers(1, 12)), int(rng.choice([1, 3, 17]))
        points, centers = integers(n, d, seed=seed), integers(k, d, seed=seed + 100)
        colour = apart = None
        if kind in ("colours", "both"):
            colour = np.unique(np.append(rng.integers(-1, k, n), -1), return_inverse=True)[1][:n] - 1
        if kind == "more colours than centres":
            colour = np.unique(rng.integers(0, 2 * k + 1, n), return_inverse=True)[1]
        if kind in ("pairs", "both"):
            apart = rng.integers(0, n, (2 * n, 2))
            apart = apart[apart[:, 0] != apart[:, 1]]
        given = {"colour": colour, "weight": rng.integers(1, 4, n).astype(np.float64)}
        X = kernels.checked_matrix(put(points, dtype, engine))
        before = wanted_before = None
        for _ in range(3):  # the second and third time with moved centres, and with a chance to keep what there is
            moved = centers.astype("float64" if dtype == "float64" else "float32")
            order = rng.permutation(n)
            before = placed(X, moved, order, apart=apart, before=before, **given)
            pairs = () if apart is None else [tuple(pair) for pair in apart.tolist()]
            wanted_before = reference.constrained_assign(
                points, centers, order, apart=pairs, before=wanted_before, **given
            )
            np.testing.assert_array_equal(before[0], wanted_before[0])
            np.testing.assert_array_equal(before[1], wanted_before[1])
            centers = centers + rng.integers(-1, 2, centers.shape).astype(np.float32)


def test_constrained_assign_of_several_blocks(engine):
    """5000 points: more than either device keeps distances of; whole numbers against the rule, written with arrays."""
    n, k = 5000, 7
    points, centers = integers(n, 5, seed=1, largest=9), integers(k, 5, seed=2, largest=9)
    colour, order = np.arange(n) % 3, np.random.default_rng(0).permutation(n)
    found, relaxed = placed(kernels.checked_matrix(put(points, device=engine)), centers, order, colour=colour)
    wanted, _ = reference.constrained_assign(points, centers, order, colour=colour)
    np.testing.assert_array_equal(found, wanted)
    assert not relaxed.any()


def test_kmeans_assign_with_fixed_rows(engine, dtype):
    """Rows are fixed, fixed elsewhere and freed from call to call, and centres move: bounds and sums must follow."""
    rng = np.random.default_rng(0)
    X = kernels.checked_matrix(put(integers(2500, 9, seed=3), dtype, engine))
    exact, k, value = integers(2500, 9, seed=3), 11, "float64" if dtype == "float64" else "float32"
    centers = integers(k, 9, seed=4).astype(value)
    shapes = {"assignment": ((X.n,), "int64"), "upper": ((X.n,), value), "lower": ((X.n,), value)}
    shapes |= {"sums": ((k, 9), "float64"), "counts": ((k,), "int64"), "sqdist": ((X.n,), value)}
    state = {name: empty(*shape, X.device) for name, shape in shapes.items()}
    moved, scratch = None, Scratch()
    for step in range(6):
        fixed = np.where(rng.random(X.n) < 0.3, rng.integers(0, k, X.n), -1) if step != 3 else None
        given = {"centers": centers, "moved": moved, "fixed": fixed}
        given = {name: None if a is None else on_device(a, X.device) for name, a in given.items()}
        launch("kmeans_assign", X, None, scratch=scratch, k=k, **given, **state)
        names = ("assignment", "sums", "counts", "sqdist")
        for name, wanted in zip(names, reference.kmeans_assign(exact, centers, fixed=fixed), strict=True):
            np.testing.assert_array_equal(host(state[name]), wanted, err_msg=f"{name} in step {step}")
        step_by = rng.integers(-1, 2, centers.shape) * (rng.random((k, 1)) < 0.5)
        moved = (np.sqrt((step_by**2).sum(axis=1)) * (1 + 1e-6)).astype(value)
        centers = (centers + step_by).astype(value)


BOUNDED = {
    "noise": lambda rng: rng.standard_normal((400, 100)),
    "unit sphere": lambda rng: (lambda X: X / np.linalg.norm(X, axis=1, keepdims=True))(
        rng.standard_normal((300, 513))
    ),
    "far from the origin": lambda rng: rng.standard_normal((300, 33)) + 1e3 * rng.standard_normal(33),
    "tight clusters": lambda rng: (
        10 * rng.standard_normal((5, 64))[rng.integers(0, 5, 300)] + 1e-3 * rng.standard_normal((300, 64))
    ),
    "many sizes": lambda rng: np.exp(2 * rng.standard_normal((300, 16))),
    "one column": lambda rng: rng.standard_normal((300, 1)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_of_kmeans_assign(engine, name, dtype):
    """upper and lower enclose the distances while centres move by much and by little, one far away among them."""
    rng = np.random.default_rng(7)
    pool = BOUNDED[name](rng).astype(dtype)
    X, value, k = kernels.checked_matrix(put(pool, dtype, engine)), "float64" if dtype == "float64" else "float32", 20
    centers = pool[rng.choice(len(pool), k, replace=False)].astype(value)
    centers[0] *= 20
    shapes = {"assignment": ((X.n,), "int64"), "upper": ((X.n,), value), "lower": ((X.n,), value)}
    shapes |= {"sums": ((k, X.d), "float64"), "counts": ((k,), "int64")}
    state = {array: empty(*shape, X.device) for array, shape in shapes.items()}
    moved, scratch, digits = None, Scratch(), 1e-12 if dtype == "float64" else 2e-6
    for step in (1e-1, 1e-3, 1e-5, 1e-2):
        given = {
            "centers": on_device(centers, X.device),
            "moved": None if moved is None else on_device(moved, X.device),
        }
        launch("kmeans_assign", X, None, scratch=scratch, k=k, fixed=None, sqdist=None, **given, **state)
        distance = np.linalg.norm(pool.astype(np.float64)[:, None] - centers.astype(np.float64), axis=2)
        assigned = host(state["assignment"])[:, None]
        own, others = np.take_along_axis(distance, assigned, 1)[:, 0], distance.copy()
        np.put_along_axis(others, assigned, np.inf, 1)
        assert (own <= distance.min(1) * (1 + 4 * digits)).all()
        if engine != "cuda":  # a device is free to ignore the bounds
            assert (host(state["upper"]) >= own * (1 - digits)).all()
            assert (host(state["lower"]) <= others.min(1) * (1 + digits)).all()
        before = centers.astype(np.float64)
        by = step * distance.max() / np.sqrt(X.d) * rng.standard_normal(centers.shape)
        centers = (before + by).astype(value)
        moved = (np.linalg.norm(centers - before, axis=1) * (1 + 1e-6)).astype(value)
