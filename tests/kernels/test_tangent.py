"""The neural tangent kernel against its reference, automatic differentiation, and wide random networks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from data import DIMENSIONS, all_equal, blobs, duplicates, host, near_duplicates, put, rounded
from oracle.reference import ntk as reference
from oracle.reference import sqnorms, values
from oracle.tolerance import EPS32, EPS64, scaled

from pyal import kernels
from pyal.kernels import memory

SIZES = ((1, 1, 1), (2, 7, 3), (7, 2, 17), (131, 67, 33), (300, 1, 9))  # n, m, width
LIMITS = ({}, {"depth": 2, "bias_variance": 0.3}, {"depth": 3, "weight_variance": 1.5}, {"bias_variance": 1.0})


def network(d: int, width: int, *, outputs: int = 3, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Weights with biases, most of which are not 0."""
    W1, b1, W2, b2 = kernels.ntk_weights(d, width, outputs, random_state=seed)
    rng = np.random.default_rng(seed + 1)
    return W1, b1 + 0.3 * rng.standard_normal(width), W2, b2 + rng.standard_normal(outputs)


def plain(X, Z, weights) -> np.ndarray:
    """What float32 NumPy gives; which units are active is told in double, as the header says."""
    W1, b1, W2, _ = weights
    x, z = (values(rows) @ W1.T + b1 for rows in (X, Z))
    active = (x > 0).astype(np.float32) * (W2**2).mean(axis=0).astype(np.float32) @ (z > 0).T.astype(np.float32)
    x, z = (np.maximum(a, 0).astype(np.float32) for a in (x, z))
    return x @ z.T + np.float32(1) + active * (values(X).astype(np.float32) @ values(Z).astype(np.float32).T + 1)


def scale_of(X, Z, **arguments) -> np.ndarray:
    """sqrt(K(x, x) K(z, z)): what the errors of K(x, z) are measured in, since its terms may cancel."""
    return np.sqrt(np.outer(*(np.diag(reference(rows, rows, **arguments)) for rows in (X, Z))))


def assert_empirical(K, X, Z, weights, dtype: str) -> None:
    exact = reference(X, Z, weights=weights)
    scale = scale_of(X, Z, weights=weights)
    error = float((np.abs(plain(X, Z, weights) - exact) / scale).max())
    assert (np.abs(K - exact) / scale).max() <= scaled(error, dtype)


def assert_infinite(K, X, Z, dtype: str, **limit) -> None:
    """Within 4 ulps of the type, beside what arccos in the reference does: a cosine off by e shifts an angle a by
    e / sin a, or by sqrt(2 e) where the rows are parallel. Its cosines are off by an ulp per column and layer.
    """
    exact = reference(X, Z, **limit)
    scale = scale_of(X, Z, **limit)
    ulps = (np.shape(X)[1] + 8) * EPS64
    u = X @ Z.T + 1e-300
    b = limit.get("bias_variance", 0.0) * np.shape(X)[1] / limit.get("weight_variance", 2.0)
    u = (u + b) / np.sqrt(np.outer(sqnorms(X) + b, sqnorms(Z) + b))
    sine = np.sqrt(np.maximum(1 - u * u, 0))
    arccos = limit.get("depth", 1) ** 2 * ulps / np.maximum(sine, np.sqrt(ulps))
    assert (np.abs(K - exact) / scale <= 4 * (EPS64 if dtype == "float64" else EPS32) + arccos).all()


def pair(n: int, m: int, dtype: str) -> list[np.ndarray]:
    return [rounded(blobs(rows, 19, seed=seed), dtype) for rows, seed in ((n, 0), (m, 1))]


