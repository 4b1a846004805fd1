"""pyal export and pyal import."""

from __future__ import annotations

import argparse
import os
import sys

from pyal import files
from pyal.labelling import images, label_studio, sheet
from pyal.labelling.answers import check_against, counted, labels_csv, settle
from pyal.labelling.batch import Row, predictions, read_batch, read_classes


def export(arguments: argparse.Namespace) -> int:
    """Writes the batch for `arguments.tool`, label-studio or csv, and the labelling configuration if it has a name."""
    config = getattr(arguments, "config_out", None)
    _check_outputs(arguments, config)
    if arguments.classes is None and (arguments.proba or config):
        raise ValueError(f"--classes must name the classes for {'--proba' if arguments.proba else '--config-out'}")
    rows = read_batch(arguments.batch)
    classes = read_classes(arguments.classes) if arguments.classes else []
    predicted = predictions(arguments.proba, classes, rows) if arguments.proba else None
    addresses = _addresses(arguments, rows)
    if arguments.tool == "csv":
        text = sheet.sheet(rows, addresses, predicted)
    else:
        assert addresses is not None  # --images is required there
        text = label_studio.tasks(rows, addresses, predicted)
    if config is not None:
        files.write_whole(config, label_studio.label_config(classes).encode(), force=arguments.force)
    _write(arguments, text)
    return 0


def import_(arguments: argparse.Namespace) -> int:
    """Writes the labels that the exports of `arguments.tool` hold, and says how many on standard error."""
    _check_outputs(arguments)
    answers = []
    for path in arguments.exports:
        if arguments.tool == "csv":
            answers += sheet.read_sheet(path)
        else:
            answers += label_studio.read_export(path, control=arguments.control, several=arguments.several)
    if arguments.batch is not None:
        answers = check_against(read_batch(arguments.batch), answers)
    settled = settle(answers, arguments.on_conflict)
    _write(arguments, labels_csv(settled))
    print(f"pyal: {counted(settled)}", file=sys.stderr)
    return 0


def _addresses(arguments: argparse.Namespace, rows: list[Row]) -> list[str] | None:
    if arguments.images is None:
        for name in ("pattern", "by_position", "url_prefix"):
            if getattr(arguments, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} needs --images")
        return None
    if arguments.by_position is not None:
        found = images.image_files_by_position(rows, arguments.images, arguments.by_position)
    else:
        found = images.image_files(rows, arguments.images, pattern=arguments.pattern)
    prefix = arguments.url_prefix
    if prefix is None and arguments.tool == "csv":
        return [os.path.join(arguments.images, path) for path in found]
    prefix = images.local_files_prefix(arguments.images) if prefix is None else prefix
    return [images.address(path, prefix) for path in found]


def _check_outputs(arguments: argparse.Namespace, config: str | None = None) -> None:
    outputs = [path for path in (arguments.output, config) if path is not None]
    if len({os.path.realpath(path) for path in outputs}) < len(outputs):
        raise ValueError("--output and --config-out must be two files")
    for path in outputs:
        files.check_writable(path, force=arguments.force)


def _write(arguments: argparse.Namespace, text: str) -> None:
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        files.write_whole(arguments.output, text.encode(), force=arguments.force)
