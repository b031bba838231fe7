"""Coverage weights of all polygons on one grid: computed once, kept on disk, applied to images."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import shapely
from typing_extensions import override

from terrazzo.drivers.extraction.cells import Cell
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Window
from terrazzo.geo.hilbert import hilbert_order
from terrazzo.geo.runs import HOW, Runs, across, runs_of, shares_inside
from terrazzo.geo.shapes import content_digest, mended
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.geo.grid import Grid
    from terrazzo.geo.runs import How
    from terrazzo.geo.shapes import Geometries
    from terrazzo.progress import Progress

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float64]

FOLDER: Final = ".weights"
VERSION: Final = 3
"""Goes into the digest: weights of another version are computed anew."""
KEPT_BYTES: Final = 64 * 2**20
"""Of cells that are kept from image to image."""
_AT_ONCE: Final = 65_536
"""Polygons that are digested at a time."""
_RUN: Final = pa.struct(
    [
        pa.field("row", pa.uint8(), nullable=False),
        pa.field("col", pa.uint8(), nullable=False),
        pa.field("length", pa.uint16(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)
_CELL: Final = pa.schema(
    [
        pa.field("polygon", pa.int32(), nullable=False),
        pa.field("square", pa.int64(), nullable=False),
        pa.field("runs", pa.list_(pa.field("run", _RUN, nullable=False)), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Peaks:
    """What a reduction may have to hold at once."""

    pixels: int = 0
    """The most pixels under polygons in one cell."""
    fragments: int = 0
    """The most fragments in one cell."""
    pending_pixels: int = 0
    """The most pixels of polygons of which some were still to come."""
    pending_fragments: int = 0
    """The most fragments of such."""


@dataclass(eq=False)
class Weights:
    """The pixels under polygons on one grid, cell by cell; on disk, not in memory.

    It may be sent to other processes, which read the same files.
    """

    path: Path
    """Folder of `runs.arrow`, a record batch per cell, and `polygons.arrow`, a row per polygon."""
    across: int
    """How many lattice squares lie beside each other in the grid."""
    cells: Sequence[Window]
    """The smallest windows that hold the pixels, in the order in which they are to be computed."""
    fragments: Ints
    """(polygon,) how many lattice squares it has pixels in; 0 = none on this grid."""
    pixels: Longs
    """(polygon,) how many pixels it has."""
    total: Floats
    """(polygon,) sum of its weights, and what they would be where it reaches beyond the window."""
    last: Ints
    """(polygon,) number of the last cell that it has pixels in; -1 if none."""
    peaks: Peaks
    """What a reduction may have to hold at once."""
    repaired: tuple[int, ...]
    """Polygons that were invalid and were repaired."""
    _file: Any = field(default=None, init=False, repr=False)
    _kept: dict[int, Cell] = field(default_factory=dict, init=False, repr=False)
    _room: int = field(default=0, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @classmethod
    def of(
        cls,
        folder: Path,
        shapes: Sequence[BaseGeometry | None] | Geometries,
        grid: Grid,
        window: Window,
        *,
        how: How = "exact",
        around: int = 1,
        block: int = 1024,
        valid: bool = False,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Weights:
        """Compute weights, or open them if the same were computed here before.

        Args:
            folder: where `.weights` is, or is made.
            shapes: polygons, lines or points in the CRS of `grid`; None has no pixel.
            grid: the pixels.
            window: only these of them.
            how: what a pixel weighs, see `geo.runs.runs_of`.
            around: edge of the square of pixels that a point has, odd.
            block: edge of a cell, pixels; a multiple of 256.
            valid: whether the shapes are known to be valid.
            workers: threads that compute.
            progress: told about every cell.

        Raises:
            ArgumentInvalid: what is not known, a shape that is no geometry, or a wrong edge.
            OutputFailed: disk full, or the folder cannot be written.
        """
        check_weighing(how, around, block)
        geometries, repaired = mended(shapes, valid=valid)
        digest = _digest(geometries, grid, window, (how, around, block))
        path = folder / FOLDER / digest
        if not (path / "polygons.arrow").exists():
            made = _Making(geometries, grid, window, how, around, block, repaired)
            try:
                _whole(path, made, workers, progress)
            except OSError as error:
                raise output_failed(path, error) from error
        return cls.opened(path)

    @classmethod
    def opened(cls, path: Path) -> Weights:
        """Open weights that are on disk."""
        with pa.memory_map(str(path / "polygons.arrow")) as file:
            table = pa.ipc.open_file(file).read_all()
            facts = json.loads(table.schema.metadata[b"facts"])
            columns = {name: table[name].to_numpy().copy() for name in table.column_names}
        return cls(
            path,
            facts["across"],
            tuple(Window(*cell) for cell in facts["cells"]),
            columns["fragments"],
            columns["pixels"],
            columns["total"],
            columns["last"],
            Peaks(**facts["peaks"]),
            tuple(facts["repaired"]),
        )

    def runs(self, number: int) -> Runs:
        """Return the pixels under polygons in a cell."""
        with self._lock:
            if self._file is None:
                self._file = pa.ipc.open_file(pa.OSFile(str(self.path / "runs.arrow")))
            batch = self._file.get_batch(number)
        runs = batch["runs"]
        columns = runs.values
        return Runs(
            self.across,
            batch["polygon"].to_numpy(),
            batch["square"].to_numpy(),
            runs.offsets.to_numpy().astype(np.int64),
            *(columns.field(n).to_numpy() for n in range(4)),
        )

    def cell(self, number: int) -> Cell:
        """Return what kernels take of a cell; those that fit into `KEPT_BYTES` are kept.

        Images take all cells one after the other: to let the oldest go would be to keep none.
        """
        found = self._kept.get(number)
        if found is None:
            found = Cell.of(self.runs(number), self.cells[number], self.fragments)
            with self._lock:
                if number not in self._kept and found.size <= self._room:
                    self._kept[number] = found
                    self._room -= found.size
        return found

    def keep(self, room: int = KEPT_BYTES) -> None:
        """Keep cells, of so many bytes; forget those that are kept."""
        with self._lock:
            self._kept, self._room = {}, room

    @override
    def __reduce__(self) -> tuple[Callable[[Path], Weights], tuple[Path]]:
        """Tell other processes where the files are."""
        return Weights.opened, (self.path,)


def check_weighing(how: str, around: int, block: int) -> None:
    """Refuse what `Weights.of` cannot do.

    Raises:
        ArgumentInvalid: says what would be valid.
    """
    if how not in HOW:
        raise ArgumentInvalid(f"Pixels are weighted by {', '.join(HOW)}, not by {how!r}.")
    if around < 1 or around % 2 == 0:
        raise ArgumentInvalid(
            f"A point has a square of 1, 3, 5, ... pixels around it, not {around}."
        )
    if block < 1 or block % 256:
        raise ArgumentInvalid(f"The edge of a block is a multiple of 256 pixels, not {block}.")


def _digest(geometries: Geometries, grid: Grid, window: Window, how: tuple[object, ...]) -> str:
    """Return what these weights are called: the same for the same numbers only."""
    digest = hashlib.sha256(repr((VERSION, astuple(grid), astuple(window), how)).encode())
    for start in range(0, len(geometries), _AT_ONCE):
        some = geometries[start : start + _AT_ONCE]
        digest.update(content_digest(some))
    return digest.hexdigest()[:32]


def _whole(path: Path, made: _Making, workers: int, progress: Progress | None) -> None:
    """Write the folder whole or not at all; another that wrote the same meanwhile may win."""
    host = f".{path.name}.{platform.node()}."
    for left in path.parent.glob(f"{host}*.part"):
        if not _lives(int(left.name.removeprefix(host).removesuffix(".part"))):
            shutil.rmtree(left)
    part = path.with_name(f"{host}{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        made.write(part, workers, progress)
        try:
            part.rename(path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _lives(process: int) -> bool:
    """Tell whether a process of this machine is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


