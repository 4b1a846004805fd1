"""TCM, Refine and DIRECT against the strategies that they are made of, plain loops, and cases worked out by hand."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from data import blobs

import pyal
from pyal.strategies.combined import best_threshold

N, C = 80, 4
X = blobs(N, 5)
RNG = np.random.default_rng(1)
P = RNG.dirichlet(np.full(C, 0.5), N)
Y = np.full(N, -1)
Y[::7] = np.arange(12) % C
FREE = np.flatnonzero(Y < 0)
ASKED = {"batch_size": 6, "random_state": 0}


def known(count: int) -> np.ndarray:
    """Labels of the first rows."""
    return np.where(np.arange(N) < count, np.arange(N) % C, -1)


# ---- TCM


@pytest.mark.parametrize(("count", "switch_after", "stands_for"), [
    (0, None, "typiclust"), (0, 0, "typiclust"), (9, 10, "typiclust"), (10, 10, "margin"), (11, 10, "margin"),
    (1, 0, "margin"), (60, None, "typiclust"),
])  # fmt: skip
def test_tcm_is_typiclust_and_then_margin(count, switch_after, stands_for):
    given = {"y": known(count), "proba": P, "metric": "cosine"} | ASKED
    expected = pyal.select(X, strategy=stands_for, **given).tolist()
    assert pyal.select(X, strategy="tcm", switch_after=switch_after, **given).tolist() == expected


@pytest.mark.parametrize(("classes", "count", "stands_for"), [(3, 59, "typiclust"), (3, 60, "margin")])
def test_tcm_goes_over_after_twenty_labels_a_class(classes, count, stands_for):
    given = {"labeled": np.arange(count), "proba": P[:, :classes] / P[:, :classes].sum(1, keepdims=True)} | ASKED
    expected = pyal.select(X, strategy=stands_for, metric="cosine", **given).tolist()
    assert pyal.select(X, strategy="tcm", **given).tolist() == expected


def test_tcm_begins_without_proba_and_asks_for_it_then():
    assert len(pyal.select(X, strategy="tcm", **ASKED)) == 6
    with pytest.raises(ValueError, match="strategy 'tcm' needs proba= once rows are labelled"):
        pyal.select(X, known(1), strategy="tcm", **ASKED)
    with pytest.raises(ValueError, match="switch_after must be at least 0; got -1"):
        pyal.select(X, strategy="tcm", switch_after=-1, **ASKED)


# ---- Refine


def filtered(rows, y, names, final, rounds, batches, first_subset, alpha, cap, b=6) -> list[int]:
    """Refine as a plain loop around pyal.select, on copies of the rows."""
    rng = np.random.default_rng(0)
    left, count = np.flatnonzero(y < 0), first_subset

    def ask(name: str, candidates: np.ndarray) -> np.ndarray:
        at = np.sort(np.r_[np.flatnonzero(y >= 0), candidates])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return at[pyal.select(rows[at], y[at], strategy=name, proba=P[at], batch_size=b, random_state=rng)]

    for _ in range(rounds):
        kept: set[int] = set()
        for name in names:
            for _ in range(max(1, batches // len(names))):
                size = max(count, b)
                some = left if size >= len(left) else np.sort(rng.choice(left, size, replace=False))
                kept |= set(ask(name, some).tolist())
        left = np.array(sorted(kept))
        if len(left) > max(cap, b):
            left = np.sort(rng.choice(left, max(cap, b), replace=False))
        count = int(alpha * len(left))
        if len(left) == b:
            break
    return ask(final, left).tolist()


@pytest.mark.parametrize("y", [Y, np.full(N, -1)], ids=["12 labelled", "nothing labelled"])
@pytest.mark.parametrize(
    "options",
    [
        {"final": "maxherding", "rounds": 3, "batches": 12, "first_subset": 30, "alpha": 0.4, "cap": 10_000},
        {"final": "typiclust", "rounds": 2, "batches": 2, "first_subset": 20, "alpha": 1.0, "cap": 15},
        {"final": "margin", "rounds": 5, "batches": 30, "first_subset": 5_000, "alpha": 0.1, "cap": 2},
    ],
)
def test_refine_is_the_plain_loop(y, options):
    names = ["margin", "badge", "typiclust", "random"]
    expected = filtered(X, y, names, **options)
    given = {"proba": P, "strategies": " margin, badge,tpc_rp ,random"} | options | ASKED
    assert pyal.select(X, y, strategy="refine", **given).tolist() == expected


def test_refine_by_hand():
    """Of 80 rows margin always picks the same 6, and nothing else is left for the last strategy."""
    expected = pyal.select(X, Y, strategy="margin", proba=P, **ASKED).tolist()
    found = pyal.select(X, Y, strategy="refine", proba=P, strategies="margin", final="typiclust", **ASKED).tolist()
    assert sorted(found) == sorted(expected)


def test_refine_leaves_out_what_has_no_proba_while_nothing_is_labelled():
    asked = ASKED | {"strategy": "refine", "batches": 4, "rounds": 2}
    expected = pyal.select(X, strategies="typiclust,random", **asked).tolist()
    assert pyal.select(X, strategies="margin,typiclust,badge,random", **asked).tolist() == expected
    assert pyal.select(X, proba=P, strategies="margin,typiclust,badge,random", **asked).tolist() != expected


def test_refine_takes_rows_as_each_source_does():
    """coreset looks at lengths, maxherding does not: at norm 1 for all, coreset picks other rows."""
    longer = X * np.linspace(0.3, 9, N, dtype=np.float32)[:, None]
    asked = {"y": Y, "proba": P, "strategies": "coreset", "rounds": 1, "final": "coreset"} | ASKED
    for metric in ("euclidean", "cosine"):
        expected = pyal.select(longer, Y, strategy="coreset", metric=metric, **ASKED).tolist()
        assert pyal.select(longer, strategy="refine", metric=metric, **asked).tolist() == expected
    herded = {"strategies": "maxherding", "final": "maxherding"}
    expected = pyal.select(longer, Y, strategy="maxherding", **ASKED).tolist()
    assert sorted(pyal.select(longer, strategy="refine", **(asked | herded))) == sorted(expected)


def test_refine_hands_on_all_inputs():
    asked = {"y": Y, "labeled": None, "features": X[:, ::-1].copy(), "rounds": 1} | ASKED
    found = pyal.select(X, strategy="refine", proba=P, strategies="uncertain_gcn", final="uncertain_gcn", **asked)
    assert len(set(found) & set(FREE)) == 6
    passes = np.stack([P, P[:, ::-1]])
    names = {"strategies": "bald,variation_ratio", "final": "bald"}
    expected = pyal.select(X, Y, strategy="bald", proba=passes, **ASKED).tolist()
    assert pyal.select(X, Y, strategy="refine", proba=passes, **names, **ASKED).tolist() == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategies": "margins"}, "strategy 'margins' is unknown; did you mean 'margin'"),
        ({"strategies": ""}, "strategy '' is unknown"),
        ({"strategies": "margin,typiclust,margin"}, "strategies must name each strategy once"),
        ({"strategies": "typiclust,tpc_rp"}, "strategies must name each strategy once"),
        ({"strategies": "random,refine"}, "strategies must not name refine itself"),
        ({"final": "refine"}, "final must not name refine itself"),
        ({"final": "maxherdin"}, "strategy 'maxherdin' is unknown; did you mean 'maxherding'"),
        ({"rounds": 0}, "rounds must be at least 1; got 0"),
        ({"batches": 0}, "batches must be at least 1; got 0"),
        ({"first_subset": 0}, "first_subset must be at least 1; got 0"),
        ({"cap": 0}, "cap must be at least 1; got 0"),
        ({"alpha": 0.0}, r"alpha must lie in \(0, 1\]; got 0.0"),
        ({"alpha": 1.1}, r"alpha must lie in \(0, 1\]; got 1.1"),
    ],
)
def test_bad_options_of_refine(options, words):
    with pytest.raises(ValueError, match=words):
        pyal.select(X, Y, strategy="refine", proba=P, **options, **ASKED)


def test_refine_says_what_its_strategies_lack():
    with pytest.raises(ValueError, match="strategies must name one that can pick the first rows from what is given"):
        pyal.select(X, strategy="refine", strategies="margin,badge", **ASKED)
    with pytest.raises(ValueError, match="strategy 'refine' needs y= once rows are labelled"):
        pyal.select(X, labeled=[1], proba=P, strategy="refine", strategies="lookahead", **ASKED)
    with pytest.raises(ValueError, match="strategy 'margin' needs proba=, which is missing"):
        pyal.select(X, strategy="refine", final="margin", **ASKED)


# ---- DIRECT


@pytest.mark.parametrize(("scores", "is_class", "expected"), [
    ([-0.5, 0.1, 0.3, 0.9], [0, 0, 1, 1], 0.2),    # no error between 0.1 and 0.3
    ([-0.5, 0.1, 0.3, 0.9], [0, 1, 0, 1], -0.2),   # one error at -0.2 and at 0.6: the nearer to 0
    ([-0.3, 0.1, 0.3, 0.5], [0, 1, 0, 1], -0.1),   # one error at -0.1 and at 0.4
    ([-0.4, -0.2], [0, 0], 0.4),                   # the class is not known yet: between -0.2 and 1
    ([0.5, 0.6], [1, 1], -0.25),                   # nothing but the class: between -1 and 0.5
    ([-0.2, 0.2, 0.2, 0.4], [0, 1, 0, 1], 0.0),    # no cut between equal scores: one error at 0.0 and at 0.3
    ([-0.6, -0.2, 0.2, 0.6], [1, 0, 1, 0], 0.0),   # two errors at -0.8, 0.0 and 0.8
    ([-1.0, 1.0], [1, 0], -1.0),                   # one error at -1 and at 1: the lower
])  # fmt: skip
def test_the_threshold_by_hand(scores, is_class, expected):
    for order in itertools.permutations(range(len(scores))):
        found = best_threshold(np.array(scores)[list(order)], np.array(is_class, bool)[list(order)])
        assert found == pytest.approx(expected, abs=1e-12)


def test_direct_by_hand():
    """Two classes, so that g of class 1 is 2 p_1 - 1, and g of class 0 is its negative.

    Labelled: g_1 = -0.6 (class 0), -0.2 (0), 0.2 (0), 0.6 (1). Class 1 is split without an error between 0.2 and 0.6,
    at 0.4; class 0 at -0.4. Class 1 has one label, class 0 three: class 1 begins. Candidates by g_1: -0.5, -0.1, 0.3,
    0.5, 0.9 at positions 4 to 8. Class 1: 0.5 (above 0.4), then 0.3 (below), then 0.9. Class 0 has g_0 of 0.5, 0.1,
    -0.3, -0.5, -0.9: above -0.4 the nearest is -0.3 (position 6), below it -0.5 (position 7).
    Turns: class 1 takes 7, class 0 takes 6, class 1 passes over 6 and takes 8, class 0 passes over 7 and takes 5.
    """
    g = np.array([-0.6, -0.2, 0.2, 0.6, -0.5, -0.1, 0.3, 0.5, 0.9])
    proba = np.column_stack([(1 - g) / 2, (1 + g) / 2])
    y = np.array([0, 0, 0, 1, -1, -1, -1, -1, -1])
    asked = {"strategy": "direct", "y": y, "proba": proba}
    assert pyal.select(np.zeros((9, 1)), batch_size=5, **asked).tolist() == [7, 6, 8, 5, 4]
    assert pyal.select(np.zeros((9, 1)), batch_size=1, **asked).tolist() == [7]


def one_by_one(p: np.ndarray, y: np.ndarray, b: int) -> list[int]:
    """DIRECT as plain loops over lists."""
    labeled, free = np.flatnonzero(y >= 0).tolist(), np.flatnonzero(y < 0).tolist()
    counts = [sum(y[i] == k for i in labeled) for k in range(p.shape[1])]
    lists = {}
    for k in range(p.shape[1]):
        g = [float(row[k] - max(v for c, v in enumerate(row) if c != k)) for row in p]
        known = sorted({g[i] for i in labeled})
        cuts = [(low + high) / 2 for low, high in itertools.pairwise([-1.0, *known, 1.0])]
        errors = {t: sum((g[i] > t) != (y[i] == k) for i in labeled) for t in cuts}
        t = min(cuts, key=lambda cut: (errors[cut], abs(cut), cut))
        above = sorted((i for i in free if g[i] > t), key=lambda i: (g[i], i))
        below = sorted((i for i in free if g[i] <= t), key=lambda i: (-g[i], i))
        lists[k] = [i for pair in itertools.zip_longest(above, below) for i in pair if i is not None]
    picks: list[int] = []
    for k in itertools.cycle(sorted(lists, key=lambda k: (counts[k], k))):
        picks.append(next(i for i in lists[k] if i not in picks))
        if len(picks) == b:
            return picks
    raise AssertionError


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("b", [1, 3, 25])
def test_direct_is_the_plain_loops(seed, b):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(C, 0.4), N)
    y = np.where(rng.random(N) < 0.2, rng.integers(0, C - seed % 2, N), -1)
    y[0] = 0
    found = pyal.select(X, y, strategy="direct", proba=p, batch_size=b)
    assert found.tolist() == one_by_one(p, y, b)


def test_direct_shares_the_batch_among_rare_and_common_classes():
    """Nine of ten rows are of class 0: direct's batch has more rows of the others than random's."""
    rng = np.random.default_rng(0)
    truth = np.where(rng.random(2000) < 0.9, 0, rng.integers(1, 4, 2000))
    logits = rng.normal(size=(2000, 4)) + 2.5 * np.eye(4)[truth] + [1.5, 0, 0, 0]
    proba = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = np.where(np.arange(2000) < 100, truth, -1)
    picks = pyal.select(np.zeros((2000, 1)), y, strategy="direct", proba=proba, batch_size=60)
    assert (truth[picks] > 0).mean() > 3 * (truth > 0).mean()


def test_direct_with_other_names_of_the_classes():
    names = np.array(["ant", "bee", "cat", "dog"], object)
    y = np.where(Y >= 0, names[Y], None)
    expected = pyal.select(X, Y, strategy="direct", proba=P, **ASKED).tolist()
    assert pyal.select(X, y, strategy="direct", proba=P, **ASKED).tolist() == expected
    y[Y == 3] = "cat"
    with pytest.raises(ValueError, match=r"y must hold column numbers of proba, 0 .. 3, or all its 4 classes"):
        pyal.select(X, y, strategy="direct", proba=P, **ASKED)


def test_direct_draws_the_first_rows():
    assert len({tuple(pyal.select(X, strategy="direct", batch_size=3, random_state=seed)) for seed in range(5)}) == 5