def test_empirical_is_the_reference(engine, dtype):
    for n, m, width in SIZES:
        X, Z = pair(n, m, dtype)
        weights = network(19, width)
        K = kernels.ntk(put(X, dtype, engine), put(Z, dtype, engine), weights=weights)
        assert host(K).dtype == (np.float64 if dtype == "float64" else np.float32)
        assert_empirical(host(K), X, Z, weights, dtype)
        assert_empirical(host(kernels.ntk(put(X, dtype, engine), weights=weights)), X, X, weights, dtype)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_infinite_is_the_reference(engine, dtype, limit):
    for n, m, _ in SIZES:
        X, Z = pair(n, m, dtype)
        K = kernels.ntk(put(X, dtype, engine), put(Z, dtype, engine), kind="infinite", **limit)
        assert host(K).dtype == (np.float64 if dtype == "float64" else np.float32)
        assert_infinite(host(K), X, Z, dtype, **limit)
        assert_infinite(host(kernels.ntk(put(X, dtype, engine), kind="infinite", **limit)), X, X, dtype, **limit)


def test_every_number_of_columns(engine):
    for d in DIMENSIONS:
        X, weights = blobs(70, d, seed=3), network(d, 40)
        assert_empirical(host(kernels.ntk(put(X, "float32", engine), weights=weights)), X, X, weights, "float32")
        given = put(X, "float64", engine), put(X[:9], "float64", engine)
        K = host(kernels.ntk(*given, kind="infinite", bias_variance=0.1))
        assert_infinite(K, values(X), values(X[:9]), "float64", bias_variance=0.1)


def test_every_width(engine):
    for width in DIMENSIONS:
        X, weights = blobs(40, 5, seed=3), network(5, width)
        assert_empirical(host(kernels.ntk(put(X, "float32", engine), weights=weights)), X, X, weights, "float32")


BOTH = {
    "empirical": {"width": 300, "random_state": 0},
    "infinite": {"kind": "infinite", "depth": 2, "bias_variance": 0.1},
}


