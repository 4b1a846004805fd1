"""The plots: what they draw, that they need no display, leave pyplot alone, and say what does not fit."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from data import blobs

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from pyal import plots

LABELS = [10, 20, 60]
CURVES = {
    "random": np.array([[0.2, 0.4, 0.6], [0.4, 0.6, 0.8]]),
    "margin": np.array([[0.3, 0.5, 0.9], [0.3, 0.7, 0.9]]),
}
X = blobs(60, 5)


def png(axes) -> bytes:
    image = io.BytesIO()
    axes.figure.savefig(image, format="png", dpi=40)
    assert image.getvalue().startswith(b"\x89PNG")
    return image.getvalue()


def band(axes, i: int) -> np.ndarray:
    """The corners of the i-th band, by x."""
    corners = axes.collections[i].get_paths()[0].vertices
    return np.unique(corners.round(9), axis=0)


def dots(collection) -> np.ndarray:
    return np.ma.getdata(collection.get_offsets())


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_learning_curves():
    axes = plots.learning_curves(CURVES, LABELS, title="digits")
    random, margin = axes.lines
    assert random.get_xdata().tolist() == LABELS
    assert random.get_ydata() == pytest.approx([0.3, 0.5, 0.7])
    assert margin.get_ydata() == pytest.approx([0.3, 0.6, 0.9])
    assert (random.get_color(), random.get_linestyle()) == ("black", "--")
    assert margin.get_linestyle() == "-"
    assert texts(axes) == ["random", "margin"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("labels", "test accuracy", "digits")
    low, high = band(axes, 0)[:2, 1]
    assert [low, high] == pytest.approx([0.3 - 0.02**0.5, 0.3 + 0.02**0.5])  # one deviation of 0.2 and 0.4
    png(axes)


def test_no_two_curves_look_alike():
    curves = dict.fromkeys(["random", *map(str, range(39))], CURVES["random"])
    left, right = (draw(curves, LABELS).lines for draw in (plots.learning_curves, plots.gain_curves))
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in left]
    assert len(set(looks)) == 40
    assert looks[1:] == [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in right[1:]]


def test_one_seed_has_no_band():
    axes = plots.learning_curves({"margin": CURVES["margin"][:1]}, LABELS)
    assert len(axes.lines) == 1
    assert not axes.collections
    png(axes)


def test_a_forecast_goes_on_where_the_curve_ends():
    labels = np.arange(20, 120, 20)
    acc = [1 - 0.5 ** (labels / 50)]
    axes = plots.learning_curves({"random": acc, "margin": acc}, labels, forecast=100)
    assert texts(axes) == ["random", "margin"]
    carried_on = axes.lines[2:]
    assert [line.get_linestyle() for line in carried_on] == [":", ":"]
    assert [line.get_color() for line in carried_on] == [line.get_color() for line in axes.lines[:2]]
    assert carried_on[0].get_xdata()[[0, -1]].tolist() == [100, 200]
    assert carried_on[0].get_ydata()[[0, -1]] == pytest.approx([0.75, 0.9375], abs=1e-4)
    assert len(axes.collections) == 2  # a band each
    png(axes)


def test_one_round_and_a_hole():
    png(plots.learning_curves({"random": [[0.5], [0.6]]}, [10]))
    holed = np.where([True, False, False], np.nan, CURVES["margin"])
    axes = plots.learning_curves({"margin": holed}, LABELS)
    assert np.isnan(axes.lines[0].get_ydata()).tolist() == [True, False, False]
    png(axes)


def test_gain_curves():
    axes = plots.gain_curves(CURVES, LABELS)
    zero, gain = axes.lines
    assert set(zero.get_ydata()) == {0}
    assert gain.get_ydata() == pytest.approx([0.0, 0.1, 0.2])
    assert texts(axes) == ["margin"]
    assert axes.get_ylabel() == "gain over random"
    low, high = band(axes, 0)[:2, 1]
    assert [low, high] == pytest.approx([-0.1, 0.1])  # the standard error of +0.1 and -0.1
    png(axes)
    png(plots.gain_curves({"random": CURVES["random"]}, LABELS))  # nothing to compare


def test_pool_map_by_principal_components():
    from sklearn.decomposition import PCA

    axes = plots.pool_map(X, [5, 3, 9], labeled=[1, 2], y=np.arange(60) % 4, title="round 1")
    pool, known, picks = axes.collections[:3]
    expected = PCA(2, random_state=0).fit_transform(X)
    assert dots(pool) == pytest.approx(expected)
    assert dots(known) == pytest.approx(expected[[1, 2]])
    assert dots(picks) == pytest.approx(expected[[5, 3, 9]])
    assert picks.get_array().tolist() == [1, 2, 3]
    assert texts(axes) == ["labelled", "picks"]
    png(axes)


def test_pool_map_by_given_coordinates():
    where = np.random.default_rng(0).normal(size=(60, 2))
    axes = plots.pool_map(X, [0], coordinates=where)
    assert dots(axes.collections[0]) == pytest.approx(where)
    assert dots(plots.pool_map(X[:, :2]).collections[0]) == pytest.approx(X[:, :2])
    assert set(dots(plots.pool_map(X[:, :1]).collections[0])[:, 1]) == {0}
    png(axes)


@pytest.mark.parametrize("y", [["a", "b", None] * 20, np.arange(60), [1.5, np.nan, 2.0] * 20])
def test_pool_map_colours_any_classes(y):
    assert len(plots.pool_map(X, y=y).collections[0].get_array()) == 60


def test_pool_map_of_no_picks():
    axes = plots.pool_map(X, [], labeled=np.zeros(60, bool))
    png(axes)
    png(plots.pool_map(X))


def test_large_pools_are_sampled_and_say_so(monkeypatch):
    monkeypatch.setattr(plots, "SHOWN_ROWS", 20)
    axes = plots.pool_map(X, [5, 3])
    assert len(dots(axes.collections[0])) == 20
    assert len(dots(axes.collections[1])) == 2
    assert axes.get_xlabel() == "20 of 60 rows shown"
    again = plots.pool_map(X, [5, 3])
    assert (dots(axes.collections[0]) == dots(again.collections[0])).all()


def test_given_axes_are_drawn_on():
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)
    assert plots.learning_curves(CURVES, LABELS, axes=left) is left
    assert plots.gain_curves(CURVES, LABELS, axes=right) is right
    assert plots.pool_map(X, [1, 2], axes=left) is left
    png(left)


def test_nothing_is_changed():
    before = {name: acc.copy() for name, acc in CURVES.items()}
    rows = X.copy()
    plots.learning_curves(CURVES, LABELS)
    plots.gain_curves(CURVES, LABELS)
    plots.pool_map(X, [1])
    assert all((CURVES[name] == acc).all() for name, acc in before.items())
    assert (rows == X).all()


def test_neither_pyplot_nor_settings_are_touched():
    code = """
