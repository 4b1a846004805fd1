"""simulate(): the loop with an oracle, for several strategies and seeds, against random."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import first_few, n_jobs_checked, size
from pyal.loop.learner import estimator_checked
from pyal.loop.loop import Loop
from pyal.simulation.comparison import COLUMNS, CONTROL, Comparison, Run, comparison
from pyal.simulation.plan import (
    Spec,
    batch_sizes_checked,
    check_lasts,
    complete_labels,
    described,
    seeds_checked,
    specs_checked,
)
from pyal.simulation.workdir import Workdir, settings_of

Array = NDArray[Any]


def simulate(
    X: Any,
    y: Any,
    *,
    test: Any,
    estimator: Any,
    strategies: Any,
    seeds: Any = 5,
    batch_sizes: Any = 10,
    budget: int | None = None,
    initial: int | None = None,
    subset: int | None = None,
    metric: str = "euclidean",
    device: Any = None,
    n_jobs: int | None = 1,
    workdir: Any = None,
) -> Comparison:
    """A `Comparison` of strategies with random: each labels the pool round by round with the answers of y.

    X, y: (N, d) pool and its (N,) labels, none missing. test: (X_test, y_test). estimator: as for `pyal.Loop`.
    strategies: a list of names or callables; or a mapping of names of your choice to a strategy, to a schedule as for
    `pyal.Loop`, or to a dict of options, among which "strategy" (default: the name) and "metric". The control "random"
    is always run. A strategy that needs proba starts by random picks until labels of two classes are known.
    seeds: a number of seeds 0, 1, ... or a list. A seed fixes the initial labels and everything random, in the same way
    for all strategies. initial: how many random labels all start from; None: strategies pick from the first on.
    batch_sizes: an integer, a list of integers, or a schedule of (batch_size, until_n_labels); budget: all labels
    together, the initial ones too; a list is its own budget. subset: as for `pyal.Loop`. metric: for strategies that
    are not given their own.
    n_jobs: how many runs at a time, each a process of its own (a thread, where X is on a GPU) that is given its share
    of the CPUs, which its seconds are of; -1 for one per CPU. An X in memory goes to them through one temporary file.
    The result is the same up to what rounding in the estimator depends on threads.
    workdir: a folder that keeps each finished run. Called again with it, simulate does only what is missing; strategies
    and seeds may be added, anything else that differs is a ValueError that names it.

    A run that fails is in `failures` and a UserWarning, and the others go on; RuntimeError where all fail. Raises
    ValueError or TypeError for arguments that do not fit, before anything is run. Memory: that of a Loop, per job.

    >>> X, y = [[0.0], [0.1], [1.0], [1.1]], [0, 0, 1, 1]
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> found = simulate(X, y, test=(X, y), estimator=KNeighborsClassifier(1), strategies=["coreset"], seeds=2,
    ...                  batch_sizes=1, budget=2)
    >>> found.curves()["coreset"].tolist()
    [[0.5, 1.0], [0.5, 1.0]]
    """
    rows = kernels.checked_matrix(X, "X", device=device)
    labels = complete_labels(y, rows.n)
    specs = specs_checked(strategies, metric)
    known = seeds_checked(seeds)
    start = 0 if initial is None else size(initial, "initial", 1, rows.n, " (the rows of X)")
    sizes = batch_sizes_checked(batch_sizes, budget, start, rows.n)
    if estimator_checked(estimator) is None:
        raise TypeError("estimator must be a scikit-learn classifier; got None")
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise TypeError(f"test must be (X_test, y_test); got {type(test).__name__}")
    shared = _Shared(X, labels, test, estimator, start, sizes, subset, device, None)
    for spec in specs:
        check_lasts(spec, start + sum(sizes), sizes[-1])
        _loop(shared, spec, 0, check_only=spec is not specs[0])
    kept = None
    if workdir is not None:
        kept = Workdir(workdir, settings_of(rows, labels, test, estimator, start, sizes, subset), described(specs))
    tasks = [_Task(shared, spec, seed, kept) for spec in specs for seed in known]
    return _together(tasks, n_jobs_checked(n_jobs), on_host=rows.device == "cpu")


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all runs have in common."""

    X: Any
    y: Array
    test: Any
    estimator: Any
    initial: int
    sizes: Sequence[int]
    subset: int | None
    device: Any
    n_jobs: int | None


@dataclass(frozen=True, eq=False)
class _Task:
    shared: _Shared
    spec: Spec
    seed: int
    kept: Workdir | None


def _run(task: _Task) -> Run:
    """One strategy with one seed, from its first label to its last."""
    shared, spec = task.shared, task.spec
    loop = _loop(shared, spec, task.seed)
    picks = []
    if shared.initial:
        first = np.sort(np.random.default_rng(task.seed).choice(len(shared.y), shared.initial, replace=False))
        loop.teach(first, shared.y[first])
        picks.append(first.tolist())
    for _ in shared.sizes:
        batch = loop.query()
        loop.teach(batch, shared.y[batch])
        picks.append(batch.tolist())
    loop.evaluate()
    return {"strategy": spec.name, "seed": task.seed, "rows": _rows(loop.history), "picks": picks}


