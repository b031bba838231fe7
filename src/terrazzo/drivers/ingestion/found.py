"""Finding the files that can be taken in, in folders that the user names."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from terrazzo.drivers.ingestion.formats import FOLDERS, FORMATS, NAMED, ending
from terrazzo.drivers.ingestion.items import FoundFile
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def find_files(paths: Sequence[Path], *, besides: Path) -> list[FoundFile]:
    """Return the files that were named and those in folders that were named, in order.

    Args:
        paths: files and folders; links to folders inside folders are not followed.
        besides: a folder that is left out: the workspace's own files.

    Raises:
        ArgumentInvalid: a path is not there, is of a kind that cannot be ingested, or a folder
            holds no such file.
    """
    own = besides.resolve()
    found: dict[Path, FoundFile] = {}
    for path in paths:
        if path.is_dir() and ending(path) not in FOLDERS:
            files = [(f, f.relative_to(path).as_posix(), path) for f in _inside(path)]
        elif path.is_dir() or (path.is_file() and ending(path) in {*FORMATS, *NAMED}):
            files = [(path, path.name, path.parent)]
        else:
            raise ArgumentInvalid(
                f"{path} is not there. Name a file or a folder of files."
                if not path.exists()
                else f"{path} cannot be ingested. What can ends in {' '.join(sorted(FORMATS))}."
            )
        for file, name, root in files:
            real = file.resolve()
            if not real.is_relative_to(own):
                named = file == path
                found.setdefault(real, FoundFile(file.absolute(), name, root.resolve(), named))
    if not found:
        raise ArgumentInvalid(
            f"There is nothing to ingest in {', '.join(map(str, paths)) or 'no path at all'}. "
            f"Name files or folders of files that end in {' '.join(sorted(FORMATS))}."
        )
    return _unique(list(found.values()))


def _inside(path: Path) -> Iterator[Path]:
    """Yield what can be taken in and lies in a folder, in order."""
    for folder, folders, names in os.walk(path):
        whole = [name for name in folders if ending(Path(folder, name)) in FOLDERS]
        folders[:] = sorted(name for name in folders if name not in whole)
        for name in sorted([*names, *whole]):
            if ending(Path(folder, name)) in FORMATS and not name.startswith("."):
                yield Path(folder, name)


def _unique(files: Sequence[FoundFile]) -> list[FoundFile]:
    """Show files whose names are the same by their whole path."""
    counts = Counter(file.name for file in files)
    return [replace(f, name=str(f.path)) if counts[f.name] > 1 else f for f in files]
