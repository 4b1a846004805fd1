"""Killed at any write, sync or rename, on a full disk, or by two at once: a loop on disk loses nothing it was taught.

Run as a script with a folder this is the driver: it forks a child per moment of death, and says what each was told.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data import blobs

import pyal

ROUNDS = 3
X = blobs(40, 4)
Y = [f"class {i % 3}" for i in range(40)]
CALLS = ("open", "write", "fsync", "rename", "ftruncate", "close")


class Centroids:
    """A classifier that needs no library: a softmax over squared distances to the means of the classes."""

    def __init__(self, scale=1.0, random_state=None):
        self.scale, self.random_state = scale, random_state

    def get_params(self, deep=True):  # noqa: ARG002
        return {"scale": self.scale, "random_state": self.random_state}

    def set_params(self, **parameters):
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def fit(self, rows, y):
        assert self.random_state is not None
        jitter = 1e-3 * np.random.default_rng(self.random_state).standard_normal(rows.shape[1])
        self.classes_ = np.unique(y)
        self.means_ = np.array([rows[y == c].mean(axis=0) + jitter for c in self.classes_])
        return self

    def predict_proba(self, rows):
        sqdist = ((rows[:, None].astype(float) - self.means_) ** 2).sum(axis=2)
        weights = np.exp(-self.scale * (sqdist - sqdist.min(axis=1, keepdims=True)))
        return weights / weights.sum(axis=1, keepdims=True)

    def predict(self, rows):
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]


def begin(workdir: str) -> pyal.Loop:
    """A new loop, or the one that stands in workdir."""
    if os.path.exists(os.path.join(workdir, "journal.jsonl")):
        return pyal.Loop.resume(workdir, X=X, estimator=Centroids(), test=(X, Y))
    schedule = [("typiclust", 6), ("margin", None)]
    y = [Y[0], *[None] * 39]
    return pyal.Loop(
        X, Centroids(), schedule, 5, y=y, test=(X, Y), subset=20, random_state=7, n_jobs=1, workdir=workdir
    )


def work(loop: pyal.Loop, told: Callable[[dict], None] = lambda _: None) -> dict:
    """ROUNDS batches, each answered in two parts with skipped rows and a label that is put right later."""

    def teach(rows, labels):
        loop.teach(rows, labels)
        told(dict(zip(map(int, rows), labels, strict=True)))

    while len(loop.outstanding) or len([e for e in loop.history if e["batch"]]) < ROUNDS:
        batch = loop.query()
        if len(batch) > 3:
            teach(batch[-2:], ["class 9", None] if len(loop.history) == 2 else [Y[i] for i in batch[-2:]])
        else:
            teach(batch, [Y[i] for i in batch])
    for position in [p for p in loop.labeled if loop.labels[p] != Y[p]]:
        teach([position], [Y[position]])
    if loop.history[-1]["batch"]:
        loop.evaluate()
    return summary(loop)


def summary(loop: pyal.Loop) -> dict:
    history = [{k: v for k, v in entry.items() if k != "seconds"} for entry in loop.history]
    known = {"labels": loop.labels.tolist(), "skipped": loop.skipped.tolist(), "relabeled": loop.relabeled}
    return json.loads(json.dumps({"history": history, "outstanding": loop.outstanding.tolist(), **known}))


def die_at(nth: int, how: str) -> None:
    """Kills this process at the nth of the calls that change files: before it, after half of a write, or after it."""
    count = 0

    def deadly(name):
        real = getattr(os, name)

        def call(*arguments):
            nonlocal count
            count += 1
            if count == nth:
                if how == "after":
                    real(*arguments)
                elif how == "half" and name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        return call

    for name in CALLS:
        setattr(os, name, deadly(name))


def drive(folder: str) -> None:
    """One child per moment of death until a child lives; a line of JSON each."""
    import sklearn.base
    import sklearn.dummy  # noqa: F401 - once here, not once per child

    for how in ("before", "half", "after"):
        nth, lived = 0, False
        while not lived:
            nth += 1
            workdir, log = os.path.join(folder, f"{how}{nth}"), os.path.join(folder, f"{how}{nth}.told")
            child = os.fork()
            if child == 0:
                with open(log, "w") as out:

                    def told(labels, out=out):
                        print(json.dumps({str(k): v for k, v in labels.items()}), file=out, flush=True)

                    die_at(nth, how)
                    work(begin(workdir), told)
                os._exit(0)
            lived = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            with open(log) as told_before:
                print(json.dumps({"how": how, "nth": nth, "lived": lived, "told": [*map(json.loads, told_before)]}))


if __name__ == "__main__":
    drive(sys.argv[1])
    sys.exit()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return work(begin(str(tmp_path_factory.mktemp("uninterrupted") / "run")))


def test_killed_at_every_write(tmp_path, uninterrupted):
    run = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in (str(Path(pyal.__file__).parents[1]), *sys.path))},
    )
    assert run.returncode == 0, run.stderr
    deaths = [json.loads(line) for line in run.stdout.splitlines()]
    assert sum(death["lived"] for death in deaths) == 3
    assert len(deaths) > 3 * 25
    torn = 0
    for death in deaths:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop = begin(str(tmp_path / f"{death['how']}{death['nth']}"))
        torn += len(caught)
        assert all("incomplete record" in str(w.message) for w in caught)
        known: dict[str, str | None] = {}
        for labels in death["told"]:
            known |= labels
        for position, label in known.items():
            if label is None:
                assert int(position) in loop.skipped, death
            elif label != "class 9":  # that one is put right by a call that may have been made without returning
                assert loop.labels[int(position)] == label, death
        assert work(loop) == uninterrupted, death
        loop.close()
    assert torn > 5


def test_what_is_acknowledged_is_synced(tmp_path, monkeypatch):
    """As after a power cut: of a file there is what was synced, under the names that their folder had when synced."""
    content, names, real_fsync = {}, {}, os.fsync
    folder = tmp_path / "new" / "run"

    def fsync(file):
        real_fsync(file)
        path = os.readlink(f"/proc/self/fd/{file}")
        if os.path.isdir(path):
            names[path] = set(os.listdir(path))
        else:
            content[os.stat(path).st_ino] = Path(path).read_bytes()

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("finding the name of an open file needs /proc")
    monkeypatch.setattr(os, "fsync", fsync)

    def check(_=None):
        journal = folder / "journal.jsonl"
        assert content[os.stat(journal).st_ino] == journal.read_bytes()
        assert "journal.jsonl" in names[str(folder)]
        assert "run" in names[str(tmp_path / "new")]
        assert "new" in names[str(tmp_path)]

    loop = begin(str(folder))
    check()
    loop.query()
    check()
    work(loop, check)


def snapshot(loop):
    return summary(loop), Path(loop.workdir, "journal.jsonl").read_bytes()


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_leaves_the_loop_as_it_was(tmp_path, monkeypatch, uninterrupted, call, code):
    loop = begin(str(tmp_path / "run"))
    batch = loop.query()
    before = snapshot(loop)
    real = getattr(os, call)

    def fails(file, *data):
        if data:
            real(file, bytes(data[0])[:10])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        for change in (lambda: loop.teach(batch, ["class 0"] * 5), loop.discard, loop.evaluate):
            with pytest.raises(OSError, match=r"journal\.jsonl could not be written .*; the loop is as it was"):
                change()
            assert snapshot(loop) == before
        with pytest.raises(OSError, match="could not be written"):
            begin(str(tmp_path / "other"))
        assert set(os.listdir(tmp_path / "other")) <= {"lock"}
    assert work(loop) == uninterrupted
    loop.close()
    assert summary(begin(str(tmp_path / "run"))) == uninterrupted
    assert work(begin(str(tmp_path / "other"))) == uninterrupted


def test_a_disk_that_is_full_for_the_kernel(tmp_path, uninterrupted):
    loop = begin(str(tmp_path / "run"))
    batch = loop.query()
    before = snapshot(loop)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before[1]) + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="could not be written"):
            loop.teach(batch, ["class 0"] * 5)
        assert snapshot(loop) == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert work(loop) == uninterrupted


def test_what_cannot_be_cut_off_at_once_is_cut_off_by_the_next_write(tmp_path, monkeypatch, uninterrupted):
    loop = begin(str(tmp_path / "run"))
    batch = loop.query()
    with monkeypatch.context() as patch:
        for call in ("fsync", "ftruncate"):
            patch.setattr(os, call, lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        with pytest.raises(OSError, match="could not be written"):
            loop.teach(batch, ["class 0"] * 5)
    assert len(loop.outstanding) == 5
    assert work(loop) == uninterrupted
    loop.close()
    assert summary(begin(str(tmp_path / "run"))) == uninterrupted


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_interrupted_by_the_user(tmp_path, monkeypatch, uninterrupted, call):
    loop = begin(str(tmp_path / "run"))
    batch = loop.query()
    real = getattr(os, call)

    def interrupted(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.teach(batch, ["class 0"] * 5)
    assert len(loop.outstanding) == 5
    assert work(loop) == uninterrupted
    loop.close()
    assert summary(begin(str(tmp_path / "run"))) == uninterrupted


def test_only_one_at_a_time(tmp_path):
    workdir = str(tmp_path / "run")
    loop = begin(workdir)
    for opened in (lambda: begin(workdir), lambda: pyal.Loop.resume(workdir, X=X)):
        with pytest.raises(BlockingIOError, match=r"in use by this process \(close\(\) the other loop first\)"):
            opened()
    code = f"import pyal; pyal.Loop.resume({workdir!r})"
    environment = {**os.environ, "PYTHONPATH": str(Path(pyal.__file__).parents[1])}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert f"is in use by process {os.getpid()}" in other.stderr
    loop.close()
    with pytest.raises(ValueError, match="is closed"):
        loop.query()
    begin(workdir).close()


def test_a_torn_or_damaged_file(tmp_path):
    workdir = str(tmp_path / "run")
    loop = begin(workdir)
    work(loop)
    loop.close()
    whole = Path(workdir, "journal.jsonl")
    data = whole.read_bytes()
    lines = data.splitlines(keepends=True)
    for end in range(len(data) - len(lines[-1]) + 1, len(data)):
        whole.write_bytes(data[:end])
        with pytest.warns(UserWarning, match="incomplete record of"):
            begin(workdir).close()
    for zeros in (b"\0" * 100, b"\0" * 99 + b"\n"):
        whole.write_bytes(data + zeros)
        with pytest.warns(UserWarning, match="incomplete record of 100 bytes"):
            begin(workdir).close()

    def refused(content, line):
        whole.write_bytes(content)
        with pytest.raises(ValueError, match=rf"journal\.jsonl is damaged{line}"):
            begin(workdir)

    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(data) - 1, 60).tolist():  # one bit, anywhere but in the newline at the end
        wrong = bytearray(data)
        wrong[at] ^= 1 << int(rng.integers(8))
        refused(bytes(wrong), " in line")
    for i in range(len(lines) - 1):
        refused(b"".join(lines[:i] + lines[i + 1 :]), f" in line {i + 1}")
    refused(b"".join([lines[0], lines[2], lines[1], *lines[3:]]), " in line 2")
    refused(b"", ": it is empty")
    refused(lines[0][:-5], " in line 1")
    whole.write_bytes(data)
    begin(workdir).close()
