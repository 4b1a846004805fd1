"""The progress bar of long calls: on a terminal only, after a second, and as far as the kernel says it is."""

from __future__ import annotations

import io
import itertools
import re
import sys
import types
from collections.abc import Callable

import numpy as np
import pytest
from data import blobs

from pyal import kernels
from pyal.arrays import Matrix
from pyal.kernels import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def gram(X: np.ndarray) -> Matrix:
    return Matrix(X @ X.T + np.eye(len(X), dtype=np.float32), "float32", "cpu")


# Calls that take longer the larger n is.
CALLS: dict[str, Callable[[np.ndarray], object]] = {
    "knn": lambda X: kernels.knn(X, 10, n_jobs=1),
    "k_center_greedy": lambda X: kernels.k_center_greedy(X, len(X) // 2, n_jobs=1),
    "d2_sampling": lambda X: kernels.d2_sampling(X, len(X) // 2, random_state=0, n_jobs=1),
    "ball_cover": lambda X: kernels.ball_cover(X, 100, 6.0, n_jobs=1),
    "herding": lambda X: kernels.herding(X, 100, bandwidth=4.0, n_jobs=1),
    "sup_scores": lambda X: kernels.sup_scores(X, X[:800], np.arange(len(X)) % 800, n_jobs=1),
    "kmeans": lambda X: kernels.kmeans(X, 100, init=X[:100], tol=0, n_jobs=1),
    "ntk": lambda X: kernels.ntk(X[:3000], X, kind="infinite", n_jobs=1),
    "ntk_lookahead": lambda X: kernels.ntk_lookahead(
        gram(X[: len(X) // 4]), np.zeros((len(X) // 4, 3)), batch_size=20, n_jobs=1
    ),
}
SIZES = (3000, 6000, 12_000, 24_000, 48_000)


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal for the standard error, and a clock on which an hour goes by between two looks at it.

    Called in the test itself: between a fixture and its test pytest puts its own standard error back.
    """
    screen, hours = Terminal(), itertools.count(0, 3600)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: next(hours)))
    return screen


def shown(screen: Terminal, title: str) -> list[int]:
    return [int(percent) for percent in re.findall(rf"pyal {title}: +(\d+)%", screen.getvalue())]


@pytest.mark.parametrize("name", CALLS)
def test_a_long_call_shows_how_far_it_is(monkeypatch, name):
    """Kernels report every 50 ms, so a machine too fast for one size is given the next."""
    terminal = on_terminal(monkeypatch)
    found: list[int] = []
    for n in SIZES:
        CALLS[name](blobs(n, 32))
        if found := shown(terminal, name):
            break
    assert found, f"no bar: {terminal.getvalue()!r}"
    assert found == sorted(found)
    assert 0 <= found[0] <= found[-1] <= 100
    assert terminal.getvalue().endswith("\r"), "the bar is taken away at the end"


@pytest.mark.parametrize("name", ["knn", "kmeans"])
def test_nothing_without_a_terminal(monkeypatch, name):
    """Neither where the standard error is a file, nor where there is none."""
    made = []
    monkeypatch.setattr(progress.Progress, "__call__", lambda *given: made.append(given))
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        CALLS[name](blobs(6000, 32))
    assert not made


def test_nothing_within_the_first_second(monkeypatch):
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: 0.0))
    reports = []
    plain = progress.Progress.__call__

    def report(self: progress.Progress, done: float) -> None:
        reports.append(done)
        plain(self, done)

    monkeypatch.setattr(progress.Progress, "__call__", report)
    for n in SIZES:
        CALLS["knn"](blobs(n, 32))
        if reports:
            break
    assert reports
    assert terminal.getvalue() == ""


def test_a_series_of_kernels_is_one_bar(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with progress.Progress("series", 4) as bar:
        for done in (0.5, 1.0):
            bar(done)
        bar.finished += 2
        for done in (0.0, 0.5, 1.0):
            bar(done)
            bar.bar.refresh()
        bar.finished += 2  # more of them than were announced
        bar(0.5)
        bar.bar.refresh()
    assert shown(terminal, "series") == sorted(shown(terminal, "series"))
    assert {12, 50, 62, 75, 100} <= set(shown(terminal, "series"))
    assert "\n" not in terminal.getvalue()


def test_an_error_takes_the_bar_away(monkeypatch):
    terminal = on_terminal(monkeypatch)

    def interrupted() -> None:
        with progress.Progress("work") as bar:
            bar(0.25)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert shown(terminal, "work") == [25]
    assert terminal.getvalue().endswith("\r")
