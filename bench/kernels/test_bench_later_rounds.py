"""A later round of a loop, which goes on from what the rounds before have left, against a round that starts afresh.

Both loops answer each batch and so have the same labels and picks, round by round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import Peer
from pools import Pool

import pyal

BATCH_SIZE, LABELED = 10, 500


class Rounds:
    """A round of one loop after another: a query and its answer. picks: by the number of the round."""

    def __init__(self, loop: pyal.Loop, *, afresh: bool) -> None:
        self.loop, self.afresh = loop, afresh
        self.picks: dict[int, list[int]] = {}

    def __call__(self) -> None:
        if self.afresh:
            self.loop._rounds.carried.clear()
        batch = self.loop.query()
        self.picks[len(self.picks)] = batch.tolist()
        self.loop.teach(batch, np.zeros(len(batch), np.int64))


AFRESH = Peer("later rounds", "afresh", Rounds, note="the same round with nothing kept from those before it")


@pytest.mark.parametrize("strategy", ["coreset", "probcover", "maxherding"])
def test_later_round(versus: Callable[..., Any], pool: Pool, strategy: str, n_jobs: int) -> None:
    labeled = np.random.default_rng(0).choice(len(pool.X), min(LABELED, len(pool.X) // 4), replace=False)
    y = np.full(len(pool.X), -1)
    y[labeled] = 0
    radius = pool.radius(0.01)
    options = {"coreset": {}, "probcover": {"delta": radius}, "maxherding": {"bandwidth": radius}}[strategy]

    def rounds(*, afresh: bool) -> Rounds:
        loop = pyal.Loop(pool.X, None, strategy, BATCH_SIZE, y=y, random_state=0, n_jobs=n_jobs, **options)
        return Rounds(loop, afresh=afresh)

    later, first = rounds(afresh=False), rounds(afresh=True)
    later()  # the first round has nothing to go on from
    first()

    def agree(_: Any, __: Any) -> str:
        both = later.picks.keys() & first.picks.keys()
        assert all(later.picks[number] == first.picks[number] for number in both)
        return f"equal picks in {len(both)} rounds"

    work = f"{strategy}, {pool}, from {len(labeled)} labels, b={BATCH_SIZE}"
    versus("later rounds", work, later, AFRESH, first, agree)
