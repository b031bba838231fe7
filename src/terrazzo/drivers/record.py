"""The record of a run: what it is, which blocks are done, and how to go on with it.

A block is one file, written beside its final name and moved there, so it is either whole or
not there. Its name says which block it is and of which images it was made, so that one listing
of the folder tells what is done. A run that was killed at any moment goes on with the blocks that
are missing, and the result is the same to the byte.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from terrazzo.cube import Cube
from terrazzo.errors import RunDiffers
from terrazzo.logs import Entry
from terrazzo.spans import span
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Window

RECORD = "run.json"
BLOCKS = ".blocks"
SKIPPED = "skipped.json"
RESULTS = "results.json"
FAILED = "failed.jsonl"
GRAPH = "process_graph"
"""Member of the description that holds the graph as it was given."""
_LONGEST_NAME = 150
"""Characters of the name of a folder that is named after a node."""
_BLOCK = re.compile(r"(\d+)_([0-9a-f]{16})\.block")
"""Name of a block's file: its number and its version."""
_ASIDE = re.compile(r"(\d+)\.failed")
"""Name of the file of a block that was set aside."""


def folder_name(node: str) -> str:
    """Return what the folder of a node's results is called: its id, without what leaves a folder.

    A stranger chooses the id, and it may be `../..` or a path from the root.
    """
    name = quote(node, safe="")
    if name.startswith(".") or not name:
        name = f"%{name}"
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(node.encode()).hexdigest()[:16]}"
    return name


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """A finished block."""

    cube: Cube
    """Its pixels."""
    skipped: tuple[str, ...]
    """Items that were left out of it because they are bad."""
    log: tuple[Entry, ...]
    """What was logged while it was computed."""


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
            RunDiffers: the folder holds another run.
            OutputFailed: it cannot be written to.
        """
        record = cls(folder)
        path = folder / RECORD
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / BLOCKS).mkdir(exist_ok=True)
            record.check(description)
            if not path.exists():
                with whole_file(path) as part:
                    part.write_text(json.dumps(description, indent=1, sort_keys=True))
        except OSError as error:
            raise output_failed(path, error) from error
        return record

    def check(self, description: Mapping[str, Any]) -> None:
        """Refuse to mix two runs in one folder.

        Args:
            description: of the run that begins, or some of it.

        Raises:
            RunDiffers: the folder's run differs; says in what.
        """
        path = self.folder / RECORD
        if not path.exists():
            return
        known = json.loads(path.read_text())
        fresh = json.loads(json.dumps(description))
        differing = sorted(
            key
            for key in fresh.keys() - {GRAPH}  # its digest counts, not its text
            if known.get(key) != fresh.get(key)
        )
        if differing:
            raise RunDiffers(
                f"{self.folder} holds another run (it differs in {', '.join(differing)}). Choose "
                "another folder with -o, or delete this one."
            )

    def _block(self, number: int, version: int) -> Path:
        return self.folder / BLOCKS / f"{number}_{version:016x}.block"

    def versions(self, count: int) -> NDArray[np.uint64]:
        """Return, for each of `count` blocks, the version of the images that it was made of.

        0 where the block is not there.
        """
        versions = np.zeros(count, np.uint64)
        with os.scandir(self.folder / BLOCKS) as entries:
            for entry in entries:
                name = _BLOCK.fullmatch(entry.name)
                if name is not None and int(name[1]) < count:
                    versions[int(name[1])] = int(name[2], 16)
        return versions

    def save(
        self,
        number: int,
        cube: Cube,
        version: int,
        skipped: tuple[str, ...] = (),
        log: tuple[Entry, ...] = (),
    ) -> None:
        """Keep a finished block, atomically; `version` is that of the images it is made of.

        Raises:
            OutputFailed: the disk is full or the folder not writable; no part of it stays.
        """
        path = self._block(number, version)
        told = {
            "dtype": cube.dtype.str,
            "shape": cube.values.shape,
            "skipped": skipped,
            "log": [entry.kept() for entry in log],
        }
        with span("write"), whole_file(path) as part, part.open("wb") as file:
            file.write(json.dumps(told).encode() + b"\n")
            file.write(np.ascontiguousarray(cube.values).data)
            file.write(np.packbits(cube.valid).data)

    def drop(self, number: int, version: int) -> None:
        """Delete a block whose images have changed."""
        self._block(number, version).unlink(missing_ok=True)

    def set_aside(
        self, number: int, window: Window, reason: str, log: tuple[Entry, ...] = ()
    ) -> None:
        """Note that a block failed and is not tried any more for now.

        Raises:
            OutputFailed: that cannot be written down.
        """
        told = {
            "block": number,
            "row": window.row,
            "col": window.col,
            "reason": reason,
            "log": [entry.kept() for entry in log],
        }
        with whole_file(self.folder / BLOCKS / f"{number}.failed") as part:
            part.write_text(json.dumps(told))

    def aside(self) -> set[int]:
        """Return the blocks that were set aside."""
        with os.scandir(self.folder / BLOCKS) as entries:
            names = [_ASIDE.fullmatch(entry.name) for entry in entries]
        return {int(name[1]) for name in names if name is not None}

    def forgive(self) -> None:
        """Let all blocks be tried again."""
        for number in self.aside():
            (self.folder / BLOCKS / f"{number}.failed").unlink(missing_ok=True)
        (self.folder / FAILED).unlink(missing_ok=True)

    def list_failed(self) -> list[dict[str, Any]]:
        """Return what there is to tell of the blocks that were set aside, and write it down.

        Raises:
            OutputFailed: that cannot be written down.
        """
        told: list[dict[str, Any]] = [
            json.loads((self.folder / BLOCKS / f"{number}.failed").read_text())
            for number in sorted(self.aside())
        ]
        with whole_file(self.folder / FAILED) as part:
            part.write_text("".join(json.dumps(one) + "\n" for one in told))
        return told

    def load(self, number: int, version: int, window: Window, probe: Cube) -> KeptBlock:
        """Return a finished block.

        Args:
            number: of the block.
            version: with which it was kept.
            window: its pixels.
            probe: its dimensions and grid.
        """
        with self._block(number, version).open("rb") as file:
            told = json.loads(file.readline())
            size = math.prod(told["shape"])
            values = np.fromfile(file, np.dtype(told["dtype"]), size).reshape(told["shape"])
            bits = np.unpackbits(np.fromfile(file, np.uint8), count=size)
        valid = bits.view(np.bool_).reshape(values.shape)
        cube = Cube(values, valid, probe.dimensions, probe.grid, window)
        return KeptBlock(cube, tuple(told["skipped"]), tuple(map(Entry.of, told["log"])))

    def logged_of(self, number: int, version: int) -> tuple[Entry, ...]:
        """Return what was logged while a finished block was computed."""
        with self._block(number, version).open("rb") as file:
            return tuple(map(Entry.of, json.loads(file.readline())["log"]))

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

    def logged(self) -> tuple[Entry, ...]:
        """Return what a finished run logged."""
        told = json.loads((self.folder / RESULTS).read_text())
        return tuple(map(Entry.of, told["log"]))

    def close(
        self,
        results: Sequence[Mapping[str, str]],
        version: str,
        skipped: Sequence[str],
        log: Sequence[Entry] = (),
    ) -> None:
        """Write down what was written and left out, and delete the blocks.

        What a killed run had begun to write beside its results is deleted, too.
        """
        self.note_skipped(skipped)
        with whole_file(self.folder / RESULTS) as part:
            kept = [entry.kept() for entry in log]
            told = {"version": version, "results": list(results), "log": kept}
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
