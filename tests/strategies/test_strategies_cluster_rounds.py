"""typiclust and supclust under rules: each pick is the best of the rows of its cluster that keep them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from data import blobs
from oracle import reference

import pyal
from pyal import kernels
from pyal.rules import even_share

N = 120
X = blobs(N, 5, seed=3).astype(np.float64)
LABELED = np.arange(0, 12)
P = np.random.default_rng(4).dirichlet(np.full(4, 0.5), N)
GROUPS = np.arange(N) // 8
BATCH = 12
RULES = {
    "groups": {"groups": GROUPS, "max_per_group": 1},
    "min_distance": {"min_distance": 1.2},
    "class_balance": {"class_balance": True},
    "all": {"groups": GROUPS, "max_per_group": 2, "min_distance": 0.9, "class_balance": True},
}


def is_legal(rules: dict, picks: list[int], row: int, share: int) -> bool:
    predicted = P.argmax(axis=1)
    taken = [*LABELED, *picks]
    if row in taken:
        return False
    if "groups" in rules and (GROUPS[picks] == GROUPS[row]).sum() >= rules["max_per_group"]:
        return False
    if "min_distance" in rules and (np.linalg.norm(X[taken] - X[row], axis=1) < rules["min_distance"]).any():
        return False
    return not ("class_balance" in rules and (predicted[picks] == predicted[row]).sum() >= share)


def one_by_one(rules: dict, batch: int, fraction: float | None, max_clusters: int, smallest: int) -> list[int]:
    """Every pick from scratch: of the next cluster with legal rows the best, scored among these."""
    predicted = P.argmax(axis=1)
    share = even_share(np.bincount(predicted[[i for i in range(N) if is_legal(rules, [], i, N)]]), batch)
    k = min(len(LABELED) + batch, max_clusters)
    centers, owner, _ = kernels.kmeans(X, k, random_state=np.random.default_rng(0))
    sup = reference.sup_scores(X, centers, owner) if fraction else None
    sizes, labels = np.bincount(owner, minlength=k), np.bincount(owner[LABELED], minlength=k)
    order = sorted(range(k), key=lambda c: (labels[c], -sizes[c], c))
    picks: list[int] = []
    for wave in ([c for c in order if sizes[c] > smallest], [c for c in order if sizes[c] <= smallest]):
        found = True
        while found:
            found = False
            for cluster in wave:
                rows = [i for i in np.flatnonzero(owner == cluster) if is_legal(rules, picks, int(i), share)]
                if not rows or len(picks) == batch:
                    continue
                typical = reference.typicality(X[rows], min(max(len(rows) // 2, 1), 20))
                if sup is not None:
                    kept = np.argsort(-typical, kind="stable")[: max(1, math.ceil(round(fraction * len(rows), 9)))]
                    score = np.where(np.isin(np.arange(len(rows)), kept), sup[rows], -np.inf)
                else:
                    score = typical
                picks.append(int(rows[int(np.argmax(score))]))
                found = True
    return picks


@pytest.mark.parametrize("strategy", ["typiclust", "supclust"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("max_clusters", "smallest"), [(500, 3), (7, 0), (7, 12)])
def test_a_row_that_breaks_a_rule_is_not_there(strategy, rule, max_clusters, smallest):
    fraction = 0.4 if strategy == "supclust" else None
    given = {"strategy": strategy, "proba": P, "labeled": LABELED, "metric": "euclidean", "batch_size": BATCH}
    given |= {"max_clusters": max_clusters, "min_cluster_size": smallest, "random_state": 0}
    given |= {"fraction": fraction} if fraction else {}
    picks = pyal.select(X, **given, **RULES[rule]).tolist()
    assert picks == one_by_one(RULES[rule], BATCH, fraction, max_clusters, smallest)
    plain = pyal.select(X, **given).tolist()
    assert picks != plain, "the rule binds"
    assert plain == one_by_one({}, BATCH, fraction, max_clusters, smallest)


def test_by_hand():
    """Two clusters, A = 0, 1, 3, 7 and B = 100, 101, 103, 107, 115, the larger first.

    B, five rows and so k = 2: 101 has (1 + 4) / 2, 100 has (1 + 9) / 2, 103 has (4 + 9) / 2: 101 is picked. It closes
    1 and 3, of its group, so that A has 0 and 7, k = 1, both 49 from the other: the lower one. The second round: B has
    100, 103, 107, 115, k = 2: 103 with (9 + 16) / 2 before 107 with (16 + 49) / 2 and 100 with (9 + 49) / 2. A has 7.
    """
    rows = np.array([0.0, 1, 3, 7, 100, 101, 103, 107, 115])[:, None]
    groups = ["a", "b", "b", "c", "d", "b", "e", "f", "g"]
    given = {"strategy": "typiclust", "metric": "euclidean", "batch_size": 4, "max_clusters": 2, "min_cluster_size": 3}
    picks = pyal.select(rows, groups=groups, max_per_group=1, random_state=0, **given)
    assert picks.tolist() == [5, 0, 6, 3]
    assert pyal.select(rows, random_state=0, **given).tolist() == [5, 1, 6, 0]


def test_clustering_is_done_once(monkeypatch):
    calls = []

    def counted(*args, own=kernels.kmeans, **given):
        calls.append(args)
        return own(*args, **given)

    monkeypatch.setattr(kernels, "kmeans", counted)
    picks = pyal.select(X, strategy="typiclust", batch_size=14, random_state=0, **RULES["groups"])
    assert len(picks) == 14
    assert len(calls) == 1
