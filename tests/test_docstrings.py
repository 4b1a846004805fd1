"""What a newcomer reads first: every argument of what is public is explained on a line of its own; examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from typing import Any

import pytest

import pyal

MODULES = [module.name for module in pkgutil.walk_packages(pyal.__path__, "pyal.")]
MODULES = ["pyal", *(name for name in MODULES if name.split(".")[-1] not in ("__main__", "_cpu", "_cuda"))]
PUBLIC = [pyal.select, pyal.Loop, pyal.Loop.resume, pyal.Loop.teach, pyal.simulate, pyal.cluster_pseudo_labels]
PUBLIC += [getattr(pyal.kernels, name) for name in pyal.kernels.__all__]
PUBLIC += [getattr(pyal.heads, name) for name in pyal.heads.__all__]
for module in (pyal.metrics, pyal.plots):
    own = [thing for name, thing in vars(module).items() if inspect.isfunction(thing) and not name.startswith("_")]
    PUBLIC += [thing for thing in own if thing.__module__.startswith(module.__name__) and ">>>" in thing.__doc__]
ELSEWHERE = {pyal.heads.MLPHead: pyal.heads.LinearHead}  # "all else is as in"


def lines(thing: Any) -> set[str]:
    """The words that a line `word: meaning` or `word, word: meaning` of the docstring begins with."""
    found = re.findall(r"^(\w+(?:, \w+)*): \S", inspect.getdoc(thing) or "", flags=re.MULTILINE)
    return {word for words in found for word in words.split(", ")}


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__qualname__)
def test_every_argument_has_a_line(thing: Callable[..., Any]):
    explained = lines(thing) | lines(pyal.kernels if thing.__module__.startswith("pyal.kernels.") else None)
    explained |= lines(ELSEWHERE.get(thing))
    unexplained = [name for name in inspect.signature(thing).parameters if name not in (*explained, "self")]
    assert not unexplained


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str):
    if name == "pyal.plots":
        pytest.importorskip("matplotlib")
    if name == "pyal.heads.probes":
        pytest.importorskip("torch")
    assert doctest.testmod(importlib.import_module(name)).failed == 0
