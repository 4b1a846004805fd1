"""What the first labels are worth: initial sets of 20, 50 and 100 rows, by several rules, and a logistic regression.

The pools are the training sets of FashionMNIST and CIFAR-10 (60,000 and 50,000 rows of 128 columns). Every set is drawn
anew for each size and seed, and no rule but the class-balanced one sees a label. That one draws as many rows of every
class at random: it is what a rule that knew the classes could do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from studies import embeddings
from studies.embeddings import Array

import pyal

OPTIONS = ("seeds", "rows", "sets")
QUICK = {"seeds": 1, "rows": 5000}
SIZES = (20, 50, 100)


def chosen(strategy: str) -> Callable[[Array, Array, int, int], Array]:
    """The rule that is a strategy with nothing labelled, which takes rows as its source does."""
    return lambda X, _, n, seed: pyal.select(X, strategy=strategy, batch_size=n, random_state=seed)


def k_means_plus_plus(X: Array, _: Array, n: int, seed: int) -> Array:
    return np.asarray(pyal.kernels.d2_sampling(X, n, first="uniform", random_state=seed))


def class_balanced(_: Array, y: Array, n: int, seed: int) -> Array:
    """n / classes rows of each class, drawn at random."""
    rng, classes = np.random.default_rng(seed), np.unique(y)
    return np.concatenate([rng.choice(np.flatnonzero(y == c), n // len(classes), replace=False) for c in classes])


RULES: dict[str, Callable[[Array, Array, int, int], Array]] = {
    "random": chosen("random"),
    "random, class-balanced": class_balanced,
    "k-means++": k_means_plus_plus,
    "k-center": chosen("coreset"),
    "typiclust": chosen("typiclust"),
}


def accuracy(data: dict[str, Array], rows: Array) -> float:
    model = LogisticRegression(max_iter=1000).fit(data["X"][rows], data["y"][rows])
    return round(float(model.score(data["X_test"], data["y_test"])), 4)


def run(given: argparse.Namespace, _: Path) -> dict[str, Any]:
    """Accuracies by data set and rule, of every seed at every size."""
    results = []
    for name in given.sets or ("fashion_mnist", "cifar10"):
        data = embeddings.read(name, given.rows)
        reached: dict[str, list[list[float]]] = {}
        for rule, drawn in RULES.items():
            print(f"{name}: {rule} ...", file=sys.stderr, flush=True)
            of_seed = [[drawn(data["X"], data["y"], n, seed) for n in SIZES] for seed in range(given.seeds)]
            assert all(len(np.unique(rows)) == n for sets in of_seed for rows, n in zip(sets, SIZES, strict=True))
            reached[rule] = [[accuracy(data, rows) for rows in sets] for sets in of_seed]
        results.append({"data": name, "rows": len(data["X"]), "accuracy": reached})
    return {"budgets": SIZES, "results": results}