@pytest.mark.parametrize("arguments", BOTH.values(), ids=BOTH)
def test_many_blocks_and_threads(engine, arguments):
    """More rows than a block holds: symmetric, the same for all threads, and the same as the rectangle."""
    X = put(blobs(900, 65), "float32", engine)
    K = host(kernels.ntk(X, n_jobs=1, **arguments))
    np.testing.assert_array_equal(K, K.T)
    np.testing.assert_array_equal(K, host(kernels.ntk(X, n_jobs=3, **arguments)))
    np.testing.assert_allclose(K, host(kernels.ntk(X, X, n_jobs=2, **arguments)), rtol=4 * EPS32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pool", [duplicates, near_duplicates, all_equal])
@pytest.mark.parametrize("arguments", [*BOTH.values(), {"kind": "infinite"}], ids=[*BOTH, "no bias"])
def test_positive_semidefinite_up_to_rounding(engine, pool, arguments, dtype):
    K = host(kernels.ntk(put(pool(), dtype, engine), **arguments))
    assert np.array_equal(K, K.T)
    spectrum = np.linalg.eigvalsh(K.astype(np.float64))
    # Noise of e per entry moves an eigenvalue by about sqrt(n) e; eigvalsh itself errs by some ulps of the largest.
    noise = 4 * (EPS64 if dtype == "float64" else EPS32) * np.sqrt(len(K)) * np.abs(K).max()
    assert spectrum[0] >= -noise - 4 * EPS64 * spectrum[-1]


@pytest.mark.parametrize("arguments", [*BOTH.values(), {"kind": "infinite"}], ids=[*BOTH, "no bias"])
def test_equal_rows_have_equal_kernels(engine, dtype, arguments):
    X = put(duplicates(120, 33, copies=4), dtype, engine)
    K = host(kernels.ntk(X, **arguments))
    for copy in range(30, 120, 30):
        rtol = 0 if "kind" in arguments else 2 * EPS32  # the pre-activations of equal rows may differ in their last bit
        np.testing.assert_allclose(K[copy : copy + 30], K[:30], rtol=rtol)
    if "kind" in arguments:  # an angle of exactly 0 between equal rows
        np.testing.assert_array_equal(K[np.arange(90), np.arange(30, 120)], np.diag(K)[:90])


@pytest.mark.parametrize("angle", [0.0, 1e-13, 1e-9, 1e-5, 0.1, 1.5, np.pi - 1e-2, np.pi - 1e-6, np.pi - 1e-10, np.pi])
def test_angles_that_arccos_would_lose(engine, angle):
    """Rows at a known angle: the kernel of one layer is its formula in that angle, to an ulp or two of double."""
    near, small = angle < 2, min(angle, np.pi - angle)
    X = np.array([[1.0, 0.0], [1.0 if near else -1.0, np.tan(small)]])
    small = np.arctan(X[1, 1])
    cosine = np.cos(small) if near else -np.cos(small)
    k0 = 1 - small / np.pi if near else small / np.pi
    rest = small**3 / 3 if small < 1e-3 else np.sin(small) - small * np.cos(small)
    k1 = rest / np.pi + (cosine if near else 0)
    scale = 1 / np.cos(small)  # the norms: 1 and 1 / cos
    K = host(kernels.ntk(put(X, "float64", engine), kind="infinite"))
    assert abs(K[0, 1] - scale * (k1 + cosine * k0)) <= 8 * EPS64 * scale


def test_deep_kernels_in_many_digits(engine):
    """Nearly parallel rows, nearly opposite ones and others, against 40 digits."""
    mpmath = pytest.importorskip("mpmath", reason="many digits need mpmath")
    mpmath.mp.dps = 40
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1, 6)) * [[1.0], [1.0], [3.0], [-1.0], [-2.0]] + rng.standard_normal((5, 6)) * [
        [0], [1e-10], [1e-7], [1e-9], [1e-4]]  # fmt: skip
    X = np.vstack([X, rng.standard_normal((2, 6))])
    for b, depth in ((0.0, 1), (0.0, 4), (0.2, 3)):
        K = host(kernels.ntk(put(X, "float64", engine), kind="infinite", depth=depth, bias_variance=b))
        for i, j in np.ndindex(K.shape):
            wanted = float(_infinite_in_many_digits(mpmath, X[i], X[j], depth, b))
            assert abs(K[i, j] - wanted) <= 16 * EPS64 * np.sqrt(K[i, i] * K[j, j]), (i, j, b, depth)


