"""pyal import: labels from a labelling tool, as CSV."""

from __future__ import annotations

import argparse
import sys

from pyal import files
from pyal.labelling import label_studio, sheet
from pyal.labelling.answers import check_against, counted, labels_csv, settle
from pyal.labelling.batch import read_batch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments, by format."""
    formats = parser.add_subparsers(title="formats", required=True, metavar="format", parser_class=type(parser))
    for tool, text in (
        ("label-studio", "Read exports: JSON (which tells of skips), JSON_MIN, CSV or TSV."),
        ("csv", "Read CSVs that were filled in."),
    ):
        sub = formats.add_parser(tool, help=text, description=text)
        sub.set_defaults(tool=tool)
        sub.add_argument("exports", metavar="EXPORT", nargs="+", help="a file of answers")
        sub.add_argument(
            "--batch",
            metavar="CSV",
            help="what pyal select wrote: answers must be for its rows, and rows without one are counted",
        )
        sub.add_argument(
            "--on-conflict",
            default="error",
            choices=("error", "last", "majority"),
            help="what happens to a row with different labels (default: error)",
        )
        if tool == "label-studio":
            sub.add_argument("--control", metavar="NAME", help="the Choices tag to read, where there are others")
            sub.add_argument(
                "--several",
                default="error",
                choices=("error", "skip"),
                help="what happens to annotations with several choices (default: error)",
            )
        sub.add_argument("-o", "--output", metavar="CSV", help="default: standard output")
        sub.add_argument("--force", action="store_true", help="overwrite the output file")


def run(arguments: argparse.Namespace) -> int:
    """Writes the labels that the exports of `arguments.tool` hold, and says how many on standard error."""
    if arguments.output is not None:
        files.check_writable(arguments.output, force=arguments.force)
    answers = []
    for path in arguments.exports:
        if arguments.tool == "csv":
            answers += sheet.read_sheet(path)
        else:
            answers += label_studio.read_export(path, control=arguments.control, several=arguments.several)
    if arguments.batch is not None:
        answers = check_against(read_batch(arguments.batch), answers)
    settled = settle(answers, arguments.on_conflict)
    files.write_out(arguments.output, labels_csv(settled), force=arguments.force)
    print(f"pyal: {counted(settled)}", file=sys.stderr)
    return 0
