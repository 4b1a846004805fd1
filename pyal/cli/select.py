"""pyal select: the rows to label next, as CSV."""

from __future__ import annotations

import argparse
import ast
import csv
import io
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("embeddings", help=".npy file, (N, d); read as a memmap")
    parser.add_argument("--strategy", default="typiclust", help="as pyal strategies lists them (default: typiclust)")
    parser.add_argument("--batch-size", type=int, required=True, metavar="B", help="how many rows to pick")
    parser.add_argument(
        "--labels",
        metavar="CSV",
        help="columns position,label or id,label (status skipped: not picked); or one label per line",
    )
    parser.add_argument("--ids", metavar="TXT", help="one id per row of the embeddings, one per line")
    parser.add_argument("--proba", metavar="NPY", help="class probabilities, (N, C) or (T, N, C)")
    parser.add_argument("--features", metavar="NPY", help="activations of the current classifier, (N, h)")
    parser.add_argument(
        "--views", metavar="NPY", nargs="+", help="embeddings of augmented copies, a file of (N, d) for each"
    )
    parser.add_argument("--groups", metavar="FILE", help="the group of each row: .npy, or text with one per line")
    parser.add_argument("--max-per-group", type=int, metavar="K", help="how many rows of one group the batch may hold")
    parser.add_argument("--min-distance", type=float, metavar="D", help="no pick is nearer to a pick or a labelled row")
    parser.add_argument(
        "--class-balance", action="store_true", help="predicted classes share the batch evenly (needs --proba)"
    )
    parser.add_argument("--weights", metavar="FILE", help="what each row counts: .npy, or text with a number per line")
    parser.add_argument(
        "--metric",
        choices=("euclidean", "cosine"),
        help="cosine takes the rows at norm 1 (default: as the strategy's source does)",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same rows")
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument("--n-jobs", type=int, metavar="T", help="CPU threads (default: all)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the strategy; may be repeated"
    )
    parser.add_argument("-o", "--output", metavar="CSV", help="default: standard output")
    parser.add_argument("--force", action="store_true", help="overwrite the output file")


def run(arguments: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    import numpy as np

    from pyal import files, kernels
    from pyal.arrays import labeled_positions
    from pyal.selection import score, select
    from pyal.strategies.registry import check_options, find

    if arguments.output is not None:
        files.check_writable(arguments.output, force=arguments.force)
    options = _options(arguments.option)
    entry = find(arguments.strategy)
    check_options(entry.name, entry.function, options)
    X = kernels.checked_matrix(arguments.embeddings, arguments.embeddings)
    ids = files.read_ids(arguments.ids, X.n) if arguments.ids else None
    y = files.read_labels(arguments.labels, X.n, ids) if arguments.labels else None
    skipped = files.read_skipped(arguments.labels, X.n, ids) if arguments.labels else []
    inputs = {
        "strategy": entry.name,
        "proba": arguments.proba,
        "features": arguments.features,
        "views": arguments.views,
        "groups": None if arguments.groups is None else files.read_column(arguments.groups, X.n),
        "max_per_group": arguments.max_per_group,
        "min_distance": arguments.min_distance,
        "class_balance": arguments.class_balance,
        "weights": None if arguments.weights is None else files.read_column(arguments.weights, X.n, numbers=True),
        "metric": arguments.metric,
        "device": arguments.device,
        "n_jobs": arguments.n_jobs,
        **options,
    }
    if skipped:
        inputs["candidates"] = np.setdiff1d(np.arange(X.n), np.append(labeled_positions(y, X.n), skipped))
    picks = select(X, y, batch_size=arguments.batch_size, random_state=arguments.seed, **inputs)
    scores = score(X, y, **inputs) if entry.scores is not None and len(picks) else None

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("rank", "position", "id", "score"))
    for rank, position in enumerate(picks.tolist(), start=1):
        value = "" if scores is None else repr(float(scores[position]))
        writer.writerow((rank, position, "" if ids is None else ids[position], value))
    files.write_out(arguments.output, table.getvalue(), force=arguments.force)
    return 0


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
