"""The journal of a loop: one file of checksummed lines, to which records are only appended.

    workdir/journal.jsonl   {"crc":"<8 hex digits>","record":{...}}, one per line; the first: what the loop was given
    workdir/lock            held (flock) by the process that has the loop

Why nothing is lost at any moment: the file appears by a rename, with its first records in it and synced. Each further
record is one line, synced before `append` returns, so that only the last line can be incomplete: it has no newline, or
(after a power cut) zeros in it, and was never acknowledged. A checksum continues the one of the line before, so that a
line changed, lost or moved is seen. What a failed or interrupted append left behind is cut off by the next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

FORMAT = 3  # 1 knew no views, rules and weights, 2 no start: they are read as having none, and start="fresh"
_FILE, _LOCK = "journal.jsonl", "lock"
_HEAD, _TAIL = b'{"crc":"%08x","record":', b"}"


class Mark(NamedTuple):
    """The end of what is acknowledged: length of the file in bytes, and the checksum so far."""

    length: int = 0
    crc: int = 0


class Journal:
    """An open journal, locked for this process until `close`; made by `create_journal` and `open_journal`."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock
        self._file: int | None = os.open(path, os.O_RDWR | os.O_APPEND)

    def append(self, mark: Mark, record: Mapping[str, Any]) -> Mark:
        """Writes a record behind `mark` and returns the new mark once it is on the disk.

        Raises OSError where it could not be written, with the file as it was up to `mark`; ValueError once closed.
        """
        if self._file is None:
            raise ValueError(f"the loop on {os.path.dirname(self.path)} is closed: go on with pyal.Loop.resume")
        line, after = _line(mark, record)
        try:
            if os.fstat(self._file).st_size != mark.length:  # an append before this one failed or was interrupted
                os.ftruncate(self._file, mark.length)
            _write(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, mark.length)
            raise _not_written(self.path, error, "; the loop is as it was") from None
        return after

    def close(self) -> None:
        """Lets another process have the loop. Twice is as good as once."""
        for name in ("_file", "_lock"):
            held = getattr(self, name, None)
            setattr(self, name, None)
            if held is not None:
                os.close(held)

    def __del__(self) -> None:
        self.close()


def refuse_existing(workdir: str) -> None:
    """FileExistsError where `workdir` holds a loop."""
    if os.path.exists(os.path.join(workdir, _FILE)):
        raise FileExistsError(
            errno.EEXIST, f"{workdir} holds a loop already; go on with it by pyal.Loop.resume({workdir!r})"
        )


def create_journal(workdir: str, records: Sequence[Mapping[str, Any]]) -> tuple[Journal, Mark]:
    """A new journal in `workdir` (made where it is not there) with these first records: all of them or no file.

    Raises FileExistsError where there is one, BlockingIOError where another process works there, OSError where the disk
    does not take it.
    """
    try:
        _make_folder(workdir)
    except OSError as error:
        raise _not_written(workdir, error) from None
    lock = _locked(workdir)
    try:
        refuse_existing(workdir)
        path = os.path.join(workdir, _FILE)
        mark, lines = Mark(), []
        for record in records:
            line, mark = _line(mark, record)
            lines.append(line)
        try:
            _write_new(path, b"".join(lines))
        except OSError as error:
            raise _not_written(path, error) from None
        return Journal(path, lock), mark
    except BaseException:
        os.close(lock)
        raise


def open_journal(workdir: str) -> tuple[Journal, Mark, list[dict[str, Any]]]:
    """The journal in `workdir`, its mark and its records; a torn last line is left out, with a UserWarning.

    Raises FileNotFoundError where there is none, BlockingIOError where another process works there, ValueError where it
    is damaged or of a newer format.
    """
    path = os.path.join(workdir, _FILE)
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, f"{workdir} holds no loop: there is no {path}")
    lock = _locked(workdir)
    try:
        with open(path, "rb") as file:
            mark, records, torn = _read(path, file.read())
        if torn:
            warnings.warn(
                f"{path} ended in an incomplete record of {torn} bytes: its write was cut off before teach or query "
                "returned, and is as if not made",
                UserWarning,
                stacklevel=3,
            )
        return Journal(path, lock), mark, records
    except BaseException:
        os.close(lock)
        raise


def _read(path: str, data: bytes) -> tuple[Mark, list[dict[str, Any]], int]:
    """Mark and records of a journal's bytes, and how many bytes at its end are an incomplete line."""
    mark = Mark()
    records: list[dict[str, Any]] = []
    while mark.length < len(data):
        end = data.find(b"\n", mark.length)
        line = data[mark.length : end]
        if records and (end < 0 or (end == len(data) - 1 and b"\0" in line)):
            break
        head = len(_HEAD % 0)
        body = line[head : -len(_TAIL)]
        crc = zlib.crc32(body, mark.crc)
        if end < 0 or line != _HEAD % crc + body + _TAIL:
            raise ValueError(f"{path} is damaged in line {len(records) + 1}: its checksum does not fit")
        records.append(json.loads(body))
        mark = Mark(end + 1, crc)
    if not records:
        raise ValueError(f"{path} is damaged: it is empty")
    written = records[0].get("format")
    if written not in (1, 2, FORMAT):
        raise ValueError(f"{path} is of format {written}, and this pyal reads {FORMAT}: a newer pyal wrote it")
    return mark, records, len(data) - mark.length


def _line(mark: Mark, record: Mapping[str, Any]) -> tuple[bytes, Mark]:
    body = json.dumps(record, separators=(",", ":")).encode()
    crc = zlib.crc32(body, mark.crc)
    line = _HEAD % crc + body + _TAIL + b"\n"
    return line, Mark(mark.length + len(line), crc)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _write_new(path: str, data: bytes) -> None:
    """A file that has all of its content as soon as it has its name."""
    part = path + ".part"
    try:
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            _write(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(part, path)
        _sync_folder(os.path.dirname(path))
    except BaseException:
        for left in (part, path):
            with contextlib.suppress(OSError):
                os.unlink(left)
        raise


def _make_folder(path: str) -> None:
    """The folder and those above it, each with its name synced."""
    if not os.path.isdir(path):
        parent = os.path.dirname(os.path.abspath(path))
        _make_folder(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        _sync_folder(parent)


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _locked(workdir: str) -> int:
    """A descriptor that holds the lock of `workdir`; the kernel lets it go when the process ends, however it ends."""
    path = os.path.join(workdir, _LOCK)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise _not_written(path, error) from None
        here = "this process (close() the other loop first)" if holder == str(os.getpid()) else f"process {holder}"
        raise BlockingIOError(errno.EAGAIN, f"{workdir} is in use by {here}") from None
    with contextlib.suppress(OSError):  # for the message above only
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _not_written(path: str, error: OSError, then: str = "") -> OSError:
    return OSError(error.errno, f"{path} could not be written ({error.strerror or error}){then}")
