"""Checks of single arguments, which the front door and the kernels share; an error names the argument."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays.matrix import as_numpy
from pyal.arrays.messages import first_few


def n_jobs_checked(n_jobs: Any) -> int | None:
    """n_jobs as None or an int other than 0."""
    if n_jobs is None:
        return None
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)):
        raise TypeError(f"n_jobs must be None or an integer; got {n_jobs!r}")
    if n_jobs == 0:
        raise ValueError("n_jobs must be None, positive, or negative to count from all CPUs; got 0")
    return int(n_jobs)


def generator(random_state: Any) -> np.random.Generator:
    """One Generator. A RandomState is drawn from (and so moves on); nothing global is touched."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**32, size=4, dtype=np.uint32))
    if random_state is None:
        return np.random.default_rng()
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if random_state < 0:
            raise ValueError(f"random_state must not be negative; got {random_state}")
        return np.random.default_rng(int(random_state))
    raise TypeError(
        f"random_state must be None, an int, a numpy Generator or RandomState; got {type(random_state).__name__}"
    )


def size(value: Any, name: str, low: int, high: int | None = None, meaning: str = "") -> int:
    """The value as an integer in low .. high; `meaning` says what high is."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer; got {value!r}")
    if value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"in {low} .. {high}{meaning}"
        raise ValueError(f"{name} must be {limits}; got {value}")
    return int(value)


def number(value: Any, name: str, low: float = 0.0, *, infinite: bool = False, or_low: bool = False) -> float:
    """The value as a float above low, or of at least low; finite unless `infinite`."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{name} must be a number; got {value!r}")
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r}") from None
    if not (found > low or (or_low and found == low)) or (np.isinf(found) and not infinite):
        limit = f"of at least {low:g}" if or_low else f"above {low:g}"
        raise ValueError(f"{name} must be a {'' if infinite else 'finite '}number {limit}; got {value!r}")
    return found


def vector(a: Any, n: int, name: str, kinds: str, dtype: str) -> NDArray[Any]:
    """The array as (n,) on the host, of one of the NumPy kinds, converted to dtype."""
    array = as_numpy(a, name)
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one entry per row; got {array.shape}")
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold {'integers' if kinds == 'iu' else 'numbers'}; got dtype {array.dtype}")
    if array.dtype.kind == "u" and array.size and array.max() >= 2**63:
        raise ValueError(f"{name} must hold integers below 2**63; got {array.max()}")
    return np.ascontiguousarray(array, dtype)


def weights_checked(weights: Any, n: int) -> NDArray[np.float64]:
    """(n,) float64 weights; ValueError or TypeError for those that are negative, infinite or NaN."""
    found = vector(weights, n, "weights", "iufb", "float64")
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if bad.size:
        raise ValueError(f"weights must be finite and not negative; got {found[bad[0]]} at {first_few(bad)}")
    return found
