"""pyal: which images to label next. Active learning on embeddings, with a compiled core."""

from typing import Any

try:
    from pyal import _cpu as _cpu
except ImportError as error:  # most often: Python was started in a source checkout, whose pyal/ hides the installed one
    raise ImportError(
        f"pyal's compiled core cannot be imported from {__path__[0]} ({error}); where that is a source checkout, "
        "start Python in another folder or install with pip install -e ."
    ) from error

from pyal import kernels
from pyal.selection import score, select
from pyal.strategies import strategies, strategy  # the function, from here on, is what pyal.strategies names

__all__ = ["heads", "kernels", "score", "select", "strategies", "strategy"]


def __getattr__(name: str) -> Any:
    if name == "heads":
        from importlib import import_module  # with scikit-learn behind it, which `import pyal` does not wait for

        return import_module("pyal.heads")
    if name == "__version__":
        from importlib import metadata  # only when asked for: importing it takes a good part of what pyal takes

        try:
            return metadata.version("pyal")
        except metadata.PackageNotFoundError:  # run from its folder, not installed
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