def _infinite_in_many_digits(mp, x, z, depth: int, b: float):
    def product(p, q):
        return 2 * mp.fsum(mp.mpf(float(s)) * mp.mpf(float(t)) for s, t in zip(p, q, strict=True)) / len(p) + b

    xx, zz, sigma = product(x, x), product(z, z), product(x, z)
    theta = sigma
    for _ in range(depth):
        scale = mp.sqrt(xx * zz)
        angle = mp.acos(max(min(sigma / scale, mp.mpf(1)), mp.mpf(-1)))
        sigma = scale * (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / mp.pi + b
        theta = sigma + theta * (mp.pi - angle) / mp.pi
        xx, zz = xx + b, zz + b
    return theta


def test_empirical_is_what_automatic_differentiation_gives(engine):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from torch.func import jacrev, vmap

    X, Z, weights = values(blobs(12, 7)), values(blobs(5, 7, seed=1)), network(7, 16, outputs=4)
    parameters = tuple(torch.from_numpy(w) for w in weights)

    def outputs(W1, b1, W2, b2, x):
        return W2 @ torch.relu(W1 @ x + b1) + b2

    derivatives = vmap(jacrev(outputs, argnums=(0, 1, 2, 3)), (None, None, None, None, 0))
    rows = [[part.flatten(2) for part in derivatives(*parameters, torch.from_numpy(A))] for A in (X, Z)]
    wanted = sum(torch.einsum("icp,jcp->ij", x, z) for x, z in zip(*rows, strict=True)) / 4
    K = host(kernels.ntk(put(X, "float64", engine), put(Z, "float64", engine), weights=weights))
    np.testing.assert_allclose(K, wanted.numpy(), rtol=0, atol=16 * EPS64 * float(wanted.abs().max()))
    f = host(kernels.ntk_outputs(put(X, "float64", engine), weights))
    wanted = torch.stack([outputs(*parameters, x) for x in torch.from_numpy(X)])
    np.testing.assert_allclose(f, wanted.numpy(), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("bias_variance", [0.0, 0.5])
def test_infinite_is_the_mean_of_random_networks(bias_variance):
    """One hidden layer: every unit of a random network adds an independent draw of the limit."""
    X = values(blobs(6, 4))
    rng = np.random.default_rng(0)
    draws, w, b = 200_000, 1.7, bias_variance
    W, c, v = rng.standard_normal((draws, 4)), rng.standard_normal(draws), rng.standard_normal(draws)
    a = np.sqrt(w / 4) * X @ W.T + np.sqrt(b) * c
    active, first = (a > 0).astype(float), w * X @ X.T / 4 + b
    K = kernels.ntk(X, kind="infinite", weight_variance=w, bias_variance=b)
    for i, j in np.ndindex(K.shape):
        sample = w * np.maximum(a[i], 0) * np.maximum(a[j], 0) + b + w * v**2 * active[i] * active[j] * first[i, j]
        assert abs(sample.mean() - K[i, j]) < 4.5 * sample.std() / np.sqrt(draws)


def test_infinite_of_two_layers_is_the_limit_of_wide_networks():
    """Derivatives of networks with two hidden layers of 400 units: their mean is within the spread of the limit."""
    X = values(blobs(5, 3))
    rng, width, b = np.random.default_rng(1), 400, 0.2
    found = []
    for _ in range(60):
        W1, W2, w3 = rng.standard_normal((width, 3)), rng.standard_normal((width, width)), rng.standard_normal(width)
        a1 = np.sqrt(2 / 3) * X @ W1.T + np.sqrt(b) * rng.standard_normal(width)
        h1, on1 = np.maximum(a1, 0), a1 > 0
        a2 = np.sqrt(2 / width) * h1 @ W2.T + np.sqrt(b) * rng.standard_normal(width)
        h2, on2 = np.maximum(a2, 0), a2 > 0
        back2 = np.sqrt(2 / width) * on2 * w3
        back1 = np.sqrt(2 / width) * on1 * (back2 @ W2)
        K = 2 / width * h2 @ h2.T + b + back2 @ back2.T * (2 / width * h1 @ h1.T + b)
        found.append(K + back1 @ back1.T * (2 / 3 * X @ X.T + b))
    error = np.abs(np.mean(found, axis=0) - kernels.ntk(X, kind="infinite", depth=2, bias_variance=b))
    # The mean of networks of finite width is off by a share of about depth / width.
    assert (error < 4.5 * np.std(found, axis=0) / np.sqrt(60) + 2 / width * np.abs(found[0]).max()).all()


def test_nothing_but_the_kernel_is_of_its_size():
    """NumPy reports what it allocates, and the kernel allocates nothing itself."""
    X = kernels.checked_matrix(blobs(3000, 24))
    for arguments in BOTH.values():
        tracemalloc.start()
        K = kernels.ntk(X, n_jobs=1, **arguments)
        extra = tracemalloc.get_traced_memory()[1] - K.nbytes
        tracemalloc.stop()
        assert extra < K.nbytes / 2  # 300 units of 4 bytes per row, blocks of activations, and packed blocks


def test_zero_rows_and_a_single_column():
    X = np.array([[0.0], [1.0], [-2.0]])
    K = kernels.ntk(X, kind="infinite", depth=3)
    np.testing.assert_array_equal(K[0], 0)
    np.testing.assert_allclose(kernels.ntk(X, kind="infinite"), [[0, 0, 0], [0, 4, 0], [0, 0, 16]], atol=1e-15)
    assert np.isfinite(kernels.ntk(X, kind="infinite", depth=50, bias_variance=0.1)).all()
    np.testing.assert_array_equal(kernels.ntk(X[:1], kind="infinite", bias_variance=0.5), [[1.5]])


@pytest.mark.parametrize("power", [40, -40, -60])
def test_scales(power):
    """Without a bias the infinite kernel is homogeneous of degree 2 in either row, whatever float32 can square."""
    X, s = values(blobs(50, 12)), 2.0**power
    far = kernels.ntk((X * s).astype(np.float32), kind="infinite", depth=2)
    np.testing.assert_allclose(far / s**2, kernels.ntk(X, kind="infinite", depth=2), rtol=8 * EPS32)


def test_weights_are_drawn_once_and_as_documented():
    X = blobs(30, 6)
    weights = kernels.ntk_weights(6, 20, 3, random_state=5)
    np.testing.assert_array_equal(
        kernels.ntk(X, width=20, n_outputs=3, random_state=5), kernels.ntk(X, weights=weights)
    )
    W1, b1, W2, b2 = kernels.ntk_weights(50, 4000, 20, random_state=np.random.default_rng(0))
    assert not b1.any()
    assert not b2.any()
    assert abs(W1.var() * 25 - 1) < 0.02
    assert abs(W2.var() * 4000 - 1) < 0.03
    assert kernels.ntk_outputs(X, weights).shape == (30, 3)
    wide = [kernels.ntk_outputs(X.astype(dtype), weights) for dtype in ("float32", "float64")]
    assert [f.dtype for f in wide] == [np.float32, np.float64]
    np.testing.assert_allclose(*wide, rtol=1e-5, atol=1e-6)


def test_mixed_types_are_widened():
    X, Z, weights = blobs(20, 6), values(blobs(9, 6, seed=1)), network(6, 8)
    for arguments in ({"weights": weights}, {"kind": "infinite"}):
        K = kernels.ntk(X, Z, **arguments)
        assert K.dtype == np.float64
        np.testing.assert_array_equal(K, kernels.ntk(values(X), Z, **arguments))


X = blobs(20, 4)
W1, B1, W2, B2 = network(4, 6)
BAD_WEIGHTS = {
    "three": ((W1, B1, W2), TypeError),
    "an array": (W1, TypeError),
    "W1 of other columns": ((W1[:, :3], B1, W2, B2), ValueError),
    "W1 flat": ((W1.ravel(), B1, W2, B2), ValueError),
    "b1 too short": ((W1, B1[:-1], W2, B2), ValueError),
    "W2 transposed": ((W1, B1, W2.T, B2), ValueError),
    "b2 too long": ((W1, B1, W2, np.ones(9)), ValueError),
    "no units": ((W1[:0], B1[:0], W2[:, :0], B2), ValueError),
    "no outputs": ((W1, B1, W2[:0], B2[:0]), ValueError),
    "NaN": ((W1, B1 * np.nan, W2, B2), ValueError),
    "infinite": ((W1, B1, np.full_like(W2, np.inf), B2), ValueError),
    "complex": ((W1 * 1j, B1, W2, B2), TypeError),
}


@pytest.mark.parametrize("bad", BAD_WEIGHTS)
def test_bad_weights(bad):
    weights, error = BAD_WEIGHTS[bad]
    for call in (lambda: kernels.ntk(X, weights=weights), lambda: kernels.ntk_outputs(X, weights)):
        with pytest.raises(error, match=r"\bweights\b"):
            call()


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("kind", {"kind": "finite"}, ValueError),
        ("depth", {"kind": "infinite", "depth": 0}, ValueError),
        ("depth", {"kind": "infinite", "depth": 1.5}, TypeError),
        ("width", {"width": 0}, ValueError),
        ("n_outputs", {"n_outputs": 0}, ValueError),
        ("n_outputs", {"n_outputs": "3"}, TypeError),
        ("weight_variance", {"kind": "infinite", "weight_variance": 0}, ValueError),
        ("bias_variance", {"kind": "infinite", "bias_variance": -1.0}, ValueError),
        ("bias_variance", {"kind": "infinite", "bias_variance": np.nan}, ValueError),
        ("random_state", {"random_state": -1}, ValueError),
        # what has no use is refused rather than dropped
        ("width", {"weights": (W1, B1, W2, B2), "width": 6}, ValueError),
        ("n_outputs", {"weights": (W1, B1, W2, B2), "n_outputs": 3}, ValueError),
        ("random_state", {"weights": (W1, B1, W2, B2), "random_state": 0}, ValueError),
        ("depth", {"depth": 1}, ValueError),
        ("weight_variance", {"weight_variance": 2.0}, ValueError),
        ("bias_variance", {"bias_variance": 0.0}, ValueError),
        ("weights", {"kind": "infinite", "weights": (W1, B1, W2, B2)}, ValueError),
        ("width", {"kind": "infinite", "width": 512}, ValueError),
        ("random_state", {"kind": "infinite", "random_state": 0}, ValueError),
        ("Z", {"Z": X[:, :3]}, ValueError),
        ("Z", {"Z": np.full((3, 4), np.nan)}, ValueError),
        ("Z", {"Z": np.ones((3, 4), dtype=complex)}, TypeError),
        ("Z", {"Z": X[0]}, ValueError),
    ],
)
def test_bad_arguments(name, arguments, error):
    with pytest.raises(error, match=rf"\b{name}\b"):
        kernels.ntk(X, **arguments)


