"""Arrays in and out: the only file that asks whether something is NumPy, torch or CuPy.

Everything that enters pyal as a matrix leaves here as `Matrix`: C-contiguous, of one of four float types, on a device.
A copy is made only for layout (other strides), for widening (integers, booleans) or where `device` asks for a move; a
C-contiguous array, memmap or tensor is passed on as it is. torch is imported only where a tensor or a GPU is involved.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays.blocks import row_blocks

_TORCH_DTYPES = ("float32", "float64", "float16", "bfloat16")
_DLPACK_HOST = (1, 3, 11)  # CPU, pinned for CUDA, pinned for ROCm
_DLPACK_CUDA = (2, 13)  # CUDA, CUDA managed


@dataclass(frozen=True, eq=False)
class Matrix:
    """The rows of a matrix as kernels take them; made by `as_matrix`.

    array: C-contiguous (n, d); NumPy on the CPU, with bfloat16 kept as its uint16 bit patterns; a torch tensor on CUDA.
    dtype: "float32", "float64", "float16" or "bfloat16". device: "cpu" or "cuda:0", "cuda:1", ...
    factor: None, or (n,) where the array lies, float64 where dtype is, else float32: row i stands for the products
    array[i] * factor[i], each rounded once to the type of the factor. No copy holds them; kernels make them as they go.
    sqnorms: None, or (n,) float64 where the array lies, the squared norms of the rows: known once all were looked at.
    """

    array: Any
    dtype: str
    device: str
    factor: Any = None
    sqnorms: Any = None

    @property
    def n(self) -> int:
        return int(self.array.shape[0])

    @property
    def d(self) -> int:
        return int(self.array.shape[1])

    @property
    def address(self) -> int:
        """Address of the first element, on the host or on the device."""
        if self.device == "cpu":
            return int(self.array.__array_interface__["data"][0])
        return int(self.array.data_ptr())

    def part(self, rows: slice) -> Matrix:
        """The rows of a slice, not copied."""
        factor = None if self.factor is None else self.factor[rows]
        return Matrix(self.array[rows], self.dtype, self.device, factor)

    def gathered(self, positions: Any) -> Matrix:
        """A copy of the rows at `positions`, with their factors."""
        if self.device != "cpu":
            import torch

            positions = torch.as_tensor(positions, device=self.device)
        factor = None if self.factor is None else self.factor[positions]
        rows = self.array[positions]
        return Matrix(np.asarray(rows) if self.device == "cpu" else rows, self.dtype, self.device, factor)

    def take(self, positions: Any) -> Matrix:
        """The rows at `positions`, gathered into a copy without a factor: it holds the products."""
        return plain(self.gathered(positions))

    def blocks(self, width: int = 0) -> Iterator[tuple[slice, Any]]:
        """Slices of rows and their values as float64 copies, a few MB at a time (where the array lives).

        width: of what the caller makes of each row, where that is wider than the row.
        """
        for part in row_blocks(self.n, max(self.d, width)):
            block = _values(self.part(part))
            yield part, np.array(block, np.float64, subok=False) if self.device == "cpu" else block.double()


def as_matrix(X: Any, name: str = "X", *, device: Any = None) -> Matrix:
    """The matrix X as `Matrix` on `device`, default where X lives. Whether the values are finite is not looked at here.

    X: (n, d) NumPy array or memmap, .npy path (opened as a memmap), torch tensor (read detached), CuPy or other DLPack
    array, ml_dtypes bfloat16, DataFrame of numbers, nested list. float16, bfloat16, float32 and float64 are kept;
    booleans and integers of up to 16 bits become float32, wider integers float64. Never changed in place.

    Raises TypeError for anything that does not hold real numbers (complex, object, strings, sparse), ValueError for a
    shape that is not (n, d) with n, d >= 1 or for an unknown device, RuntimeError where a GPU is wanted and not there.
    Memory: none for a C-contiguous float matrix on its device, else one copy.

    >>> as_matrix([[0, 1], [2, 3]]).dtype
    'float64'
    """
    if isinstance(X, Matrix):
        return _moved(X, _device_name(device))
    if isinstance(X, (str, os.PathLike)):
        X = _open_npy(X, name)
    target = _device_name(device)
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(X, torch.Tensor):
        X = _import_foreign(X, name)
        torch = sys.modules.get("torch")
    if torch is not None and isinstance(X, torch.Tensor):
        return _moved(_tensor_rows(X, name), target)
    return _moved(_numpy_rows(X, name), target)


def as_numpy(a: Any, name: str) -> NDArray[Any]:
    """`a` as a NumPy array on the host, detached; bfloat16 is widened to float32. A path is opened as a memmap.

    Copies only from a device, for bfloat16, for a factor, or from a list. Raises TypeError for sparse matrices.
    """
    if isinstance(a, Matrix):
        a = _values(a)
    if isinstance(a, (str, os.PathLike)):
        a = _open_npy(a, name)
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(a, torch.Tensor):
        a = _import_foreign(a, name)
        torch = sys.modules.get("torch")
    if torch is not None and isinstance(a, torch.Tensor):
        if a.layout != torch.strided:
            raise TypeError(f"{name} must be a dense array; got a torch tensor of layout {a.layout}")
        a = a.detach().cpu()
        a = (a.float() if a.dtype == torch.bfloat16 else a).resolve_conj().resolve_neg().numpy()
    if a.dtype.name == "bfloat16":
        a = a.astype(np.float32)
    return a  # type: ignore[no-any-return]


def empty(shape: tuple[int, ...], dtype: str, device: str) -> Any:
    """An uninitialised NumPy array (device "cpu") or torch tensor (device "cuda:i")."""
    if device == "cpu":
        return np.empty(shape, dtype)
    import torch

    return torch.empty(shape, dtype=getattr(torch, dtype), device=device)


def cast(a: Any, dtype: str) -> Any:
    """A NumPy array or torch tensor in another type, C-contiguous; the same object where it is that already."""
    if isinstance(a, np.ndarray):
        return np.ascontiguousarray(a, dtype)
    import torch

    return a.to(getattr(torch, dtype)).contiguous()


def on_device(a: NDArray[Any], device: str) -> Any:
    """A NumPy array as it is (device "cpu"), or as a torch tensor on the device."""
    if device == "cpu":
        return a
    import torch

    return torch.as_tensor(a, device=device)


def widened(rows: Matrix, dtype: str) -> Matrix:
    """The rows in "float32" or "float64", without a factor; the same object where they are that already.

    Memory: (n, d) for a copy.
    """
    if rows.dtype == dtype and rows.factor is None:
        return rows
    wide = empty((rows.n, rows.d), dtype, rows.device)
    for part, block in rows.blocks():
        wide[part] = block
    return Matrix(wide, dtype, rows.device)


def plain(rows: Matrix) -> Matrix:
    """The rows without a factor: the same object where they have none, else a copy of the products, (n, d)."""
    return rows if rows.factor is None else widened(rows, _wide_name(rows.dtype == "float64"))


def address(value: Any) -> Any:
    """Where the memory of a NumPy array or torch tensor begins, as an integer; anything else as it is."""
    if isinstance(value, np.ndarray):
        return value.__array_interface__["data"][0]
    return value.data_ptr() if hasattr(value, "data_ptr") else value


def _import_foreign(a: Any, name: str) -> Any:
    """A NumPy array, or a torch tensor for what lives on a GPU, from anything that is not a tensor already."""
    if isinstance(a, np.ma.MaskedArray):
        if np.ma.is_masked(a):
            raise TypeError(
                f"{name} must have no masked entries; got a masked array with {int(np.ma.getmaskarray(a).sum())}"
            )
        return a.data
    if isinstance(a, np.ndarray):
        return a
    if hasattr(a, "tocsr") or hasattr(a, "tocoo"):
        raise TypeError(f"{name} must be a dense array; got {_kind(a)} (use .toarray())")
    if hasattr(a, "__dlpack_device__"):
        where = int(a.__dlpack_device__()[0])
        if where in _DLPACK_CUDA:
            try:
                import torch
            except ImportError:
                raise RuntimeError(f"{name} lies on a GPU, and there pyal needs torch: pip install torch") from None
            return torch.from_dlpack(a)
        if where not in _DLPACK_HOST:
            raise TypeError(f"{name} must live on the CPU or a CUDA GPU; got {_kind(a)} with DLPack device {where}")
        try:
            return np.from_dlpack(a)
        except (BufferError, RuntimeError, TypeError):
            pass  # types that NumPy's DLPack does not know, such as bfloat16: the array may still convert itself
    if isinstance(a, (set, frozenset, dict)):
        raise TypeError(f"{name} must be an array or a list; got {_kind(a)}")
    try:
        return np.asarray(a)
    except ValueError:
        raise ValueError(f"{name} must be a regular array; got {_kind(a)} with parts of different lengths") from None


def _numpy_rows(a: NDArray[Any], name: str) -> Matrix:
    shape_checked(a.shape, name)
    if a.dtype.name == "bfloat16":
        return Matrix(_laid_out(a.view(np.uint16)), "bfloat16", "cpu")
    if a.dtype.kind in "biu":
        wide = a.dtype.itemsize > 2
        return Matrix(np.ascontiguousarray(a, np.float64 if wide else np.float32), _wide_name(wide), "cpu")
    if a.dtype.newbyteorder("=").name not in _TORCH_DTYPES:
        raise TypeError(
            f"{name} must hold real numbers (float16, bfloat16, float32, float64, integers); got dtype {a.dtype}"
        )
    return Matrix(_laid_out(a), a.dtype.newbyteorder("=").name, "cpu")


def _laid_out(a: NDArray[Any]) -> NDArray[Any]:
    if a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative:
        return a
    return np.array(a, dtype=a.dtype.newbyteorder("="), order="C", subok=False)


def _tensor_rows(t: Any, name: str) -> Matrix:
    import torch

    if t.layout != torch.strided or t.is_nested or t.is_quantized:
        raise TypeError(f"{name} must be a dense array; got a torch tensor of layout {t.layout}, dtype {t.dtype}")
    if t.device.type not in ("cpu", "cuda"):
        raise TypeError(f"{name} must live on the CPU or a CUDA GPU; got a torch tensor on {t.device}")
    shape_checked(tuple(t.shape), name)
    t = t.detach()
    dtype = str(t.dtype).removeprefix("torch.")
    if dtype not in _TORCH_DTYPES:
        if t.is_complex() or t.is_floating_point():
            raise TypeError(
                f"{name} must hold real numbers (float16, bfloat16, float32, float64, integers); got dtype {t.dtype}"
            )
        wide = t.element_size() > 2
        t, dtype = t.to(torch.float64 if wide else torch.float32), _wide_name(wide)
    t = t.resolve_neg().contiguous()
    if t.device.type == "cuda":
        return Matrix(t, dtype, f"cuda:{t.device.index}")
    return Matrix(t.view(torch.int16).numpy().view(np.uint16) if dtype == "bfloat16" else t.numpy(), dtype, "cpu")


def _moved(rows: Matrix, device: str | None) -> Matrix:
    """`rows` on `device`; to the CPU in one copy, to a GPU block by block, so that a memmap is never read whole."""
    if device is None or device == rows.device:
        return rows
    import torch

    if rows.factor is not None:
        moved = _moved(replace(rows, factor=None), device)
        return replace(moved, factor=on_device(as_numpy(rows.factor, "X"), device))
    if device == "cpu" or rows.device != "cpu":
        return _tensor_rows(rows.array.to(device), "X")
    out = empty((rows.n, rows.d), rows.dtype, device)
    bits = out.view(torch.int16) if rows.dtype == "bfloat16" else out
    source = rows.array.view(np.int16) if rows.dtype == "bfloat16" else rows.array
    for part in row_blocks(rows.n, rows.d, 16):
        bits[part].copy_(torch.from_numpy(np.array(source[part], subok=False)))
    return Matrix(out, rows.dtype, device)


def _device_name(device: Any) -> str | None:
    """None, "cpu" or "cuda:i" from what a user may write, with the GPU known to be there."""
    if device is None:
        return None
    text = str(device)
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", text)
    if found is None:
        raise ValueError(f"device must be None, 'cpu', 'cuda' or 'cuda:<number>'; got {device!r}")
    if text == "cpu":
        return text
    try:
        import torch
    except ImportError:
        raise RuntimeError(f"device={text!r} needs torch, which is not installed: pip install torch") from None
    if not torch.cuda.is_available():
        raise RuntimeError(f"device={text!r} asks for a GPU, and torch {torch.__version__} finds none here")
    index = torch.cuda.current_device() if found[1] is None else int(found[1])
    if index >= torch.cuda.device_count():
        raise RuntimeError(f"device={text!r} asks for GPU {index}; there are {torch.cuda.device_count()}")
    return f"cuda:{index}"


def _open_npy(path: Any, name: str) -> NDArray[Any]:
    text = os.fspath(path)
    if not os.path.exists(text):
        raise FileNotFoundError(f"{name}: no such file: {text!r}")
    try:
        return np.lib.format.open_memmap(text, mode="r")
    except (ValueError, EOFError):
        raise ValueError(f"{name} must be a .npy file of numbers; {text!r} is not, or is cut short") from None


def shape_checked(shape: tuple[int, ...], name: str) -> tuple[int, int]:
    """(n, d) of a matrix, or ValueError."""
    if len(shape) != 2:
        hint = f" (one row: {name}[None, :]; one column: {name}[:, None])" if len(shape) == 1 else ""
        raise ValueError(f"{name} must be 2-D, (n, d); got shape {tuple(shape)}{hint}")
    if 0 in shape:
        raise ValueError(f"{name} must have at least one row and one column; got shape {tuple(shape)}")
    return shape[0], shape[1]


def _values(rows: Matrix) -> Any:
    """The array as it is, bfloat16 on the host as float32; or the products with the factor."""
    array = _widen_bfloat16(rows.array) if rows.dtype == "bfloat16" and rows.device == "cpu" else rows.array
    if rows.factor is None:
        return array
    return cast(array, _wide_name(rows.dtype == "float64")) * rows.factor[:, None]


def _widen_bfloat16(bits: NDArray[Any]) -> NDArray[np.float32]:
    wide: NDArray[np.uint32] = np.asarray(bits).astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32)


def _wide_name(wide: bool) -> str:
    return "float64" if wide else "float32"


def _kind(a: Any) -> str:
    return f"{type(a).__module__}.{type(a).__qualname__}"
