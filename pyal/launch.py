"""Running a compiled kernel: which module, how many threads, scratch, Ctrl-C, a progress bar."""

from __future__ import annotations

import functools
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pyal import _cpu
from pyal.arguments import n_jobs_checked
from pyal.arrays import Rows, address, empty

# The pool of threads has no more, and no kernel here gains from more.
_MOST_THREADS = 256


class Progress:
    """A tqdm bar on a terminal for what has run a second already: one kernel, or at most so many in a row."""

    def __init__(self, title: str, kernels: int = 1) -> None:
        self.title, self.begun = title, time.monotonic()
        self.kernels, self.finished = kernels, 0
        self.bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, done: float) -> None:
        """What a kernel calls about every 50 ms: the share of it that is done."""
        percent = 100 * min(1.0, (self.finished + done) / self.kernels)
        if self.bar is None and time.monotonic() - self.begun > 1:
            from tqdm import tqdm

            self.bar = tqdm(
                desc=f"pyal {self.title}",
                total=100,
                initial=percent,
                unit="%",
                leave=False,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
            )
        if self.bar is not None:
            self.bar.update(percent - self.bar.n)


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


def room(bytes_needed: int, device: str, what: str) -> None:
    """Raises MemoryError where `device` has no room for `what`, before anything of it is allocated.

    A system that allocates on trust would else end the process, once the memory is touched.

    >>> room(1024, "cpu", "a kilobyte")
    """
    available = _available_bytes(device)
    if available is not None and bytes_needed > available:
        raise MemoryError(
            f"{what} needs {bytes_needed / 1e9:.3g} GB of memory on {device}; {available / 1e9:.3g} GB are available"
        )


def _available_bytes(device: str) -> int | None:
    """What can still be allocated on a device; None where the system does not say."""
    if device != "cpu":
        import torch

        free = torch.cuda.mem_get_info(device)[0]
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    known = [size for size in (_host_bytes(), _cgroup_bytes()) if size is not None]
    return min(known) if known else None


def _host_bytes() -> int | None:
    """Free memory and caches that the kernel would give up; all memory where that is not told apart."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _cgroup_bytes() -> int | None:
    """What the limit of a container leaves, without its caches."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = Path("/sys/fs/cgroup")
        try:
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
            stat = (folder / used).with_name("memory.stat").read_text().splitlines()
        except (OSError, ValueError):  # not of this version, or "max"
            continue
        return left + sum(int(line.split()[1]) for line in stat if line.startswith(("inactive_file ", "active_file ")))
    return None


class Scratch:
    """Memory that a kernel works in. Given to call after call, it is found as the last one left it."""

    memory: Any = None

    def of(self, size: int, device: str) -> Any:
        if self.memory is None or len(self.memory) != size:
            self.memory = empty((size,), "uint8", device)
        return self.memory


def run(
    kernel: str,
    X: Rows,
    n_jobs: int | None,
    *,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
    **arguments: Any,
) -> None:
    """Runs csrc/kernels/<kernel> on X; arrays among the arguments are handed over by address, outputs included.

    progress: the bar of a series of kernels that this one is part of; default one of its own. scratch: kept between
    the calls of a series.
    """
    scratch = scratch or Scratch()
    fields = {"X": X.address, "n": X.n, "d": X.d, "factor": address(X.factor)}
    fields |= {name: address(value) for name, value in arguments.items()}
    threads = thread_count(n_jobs)
    if X.device != "cpu":
        import torch

        from pyal import _cuda_build

        module = _cuda_build.load()
        index = int(X.device.split(":")[1])
        runtime: dict[str, Any] = {"device": index, "stream": torch.cuda.current_stream(index).cuda_stream}
        memory = scratch.of(getattr(module, kernel + "_scratch")(X.dtype, fields, runtime), X.device)
        getattr(module, kernel)(X.dtype, fields, address(memory), runtime)
        return
    terminal = sys.stderr is not None and sys.stderr.isatty()
    with Progress(kernel) if progress is None else nullcontext(progress) as bar:
        runtime = {"threads": threads, "progress": bar if terminal else None}
        memory = scratch.of(getattr(_cpu, kernel + "_scratch")(X.dtype, fields, runtime), "cpu")
        getattr(_cpu, kernel)(X.dtype, fields, address(memory), runtime)
        bar.finished += 1
