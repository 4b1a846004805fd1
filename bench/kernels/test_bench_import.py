"""`import pyal` in a fresh process: quick, and without torch. `import sys` is what the process itself costs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from peers import Peer


def import_in_fresh_process(module: str) -> bool:
    """Whether torch came with it."""
    command = f"import sys, {module}; print('torch' in sys.modules)"
    elsewhere = tempfile.gettempdir()  # not where a source tree of the same name may lie
    run = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True, cwd=elsewhere)
    return run.stdout == "True\n"


OTHERS = [
    Peer("import", f"import {module}", partial(import_in_fresh_process, module), needs)
    for module, needs in [("sys", ()), ("numpy", ()), ("skactiveml.pool", ("skactiveml",))]
]


@pytest.mark.parametrize("peer", OTHERS, ids=lambda peer: peer.name)
def test_import(versus: Callable[..., Any], peer: Peer) -> None:
    def agree(mine: Any, _: Any) -> str:
        assert not mine, "import pyal has imported torch"
        return "no torch"

    versus("import", "fresh process", lambda: import_in_fresh_process("pyal"), peer, peer.call, agree)
