"""Active learning by rounds, kept on disk where a folder is given."""

from pyal.loop.loop import Loop

__all__ = ["Loop"]
