"""The runs of a home: where those are that were begun with `terrazzo run`."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terrazzo.drivers.watching.pulse import now
from terrazzo.drivers.watching.told import DAMAGED, checked
from terrazzo.errors import OutputFailed
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "runs"
ID = re.compile(r"r-[0-9a-f]{12}")
"""What the id of a run looks like."""


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run that was begun."""

    id: str
    """Follows from where it is."""
    where: str
    """Its folder, or the part of a bucket."""
    title: str
    """For people."""
    begun: str
    """When it was begun the last time, RFC 3339."""


def enter(home: Path, where: str, title: str) -> str:
    """Note a run that begins and return its id; a home that cannot be written notes nothing.

    Args:
        home: that it is of.
        where: the absolute path of its folder, or its address.
        title: for people.
    """
    name = f"r-{hashlib.sha256(where.encode()).hexdigest()[:12]}"
    path = home / FOLDER / f"{name}.json"
    with suppress(OutputFailed, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_text(json.dumps(asdict(KnownRun(name, where, title, now()))))
    return name


def known_runs(home: Path) -> list[KnownRun]:
    """Return the runs of a home, the newest first.

    Those whose folder is not there are left out, and not forgotten: it may be mounted again.
    """
    return sorted(_found(home), key=lambda one: (one.begun, one.id), reverse=True)


def _found(home: Path) -> Iterator[KnownRun]:
    for path in (home / FOLDER).glob("r-*.json"):
        try:
            known = checked(KnownRun(**json.loads(path.read_text())))
            is_there = "://" in known.where or Path(known.where).is_dir()
        except (OSError, *DAMAGED):
            continue  # it was begun by another Terrazzo, or is out of reach
        if is_there:
            yield known
