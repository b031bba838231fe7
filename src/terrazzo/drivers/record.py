"""The record of a run: what it is, which blocks are done, and how to go on with it.

A block is one file (or object), which is either whole or not there. Its name says which block it is
and of which images it was made, so that a listing tells what is done. A run that was killed at any
moment goes on with the blocks that are missing, and the result is the same to the byte.

Nobody waits until a block is on the disk, which can take longer than to compute it. When power is
lost, those of the last seconds may be cut short: a block says how long it is, and has a checksum,
so that it is noticed, and it is computed again.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from terrazzo.cube import Cube
from terrazzo.drivers.block_names import BLOCKS, aside_name, aside_of, is_plain, kept_name, kept_of
from terrazzo.drivers.tally import RESULTS, Tally
from terrazzo.errors import ArgumentInvalid, OutputFailed, RunDiffers
from terrazzo.logs import Entry
from terrazzo.spans import note, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.drivers.depot import Depot
    from terrazzo.geo.grid import Window
    from terrazzo.storage.writers.zarr_shared import SharedZarr

RECORD = "run.json"
SKIPPED = "skipped.json"
FAILED = "failed.jsonl"
GRAPH = "process_graph"
"""Member of the description that holds the graph as it was given."""
_LONGEST_NAME = 150
"""Characters of the name of a folder that is named after a node."""
_HEADER_BYTES = 65_536
"""Of a block, which hold what is told of it as a rule."""
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError)
"""What is raised where a block is no block."""


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
class Told:
    """What there is to tell of a finished block."""

    skipped: tuple[str, ...]
    """Items that were left out of it because they are bad."""
    log: tuple[Entry, ...]
    """What was logged while it was computed."""


@dataclass(frozen=True, slots=True)
class KeptBlock(Told):
    """A finished block."""

    cube: Cube
    """Its pixels."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What one run keeps of its blocks and its description."""

    depot: Depot
    """Where."""
    store: SharedZarr | None = None
    """What the pixels of blocks are written into, instead of being kept; None = nothing."""

    @classmethod
    def open(
        cls, depot: Depot, description: Mapping[str, Any], store: SharedZarr | None = None
    ) -> RunRecord:
        """Begin a run in a depot, or go on with the same run there.

        Args:
            depot: may hold other files.
            description: everything that decides the pixels and their layout; JSON values.
            store: see the fields.

        Raises:
            RunDiffers: the depot holds another run.
            OutputFailed: it cannot be written to.
        """
        record = cls(depot, store)
        known = record.check(description)
        if store is not None and not (known and store.begun):
            if known:
                record._forget_blocks()  # before the store is there: a run may be killed between
            store.begin()  # before the record is: who finds it must find the store as well
        if not known:
            depot.write(RECORD, json.dumps(description, indent=1, sort_keys=True).encode())
        return record

    def _forget_blocks(self) -> None:
        """Take nothing for done, as the store that blocks were written into is gone."""
        self.reopen()
        self.depot.delete(f"{BLOCKS}/{name}" for name in self.depot.names(BLOCKS))

    def check(self, description: Mapping[str, Any]) -> bool:
        """Refuse to mix two runs in one depot; tell whether there is one.

        Args:
            description: of the run that begins, or some of it.

        Raises:
            RunDiffers: the run that is there differs; says in what.
        """
        differing = self.differing(description)
        if differing:
            raise RunDiffers(
                f"{self.depot} holds another run (it differs in {', '.join(differing)}). Choose "
                "another folder with -o, or delete this one."
            )
        return differing is not None

    def differing(self, description: Mapping[str, Any]) -> list[str] | None:
        """Return in what the run that is there differs from another; None where there is none.

        Args:
            description: of the other run, or some of it.

        Raises:
            RunDiffers: what is there is damaged.
        """
        content = self.depot.read(RECORD)
        if content is None:
            return None
        try:
            known = json.loads(content)
        except ValueError:
            known = None
        if not isinstance(known, dict):
            raise RunDiffers(
                f"{self.depot} holds a {RECORD} that is damaged, or another program's. Choose "
                "another folder with -o, or delete this one."
            )
        fresh = json.loads(json.dumps(description))
        return sorted(
            key
            for key in fresh.keys() - {GRAPH}  # its digest counts, not its text
            if known.get(key) != fresh.get(key)
        )

    def versions(self, count: int) -> NDArray[np.uint64]:
        """Return, for each of `count` blocks, the version of the images that it was made of.

        0 where the block is not there. All names are listed: who asks often takes a `tally`.
        """
        versions = np.zeros(count, np.uint64)
        for name in self._names():
            found = kept_of(name)
            if found is not None and found[0] < count:
                versions[found[0]] = found[1]
        return versions

    def tally(self, count: int) -> Tally:
        """Return what watches which of `count` blocks are there."""
        return Tally(self.depot, count)

    def _names(self) -> Iterator[str]:
        return (name.rpartition("/")[2] for name in self.depot.names(BLOCKS))

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
        parts: tuple[memoryview, ...] = ()
        if self.store is None:
            parts = np.ascontiguousarray(cube.values).data, np.packbits(cube.valid).data
        told = {
            "dtype": cube.dtype.str,
            "shape": cube.values.shape,
            "skipped": skipped,
            "log": [entry.kept() for entry in log],
            "bytes": sum(part.nbytes for part in parts),
            "checksum": _checksum(*parts),
        }
        header = json.dumps(told).encode() + b"\n"
        name = kept_name(number, version)
        if self.store is not None:
            self.store.write(cube)
            self.depot.write(name, header)  # which says that the pixels are there, and will be
            return
        with span("write"):
            self.depot.write(name, header, *parts, lasting=False)
        note("bytes_written", len(header) + told["bytes"])

    def drop(self, number: int, version: int) -> None:
        """Delete a block whose images have changed."""
        self.depot.delete([kept_name(number, version)])

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
        self.depot.write(aside_name(number), json.dumps(told).encode())

    def aside(self) -> set[int]:
        """Return the blocks that were set aside; all names are listed."""
        return {number for number in map(aside_of, self._names()) if number is not None}

    def forgive(self) -> None:
        """Let all blocks be tried again."""
        self.depot.delete([*map(aside_name, self.aside()), FAILED])

    def list_failed(self) -> list[dict[str, Any]]:
        """Return what there is to tell of the blocks that were set aside, and write it down.

        Raises:
            OutputFailed: that cannot be written down.
        """
        notes = ((number, self.depot.read(aside_name(number))) for number in sorted(self.aside()))
        told = [_set_aside(number, note) for number, note in notes if note is not None]
        self.depot.write(FAILED, "".join(json.dumps(one) + "\n" for one in told).encode())
        return told

    def load(self, number: int, version: int, window: Window, probe: Cube) -> KeptBlock:
        """Return a finished block.

        Args:
            number: of the block.
            version: with which it was kept.
            window: its pixels.
            probe: its dimensions and grid.

        Raises:
            OutputFailed: it has gone, cannot be read, or is damaged.
        """
        name = kept_name(number, version)
        content = self._read(name)
        with self._whole(name):
            start = content.index(b"\n") + 1
            told = json.loads(content[:start])
            _check(told, memoryview(content)[start:])
            shape, size = told["shape"], math.prod(told["shape"])
            values = np.frombuffer(content, np.dtype(told["dtype"]), size, start)
            bits = np.frombuffer(content, np.uint8, offset=start + values.nbytes)
            valid = np.unpackbits(bits, count=size).view(np.bool_).reshape(shape)
            cube = Cube(values.reshape(shape), valid, probe.dimensions, probe.grid, window)
            return KeptBlock(tuple(told["skipped"]), tuple(map(Entry.of, told["log"])), cube)

    def told_of(self, number: int, version: int) -> Told | None:
        """Return which items were left out of a finished block, and what was logged meanwhile.

        None where it has gone or was cut short, so that it is to be computed again.

        Raises:
            OutputFailed: it cannot be read.
        """
        name = kept_name(number, version)
        start = self.depot.read(name, _HEADER_BYTES)
        if start is not None and b"\n" not in start:
            start = self.depot.read(name)
        header, more, _ = (start or b"").partition(b"\n")
        try:
            told = json.loads(header + more)
            whole = self.depot.holds(name, len(header) + len(more) + told["bytes"])
            found = Told(tuple(told["skipped"]), tuple(map(Entry.of, told["log"])))
        except _DAMAGED:
            return None
        return found if whole else None

    @contextmanager
    def _whole(self, name: str) -> Iterator[None]:
        """Say in our words that a block cannot be made sense of, and delete it."""
        try:
            yield
        except _DAMAGED as error:
            self.depot.delete([name])
            raise OutputFailed(
                f"{name} in {self.depot} was damaged, most likely as power was lost, and is "
                "deleted. Give the same command again: it computes what is missing."
            ) from error

    def check_kept(self, versions: NDArray[np.uint64]) -> None:
        """Refuse to go on where a block has gone meanwhile; all names are listed.

        Args:
            versions: with which all blocks were kept, by number.

        Raises:
            OutputFailed: one of them is not there.
        """
        there = np.zeros(len(versions), np.bool_)
        for name in self._names():
            found = kept_of(name)
            if found is not None and found[0] < len(versions):
                there[found[0]] |= found[1] == versions[found[0]]
        for number in np.flatnonzero(~there)[:1]:
            raise self._lost(kept_name(int(number), int(versions[number])))

    def _read(self, name: str, most: int | None = None) -> bytes:
        content = self.depot.read(name, most)
        if content is None:
            raise self._lost(name)
        return content

    def _lost(self, name: str) -> OutputFailed:
        return OutputFailed(
            f"{self.depot} has lost {name} while the run went on. Give the same command "
            "again: it computes what is missing."
        )

    @property
    def is_closed(self) -> bool:
        """Whether the results are there, so that nobody needs a block any more."""
        return self.depot.has(RESULTS)

    def leave(self, kept: Iterable[tuple[int, int]]) -> None:
        """Delete blocks that were kept after the results were there, by whoever came too late.

        Args:
            kept: by that worker alone, as somebody may have begun anew: numbers and versions.
        """
        if self.is_closed:
            self.depot.delete(kept_name(*one) for one in kept)
            if not any(self._names()):
                self.depot.clear(BLOCKS)

    def reopen(self) -> None:
        """Forget the results that were written, because they are made anew."""
        self.depot.delete([RESULTS])

    def results(self, version: Callable[[], str]) -> list[dict[str, str]] | None:
        """Return what a finished run wrote.

        None where it is unfinished, a file of it has gone, or it was made of images that have
        changed since.

        Args:
            version: gives that of the images now; asked only where there are results.

        Raises:
            ArgumentInvalid: the list of what it wrote is damaged, or names what lies elsewhere.
        """
        content = self.depot.read(RESULTS)
        if content is None:
            return None
        try:
            told = json.loads(content)
            results = [{key: one[key] for key in ("file", "time")} for one in told["results"]]
            tuple(map(Entry.of, told["log"]))  # which `logged` reads
        except (ValueError, LookupError, TypeError, AttributeError):
            raise self._damaged("it cannot be read") from None
        for one in results:
            if not is_plain(one["file"]):
                raise self._damaged(f"{one['file']!r} is no name of a file beside it")
        there = all(self.depot.has(one["file"]) for one in results)
        return results if there and told.get("version") == version() else None

    def _damaged(self, why: str) -> ArgumentInvalid:
        return ArgumentInvalid(
            f"{RESULTS} in {self.depot} is damaged: {why}. Delete it, and give the same command "
            "again."
        )

    def left_out(self) -> tuple[str, ...]:
        """Return the items that a finished run left out.

        Raises:
            ArgumentInvalid: the list of them is damaged; who took it for empty would hide them.
        """
        content = self.depot.read(SKIPPED)
        if content is None:
            return ()
        try:
            names = json.loads(content)
        except ValueError:
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ArgumentInvalid(
                f"{SKIPPED} in {self.depot} is damaged, so it is not known which images were left "
                f"out. Delete {RESULTS} beside it, and give the same command again."
            )
        return tuple(names)

    def logged(self) -> tuple[Entry, ...]:
        """Return what a finished run logged."""
        told = json.loads(self._read(RESULTS))
        return tuple(map(Entry.of, told["log"]))

    def close(
        self,
        results: Sequence[Mapping[str, str]],
        version: str,
        skipped: Sequence[str],
        log: Sequence[Entry] = (),
    ) -> None:
        """Write down what was written and left out, and delete the blocks.

        Raises:
            OutputFailed: that cannot be written down.
        """
        self.note_skipped(skipped)
        kept = [entry.kept() for entry in log]
        told = {"version": version, "results": list(results), "log": kept}
        self.depot.write(RESULTS, json.dumps(told, indent=1).encode())
        self.depot.clear(BLOCKS)

    def note_skipped(self, skipped: Sequence[str]) -> None:
        """Write down which items were left out, in place of what an earlier run left out.

        Raises:
            OutputFailed: that cannot be written down.
        """
        if skipped:
            self.depot.write(SKIPPED, json.dumps(list(skipped), indent=1).encode())
        else:
            self.depot.delete([SKIPPED])


def _checksum(*parts: memoryview) -> int:
    return reduce(lambda known, part: zlib.crc32(part, known), parts, 0)


def _check(told: Mapping[str, Any], pixels: memoryview) -> None:
    """See whether the pixels of a block are those that were written.

    Raises:
        ValueError: they are not.
    """
    if len(pixels) != told["bytes"] or _checksum(pixels) != told["checksum"]:
        raise ValueError("Pixels were lost or changed.")


def _set_aside(number: int, note: bytes) -> dict[str, Any]:
    """Return what a note tells of a block that was set aside; its name says which block it is."""
    try:
        told = json.loads(note)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {"reason": "The note of why it failed is damaged."}
    return {**told, "block": number}
