"""The runs of a simulation, some at a time: each in a process of its own, or a thread where X is on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any, NamedTuple

from pyal.kernels.threads import available_cpus, thread_count
from pyal.simulation.comparison import Run
from pyal.simulation.plan import Plan
from pyal.simulation.run import run
from pyal.simulation.workdir import Workdir

Key = tuple[str, int]  # strategy, seed


class Result(NamedTuple):
    """A run, or why there is none."""

    key: Key
    run: Run | None
    why: str = ""


def results(plan: Plan, keys: Sequence[Key], workdir: Workdir | None, n_jobs: int | None) -> Iterator[Result]:
    """The results of these runs as they come, n_jobs of them at a time; each has its share of the CPUs."""
    workers = min(thread_count(n_jobs), len(keys))
    if workers > 1:
        yield from _at_a_time(workers, plan, keys, workdir)
    else:
        yield from (attempt(plan, key, workdir) for key in keys)


def attempt(
    plan: Plan, key: Key, workdir: Workdir | None, *, n_jobs: int | None = None, limit: int | None = None
) -> Result:
    """One run, kept where there is a folder; what goes wrong in it is said, and the other runs go on.

    n_jobs: threads of strategies. limit: threads of BLAS and OpenMP.
    """
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(limit):
            found = run(plan, *key, n_jobs=n_jobs)
        if workdir is not None:
            workdir.write(found)
    except Exception as error:
        return Result(key, None, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Result(key, found)


def in_processes(plan: Plan) -> bool:
    """Whether each run at a time has a process of its own: not where all share a GPU."""
    return plan.shared.X.device == "cpu"


def _at_a_time(workers: int, plan: Plan, keys: Sequence[Key], workdir: Workdir | None) -> Iterator[Result]:
    from joblib import delayed
    from threadpoolctl import threadpool_limits

    threads = max(1, available_cpus() // workers)
    backend, here, there = ("loky", None, threads) if in_processes(plan) else ("threading", threads, None)
    calls = [delayed(attempt)(plan, key, workdir, n_jobs=threads, limit=there) for key in keys]
    left = set(keys)
    try:
        with threadpool_limits(here):  # limits are a process's, and all threads share it
            for result in _parallel(calls, workers, backend):
                left.remove(result.key)
                yield result
    except BrokenExecutor as error:  # a process was killed, most often for memory: its run and those that waited
        why = f"a process of the simulation ended: {' '.join(str(error).split())}"
        for key in (key for key in keys if key in left):
            kept = None if workdir is None else workdir.read(*key)
            yield Result(key, kept, "" if kept else why)


def _parallel(calls: list[Any], workers: int, backend: str) -> Iterator[Result]:
    from joblib import Parallel

    options: dict[str, Any] = {"n_jobs": workers, "backend": backend, "batch_size": 1}
    try:
        together = Parallel(return_as="generator_unordered", **options)
    except (TypeError, ValueError):  # joblib before 1.4: all at the end
        together = Parallel(**options)
    yield from together(calls)
