"""Learning curves carried on: known ones are found again, intervals hold, and what cannot be fitted is refused."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

import pyal
from pyal import metrics

LABELS = np.arange(20, 220, 20)


def palm(n, a_max=0.85, delta=0.3, alpha=0.8, beta=0.6, batch=20):
    """The curve as its paper prints it."""
    return a_max * (1 - (1 - delta) ** ((np.asarray(n) / batch + alpha) ** beta))


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"a_max": 0.6, "delta": 0.1, "alpha": 2.0, "beta": 1.0},
        {"a_max": 0.95, "delta": 0.5, "alpha": 0.2, "beta": 0.4},
        {"delta": 0.05, "beta": 1.5},
    ],
)
def test_a_curve_without_noise_is_found_again(known):
    found = metrics.forecast(palm(LABELS, **known), LABELS, draws=5)
    expected = {"a_max": 0.85, "delta": 0.3, "alpha": 0.8, "beta": 0.6} | known
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-2, abs=1e-3)
    assert found.accuracy([0, 300, 1000]) == pytest.approx(palm([0, 300, 1000], **known), abs=1e-4)
    assert found.interval(300) == pytest.approx([palm(300, **known)] * 2, abs=1e-4)
    assert found.gain(150) == pytest.approx([palm(350, **known) - palm(200, **known)] * 3, abs=1e-4)


def test_by_hand():
    """1 - 0.5^(n / 50) with rounds of 20: 0.75 after 100, 0.875 after 150, and the next 50 bring an eighth."""
    labels = [20, 40, 60, 80, 100]
    found = metrics.forecast([1 - 0.5 ** (n / 50) for n in labels], labels)
    assert (found.batch, found.n_labels, found.level) == (20, 100, 0.9)
    assert found.a_max == pytest.approx(1, abs=1e-4)
    assert found.beta == pytest.approx(1, abs=1e-3)
    assert found.accuracy(100) == pytest.approx(0.75, abs=1e-6)
    assert found.gain(50)[0] == pytest.approx(0.125, abs=1e-5)
    assert str(found).startswith("accuracy 0.750 after 100 labels; the next 100 are likely to bring 18.7")


@pytest.mark.parametrize(("seeds", "most"), [(1, 0.99), (5, 1.0)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(seeds, most):
    """0.9 is promised, and more where seeds are given; the share that 30 runs reach has a standard error of 0.05."""
    rng = np.random.default_rng(0)
    hit, width = [], []
    for _ in range(30):
        acc = palm(LABELS) + 0.01 * rng.standard_normal((seeds, len(LABELS)))
        found = metrics.forecast(acc, LABELS, draws=30)
        low, high = found.interval(300)
        gained, least, highest = found.gain(100)
        assert gained >= 0
        hit.append((low <= palm(300) <= high, least <= palm(300) - palm(200) <= highest))
        width.append(high - low)
    assert ((np.mean(hit, axis=0) >= 0.75) & (np.mean(hit, axis=0) <= most)).all(), np.mean(hit, axis=0)
    assert np.mean(width) < 0.15


def test_what_seeds_share_counts_as_noise_too():
    """Seeds that lie apart, each without noise, leave no residual: their distance makes the interval."""
    apart, close = ([palm(LABELS, a_max=0.8 + far) for far in (-scale, 0, scale)] for scale in (0.05, 0.01))
    widths = [np.diff(metrics.forecast(acc, LABELS).interval(200))[0] for acc in (apart, close)]
    assert widths[0] > 3 * widths[1] > 0


def test_more_noise_or_a_higher_level_widens():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(len(LABELS))

    def width(scale: float, level: float = 0.9) -> float:
        low, high = metrics.forecast(palm(LABELS) + scale * noise, LABELS, level=level).interval(300)
        return high - low

    assert width(0.001) < width(0.01)
    assert width(0.01, 0.5) < width(0.01, 0.9) < width(0.01, 0.99)


@pytest.mark.parametrize("seed", range(5))
def test_it_never_falls_nor_passes_1(seed):
    rng = np.random.default_rng(seed)
    acc = np.clip(palm(LABELS, a_max=1.0, delta=0.5) + 0.05 * rng.standard_normal((3, len(LABELS))), 0, 1)
    found = metrics.forecast(acc, LABELS, draws=30)
    at = np.concatenate([np.arange(0, 1000, 7), [1e6, 1e12]])
    low, high = found.interval(at)
    for curve in (found.accuracy(at), low, high):
        assert (np.diff(curve) >= -1e-12).all()
        assert curve.min() >= 0
        assert curve.max() <= 1
    assert (low <= high).all()


def test_the_scale_of_the_labels_does_not_matter():
    near, far = (metrics.forecast(palm(LABELS), LABELS * scale) for scale in (1, 50))
    assert far.accuracy(300 * 50) == pytest.approx(near.accuracy(300), abs=1e-6)
    assert far.batch == 50 * near.batch


def test_rounds_of_any_size():
    uneven = np.array([20, 30, 50, 100, 180, 200])
    found = metrics.forecast(palm(uneven), uneven, draws=5)
    assert found.accuracy(400) == pytest.approx(palm(400), abs=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_a_flat_curve_stays_flat(level):
    found = metrics.forecast(np.full(10, level), LABELS, draws=10)
    assert found.accuracy(500) == pytest.approx(level, abs=1e-3)
    assert found.gain(100) == pytest.approx((0, 0, 0), abs=1e-3)
    assert "nan" not in str(found)


def test_a_falling_curve_is_said_to_fall():
    with pytest.warns(UserWarning, match=r"accuracy falls with the labels, from 0.7 after 20 to 0.5 after 200"):
        found = metrics.forecast(np.linspace(0.7, 0.5, 10), LABELS, draws=5)
    assert 0.5 <= found.accuracy(500) <= 0.7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics.forecast(np.r_[palm(LABELS)[:-1], 0.6], LABELS, draws=5)  # one bad round is noise


def test_same_random_state_same_intervals():
    acc = palm(LABELS) + 0.01 * np.random.default_rng(0).standard_normal((3, 10))
    one, same, other = (metrics.forecast(acc, LABELS, draws=20, random_state=seed) for seed in (0, 0, 1))
    assert one.interval(300) == same.interval(300) != other.interval(300)
    assert one.accuracy(300) == other.accuracy(300)


def test_one_run_may_be_a_plain_list():
    assert metrics.forecast(palm(LABELS).tolist(), LABELS).a_max == metrics.forecast([palm(LABELS)], LABELS).a_max


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"acc": palm(LABELS[:4]), "n_labels": LABELS[:4]}, ValueError, "at least 5 rounds to fit a curve to; got 4"),
        ({"acc": np.r_[palm(LABELS)[:9], np.nan]}, ValueError, "acc must have no NaN"),
        ({"acc": np.r_[palm(LABELS)[:9], np.inf]}, ValueError, "acc must not hold infinities"),
        ({"acc": 100 * palm(LABELS)}, ValueError, r"acc must lie in 0 to 1; got .* \(percentages: divide by 100\)"),
        ({"acc": palm(LABELS) - 0.5}, ValueError, "acc must lie in 0 to 1; got -0"),
        ({"acc": ["a"] * 10}, TypeError, "acc must hold real numbers"),
        ({"n_labels": LABELS[::-1]}, ValueError, "n_labels must be positive and rise"),
        ({"n_labels": LABELS[:5]}, ValueError, "n_labels must have one entry per round"),
        ({"level": 1.0}, ValueError, "level must be below 1; got 1.0"),
        ({"level": 0}, ValueError, "level must be a finite number above 0"),
        ({"draws": 0}, ValueError, "draws must be at least 1; got 0"),
    ],
)
def test_what_does_not_fit(given, kind, words):
    with pytest.raises(kind, match=words):
        metrics.forecast(**({"acc": palm(LABELS), "n_labels": LABELS} | given))


def test_what_may_be_asked_of_it():
    found = pyal.metrics.forecast(palm(LABELS), LABELS, draws=2)
    for ask in (found.accuracy, found.interval):
        with pytest.raises(ValueError, match="n must be numbers of labels, 0 or more; got -1"):
            ask(-1)
    with pytest.raises(ValueError, match="next must be at least 1; got 0"):
        found.gain(0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.a_max = 1


def test_intervals_have_the_shape_of_what_is_asked():
    labels = np.arange(20, 220, 20)
    found = metrics.forecast(1 - 0.5 ** (labels / 50), labels, draws=20)
    asked = [[250, 300], [350, 400]]
    low, high = found.interval(asked)
    assert low.shape == high.shape == np.shape(found.accuracy(asked)) == (2, 2)
    np.testing.assert_array_equal(low.ravel(), found.interval(np.ravel(asked))[0])
    with pytest.raises(TypeError, match="n must be numbers of labels; got 'a'"):
        found.accuracy("a")
