"""Swaths onto grids: which grid fits, and which pixel of the swath each cell of it takes.

A cell takes the pixel whose footprint (`geo.swath`) holds its centre; where footprints overlap, the
nearest. It is computed by parts of the grid and of the swath, and kept in a file without a name,
so that memory grows with neither.
"""

from __future__ import annotations

import math
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, is_geographic, transformer
from terrazzo.geo.grid import METRES_PER_DEGREE, Bounds, Grid, Window
from terrazzo.geo.swath import (
    EARTH_M,
    HALO,
    Choice,
    caps,
    corners,
    half_steps,
    reaches,
    sizes,
    unit_vectors,
)
from terrazzo.geo.swath_outline import SwathOutline
from terrazzo.storage.arrays.swath_corners import by_corners
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.storage.arrays.swath import Positions

    Floats = NDArray[np.float64]
    Ints32 = NDArray[np.int32]

MOST_CELLS: Final = 2_000_000_000
"""Cells of a grid; more is a mistake in the positions or the resolution."""
MOST_PIXELS: Final = 2**31 - 2
"""Pixels of a swath that can be numbered."""
MOST_COLUMNS: Final = 1_000_000
"""Columns of a swath; some rows must fit into memory."""
_FARTHEST_KM: Final = 1000.0
"""Pixels that are farther from each other are none of a swath."""
_ROWS: Final = 128
"""Rows of a swath that are looked at together, at most."""
_PIXELS: Final = 1 << 17
"""Pixels of a swath that are looked at together, about."""
_COLS: Final = 256
"""Columns of a swath whose place is known together."""
_HIGH, _WIDE = 1024, 2048
"""Rows and columns of the grid that are looked at together."""
_TURNS: Final = (-2, -1, 0, 1, 2)
_SAMPLES: Final = 16
_BYTES: Final = 4
_WIDEST: Final = 16.0
"""A pixel at the edge of a swath is at most that many times as wide as one below the satellite."""
_STEPS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Sizes of pixels to choose from, times a power of ten; a whole number of each is 360 degrees."""
_TOLERANCE: Final = 1.05
_TURN, _HALF_TURN, _QUARTER = 360.0, 180.0, 90.0
_BINS: Final = 3600
_SMALLEST_GAP: Final = 50
"""Bins of longitude that must be free for a grid not to go round the whole Earth."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of pixels of a swath, and the box that they reach."""

    first: int
    """First row; tiles of the same first row have the same rows."""
    stop: int
    """Row after the last."""
    col: int
    """First column."""
    col_stop: int
    """Column after the last."""
    box: Bounds
    """Left, bottom, right, top in CRS units."""

    def meets(self, bounds: Bounds, turn: float) -> bool:
        """Tell whether it may reach into bounds, on a map that repeats itself after a turn."""
        left, bottom, right, top = self.box
        return (
            bottom <= bounds[3]
            and top >= bounds[1]
            and any(left + k * turn <= bounds[2] and right + k * turn >= bounds[0] for k in _TURNS)
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The grid that a swath is brought to, and which part of it the rows of the swath reach."""

    grid: Grid
    """It."""
    longest: float
    """Length that no step between pixels can have, see `geo.swath.half_steps`."""
    tiles: tuple[Tile, ...]
    """Its pixels, by where they are."""
    outline: Mapping[str, Any] | None
    """GeoJSON geometry in degrees that holds the swath; None on a grid that is not in degrees."""


def lay_out(positions: Positions, crs: str = "", resolution: float = 0.0) -> Layout:
    """Choose the grid of a swath.

    Args:
        positions: of its pixels.
        crs: of the grid; empty is EPSG:4326.
        resolution: edge of its cells, CRS units; 0 chooses one that is near the pixels below the
            satellite, not larger, and the same for all orbits.

    Raises:
        ArgumentInvalid: no pixel has a footprint, or the grid would have too many cells.
        SourceUnreadable: the file is damaged.
    """
    rows, cols = positions.shape
    if min(rows, cols) < 2:  # noqa: PLR2004 - neighbours in both directions
        raise ArgumentInvalid(
            f"its swath has {rows} x {cols} pixels, and how far one reaches is seen from its "
            "neighbours. Join it with the files beside it first."
        )
    if rows * cols > MOST_PIXELS or cols > MOST_COLUMNS:
        raise ArgumentInvalid(f"its swath has {rows} x {cols} pixels, more than can be numbered.")
    target = crs or WGS84
    nadir = _nadir(positions)
    pixel = resolution or _usual(nadir * EARTH_M, target)
    longest = nadir * _WIDEST
    found, tiles = _Extent(target), []
    outline = SwathOutline(rows, cols)
    for first, stop in _parts(rows, cols):
        boxes = _footprints(positions, (first, stop), (0, cols), longest, target)[1]
        outline.add(first, boxes)
        for col in range(0, cols, _COLS):
            part = boxes[:, col : col + _COLS].reshape(-1, 4)
            part = part[np.isfinite(part).all(axis=-1)]
            if len(part):
                found.add(part)
                low, high = part.min(axis=0).tolist(), part.max(axis=0).tolist()
                box = low[0], low[2], high[1], high[3]
                tiles.append(Tile(first, stop, col, min(col + _COLS, cols), box))
    if not tiles:
        raise ArgumentInvalid(
            f"none of its {rows} x {cols} pixels has a place on the ground in {target[:40]}."
        )
    bounds = found.bounds
    cells = (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]) / pixel**2
    if not cells <= MOST_CELLS:
        raise ArgumentInvalid(
            f"the grid of its swath would have {cells:.3g} cells of {pixel:g} in {target[:40]}. "
            "State a coarser one with --resolution, or a --crs that fits its place."
        )
    grid = Grid.of_bounds(target, bounds, pixel)
    geometry = outline.geometry() if is_geographic(target) else None
    return Layout(grid, longest, tuple(tiles), geometry)


class _Extent:
    """The bounds of what is reached: in degrees across the antimeridian where that is shorter."""

    def __init__(self, crs: str) -> None:
        self._turns = is_geographic(crs)
        self._x, self._y = [math.inf, -math.inf], [math.inf, -math.inf]
        self._taken = np.zeros(_BINS, np.bool_)
        self._starts, self._ends = np.full(_BINS, np.inf), np.full(_BINS, -np.inf)

    def add(self, boxes: Floats) -> None:
        """Take in boxes: least and greatest x, least and greatest y."""
        self._y = [min(self._y[0], boxes[:, 2].min()), max(self._y[1], boxes[:, 3].max())]
        self._x = [min(self._x[0], boxes[:, 0].min()), max(self._x[1], boxes[:, 1].max())]
        if not self._turns:
            return
        width = boxes[:, 1] - boxes[:, 0]
        low = boxes[:, 0] % _TURN * (_BINS / _TURN)
        high = low + width * (_BINS / _TURN)
        first, last = np.floor(low).astype(np.int64) % _BINS, np.floor(high).astype(np.int64)
        np.minimum.at(self._starts, first, low % _BINS)
        np.maximum.at(self._ends, last % _BINS, high % _BINS)
        marks = np.zeros(3 * _BINS + 1, np.int64)
        np.add.at(marks, first, 1)
        np.add.at(marks, np.minimum(first + (last - np.floor(low).astype(np.int64)), 3 * _BINS - 1)
                  + 1, -1)  # fmt: skip
        self._taken |= (np.cumsum(marks)[: 3 * _BINS].reshape(3, _BINS) > 0).any(axis=0)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top."""
        if not self._turns:
            return self._x[0], self._y[0], self._x[1], self._y[1]
        bottom, top = max(self._y[0], -_QUARTER), min(self._y[1], _QUARTER)
        free = np.flatnonzero(~self._taken)
        if free.size == 0:
            return -_HALF_TURN, bottom, _HALF_TURN, top
        taken = np.flatnonzero(self._taken)
        gaps = np.diff(np.append(taken, taken[0] + _BINS)) - 1
        if gaps.max() < _SMALLEST_GAP:
            return -_HALF_TURN, bottom, _HALF_TURN, top
        at = int(gaps.argmax())
        end, start = int(taken[at]), int(taken[(at + 1) % len(taken)])
        size = _TURN / _BINS
        west = float(self._starts[start]) * size
        east = float(self._ends[end]) * size
        west -= _TURN * (west >= _HALF_TURN)
        east += _TURN * math.ceil((west - east) / _TURN)
        return west, bottom, east, top


def _parts(rows: int, cols: int) -> Iterator[tuple[int, int]]:
    step = max(min(_ROWS, _PIXELS // cols), 1)
    for first in range(0, rows, step):
        yield first, min(first + step, rows)


def _places(positions: Positions, first: int, stop: int) -> tuple[Floats, Floats]:
    """Return longitudes and latitudes of some rows; NaN where one of both is none."""
    longitudes, latitudes = positions.read(first, stop)
    with np.errstate(invalid="ignore"):
        there = (np.abs(latitudes) <= _QUARTER) & (np.abs(longitudes) <= _TURN)
    return np.where(there, longitudes, np.nan), np.where(there, latitudes, np.nan)


def _nadir(positions: Positions) -> float:
    """Return the size of the smallest pixels of a swath, chord.

    Raises:
        ArgumentInvalid: no two pixels are at different places, or latitudes are none.
    """
    rows = positions.shape[0]
    found: list[Floats] = []
    for first in np.unique(np.linspace(0, max(rows - _SAMPLES, 0), _SAMPLES).astype(int)).tolist():
        stop = min(first + _SAMPLES, rows)
        _refuse_swapped(*positions.read(first, stop))
        vectors = unit_vectors(*_places(positions, first, stop))
        found.append(sizes(half_steps(vectors, 0, stop - first)).ravel())
    every = np.concatenate(found)
    every = every[np.isfinite(every)]
    if not every.size or not np.percentile(every, 10) > 0:
        raise ArgumentInvalid(
            "its latitudes and longitudes are all missing or all the same. Get the file again."
        )
    found_km = float(np.percentile(every, 10)) * EARTH_M / 1000
    if found_km > _FARTHEST_KM:
        raise ArgumentInvalid(
            f"its pixels are some {found_km:.0f} km from the next one, so its latitudes and "
            "longitudes are no positions of a swath. Get the file again."
        )
    return float(np.percentile(every, 10))


def _refuse_swapped(longitudes: Floats, latitudes: Floats) -> None:
    """Refuse latitudes that are none, while the longitudes could be some.

    Raises:
        ArgumentInvalid: they are swapped, as it seems.
    """
    with np.errstate(invalid="ignore"):
        wrong = (np.abs(latitudes) > _QUARTER) & (np.abs(latitudes) <= _TURN)
        wrong &= np.abs(longitudes) <= _QUARTER
    if wrong.any() and wrong.sum() * 2 > np.isfinite(latitudes).sum():
        raise ArgumentInvalid(
            f"its latitudes reach {float(np.abs(latitudes[wrong]).max()):g} degrees, so latitudes "
            "and longitudes are swapped, as it seems. Rename the variables."
        )


def _usual(metres: float, crs: str) -> float:
    """Return a round size of pixels in the units of a CRS, not much above one in metres."""
    size = metres / (METRES_PER_DEGREE if is_geographic(crs) else 1.0) * _TOLERANCE
    power = 10.0 ** math.floor(math.log10(size))
    found = max(step for step in _STEPS if step <= size / power * (1 + 1e-12))
    return float(f"{found * power:.6g}")


def _footprints(
    positions: Positions,
    rows: tuple[int, int],
    cols: tuple[int, int],
    longest: float,
    crs: str,
) -> tuple[Floats, Floats, Floats]:
    """Return unit vectors, boxes and half-steps of the pixels of some rows and columns.

    Boxes are least and greatest x, least and greatest y in CRS units; NaN without footprint.
    """
    start, left = max(rows[0] - HALO, 0), max(cols[0] - HALO, 0)
    stop, right = min(rows[1] + HALO, positions.shape[0]), cols[1] + HALO
    longitudes, latitudes = _places(positions, start, stop)
    around = unit_vectors(longitudes[:, left:right], latitudes[:, left:right])
    down, across = slice(rows[0] - start, rows[1] - start), slice(cols[0] - left, cols[1] - left)
    halves = half_steps(around, down.start, down.stop, longest)[:, across]
    vectors = around[down, across]
    told = positions.corners(*rows)
    if told is not None:
        halves = by_corners(halves, vectors, told[:, slice(*cols)])
    if is_geographic(crs):
        here = down, slice(*cols)
        boxes = caps(longitudes[here], latitudes[here], reaches(halves))
        return vectors, boxes, halves
    x, y = transformer(WGS84, crs).transform(*corners(vectors, halves))
    good = np.isfinite(x).all(axis=-1) & np.isfinite(y).all(axis=-1)
    x, y = np.where(good[..., None], x, np.nan), np.where(good[..., None], y, np.nan)
    low, high = np.stack([x.min(-1), y.min(-1)]), np.stack([x.max(-1), y.max(-1)])
    more = (high - low) * 0.05  # edges that are straight on the ground bulge on a map
    low, high = low - more, high + more
    return vectors, np.stack([low[0], high[0], low[1], high[1]], axis=-1), halves


class Chosen:
    """Which pixel of a swath each cell of its grid takes; numbers from 1, 0 is none."""

    def __init__(self, file: IO[bytes], grid: Grid, columns: int) -> None:
        self._file, self._grid, self._columns = file, grid, columns
        file.truncate(2 * _BYTES * grid.height * grid.width)

    def keep(self, window: Window, found: Choice) -> None:
        """Keep what is chosen for a part of the grid; where nothing is, no disk is used."""
        for plane, part in enumerate((found.first, found.second)):
            for row in np.flatnonzero(part.any(axis=1)).tolist():
                self._file.seek(self._at(plane, window.row + row, window.col))
                self._file.write(part[row].tobytes())

    def read(self, row: int, stop: int) -> tuple[Ints32, Ints32]:
        """Return (h, w) numbers of the nearest pixel and of the one to take if that has no data."""
        return self._read(0, row, stop), self._read(1, row, stop)

    def _read(self, plane: int, row: int, stop: int) -> Ints32:
        self._file.seek(self._at(plane, row, 0))
        found = self._file.read((stop - row) * self._grid.width * _BYTES)
        return np.frombuffer(found, np.int32).reshape(stop - row, self._grid.width)

    def _at(self, plane: int, row: int, col: int) -> int:
        return ((plane * self._grid.height + row) * self._grid.width + col) * _BYTES

    def rows_of(self, numbers: Ints32) -> tuple[int, int]:
        """Return the rows of the swath that numbers are of: first, and the one after the last."""
        known = numbers[numbers > 0]
        if not known.size:
            return 0, 0
        return int(known.min() - 1) // self._columns, int(known.max() - 1) // self._columns + 1


@contextmanager
def choose(positions: Positions, layout: Layout, folder: Path) -> Iterator[Chosen]:
    """Find the pixel of each cell.

    Args:
        positions: of the swath.
        layout: its grid, of `lay_out`.
        folder: where a file without a name is kept meanwhile, 4 to 8 bytes per cell that is taken.

    Raises:
        OutputFailed: the disk is full.
        SourceUnreadable: the file is damaged.
    """
    grid = layout.grid
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            found = Chosen(file, grid, positions.shape[1])
            for row in range(0, grid.height, _HIGH):
                for col in range(0, grid.width, _WIDE):
                    window = Window(row, col, _HIGH, _WIDE).intersection(grid.window)
                    if (choice := _chosen(positions, layout, window)) is not None:
                        found.keep(window, choice)
            file.flush()
        except OSError as error:
            raise output_failed(folder / "swath", error) from error
        yield found


def _chosen(positions: Positions, layout: Layout, window: Window) -> Choice | None:
    """Find the pixels of a part of the grid; None where there are none."""
    grid, bounds = layout.grid, layout.grid.bounds_of(window)
    turn = _TURN if is_geographic(grid.crs) else 0.0
    touched: dict[tuple[int, int], list[Tile]] = {}
    for tile in layout.tiles:
        if tile.meets(bounds, turn):
            touched.setdefault((tile.first, tile.stop), []).append(tile)
    if not touched:
        return None
    found, cells = Choice.of(window.height, window.width), _cells(grid, window)
    left, top = bounds[0] + grid.pixel_x / 2, bounds[3] - grid.pixel_y / 2
    for rows, tiles in touched.items():
        cols = min(tile.col for tile in tiles), max(tile.col_stop for tile in tiles)
        vectors, boxes, halves = _footprints(positions, rows, cols, layout.longest, grid.crs)
        places = np.stack(
            [
                (boxes[..., 0] - left) / grid.pixel_x,
                (boxes[..., 1] - left) / grid.pixel_x,
                (top - boxes[..., 3]) / grid.pixel_y,
                (top - boxes[..., 2]) / grid.pixel_y,
            ],
            axis=-1,
        )
        columns = positions.shape[1]
        found.offer(
            cells, vectors, halves, places, (rows[0] * columns + cols[0], columns),
            turn / grid.pixel_x,
        )  # fmt: skip
    return found


def _cells(grid: Grid, window: Window) -> Floats:
    """Return (h, w, 3) unit vectors of the centres of cells; NaN where there is no place."""
    if is_geographic(grid.crs):
        east, north = np.radians(grid.xs(window)), np.radians(grid.ys(window))
        north[np.abs(north) > np.pi / 2] = np.nan
        found = np.empty((window.height, window.width, 3))
        found[..., 0] = np.cos(north)[:, None] * np.cos(east)
        found[..., 1] = np.cos(north)[:, None] * np.sin(east)
        found[..., 2] = np.sin(north)[:, None]
        return found
    mesh = np.meshgrid(grid.xs(window), grid.ys(window))
    x, y = (np.asarray(one) for one in transformer(grid.crs, WGS84).transform(*mesh))
    there = np.isfinite(x) & np.isfinite(y)
    return unit_vectors(np.where(there, x, np.nan), np.where(there, y, np.nan))