@dataclass(eq=False)
class _Making:
    """Computes weights."""

    geometries: Geometries
    grid: Grid
    window: Window
    how: How
    around: int
    block: int
    repaired: tuple[int, ...]

    def write(self, folder: Path, workers: int, progress: Progress | None) -> None:
        """Compute cell by cell and write as it goes."""
        members, starts, windows = self._members()
        cells: list[Window] = []
        count = len(self.geometries)
        tally = _Tally(count)
        if progress:
            progress.start(len(windows), "cells of weights")
        with (
            pa.OSFile(str(folder / "runs.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, _CELL) as to,
        ):
            for runs in self._computed(members, starts, windows, workers):
                if len(runs.polygon):
                    tally.add(len(cells), runs)
                    cells.append(runs.window)
                    to.write_batch(_batch(runs))
                if progress:
                    progress.advance()
        peaks = tally.finish()
        self._complete(tally.total)
        facts = {
            "across": across(self.grid),
            "cells": [astuple(cell) for cell in cells],
            "repaired": self.repaired,
            "peaks": asdict(peaks),
        }
        table = pa.table(
            {
                "fragments": tally.fragments,
                "pixels": tally.pixels,
                "total": tally.total,
                "last": tally.last,
            }
        ).replace_schema_metadata({"facts": json.dumps(facts)})
        with (
            pa.OSFile(str(folder / "polygons.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as to,
        ):
            to.write_table(table)

    def _computed(
        self,
        members: Longs,
        starts: Longs,
        windows: list[Window],
        workers: int,
    ) -> Iterator[Runs]:
        """Yield the runs of cells, in order, some being computed ahead."""

        def computed(number: int) -> Runs:
            mine = members[starts[number] : starts[number + 1]]
            runs = runs_of(
                self.geometries[mine], self.grid, windows[number], self.how, around=self.around
            )
            return runs.renamed(mine)

        running: deque[Future[Runs]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="weights") as pool:
            for number in range(len(windows)):
                running.append(pool.submit(computed, number))
                if len(running) > 2 * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()

    def _complete(self, total: Floats) -> None:
        """Add what shapes would have outside the window, so that part of one is never the whole."""
        inside = self.grid.window.intersection(self.window)
        left, bottom, right, top = self.grid.bounds_of(inside)
        reach = (self.around // 2 + 1) * np.array([self.grid.pixel_x, self.grid.pixel_y])
        first, last = np.split(shapely.bounds(self.geometries), 2, axis=1)
        beyond = (first - reach < [left, bottom]) | (last + reach > [right, top])
        shape = np.flatnonzero(beyond.any(axis=1) & (total > 0.0))
        for start in range(0, len(shape), _AT_ONCE):
            some = shape[start : start + _AT_ONCE]
            total[some] /= shares_inside(
                self.geometries[some], self.grid, inside, around=self.around
            )

    def _members(self) -> tuple[Longs, Longs, list[Window]]:
        """Return positions of shapes by cell, where each cell's begin, and the cells."""
        grid, edge = self.grid, self.block
        inside = grid.window.intersection(self.window)
        bounds = shapely.bounds(self.geometries)
        reach = self.around // 2 + 1
        with np.errstate(invalid="ignore"):
            first_col = np.floor((bounds[:, 0] - grid.left) / grid.pixel_x) - reach
            last_col = np.floor((bounds[:, 2] - grid.left) / grid.pixel_x) + reach
            first_row = np.floor((grid.top - bounds[:, 3]) / grid.pixel_y) - reach
            last_row = np.floor((grid.top - bounds[:, 1]) / grid.pixel_y) + reach
            hit = (last_col >= inside.col) & (first_col < inside.col_stop)
            hit &= (last_row >= inside.row) & (first_row < inside.row_stop)
        shape = np.flatnonzero(hit & (not inside.is_empty))
        rows = (
            np.clip(
                np.stack([first_row[shape], last_row[shape]]), inside.row, inside.row_stop - 1
            ).astype(np.int64)
            // edge
        )
        cols = (
            np.clip(
                np.stack([first_col[shape], last_col[shape]]), inside.col, inside.col_stop - 1
            ).astype(np.int64)
            // edge
        )
        high, wide = rows[1] - rows[0] + 1, cols[1] - cols[0] + 1
        owner = np.repeat(np.arange(len(shape)), high * wide)
        step = np.arange(len(owner)) - np.repeat(np.cumsum(high * wide) - high * wide, high * wide)
        row, col = rows[0][owner] + step // wide[owner], cols[0][owner] + step % wide[owner]
        many = -(-grid.width // edge)
        number, cell = np.unique(row * many + col, return_inverse=True)
        row, col = np.divmod(number, many)
        boxes = np.stack([col, -row - 1, col + 1, -row], axis=1).astype(np.float64)
        side = float(max(many, -(-grid.height // edge)))
        curve = hilbert_order(boxes, (0.0, -side, side, 0.0))
        place = np.empty_like(curve)
        place[curve] = np.arange(len(curve))
        order = np.argsort(place[cell], kind="stable")
        starts = np.searchsorted(place[cell][order], np.arange(len(curve) + 1))
        windows = [
            Window(int(row[n]) * edge, int(col[n]) * edge, edge, edge).intersection(inside)
            for n in curve
        ]
        return shape[owner[order]], starts, windows


class _Tally:
    """What is known of every polygon when all cells are through."""

    def __init__(self, count: int) -> None:
        self.fragments = np.zeros(count, np.int32)
        self.pixels = np.zeros(count, np.int64)
        self.total = np.zeros(count, np.float64)
        self.last = np.full(count, -1, np.int32)
        self._first = np.full(count, -1, np.int32)
        self._peaks = Peaks()
        self._parts: list[tuple[Ints, Longs, Floats]] = []

    def add(self, cell: int, runs: Runs) -> None:
        """Take a cell."""
        starts = runs.starts[:-1]
        lengths = runs.length.astype(np.int64)
        pixels = np.add.reduceat(lengths, starts)
        self._parts.append(
            (runs.polygon, runs.square, np.add.reduceat(runs.weight * lengths, starts))
        )
        np.add.at(self.fragments, runs.polygon, 1)
        np.add.at(self.pixels, runs.polygon, pixels)
        self.last[runs.polygon] = cell
        fresh = runs.polygon[self._first[runs.polygon] < 0]
        self._first[fresh] = cell
        self._peaks = Peaks(
            max(self._peaks.pixels, int(pixels.sum())),
            max(self._peaks.fragments, len(pixels)),
        )

    def finish(self) -> Peaks:
        """Sum up in the order of the squares; return what was pending at most too."""
        if not self._parts:
            return self._peaks
        polygon, square, weight = (
            np.concatenate(arrays) for arrays in zip(*self._parts, strict=True)
        )
        order = np.lexsort((square, polygon))
        np.add.at(self.total, polygon[order], weight[order])
        late = np.flatnonzero(self.last > self._first)
        return replace(
            self._peaks,
            pending_pixels=self._most_open(late, self.pixels),
            pending_fragments=self._most_open(late, self.fragments),
        )

    def _most_open(self, late: Longs, amount: NDArray[Any]) -> int:
        """Return the largest sum of what some polygons have from their first to their last cell."""
        steps = np.zeros(int(self.last.max()) + 1, np.int64)
        np.add.at(steps, self._first[late], amount[late])
        np.add.at(steps, self.last[late], -amount[late].astype(np.int64))
        return int(np.cumsum(steps).max())


def _batch(runs: Runs) -> pa.RecordBatch:
    columns = [pa.array(a) for a in (runs.row, runs.col, runs.length, runs.weight)]
    struct = pa.StructArray.from_arrays(columns, fields=list(_RUN))
    lists = pa.ListArray.from_arrays(pa.array(runs.starts.astype(np.int32)), struct)
    return pa.record_batch(
        [pa.array(runs.polygon), pa.array(runs.square), lists.cast(_CELL.field("runs").type)],
        schema=_CELL,
    )
