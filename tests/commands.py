"""Commands of pyal, run in this process as a shell would run them."""

from __future__ import annotations

from pathlib import Path

from pyal.cli import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, *arguments: str) -> str:
    """The one sentence that these arguments are answered with; nothing half-written stays behind."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert "Traceback" not in err
    assert not list(Path().glob(".*.part"))
    return err
