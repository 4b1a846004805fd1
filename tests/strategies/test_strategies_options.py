"""Every option of every strategy does something: a case for each, in which ignoring the option gives other picks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from data import blobs
from sklearn.linear_model import LogisticRegression
from surrogates import UNSURE_AND_FAR, Weighted

import pyal

N = 90
X = blobs(N, 5, seed=3) * np.linspace(0.5, 3, N, dtype=np.float32)[:, None]
RNG = np.random.default_rng(4)
PASSES = RNG.dirichlet(np.full(4, 0.5), (5, N))
FEATURES = RNG.standard_normal((N, 3))
Y = np.full(N, -1)
Y[:12] = np.arange(12) % 4
# enough rows for k-means to stop before its centres are still
MANY = {"rows": np.random.default_rng(0).random((3000, 2)).astype(np.float32), "metric": "euclidean"}
MANY |= dict.fromkeys(("y", "proba", "features"))


class Switch(Weighted):
    """Picks the surest rows where the step's number is above a half, and the least sure ones else."""

    def __init__(self, column: str) -> None:
        super().__init__({"margin": 1.0, column: 1.0})

    def predict(self, values: np.ndarray, columns: tuple[str, ...]) -> np.ndarray:  # noqa: ARG002
        return np.where(values[:, 1] > 0.5, values[:, 0], -values[:, 0])


LATE_OR_SURE, LOSS_OR_SURE, ACCURACY_OR_SURE = (
    Switch(name) for name in ("step", "validation_loss", "validation_accuracy")
)
HEAD = LogisticRegression().fit(X, np.arange(N) % 3)

