"""pyal bench: the benchmarks of a source checkout."""

from __future__ import annotations

import argparse
import errno
import importlib.util
import os
import subprocess
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--rows", type=int, metavar="N", help="rows of the pool")
    parser.add_argument("--dim", type=int, metavar="D", help="columns of the pool")
    parser.add_argument("-k", dest="only", metavar="WORD", help="only the benchmarks whose name holds WORD")
    parser.add_argument("--json", metavar="FILE", help="also write the results there")


def run(arguments: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from pyal import files

    folder = _bench_folder()
    for package in ("pytest", "pytest_benchmark"):
        if importlib.util.find_spec(package) is None:
            raise RuntimeError(f"the benchmarks need {package.replace('_', '-')}: pip install 'pyal[bench]'")
    # The options of the tests run several at a time, on the cores that the next call is timed on.
    command = [sys.executable, "-m", "pytest", "kernels", "--benchmark-only", "-q", "--override-ini=addopts="]
    command += ["-k", arguments.only] if arguments.only else []
    if arguments.json:
        files.check_writable(arguments.json, force=False)
        command.append(f"--benchmark-json={os.path.abspath(arguments.json)}")
    environment = dict(os.environ)
    for name, value in (("PYAL_BENCH_ROWS", arguments.rows), ("PYAL_BENCH_DIM", arguments.dim)):
        if value is not None:
            if value < 1:
                raise ValueError(f"--{name.rsplit('_', 1)[1].lower()} must be at least 1; got {value}")
            environment[name] = str(value)
    # Started in bench/: python -m imports from where it is started, and in the checkout lies pyal without its core.
    return subprocess.run(command, cwd=folder, env=environment).returncode


def _bench_folder() -> Path:
    """bench/ beside the package of a source checkout, or under the current folder."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if any((root / "bench/kernels").glob("test_bench_*.py")):
            return root / "bench"
    raise FileNotFoundError(
        errno.ENOENT,
        "no bench/ beside the package or in the current folder: the benchmarks are "
        "part of the source checkout, run pyal bench in there",
    )
