"""What jobs elsewhere hand to an extraction: scenes that they have computed, as files beside it.

A scene that was handed over is a note and, if it has rows, its part of the table. The note is
written last, so that what it names is whole. The process that runs the extraction takes both.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from terrazzo.drivers.block_names import is_plain
from terrazzo.drivers.extraction.parts import ASIDE
from terrazzo.drivers.extraction.scenes import Made
from terrazzo.drivers.extraction.work import Outcome
from terrazzo.logs import Entry
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from terrazzo.drivers.extraction.scenes import Scene

NOTE = ".json"


def note_of(folder: Path, scene: Scene) -> Path:
    """Return where the note of a scene lies, of the images that it has now."""
    return folder / ASIDE / f"{scene.key}-{scene.version}{NOTE}"


def hand_over(folder: Path, outcome: Outcome) -> None:
    """Leave what became of a scene for the process that runs the extraction.

    Raises:
        OutputFailed: the folder cannot be written.
    """
    made = asdict(outcome.made) | {"log": [entry.kept() for entry in outcome.made.log]}
    part = "" if outcome.aside is None else outcome.aside.name
    told = {"made": made, "part": part, "error": outcome.error}
    path = note_of(folder, outcome.scene)
    try:
        with whole_file(path) as aside:
            aside.write_text(json.dumps(told))
    except OSError as error:
        raise output_failed(path, error) from error


def handed_over(folder: Path, scenes: Iterable[Scene]) -> Iterator[Outcome]:
    """Yield the scenes that others have computed of the images that there are now.

    What failed there is not among them: whoever asks tries it once more, and says why it fails.
    """
    for scene in scenes:
        told = _read(note_of(folder, scene))
        if told is None or told.error:
            continue
        part = folder / ASIDE / told.part if told.part else None
        if part is None or part.is_file():
            yield Outcome(scene, told.made, part)


def failed_there(folder: Path, scenes: Iterable[Scene]) -> int:
    """Return how many of the scenes others could not compute."""
    notes = (_read(note_of(folder, scene)) for scene in scenes)
    return sum(1 for told in notes if told is not None and told.error)


def sweep(folder: Path) -> None:
    """Delete the parts that a killed run has left, but not those that others have handed over.

    Raises:
        OutputFailed: the folder cannot be written.
    """
    try:
        (folder / ASIDE).mkdir(parents=True, exist_ok=True)
        notes = [_read(path) for path in (folder / ASIDE).glob(f"*{NOTE}")]
        wanted = {told.part for told in notes if told is not None}
        for path in (folder / ASIDE).iterdir():
            if path.suffix != NOTE and path.name not in wanted:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise output_failed(folder / ASIDE, error) from error


@dataclass(frozen=True, slots=True)
class _Note:
    """What a note says; the fields are those of `Outcome`."""

    made: Made
    part: str
    """Name of the part beside the note; empty where the scene has no rows."""
    error: str


def _read(path: Path) -> _Note | None:
    """Return a note; None where there is none, or a damaged one: then the scene is computed.

    One that names a part elsewhere is damaged too: the part is moved, whatever file it is.
    """
    try:
        told = json.loads(path.read_text())
        made = told["made"]
        note = _Note(
            Made(
                int(made["rows"]),
                float(made["seconds"]),
                int(made["size"]),
                str(made["checksum"]),
                tuple(map(str, made["skipped"])),
                tuple(map(Entry.of, made["log"])),
            ),
            str(told["part"]),
            str(told["error"]),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return note if not note.part or is_plain(note.part) else None