@pytest.mark.parametrize("name", ["d", "width", "n_outputs"])
def test_bad_sizes_of_networks(name):
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        kernels.ntk_weights(**{"d": 3, "width": 4, "n_outputs": 2, name: 0})


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"float32 holds.*float64"):
        kernels.ntk(X, weights=(W1 * 1e19, B1, W2, B2))
    assert np.isfinite(kernels.ntk(values(X), weights=(W1 * 1e19, B1, W2, B2))).all()
    with pytest.raises(ValueError, match="float64 holds"):
        kernels.ntk(values(X), kind="infinite", depth=5000, weight_variance=4.0)


@pytest.mark.parametrize(("arguments", "needed"), [(BOTH["empirical"], 25600), (BOTH["infinite"], 1600)], ids=BOTH)
def test_a_kernel_without_room_is_refused_before_it_is_made(monkeypatch, arguments, needed):
    """20 x 20 float32, and 20 rows of 300 activations."""
    monkeypatch.setattr(memory, "_available_bytes", lambda _: needed - 1)
    with pytest.raises(MemoryError, match=r"20 x 20 .* needs .*e-0. GB .* cpu; .*e-0. GB are available"):
        kernels.ntk(X, **arguments)
    monkeypatch.setattr(memory, "_available_bytes", lambda _: needed)
    assert kernels.ntk(X, **arguments).shape == (20, 20)


def test_available_memory_is_known(monkeypatch):
    available = memory._available_bytes("cpu")
    assert available is None or available > 1e7
    monkeypatch.setattr(memory, "_host_bytes", lambda: None)
    monkeypatch.setattr(memory, "_cgroup_bytes", lambda: None)
    assert memory._available_bytes("cpu") is None
    memory.room(10**18, "cpu", "what a system that says nothing is asked for")


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts(monkeypatch, tmp_path, version):
    folder = tmp_path / "memory" if version == 1 else tmp_path
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    folder.mkdir(exist_ok=True)
    (folder / "memory.stat").write_text("anon 5\nactive_file 200\ninactive_file 100\ninactive_anon 7\n")
    (folder / names[0]).write_text("4000\n")
    (folder / names[1]).write_text("1500\n")
    monkeypatch.setattr(memory, "Path", lambda _: tmp_path)
    assert memory._cgroup_bytes() == 4000 - 1500 + 300
    (folder / names[0]).write_text("max\n")
    assert memory._cgroup_bytes() is None
