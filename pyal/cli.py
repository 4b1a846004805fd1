"""The command line: pyal select | strategies | doctor | demo | bench.

A user's mistake is one sentence on standard error and exit code 2; Ctrl-C is one line and 130.
"""

from __future__ import annotations

import argparse
import ast
import csv
import errno
import importlib.util
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _show_warning
            code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("pyal: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_stdout()  # else the interpreter complains once more when it flushes at exit
        return 141
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError, ArithmeticError, ImportError) as error:
        _drop_stdout()
        print(f"pyal: error: {_sentence(error)}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pyal", description="Which rows of an embedding matrix to label next.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    select = command("select", _select, "Pick the rows to label next; writes rank,position,id,score as CSV.")
    select.add_argument("embeddings", help=".npy file, (N, d); read as a memmap")
    select.add_argument("--strategy", default="typiclust", help="see pyal strategies (default: typiclust)")
    select.add_argument("--batch-size", type=int, required=True, metavar="B", help="how many rows")
    select.add_argument("--labels", metavar="CSV", help="columns position,label or id,label; or one label per line")
    select.add_argument("--ids", metavar="TXT", help="one id per row of the embeddings, one per line")
    select.add_argument("--proba", metavar="NPY", help="class probabilities, (N, C) or (T, N, C)")
    select.add_argument("--features", metavar="NPY", help="activations of the current classifier, (N, h)")
    select.add_argument("--metric", default="euclidean", choices=("euclidean", "cosine"))
    select.add_argument("--seed", type=int, metavar="S", help="same seed, same rows")
    select.add_argument("--device", help="cpu, cuda or cuda:1 (default: cpu)")
    select.add_argument("--n-jobs", type=int, metavar="T", help="CPU threads (default: all)")
    select.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the strategy; may be repeated"
    )
    select.add_argument("-o", "--output", metavar="CSV", help="default: standard output")
    select.add_argument("--force", action="store_true", help="overwrite the output file")

    command("strategies", _strategies, "List the strategies, what they need and where they are from.")
    command("doctor", _doctor, "Print what pyal runs on here.")

    demo = command("demo", _demo, "Compare strategies on scikit-learn's digits: a table and a plot, under a minute.")
    demo.add_argument("--seeds", type=int, default=5, metavar="K", help="repetitions (default: 5)")
    demo.add_argument("-o", "--out", default="pyal-demo.png", metavar="PNG", help="default: pyal-demo.png")
    demo.add_argument("--force", action="store_true", help="overwrite the plot")

    bench = command("bench", _bench, "Run the benchmarks of a source checkout at a size of your choice.")
    bench.add_argument("--rows", type=int, metavar="N", help="rows of the pool")
    bench.add_argument("--dim", type=int, metavar="D", help="columns of the pool")
    bench.add_argument("-k", dest="only", metavar="WORD", help="only the benchmarks whose name holds WORD")
    bench.add_argument("--json", metavar="FILE", help="also write the results there")
    return parser


def _select(arguments: argparse.Namespace) -> int:
    from pyal import files, kernels
    from pyal.selection import score, select
    from pyal.strategies.registry import check_options, find

    if arguments.output is not None:
        files.check_writable(arguments.output, force=arguments.force)
    options = _options(arguments.option)
    entry = find(arguments.strategy)
    check_options(entry.name, entry.function, options)
    X = kernels.rows(arguments.embeddings, arguments.embeddings)
    ids = files.read_ids(arguments.ids, X.n) if arguments.ids else None
    y = files.read_labels(arguments.labels, X.n, ids) if arguments.labels else None
    inputs = {
        "strategy": entry.name,
        "proba": arguments.proba,
        "features": arguments.features,
        "metric": arguments.metric,
        "device": arguments.device,
        "n_jobs": arguments.n_jobs,
        **options,
    }
    picks = select(X, y, batch_size=arguments.batch_size, random_state=arguments.seed, **inputs)
    scores = score(X, y, **inputs) if entry.scores is not None and len(picks) else None

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("rank", "position", "id", "score"))
    for rank, position in enumerate(picks.tolist(), start=1):
        value = "" if scores is None else repr(float(scores[position]))
        writer.writerow((rank, position, "" if ids is None else ids[position], value))
    if arguments.output is None:
        sys.stdout.write(table.getvalue())
    else:
        files.write_whole(arguments.output, table.getvalue().encode(), force=arguments.force)
    return 0


def _strategies(_: argparse.Namespace) -> int:
    from pyal.strategies import strategies

    for s in strategies():
        names = f"{s.name} ({', '.join(s.aliases)})" if s.aliases else s.name
        later = f" (once rows are labelled {', '.join(s.needs_once_labeled)})" if s.needs_once_labeled else ""
        print(
            f"{names}\n    {s.summary}\n    needs {', '.join(s.needs) or 'nothing but X'}{later}; memory {s.memory}"
            f"; {s.citation}"
        )
        if s.options:
            print(f"    options {', '.join(f'{name}={value!r}' for name, value in s.options.items())}")
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from pyal import doctor

    print(doctor.report())
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from pyal import demo

    return demo.run(arguments.out, force=arguments.force, n_seeds=arguments.seeds)


def _bench(arguments: argparse.Namespace) -> int:
    from pyal import files

    folder = _bench_folder()
    for package in ("pytest", "pytest_benchmark"):
        if importlib.util.find_spec(package) is None:
            raise RuntimeError(f"the benchmarks need {package.replace('_', '-')}: pip install 'pyal[bench]'")
    command = [sys.executable, "-m", "pytest", str(folder), "--benchmark-only", "-q"]
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
    return subprocess.run(command, cwd=folder.parent, env=environment).returncode


def _bench_folder() -> Path:
    """bench/ beside the package of a source checkout, or under the current folder."""
    for root in (Path(__file__).resolve().parents[1], Path.cwd()):
        if any((root / "bench").glob("test_bench_*.py")):
            return root / "bench"
    raise FileNotFoundError(
        errno.ENOENT,
        "no bench/ beside the package or in the current folder: the benchmarks are "
        "part of the source checkout, run pyal bench in there",
    )


def _options(given: list[str]) -> dict[str, Any]:
    """name=value pairs; a value that is a Python literal is one, anything else is text."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--option must be NAME=VALUE; got {text!r}")
        if name in options:
            raise ValueError(f"--option {name} is given twice")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    return options


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory{f': {error}' if str(error) else ''}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"pyal: warning: {message}", file=sys.stderr)


def _drop_stdout() -> None:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
