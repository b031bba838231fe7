"""Names of the files of blocks: which block, made of which images, in groups of bounded size.

A folder of ten million files is slow to list and slow to write into, so blocks whose numbers are
near each other share a folder. Only names are dealt with here, so that whoever just counts them
need not load the engine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS: Final = ".blocks"
"""Folder of the blocks of a run, below that of the run."""
GROUP: Final = 4096
"""Blocks of one group."""
_KEPT, _ASIDE = ".block", ".failed"
_VERSION_LENGTH: Final = 16


def kept_name(number: int, version: int) -> str:
    """Return the name of the file of a finished block, from the folder of the run."""
    return f"{BLOCKS}/{number // GROUP}/{number}_{version:016x}{_KEPT}"


def aside_name(number: int) -> str:
    """Return the name of the file that says that a block was set aside, likewise."""
    return f"{BLOCKS}/{number // GROUP}/{number}{_ASIDE}"


def kept_of(name: str) -> tuple[int, int] | None:
    """Return number and version of the finished block of a file; None if it is of none."""
    number, _, version = name.removesuffix(_KEPT).partition("_")
    if not (name.endswith(_KEPT) and number.isdecimal() and len(version) == _VERSION_LENGTH):
        return None
    return int(number), int(version, 16)


def aside_of(name: str) -> int | None:
    """Return the number of the block that a file says was set aside; None if it says none."""
    number = name.removesuffix(_ASIDE)
    return int(number) if name.endswith(_ASIDE) and number.isdecimal() else None


def all_ended(folder: Path, count: int) -> bool:
    """Tell whether every block of a run was made or set aside, by names alone.

    The last group that is not complete ends the search, so that asking early costs little.

    Args:
        folder: of the run.
        count: its blocks.

    Raises:
        OSError: there is no such folder.
    """
    for group in range((count - 1) // GROUP, -1, -1):
        with os.scandir(folder / BLOCKS / str(group)) as entries:
            names = [entry.name for entry in entries]
        kept = {found[0] for found in map(kept_of, names) if found is not None}
        ended = kept | {number for number in map(aside_of, names) if number is not None}
        if len(ended) < min(count - group * GROUP, GROUP):
            return False
    return True
