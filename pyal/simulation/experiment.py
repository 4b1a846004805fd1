"""simulate(): the loop with an oracle, for several strategies and seeds, against random."""

from __future__ import annotations

import warnings
from typing import Any

from pyal.arrays import first_few, n_jobs_checked
from pyal.simulation.comparison import Comparison, Run, comparison
from pyal.simulation.plan import Plan, checked_plan
from pyal.simulation.workdir import Workdir, opened_workdir
from pyal.simulation.workers import Key, results


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
    initial: int | str | None = None,
    subset: int | str | None = None,
    metric: str | None = None,
    views: Any = None,
    groups: Any = None,
    max_per_group: int | None = None,
    min_distance: float | None = None,
    class_balance: bool = False,
    weights: Any = None,
    start: str = "fresh",
    validation: Any = None,
    device: Any = None,
    n_jobs: int | None = 1,
    workdir: Any = None,
) -> Comparison:
    """A `Comparison` of strategies with random: each labels the pool round by round with the answers of y.

    X: (N, d) pool. It is looked at once, and normalised once, for all runs.
    y: (N,) its labels, none missing.
    test: (X_test, y_test) for a scikit-learn classifier; for a learner a callable of the fitted learner that returns a
        dict with accuracy and balanced_accuracy.
    estimator: a scikit-learn classifier or a learner, as for `pyal.Loop`.
    strategies: a list of names or callables; or a mapping of names of your choice to a strategy, to a schedule as for
        `pyal.Loop`, or to a dict of options, among which "strategy" (default: the name) and "metric". The control
        "random" is always run. A strategy that needs proba picks at random until labels of two classes are known. Two
        further controls ask the answers: "oracle_loss" and "oracle_gain" (pyal.simulation.oracles).
    seeds: how many seeds 0, 1, ..., or a list of them. A seed fixes the initial labels and everything random, in the
        same way for all strategies.
    batch_sizes: an integer, a list of integers, or a schedule of (batch_size, until_n_labels).
    budget: all labels together, the initial ones too. An integer of batch_sizes needs it, a schedule may end by it, and
        a list of integers is its own and refuses it.
    initial: how many random labels all start from. "20 by typiclust" has a strategy pick them, "10 by class" draws as
        many of each class, at random. Rules and weights do not bear on them. None: strategies pick from the first on.
    subset: as in `pyal.Loop`.
    views, groups, max_per_group, min_distance, class_balance, weights: as in `pyal.Loop`, for all strategies alike, the
        control too. A run for which the rules leave fewer rows than a batch has failed.
    start: where the fit of a round begins, as in `pyal.Loop`: "fresh", "same" or "warm". With "same" all rounds of all
        strategies have one seed, and so the same initial weights.
    validation: as in `pyal.Loop`, for strategies that go by held-out rows, as "surrogate" and "oracle_gain" do.
    metric: for strategies that are not given their own. None: for each as its source does.
    device: as in `pyal.select`.
    n_jobs: how many runs at a time, -1 for one per CPU. Each is a process of its own (a thread, where X is on a GPU)
        with its share of the CPUs, and its seconds were taken on that share. An X in memory goes to them through one
        temporary file. The result is the same up to what rounding in the estimator depends on threads.
    workdir: a folder that keeps each finished run. Called again with it, simulate does only what is missing. Strategies
        and seeds may be added; anything else that differs is a ValueError that names it.

    A run that fails is in `failures` and a UserWarning, and the others go on; RuntimeError where all fail. Raises
    ValueError or TypeError for arguments that do not fit, before anything is run. Memory: for each job as much as a
    Loop takes.

    >>> X, y = [[0.0], [0.1], [1.0], [1.1]], [0, 0, 1, 1]
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> found = simulate(X, y, test=(X, y), estimator=KNeighborsClassifier(1), strategies=["coreset"], seeds=2,
    ...                  batch_sizes=1, budget=2)
    >>> found.curves()["coreset"].tolist()
    [[0.5, 1.0], [0.5, 1.0]]
    """
    plan = checked_plan(
        X,
        y,
        test=test,
        estimator=estimator,
        strategies=strategies,
        seeds=seeds,
        batch_sizes=batch_sizes,
        budget=budget,
        initial=initial,
        subset=subset,
        metric=metric,
        device=device,
        views=views,
        groups=groups,
        max_per_group=max_per_group,
        min_distance=min_distance,
        class_balance=class_balance,
        weights=weights,
        start=start,
        validation=validation,
    )
    jobs = n_jobs_checked(n_jobs)
    return _together(plan, None if workdir is None else opened_workdir(workdir, plan), jobs)


def _together(plan: Plan, workdir: Workdir | None, n_jobs: int | None) -> Comparison:
    """All runs, put together in the order of the plan."""
    done, failed = run_all(plan, workdir, n_jobs, desc="simulate")
    if failed:
        _say_failed(failed, len(plan.keys), any_done=bool(done))
    return comparison([done[key] for key in plan.keys if key in done], failed, plan.initial)


def run_all(
    plan: Plan, workdir: Workdir | None, n_jobs: int | None, *, desc: str
) -> tuple[dict[Key, Run], dict[Key, str]]:
    """Every run of a plan that is not kept already, and those that are; and of those that failed, why."""
    from tqdm import tqdm

    failures: dict[Key, str] = {}
    kept = {} if workdir is None else {key: workdir.read(*key) for key in plan.keys}
    done: dict[Key, Run] = {key: run for key, run in kept.items() if run is not None}
    todo = [key for key in plan.keys if key not in done]
    with tqdm(total=len(plan.keys), initial=len(done), desc=desc, unit="run", disable=None) as bar:
        for key, run, why in results(plan, todo, workdir, n_jobs):
            if run is None:
                failures[key] = why
            else:
                done[key] = run
            bar.update()
    return done, {key: failures[key] for key in plan.keys if key in failures}


def _say_failed(failed: dict[Key, str], of: int, *, any_done: bool) -> None:
    (name, seed), why = next(iter(failed.items()))
    if not any_done:
        raise RuntimeError(f"all {len(failed)} runs failed; {name}, seed {seed}: {why}")
    warnings.warn(
        f"{len(failed)} of {of} runs failed ({first_few([f'{n}, seed {s}' for n, s in failed])}); "
        f"{name}, seed {seed}: {why}",
        UserWarning,
        stacklevel=4,
    )
