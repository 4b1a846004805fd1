"""The registry of peers: who stands against which kernel, what it needs, and what it does otherwise."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Peer:
    """One way to do what `kernel` does, called with the kernel's arguments."""

    kernel: str
    name: str
    call: Callable[..., Any]
    modules: tuple[str, ...] = ()
    package: str = ""
    max_rows: int | None = None  # it stores N x N or worse: larger pools are cut to this
    note: str = ""

    def missing(self) -> str:
        """What has to be installed first; "" where nothing is missing. Imports the peer."""
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError:
                return f"peer {self.name}: needs {self.package or module}, which is not installed"
        return ""


PEERS: list[Peer] = []


def peers_of(kernel: str) -> list[Peer]:
    """The peers that stand against it."""
    return [p for p in PEERS if p.kernel == kernel]


def peer(
    kernel: str, name: str, *modules: str, package: str = "", max_rows: int | None = None, note: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Lists a function as the peer `name` of `kernel`; modules: what it imports, package: what brings them."""

    def register(call: Callable[..., Any]) -> Callable[..., Any]:
        PEERS.append(Peer(kernel, name, call, modules, package, max_rows, note))
        return call

    return register
