"""What one more row would do to a linear classifier: against plain NumPy, ties, unknown classes, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from data import DIMENSIONS, host, put, rounded
from oracle import reference

from pyal import _cpu, kernels

EPS = np.finfo(float).eps
INF = np.inf


def problem(m: int, V: int, C: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """G, errors, scores and labels; with three classes or more the last one is not known, with errors of 0."""
    rng = np.random.default_rng(seed)
    G, errors, scores = rng.standard_normal((m, V)), rng.standard_normal((m, C)), rng.standard_normal((V, C))
    if C > 2:
        errors[:, -1], scores[:, -1] = 0, -INF
    return G, errors, scores, rng.integers(0, C, V)


def assert_near(found, given, *, scale: float = 1.0, cap: float = INF) -> None:
    """correct exactly: nothing here is tied but whole numbers. A loss has the roundings of a score and of a sum."""
    G, errors, scores, labels = given
    correct, loss = reference.rank_one_gains(G, errors, scores, labels, scale=scale, cap=cap)
    np.testing.assert_array_equal(host(found[0]), correct)
    largest = np.abs(scores[np.isfinite(scores)]).max() + np.abs(G).max() * np.abs(errors).max()
    np.testing.assert_allclose(host(found[1]), loss, rtol=EPS * (4 + len(labels)), atol=8 * EPS * (scale * largest + 1))
    assert host(found[0]).dtype == np.int64
    assert host(found[1]).dtype == np.float64


@pytest.mark.parametrize("V", [*DIMENSIONS[:-1], 1100])
def test_against_the_reference(engine, V):
    for m, C in ((1, 1), (3, 2), (9, 7), (5, 40)):
        given = problem(m, V, C)
        for scale, cap in ((1.0, INF), (73.68, 36.04), (1e-3, 0.5)):
            found = kernels.rank_one_gains(put(given[0], "float64", engine), *given[1:], scale=scale, cap=cap)
            assert_near(found, given, scale=scale, cap=cap)
            assert (host(found[1]) <= cap * (1 + V * EPS)).all()


def test_storage_types(engine, dtype):
    """Widened as they are read, the rest is double: the answer is that of the values as they are stored."""
    G, *others = problem(11, 67, 5)
    found = kernels.rank_one_gains(put(G, dtype, engine), *others, scale=10.0)
    assert isinstance(found[0], np.ndarray) == (engine == "cpu")
    assert_near(found, (rounded(G, dtype), *others), scale=10.0)


def test_golden(engine):
    """One row of scores (0, 1) and label 0; three candidates push it by 0, 1 and 2 times (1, 0).

    After that the scores are (0, 1), (1, 1) and (2, 1): wrong, tied and so the lowest class, right. The losses are
    log(1 + e^(1 - g)): 1.3133, 0.6931, 0.3133.
    """
    G = put(np.array([[0.0], [1.0], [2.0]]), "float64", engine)
    correct, loss = host(kernels.rank_one_gains(G, [[1.0, 0.0]] * 3, [[0.0, 1.0]], [0]))
    assert correct.tolist() == [0, 1, 1]
    np.testing.assert_allclose(loss, [1.3132616875182228, 0.6931471805599453, 0.31326168751822286], rtol=4 * EPS)
    correct, loss = host(kernels.rank_one_gains(G, [[1.0, 0.0]] * 3, [[0.0, 1.0]], [1], scale=2.0, cap=1.0))
    assert correct.tolist() == [1, 0, 0]
    np.testing.assert_allclose(loss, [np.log1p(np.exp(-2)), np.log(2), 1.0], rtol=4 * EPS)  # log(1 + e^2) is above 1


def test_ties_go_to_the_lowest_class(engine):
    """Whole numbers, which every sum holds exactly: most rows are tied."""
    rng = np.random.default_rng(0)
    G, errors = rng.integers(-1, 2, (40, 100)) * 1.0, rng.integers(-1, 2, (40, 6)) * 1.0
    scores, labels = rng.integers(-1, 2, (100, 6)) * 1.0, rng.integers(0, 6, 100)
    found = kernels.rank_one_gains(put(G, "float32", engine), errors, scores, labels)
    assert_near(found, (G, errors, scores, labels))


def test_classes_that_are_not_known(engine):
    """A row with such a label is wrong, with the cap for a loss; the others are as if the class were not there."""
    G, errors, scores, labels = problem(6, 50, 4)
    known = labels < 3
    G_known = put(G[:, known], "float64", engine)
    whole = host(kernels.rank_one_gains(put(G, "float64", engine), errors, scores, labels, cap=20.0))
    part = host(kernels.rank_one_gains(G_known, errors[:, :3], scores[known, :3], labels[known], cap=20.0))
    np.testing.assert_array_equal(whole[0], part[0])
    np.testing.assert_allclose(whole[1], known.mean() * part[1] + (~known).mean() * 20, rtol=1e-13)
    loss = host(kernels.rank_one_gains(put(G, "float64", engine), errors, scores, labels)[1])
    assert np.isposinf(loss).all()


def test_large_scores_and_scales(engine):
    """No exponential overflows, no -inf less -inf: far from the largest score the loss is the distance itself."""
    G = put(np.array([[1.0], [-1.0], [0.0]]), "float64", engine)
    errors, scores = [[1e140, 0.0, 0.0]] * 3, [[0.0, 1e140, -INF]]
    for scale in (1e-300, 1.0, 1e10):
        loss = host(kernels.rank_one_gains(G, errors, scores, [0], scale=scale)[1])
        far = 1e140 * scale
        wanted = [np.log(2), 2 * far, far] if far > 100 else [np.log(2)] * 3
        np.testing.assert_allclose(loss, wanted, rtol=1e-14)
    loss = host(kernels.rank_one_gains(G, errors, scores, [0], scale=1e300, cap=7.0)[1])
    np.testing.assert_allclose(loss, [np.log(2), 7, 7], rtol=1e-14)


@pytest.mark.usefixtures("isa")
def test_the_exponential_and_the_logarithm():
    """log(1 + e^-x) and, for the other class, x more: at every scale of x within an ulp or two."""
    x = np.concatenate([np.linspace(0, 40, 500), 10.0 ** np.linspace(-17, 3, 500)])
    for x_v in x:
        of_first, of_second = (
            kernels.rank_one_gains([[1.0]], [[0.0, -x_v]], [[0.0, 0.0]], [label])[1][0] for label in (0, 1)
        )
        assert of_first == pytest.approx(np.log1p(np.exp(-x_v)), abs=2 * EPS)
        assert of_second == pytest.approx(np.logaddexp(0, x_v), rel=2 * EPS, abs=2 * EPS)
        assert of_first >= 0


@pytest.mark.usefixtures("isa")
def test_threads_and_neighbours_change_nothing():
    G, *others = problem(7, 1030, 5)
    tiled = np.tile(G, (30, 1)), np.tile(others[0], (30, 1)), *others[1:]
    first = kernels.rank_one_gains(*tiled, n_jobs=1)
    for found in first:
        np.testing.assert_array_equal(found, np.tile(found[:7], 30))
    for n_jobs in (2, 5, None):
        for found, wanted in zip(kernels.rank_one_gains(*tiled, n_jobs=n_jobs), first, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_instruction_sets_agree():
    given, before, losses = problem(20, 333, 6), _cpu.isa_in_use(), []
    for isa in _cpu.isas_available():
        _cpu.set_isa(isa)
        losses.append(kernels.rank_one_gains(*given, scale=5.0, cap=36.0)[1])
    _cpu.set_isa(before)
    for loss in losses:
        np.testing.assert_allclose(loss, losses[0], rtol=1e-12)


def test_what_comes_in_is_not_changed_and_may_be_of_any_kind():
    given = problem(5, 20, 3)
    copies = [a.copy() for a in given]
    first = kernels.rank_one_gains(*given, cap=9.0)
    lists = [a.tolist() for a in given]
    turned = [np.asfortranarray(a) for a in given[:3]]
    for other in (kernels.rank_one_gains(*lists, cap=9.0), kernels.rank_one_gains(*turned, given[3], cap=9.0)):
        for a, b in zip(other, first, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(given, copies, strict=True):
        np.testing.assert_array_equal(a, b)


FITTING = {"G": [[0.5, 1.0]], "errors": [[1.0, 0.0]], "scores": [[0.0, 1.0], [1.0, 0.0]], "labels": [0, 1]}
BAD = [
    ({"G": [[np.nan, 1.0]]}, "G must be finite; NaN or infinity in row 0"),
    ({"G": [1.0, 2.0]}, "G must be"),
    ({"errors": [[1.0, 0.0]] * 2}, "errors must have one row per row of G, 1; got 2"),
    ({"errors": [[1.0, 0.0, 0.0]]}, "errors must have the classes of scores, 2; got 3"),
    ({"errors": [1.0, 0.0]}, r"errors must be 2-D, a column for each class; got shape \(2,\)"),
    ({"errors": [[np.nan, 0.0]]}, "errors must be numbers within 1e150 of 0; not so in row 0"),
    ({"errors": [[-1e151, 0.0]]}, "errors must be numbers within 1e150 of 0"),
    ({"scores": [[0.0, 1.0]]}, "scores must have one row per column of G, 2; got 1"),
    ({"scores": np.zeros((2, 0))}, r"scores must be 2-D, a column for each class; got shape \(2, 0\)"),
    ({"scores": [[0.0, 1.0], [np.nan, 0.0]]}, "scores must be numbers .* not so in row 1"),
    ({"scores": [[0.0, INF], [1.0, 0.0]]}, "scores must be numbers .* not so in row 0"),
    ({"scores": [[0.0, 1.0], [-INF, -INF]]}, "scores must be .* not all -inf in a row; not so in row 1"),
    ({"labels": [0]}, r"labels must have shape \(2,\), one entry per row; got \(1,\)"),
    ({"labels": [0, 2]}, "labels must be in 0 .. 1; got 2 at 1"),
    ({"labels": [-1, 0]}, "labels must be in 0 .. 1; got -1 at 0"),
    ({"scale": 0.0}, "scale must be a finite number above 0; got 0.0"),
    ({"scale": INF}, "scale must be a finite number above 0"),
    ({"cap": 0.0}, "cap must be a number above 0; got 0.0"),
    ({"cap": np.nan}, "cap must be a number above 0"),
    ({"n_jobs": 0}, "n_jobs must be"),
]


@pytest.mark.parametrize(("changed", "said"), BAD, ids=[said for _, said in BAD])
def test_what_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        kernels.rank_one_gains(**(FITTING | changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": [0.0, 1.0]}, "labels must hold integers"),
        ({"errors": [["a", "b"]]}, "errors must hold real numbers"),
        ({"scores": [[1j, 0]] * 2}, "scores must hold real numbers"),
        ({"scale": "1"}, "scale must be a number"),
        ({"cap": True}, "cap must be a number"),
    ],
)
def test_what_is_of_the_wrong_kind(changed, said):
    with pytest.raises(TypeError, match=said):
        kernels.rank_one_gains(**(FITTING | changed))
