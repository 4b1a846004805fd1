"""pyal demo: strategies against random on scikit-learn's digits, from 10 to 100 labels."""

from __future__ import annotations

import importlib.util
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import files
from pyal.selection import select
from pyal.strategies import strategies

STRATEGIES = ("random", "typiclust", "supclust", "probcover", "maxherding", "coreset", "badge", "margin")
BATCH_SIZE = 10
ROUNDS = 10
SHOWN = (10, 20, 30, 50, 100)


def run(out: str, *, force: bool = False, n_seeds: int = 5) -> int:
    """Prints the table and saves the plot to `out`; returns 0. Nothing is computed where `out` could not be written."""
    if n_seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {n_seeds}")
    drawable = importlib.util.find_spec("matplotlib") is not None
    if drawable:
        files.check_writable(out, force=force)
    X, y, X_test, y_test = _digits()
    print(
        f"digits: {len(X)} images in the pool, {len(X_test)} to test on, PCA to {X.shape[1]} columns; {n_seeds} seeds"
    )
    accuracy = {
        name: np.array([_curve(name, X, y, X_test, y_test, seed) for seed in range(n_seeds)]) for name in STRATEGIES
    }
    print(_table(accuracy))
    if drawable:
        files.write_whole(out, _plot(accuracy), force=force)
        print(f"plot: {out}")
    else:
        print("no plot: matplotlib is not installed (pip install 'pyal[plot]')")
    return 0


def _digits() -> tuple[NDArray[Any], ...]:
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=597, stratify=y, random_state=0)
    pca = PCA(32, random_state=0).fit(X)
    return pca.transform(X).astype(np.float32), y, pca.transform(X_test).astype(np.float32), y_test


def _curve(
    name: str, X: NDArray[Any], y: NDArray[Any], X_test: NDArray[Any], y_test: NDArray[Any], seed: int
) -> list[float]:
    """Test accuracy after each batch. What needs a classifier starts as random does: there is none yet."""
    needs_proba = {s.name for s in strategies() if "proba" in s.needs}
    rng = np.random.default_rng(seed)
    labeled = np.empty(0, np.int64)
    proba, curve = None, []
    for _ in range(ROUNDS):
        asked = "random" if name in needs_proba and proba is None else name
        picks = select(
            X, labeled=labeled, strategy=asked, batch_size=BATCH_SIZE, metric="cosine", proba=proba, random_state=rng
        )
        labeled = np.concatenate([labeled, picks])
        if len(np.unique(y[labeled])) < 2:
            curve.append(float(np.mean(y_test == y[labeled[0]])))
            continue
        model = _fitted(X[labeled], y[labeled])
        curve.append(float(model.score(X_test, y_test)))
        if name in needs_proba:
            proba = model.predict_proba(X)
    return curve


def _fitted(X: NDArray[Any], y: NDArray[Any]) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few steps short of converged changes no digit shown
        return LogisticRegression(C=10, max_iter=200).fit(X, y)


def _table(accuracy: dict[str, NDArray[Any]]) -> str:
    at = [shown // BATCH_SIZE - 1 for shown in SHOWN]
    lines = [
        "",
        "test accuracy of logistic regression, mean ± standard deviation over seeds",
        "",
        f"{'labels':<12}" + "".join(f"{shown:^14}" for shown in SHOWN) + "mean gain against random",
    ]
    for name, curves in accuracy.items():
        cells = "".join(f"{f'{100 * curves[:, i].mean():.1f} ± {100 * curves[:, i].std():.1f}':^14}" for i in at)
        gain = 100 * (curves - accuracy["random"]).mean(axis=1)
        lines.append(f"{name:<12}{cells}" + ("" if name == "random" else f"{gain.mean():+.1f} ± {gain.std():.1f}"))
    return "\n".join([*lines, ""])


def _plot(accuracy: dict[str, NDArray[Any]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    labels = BATCH_SIZE * np.arange(1, ROUNDS + 1)
    for name, curves in accuracy.items():
        mean, spread = 100 * curves.mean(axis=0), 100 * curves.std(axis=0)
        (line,) = axes.plot(
            labels,
            mean,
            label=name,
            color="black" if name == "random" else None,
            linestyle="--" if name == "random" else "-",
        )
        axes.fill_between(labels, mean - spread, mean + spread, color=line.get_color(), alpha=0.1, linewidth=0)
    axes.set(xlabel="labels", ylabel="test accuracy (%)", title="scikit-learn digits, logistic regression")
    axes.legend(ncols=2, fontsize=8)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150)
    return image.getvalue()
