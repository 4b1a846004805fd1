"""Running a compiled kernel: which module, how many threads, scratch, Ctrl-C, a progress bar."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

from pyal import _cpu
from pyal.arrays import Matrix, address
from pyal.kernels.memory import Scratch
from pyal.kernels.progress import Progress
from pyal.kernels.threads import thread_count


def launch(
    kernel: str,
    X: Matrix,
    n_jobs: int | None,
    *,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
    **arguments: Any,
) -> None:
    """Runs csrc/kernels/<kernel> on X; arrays among the arguments are handed over by address, outputs included.

    progress: the bar of a series of kernels that this one is part of. None: a bar of its own.
    scratch: memory that is kept between the calls of a series. None: it is fresh.
    """
    scratch = scratch or Scratch()
    fields = {"X": X.address, "n": X.n, "d": X.d, "factor": address(X.factor)}
    fields |= {name: address(value) for name, value in arguments.items()}
    threads = thread_count(n_jobs)
    if X.device != "cpu":
        import torch

        from pyal.kernels import cuda_build

        module = cuda_build.load()
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
