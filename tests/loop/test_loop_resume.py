"""A loop on disk and back: goes on as if never interrupted, refuses what it did not start with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data import blobs
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from test_loop import STARTED, N, X, Y, first_candidates, n_classes, teach_all

import pyal
from pyal.arrays import as_matrix, fingerprint


def any_option(pool, batch_size, *, rng, step=None):  # noqa: ARG001
    return pool.candidates[:batch_size]


def known(loop):
    history = [{k: v for k, v in entry.items() if k != "seconds"} for entry in loop.history]
    return history, loop.labels.tolist(), loop.skipped.tolist(), loop.outstanding.tolist(), loop.relabeled


SETTINGS = {
    "random": {"strategy": "random"},
    "schedule": {
        "strategy": [("k_center", 13, {"first": "norm"}), (first_candidates, 17, {"step": 2}), ("badge", None)],
        "batch_size": [(4, 17), (3, None)],
        "estimator": LogisticRegression(C=2.5),
    },
    "cosine": {"metric": "cosine", "strategy": "typiclust", "subset": 30, "candidates": np.arange(5, 55)},
    "tree": {
        "strategy": "entropy",
        "estimator": DecisionTreeClassifier(max_features=2),
        "test": (X, Y),
        "initial": "coreset",
        "classes": [3, 2, 1, 0],
        "y": None,
    },
    "own": {"strategy": first_candidates, "step": 3, "estimator": KNeighborsClassifier(3), "test": n_classes},
    "carried": {
        "strategy": [("coreset", 13), ("maxherding", 17, {"bandwidth": 2.0}), ("probcover", None, {"n_classes": 4})],
        "metric": "cosine",
    },
    "ids": {"strategy": "coreset", "ids": [f"é{i}" for i in range(N)]},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_resumed_after_every_call_it_goes_on_as_if_never_interrupted(tmp_path, name):
    given = {"batch_size": 4, "y": STARTED, "random_state": 3, **SETTINGS[name]}
    path = tmp_path / "X.npy"
    np.save(path, X)
    again = {"test": given["test"]} if isinstance(given.get("test"), tuple) else {}

    def calls():
        yield lambda loop: loop.query()
        yield lambda loop: loop.teach(loop.outstanding[1:3], [None, 2])
        yield lambda loop: loop.teach(loop.outstanding, [0] * len(loop.outstanding))
        yield lambda loop: loop.teach(loop.labeled[:1], [1])
        if "test" in given:
            yield lambda loop: loop.evaluate()
        yield lambda loop: teach_all(loop)
        yield lambda loop: loop.unskip(loop.skipped)
        yield lambda loop: loop.query()
        yield lambda loop: loop.discard()
        yield lambda loop: teach_all(loop)

    straight = pyal.Loop(X, **given)
    workdir = tmp_path / "run"
    pyal.Loop(path, **given, workdir=workdir).close()
    for call in calls():
        with pyal.Loop.resume(workdir, **again) as loop:
            assert known(loop) == known(straight)
            assert loop.ids == straight.ids
            call(loop)
        call(straight)
        assert known(loop) == known(straight)
    lines = (workdir / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"]["event"] for line in lines[:2]] == (
        ["start", "query"] if given["y"] is None else ["start", "teach"]
    )


def test_a_folder_that_holds_a_run_and_one_that_does_not(tmp_path):
    pyal.Loop(X, workdir=tmp_path / "a" / "b").close()
    with pytest.raises(FileExistsError, match=r"holds a loop already; go on with it by pyal\.Loop\.resume"):
        pyal.Loop(X, workdir=tmp_path / "a" / "b")
    for folder in (tmp_path / "a", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="holds no loop"):
            pyal.Loop.resume(folder)
    with pytest.raises(ValueError, match="X must be 2-D"):
        pyal.Loop(X[0], workdir=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_another_pool_is_refused(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "T.npy", X)
    pyal.Loop(
        tmp_path / "X.npy", GaussianNB(), "margin", test=(tmp_path / "T.npy", Y), workdir=tmp_path / "run"
    ).close()
    other = X.copy()
    other[17, 3] = np.nextafter(other[17, 3], 9)
    for arguments, words in (
        ({"X": X[:50]}, r"X is not what this loop started with: shape was \[60, 5\] and is \[50, 5\]"),
        ({"X": X.astype(np.float64)}, "X is not .*: dtype was float32 and is float64"),
        ({"X": other}, "X is not .*: its values differ"),
        ({"test": (X, Y[::-1])}, "test is not .*: its labels differ"),
        ({"test": (other, Y)}, "test is not .*: its values differ"),
        ({"test": n_classes}, "test is not"),
        ({"estimator": LogisticRegression()}, "estimator is not .*: class was sklearn.naive_bayes:GaussianNB and is"),
        ({"estimator": GaussianNB(var_smoothing=1.0)}, "estimator is not .*: var_smoothing was 1e-09 and is 1.0"),
    ):
        with pytest.raises(ValueError, match=words):
            pyal.Loop.resume(tmp_path / "run", **arguments)
    np.save(tmp_path / "T.npy", other)
    with pytest.raises(ValueError, match=r"test is not .*: its values differ"):
        pyal.Loop.resume(tmp_path / "run")
    (tmp_path / "X.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"X is no longer at .*X\.npy: pass X="):
        pyal.Loop.resume(tmp_path / "run")
    pyal.Loop.resume(tmp_path / "run", X=X, test=(X, Y), estimator=GaussianNB()).close()


def test_what_cannot_be_found_again_is_to_be_passed(tmp_path):
    pipeline = make_pipeline(StandardScaler(), GaussianNB())
    loop = pyal.Loop(X, pipeline, "margin", 4, y=STARTED, test=lambda _: 1.0, random_state=0, workdir=tmp_path / "run")
    teach_all(loop)
    loop.close()
    for arguments, words in (
        ({}, "X was given as an array, which the workdir does not keep: pass X="),
        ({"X": X}, "is not found .*; pass test="),
        ({"X": X, "test": lambda _: 1.0}, r"cannot be rebuilt \(its steps\); pass estimator="),
    ):
        with pytest.raises(ValueError, match=words):
            pyal.Loop.resume(tmp_path / "run", **arguments)
    other = make_pipeline(StandardScaler(with_mean=False), GaussianNB())
    scored = {"X": X, "test": loop._setup.test}
    with pytest.raises(ValueError, match="estimator is not what this loop started with: steps was"):
        pyal.Loop.resume(tmp_path / "run", **scored, estimator=other)
    assert known(pyal.Loop.resume(tmp_path / "run", **scored, estimator=pipeline)) == known(loop)
    for wrong, error, words in (
        ({"strategy": lambda pool, batch_size, **_: pool.candidates[:batch_size]}, ValueError, "top of a module"),
        ({"strategy": any_option, "step": X}, TypeError, "options of a loop with workdir= must be"),
        ({"strategy": any_option, "step": (1, 2)}, TypeError, "options of a loop with workdir= must be"),
    ):
        with pytest.raises(error, match=words):
            pyal.Loop(X, workdir=tmp_path / "other", **wrong)
    assert not (tmp_path / "other").exists()


class Odd(GaussianNB):
    """Parameters that are no plain numbers."""

    def __init__(self, sizes=(3, 2), missing=float("nan"), names=("a",)):
        self.sizes, self.missing, self.names = sizes, missing, names
        super().__init__()

    def get_params(self, deep=True):  # noqa: ARG002
        return {"sizes": self.sizes, "missing": self.missing, "names": self.names}


def test_an_estimator_is_rebuilt_with_its_parameters(tmp_path):
    pyal.Loop(X, Odd(sizes=(4,)), "random", y=STARTED, test=n_classes, workdir=tmp_path).close()
    with pyal.Loop.resume(tmp_path, X=X) as loop:
        assert loop._setup.learner.estimator.sizes == (4,)
        assert loop._setup.learner.estimator.names == ("a",)
    pyal.Loop.resume(tmp_path, X=X, estimator=Odd(sizes=(4,))).close()
    with pytest.raises(ValueError, match=r"sizes was .*4.* and is .*5"):
        pyal.Loop.resume(tmp_path, X=X, estimator=Odd(sizes=(5,)))


def test_a_newer_format_is_refused(tmp_path):
    from pyal.loop import journal

    pyal.Loop(X, workdir=tmp_path).close()
    path = Path(tmp_path, "journal.jsonl")
    record = json.loads(path.read_text())["record"]
    path.write_bytes(journal._line(journal.Mark(), {**record, "format": 4, "event": "begin"})[0])
    with pytest.raises(ValueError, match=r"journal\.jsonl is of format 4, and this pyal reads 3"):
        pyal.Loop.resume(tmp_path, X=X)


def test_the_fingerprint_of_a_pool():
    whole = fingerprint(as_matrix(blobs(5000, 64)))
    assert whole["shape"] == [5000, 64]
    assert whole["hashed"] == 5000
    assert fingerprint(as_matrix(blobs(5000, 64))) == whole
    torch = pytest.importorskip("torch", reason="no torch")
    assert fingerprint(as_matrix(torch.tensor(blobs(5000, 64)))) == whole
    big = np.random.default_rng(0).standard_normal((20_000, 256)).astype(np.float32)  # 20 blocks of 1 MiB
    sampled = fingerprint(as_matrix(big), limit=4 << 20)
    assert sampled["hashed"] < 5000
    big[-1, -1] += 1
    assert fingerprint(as_matrix(big), limit=4 << 20)["hash"] != sampled["hash"]
