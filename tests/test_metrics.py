"""The metrics against cases worked out on paper, against SciPy, and on curves with nothing to say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss, recall_score

import pyal
from pyal import metrics

CURVES = np.array([[0.2, 0.4, 0.9], [0.4, 0.6, 0.5]])
BUDGETS = np.array([10, 20, 60])
NAN = float("nan")


# ---- area under the budget curve


def test_aubc_by_hand():
    assert metrics.aubc(CURVES) == pytest.approx([0.5, 0.5])
    assert metrics.aubc(CURVES, start=1) == pytest.approx([0.65, 0.55])
    # (10 * 0.3 + 40 * 0.65) / 50 and (10 * 0.5 + 40 * 0.55) / 50
    assert metrics.aubc(CURVES, BUDGETS, mode="trapz") == pytest.approx([0.58, 0.54])
    assert metrics.aubc(CURVES, BUDGETS, mode="trapz", start=1) == pytest.approx([0.65, 0.55])
    assert metrics.aubc(CURVES, BUDGETS).tolist() == metrics.aubc(CURVES).tolist()


@pytest.mark.parametrize("mode", ["mean", "trapz"])
@pytest.mark.parametrize("start", [0, 1])
def test_aubc_of_a_constant_is_the_constant(mode, start):
    found = metrics.aubc(np.full((3, 3), 0.7), BUDGETS, mode=mode, start=start)
    assert found == pytest.approx([0.7] * 3)
    assert (found.dtype, found.shape) == (np.float64, (3,))


def test_aubc_of_a_step():
    assert metrics.aubc([[0, 0, 1, 1]], [1, 2, 3, 4], mode="trapz") == pytest.approx([0.5])
    assert metrics.aubc([[0, 0, 1, 1]]) == pytest.approx([0.5])


def test_aubc_keeps_what_is_missing_to_its_seed():
    holed = CURVES.copy()
    holed[0, 0] = NAN
    for mode in ("mean", "trapz"):
        assert np.isnan(metrics.aubc(holed, BUDGETS, mode=mode)).tolist() == [True, False]
        assert not np.isnan(metrics.aubc(holed, BUDGETS, mode=mode, start=1)).any()


# ---- label efficiency


def test_label_efficiency_by_hand():
    method, random = [[0.4, 0.6, 0.8]], [[0.2, 0.4, 0.8]]
    # 0.5 is reached at 15 by the method, at 20 + 40 / 4 by random
    assert metrics.label_efficiency(method, random, BUDGETS, 0.5) == pytest.approx(2.0)
    assert metrics.label_efficiency(method, random, BUDGETS, 0.5, interpolate=False) == pytest.approx(3.0)
    assert metrics.label_efficiency(random, method, BUDGETS, 0.5) == pytest.approx(0.5)
    assert metrics.label_efficiency(method, random, BUDGETS, 0.1) == 1  # both have it from the start
    assert metrics.label_efficiency(method, random, BUDGETS, 0.8) == 1
    assert np.isnan(metrics.label_efficiency(method, random, BUDGETS, 0.81))


def test_label_efficiency_averages_the_seeds_first():
    two = [[0.0, 1.0], [0.4, 0.6]]
    assert metrics.label_efficiency(two, [[0.2, 0.8]], [10, 20], 0.5) == pytest.approx(1)


def test_label_efficiency_is_of_the_running_maximum():
    falls = [[0.4, 0.6, 0.3, 0.8]]
    rises = [[0.4, 0.6, 0.6, 0.8]]
    labels = [1, 2, 3, 4]
    for target in (0.5, 0.6, 0.7):
        assert metrics.label_efficiency(falls, rises, labels, target) == 1
    # 0.7 lies between the third round, at 0.6 by the running maximum, and the fourth
    assert metrics.label_efficiency([[1, 1, 1, 1]], falls, labels, 0.7) == pytest.approx(3.5)


def test_label_efficiency_of_a_step():
    step = [[0, 0, 1, 1]]
    assert metrics.label_efficiency([[1, 1, 1, 1]], step, [1, 2, 3, 4], 1) == 3
    assert metrics.label_efficiency([[1, 1, 1, 1]], step, [1, 2, 3, 4], 0.5) == 2.5


def test_label_efficiency_with_rounds_of_their_own():
    assert metrics.label_efficiency([[0.9]], [[0.1, 0.9]], [5], 0.9, n_labels_random=[5, 50]) == 10


def test_label_efficiency_knows_nothing_after_a_nan():
    holed = [[0.4, NAN, 0.8]]
    full = [[0.4, 0.6, 0.8]]
    assert metrics.label_efficiency(holed, full, BUDGETS, 0.3) == 1
    assert np.isnan(metrics.label_efficiency(holed, full, BUDGETS, 0.7))
    assert np.isnan(metrics.label_efficiency(full, holed, BUDGETS, 0.7))
    assert np.isnan(metrics.label_efficiency(full, [[0.1, 0.2, 0.3]], BUDGETS, 0.7))


# ---- against random


def test_effective_budget_ratio_by_hand():
    random = np.array([[0.2, 0.4, 0.5], [0.4, 0.6, 0.7]])  # means 0.3 0.5 0.6, deviations 0.1 * sqrt(2)
    method = [[0.5, 0.6, 0.75]]  # the second is better than random, by less than a deviation
    # cells of 10, 20, 60: half of 10, half of 10 and of 40, half of 40
    assert metrics.effective_budget_ratio(method, random, BUDGETS) == pytest.approx((5 + 20) / 50)
    assert metrics.effective_budget_ratio(method, random, BUDGETS, weight="rounds") == pytest.approx(2 / 3)
    assert metrics.effective_budget_ratio(random, random, BUDGETS) == 0
    assert metrics.effective_budget_ratio(random + 0.5, random, BUDGETS) == 1
    assert metrics.effective_budget_ratio([[1.0]], random[:, :1], [7]) == 1


def test_effective_budget_ratio_of_constants():
    even = np.full((3, 3), 0.5)
    assert metrics.effective_budget_ratio(even, even, BUDGETS) == 0  # not better is not effective
    assert metrics.effective_budget_ratio(even + 0.01, even, BUDGETS) == 1


def test_effective_budget_ratio_that_nobody_knows():
    holed = CURVES.copy()
    holed[1, 2] = NAN
    assert np.isnan(metrics.effective_budget_ratio(CURVES, CURVES[:1], BUDGETS))  # one seed has no deviation
    assert np.isnan(metrics.effective_budget_ratio(holed, CURVES, BUDGETS))
    assert np.isnan(metrics.effective_budget_ratio(CURVES, holed, BUDGETS))


def test_active_learning_gain():
    assert metrics.active_learning_gain(CURVES, [[0.3, 0.3, 0.8]]) == pytest.approx([0, 0.2, -0.1])
    assert metrics.active_learning_gain(CURVES, CURVES).tolist() == [0, 0, 0]
    holed = CURVES.copy()
    holed[0, 1] = NAN
    assert np.isnan(metrics.active_learning_gain(holed, CURVES)).tolist() == [False, True, False]


# ---- classes and seeds


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 40])
def test_balanced_accuracy_is_mean_recall(n):
    y, y_pred = np.random.default_rng(n).integers(0, 4, (2, n))  # some classes only in one of them
    recalls = recall_score(y, y_pred, labels=np.unique(y), average=None, zero_division=0)
    assert metrics.balanced_accuracy(y, y_pred) == pytest.approx(recalls.mean())


def test_balanced_accuracy_of_names():
    assert metrics.balanced_accuracy(["a", "a", "b"], ["a", "b", "b"]) == pytest.approx(0.75)
    assert metrics.balanced_accuracy([1], [2]) == 0


def test_spread_over_seeds():
    acc = [[0.1, 0.5], [0.3, 0.5], [0.5, 0.5]]
    assert metrics.standard_deviation(acc) == pytest.approx([0.2, 0])
    assert metrics.standard_error(acc) == pytest.approx([0.2 / np.sqrt(3), 0])
    assert np.isnan(metrics.standard_error(acc[:1])).all()


# ---- paired tests


def test_paired_p_values_are_those_of_scipy():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 6, 4))
    assert metrics.paired_p_values(one, other) == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert metrics.paired_p_values(one, other).tolist() == metrics.paired_p_values(other, one).tolist()


def test_paired_p_values_without_spread():
    even = np.full((3, 2), 0.5)
    assert metrics.paired_p_values(even, even).tolist() == [1, 1]
    assert metrics.paired_p_values(even + 0.25, even).tolist() == [0, 0]
    assert np.isnan(metrics.paired_p_values(even[:1], even[:1])).all()
    assert np.isnan(metrics.paired_p_values(np.where([True, False], NAN, even), even)).tolist() == [True, False]


def test_pairwise_penalty_matrix_by_hand():
    base = np.array([[0.50, 0.60], [0.52, 0.62], [0.48, 0.61]])
    better = base + np.array([[0.30, 0.01], [0.31, -0.02], [0.29, 0.02]])  # significantly in the first round only
    wins = metrics.pairwise_penalty_matrix([base, better, base])
    assert wins.tolist() == [[0, 0, 0], [0.5, 0, 0.5], [0, 0, 0]]
    assert metrics.pairwise_penalty_matrix(np.stack([base, better]), alpha=1e-9).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_pairwise_penalty_matrix_is_the_t_test_at_95_percent(seed):
    rng = np.random.default_rng(seed)
    acc = rng.random((3, 5, 8)) + np.array([0, 0.5, 1])[:, None, None]
    wins = metrics.pairwise_penalty_matrix(acc)
    for i in range(3):
        for j in range(3):
            difference = acc[i] - acc[j]
            # 2.776: five seeds, as in the BADGE paper
            t = np.sqrt(5) * difference.mean(axis=0) / np.maximum(difference.std(axis=0, ddof=1), 1e-300)
            assert wins[i, j] == pytest.approx(np.mean(t > stats.t.ppf(0.975, 4)))


def test_pairwise_penalty_matrix_with_a_hole():
    acc = np.random.default_rng(0).random((3, 4, 2))
    acc[1, 0, 0] = NAN
    known = ~np.isnan(metrics.pairwise_penalty_matrix(acc))
    assert known.tolist() == [[True, False, True], [False, True, False], [True, False, True]]


# ---- all of them


def calls(acc, other, labels):
    """Every metric of curves on these."""
    yield lambda: metrics.aubc(acc, labels, mode="trapz")
    yield lambda: metrics.label_efficiency(acc, other, labels, 0.5)
    yield lambda: metrics.effective_budget_ratio(acc, other, labels)
    yield lambda: metrics.active_learning_gain(acc, other)
    yield lambda: metrics.paired_p_values(acc, other)
    yield lambda: metrics.pairwise_penalty_matrix([acc, other])


def test_nothing_is_changed_and_lists_tensors_and_integers_do():
    torch = pytest.importorskip("torch")
    acc, other = np.array([[0, 1, 1], [0, 0, 1]]), np.array([[0, 0, 1], [1, 0, 0]])
    before = acc.copy()
    expected = [call() for call in calls(acc.astype(float), other.astype(float), BUDGETS)]
    for kind in (np.asarray, np.ndarray.tolist, torch.from_numpy):
        for call, wanted in zip(calls(kind(acc), kind(other), kind(BUDGETS)), expected, strict=True):
            assert np.array_equal(call(), wanted, equal_nan=True)
    assert (acc == before).all()


@pytest.mark.parametrize(
    ("acc", "kind", "words"),
    [
        ([0.1, 0.2, 0.3], ValueError, r"must be \(seeds, rounds\).*got shape \(3,\) \(one seed: a list of one curve\)"),
        (np.empty((0, 3)), ValueError, r"both at least 1; got shape \(0, 3\)"),
        (np.zeros((2, 3, 1)), ValueError, r"got shape \(2, 3, 1\)"),
        ([["a", "b", "c"]], TypeError, "must hold real numbers"),
        ([[0.1, np.inf, 0.2]], ValueError, "must not hold infinities"),
    ],
)
def test_bad_curves(acc, kind, words):
    good = CURVES
    for call in [*calls(acc, good, BUDGETS), *list(calls(good, acc, BUDGETS))[1:]]:
        with pytest.raises(kind, match=words):
            call()


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        ([10, 20], ValueError, r"n_labels must have one entry per round, \(3,\); got shape \(2,\)"),
        ([10, 20, 20], ValueError, "n_labels must be positive and rise from round to round; got"),
        ([0, 10, 20], ValueError, "n_labels must be positive"),
        ([1, 2, np.nan], ValueError, "n_labels must be positive"),
        (["a", "b", "c"], TypeError, "n_labels must hold numbers of labels"),
    ],
)
def test_bad_budgets(labels, kind, words):
    for call in list(calls(CURVES, CURVES, labels))[:3]:
        with pytest.raises(kind, match=words):
            call()
    with pytest.raises(kind, match=words):
        metrics.aubc(CURVES, labels)
    with pytest.raises(kind, match=words.replace("n_labels", "n_labels_random")):
        metrics.label_efficiency(CURVES, CURVES, BUDGETS, 0.5, n_labels_random=labels)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: metrics.aubc(CURVES, mode="sum"), ValueError, "mode must be 'mean' or 'trapz'; got 'sum'"),
        (lambda: metrics.aubc(CURVES, mode="trapz"), ValueError, "needs n_labels"),
        (lambda: metrics.aubc(CURVES, start=3), ValueError, r"start must be in 0 .. 2 \(the last round\); got 3"),
        (lambda: metrics.aubc(CURVES, start=-1), ValueError, "start must be"),
        (lambda: metrics.aubc(CURVES, start=0.5), TypeError, "start must be an integer"),
        (lambda: metrics.aubc(CURVES, BUDGETS, mode="trapz", start=2), ValueError, "at least 2 rounds; got 1"),
        (lambda: metrics.label_efficiency(CURVES, CURVES, BUDGETS, None), TypeError, "target must be a number"),
        (lambda: metrics.label_efficiency(CURVES, CURVES, BUDGETS, NAN), ValueError, "target must be a finite"),
        (lambda: metrics.effective_budget_ratio(CURVES, CURVES, BUDGETS, weight="x"), ValueError, "weight must be"),
        (lambda: metrics.effective_budget_ratio(CURVES, CURVES[:, 1:], BUDGETS), ValueError, "rounds of acc, 3; got 2"),
        (lambda: metrics.active_learning_gain(CURVES, CURVES[:, 1:]), ValueError, "rounds of acc, 3; got 2"),
        (lambda: metrics.paired_p_values(CURVES, CURVES[:1]), ValueError, r"\(2, 3\); got \(1, 3\)"),
        (lambda: metrics.pairwise_penalty_matrix([CURVES, CURVES[:1]]), ValueError, "same seeds and rounds"),
        (lambda: metrics.pairwise_penalty_matrix([]), ValueError, "same seeds and rounds"),
        (lambda: metrics.pairwise_penalty_matrix([CURVES[:1]]), ValueError, "at least 2 seeds"),
        (lambda: metrics.pairwise_penalty_matrix([CURVES], alpha=1), ValueError, "alpha must be below 1"),
        (lambda: metrics.pairwise_penalty_matrix([CURVES], alpha=0), ValueError, "alpha must be"),
        (lambda: metrics.balanced_accuracy([], []), ValueError, "n > 0"),
        (
            lambda: metrics.balanced_accuracy([1, 2], [1]),
            ValueError,
            r"y_pred must have one class per row of y, \(2,\)",
        ),
    ],
)
def test_bad_values(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_metrics_are_public():
    assert pyal.metrics is metrics


# ---- cross-entropy


def test_cross_entropy_by_hand():
    """-log 1/2 = 0.6931, -log 1/4 = 1.3863; a certain error and an unknown class are 36.0437 = -log 2^-52 each."""
    proba = [[0.5, 0.5, 0.0], [0.0, 0.75, 0.25], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]]
    largest = 52 * np.log(2)
    assert metrics.cross_entropy([7, 9], proba[:2], [7, 8, 9]) == pytest.approx(1.5 * np.log(2), rel=1e-15)
    found = metrics.cross_entropy([7, 9, 7, 6], proba, [7, 8, 9])
    assert found == pytest.approx((3 * np.log(2) + 2 * largest) / 4, rel=1e-15)
    assert metrics.cross_entropy([8], [[0.0, 1.0, 0.0]], [7, 8, 9]) == 0
    assert metrics.cross_entropy([1], [[1e-30, 1 - 1e-30]], [1, 2]) == pytest.approx(largest)
    assert metrics.cross_entropy([1], [[2**-50, 1 - 2**-50]], [1, 2]) == pytest.approx(50 * np.log(2))


def test_cross_entropy_is_scikit_learns():
    rng = np.random.default_rng(0)
    proba, y = rng.dirichlet(np.ones(4), 50), rng.integers(0, 4, 50)
    assert metrics.cross_entropy(y, proba, range(4)) == pytest.approx(log_loss(y, proba, labels=range(4)), rel=1e-14)


def test_cross_entropy_of_labels_of_any_kind_and_classes_in_any_order():
    names = np.array(["cat", "an owl", "dog"])
    proba, y = np.random.default_rng(0).dirichlet(np.ones(3), 20), np.arange(20) % 3
    wanted = metrics.cross_entropy(y, proba, [0, 1, 2])
    for labels in (names[y], names[y].astype(object), names[y].tolist()):
        assert metrics.cross_entropy(labels, proba, names) == wanted
        assert metrics.cross_entropy(labels, proba, names.astype(object)) == wanted
    assert metrics.cross_entropy(y * 1.0, proba, [0, 1, 2]) == wanted
    assert metrics.cross_entropy(y, proba[:, ::-1], [2, 1, 0]) == wanted
    assert metrics.class_positions(["dog", "eel", "cat", "ant"], names).tolist() == [2, -1, 0, -1]


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"y": [[0, 1]]}, ValueError, r"y must be 1-D with at least one label; got shape \(1, 2\)"),
        ({"y": []}, ValueError, "y must be 1-D with at least one label"),
        ({"y": [0, NAN]}, ValueError, "y must hold labels alone; got nan at 1"),
        ({"y": np.array(["a", None], object), "classes": ["a", "b"]}, ValueError, "y must hold .* got None at 1"),
        ({"y": [0j, 1]}, TypeError, "y must hold numbers or text; got dtype complex128"),
        ({"y": ["a", "b"]}, ValueError, "y must hold labels of the kind of classes, such as .*; got .*a"),
        ({"classes": [1, 1]}, ValueError, "classes must be distinct; got .*1.* twice"),
        ({"classes": [0, 1, 2]}, ValueError, r"proba must be \(n, C\), .* \(2, 3\); got shape \(2, 2\)"),
        ({"y": [0]}, ValueError, r"proba must be \(n, C\), .* \(1, 2\); got shape \(2, 2\)"),
        ({"proba": [["a", "b"]] * 2}, TypeError, "proba must hold real numbers"),
        (
            {"proba": [[0.5, 0.5], [0.5, 0.6]]},
            ValueError,
            "proba must hold probabilities that sum to 1; not so in row 1",
        ),
        ({"proba": [[1.5, -0.5], [0.5, 0.5]]}, ValueError, "proba must hold probabilities .* not so in row 0"),
        ({"proba": [[NAN, 1], [0.5, 0.5]]}, ValueError, "proba must hold probabilities .* not so in row 0"),
    ],
)
def test_cross_entropy_says_what_is_wrong(changed, error, said):
    arguments = {"y": [0, 1], "proba": [[0.5, 0.5]] * 2, "classes": [0, 1]} | changed
    with pytest.raises(error, match=said):
        metrics.cross_entropy(**arguments)
