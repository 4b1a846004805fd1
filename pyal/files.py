"""The files of the command line: labels and ids in, whole files out."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOLES = frozenset(("", "nan", "none", "na", "null", "<na>"))


def read_ids(path: str, n: int) -> list[str]:
    """One id per row of X, one per line, none twice."""
    ids = _text(path).splitlines()
    if len(ids) != n:
        raise ValueError(f"{path} must hold one id per row of the embeddings, {n}; it has {len(ids)} lines")
    if len(set(ids)) != n:
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise ValueError(f"{path} must hold every id once; {twice!r} comes more than once")
    return ids


def read_labels(path: str, n: int, ids: Sequence[str] | None) -> NDArray[Any]:
    """y (n,) from a CSV: with a header that names `label` and `position` or `id`, else one label per line, in order.

    An empty label (nan, none, na, null) is a hole, and so is every row that a file with a header does not list. In a
    file of one label per line that holds only integers, -1 is a hole.
    """
    try:
        table = [[cell.strip() for cell in row] for row in csv.reader(_text(path).splitlines())]
    except csv.Error as error:
        raise ValueError(f"{path} must be a CSV file; line by line it is not: {error}") from None
    header = [cell.lower() for cell in table[0]] if table else []
    if "label" in header and len(header) > 1:
        return _keyed_labels(path, header, table[1:], n, ids)
    if any(len(row) > 1 for row in table):
        raise ValueError(
            f"{path} must have a header that names label and position (or id), or one label per line; "
            f"its first line is {','.join(table[0])!r}"
        )
    labels = [row[0] if row else "" for row in (table[1:] if header == ["label"] else table)]
    if len(labels) != n:
        raise ValueError(f"{path} must hold one label per row of the embeddings, {n}; it has {len(labels)} lines")
    try:
        return np.array([int(label) for label in labels], np.int64)
    except (ValueError, OverflowError):
        holes = {label.lower() in HOLES for label in labels}
        if "-1" in labels and True in holes:
            raise ValueError(
                f"{path} holds both -1 and empty labels, and only one of them can mean not labelled"
            ) from None
        return _objects([None if label.lower() in HOLES else label for label in labels])


def write_whole(path: str, content: bytes, *, force: bool) -> None:
    """Writes the file as a whole or not at all; an existing one is kept unless `force`."""
    check_writable(path, force=force)
    target = os.path.realpath(path)
    part = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{os.getpid()}.part")
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(part, target)
        else:
            _link(part, target, path)
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise
        raise OSError(error.errno, f"{path} could not be written: {error.strerror or error}") from None
    finally:
        if os.path.lexists(part):
            os.unlink(part)


def check_writable(path: str, *, force: bool) -> None:
    """The reasons that `path` cannot be written that are known before the work is done."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"{path} could not be written: there is no folder {folder!r}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, f"{path} is not a regular file; without -o the output goes to standard output")
    if os.path.exists(path) and not force:
        raise FileExistsError(errno.EEXIST, f"{path} exists; --force overwrites it")


def _link(part: str, target: str, path: str) -> None:
    """Gives the finished file its name unless that is taken by now."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, f"{path} exists; --force overwrites it") from None
    except OSError:  # a file system without hard links
        with open(target, "xb"):
            pass
        os.replace(part, target)


def _keyed_labels(
    path: str, header: list[str], table: list[list[str]], n: int, ids: Sequence[str] | None
) -> NDArray[Any]:
    key = "position" if "position" in header else "id" if "id" in header else None
    if key is None:
        raise ValueError(f"{path} must have a column position or id beside label; its columns are {', '.join(header)}")
    if key == "id" and ids is None:
        raise ValueError(f"{path} names rows by id: --ids must say which id belongs to which row")
    position_of = {name: i for i, name in enumerate(ids)} if ids is not None else {}
    labels: list[str | None] = [None] * n
    for line, row in enumerate(table, start=2):
        if not any(row):
            continue
        if len(row) != len(header):
            raise ValueError(f"{path}, line {line}: {len(row)} columns where the header has {len(header)}")
        name, label = row[header.index(key)], row[header.index("label")]
        position = position_of.get(name) if key == "id" else int(name) if name.isdecimal() else None
        if position is None or position >= n:
            wanted = "an id out of --ids" if key == "id" else f"a position in 0 .. {n - 1}"
            raise ValueError(f"{path}, line {line}: {key} must be {wanted}; it is {name!r}")
        if label.lower() in HOLES:
            continue
        if labels[position] is not None:
            raise ValueError(f"{path}, line {line}: {key} {name!r} has a label already")
        labels[position] = label
    found = {label for label in labels if label is not None}
    if "-1" in found and not found <= {"-1", "1", "+1"}:
        raise ValueError(f"{path} holds the label -1; leave the label of a row that is not labelled empty")
    return _objects(labels)


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a UTF-8 text file") from None
