"""Pools at the size asked for, `versus` (equal answers, then interleaved rounds), and the table at the end.

PYAL_BENCH_ROWS, PYAL_BENCH_DIM, PYAL_BENCH_THREADS, PYAL_BENCH_DATA ("iid,blobs,real") choose the run.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import measure
import pytest
from peers import Peer
from pools import Pool, make_pool

for variable in measure.THREAD_VARIABLES:  # before the libraries read them
    os.environ[variable] = str(measure.threads())

ROWS = int(os.environ.get("PYAL_BENCH_ROWS") or 8_000)
DIM = int(os.environ.get("PYAL_BENCH_DIM") or 256)
KINDS = (os.environ.get("PYAL_BENCH_DATA") or "iid,blobs,real").split(",")
RESULTS = pytest.StashKey[list["Result"]]()


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    kernel: str
    work: str
    peer: str
    answers: str
    note: str
    seconds: float
    peer_seconds: float | None
    extra: int | None
    peer_extra: int | None
    limit: str

    @property
    def ratio(self) -> float | None:
        return None if self.peer_seconds is None else self.peer_seconds / self.seconds


@pytest.fixture(scope="session", params=KINDS)
def pool(request: pytest.FixtureRequest) -> Pool:
    return make_pool(request.param, ROWS, DIM)


@pytest.fixture(scope="session")
def n_jobs() -> int:
    return measure.threads()


@pytest.fixture
def versus(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Result]:
    """versus(kernel, work, ours, peer, theirs, agree): pyal against a peer (None: alone), as a line of the table.

    agree(answer, peer's answer) asserts that they are equal and says in a few words how. Both are then called in turns,
    pyal by pytest-benchmark, the peer in the setup of each round. flops or bytes: the least work that the plain
    algorithm needs, for the share of the machine's limit.
    """

    def run(
        kernel: str,
        work: object,
        ours: Callable[[], Any],
        peer: Peer | None = None,
        theirs: Callable[[], Any] | None = None,
        agree: Callable[[Any, Any], str] | None = None,
        *,
        flops: float | None = None,
        bytes_read: float | None = None,
    ) -> Result:
        if peer and (missing := peer.missing()):
            pytest.skip(missing)
        measure.limit_threads()
        mine = measure.Timed(ours)
        mine.first()
        his = measure.Timed(theirs) if theirs else None
        answers = ""
        if his:
            his.first()
            answers = agree(mine.answer, his.answer) if agree else "not compared"

        def let_peer_go_first() -> None:
            if his and his.rounds:
                his.rounds -= 1
                his.warm()
                his.timed()
            mine.warm()

        mine.seconds.clear()
        rounds = max(3, min(mine.rounds, his.rounds) if his else mine.rounds)
        benchmark.pedantic(mine.timed, setup=let_peer_go_first, rounds=rounds)
        result = Result(
            kernel=kernel,
            work=str(work),
            peer=peer.name if peer else "-",
            answers=answers,
            note=peer.note if peer else "",
            seconds=mine.median,
            peer_seconds=his.median if his else None,
            extra=mine.extra,
            peer_extra=his.extra if his else None,
            limit=share_of_limit(mine.median, flops, bytes_read),
        )
        benchmark.extra_info.update(asdict(result), ratio=result.ratio, dtype="float32", **_facts())
        request.config.stash.setdefault(RESULTS, []).append(result)
        return result

    return run


def _facts() -> dict[str, Any]:
    return {name: fact for name, fact in measure.machine().items() if name != "versions"}


def share_of_limit(seconds: float, flops: float | None, bytes_read: float | None) -> str:
    if flops:
        rate = flops / seconds / 1e9
        return f"{rate:.0f} GFLOP/s, {100 * rate / measure.sgemm_gflops():.0f} % of sgemm"
    if bytes_read:
        rate = bytes_read / seconds / 1e9
        return f"{rate:.1f} GB/s, {100 * rate / measure.read_gbytes():.0f} % of reading"
    return ""


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """What a figure needs beside it, and neither the name of the host nor a page of processor flags."""
    machine_info.clear()
    machine_info.update(measure.machine())


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """The command as from the checkout, without where it writes to; and no list of every round."""
    chosen = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("PYAL_BENCH_")]
    given = [word for word in config.invocation_params.args if not word.startswith(("--benchmark-", "--override-ini"))]
    words = [os.path.relpath(word, config.rootpath) if Path(word).exists() else word for word in given]
    output_json["command"] = " ".join([*chosen, "pytest", shlex.join(words)])
    for entry in output_json["benchmarks"]:
        entry.pop("params", None)  # objects by their addresses
        entry["stats"].pop("data", None)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", 0):
        raise pytest.UsageError("benchmarks run one at a time: pyal bench, or pytest bench/kernels -n 0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore"))  # the peers' own


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    results = config.stash.get(RESULTS, [])
    if not results:
        return
    facts = measure.machine()
    terminalreporter.section("pyal against what is installed")
    terminalreporter.write_line(
        f"{facts['cpu']}, {facts['threads']} threads, {facts['instruction_set']}; sgemm {measure.sgemm_gflops():.0f} "
        f"GFLOP/s, reading {measure.read_gbytes():.0f} GB/s; medians of interleaved rounds; MB: peak extra memory"
    )
    head = ("kernel", "work", "peer", "pyal s", "peer s", "ratio", "pyal MB", "peer MB", "answers", "limit")
    lines = [head, *(_cells(result) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = (
            cell.rjust(w) if 3 <= i < 8 else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        terminalreporter.write_line("  ".join(cells).rstrip())
    for note in sorted({f"{result.kernel}, {result.peer}: {result.note}" for result in results if result.note}):
        terminalreporter.write_line(note)


def _cells(result: Result) -> tuple[str, ...]:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return (
        result.kernel,
        result.work,
        result.peer,
        number(result.seconds, ".4f"),
        number(result.peer_seconds, ".4f"),
        number(result.ratio, ".1f"),
        number(None if result.extra is None else result.extra / 1e6, ".0f"),
        number(None if result.peer_extra is None else result.peer_extra / 1e6, ".0f"),
        result.answers,
        result.limit,
    )
