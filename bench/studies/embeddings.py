"""The pools of the studies: embeddings of FashionMNIST and CIFAR-10 (PYAL_DATA), and the digits of scikit-learn."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Array = NDArray[Any]


def read(name: str, rows: int | None) -> dict[str, Array]:
    """X, y, X_test and y_test of fashion_mnist, cifar10 or digits, the first rows of the pool; X is float32."""
    if name == "digits":  # every other image is a test image
        X, y = load_digits(return_X_y=True)
        X = (X / 16).astype(np.float32)
        return {"X": X[::2][:rows], "y": y[::2][:rows], "X_test": X[1::2], "y_test": y[1::2]}
    if not os.environ.get("PYAL_DATA"):
        sys.exit("PYAL_DATA must name the folder of the data sets")
    folder = Path(os.environ["PYAL_DATA"])
    stored = folder / "features" / f"{name}.npz"
    if not stored.exists():
        sys.exit(f"PYAL_DATA must hold the data set {name!r}: {stored} does not exist")
    with np.load(stored) as features:
        X, X_test = features["train"][:rows].astype(np.float32), features["test"].astype(np.float32)
    y, y_test = _labels(folder, name)
    return {"X": X, "y": y[:rows], "X_test": X_test, "y_test": y_test}


def _labels(folder: Path, name: str) -> tuple[Array, Array]:
    """Of the training and of the test images; unpacked once and kept in the temporary folder."""
    kept = Path(tempfile.gettempdir()) / f"pyal-labels-{name}.npz"
    if not kept.exists():
        spec = importlib.util.spec_from_file_location("load", folder / "load.py")
        assert spec
        assert spec.loader
        load = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(load)
        labels = {split: getattr(load, name)(split)[1] for split in ("train", "test")}
        with tempfile.NamedTemporaryFile(dir=kept.parent, suffix=".npz", delete=False) as part:
            np.savez(part, **labels)
        os.replace(part.name, kept)
    with np.load(kept) as stored:
        return stored["train"], stored["test"]
