"""pyal demo: strategies against random on scikit-learn's digits, from 10 to 100 labels."""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal import files

STRATEGIES = ("typiclust", "supclust", "probcover", "maxherding", "coreset", "badge", "margin")
BATCH_SIZE = 10
BUDGET = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--seeds", type=int, default=5, metavar="K", help="repetitions (default: 5)")
    parser.add_argument("-o", "--out", default="pyal-demo.png", metavar="PNG", help="default: pyal-demo.png")
    parser.add_argument("--force", action="store_true", help="overwrite the plot")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table and saves the plot; nothing is computed where the plot could not be written."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    from pyal.simulation.experiment import simulate

    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {arguments.seeds}")
    drawable = importlib.util.find_spec("matplotlib") is not None
    if drawable:
        files.check_writable(arguments.out, force=arguments.force)
    X, y, X_test, y_test = _digits()
    print(
        f"digits: {len(X)} images in the pool, {len(X_test)} to test on, PCA to {X.shape[1]} columns; "
        f"{arguments.seeds} seeds"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few steps short of converged changes no digit shown
        found = simulate(
            X,
            y,
            test=(X_test, y_test),
            estimator=LogisticRegression(C=10, max_iter=200),
            strategies=STRATEGIES,
            seeds=arguments.seeds,
            batch_sizes=BATCH_SIZE,
            budget=BUDGET,
        )
    print(found.summary())
    if drawable:
        from pyal import plots

        files.write_whole(arguments.out, plots.comparison_image(found), force=arguments.force)
        print(f"plot: {arguments.out}")
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
