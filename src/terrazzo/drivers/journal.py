"""The log of a run, beside its results: openEO log entries, one JSON line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.logs import Entry
    from terrazzo.progress import Progress

JOURNAL = "log.jsonl"


def write_journal(folder: Path, entries: Sequence[Entry], progress: Progress) -> None:
    """Write what was logged, and tell it whoever shows the progress; without entries no file.

    Raises:
        OutputFailed: the folder cannot be written to.
    """
    path = folder / JOURNAL
    if not entries:
        path.unlink(missing_ok=True)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_failed(path, error) from error
    with whole_file(path) as part:
        lines = (json.dumps(entry.listed(number)) for number, entry in enumerate(entries, 1))
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for entry in entries:
        progress.note(entry.line())
