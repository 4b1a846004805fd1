"""One contract for every registered strategy, so that one added later is covered the day it is added."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from data import POOLS, blobs, put
from surrogates import UNSURE_AND_FAR

import pyal
from pyal import kernels
from pyal.arrays import as_numpy
from pyal.kernels.matrices import normalized
from pyal.strategies.registry import Strategy

N = 120
X = blobs(N, 6)
P = np.random.default_rng(1).dirichlet(np.ones(4), N)
LABELED = np.array([3, 50, 77])
QUICK = {"refine": {"rounds": 2, "batches": 10}}  # 500 calls of other strategies are too many for each test
QUICK |= {"surrogate": {"model": UNSURE_AND_FAR}}  # it does not go without


def several(proba: np.ndarray) -> np.ndarray:
    """(3, N, C): passes that disagree, each of a row made of that row alone."""
    passes = np.stack([proba**power for power in (1, 2, 0.25)])
    return passes / passes.sum(axis=-1, keepdims=True)


@pytest.fixture(params=pyal.list_strategies(), ids=lambda s: s.name)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return request.param


def classes_of(labeled, n: int) -> np.ndarray:
    """(n,) labels with -1 for holes, for the strategies that want to know them: 0 to 3, all by position."""
    y = np.full(n, -1)
    y[labeled] = 3 - np.arange(n)[labeled] % 4
    return y


def ask(
    strategy: Strategy, rows=X, *, batch_size: int = 12, proba=P, random_state=0, y=None, labeled=None, **arguments
) -> np.ndarray:
    """select() with the inputs that the strategy needs."""
    known = y is not None or labeled is not None
    needs = {*strategy.needs, *(strategy.needs_once_labeled if known else ())}
    if strategy.passes and proba.ndim == 2:
        proba = several(proba)
    needed = {"proba": proba} if "proba" in needs else {}
    if y is None and labeled is not None and "y" in needs:
        y = classes_of(labeled, len(rows))
    arguments |= {"y": y, "labeled": labeled} | QUICK.get(strategy.name, {})
    return pyal.select(
        rows, strategy=strategy.name, batch_size=batch_size, random_state=random_state, **needed, **arguments
    )


def check(picks: np.ndarray, size: int, allowed) -> None:
    assert picks.dtype == np.int64
    assert len(picks) == size == len(np.unique(picks))
    assert np.isin(picks, allowed).all()


def test_picks_are_distinct_and_never_labelled(strategy):
    check(ask(strategy, labeled=LABELED), 12, np.setdiff1d(np.arange(N), LABELED))


def test_picks_lie_in_the_candidates(strategy):
    candidates = np.arange(40, 70)
    for labeled in (None, LABELED[[0, 2]]):
        check(ask(strategy, labeled=labeled, candidates=candidates), 12, candidates)
        check(ask(strategy, labeled=labeled, candidates=candidates, batch_size=30), 30, candidates)


def test_works_with_nothing_labelled(strategy):
    check(ask(strategy), 12, np.arange(N))
    check(ask(strategy, batch_size=1), 1, np.arange(N))


def test_all_rows_requested(strategy):
    check(ask(strategy, batch_size=N), N, np.arange(N))
    check(ask(strategy, batch_size=N - 3, labeled=LABELED), N - 3, np.setdiff1d(np.arange(N), LABELED))
    check(ask(strategy, batch_size=1, labeled=np.arange(1, N)), 1, [0])


def test_same_seed_same_picks(strategy):
    first = ask(strategy, labeled=LABELED)
    np.testing.assert_array_equal(ask(strategy, labeled=LABELED), first)
    np.testing.assert_array_equal(ask(strategy, labeled=LABELED, random_state=np.random.default_rng(0)), first)


def test_same_picks_for_any_number_of_threads(strategy):
    for labeled in (None, LABELED):
        picks = [ask(strategy, labeled=labeled, n_jobs=threads).tolist() for threads in (1, 2, 4)]
        assert picks[0] == picks[1] == picks[2]


def test_same_picks_from_every_library_and_layout(strategy, device):
    expected = ask(strategy, labeled=LABELED)
    torch = pytest.importorskip("torch")
    given = [torch.from_numpy(X).to(device)]
    if device == "cuda":
        try:
            import cupy
        except ImportError:
            pass
        else:
            given.append(cupy.asarray(X))
    else:
        given += [np.asfortranarray(X), X[::-1].copy()[::-1], X.tolist()]
    for rows in given:
        if isinstance(rows, list):
            continue  # read as float64: another rounding
        np.testing.assert_array_equal(ask(strategy, rows, labeled=LABELED), expected)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_every_storage_type(strategy, dtype):
    rows = put(X, dtype)
    picks = ask(strategy, rows, labeled=LABELED)
    check(picks, 12, np.setdiff1d(np.arange(N), LABELED))
    check(ask(strategy, rows, labeled=LABELED, metric="cosine"), 12, np.setdiff1d(np.arange(N), LABELED))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_cosine_picks_as_from_a_normalised_copy(strategy, dtype):
    rows = put(X * np.linspace(0.1, 9, N)[:, None], dtype)
    copy = as_numpy(normalized(kernels.checked_matrix(rows)), "X")
    if strategy.name in ("badge", "bait"):
        pytest.skip(f"{strategy.name} takes rows as the classifier saw them")
    for labeled in (None, LABELED):
        options = {"bandwidth": 1.0} if strategy.name == "maxherding" else {}  # its default depends on the metric
        picks = ask(strategy, rows, labeled=labeled, metric="cosine", **options)
        np.testing.assert_array_equal(picks, ask(strategy, copy, labeled=labeled, metric="euclidean", **options))


def test_labels_mask_and_positions_agree(strategy):
    y = np.full(N, np.nan)
    y[LABELED] = classes_of(LABELED, N)[LABELED] if "y" in strategy.needs_once_labeled else 0
    expected = ask(strategy, labeled=LABELED)
    np.testing.assert_array_equal(ask(strategy, y=y), expected)
    np.testing.assert_array_equal(ask(strategy, labeled=np.isin(np.arange(N), LABELED)), expected)


def test_inputs_are_not_modified(strategy):
    given = {"rows": X.copy(), "proba": P.copy(), "labeled": LABELED.copy(), "y": np.full(N, -1)}
    given["y"][LABELED] = 2
    before = {name: array.copy() for name, array in given.items()}
    ask(strategy, **given)
    for array in given.values():
        array.flags.writeable = False
    ask(strategy, **given)
    ask(strategy, **given, metric="cosine")
    for name, array in given.items():
        np.testing.assert_array_equal(array, before[name])


def test_labels_of_unlabelled_rows_are_not_seen(strategy):
    y = np.where(np.arange(N) % 3, 1, -1)  # classes -1 and +1: labeled= says which of them are known
    other = y.copy()
    rest = np.setdiff1d(np.arange(N), LABELED)
    other[rest] = np.random.default_rng(5).permutation(y[rest])
    arguments = {"proba": P[:, :2] / P[:, :2].sum(axis=1, keepdims=True), "labeled": LABELED}
    np.testing.assert_array_equal(ask(strategy, y=y, **arguments), ask(strategy, y=other, **arguments))


def test_global_random_state_is_left_alone(strategy):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    ask(strategy, random_state=None)
    ask(strategy)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_equivariant_under_permutation(strategy):
    """A strategy that no seed changes must pick the same rows wherever they stand (the pool has no ties)."""
    if strategy.name in ("probcover", "variation_ratio"):
        pytest.skip(f"{strategy.name} counts rows or votes, which ties")
    if len({tuple(ask(strategy, labeled=LABELED, random_state=seed)) for seed in range(4)}) > 1:
        pytest.skip(f"{strategy.name} draws random numbers, which fall on other rows after a permutation")
    order = np.random.default_rng(2).permutation(N)
    labeled = np.flatnonzero(np.isin(order, LABELED))
    y = classes_of(LABELED, N)
    known = {"y": y[order]} if "y" in strategy.needs_once_labeled else {}
    given = {"metric": "euclidean"}  # at norm 1 maxherding has gains that differ by less than it can tell
    moved = ask(strategy, X[order], proba=P[order], labeled=labeled, **known, **given)
    np.testing.assert_array_equal(order[moved], ask(strategy, labeled=LABELED, **given))


@pytest.mark.parametrize("pool", sorted(POOLS))
def test_awkward_pools(strategy, pool):
    rows = POOLS[pool]()[:100]
    proba = np.tile(P[:10], (10, 1))
    for size in (1, 20, 100):
        check(ask(strategy, rows, proba=proba, batch_size=size), size, np.arange(100))
    check(ask(strategy, rows, proba=proba, batch_size=95, labeled=np.arange(5)), 95, np.arange(5, 100))


def test_one_row_one_column(strategy):
    check(ask(strategy, X[:1], proba=P[:1], batch_size=1), 1, [0])
    check(ask(strategy, X[:2], proba=P[:2], batch_size=2), 2, [0, 1])
    check(ask(strategy, X[:, :1], batch_size=N), N, np.arange(N))


def test_probabilities_of_several_passes(strategy):
    if "proba" not in strategy.needs + strategy.needs_once_labeled:
        pytest.skip(f"{strategy.name} does not use proba")
    labeled = LABELED if "proba" in strategy.needs_once_labeled else None
    if not strategy.passes:
        same = np.stack([P, P, P])
        np.testing.assert_array_equal(ask(strategy, proba=same, labeled=labeled), ask(strategy, labeled=labeled))
    certain = np.eye(4)[np.arange(N) % 4]
    check(ask(strategy, proba=certain, labeled=labeled), 12, np.arange(N))
    check(ask(strategy, proba=np.full((N, 4), 0.25), labeled=labeled), 12, np.arange(N))


def test_what_it_needs_is_named(strategy):
    inputs = {"proba": P, "y": classes_of(LABELED, N), "labeled": None}
    for need in (*strategy.needs, *strategy.needs_once_labeled):
        given = {name: value for name, value in inputs.items() if name != need}
        given["labeled"] = LABELED if need == "y" else None
        with pytest.raises(ValueError, match=f"strategy '{strategy.name}' needs {need}="):
            pyal.select(X, strategy=strategy.name, batch_size=2, **given)


def test_is_documented(strategy):
    assert strategy.summary.endswith(".")
    assert strategy.citation
    assert strategy.memory.startswith("O(")
    assert list(strategy.meanings) == list(strategy.options), "each option has a line `name: meaning` in the docstring"
    assert list(inspect.signature(strategy.function).parameters)[:3] == ["pool", "batch_size", "rng"]


def test_scores_agree_with_picks(strategy):
    if strategy.scores is None:
        pytest.skip(f"{strategy.name} picks rows jointly")
    proba = several(P) if strategy.passes else P
    scores = pyal.score(X, strategy=strategy.name, proba=proba, labeled=LABELED)
    picks = ask(strategy, labeled=LABELED)
    assert np.isnan(scores[LABELED]).all()
    rest = np.setdiff1d(np.arange(N), [*LABELED, *picks])
    assert scores[picks].min() >= scores[rest].max()
