"""Labels in: which rows have one, in every way to write a hole."""

from __future__ import annotations

import numpy as np
import pytest

from pyal.arrays import labeled_positions


@pytest.mark.parametrize(
    ("y", "labeled"),
    [
        (np.array([0.0, np.nan, -1.0]), [0, 2]),
        (np.array([3, -1, 0]), [0, 2]),
        ([0, -1, 2], [0, 2]),
        (np.array([0, 255, 1], np.uint8), [0, 1, 2]),
        ([True, False, True], [0, 1, 2]),
        ([None, "cat", float("nan")], [1]),
        (["cat", "", "dog"], [0, 1, 2]),
        (np.array(["cat", None, np.nan], object), [0]),
        ([-1, -1, -1], []),
        ([1, 1, 1], [0, 1, 2]),
        (np.ma.array([5, 6, 7], mask=[0, 1, 0]), [0, 2]),
        (np.ma.array([5, -1, 7], mask=[1, 0, 0]), [2]),
        (np.array(["2020", "NaT", "2021"], "M8[Y]"), [0, 2]),
        ([0, None, 2], [0, 2]),
        (np.array([0, 2, -1], object), [0, 1, 2]),
    ],
)
def test_holes_in_labels(y, labeled):
    assert labeled_positions(y, 3).tolist() == labeled


def test_holes_in_labels_of_other_libraries():
    torch = pytest.importorskip("torch")
    assert labeled_positions(torch.tensor([4, -1, 2]), 3).tolist() == [0, 2]
    assert labeled_positions(torch.tensor([4.0, float("nan"), -1.0]), 3).tolist() == [0, 2]


def test_holes_in_labels_of_pandas():
    pandas = pytest.importorskip("pandas")
    assert labeled_positions(pandas.Series([1, None, 3], dtype="Int64"), 3).tolist() == [0, 2]
    assert labeled_positions(pandas.Series(["a", None, "b"], dtype="category"), 3).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([-1, 1, -1], "labeled="),
        (np.ma.array([-1, 1, 3], mask=[0, 0, 1]), "labeled="),
        ([0, None, -1], "labeled="),
        ([0, 1], r"shape \(3,\); got \(2,\)"),
        (np.eye(3), "one column per class"),
        (4, r"got \(\)"),
    ],
)
def test_labels_that_do_not_fit(y, words):
    with pytest.raises(ValueError, match=words):
        labeled_positions(y, 3)
