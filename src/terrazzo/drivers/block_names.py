"""Names of the files of blocks: which block, made of which images, in groups of bounded size.

A folder of ten million files is slow to list and slow to write into, so blocks whose numbers are
near each other share a folder. Only names are dealt with here, so that whoever just counts them
need not load the engine.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS: Final = ".blocks"
"""Folder of the blocks of a run, below that of the run."""
GROUP: Final = 4096
"""Blocks of one group."""
_ASIDE: Final = ".failed"
_KEPT: Final = re.compile(r"(0|[1-9][0-9]*)_([0-9a-f]{16})\.block")


def kept_name(number: int, version: int) -> str:
    """Return the name of the file of a finished block, from the folder of the run."""
    return f"{BLOCKS}/{number // GROUP}/{number}_{version:016x}.block"


def aside_name(number: int) -> str:
    """Return the name of the file that says that a block was set aside, likewise."""
    return f"{BLOCKS}/{number // GROUP}/{number}{_ASIDE}"


def kept_of(name: str) -> tuple[int, int] | None:
    """Return number and version of the finished block of a file; None if it is of none."""
    found = _KEPT.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2], 16))


def aside_of(name: str) -> int | None:
    """Return the number of the block that a file says was set aside; None if it says none."""
    number = name.removesuffix(_ASIDE)
    return int(number) if name.endswith(_ASIDE) and number.isdecimal() else None


def is_plain(name: object) -> bool:
    """Tell whether something is the name of a file in a folder, and so leads nowhere else.

    What is read out of a folder or bucket is not believed: others may be able to write there.
    """
    return isinstance(name, str) and name not in {"", ".", ".."} and not {"/", "\0"} & set(name)


def is_below(path: object) -> bool:
    """Tell whether something is the path of a file below a folder, likewise; parts have slashes."""
    return isinstance(path, str) and all(map(is_plain, path.split("/")))


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