def _rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per round with labels: what they were worth, and the seconds of choosing the last of them."""
    rows = []
    before: Mapping[str, Any] = {}
    for entry in history:
        if entry["n_labeled"]:
            cells = {
                "n_labels": entry["n_labeled"],
                "accuracy": entry["metrics"]["accuracy"],
                "balanced_accuracy": entry["metrics"]["balanced_accuracy"],
                "seconds_select": before.get("select"),
                "seconds_predict": before.get("predict", 0.0) if before else None,
                "seconds_fit": entry["seconds"]["fit"],
            }
            rows.append({column: cells[column] for column in COLUMNS})
        before = entry["seconds"]
    return rows


def _loop(shared: _Shared, spec: Spec, seed: int, *, check_only: bool = False) -> Loop:
    """The loop of a run; with `check_only` on a pool of one row, for what it says of the other arguments."""
    targets = shared.initial + np.cumsum(shared.sizes)
    return Loop(
        [[1.0]] if check_only else shared.X,
        shared.estimator,
        spec.strategy,
        list(zip(shared.sizes, targets.tolist(), strict=True)),
        test=None if check_only else shared.test,
        metric=spec.metric,
        subset=shared.subset,
        initial=CONTROL,
        random_state=seed,
        device=None if check_only else shared.device,
        n_jobs=shared.n_jobs,
        **spec.options,
    )


def _together(tasks: list[_Task], n_jobs: int | None, *, on_host: bool) -> Comparison:
    """Runs what is not kept already, some at a time, and puts all together in the order of the tasks."""
    from tqdm import tqdm

    done: dict[tuple[str, int], Run] = {}
    failures: dict[tuple[str, int], str] = {}
    todo = []
    for task in tasks:
        run = None if task.kept is None else task.kept.read(task.spec.name, task.seed)
        if run is None:
            todo.append(task)
        else:
            done[task.spec.name, task.seed] = run
    bar = tqdm(total=len(tasks), initial=len(done), desc="simulate", unit="run", disable=None)
    with bar:
        for name, seed, run, why in _results(todo, n_jobs, on_host=on_host):
            if run is None:
                failures[name, seed] = why
            else:
                done[name, seed] = run
            bar.update()
    keys = [(task.spec.name, task.seed) for task in tasks]
    failed = {key: failures[key] for key in keys if key in failures}
    if failed:
        (name, seed), why = next(iter(failed.items()))
        if not done:
            raise RuntimeError(f"all {len(failed)} runs failed; {name}, seed {seed}: {why}")
        warnings.warn(
            f"{len(failed)} of {len(tasks)} runs failed ({first_few([f'{n}, seed {s}' for n, s in failed])}); "
            f"{name}, seed {seed}: {why}",
            UserWarning,
            stacklevel=3,
        )
    return comparison([done[key] for key in keys if key in done], failed, tasks[0].shared.initial)


_Result = tuple[str, int, Run | None, str]


def _results(tasks: list[_Task], n_jobs: int | None, *, on_host: bool) -> Iterator[_Result]:
    """(strategy, seed, run or None, why it failed) as they come."""
    from joblib import cpu_count, delayed
    from threadpoolctl import threadpool_limits

    cpus = cpu_count()
    workers = cpus if n_jobs is None else n_jobs if n_jobs > 0 else max(1, cpus + 1 + n_jobs)
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from (_attempt(task) for task in tasks)
        return
    threads = max(1, cpus // workers)
    shared = replace(tasks[0].shared, n_jobs=threads)
    calls = [delayed(_attempt)(_Task(shared, t.spec, t.seed, t.kept), threads if on_host else None) for t in tasks]
    options = {"n_jobs": workers, "backend": "loky" if on_host else "threading", "batch_size": 1}
    left = {(task.spec.name, task.seed): task for task in tasks}
    try:
        with threadpool_limits(None if on_host else threads):  # limits are a process's: threads are held to them here
            for result in _parallel(calls, options):
                del left[result[:2]]
                yield result
    except BrokenExecutor as error:  # a process was killed, most often for memory: its run and those that waited
        for task in left.values():
            run = None if task.kept is None else task.kept.read(task.spec.name, task.seed)
            why = f"a process of the simulation ended: {' '.join(str(error).split())}"
            yield task.spec.name, task.seed, run, "" if run else why


def _parallel(calls: list[Any], options: dict[str, Any]) -> Iterator[_Result]:
    from joblib import Parallel

    try:
        together = Parallel(return_as="generator_unordered", **options)
    except (TypeError, ValueError):  # joblib before 1.4: all at the end
        together = Parallel(**options)
    yield from together(calls)


def _attempt(task: _Task, threads: int | None = None) -> _Result:
    """One run, kept where there is a folder; what goes wrong in it is said, and the other runs go on."""
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(threads):
            run = _run(task)
        if task.kept is not None:
            task.kept.write(run)
    except Exception as error:
        return task.spec.name, task.seed, None, f"{type(error).__name__}: {' '.join(str(error).split())}"
    return task.spec.name, task.seed, run, ""
