"""Which image file belongs to which row of a batch, and the address that a labelling tool shows it by."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import quote

from pyal.arrays import as_numpy, first_few
from pyal.labelling.batch import Row

EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".svg", ".avif"}
LOCAL_FILES = "/data/local-files/?d="


def image_files(rows: Sequence[Row], folder: str, *, pattern: str | None = None) -> list[str]:
    """For each row its image, as a path relative to `folder` with forward slashes.

    The image is the file that the row's id names, else the one whose name without its extension is the id. With
    `pattern`, such as "frame_{position:06d}.png", it is the file of that name. Raises ValueError that names the rows
    that have no image, more than one or another row's, and for paths that lead out of the folder.
    """
    _check_folder(folder)
    if pattern is None and not all(row.id for row in rows):
        raise ValueError("the batch holds no ids: --pattern or --by-position must say which image belongs to which row")
    stems = _Stems()
    found = [_matches(row, folder, pattern, stems) for row in rows]
    missing = [row.name for row, paths in zip(rows, found, strict=True) if not paths]
    if missing:
        raise ValueError(f"{folder} must hold an image of every row; none is there for {first_few(missing)}")
    for row, paths in zip(rows, found, strict=True):
        if len(paths) > 1:
            raise ValueError(f"{folder} must hold one image of {row.name}; it holds {', '.join(paths)}")
    return _each_once(rows, [paths[0] for paths in found])


def image_files_by_position(rows: Sequence[Row], folder: str, embeddings: str) -> list[str]:
    """For each row the image that stands at its position in the sorted list of all images under `folder`.

    The list is sorted by folder, then by name, as torchvision's ImageFolder does it. Raises ValueError unless there are
    as many images as `embeddings`, a .npy file, has rows.
    """
    _check_folder(folder)
    n = len(as_numpy(embeddings, "--by-position"))
    every = [
        path.relative_to(folder)
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    ]
    if len(every) != n:
        raise ValueError(f"{folder} must hold one image per row of {embeddings}, {n}; it holds {len(every)}")
    beyond = [row.name for row in rows if row.position >= n]
    if beyond:
        raise ValueError(f"{embeddings} has no row for {first_few(beyond)}; it has {n} rows")
    every.sort(key=lambda path: (path.parent.parts, path.name))
    return [every[row.position].as_posix() for row in rows]


def address(path: str, prefix: str) -> str:
    """The prefix followed by the path, percent-encoded.

    >>> address("a b/7.png", "https://example.org/")
    'https://example.org/a%20b/7.png'
    """
    return prefix + quote(os.fsencode(path), safe="/")


def local_files_prefix(folder: str) -> str:
    """The prefix by which Label Studio serves `folder` where its document root is the folder above."""
    name = os.path.basename(os.path.abspath(folder))
    return address(f"{name}/" if name else "", LOCAL_FILES)


class _Stems:
    """The image files of a folder by name without extension, each folder listed once."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, list[str]]] = {}

    def named(self, path: str) -> list[str]:
        folder, stem = os.path.split(path)
        if folder not in self.folders:
            names = os.listdir(folder) if os.path.isdir(folder) else []
            stems: dict[str, list[str]] = defaultdict(list)
            for name in sorted(names):
                base, extension = os.path.splitext(name)
                if extension.lower() in EXTENSIONS:
                    stems[base].append(name)
            self.folders[folder] = stems
        return [os.path.join(folder, name) for name in self.folders[folder].get(stem, [])]


def _matches(row: Row, folder: str, pattern: str | None, stems: _Stems) -> list[str]:
    relative = row.id if pattern is None else _filled(pattern, row)
    if os.path.isabs(relative) or ".." in PurePath(relative).parts:
        raise ValueError(f"the image of {row.name} must lie in {folder}; {relative!r} leads out of it")
    path = os.path.join(folder, relative)
    paths = [path] if os.path.isfile(path) else stems.named(path) if pattern is None else []
    return [PurePath(os.path.relpath(path, folder)).as_posix() for path in paths if os.path.isfile(path)]


def _filled(pattern: str, row: Row) -> str:
    try:
        return pattern.format(id=row.id, position=row.position)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"--pattern must be a file name with {{id}} or {{position}}, such as 'frame_{{position:06d}}.png'; "
            f"{pattern!r} is not: {error}"
        ) from None


def _each_once(rows: Sequence[Row], paths: list[str]) -> list[str]:
    owner: dict[str, Row] = {}
    for row, path in zip(rows, paths, strict=True):
        if path in owner:
            raise ValueError(
                f"rows must have images of their own; {path} would serve {owner[path].name} and {row.name}"
            )
        owner[path] = row
    return paths


def _check_folder(folder: str) -> None:
    if not os.path.isdir(folder):
        raise ValueError(f"--images must be a folder; {folder!r} is not")
