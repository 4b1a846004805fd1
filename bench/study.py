"""Runs a study: pyal on real data from the first label to the last, written down with its machine, date and commit.

    PYAL_DATA=... python bench/study.py NAME -o OUT [--quick]

OUT is a folder. It gets NAME.json, which bench/results_tables.py makes tables of, and whatever else the study keeps;
an interrupted study that keeps its runs goes on with them. A study is a module of bench/studies/: OPTIONS names the
options that it takes, QUICK says what --quick sets, and run(given, out) returns what goes into its JSON.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import measure
import results_tables
from studies import (
    cosine_memory,
    every_strategy,
    initial_sets,
    lookahead,
    protocols,
    select_every,
    simulate_fashion,
    surrogate,
    which_strategy,
)

MODULES = (
    every_strategy,
    initial_sets,
    simulate_fashion,
    which_strategy,
    protocols,
    lookahead,
    select_every,
    surrogate,
    cosine_memory,
)
STUDIES = {module.__name__.removeprefix("studies."): module for module in MODULES}
OPTIONS: dict[str, dict[str, Any]] = {
    "seeds": {"type": int, "default": 5, "metavar": "N"},
    "rows": {"type": int, "metavar": "N", "help": "only the first rows of each pool"},
    "n-jobs": {"type": int, "default": measure.threads(), "metavar": "N", "help": "runs at a time; default: the CPUs"},
    "strategies": {"nargs": "+", "metavar": "NAME", "help": "default: all that are registered"},
    "sets": {"nargs": "+", "metavar": "NAME", "help": "data sets or settings; default: all of the study"},
    "estimator": {"choices": ("logistic", "closed_form"), "default": "logistic"},
    "budget": {"type": int, "metavar": "N", "help": "labels in the end"},
    "parts": {"nargs": "+", "metavar": "PART", "help": "of the study; default: all"},
    "than": {"metavar": "PYTHON", "help": "the Python of an environment with another pyal, to compare with"},
    "metric": {"choices": ("euclidean", "cosine"), "help": "for all strategies; default: as their sources have it"},
}


def arguments_of(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="pyal on real data (PYAL_DATA), from the first label to the last.")
    studies = parser.add_subparsers(dest="study", required=True)
    for name, study in STUDIES.items():
        sub = studies.add_parser(name, help=(study.__doc__ or "").split("\n")[0])
        sub.add_argument("-o", "--out", required=True, help=f"a folder for {name}.json and what the study keeps")
        quick = ", ".join(f"--{option} {value}" for option, value in study.QUICK.items())
        sub.add_argument("--quick", action="store_true", help=f"a look at whether it runs: {quick}")
        for option in study.OPTIONS:
            sub.add_argument(f"--{option}", **OPTIONS[option])
        if "--quick" in argv:
            sub.set_defaults(**study.QUICK)  # what is given beside it holds
    return parser.parse_args(argv)


def commit() -> str:
    """The commit of the checkout, and whether anything differs from it; "" outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return ""


def anywhere(word: str, out: str) -> str:
    """A word of the command line without the paths of this machine."""
    return "OUT" if word == out else "PATH" if os.sep in word else word


def main(argv: list[str]) -> None:
    given = arguments_of(argv)
    measure.limit_threads()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    report = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "bench/study.py", *(anywhere(word, given.out) for word in argv)]),
        "commit": commit(),
        "machine": measure.machine(),
        **STUDIES[given.study].run(given, out),
    }
    (out / f"{given.study}.json").write_text(json.dumps(report) + "\n")
    print(results_tables.tables(report))


if __name__ == "__main__":
    main(sys.argv[1:])
