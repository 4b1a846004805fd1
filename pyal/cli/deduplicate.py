"""pyal deduplicate: groups of near-duplicates, as CSV, and which row of each to keep."""

from __future__ import annotations

import argparse
import csv
import io


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("embeddings", help=".npy file, (N, d); read as a memmap")
    parser.add_argument(
        "--radius",
        type=float,
        required=True,
        metavar="R",
        help="rows at most so far apart are near-duplicates, and so are chains of them; 0: equal rows only",
    )
    parser.add_argument(
        "--metric",
        choices=("euclidean", "cosine"),
        default="euclidean",
        help="cosine takes the rows at norm 1, where R is sqrt(2 - 2 cos) (default: euclidean)",
    )
    parser.add_argument("--ids", metavar="TXT", help="one id per row of the embeddings, one per line")
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument("--n-jobs", type=int, metavar="T", help="CPU threads (default: all)")
    parser.add_argument("-o", "--output", metavar="CSV", help="default: standard output")
    parser.add_argument("--force", action="store_true", help="overwrite the output file")


def run(arguments: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from pyal import files, kernels
    from pyal.arrays import as_numpy

    if arguments.output is not None:
        files.check_writable(arguments.output, force=arguments.force)
    X = kernels.checked_matrix(arguments.embeddings, arguments.embeddings, device=arguments.device)
    ids = files.read_ids(arguments.ids, X.n) if arguments.ids else None
    found = kernels.deduplicate(X, arguments.radius, metric=arguments.metric, n_jobs=arguments.n_jobs)
    groups, kept = (as_numpy(each, "groups").tolist() for each in found)

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("position", "id", "group", "kept"))
    for position, group in enumerate(groups):
        id_ = "" if ids is None else ids[position]
        writer.writerow((position, id_, group, "yes" if kept[group] == position else "no"))
    files.write_out(arguments.output, table.getvalue(), force=arguments.force)
    if arguments.output is not None:
        print(f"{len(kept)} of {X.n} rows are kept")
    return 0
