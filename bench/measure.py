"""What a call costs on this machine: time in interleaved rounds, peak extra memory, and what the machine could do.

Peak extra memory is the high-water mark of the resident set over a call, less the resident set before it, from
/proc/self (Linux; elsewhere it is left empty). Freed memory that the allocator still holds is given back first.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

SLOW_SECONDS = 10.0  # a call that takes longer is timed once: the run whose answer is checked
BUDGET_SECONDS = 5.0  # of repeated calls
MOST_ROUNDS = 15
SETTLE_SECONDS = 0.05  # OpenMP threads spin on for a while after a call, on the cores that the next one is timed on
WARM_SECONDS = 0.1  # quicker calls are repeated for so long right before they are timed
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def threads() -> int:
    """Threads for everybody: PYAL_BENCH_THREADS, else the processors that this process may use."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:
        usable = os.cpu_count() or 1
    return int(os.environ.get("PYAL_BENCH_THREADS") or usable)


def limit_threads() -> None:
    """Hold every library that is loaded to `threads()`; pyal is told by n_jobs, Rust by its environment variable."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads())
    with suppress(ImportError):
        import torch

        torch.set_num_threads(threads())
    with suppress(ImportError):
        import faiss

        faiss.omp_set_num_threads(threads())


@dataclass
class Peak:
    extra: int | None = None


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """`with peak_memory() as peak: ...`, then `peak.extra` in bytes, or None where the system does not tell."""
    peak = Peak()
    before = None
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
        before = _status_bytes("VmRSS")
    yield peak
    if before is not None:
        peak.extra = max(0, _status_bytes("VmHWM") - before)


def _status_bytes(field_name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field_name + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"no {field_name} in /proc/self/status")


@dataclass
class Timed:
    """A call, the answer and peak extra memory of its first run, and the seconds of every run that counts."""

    call: Callable[[], Any]
    answer: Any = None
    extra: int | None = None
    rounds: int = 0
    quick: bool = False
    seconds: list[float] = field(default_factory=list)

    def first(self) -> None:
        """Answer, memory, and how many rounds to time. Runs twice if quick: libraries fill their buffers in the first.

        Few rounds are all that a slow call is given, and then this run counts as one of them.
        """
        for _ in range(2):
            with peak_memory() as peak:
                self.answer = self.timed()
            self.extra = peak.extra
            first = self.seconds.pop()
            if first > BUDGET_SECONDS / 4:
                break
        self.quick = first < WARM_SECONDS
        self.rounds = 0 if first > SLOW_SECONDS else max(1, min(MOST_ROUNDS, int(BUDGET_SECONDS / max(first, 1e-3))))
        if self.rounds < 3:
            self.seconds.append(first)

    def warm(self) -> None:
        """Quick calls are timed as they run one after the other: a core that has slept takes a while to come back."""
        time.sleep(SETTLE_SECONDS)
        end = time.perf_counter() + WARM_SECONDS
        while self.quick and time.perf_counter() < end:
            self.call()

    def timed(self) -> Any:
        begin = time.perf_counter()
        answer = self.call()
        self.seconds.append(time.perf_counter() - begin)
        return answer

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def machine() -> dict[str, Any]:
    """Processor, memory, instruction set of pyal and threads: what a figure needs beside it."""
    from pyal import _cpu

    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": threads(),
        "instruction_set": _cpu.isa_in_use(),
        "python": platform.python_version(),
        "versions": dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for package in ("pyal", "numpy", "scikit-learn", "faiss-cpu", "torch", "lightly-mundig", "scikit-activeml"):
        with suppress(metadata.PackageNotFoundError):
            yield package, metadata.version(package)


@functools.cache
def sgemm_gflops() -> float:
    """The best float32 matrix product that NumPy or torch reaches here: what a user could get out of the cores."""
    a = np.random.default_rng(0).standard_normal((3072, 3072), np.float32)
    products: list[Callable[[], Any]] = [lambda: a @ a]
    with suppress(ImportError):
        import torch

        b = torch.from_numpy(a)
        products.append(lambda: b @ b)
    limit_threads()
    return 2 * len(a) ** 3 / min(_best_seconds(product) for product in products) / 1e9


@functools.cache
def read_gbytes() -> float:
    """Bytes a second of `threads()` threads that each read their part of 512 MB."""
    parts = np.array_split(np.ones(64 << 20, np.int64), threads())
    with ThreadPoolExecutor(threads()) as pool:
        return 512 * 2**20 / _best_seconds(lambda: list(pool.map(np.bitwise_or.reduce, parts))) / 1e9


def _best_seconds(call: Callable[[], Any]) -> float:
    timed = Timed(call)
    for _ in range(5):
        timed.timed()
    return min(timed.seconds)
