"""The command line."""

from pyal.cli.command_line import main

__all__ = ["main"]