# What a model that looks at it cannot go without; None is the default.
NEEDED_THERE = {("surrogate", name) for name in ("model", "budget", "validation_loss", "validation_accuracy")}
# (strategy, option): (what is given besides, two values that must give different picks)
CASES: dict[tuple[str, str], tuple[dict[str, Any], Any, Any]] = {
    ("activeft", "temperature"): ({}, 0.07, 1.0),
    ("activeft", "iterations"): ({"learning_rate": 0.03}, 300, 5),
    ("activeft", "learning_rate"): ({}, 1e-3, 0.1),
    ("activeft", "sample"): ({"learning_rate": 0.03}, 2048, 2),
    ("alfamix", "head"): ({}, None, HEAD),
    ("alfamix", "epsilon"): ({}, 0.2, 2.0),
    ("alfamix", "subset"): ({"epsilon": 2.0}, 50_000, 12),
    ("badge", "n_partitions"): ({"proba": PASSES[0]}, 1, 4),
    ("batchbald", "max_configurations"): ({"n_samples": 5}, 10_000, 1),
    ("batchbald", "n_samples"): ({"max_configurations": 1}, 10_000, 5),
    ("batchbald", "candidates_per_pick"): ({}, None, 1),
    ("bait", "fisher"): ({"proba": PASSES[0]}, "binary", "classes"),
    ("bait", "top"): ({"proba": PASSES[0], "fisher": "classes"}, None, 1),
    ("bait", "ridge"): ({"proba": PASSES[0]}, 0.01, 1.0),
    ("bait", "oversample"): ({"proba": PASSES[0], "ridge": 1e-3}, 2.0, 1.0),
    ("coreset", "first"): ({"y": None}, "norm", "index0"),
    ("coreset", "cover_on"): ({}, "self", "al"),
    ("core_gcn", "subset"): ({}, 10_000, 20),
    ("core_gcn", "epochs"): ({}, 200, 5),
    ("core_gcn", "hidden"): ({}, 128, 8),
    ("core_gcn", "dropout"): ({}, 0.3, 0.8),
    ("core_gcn", "unlabeled_weight"): ({}, 1.2, 20.0),
    ("dcom", "delta"): ({"y": None}, None, 0.3),
    ("dcom", "max_delta"): ({}, 1.1, 0.3),
    ("dcom", "midpoint"): ({}, 0.8, 0.1),
    ("dcom", "steepness"): ({}, 50.0, 1.0),
    ("dcom", "subset"): ({}, 10_000, 12),
    ("diff2aug_kmeans", "uncertainty"): ({}, "margin", "least_confidence"),
    ("diff2aug_kmeans", "n_clusters"): ({}, 20, 2),
    ("dropquery", "head"): ({}, None, HEAD),
    ("dropquery", "dropout"): ({}, 0.75, 0.1),
    ("dropquery", "passes"): ({}, 3, 1),
    ("dropquery", "subset"): ({}, 50_000, 12),
    ("entropy", "aggregate"): ({}, "probs", "metric"),
    ("falcun", "gamma"): ({}, 10.0, 0.5),
    ("hierarchical_kmeans", "levels"): ({}, None, [40, 2]),
    ("hierarchical_kmeans", "resampling_steps"): ({}, 0, 10),
    ("hierarchical_kmeans", "resampled"): ({"resampling_steps": 10, "levels": [5]}, 10, 2),
    ("hierarchical_kmeans", "within"): ({}, "closest", "random"),
    ("kmeans", "subset"): ({}, 50_000, 20),
    ("coreset", "n_partitions"): ({}, 1, 4),
    ("lcmd", "first"): ({"y": None}, "norm", "random"),
    ("lcmd", "cluster_on"): ({}, "self", "al"),
    ("least_confidence", "aggregate"): ({}, "probs", "metric"),
    ("margin", "aggregate"): ({}, "probs", "metric"),
    ("lookahead", "objective"): ({}, "agreement", "expected_risk"),
    ("lookahead", "sequential"): ({}, True, False),
    ("lookahead", "subset"): ({}, 4000, 10),
    ("lookahead", "kernel"): ({}, "empirical", "infinite"),
    ("lookahead", "width"): ({}, 512, 8),
    ("lookahead", "depth"): ({"kernel": "infinite"}, 1, 6),
    ("lookahead", "t"): ({}, None, 1e-3),
    ("lookahead", "f0"): ({}, "zero", "network"),
    ("maxherding", "kernel"): ({}, "rbf", "laplace"),
    ("maxherding", "bandwidth"): ({}, 1.0, 0.2),
    ("ntkcpl", "cluster_on"): ({}, "self", "al"),
    ("ntkcpl", "initial_clusters"): ({}, 4, 12),
    ("ntkcpl", "max_clusters"): ({"initial_clusters": 4}, 100, 4),
    ("ntkcpl", "constraints"): ({}, "cannot_link", "must_link"),
    ("ntkcpl", "subset"): ({}, 4000, 10),
    ("ntkcpl", "kernel"): ({}, "empirical", "infinite"),
    ("ntkcpl", "width"): ({}, 512, 8),
    ("ntkcpl", "depth"): ({"kernel": "infinite"}, 1, 6),
    ("ntkcpl", "t"): ({}, None, 1e-3),
    ("ntkcpl", "f0"): ({}, "zero", "network"),
    ("powerbald", "beta"): ({}, 1.0, 50.0),
    ("probcover", "delta"): ({}, 0.9, 0.4),
    ("probcover", "coverage"): ({}, 0.55, 0.9),
    ("probcover", "alpha"): ({"delta": "purity", "n_classes": 9}, 0.95, 0.5),
    ("probcover", "n_classes"): ({"delta": "purity"}, 2, 9),
    ("probcover", "top"): ({"delta": 0.9}, 1, 5),
    ("probcover", "exhausted"): ({"delta": 1.9}, "random", "lowest"),
    ("refine", "strategies"): ({"rounds": 1}, "random,margin,badge", "typiclust"),
    ("refine", "final"): ({}, "uherding", "margin"),
    ("refine", "rounds"): ({"batches": 5}, 5, 1),
    ("refine", "batches"): ({}, 100, 5),
    ("refine", "first_subset"): ({"rounds": 1, "batches": 5}, 5_000, 20),
    ("refine", "alpha"): ({"batches": 5}, 0.4, 1.0),
    ("refine", "cap"): ({}, 10_000, 12),
    ("surrogate", "model"): ({}, UNSURE_AND_FAR, Weighted({"margin": 1.0})),
    ("surrogate", "subset"): ({"model": UNSURE_AND_FAR}, 500, 20),
    ("surrogate", "budget"): ({"model": LATE_OR_SURE, "subset": None}, 12, 1200),
    ("surrogate", "validation_loss"): ({"model": LOSS_OR_SURE, "subset": None}, 0.0, 9.0),
    ("surrogate", "validation_accuracy"): ({"model": ACCURACY_OR_SURE, "subset": None}, 0.0, 1.0),
    ("supclust", "temperature"): ({"fraction": 1.0}, 1.0, 0.02),
    ("supclust", "fraction"): ({}, 0.1, 1.0),
    ("supclust", "max_clusters"): ({}, 500, 6),
    ("supclust", "min_cluster_size"): ({"max_clusters": 12}, 5, 2),
    ("supclust", "k_nn"): ({"fraction": 0.3}, 20, 1),
    ("supclust", "centers"): (MANY | {"max_clusters": 6, "fraction": 1.0}, "kmeans", "mean"),
    ("supclust", "squared"): ({"fraction": 0.3, "max_clusters": 4}, True, False),
    ("tcm", "switch_after"): ({}, None, 1),
    ("typiclust", "max_clusters"): ({}, 500, 6),
    ("typiclust", "min_cluster_size"): ({"max_clusters": 12}, 5, 2),
    ("typiclust", "k_nn"): ({}, 20, 1),
    ("typiclust", "squared"): ({"max_clusters": 3}, True, False),
    ("uncertain_gcn", "margin"): ({}, 0.1, 0.9),
    ("uncertain_gcn", "subset"): ({}, 10_000, 20),
    ("uncertain_gcn", "epochs"): ({}, 200, 5),
    ("uncertain_gcn", "hidden"): ({}, 128, 8),
    ("uncertain_gcn", "dropout"): ({}, 0.3, 0.8),
    ("uncertain_gcn", "unlabeled_weight"): ({}, 1.2, 20.0),
    ("typiclust", "typical_in"): ({}, "self", "features"),
    ("uherding", "uncertainty"): ({"bandwidth": 0.3}, "margin", "entropy"),
    ("uherding", "kernel"): ({"bandwidth": 0.7}, "rbf", "student_t"),
    ("uherding", "bandwidth"): ({}, None, 0.7),
    ("uherding", "temperature"): ({"bandwidth": 0.3}, None, 19.0),
    ("variation_ratio", "definition"): ({}, "votes", "mean"),
}


