"""What a loop is taught: labels in parts and in any order, holes, changes of mind, ids."""

from __future__ import annotations

import numpy as np
import pytest
from test_loop import STARTED, N, X, Y

import pyal


def test_a_batch_is_answered_in_parts_in_any_order():
    loop = pyal.Loop(X, strategy="random", batch_size=6, random_state=0)
    batch = loop.query()
    loop.teach(batch[[4, 1]], [0, None])
    np.testing.assert_array_equal(loop.outstanding, batch[[0, 2, 3, 5]])
    np.testing.assert_array_equal(loop.query(), batch[[0, 2, 3, 5]])
    other = next(i for i in range(N) if i not in batch)
    loop.teach([other, batch[0]], [2, 2])
    assert loop.labels[other] == 2
    loop.discard()
    assert loop.outstanding.tolist() == []
    again = loop.query()
    assert not {batch[4], batch[1], other, batch[0]} & set(again.tolist())
    assert loop.skipped.tolist() == [batch[1]]
    assert loop.labeled.tolist() == sorted([batch[4], other, batch[0]])
    assert len(loop.history) == 2


def test_skipped_rows_are_not_asked_again_unless_asked():
    loop = pyal.Loop(X[:6], strategy="random", batch_size=2, random_state=0)
    for hole in (None, float("nan"), np.ma.masked):
        given = np.ma.masked_array([1, 1], mask=[True, True]) if hole is np.ma.masked else [hole, hole]
        loop.teach(loop.query(), given)
    assert loop.skipped.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="no row to pick"):
        loop.query()
    loop.unskip([3, 1])
    assert sorted(loop.query()) == [1, 3]
    with pytest.raises(ValueError, match="must be skipped ones; these are not: 1"):
        loop.unskip([0, 1])
    assert 0 in loop.skipped
    loop.teach([0], ["dog"])
    assert loop.labels.tolist() == ["dog", None, None, None, None, None]
    assert 0 not in loop.skipped


def test_labels_are_replaced_and_taken_back():
    loop = pyal.Loop(X, strategy="random", batch_size=2, y=STARTED)
    assert loop.relabeled == []
    loop.teach([1, 2, 3], [7, Y[2], None])
    assert loop.relabeled == [
        {"round": 0, "position": 1, "before": Y[1], "after": 7},
        {"round": 0, "position": 3, "before": Y[3], "after": None},
    ]
    assert loop.labels[1] == 7
    assert loop.labels[3] is None
    assert loop.skipped.tolist() == [3]


@pytest.mark.parametrize(
    ("rows", "labels", "error", "words"),
    [
        ([1, 2], [0], ValueError, r"labels must hold one label or hole per row taught, shape \(2,\); got \(1,\)"),
        ([1], 0, ValueError, "one label or hole per row taught"),
        ([N], [0], ValueError, "rows must be in 0 .. 59; got 60"),
        ([-1], [0], ValueError, "rows must be in 0 .. 59; got -1"),
        ([1.0], [0], TypeError, "rows must be all integers"),
        ([True], [0], TypeError, "rows must be all integers"),
        (np.ones(N, bool), Y, TypeError, "rows must be all integers"),
        ([1, "a"], [0, 0], TypeError, "rows must be all integers"),
        (["a"], [0], TypeError, "the loop has no ids; got 'a'"),
        (3, [0], ValueError, r"rows must be 1-D; got shape \(\)"),
        ([1, 1], [0, 2], ValueError, "row 1 comes twice with different labels: 0, 2"),
        ([1, 1], [0, None], ValueError, "row 1 comes twice"),
        ([1], [-1], ValueError, "labels must not hold -1"),
        ([1], ["a"], TypeError, "all text or all numbers, here, in test and in validation; got 0, 'a'"),
        ([10, 11], ["a", 2], TypeError, "all text or all numbers"),
        ([1], [(1, 2)], ValueError, "one label or hole per row taught"),
        ([1], [b"a"], TypeError, "must be numbers or text"),
    ],
)
def test_answers_that_are_refused(rows, labels, error, words):
    loop = pyal.Loop(X, strategy="random", y=np.where(np.arange(N) == 5, 0, -1))
    with pytest.raises(error, match=words):
        loop.teach(rows, labels)
    assert loop.labeled.tolist() == [5]


def test_labels_as_they_come():
    loop = pyal.Loop(X, strategy="random")
    loop.teach(np.array([1, 2], np.uint8), np.array([3, 4], np.int8))
    loop.teach([4, 4], [9, 9])
    loop.teach((5,), np.array([2.0]))
    assert {type(label) for label in loop.labels if label is not None} == {int, float}
    loop = pyal.Loop(X, strategy="random")
    loop.teach([1, 2], np.array(["b", None], object))
    loop.teach([3], np.array(["b"]))
    assert loop.labels[3] == loop.labels[1] == "b"
    assert type(loop.labels[3]) is str
    assert pyal.select(X, loop.labels, strategy="random", batch_size=N - 2).shape == (N - 2,)


def test_ids():
    names = [f"img{i}" for i in range(N)]
    loop = pyal.Loop(X, strategy="random", ids=names)
    loop.teach(["img7", "img3"], [1, None])
    loop.teach(np.array(["img8"]), [1])
    loop.teach([9], [1])
    assert (loop.labeled.tolist(), loop.skipped.tolist()) == ([7, 8, 9], [3])
    loop.unskip(["img3"])
    assert loop.ids == names
    with pytest.raises(ValueError, match="rows must be ids of the loop; got img60"):
        loop.teach(["img60"], [1])
    with pytest.raises(TypeError, match="rows must be positions; got 'img1'"):
        loop.teach(["img1"], [1], by="position")
    loop = pyal.Loop(X, strategy="random", ids=np.arange(N)[::-1] + 1)
    with pytest.raises(ValueError, match="say by='position' or by='id'"):
        loop.teach([3], [1])
    loop.teach([60], [1], by="id")
    loop.teach([2], [1], by="position")
    assert loop.labeled.tolist() == [0, 2]
    with pytest.raises(ValueError, match="by must be 'position' or 'id'; got 'name'"):
        loop.teach([3], [1], by="name")
    with pytest.raises(ValueError, match="needs a loop with ids="):
        pyal.Loop(X).teach([3], [1], by="id")
