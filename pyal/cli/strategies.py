"""pyal strategies: what there is to choose from."""

from __future__ import annotations

import argparse

from pyal.strategies.registry import list_strategies


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(_: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""

    for s in list_strategies():
        names = f"{s.name} ({', '.join(s.aliases)})" if s.aliases else s.name
        later = f" (once rows are labelled {', '.join(s.needs_once_labeled)})" if s.needs_once_labeled else ""
        print(
            f"{names}\n    {s.summary}\n    needs {', '.join(s.needs) or 'nothing but X'}{later}; memory {s.memory}"
            f"; {s.citation}"
        )
        if s.options:
            print(f"    options {', '.join(f'{name}={value!r}' for name, value in s.options.items())}")
    return 0
