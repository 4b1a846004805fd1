"""BADGE (k-means++ over gradients that are never formed) and a plain k-means++ start.

Every peer draws from the same law with other random numbers, so potentials (the sum of squared distances to the nearest
pick) are compared: their means over ten seeds agree within five standard errors. scikit-activeml 1.0.1 adds a centre
at the origin, which is another law, and gets one seed and 10 % on top.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer, peers_of
from peers.objectives import badge_potential, nearest_sqdist
from pools import Pool

from pyal import kernels

BATCH_SIZE = 100
CLASSES = 50
SEEDS = range(1, 10)  # besides seed 0, whose picks are there already


def hallucinated_gradients(n: int) -> np.ndarray:
    """(n, CLASSES) float32 q = proba - onehot(argmax), from logits of moderate confidence."""
    logits = 2 * np.random.default_rng(4).standard_normal((n, CLASSES), np.float32)
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    proba[np.arange(n), proba.argmax(axis=1)] -= 1
    return proba


def same_law(mine: list[float], theirs: list[float], tolerance: float = 0.0) -> str:
    variance = np.var(mine, ddof=1) if len(theirs) == 1 else (np.var(mine, ddof=1) + np.var(theirs, ddof=1)) / 2
    error = np.sqrt(variance * (1 / len(mine) + 1 / len(theirs)))
    apart = np.mean(mine) - np.mean(theirs)
    assert abs(apart) <= 5 * error + tolerance * np.mean(theirs), f"potentials: pyal {mine}, peer {theirs}"
    return f"potential {100 * apart / np.mean(theirs):+.2g} %, s.e. {100 * error / np.mean(theirs):.2g} %"


@pytest.mark.parametrize("peer", peers_of("badge"), ids=lambda peer: peer.name)
def test_badge(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, q = pool.X, hallucinated_gradients(len(pool.X))
    batch_size = min(BATCH_SIZE, len(X) // 10)
    other_law = peer.name == "scikit-activeml"

    def ours(seed: int) -> Any:
        return kernels.d2_sampling(X, batch_size, q=q, random_state=seed, n_jobs=n_jobs)

    def agree(mine: Any, theirs: Any) -> str:
        assert len(set(mine.tolist())) == batch_size
        my_picks = [mine, *map(ours, SEEDS)]
        their_picks = [theirs]
        if not other_law:
            their_picks += [peer.call(X, batch_size, q=q, random_state=seed) for seed in SEEDS]
        potentials = [[badge_potential(X, q, picks) for picks in side] for side in (my_picks, their_picks)]
        return same_law(potentials[0], potentials[1], 0.1 if other_law else 0.0)

    versus(
        "d2_sampling",
        f"BADGE {pool}, C={CLASSES}, b={batch_size}",
        lambda: ours(0),
        peer,
        lambda: peer.call(X, batch_size, q=q, random_state=0),
        agree,
    )


@pytest.mark.parametrize("peer", peers_of("kmeans_plusplus"), ids=lambda peer: peer.name)
def test_kmeans_plusplus(versus: Callable[..., Any], pool: Pool, peer: Peer, n_jobs: int) -> None:
    X, batch_size = pool.X, min(500, len(pool.X) // 10)

    def ours(seed: int) -> Any:
        return kernels.d2_sampling(X, batch_size, first="uniform", random_state=seed, n_jobs=n_jobs)

    def theirs(seed: int) -> Any:
        return peer.call(X, batch_size, random_state=seed)

    def agree(my_picks: Any, their_picks: Any) -> str:
        assert len(set(my_picks.tolist())) == batch_size
        sides = [my_picks, *map(ours, SEEDS)], [their_picks, *map(theirs, SEEDS)]
        potentials = [[float(nearest_sqdist(X, X[picks]).sum()) for picks in side] for side in sides]
        return same_law(potentials[0], potentials[1])

    versus("d2_sampling", f"k-means++ {pool}, b={batch_size}", lambda: ours(0), peer, lambda: theirs(0), agree)
