"""What stages of a run have found, kept with its blocks, so that a run that goes on has it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from terrazzo import logs

if TYPE_CHECKING:
    from terrazzo.drivers.depot import Depot
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
    """The findings of one run."""

    depot: Depot
    """Where the run is kept."""

    def load(self, version: str) -> Found | None:
        """Return what was found with a version, which says all that decides it; None if nothing."""
        content = self.depot.read(f"{FOLDER}/{version}.npz")
        if content is None:
            return None
        with np.load(io.BytesIO(content)) as kept:
            told = json.loads(str(kept[_TOLD]))
            finding = {name: kept[name] for name in kept.files if name != _TOLD}
        entries = tuple(logs.Entry.of(entry) for entry in told["log"])
        return Found(finding, tuple(told["skipped"]), entries)

    def save(self, version: str, found: Found) -> None:
        """Keep what was found, atomically.

        Raises:
            OutputFailed: it cannot be written.
        """
        told = {"skipped": found.skipped, "log": [entry.kept() for entry in found.log]}
        arrays = {**found.finding, _TOLD: np.array(json.dumps(told))}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        self.depot.write(f"{FOLDER}/{version}.npz", content.getbuffer())
