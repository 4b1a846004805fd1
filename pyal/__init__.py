"""pyal: which images to label next. Active learning on embeddings, with a compiled core."""

from typing import TYPE_CHECKING, Any

try:
    from pyal import _cpu as _cpu
except ImportError as error:  # most often: Python was started in a source checkout, whose pyal/ hides the installed one
    raise ImportError(
        f"pyal's compiled core cannot be imported from {__path__[0]} ({error}); where that is a source checkout, "
        "start Python in another folder or install with pip install -e ."
    ) from error

from pyal import kernels, strategies
from pyal.loop.loop import Loop
from pyal.selection import score, select
from pyal.strategies.pseudo_labels import cluster_pseudo_labels
from pyal.strategies.registry import list_strategies, strategy

if TYPE_CHECKING:
    from pyal import heads, metrics, plots, surrogate
    from pyal.simulation.experiment import simulate

__all__ = [
    "Loop", "cluster_pseudo_labels", "heads", "kernels", "list_strategies", "metrics", "plots", "score", "select",
    "simulate", "strategies", "strategy", "surrogate",
]  # fmt: skip

# What is imported when it is first asked for: a pipeline that selects does not wait for it. Name: module, attribute.
_LATER = {
    "heads": ("pyal.heads", ""),
    "metrics": ("pyal.metrics", ""),
    "plots": ("pyal.plots", ""),
    "simulate": ("pyal.simulation", "simulate"),
    "surrogate": ("pyal.surrogate", ""),
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        import importlib

        module, attribute = _LATER[name]
        found = importlib.import_module(module)
        globals()[name] = getattr(found, attribute) if attribute else found
        return globals()[name]
    if name == "__version__":
        from importlib import metadata  # only when asked for: importing it takes a good part of what pyal takes

        try:
            return metadata.version("pyal")
        except metadata.PackageNotFoundError:  # run from its folder, not installed
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
