"""The log of a run, beside its results: openEO log entries, one JSON line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.drivers.depot import Depot
    from terrazzo.logs import Entry
    from terrazzo.progress import Progress

JOURNAL = "log.jsonl"


def write_journal(depot: Depot, entries: Sequence[Entry], progress: Progress) -> None:
    """Write what was logged, and tell it whoever shows the progress; without entries no file.

    Raises:
        OutputFailed: it cannot be written.
    """
    if not entries:
        depot.delete([JOURNAL])
        return
    lines = (json.dumps(entry.listed(number)) for number, entry in enumerate(entries, 1))
    depot.write(JOURNAL, "".join(f"{line}\n" for line in lines).encode())
    for entry in entries:
        progress.note(entry.line())
