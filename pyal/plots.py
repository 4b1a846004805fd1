"""Pictures of learning curves and of picks. They need matplotlib, show nothing and leave its global state alone.

Every function returns the Axes that it has drawn on: the given ones, or the Axes of a new Figure, which
`axes.figure.savefig(...)` writes with or without a display.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import metrics
from pyal.arrays import as_numpy, as_positions, generator, label_values, size
from pyal.simulation.comparison import CONTROL, Comparison

SHOWN_ROWS = 20_000  # of the pool on a map: more of them make a file of many MB and a blot


def learning_curves(
    curves: Mapping[str, Any],
    n_labels: Any,
    *,
    forecast: int = 0,
    axes: Any = None,
    ylabel: str = "test accuracy",
    title: str = "",
) -> Any:
    """Axes with the mean over the seeds of each method, and a band of one standard deviation where there are seeds.

    A NaN leaves a gap.

    curves: name to acc (S, R). "random" is drawn black and dashed.
    n_labels: (R,).
    forecast: for how many labels more each curve is carried on by `metrics.forecast`, thin and dotted, with a band of
        90 %. 0: not at all. What that asks of the curves holds here too.
    axes: what to draw on. None: a new Figure.
    ylabel: of the axis.
    title: of the Axes.

    Raises ImportError without matplotlib, ValueError or TypeError for what does not fit.

    >>> axes = learning_curves({"random": [[0.5, 0.6]], "margin": [[0.5, 0.7]]}, [10, 20])
    >>> [line.get_label() for line in axes.lines]
    ['random', 'margin']
    """
    labels, drawn = _checked(curves, n_labels)
    more = size(forecast, "forecast", 0)
    axes = _axes(axes)
    styles = _styles(drawn, "random")
    for name, acc in drawn.items():
        _curve(axes, name, labels, acc.mean(axis=0), metrics.standard_deviation(acc), styles[name])
    for name, acc in drawn.items() if more else ():
        at = np.linspace(labels[-1], labels[-1] + more, 50)
        found = metrics.forecast(acc, labels)
        axes.plot(at, found.accuracy(at), color=styles[name]["color"], linestyle=":", linewidth=1)
        axes.fill_between(at, *found.interval(at), color=styles[name]["color"], alpha=0.06, linewidth=0)
    axes.set(xlabel="labels", ylabel=ylabel, title=title)
    _legend(axes, len(drawn))
    return axes


def gain_curves(
    curves: Mapping[str, Any],
    n_labels: Any,
    *,
    control: str = "random",
    axes: Any = None,
    ylabel: str = "",
    title: str = "",
) -> Any:
    """Axes with what each method gains over the control, mean and standard error over the seeds, which are paired.

    curves: name to acc (S, R). Row s of all is from the same seed, and the control is among the names.
    n_labels: (R,).
    control: the name of what the others are compared with.
    axes: what to draw on. None: a new Figure.
    ylabel: of the axis. "": it says what the gain is over.
    title: of the Axes.

    Raises as `learning_curves` does, and ValueError where the control is missing.

    >>> axes = gain_curves({"random": [[0.5, 0.5]], "margin": [[0.5, 0.75]]}, [10, 20])
    >>> axes.lines[-1].get_ydata().tolist()
    [0.0, 0.25]
    """
    labels, drawn = _checked(curves, n_labels)
    if control not in drawn:
        raise ValueError(f"control must be one of the curves, {', '.join(drawn)}; got {control!r}")
    for name, acc in drawn.items():
        if acc.shape != drawn[control].shape:
            raise ValueError(f"{name!r} must have the seeds of {control!r}, {len(drawn[control])}; got {len(acc)}")
    axes = _axes(axes)
    axes.axhline(0, color="black", linestyle="--", linewidth=1)
    styles = _styles(drawn, control)
    for name, acc in drawn.items():
        gain = acc - drawn[control]
        if name != control:
            _curve(axes, name, labels, gain.mean(axis=0), metrics.standard_error(gain), styles[name])
    axes.set(xlabel="labels", ylabel=ylabel or f"gain over {control}", title=title)
    _legend(axes, len(drawn) - 1)
    return axes


def pool_map(
    X: Any,
    picks: Any = None,
    *,
    y: Any = None,
    labeled: Any = None,
    coordinates: Any = None,
    axes: Any = None,
    title: str = "",
    random_state: Any = 0,
) -> Any:
    """Axes with the pool in two dimensions, its picks on top, and what was labelled before.

    Of more than 20,000 rows the background is a random sample, and the Axes say so; picks and labelled rows are all
    shown.

    X: (N, d), shown by its first two principal components. Two columns are shown as they are, one against 0.
    picks: positions in X, in the order picked, which their colour shows.
    y: (N,) classes that colour the rows.
    labeled: positions or a boolean mask.
    coordinates: (N, 2) to be shown instead of the components, from UMAP for instance.
    axes: what to draw on. None: a new Figure.
    title: of the Axes.
    random_state: draws the sample.

    Raises ImportError without matplotlib, ValueError or TypeError for what does not fit. Memory: O(N), and PCA's copy
    of X.

    >>> axes = pool_map([[0.0, 1.0], [2.0, 0.0], [3.0, 3.0]], [2])
    >>> len(axes.collections)
    2
    """
    points = _in_the_plane(X, coordinates)
    n = len(points)
    classes = _classes(y, n)
    picked = None if picks is None else _in_order(picks, n)
    known = None if labeled is None else as_positions(labeled, n, "labeled")
    axes = _axes(axes)
    shown = np.arange(n)
    if n > SHOWN_ROWS:
        shown = generator(random_state).choice(n, SHOWN_ROWS, replace=False)
    colour: dict[str, Any] = {"color": "lightgrey"}
    if classes is not None:
        colour = {"c": classes[shown], "cmap": "tab10" if classes.max() < 10 else "turbo"}
    axes.scatter(*points[shown].T, s=6, linewidths=0, alpha=0.6, **colour, rasterized=True)
    if known is not None:
        axes.scatter(*points[known].T, s=30, marker="x", color="black", linewidths=1, label="labelled")
    if picked is not None:
        marks = {"s": 50, "edgecolors": "black", "linewidths": 0.8, "cmap": "plasma"}
        dots = axes.scatter(*points[picked].T, c=np.arange(1, len(picked) + 1), label="picks", **marks)
        if len(picked) > 1:
            axes.figure.colorbar(dots, ax=axes, label="order of the picks")
    axes.set(xticks=[], yticks=[], title=title)
    if n > SHOWN_ROWS:
        axes.set_xlabel(f"{SHOWN_ROWS:,} of {n:,} rows shown")
    if picked is not None or known is not None:
        axes.legend(fontsize=8)
    return axes


def comparison_figure(found: Comparison, column: str = "accuracy", forecast: int = 0) -> Any:
    """A matplotlib Figure of a simulation: learning curves on the left, gain over random on the right.

    found: what `pyal.simulate` returns.
    column: the column of its table that is drawn.
    forecast: for how many labels more the learning curves are carried on.

    Raises ImportError without matplotlib, ValueError where no seed is finished by all strategies.
    """
    if not found.seeds:
        raise ValueError("no seed is finished by all strategies: there is nothing to draw")
    figure = _axes(None).figure
    figure.clear()
    figure.set_size_inches(12, 4.5)
    both = CONTROL in found.strategies and len(found.strategies) > 1
    left, *right = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    curves, words = found.curves(column), f"test {column.replace('_', ' ')}"
    seeds = f"mean ± standard deviation, {len(found.seeds)} seeds" if len(found.seeds) > 1 else "one seed"
    learning_curves(curves, found.n_labels, forecast=forecast, axes=left, ylabel=words, title=seeds)
    for axes in right:
        gain_curves(curves, found.n_labels, control=CONTROL, axes=axes, title="mean ± standard error, by seed")
    return figure


def comparison_image(found: Comparison, column: str = "accuracy", kind: str = "png", *, forecast: int = 0) -> bytes:
    """The file of `comparison_figure` in one of matplotlib's formats; ValueError for a format that it does not have."""
    figure = comparison_figure(found, column, forecast)
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(f"a plot must be one of {', '.join(sorted(known))}; got {kind!r}")
    image = io.BytesIO()
    figure.savefig(image, format=kind, dpi=150)
    return image.getvalue()


