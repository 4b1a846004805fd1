"""Fixtures: devices, instruction sets, storage types, real data. What is missing here is skipped by name."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from data import DTYPES

CHECKOUT = Path(__file__).resolve().parents[1]
ISAS = ("baseline", "avx2", "avx512", "avx512_bf16", "amx_bf16")
# avx512_bf16 and amx_bf16 differ from avx512 in the Filter of csrc/cpu/tiles.hpp alone. Kernels that have none compute
# with the code of avx512 once more, which the slow tests check.
ON_BF16 = re.compile(r"\[(.*-)?(avx512|amx)_bf16\b")
NO_FILTER = re.compile(
    r"/test_(tangent|lookahead|least_squares|information|rank_one_gains)\.py|::test_(sup_scores|sqnorms|constrained_assign)"
)


# `python -m pytest` puts the checkout on the path, where a pyal/ without a core hides the installed one.
if not any((CHECKOUT / "pyal" / f"_cpu{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != CHECKOUT]


def pytest_configure(config: pytest.Config) -> None:
    """The workers of pytest-xdist share the CPUs, so BLAS and torch take one each; pyal's own threads stay."""
    if config.getoption("numprocesses", 0):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if NO_FILTER.search(item.nodeid) and ON_BF16.search(item.nodeid):
            item.add_marker(pytest.mark.slow)


@functools.cache
def why_no_cuda() -> str:
    try:
        import torch
    except ImportError:
        return "CUDA tests need torch, which is not installed"
    return "" if torch.cuda.is_available() else "no CUDA device that torch can use"


def use_isa(name: str) -> Iterator[str]:
    from pyal import _cpu

    if name not in _cpu.isas_available():
        pytest.skip(f"instruction set {name}: not in this build, or this CPU cannot run it")
    before = _cpu.isa_in_use()
    _cpu.set_isa(name)
    yield name
    _cpu.set_isa(before)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Each device in turn."""
    if request.param == "cuda" and why_no_cuda():
        pytest.skip(why_no_cuda())
    return str(request.param)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set in turn, in use for the length of the test."""
    yield from use_isa(request.param)


@pytest.fixture(params=[*ISAS, "cuda"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device, each instruction set of the CPU in turn: everything that computes."""
    if request.param == "cuda":
        if why_no_cuda():
            pytest.skip(why_no_cuda())
        yield "cuda"
    else:
        for _ in use_isa(request.param):
            yield "cpu"


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    """Each storage type in turn."""
    return str(request.param)


@pytest.fixture
def pyal_data() -> Path:
    """The folder of real data sets."""
    folder = os.environ.get("PYAL_DATA")
    if not folder:
        pytest.skip("real data: the environment variable PYAL_DATA is not set")
    return Path(folder)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_reaches_children():
    """A suite started in the background ignores SIGINT, and so would the processes that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _away_from_the_checkout(tmp_path_factory):
    """Where a test starts Python, the checkout's pyal/ without a core must not hide the installed one."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)
