"""The record of a run: what it is, which blocks are done, and how to go on with it.

A block is one file, written beside its final name and moved there, so it is either whole or
not there. A run that was killed at any moment goes on with the blocks that are missing, and
the result is the same to the byte.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube
from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from terrazzo.geo.grid import Window

RECORD = "run.json"
BLOCKS = ".blocks"
SKIPPED = "skipped.json"
RESULTS = "results.json"
GRAPH = "process_graph"
"""Member of the description that holds the graph as it was given."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The folder in which one run keeps its blocks and its description."""

    folder: Path
    """The output folder of the run."""

    @classmethod
    def open(cls, folder: Path, description: Mapping[str, Any]) -> RunRecord:
        """Begin a run in a folder, or go on with the same run there.

        Args:
            folder: made when missing; may hold other files.
            description: everything that decides the pixels and their layout; JSON values.

        Raises:
            ArgumentInvalid: the folder holds another run.
            OutputFailed: it cannot be written to.
        """
        record = cls(folder)
        path = folder / RECORD
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / BLOCKS).mkdir(exist_ok=True)
            if path.exists():
                record.check(description)
            else:
                with whole_file(path) as part:
                    part.write_text(json.dumps(description, indent=1, sort_keys=True))
        except OSError as error:
            raise output_failed(path, error) from error
        return record

    def check(self, description: Mapping[str, Any]) -> None:
        """Refuse to mix two runs in one folder.

        Raises:
            ArgumentInvalid: the folder's run differs; says in what.
        """
        known = json.loads((self.folder / RECORD).read_text())
        fresh = json.loads(json.dumps(description))
        differing = sorted(
            key
            for key in (known.keys() | fresh.keys()) - {GRAPH}  # its digest counts, not its text
            if known.get(key) != fresh.get(key)
        )
        if differing:
            raise ArgumentInvalid(
                f"{self.folder} holds another run (it differs in {', '.join(differing)}). Choose "
                "another folder with -o, or delete this one."
            )

    def _block(self, window: Window) -> Path:
        return self.folder / BLOCKS / f"{window.row}_{window.col}.npz"

    def has(self, window: Window, version: Callable[[Window], str]) -> bool:
        """Tell whether a block is done, and made of the images as they are now."""
        path = self._block(window)
        if not path.exists():
            return False
        with np.load(path) as parts:
            return str(parts["version"]) == version(window)

    def save(self, cube: Cube, version: str, skipped: tuple[str, ...] = ()) -> None:
        """Keep a finished block, atomically; `version` is that of the images it is made of.

        Raises:
            OutputFailed: the disk is full or the folder not writable; no part of it stays.
        """
        window = cube.window
        if window is None:
            raise TypeError("A block has pixels.")
        path = self._block(window)
        with whole_file(path) as part, part.open("wb") as file:
            np.savez(
                file,
                values=np.ascontiguousarray(cube.values),
                valid=np.packbits(cube.valid),
                skipped=np.array(skipped, dtype=np.str_),
                version=np.array(version),
            )

    def load(self, window: Window, probe: Cube) -> Cube:
        """Return a finished block; `probe` says its dimensions and grid."""
        with np.load(self._block(window)) as parts:
            values = parts["values"]
            valid = np.unpackbits(parts["valid"], count=values.size).astype(np.bool_)
        return Cube(values, valid.reshape(values.shape), probe.dimensions, probe.grid, window)

    def skipped(self, window: Window) -> tuple[str, ...]:
        """Return the items that were left out of a finished block because they are bad."""
        with np.load(self._block(window)) as parts:
            return tuple(parts["skipped"].tolist())

    def results(self, version: str) -> list[dict[str, str]] | None:
        """Return what a finished run wrote.

        None where it is unfinished, a file of it has gone, or it was made of images that have
        changed since: `version` is theirs now.
        """
        path = self.folder / RESULTS
        if not path.exists():
            return None
        told = json.loads(path.read_text())
        results: list[dict[str, str]] = told["results"]
        there = all((self.folder / result["file"]).is_file() for result in results)
        return results if there and told["version"] == version else None

    def left_out(self) -> tuple[str, ...]:
        """Return the items that a finished run left out."""
        path = self.folder / SKIPPED
        return tuple(json.loads(path.read_text())) if path.exists() else ()

    def close(
        self,
        results: Sequence[Mapping[str, str]],
        version: str,
        skipped: Sequence[str],
    ) -> None:
        """Write down what was written and left out, and delete the blocks.

        What a killed run had begun to write beside its results is deleted, too.
        """
        self.note_skipped(skipped)
        with whole_file(self.folder / RESULTS) as part:
            told = {"version": version, "results": list(results)}
            part.write_text(json.dumps(told, indent=1))
        for begun in self.folder.glob(".*.part*"):
            begun.unlink(missing_ok=True)
        shutil.rmtree(self.folder / BLOCKS, ignore_errors=True)

    def note_skipped(self, skipped: Sequence[str]) -> None:
        """Write down which items were left out; makes the folder.

        Raises:
            OutputFailed: it cannot be written to.
        """
        path = self.folder / SKIPPED
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(path, error) from error
        if skipped:
            with whole_file(path) as part:
                part.write_text(json.dumps(list(skipped), indent=1))