import io, sys, numpy
import matplotlib
before = matplotlib.rcParams.copy()  # dict() of them would ask for the backend
from pyal import plots
for axes in (plots.learning_curves({"random": [[0.5, 0.6]]}, [1, 2]), plots.pool_map(numpy.eye(5), [1])):
    axes.figure.savefig(io.BytesIO())
assert matplotlib.rcParams.copy() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")


def test_without_matplotlib_it_is_one_sentence(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    for draw in (
        lambda: plots.learning_curves(CURVES, LABELS),
        lambda: plots.gain_curves(CURVES, LABELS),
        lambda: plots.pool_map(X, [1]),
    ):
        with pytest.raises(ImportError, match=r"plots need matplotlib, .*: pip install 'pyal\[plot\]'"):
            draw()


@pytest.mark.parametrize(
    ("draw", "kind", "words"),
    [
        (lambda: plots.learning_curves({}, LABELS), TypeError, "curves must be a mapping"),
        (lambda: plots.learning_curves([[0.5]], LABELS), TypeError, "curves must be a mapping"),
        (lambda: plots.learning_curves({"a": [0.5]}, [1]), ValueError, r"curves\['a'\] must be \(seeds, rounds\)"),
        (lambda: plots.learning_curves(CURVES, [1, 2]), ValueError, "n_labels must have one entry per round"),
        (lambda: plots.learning_curves(CURVES, LABELS, forecast=-1), ValueError, "forecast must be at least 0; got -1"),
        (lambda: plots.learning_curves(CURVES, LABELS, forecast=9), ValueError, "at least 5 rounds to fit a curve to"),
        (lambda: plots.gain_curves({"a": [[0.5]]}, [1]), ValueError, "control must be one of the curves, a; got"),
        (
            lambda: plots.gain_curves({"random": CURVES["random"], "b": CURVES["margin"][:1]}, LABELS),
            ValueError,
            "'b' must have the seeds of 'random', 2; got 1",
        ),
        (lambda: plots.pool_map(X[0]), ValueError, r"X must be \(N, d\)"),
        (lambda: plots.pool_map([["a", "b"]]), TypeError, "X must hold real numbers"),
        (lambda: plots.pool_map(X * np.nan), ValueError, "X must be finite"),
        (lambda: plots.pool_map(X, coordinates=X), ValueError, r"coordinates must be \(N, 2\) with N = 60"),
        (lambda: plots.pool_map(X, y=[1]), ValueError, "y must hold one label or hole per row"),
        (lambda: plots.pool_map(X, [60]), ValueError, r"picks must be in 0 .. 59 \(the rows\); got 60"),
        (lambda: plots.pool_map(X, [-1]), ValueError, "picks must be in"),
        (lambda: plots.pool_map(X, [0.5]), TypeError, "picks must be 1-D integer positions"),
        (lambda: plots.pool_map(X, labeled=[99]), ValueError, "labeled"),
    ],
)
def test_what_does_not_fit(draw, kind, words):
    with pytest.raises(kind, match=words):
        draw()
