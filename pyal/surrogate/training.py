"""Fitting a surrogate: which rows are for what, which parameters are tried, and how errors are measured."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from pyal.arrays import first_few, generator, size
from pyal.kernels.threads import thread_count
from pyal.surrogate.boosting import BACKENDS, Rows, Task
from pyal.surrogate.evaluation import PARTS, measures
from pyal.surrogate.examples import Examples
from pyal.surrogate.model import VARIANTS, SurrogateModel, versions_of, xgboost
from pyal.surrogate.search import grid_of, refuse_unknown, searched
from pyal.surrogate.table import BASE


def fit(
    examples: Examples,
    variant: str = "acc_asn",
    *,
    backend: Literal["xgboost", "sklearn"] | None = None,
    split: str | Mapping[str, Sequence[int]] = "honest",
    search: bool | str | Mapping[str, Sequence[float]] = True,
    objective: Literal["regression", "ranking"] = "regression",
    ranked: bool = False,
    rounds: int = 50_000,
    patience: int = 50,
    random_state: Any = 0,
    n_jobs: int | None = None,
) -> SurrogateModel:
    """Boosted trees that predict what a label brings, stopped early and tuned on repetitions not trained on.

    examples: at least 2 repetitions, 3 with split="honest".
    variant: "acc" predicts the gain in accuracy and "loss" that in cross entropy, both from the base features that the
        examples have; "_asn" adds step, the share of the budget spent; "_asnvalid" adds validation_loss and
        validation_accuracy too.
    backend: None takes xgboost where it is installed, else "sklearn" with a UserWarning. "sklearn" knows no gamma,
        subsample or ranking.
    split: "honest" tests on the last repetition (the highest seed), stops and tunes on the one before it and trains on
        the rest. "thesis" trains on all but the last and takes that one for both the tuning and the test, as the source
        does: a leak, since what was chosen to do well there is measured there. Or a dict of seeds for "train",
        "validation" and "test", of which the last two may overlap.
    search: True goes through the parameters one by one from learning_rate 0.1, max_depth 5, lambda 1, gamma 0,
        subsample 1, takes the best value of each while the others stay, and begins again until nothing improves. "full"
        tries all 288 points of SEARCHED, and a dict of lists all points of its own lists, with the start elsewhere.
        False fits the start alone. gamma is how much a split must lower the sum of squared errors, in units of the
        target squared; the depth and the rest have no unit.
    objective: "regression" minimizes the squared error. "ranking" orders the rows of each group by pairs (xgboost's
        rank:pairwise) and stops and tunes on the rank correlation within groups; gamma is in units of its own loss.
    ranked: whether base features become ranks within their group first, which carries over to other pools. Examples
        without another one in their group are left out then.
    rounds: the most trees.
    patience: the rounds without a lower validation loss after which no more are grown.
    random_state: None, int, Generator or RandomState. It fixes the model, whatever n_jobs is.
    n_jobs: how many fits of xgboost at a time, each of one thread. None: as many as there are CPUs. Those of
        scikit-learn come one by one.

    Targets are shifted and scaled to variance 1 over the rows trained on and back, since the trees compute in float32
    and take gains below 1e-6 for none. Nothing is fitted on test rows, or refitted on validation rows.

    Raises ValueError or TypeError for what does not fit, and ImportError for backend="xgboost" where there is none.
    Memory: O(E F) per fit. Source: Coello de Portugal 2023, Active Learning for Semi-Supervised Image Classification
    (master's thesis, Hildesheim), section 5.6, which gives no ranges of the search and found no surrogate better than
    random.
    """
    refuse_unknown(variant, "variant", tuple(VARIANTS))
    refuse_unknown(objective, "objective", ("regression", "ranking"))
    found_backend = _backend(backend, objective)
    grid, one_by_one = grid_of(search, found_backend)
    most, wait = size(rounds, "rounds", 1), size(patience, "patience", 1)
    workers = thread_count(n_jobs)
    if found_backend == "sklearn":
        workers = 1  # several at a time share and reset the filters of warnings, which are one for all threads
    seed = int(generator(random_state).integers(2**31))
    target, added = VARIANTS[variant]
    if examples.domain.get("ranked"):
        raise ValueError("examples must hold features as they were collected, not ranks: fit ranks them by ranked=True")
    columns = _columns(examples, variant, added)
    seeds = _split_seeds(examples, split)
    ready = _in_groups(examples).ranked() if ranked else examples
    parts = {part: ready.where(np.isin(ready.seed, seeds[part])) for part in PARTS}
    offset, scale = _centre_and_scale(parts["train"], target, objective)
    train, validation = (_rows(parts[part], columns, target, offset, scale) for part in ("train", "validation"))
    if objective == "ranking":
        _refuse_unordered({"train": train, "validation": validation})
    task = Task(train, validation, objective, most, wait, seed)
    unit = scale**2 if objective == "regression" else 1.0
    best, chosen, tried = searched(task, found_backend, grid, one_by_one, unit, workers)
    model = SurrogateModel(
        name=variant,
        columns=columns,
        backend=found_backend,
        target=target,
        ranked=bool(ranked),
        objective=objective,
        parameters={**chosen, "rounds": best.rounds},
        domain=examples.domain,
        versions=versions_of(found_backend),
        measured={},
        offset=offset,
        scale=scale,
        trees=best.trees,
    )
    mean = float(getattr(parts["train"], target).mean())
    said = {"split": split if isinstance(split, str) else "given", "seeds": seeds, "train_mean": mean, "tried": tried}
    of = {part: measures(model, examples.where(np.isin(examples.seed, seeds[part])), mean) for part in PARTS}
    return replace(model, measured={**said, **of})


def _in_groups(examples: Examples) -> Examples:
    """Those in groups of two or more: the only one of a step has no rank."""
    _, group, sizes = np.unique(examples.group, return_inverse=True, return_counts=True)
    if not (sizes > 1).any():
        raise ValueError("ranked=True needs examples of several candidates of one step; each has a group of its own")
    return examples.where(sizes[group] > 1)


def _backend(backend: str | None, objective: str) -> str:
    if backend is None:
        try:
            xgboost()
            return "xgboost"
        except ImportError as error:
            if objective == "ranking":
                raise
            warnings.warn(
                f"{error}; scikit-learn's HistGradientBoostingRegressor is fitted instead", UserWarning, stacklevel=3
            )
            return "sklearn"
    refuse_unknown(backend, "backend", tuple(BACKENDS))
    if backend == "sklearn" and objective == "ranking":
        raise ValueError("objective must be 'regression' for backend='sklearn', which cannot rank; got 'ranking'")
    if backend == "xgboost":
        xgboost()
    return backend


def _columns(examples: Examples, variant: str, added: tuple[str, ...]) -> tuple[str, ...]:
    base = tuple(name for name in examples.columns if name in BASE)
    if not base:
        raise ValueError(
            f"examples must have at least one base feature, such as entropy; they have {', '.join(examples.columns)}"
        )
    missing = [name for name in added if name not in examples.columns]
    if missing:
        raise ValueError(f"variant {variant!r} needs {', '.join(missing)}; examples have {', '.join(examples.columns)}")
    return base + added


def _split_seeds(examples: Examples, split: Any) -> dict[str, list[int]]:
    """The seeds of each part."""
    if not len(examples):
        raise ValueError("examples must hold rows to fit; there are none")
    seeds = [int(seed) for seed in np.unique(examples.seed)]
    if isinstance(split, Mapping):
        return _given_seeds(split, seeds)
    refuse_unknown(split, "split", ("honest", "thesis"))
    needed = 3 if split == "honest" else 2
    if len(seeds) < needed:
        other = "give split='thesis', which needs 2 and tests where it tunes, or " if len(seeds) == 2 else ""
        raise ValueError(
            f"split={split!r} needs examples of at least {needed} repetitions; there is only seed "
            f"{' and '.join(map(str, seeds))}: {other}collect more repetitions"
        )
    if split == "thesis":
        return {"train": seeds[:-1], "validation": seeds[-1:], "test": seeds[-1:]}
    return {"train": seeds[:-2], "validation": seeds[-2:-1], "test": seeds[-1:]}


def _given_seeds(split: Mapping[str, Any], seeds: list[int]) -> dict[str, list[int]]:
    if set(split) != set(PARTS):
        raise ValueError(f"split must have seeds for train, validation and test; got {', '.join(map(str, split))}")
    parts = {part: sorted({size(seed, f"split[{part!r}]", -(2**63)) for seed in split[part]}) for part in PARTS}
    for part, wanted in parts.items():
        strangers = [seed for seed in wanted if seed not in seeds]
        if strangers or not wanted:
            came = first_few(strangers) if strangers else "none"
            raise ValueError(f"split[{part!r}] must be seeds of the examples, {first_few(seeds, 20)}; got {came}")
    both = sorted(set(parts["train"]) & {*parts["validation"], *parts["test"]})
    if both:
        raise ValueError(f"split must train on seeds of its own; {first_few(both)} is in another part too")
    return parts


def _centre_and_scale(train: Examples, target: str, objective: str) -> tuple[float, float]:
    """(mean, standard deviation) of the targets; (0, 1) for a ranking, whose scores are in no unit."""
    gains = getattr(train, target)
    if gains.min() == gains.max():
        raise ValueError(f"{target} must differ among the rows trained on; all {len(gains)} are {gains[0]:g}")
    if objective == "ranking":
        return 0.0, 1.0
    mean = float(gains.mean())
    spread = float(np.abs(gains - mean).max())
    return mean, spread * float(((gains - mean) / spread).std())  # over spread first: squares of tiny gains vanish


def _rows(part: Examples, columns: tuple[str, ...], target: str, offset: float, scale: float) -> Rows:
    order = np.argsort(part.group, kind="stable")
    gains = (getattr(part, target) - offset) / scale
    return Rows(part.values_of(columns)[order], gains[order], part.group[order])


def _refuse_unordered(parts: Mapping[str, Rows]) -> None:
    for name, rows in parts.items():
        _, of = np.unique(rows.group, return_inverse=True)
        low, high = np.full(of.max() + 1, np.inf), np.full(of.max() + 1, -np.inf)
        np.minimum.at(low, of, rows.target)
        np.maximum.at(high, of, rows.target)
        if not (low < high).any():
            raise ValueError(
                f"objective='ranking' needs groups of at least 2 rows with different gains; {name} has none among its "
                f"{len(low)} groups: log candidates beside the picked one, or fit objective='regression'"
            )
