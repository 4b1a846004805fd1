"""Arrays in: what is taken as it is, what is copied, what is refused and in which words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from data import bits_bfloat16, blobs, host, rounded

from pyal.arrays import (
    Matrix,
    as_matrix,
    as_numpy,
    empty,
    fingerprint,
    on_device,
    plain,
    widened,
)

X = blobs(40, 6)


class OnlyDlpack:
    """An array of some other library: nothing but the two DLPack methods."""

    def __init__(self, array: object) -> None:
        self.array = array

    def __dlpack__(self, **options: object) -> object:
        return self.array.__dlpack__(**options)  # type: ignore[attr-defined]

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_contiguous_array_is_passed_on(dtype):
    given = X.astype(dtype)
    rows = as_matrix(given)
    assert rows.array is given
    assert (rows.n, rows.d, rows.dtype, rows.device) == (40, 6, dtype, "cpu")
    assert rows.address == given.ctypes.data
    assert as_matrix(rows) is rows


@pytest.mark.parametrize(
    "view",
    [
        lambda a: np.asfortranarray(a),
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[::2, 1:4],
        lambda a: a.astype(">f4"),
        lambda a: np.broadcast_to(a[:1], (5, 6)),
        lambda a: a.T,
    ],
)
def test_any_layout(view):
    given = view(X)
    rows = as_matrix(given)
    assert rows.array.flags.c_contiguous
    assert rows.array.dtype == np.float32
    np.testing.assert_array_equal(rows.array, given)


def test_unaligned_array_is_copied():
    raw = np.zeros(X.nbytes + 1, np.uint8)
    given = raw[1:].view(np.float32).reshape(X.shape)
    given[:] = X
    rows = as_matrix(given)
    assert rows.array.flags.aligned
    np.testing.assert_array_equal(rows.array, X)


def test_memmap_is_never_copied(tmp_path):
    np.save(tmp_path / "X.npy", X)
    given = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert as_matrix(given).address == given.ctypes.data
    for path in (tmp_path / "X.npy", str(tmp_path / "X.npy")):
        rows = as_matrix(path)
        assert isinstance(rows.array, np.memmap)
        assert not rows.array.flags.writeable
        np.testing.assert_array_equal(rows.array, X)


@pytest.mark.parametrize(
    ("dtype", "becomes"),
    [
        ("bool", "float32"),
        ("int8", "float32"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("uint16", "float32"),
        ("int32", "float64"),
        ("uint32", "float64"),
        ("int64", "float64"),
    ],
)
def test_integers_are_widened(dtype, becomes):
    given = (np.arange(6).reshape(2, 3) % 2).astype(dtype)
    rows = as_matrix(given)
    assert rows.dtype == becomes == rows.array.dtype.name
    np.testing.assert_array_equal(rows.array, given)


def test_lists_and_objects_that_convert():
    assert as_matrix([[1.0, 2.0], [3.0, 4.0]]).dtype == "float64"
    assert as_matrix([[1, 2]]).dtype == "float64"
    assert as_matrix(np.ma.array(X)).dtype == "float32"


def test_dataframe():
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(as_matrix(pandas.DataFrame(X)).array, X)
    with pytest.raises(TypeError, match="X must hold real numbers"):
        as_matrix(pandas.DataFrame({"a": [1.0], "b": ["cat"]}))


def test_ml_dtypes_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    given = X.astype(ml_dtypes.bfloat16)
    for array in (given, np.asfortranarray(given)):
        rows = as_matrix(array)
        assert (rows.dtype, rows.array.dtype.name) == ("bfloat16", "uint16")
        np.testing.assert_array_equal(rows.array, bits_bfloat16(X))
    np.testing.assert_array_equal(as_numpy(given, "proba"), rounded(X, "bfloat16"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_torch(dtype, device):
    torch = pytest.importorskip("torch")
    given = torch.from_numpy(X).to(getattr(torch, dtype)).to(device).requires_grad_()
    rows = as_matrix(given)
    assert rows.dtype == dtype
    assert rows.device == ("cpu" if device == "cpu" else f"cuda:{torch.cuda.current_device()}")
    assert rows.address == given.data_ptr()
    as_float64 = np.concatenate([host(block) for _, block in rows.blocks()])
    np.testing.assert_array_equal(as_float64, rounded(X, dtype))
    np.testing.assert_array_equal(as_numpy(given, "a").astype(np.float64), rounded(X, dtype))
    back = as_matrix(given.detach().t(), device="cpu")
    assert (back.device, back.n, back.d) == ("cpu", 6, 40)
    moved = as_matrix(X.astype("float32"), device=device)
    np.testing.assert_array_equal(host(moved.array), X)


def test_torch_integers_and_views():
    torch = pytest.importorskip("torch")
    assert as_matrix(torch.ones(2, 2, dtype=torch.uint8)).dtype == "float32"
    assert as_matrix(torch.ones(2, 2, dtype=torch.bool)).dtype == "float32"
    assert as_matrix(torch.ones(2, 2, dtype=torch.int64)).dtype == "float64"
    np.testing.assert_array_equal(as_matrix(torch.from_numpy(X)[:, 1:3]).array, X[:, 1:3])


def test_dlpack():
    np.testing.assert_array_equal(as_matrix(OnlyDlpack(X)).array, X)
    assert as_matrix(OnlyDlpack(X)).address == X.ctypes.data
    np.testing.assert_array_equal(as_numpy(OnlyDlpack(X), "a"), X)


def test_cupy(device):
    if device == "cpu":
        pytest.skip("CuPy arrays live on CUDA")
    cupy = pytest.importorskip("cupy")
    rows = as_matrix(cupy.asarray(X))
    assert rows.device.startswith("cuda")
    np.testing.assert_array_equal(host(rows.array), X)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.ones((2, 2), complex), "complex128"),
        (np.array([["a", "b"]]), "<U1"),
        (np.array([[None]]), "object"),
        (np.ones((2, 2), np.longdouble), "longdouble|float128|float96"),
        (np.zeros((2, 2), "M8[s]"), "datetime64"),
        ({1, 2}, "set"),
        (np.ma.array(X, mask=X > 0), "masked"),
        (object(), "2-D|object"),
    ],
)
def test_what_is_no_matrix_of_numbers(given, words):
    with pytest.raises((TypeError, ValueError), match=words) as error:
        as_matrix(given, "features")
    assert "features" in str(error.value)


def test_sparse_matrices():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"X must be a dense array.*csr.*toarray"):
        as_matrix(sparse.csr_matrix(X))
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"X must be a dense array.*sparse_coo"):
        as_matrix(torch.from_numpy(X).to_sparse())
    with pytest.raises(TypeError, match="complex64"):
        as_matrix(torch.ones(2, 2, dtype=torch.complex64))


@pytest.mark.parametrize(
    "given", [np.ones(3), np.ones((2, 2, 2)), np.ones((0, 3)), np.ones((3, 0)), 1.0, [[1], [1, 2]]]
)
def test_shapes_that_do_not_fit(given):
    with pytest.raises(ValueError, match="X must"):
        as_matrix(given)


def test_files_that_are_no_matrix(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        as_matrix(tmp_path / "missing.npy")
    for name, content in (("text.npy", b"1,2,3\n"), ("empty.npy", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"must be a .npy file"):
            as_matrix(tmp_path / name)
    np.save(tmp_path / "short.npy", X)
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-8])
    with pytest.raises(ValueError, match="cut short"):
        as_matrix(tmp_path / "short.npy")
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"must be a .npy file of numbers"):
        as_matrix(tmp_path / "objects.npy")


def test_devices():
    assert as_matrix(X, device="cpu").array is X
    with pytest.raises(ValueError, match="device must be None, 'cpu'"):
        as_matrix(X, device="tpu")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="GPU"):
            as_matrix(X, device="cuda")


def test_take_and_empty(device):
    if device == "cuda":
        pytest.importorskip("torch")
    rows = as_matrix(X, device=device)
    np.testing.assert_array_equal(host(rows.take(np.array([3, 1])).array), X[[3, 1]])
    assert tuple(empty((2, 3), "int64", rows.device).shape) == (2, 3)


def test_torch_is_not_imported_for_numpy():
    code = "import sys, numpy, pyal; pyal.select(numpy.ones((9, 2))); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def scaled(dtype, device):
    """(rows with a factor each, the products that they stand for, of the type of the factor)."""
    from data import put

    rows = as_matrix(put(X, dtype, device))
    factor = np.exp(np.random.default_rng(7).standard_normal(len(X))).astype(
        "float64" if dtype == "float64" else "float32"
    )
    products = rounded(X, dtype).astype(factor.dtype) * factor[:, None]
    return Matrix(rows.array, rows.dtype, rows.device, on_device(factor, rows.device)), products


def test_a_factor_is_multiplied_in_on_the_way_to_numpy(scaled):
    rows, products = scaled
    found = as_numpy(rows, "X")
    assert found.dtype == products.dtype
    np.testing.assert_array_equal(found, products)


def test_a_factor_is_multiplied_in_by_blocks(scaled):
    rows, products = scaled
    found = np.concatenate([host(block) for _, block in rows.blocks()])
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, products)


def test_rows_that_are_taken_hold_the_products(scaled):
    rows, products = scaled
    found = rows.take([5, 2, 5])
    assert found.factor is None
    assert found.dtype == products.dtype.name
    np.testing.assert_array_equal(host(found.array), products[[5, 2, 5]])


def test_a_part_is_a_view_with_its_factors(scaled):
    rows, products = scaled
    part = rows.part(slice(3, 9))
    assert part.address == rows.address + 3 * rows.d * rows.array.itemsize
    np.testing.assert_array_equal(as_numpy(part, "X"), products[3:9])


@pytest.mark.parametrize("becomes", ["float32", "float64"])
def test_widened_rows_hold_the_products(scaled, becomes):
    rows, products = scaled
    found = widened(rows, becomes)
    assert (found.factor, found.dtype) == (None, becomes)
    np.testing.assert_array_equal(host(found.array), products.astype(becomes))


def test_plain_rows_hold_the_products(scaled):
    rows, products = scaled
    found = plain(rows)
    assert (found.factor, found.dtype) == (None, products.dtype.name)
    np.testing.assert_array_equal(host(found.array), products)
    assert plain(found) is found


def test_the_fingerprint_sees_the_products(scaled):
    rows, _ = scaled
    assert fingerprint(rows)["hash"] == fingerprint(plain(rows))["hash"]


def test_rows_is_immutable():
    with pytest.raises(AttributeError):
        Matrix(X, "float32", "cpu").dtype = "float64"  # type: ignore[misc]
