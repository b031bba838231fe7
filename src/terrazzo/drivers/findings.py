"""What stages of a run have found, kept in its folder, so that a run that goes on has it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from terrazzo import logs
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.processes.stage import Finding

FOLDER = ".stages"
_TOLD = "told"


@dataclass(frozen=True, slots=True)
class Found:
    """What a stage has found, and what there is to tell about it."""

    finding: Finding
    """As arrays."""
    skipped: tuple[str, ...] = ()
    """Items that could not be read and were left out."""
    log: tuple[logs.Entry, ...] = ()
    """What was logged."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings in the folder of one run."""

    folder: Path
    """The output folder of the run."""

    def load(self, version: str) -> Found | None:
        """Return what was found with a version, which says all that decides it; None if nothing."""
        path = self.folder / FOLDER / f"{version}.npz"
        if not path.exists():
            return None
        with np.load(path) as kept:
            told = json.loads(str(kept[_TOLD]))
            finding = {name: kept[name] for name in kept.files if name != _TOLD}
        entries = tuple(logs.Entry.of(entry) for entry in told["log"])
        return Found(finding, tuple(told["skipped"]), entries)

    def save(self, version: str, found: Found) -> None:
        """Keep what was found, atomically.

        Raises:
            OutputFailed: the folder cannot be written to.
        """
        path = self.folder / FOLDER / f"{version}.npz"
        told = {"skipped": found.skipped, "log": [entry.kept() for entry in found.log]}
        arrays = {**found.finding, _TOLD: np.array(json.dumps(told))}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(path, error) from error
        with whole_file(path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
