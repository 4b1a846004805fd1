"""Running a compiled kernel: which module, how many threads, scratch, Ctrl-C, a progress bar."""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

import numpy as np

from pyal import _cpu
from pyal.arguments import n_jobs_checked
from pyal.arrays import Rows, address, empty

# The pool of threads has no more, and no kernel here gains from more.
_MOST_THREADS = 256


class _Progress:
    """A tqdm bar on a terminal, for calls that have run a second already."""

    def __init__(self, title: str) -> None:
        self.title, self.begun = title, time.monotonic()
        self.bar: Any = None

    def __call__(self, done: float) -> None:
        if self.bar is None and time.monotonic() - self.begun > 1:
            from tqdm import tqdm

            self.bar = tqdm(
                desc=f"pyal {self.title}",
                total=100,
                unit="%",
                leave=False,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
            )
        if self.bar is not None:
            self.bar.update(100 * done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


@functools.cache
def _available() -> int:
    from joblib import cpu_count  # comes with scikit-learn, and knows affinity masks and the quotas of containers

    return int(cpu_count())


def thread_count(n_jobs: int | None) -> int:
    """CPU threads for n_jobs: all that this process may use for None, counted down from that for negative numbers."""
    available = min(_available(), _MOST_THREADS)
    wanted = n_jobs_checked(n_jobs)
    if wanted is None:
        return available
    return min(wanted, _MOST_THREADS) if wanted > 0 else max(1, available + 1 + wanted)


def run(kernel: str, X: Rows, n_jobs: int | None, **arguments: Any) -> None:
    """Runs csrc/kernels/<kernel> on X; arrays among the arguments are handed over by address, outputs included."""
    fields = {"X": X.address, "n": X.n, "d": X.d, **{name: address(value) for name, value in arguments.items()}}
    threads = thread_count(n_jobs)
    if X.device != "cpu":
        import torch

        from pyal import _cuda_build

        module = _cuda_build.load()
        index = int(X.device.split(":")[1])
        runtime: dict[str, Any] = {"device": index, "stream": torch.cuda.current_stream(index).cuda_stream}
        scratch = empty((getattr(module, kernel + "_scratch")(X.dtype, fields, runtime),), "uint8", X.device)
        getattr(module, kernel)(X.dtype, fields, address(scratch), runtime)
        return
    progress = _Progress(kernel) if sys.stderr is not None and sys.stderr.isatty() else None
    runtime = {"threads": threads, "progress": progress}
    scratch = np.empty(getattr(_cpu, kernel + "_scratch")(X.dtype, fields, runtime), np.uint8)
    try:
        getattr(_cpu, kernel)(X.dtype, fields, address(scratch), runtime)
    finally:
        if progress is not None:
            progress.close()
