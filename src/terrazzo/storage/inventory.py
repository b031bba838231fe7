"""The images of a source as a file: who opens the same collection again reads it, and no item.

It says what `gathered` found out of all items of a version of a collection. A file that is old,
damaged or cannot be written is no loss: the items are looked at again; so they
are by another version of Terrazzo, which may find out something else.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from terrazzo import __version__
from terrazzo.cube import BandFacts
from terrazzo.errors import OutputFailed
from terrazzo.geo.grid import Grid
from terrazzo.storage.file_names import FileNames
from terrazzo.storage.folders import are_as_ever
from terrazzo.storage.gathered import Scenes
from terrazzo.storage.kinds import Kinds
from terrazzo.storage.outlines import Outlines
from terrazzo.storage.shelf import KEPT, Completed, Shelf
from terrazzo.storage.source import RasterSource
from terrazzo.storage.texts import Texts
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from terrazzo.storage.raster import RasterReader
    from terrazzo.storage.shelf import LookUp
    from terrazzo.storage.source import OnBad

WORTH_KEEPING = 2000
"""Images from which on a file is written: fewer are looked at in less than a second."""
MOST_FILES = 64
"""Files in the folder; the oldest go first."""
_FORMAT = 2
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, BadZipFile)
"""What NumPy and `zipfile` raise; the latter RuntimeError of what it takes for encrypted."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Where the images of one choice of items are kept."""

    folder: Path
    """Made when missing."""
    choice: str
    """Says which items of which collection, and which of their bands."""
    version: str
    """Of the collection; no two states of any have the same."""

    @property
    def path(self) -> Path:
        """The file; that of another version is replaced."""
        return self.folder / f"{hashlib.sha256(self.choice.encode()).hexdigest()[:32]}.npz"

    def keep(self, source: RasterSource) -> None:
        """Write what is known of all images, if that is worth it and no file was asked for it."""
        scenes, outlines = source.scenes, source.scenes.outlines
        if not scenes.stated or len(scenes.ids) < WORTH_KEEPING:
            return
        told = {
            "terrazzo": __version__,
            "format": _FORMAT,
            "choice": self.choice,
            "version": self.version,
            "grid": astuple(source.grid),
            "bands": source.bands,
            "dtype": source.dtype.str,
            "facts": [[name, *astuple(facts)] for name, facts in source.facts.items()],
            "labels": scenes.labels,
            "remote": scenes.is_remote,
            "systems": outlines.systems,
            "kinds": scenes.kinds.told,
            "links": None if scenes.files is None else scenes.files.links,
        }
        files = scenes.files or FileNames(b"", np.zeros(1, np.int64), ())
        columns: dict[str, Any] = {
            "told": np.frombuffer(json.dumps(told).encode(), np.uint8),
            "ids": np.frombuffer(scenes.ids.data, np.uint8),
            "edges": scenes.ids.edges,
            "starts": scenes.starts,
            "kind": scenes.kind,
            "came": scenes.came,
            "files": np.frombuffer(files.data, np.uint8),
            "parts": files.edges,
            "first": outlines.first,
            "bounds": outlines.bounds,
            "outlines": outlines.members,
            **scenes.kinds.columns,
        }
        with suppress(OutputFailed, OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as part:
                np.savez(part, **columns)
            there = sorted(self.folder.glob("*.npz"), key=lambda file: file.stat().st_mtime_ns)
            for old in there[:-MOST_FILES]:
                old.unlink(missing_ok=True)

    def load(
        self,
        look_up: Callable[[tuple[str, ...]], LookUp],
        reader: RasterReader,
        on_bad: OnBad | None,
    ) -> RasterSource | None:
        """Return the source; None where nothing is kept of this version.

        Args:
            look_up: returns what finds items again, with some bands.
            reader: what reads files.
            on_bad: see `RasterSource`.
        """
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                told = json.loads(kept["told"].tobytes())
                known = told["terrazzo"], told["format"], told["choice"], told["version"]
                if known != (__version__, _FORMAT, self.choice, self.version):
                    return None
                if not are_as_ever(told["links"] or ()):
                    return None
                return _source(told, kept, look_up, reader, on_bad)
        except _DAMAGED:
            return None


def _source(
    told: dict[str, Any],
    kept: Any,
    look_up: Callable[[tuple[str, ...]], LookUp],
    reader: RasterReader,
    on_bad: OnBad | None,
) -> RasterSource:
    names = tuple(told["bands"])
    outlines = Outlines(tuple(told["systems"]), kept["first"], kept["bounds"], kept["outlines"])
    files = None
    if told["links"] is not None:
        links = tuple((link, there) for link, there in told["links"])
        files = FileNames(kept["files"].tobytes(), kept["parts"], links)
    scenes = Scenes(
        ids=Texts.of(kept["ids"].tobytes(), kept["edges"]),
        labels=tuple(told["labels"]),
        is_remote=told["remote"],
        stated=True,
        starts=kept["starts"],
        outlines=outlines,
        kinds=Kinds.kept(told["kinds"], kept),
        kind=kept["kind"],
        files=files,
        came=kept["came"],
        shelf=Shelf({}, Completed(look_up(names), names, reader), KEPT),
    )
    facts = {name: BandFacts(*rest) for name, *rest in told["facts"]}
    dtype = np.dtype(told["dtype"])
    return RasterSource(Grid(*told["grid"]), names, scenes, dtype, reader, on_bad, facts=facts)
