"""pyal export: a batch as tasks for a labelling tool."""

from __future__ import annotations

import argparse
import os

from pyal import files
from pyal.labelling import images, label_studio, sheet
from pyal.labelling.batch import Row, predictions, read_batch, read_classes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments, by format."""
    formats = parser.add_subparsers(title="formats", required=True, metavar="format", parser_class=type(parser))
    for tool, text in (
        ("label-studio", "Write Label Studio tasks, as JSON."),
        ("csv", "Write a CSV with a column label to fill in."),
    ):
        sub = formats.add_parser(tool, help=text, description=text)
        sub.set_defaults(tool=tool)
        sub.add_argument("batch", metavar="BATCH", help="what pyal select wrote")
        sub.add_argument(
            "--images",
            metavar="DIR",
            required=tool == "label-studio",
            help="the images: DIR/ID or DIR/ID.png, .jpg, ...",
        )
        which = sub.add_mutually_exclusive_group()
        which.add_argument(
            "--pattern", metavar="NAME", help="name of the images in DIR, such as 'frame_{position:06d}.png'"
        )
        which.add_argument(
            "--by-position", metavar="NPY", help="row i of these embeddings is the i-th image of DIR, sorted"
        )
        sub.add_argument(
            "--url-prefix",
            metavar="URL",
            help="put before the path of an image in DIR (label-studio: default /data/local-files/?d= and the name of "
            "DIR, for a server whose LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is the folder above DIR)",
        )
        sub.add_argument("--proba", metavar="NPY", help="class probabilities, (N, C) or (T, N, C): adds predictions")
        sub.add_argument("--classes", metavar="TXT", help="class names, one per line, as the columns of --proba")
        if tool == "label-studio":
            sub.add_argument("--config-out", metavar="XML", help="also write the labelling configuration for --classes")
        sub.add_argument("-o", "--output", metavar="FILE", help="default: standard output")
        sub.add_argument("--force", action="store_true", help="overwrite the output files")


def run(arguments: argparse.Namespace) -> int:
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
    files.write_out(arguments.output, text, force=arguments.force)
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


def _check_outputs(arguments: argparse.Namespace, config: str | None) -> None:
    outputs = [path for path in (arguments.output, config) if path is not None]
    if len({os.path.realpath(path) for path in outputs}) < len(outputs):
        raise ValueError("--output and --config-out must be two files")
    for path in outputs:
        files.check_writable(path, force=arguments.force)
