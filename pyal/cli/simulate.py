"""pyal simulate: strategies against random, from a file of settings."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("config", help=".toml or .json; python -m pydoc pyal.simulation.config says what stands in it")
    parser.add_argument("--n-jobs", type=int, metavar="K", help="runs at a time, -1 for all CPUs (default: the file's)")
    parser.add_argument("-o", "--output", metavar="CSV", help="also write the table: a row per strategy, seed, round")
    parser.add_argument("--force", action="store_true", help="overwrite the table")


def run(arguments: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from pyal import files
    from pyal.simulation import config
    from pyal.simulation.experiment import simulate

    if arguments.output is not None:
        files.check_writable(arguments.output, force=arguments.force)
    settings = config.read(arguments.config)
    if arguments.n_jobs is not None:
        settings["n_jobs"] = arguments.n_jobs
    found = simulate(**settings)
    if arguments.output is not None:
        found.to_csv(arguments.output, force=arguments.force)
    print(found.summary())
    return 1 if found.failures else 0
