"""pyal plot: the picture of a simulation."""

from __future__ import annotations

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("run_dir", help="the workdir of a simulation, finished or not")
    parser.add_argument(
        "-o", "--output", default="curves.png", metavar="FILE", help=".png, .pdf, .svg (default: curves.png)"
    )
    parser.add_argument("--metric", default="accuracy", choices=("accuracy", "balanced_accuracy"))
    parser.add_argument(
        "--forecast", type=int, default=0, metavar="N", help="carry each curve on for N labels more, as fitted"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the plot")


def run(arguments: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from pyal import files, plots
    from pyal.simulation.workdir import read_workdir

    files.check_writable(arguments.output, force=arguments.force)
    found = read_workdir(arguments.run_dir)
    kind = os.path.splitext(arguments.output)[1].lstrip(".").lower() or "png"
    image = plots.comparison_image(found, arguments.metric, kind, forecast=arguments.forecast)
    files.write_whole(arguments.output, image, force=arguments.force)
    print(f"plot: {arguments.output}")
    return 0
