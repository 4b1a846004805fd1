"""What strategies keep from round to round: no batch depends on it, and a later round does less than the first."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs
from test_loop import teach_all

import pyal
from pyal import kernels
from pyal.kernels import covering

N = 300
X = blobs(N, 6)
Y = np.random.default_rng(5).integers(0, 3, N)
STARTED = np.where(np.arange(N) < 30, Y, -1)
STRATEGIES = {
    "coreset": {"strategy": "coreset"},
    "coreset at norm 1": {"strategy": "coreset", "metric": "cosine"},
    "probcover": {"strategy": "probcover", "delta": 2.0, "metric": "euclidean"},
    "probcover with a radius of its own": {
        "strategy": "probcover",
        "delta": "purity",
        "n_classes": 4,
        "metric": "euclidean",
    },
    "probcover with a share to cover": {"strategy": "probcover"},
    "probcover from the best": {"strategy": "probcover", "delta": 2.0, "top": 3, "metric": "euclidean"},
    "maxherding": {"strategy": "maxherding", "bandwidth": 2.0},
    "typiclust": {"strategy": "typiclust", "metric": "cosine"},
    "a schedule": {"strategy": [("coreset", 40, {}), ("maxherding", 50, {"bandwidth": 2.0}), ("coreset", None, {})]},
    "a subset of each round": {"strategy": "maxherding", "bandwidth": 2.0, "subset": 100},
    "some candidates": {"strategy": "coreset", "candidates": np.arange(0, N, 2)},
}


def batches(*, carry: bool, **given) -> list[list[int]]:
    """Of a loop with answers of every kind; without `carry` each round starts with nothing kept."""
    loop = pyal.Loop(X, batch_size=6, y=STARTED, random_state=2, **given)
    found = []

    def query():
        if not carry:
            loop._rounds.carried.clear()
        found.append(loop.query().tolist())
        return loop.outstanding

    for answer in (
        lambda batch: loop.teach(batch, Y[batch]),
        lambda batch: loop.teach(batch, [None, *Y[batch[1:]]]),  # one is skipped
        lambda batch: loop.teach([200, *batch], [2, *Y[batch]]),  # one was not asked
        lambda _: loop.discard(),
        lambda batch: loop.teach([3, *batch[:2]], [None, 1, 1]),  # a label is taken back, and part of a batch answered
        lambda _: (loop.discard(), loop.unskip(loop.skipped)),
        lambda batch: loop.teach(batch[:1], [0]),
        lambda batch: loop.teach(batch[:1], [2]),  # what is left of the batch; a label is changed
        lambda batch: loop.teach(batch, Y[batch]),
    ):
        answer(query())
    query()
    return found


all_may_be_covered = pytest.mark.filterwarnings("ignore:strategy 'probcover'. no pick of this batch covers")


@all_may_be_covered
@pytest.mark.parametrize("name", STRATEGIES)
def test_no_batch_depends_on_what_is_carried(name):
    assert batches(carry=True, **STRATEGIES[name]) == batches(carry=False, **STRATEGIES[name])


@pytest.fixture
def covered(monkeypatch):
    """Of every greedy kernel that is run: how many rows it is to cover, and how many gains are bounded beforehand."""
    calls, launch = [], covering.launch

    def counted(kernel, rows, n_jobs, **fields):
        bounds = fields.get("bounds")
        calls.append((fields["n_covered"], 0 if bounds is None else int((bounds >= 0).sum())))
        launch(kernel, rows, n_jobs, **fields)

    monkeypatch.setattr(covering, "launch", counted)
    return calls


def test_later_rounds_of_coreset_cover_the_last_batch_alone(covered):
    teach_all(pyal.Loop(X, strategy="coreset", batch_size=6, y=STARTED), 4, Y)
    assert [n_covered for n_covered, _ in covered] == [30, 6, 6, 6]


@pytest.mark.parametrize("name", ["probcover with a radius of its own", "maxherding"])
def test_later_rounds_cover_nothing_again_and_know_the_gains(covered, name):
    teach_all(pyal.Loop(X, **STRATEGIES[name], batch_size=6, y=STARTED), 4, Y)
    assert covered[0] == (30, 0)
    assert [n_covered for n_covered, _ in covered[1:]] == [0, 0, 0]
    assert all(n_bounded >= N - 30 for _, n_bounded in covered[1:])


@all_may_be_covered
def test_where_all_is_covered_later_rounds_of_probcover_go_on_too(covered):
    teach_all(pyal.Loop(X, strategy="probcover", delta=20.0, batch_size=6, y=STARTED), 4, Y)
    assert [n_covered for n_covered, _ in covered] == [30, 6, 6, 6]  # what was picked at random is new


@all_may_be_covered
@pytest.mark.parametrize(("told", "clusters"), [({"classes": range(3)}, 3), ({}, 10)])
def test_the_radius_of_probcover_is_found_once(monkeypatch, told, clusters):
    """Its number of clusters is what the loop was told, whatever classes the labels have shown since."""
    runs, kmeans = [], kernels.kmeans
    monkeypatch.setattr(kernels, "kmeans", lambda *given, **named: runs.append(given[1]) or kmeans(*given, **named))
    teach_all(pyal.Loop(X, strategy="probcover", delta="purity", batch_size=6, y=np.minimum(STARTED, 1), **told), 4, Y)
    assert [k for k in runs if k > 1] == [clusters]


def test_norms_are_computed_once(monkeypatch):
    made, sqnorms = [], kernels.sqnorms
    monkeypatch.setattr(kernels, "sqnorms", lambda *given, **named: made.append(1) or sqnorms(*given, **named))
    teach_all(pyal.Loop(X, strategy="typiclust", metric="cosine", batch_size=6), 4, Y)
    assert len(made) == 1


def test_a_strategy_of_ones_own_may_keep_things():
    seen = []

    def counts(pool, batch_size, *, rng):  # noqa: ARG001
        seen.append(None if pool.carried is None else pool.carried.setdefault("rounds", []).append(1))
        assert pool.carried is None or len(pool.carried["rounds"]) == len(seen)
        return pool.candidates[:batch_size]

    teach_all(pyal.Loop(X, strategy=counts, batch_size=6), 3, Y)
    seen.clear()
    pyal.select(X, strategy=counts)  # a single call keeps nothing
