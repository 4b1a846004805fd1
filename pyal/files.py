"""The files of the command line: labels and ids in, whole files out."""

from __future__ import annotations

import csv
import errno
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOLES = frozenset(("", "nan", "none", "na", "null", "<na>"))
Lines = list[tuple[int, list[str]]]  # (line on which it ends, cells) of the records of a CSV


def read_ids(path: str, n: int) -> list[str]:
    """One id per row of X, one per line, none twice."""
    ids = read_lines(path)
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
    file of one label per line that holds only integers, -1 is a hole. Where a file has a column status, as
    `pyal import` writes it, the label of a row that is `labeled` is taken word for word, "none" too, and a row that is
    `skipped` is a hole; other words there mean nothing.
    """
    lines = _csv(path, ",")
    header = _header(lines)
    if "label" in header and len(header) > 1:
        return _keyed_labels(path, lines, n, ids)
    table = [cells for _, cells in lines]
    if any(len(row) > 1 for row in table):
        raise ValueError(
            f"{path} must have a header that names label and position (or id), or one label per line; "
            f"its first line is {','.join(table[0])!r}"
        )
    labels = [row[0].strip() if row else "" for row in (table[1:] if header == ["label"] else table)]
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


def read_column(path: str, n: int, *, numbers: bool = False) -> Any:
    """A value for each row of X: a .npy file as it is, else text, one value per line, of which empty ones are holes.

    numbers: whether the text holds numbers, none missing.
    """
    if path.endswith(".npy"):
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError):
            raise ValueError(f"{path} must be a .npy file of numbers or text") from None
    values = [line.strip() for line in read_lines(path)]
    if len(values) != n:
        raise ValueError(f"{path} must hold one value per row of the embeddings, {n}; it has {len(values)} lines")
    if not numbers:
        return _objects([value or None for value in values])
    for line, value in enumerate(values, start=1):
        try:
            float(value)
        except ValueError:
            raise ValueError(f"{path}, line {line}: it must hold a number; got {value!r}") from None
    return np.array(values, np.float64)


def read_skipped(path: str, n: int, ids: Sequence[str] | None) -> list[int]:
    """Ascending positions of the rows that a file of labels says were skipped and that have no label in it."""
    lines = _csv(path, ",")
    if not {"label", "status"} <= set(_header(lines)):
        return []
    keyed = list(_keyed_rows(path, lines, n, ids))
    labelled = {position for _, position, label, _ in keyed if label is not None}
    return sorted({position for _, position, _, status in keyed if status == "skipped"} - labelled)


def read_text(path: str) -> str:
    """A UTF-8 text file as it stands, without a byte order mark."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a UTF-8 text file") from None


def read_lines(path: str) -> list[str]:
    """The lines of a text file. Only line feeds and carriage returns end one: U+2028 and the like may be part of it."""
    return [line.removesuffix("\n") for line in io.StringIO(read_text(path), newline=None)]


def read_table(path: str) -> tuple[list[str], Lines]:
    """The header of a CSV and (line, cells) of its rows, blank ones left out, cells as they stand.

    What separates the columns is the comma, semicolon or tab that the first line has most of. Raises ValueError for an
    empty file, a column named twice and a row of another length than the header.
    """
    first = next(iter(read_lines(path)), "")
    separator = max(",;\t", key=first.count)
    (_, header), *rows = _csv(path, separator) or [(1, [])]
    header = [cell.strip() for cell in header]
    if not any(header):
        raise ValueError(f"{path} must be a CSV file with a header; its first line is empty")
    named = [name for name in header if name]
    if len(set(named)) != len(named):
        raise ValueError(f"{path} must name every column once; it has {', '.join(header)}")
    kept = [(line, cells) for line, cells in rows if any(cell.strip() for cell in cells)]
    for line, cells in kept:
        _check_width(path, line, cells, header)
        if any(cell.strip() for name, cell in zip(header, cells, strict=True) if not name):
            raise ValueError(f"{path}, line {line}: a cell stands in a column without a name")
    return header, kept


def position_in(text: str, where: str) -> int:
    """The position that a cell names."""
    if not (text.strip().isascii() and text.strip().isdecimal()):
        raise ValueError(f"{where}: position must be 0 or a positive integer; it is {text!r}")
    return int(text)


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


def write_out(path: str | None, text: str, *, force: bool) -> None:
    """Writes the text to the file as `write_whole` does, or to standard output where there is no path."""
    if path is None:
        sys.stdout.write(text)
    else:
        write_whole(path, text.encode(), force=force)


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


def _keyed_labels(path: str, lines: Lines, n: int, ids: Sequence[str] | None) -> NDArray[Any]:
    labels: list[str | None] = [None] * n
    minus = False
    for line, position, label, status in _keyed_rows(path, lines, n, ids):
        if label is None:
            continue
        if labels[position] is not None:
            named = f"id {ids[position]!r}" if ids is not None else f"position '{position}'"
            raise ValueError(f"{path}, line {line}: {named} has a label already")
        labels[position] = label
        minus = minus or (label == "-1" and status != "labeled")
    found = {label for label in labels if label is not None}
    if minus and not found <= {"-1", "1", "+1"}:
        raise ValueError(f"{path} holds the label -1; leave the label of a row that is not labelled empty")
    return _objects(labels)


def _keyed_rows(
    path: str, lines: Lines, n: int, ids: Sequence[str] | None
) -> Iterator[tuple[int, int, str | None, str]]:
    """(line, position, label or None for a hole, status) of the rows of a file with a header."""
    header = _header(lines)
    key = "position" if "position" in header else "id" if "id" in header else None
    if key is None:
        raise ValueError(f"{path} must have a column position or id beside label; its columns are {', '.join(header)}")
    if key == "id" and ids is None:
        raise ValueError(f"{path} names rows by id: --ids must say which id belongs to which row")
    position_of = {name: i for i, name in enumerate(ids)} if ids is not None else {}
    for line, cells in lines[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        _check_width(path, line, cells, header)
        given = {name: cells[header.index(name)] for name in header}
        name = given[key].strip()
        if key == "id":
            position = position_of.get(given[key], position_of.get(name))
        else:
            position = int(name) if name.isdecimal() else None
        if position is None or position >= n:
            wanted = "an id out of --ids" if key == "id" else f"a position in 0 .. {n - 1}"
            raise ValueError(f"{path}, line {line}: {key} must be {wanted}; it is {name!r}")
        where = f"{path}, line {line}"
        if ids is not None and given.get("id", "").strip() not in ("", ids[position].strip()):
            raise ValueError(f"{where}: position {position} is {ids[position]!r} in --ids, not {given['id']!r}")
        status = given.get("status", "").strip().lower()
        yield line, position, _label(given["label"], status, where), status


def _label(cell: str, status: str, where: str) -> str | None:
    word = cell.strip()
    if status == "labeled" and not word:
        raise ValueError(f"{where}: status is labeled and the label is empty")
    if status == "labeled":
        return cell
    if word.lower() in HOLES:
        return None
    if status == "skipped":
        raise ValueError(f"{where}: status is skipped and there is a label, {word!r}")
    return word


def _header(lines: Lines) -> list[str]:
    return [cell.strip().lower() for cell in lines[0][1]] if lines else []


def _check_width(path: str, line: int, cells: list[str], header: list[str]) -> None:
    if len(cells) != len(header):
        raise ValueError(f"{path}, line {line}: {len(cells)} columns where the header has {len(header)}")


def _csv(path: str, separator: str) -> Lines:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=separator)
    try:
        return [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path} must be a CSV file; line by line it is not: {error}") from None


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array