def picks(strategy: str, **given: Any) -> list[int]:
    needs = {"y": Y, "proba": PASSES, "features": FEATURES, "batch_size": 10, "random_state": 0} | given
    return pyal.select(needs.pop("rows", X), strategy=strategy, **needs).tolist()


def test_every_option_has_a_case():
    assert sorted(CASES) == sorted((s.name, option) for s in pyal.list_strategies() for option in s.options)


@pytest.mark.filterwarnings("ignore:strategy 'probcover'", "ignore:strategy 'maxherding'", "ignore:constrained_kmeans")
@pytest.mark.parametrize(("strategy", "option"), CASES)
def test_it_is_not_ignored(strategy, option):
    given, one, other = CASES[strategy, option]
    assert picks(strategy, **given, **{option: one}) != picks(strategy, **given, **{option: other})


@pytest.mark.filterwarnings("ignore:strategy 'probcover'", "ignore:strategy 'maxherding'", "ignore:constrained_kmeans")
@pytest.mark.parametrize(
    ("strategy", "option"), [case for case in CASES if "objective" not in case and case not in NEEDED_THERE]
)
def test_its_default_is_what_the_listing_says(strategy, option):
    (found,) = [s for s in pyal.list_strategies() if s.name == strategy]
    given = CASES[strategy, option][0]
    assert picks(strategy, **given) == picks(strategy, **given, **{option: found.options[option]})


@pytest.mark.parametrize("strategy", [s.name for s in pyal.list_strategies() if "proba" in s.needs_once_labeled])
def test_what_a_model_says_is_not_ignored(strategy):
    # ntkcpl splits these clusters by what the model says, tcm looks at it after these labels, refine drops some rows
    given = {"ntkcpl": {"initial_clusters": 4}, "tcm": {"switch_after": 1}, "refine": {"batches": 5}}
    given = given.get(strategy, {})
    assert picks(strategy, **given) != picks(strategy, proba=PASSES[:, ::-1], **given)
