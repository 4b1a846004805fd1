"""One file for arrays and what is said of them: an .npz without pickles, with a head in JSON, written whole."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.files import write_whole

_HEAD = "head"


def write_archive(
    path: str | os.PathLike[str], kind: str, version: int, said: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Writes the file whole or not at all; one that is there is replaced. Equal content gives equal bytes.

    kind: what the file holds, in a word or two, which `read_archive` asks for.
    version: of the format of this kind, from 1.
    """
    head = json.dumps({"kind": f"pyal {kind}", "format": version, **said}, allow_nan=False)
    buffer = io.BytesIO()
    members: dict[str, Any] = {_HEAD: np.frombuffer(head.encode(), np.uint8), **arrays}
    np.savez_compressed(buffer, **members)
    write_whole(os.fspath(path), buffer.getvalue(), force=True)


def read_archive(
    path: str | os.PathLike[str], kind: str, version: int, wrote: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(head, arrays) of what `write_archive` wrote; ValueError for a damaged file, another kind or a newer format.

    version: the newest format that can be read.
    wrote: what writes such files, for the message.
    """
    with open(path, "rb") as file:
        content = io.BytesIO(file.read())
    try:
        with np.load(content, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        head = json.loads(arrays.pop(_HEAD).tobytes())
        found, made = str(head["kind"]), int(head["format"])
    except Exception as error:  # which one it is depends on the byte that is wrong; errors of reading came before
        raise foreign(path, wrote, f"it is another file, or damaged ({type(error).__name__})") from None
    if found != f"pyal {kind}":
        raise foreign(path, wrote, f"it holds {found.removeprefix('pyal ')}")
    if made > version:
        raise foreign(path, wrote, f"it is of format {made}, and this pyal reads up to {version}: a newer one wrote it")
    return head, arrays


def foreign(path: str | os.PathLike[str], wrote: str, why: str) -> ValueError:
    """The error for a file that is not what it should be."""
    return ValueError(f"{os.fspath(path)} must be a file that {wrote} wrote; {why}")


def in_json(said: Any) -> Any:
    """As it is read back from JSON, which has no NaN and no infinity: these are text."""
    return json.loads(json.dumps(said), parse_constant=str)
