"""pyal surrogate: examples of what labels bring, a model that predicts it, and how well it does."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parts = parser.add_subparsers(title="parts", metavar="part", required=True, dest="part")
    one = parts.add_parser("collect", help="run simulations and log what each label brings")
    one.add_argument("config", help=".toml or .json; python -m pydoc pyal.simulation.config says what stands in it")
    one.add_argument("-o", "--output", required=True, metavar="FILE", help="the examples, .npz")
    one.add_argument("--n-jobs", type=int, metavar="K", help="runs at a time, -1 for all CPUs (default: the file's)")
    one.add_argument("--force", action="store_true", help="overwrite the examples")
    one = parts.add_parser("fit", help="fit a model to examples")
    one.add_argument("examples", nargs="+", help="files of pyal surrogate collect; several become one table")
    one.add_argument("-o", "--output", required=True, metavar="FILE", help="the model")
    one.add_argument("--variant", default="acc_asn", help="acc or loss, alone or with _asn or _asnvalid (acc_asn)")
    one.add_argument("--split", default="honest", choices=("honest", "thesis"), help="of the repetitions (honest)")
    one.add_argument("--objective", default="regression", choices=("regression", "ranking"))
    one.add_argument("--ranked", action="store_true", help="features by their rank within a step, not their value")
    one.add_argument("--horizon", type=int, default=1, metavar="K", help="learn the mean gain of K labels, not of one")
    one.add_argument("--backend", choices=("xgboost", "sklearn"), help="default: xgboost where it is installed")
    one.add_argument("--search", choices=("none", "coordinate", "full"), default="coordinate", help="of parameters")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--n-jobs", type=int, metavar="K", help="threads (default: all)")
    one.add_argument("--force", action="store_true", help="overwrite the model")
    one = parts.add_parser("evaluate", help="print what models are worth on examples, as CSV")
    one.add_argument("models", nargs="+", help="files of pyal surrogate fit")
    one.add_argument("--examples", required=True, nargs="+", metavar="FILE", help="files of pyal surrogate collect")
    one.add_argument("--horizon", type=int, default=1, metavar="K", help="against the mean gain of K labels")
    one.add_argument("--trusted", action="store_true", help="open models that hold a pickle, which can run any code")


def run(arguments: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    return {"collect": _collect, "fit": _fit, "evaluate": _evaluate}[arguments.part](arguments)


def _collect(arguments: argparse.Namespace) -> int:
    from pyal import files, surrogate
    from pyal.simulation import config

    files.check_writable(arguments.output, force=arguments.force)
    settings = config.read_collection(arguments.config)
    if arguments.n_jobs is not None:
        settings["n_jobs"] = arguments.n_jobs
    found = surrogate.collect(**settings)
    found.save(arguments.output)
    print(f"examples: {arguments.output}, {len(found)} of {', '.join(found.columns)}")
    return 0


def _examples(paths: list[str], horizon: int = 1) -> Any:
    """The examples of all files, as one table."""
    from pyal import surrogate

    every = [surrogate.load_examples(path) for path in paths]
    if horizon != 1:  # before they are joined: the runs of two files may have one name
        every = [examples.averaged(horizon) for examples in every]
    return every[0] if len(every) == 1 else surrogate.concatenated(every)


def _fit(arguments: argparse.Namespace) -> int:
    from pyal import files, surrogate

    files.check_writable(arguments.output, force=arguments.force)
    examples = _examples(arguments.examples, arguments.horizon)
    search: Any = {"none": False, "coordinate": True, "full": "full"}[arguments.search]
    model = surrogate.fit(
        examples,
        arguments.variant,
        backend=arguments.backend,
        split=arguments.split,
        search=search,
        objective=arguments.objective,
        ranked=arguments.ranked,
        random_state=arguments.seed,
        n_jobs=arguments.n_jobs,
    )
    model.save(arguments.output)
    print(f"model: {arguments.output}, {model.name} of {len(examples)} examples{_explained(model.measured)}")
    return 0


def _explained(measured: Any) -> str:
    """How much of the variance of the gains the model explains, where it predicts them at all."""
    parts = [(part, measured[part]["explained"]) for part in ("train", "validation", "test")]
    said = ", ".join(f"{100 * share:.1f} % in {part}" for part, share in parts if share is not None)
    return f"; of the variance of the gains it explains {said}" if said else ""


def _evaluate(arguments: argparse.Namespace) -> int:
    from pyal import surrogate

    models = [surrogate.load(path, trusted=arguments.trusted) for path in arguments.models]
    rows = surrogate.evaluate(models, _examples(arguments.examples, arguments.horizon))
    table = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    return 0
