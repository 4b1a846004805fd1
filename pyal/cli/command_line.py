"""The command line: one module per command, each with add_arguments and run.

A user's mistake is one sentence on standard error and exit code 2; Ctrl-C is one line and 130.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

# Command: the module of pyal.cli that has its add_arguments and run, and what it does.
COMMANDS = {
    "select": ("select", "Pick the rows to label next; writes rank,position,id,score as CSV."),
    "deduplicate": ("deduplicate", "Find groups of near-duplicates; writes position,id,group,kept as CSV."),
    "export": ("export", "Write a batch as tasks for a labelling tool."),
    "import": ("import_labels", "Read labels from a labelling tool; writes id,position,label,status as CSV."),
    "simulate": ("simulate", "Run strategies against random on labels that are known; prints a summary."),
    "plot": ("plot", "Draw the learning curves of a simulation and its gain over random."),
    "surrogate": ("surrogate", "Collect what labels bring, fit a model that predicts it, evaluate it."),
    "strategies": ("strategies", "List the strategies, or explain one of them: how it works, its options, its source."),
    "doctor": ("doctor", "Print what pyal runs on here."),
    "demo": ("demo", "Compare strategies on scikit-learn's digits: a table and a plot, under a minute."),
    "bench": ("bench", "Run the benchmarks of a source checkout at a size of your choice."),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    try:
        arguments = parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _show_warning
            code = int(arguments.run(arguments) or 0)
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


def parser() -> argparse.ArgumentParser:
    """The parser of all commands, each with the arguments that its module adds."""
    import pyal

    every = _Parser(prog="pyal", description="Which rows of an embedding matrix to label next.")
    every.add_argument("--version", action="version", version=f"pyal {pyal.__version__}")
    commands = every.add_subparsers(title="commands", metavar="command", parser_class=_Parser)
    for name, (module, text) in COMMANDS.items():
        command = importlib.import_module(f"pyal.cli.{module}")
        one = commands.add_parser(name, help=text, description=text)
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    every.set_defaults(run=lambda _: print(every.format_help(), end=""))
    return every


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