def _checked(curves: Mapping[str, Any], n_labels: Any) -> tuple[NDArray[Any], dict[str, NDArray[np.float64]]]:
    if not isinstance(curves, Mapping) or not curves:
        raise TypeError(f"curves must be a mapping of names to (seeds, rounds), not empty; got {type(curves).__name__}")
    labels = as_numpy(n_labels, "n_labels")
    checked = {}
    for name, acc in curves.items():
        checked[name] = metrics.curves_checked(acc, f"curves[{name!r}]")
        metrics.n_labels_checked(labels, checked[name])
    return labels, checked


def _axes(axes: Any) -> Any:
    """The axes given, or new ones of a Figure that pyplot does not know."""
    if axes is not None:
        return axes
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib, which cannot be imported: pip install 'pyal[plot]'") from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _styles(names: Iterable[str], control: str) -> dict[str, dict[str, Any]]:
    """Colour, line and marker by name, the same on every picture of these names and no two alike up to 40."""
    styles: dict[str, dict[str, Any]] = {control: {"color": "black", "linestyle": "--", "marker": "o"}}
    for i, name in enumerate(name for name in names if name != control):
        line, marker = (("-", "o"), ("-.", "s"), (":", "^"), ((0, (5, 1)), "v"))[i // 10 % 4]
        styles[name] = {"color": f"C{i % 10}", "linestyle": line, "marker": marker}
    return styles


def _curve(axes: Any, name: str, labels: Any, middle: Any, spread: Any, style: dict[str, Any]) -> None:
    (line,) = axes.plot(labels, middle, label=name, markersize=3, linewidth=1.5, **style)
    if not np.isnan(spread).all():
        lower, upper = middle - spread, middle + spread
        axes.fill_between(labels, lower, upper, color=line.get_color(), alpha=0.12, linewidth=0)


def _legend(axes: Any, entries: int) -> None:
    if entries:
        axes.legend(fontsize=8, ncols=1 + entries // 8)


def _in_the_plane(X: Any, coordinates: Any) -> NDArray[Any]:
    name, points = "X", as_numpy(X, "X")
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"X must be (N, d) with N and d at least 1; got shape {points.shape}")
    if coordinates is not None:
        n, name, points = len(points), "coordinates", as_numpy(coordinates, "coordinates")
        if points.shape != (n, 2):
            raise ValueError(f"coordinates must be (N, 2) with N = {n}; got shape {points.shape}")
    if points.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {points.dtype}")
    if not np.isfinite(points).all():
        raise ValueError(f"{name} must be finite")
    if points.shape[1] == 1:
        return np.column_stack([points, np.zeros(len(points))])
    if points.shape[1] == 2 or len(points) == 1:
        return points[:, :2]
    from sklearn.decomposition import PCA

    return np.asarray(PCA(2, random_state=0).fit_transform(points))


def _classes(y: Any, n: int) -> NDArray[np.int64] | None:
    if y is None:
        return None
    values, _ = label_values(y, n)
    if values.dtype.kind == "O":  # which may not have an order
        values = values.astype(str)
    return np.asarray(np.unique(values, return_inverse=True)[1], np.int64)


def _in_order(picks: Any, n: int) -> NDArray[np.int64]:
    positions = as_numpy(picks, "picks")
    if positions.ndim != 1 or (positions.size and positions.dtype.kind not in "iu"):
        raise TypeError(f"picks must be 1-D integer positions; got shape {positions.shape}, dtype {positions.dtype}")
    for position in (positions.min(), positions.max()) if len(positions) else ():
        size(position, "picks", 0, n - 1, " (the rows)")
    return positions.astype(np.int64)
