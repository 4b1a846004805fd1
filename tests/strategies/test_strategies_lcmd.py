"""LCMD by hand and against its definition; coreset in parts; the centres of SUPClust."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs, integers
from oracle.reference import sqdist_between

import pyal
from pyal import kernels

LINE = np.array([[0.0], [1.0], [2.0], [3.0], [10.0], [14.0]])


def textbook(X: np.ndarray, labeled: list[int], candidates: list[int], b: int) -> list[int]:
    """Largest cluster maximum distance, as its definition reads; ties to the earlier centre, then the lower row."""
    sqdist = sqdist_between(X, X)
    centers, picks = list(labeled), []
    while len(picks) < b:
        left = [i for i in candidates if i not in picks]
        if centers:
            clusters = [[] for _ in centers]
            for i in left:
                clusters[int(np.argmin(sqdist[i, centers]))].append(i)
            sizes = [sum(sqdist[i, c] for i in rows) if rows else -1 for c, rows in zip(centers, clusters, strict=True)]
            largest = int(np.argmax(sizes))
            pick = max(clusters[largest], key=lambda i: sqdist[i, centers[largest]])
        else:
            pick = max(left, key=lambda i: (X[i] ** 2).sum())
        picks.append(pick)
        centers.append(pick)
    return picks


def test_lcmd_by_hand():
    """Of 0 and 14 as centres, 0 has 1, 2 and 3 with 1 + 4 + 9 = 14, and 14 has 10 with 16: 10 is next.

    Then 0 has the largest cluster, of 14, and its farthest row is 3, which takes 2 along. That leaves 1 with 0 and 2
    with 3, clusters of 1 each: the tie goes to the centre that came first, 0.
    """
    given = {"strategy": "lcmd", "batch_size": 4}
    assert pyal.select(LINE, labeled=[0, 5], **given).tolist() == [4, 3, 1, 2]
    # coreset would take the farthest row of all: where 20 rows lie at 3, the cluster of 0 is the larger one
    crowd = np.concatenate([LINE, np.full((20, 1), 3.0)])
    assert pyal.select(crowd, strategy="lcmd", labeled=[0, 5]).tolist() == [3]
    assert pyal.select(crowd, strategy="coreset", labeled=[0, 5]).tolist() == [4]
    # nothing labelled: the row of the largest norm, then the farthest of the one cluster
    assert pyal.select(LINE, strategy="lcmd", batch_size=2).tolist() == [5, 0]
    firsts = {int(pyal.select(LINE, strategy="lcmd", first="random", random_state=s)[0]) for s in range(60)}
    assert firsts == set(range(6))
    # candidates alone make up the clusters, and without 1, 2 and 3 there is only one
    assert pyal.select(LINE, strategy="lcmd", labeled=[0, 5], candidates=[1, 4]).tolist() == [4]
    # a centre without rows has no largest cluster, not even among clusters of size 0
    assert pyal.select([[0.0], [5.0], [5.0], [5.0]], strategy="lcmd", labeled=[0, 1], batch_size=2).tolist() == [2, 3]


@pytest.mark.parametrize("make", [blobs, integers])
@pytest.mark.parametrize("n_labeled", [0, 1, 7])
def test_lcmd_is_its_definition(make, n_labeled):
    for seed in range(4):
        X = make(80, 5, seed=seed)
        rng = np.random.default_rng(seed)
        labeled = np.sort(rng.choice(80, n_labeled, replace=False))
        candidates = np.setdiff1d(rng.choice(80, 60, replace=False), labeled)
        for b in (12, len(candidates)):
            picks = pyal.select(X, strategy="lcmd", labeled=labeled, candidates=candidates, batch_size=b)
            assert picks.tolist() == textbook(X.astype(np.float64), labeled.tolist(), candidates.tolist(), b)


def test_lcmd_in_the_space_of_a_classifier():
    X, features = LINE, LINE[::-1].copy()
    given = {"strategy": "lcmd", "cluster_on": "al", "features": features, "batch_size": 3}
    expected = [5 - i for i in pyal.select(X, strategy="lcmd", labeled=[0, 5], batch_size=3)]
    assert pyal.select(X, labeled=[0, 5], **given).tolist() == expected
    assert pyal.select(X, **given).tolist() == pyal.select(X, strategy="lcmd", batch_size=3).tolist()
    with pytest.raises(ValueError, match="'lcmd' with cluster_on='al' needs features= once rows are labelled"):
        pyal.select(X, strategy="lcmd", cluster_on="al", labeled=[0])
    with pytest.raises(ValueError, match="cluster_on must be 'self' or 'al'; got 'X'"):
        pyal.select(X, strategy="lcmd", cluster_on="X")
    with pytest.raises(ValueError, match="first must be 'norm' or 'random'; got 'index0'"):
        pyal.select(X, strategy="lcmd", first="index0")


def test_coreset_in_parts():
    """Each part of ten rows picks its own two: the one farthest from the label, and then the other end."""
    X = np.arange(41.0)[:, None]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        parts = [np.sort(part) for part in np.array_split(rng.permutation(np.arange(40)), 4)]
        expected = [i for part in parts for i in (part[0], part[np.argmax(np.minimum(part - part[0], 40 - part))])]
        given = {"strategy": "coreset", "labeled": [40], "n_partitions": 4, "batch_size": 8}
        assert pyal.select(X, random_state=seed, **given).tolist() == expected
    # with nothing labelled each part has a first pick of its own; parts without a share pick nothing
    firsts = [part.max() for part in np.array_split(np.random.default_rng(0).permutation(np.arange(41)), 20)[:3]]
    given = {"strategy": "coreset", "first": "norm", "n_partitions": 20, "batch_size": 3}
    assert pyal.select(X, random_state=0, **given).tolist() == firsts
    halves = [half.min() for half in np.array_split(np.random.default_rng(0).permutation(np.arange(41)), 2)]
    given = {"strategy": "coreset", "first": "index0", "n_partitions": 2, "batch_size": 2}
    assert pyal.select(X, random_state=0, **given).tolist() == halves
    with pytest.raises(ValueError, match="n_partitions must be at least 1; got 0"):
        pyal.select(X, strategy="coreset", n_partitions=0)
    # more parts than candidates: each is one, also where rules leave fewer and fewer of them
    few = {"strategy": "coreset", "n_partitions": 50, "random_state": 0}
    assert sorted(pyal.select(X, batch_size=41, **few)) == list(range(41))
    groups = np.arange(41) // 3
    picks = pyal.select(X, batch_size=12, groups=groups, max_per_group=1, **few | {"n_partitions": 8})
    assert len(set(groups[picks])) == 12


@pytest.mark.parametrize("name", ["kmeans", "mean"])
def test_supclust_takes_the_centres_asked_for(monkeypatch, name):
    X = np.random.default_rng(0).random((3000, 2)).astype(np.float32)
    seen = []

    def sup_scores(rows, centers, assignment, **given):
        seen.append((centers, assignment))
        return original(rows, centers, assignment, **given)

    original = kernels.sup_scores
    monkeypatch.setattr(kernels, "sup_scores", sup_scores)
    pyal.select(X, strategy="supclust", metric="euclidean", max_clusters=6, batch_size=6, centers=name, random_state=0)
    ((centers, assignment),) = seen
    means = np.array([X[assignment == c].mean(axis=0, dtype=np.float64) for c in range(6)])
    apart = abs(centers - means).max()
    assert apart < 1e-5 if name == "mean" else apart > 1e-4
    with pytest.raises(ValueError, match="centers must be 'kmeans' or 'mean'; got 'medoid'"):
        pyal.select(X, strategy="supclust", centers="medoid")
