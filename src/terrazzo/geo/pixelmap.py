"""Where the pixels of one grid lie in another: fractional rows and columns of the source.

Convention: integer + 0.5 is a pixel's centre, in rows and columns of the source grid; so the
pixel that contains a coordinate is its floor. Coordinates are computed per pixel from the
target grid's own anchor and the absolute row and column: a pixel has the same coordinates, to
the bit, whichever window it is computed in.

A coordinate within 1e-6 pixel of a pixel's border or centre counts as on it. Without that, the
last bits of a division decide which of two pixels a lattice of half or double the size takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, crs_object, is_geographic, transformer
from terrazzo.geo.grid import Grid, Window, transform_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Point = tuple[float, float]

SNAP = 1e-6
"""Pixels: nearer than this to a border or centre is on it, as in `Grid.window_of`."""
FINER = 1e-3
"""How much coarser than the target, relatively, an overview may be and still be as fine."""


@dataclass(frozen=True, slots=True, eq=False)
class Footprints:
    """The rectangle of source rows and columns that each target pixel covers."""

    row_lo: Floats
    """Upper edges: (h,) where the map is separable, else (h, w); NaN where there is none."""
    row_hi: Floats
    """Lower edges, same shape."""
    col_lo: Floats
    """Left edges: (w,) where the map is separable, else (h, w); NaN where there is none."""
    col_hi: Floats
    """Right edges, same shape."""


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Source coordinates of the pixels of a target window; make it with `between`.

    A geographic source repeats every 360 degrees: columns are moved by whole turns to where
    the source lies, so that 0 to 360 grids and targets across the antimeridian work. (Its first
    and last column are not neighbours to an interpolation.)
    """

    target: Grid
    """The grid whose pixels are wanted."""
    window: Window
    """The pixels of `target` that are wanted."""
    source: Grid
    """The grid whose pixels there are."""
    coincident: bool
    """Whether target pixels are source pixels, so that nothing has to be interpolated."""
    offset: tuple[int, int] | None
    """(rows, cols) to add to a target pixel for its source pixel, one for the whole window;
    None where the lattices differ, or where the window is cut by the source's turn."""

    @classmethod
    def between(cls, target: Grid, window: Window, source: Grid) -> PixelMap:
        """Make the map of a window of `target` (absolute rows and columns) into `source`."""
        shift = _coincidence(target, source)
        if shift is None:
            return cls(target, window, source, coincident=False, offset=None)
        rows, cols = shift
        first, last = (
            cols - _turn(source) * int(_turns(np.array([col + cols + 0.5]), source)[0])
            for col in (window.col, max(window.col_stop - 1, window.col))
        )
        offset = (rows, first) if first == last else None
        return cls(target, window, source, coincident=True, offset=offset)

    @property
    def separable(self) -> bool:
        """Whether rows depend on rows and columns on columns only (equal CRS)."""
        return self.target.crs == self.source.crs

    @cached_property
    def centres(self) -> tuple[Floats, Floats]:
        """(rows, cols) of the pixel centres: (h,) and (w,) where separable, else both (h, w).

        Not finite where the target pixel has no place in the source's CRS.
        """
        window = self.window
        if self.coincident:
            rows, cols = self._coincident_edges()
            return rows[:-1] + 0.5, cols[:-1] + 0.5
        if self.separable:
            rows = (self.source.top - self.target.ys(window)) / self.source.pixel_y
            cols = (self.target.xs(window) - self.source.left) / self.source.pixel_x
            return _snapped(rows), _snapped(_wrapped(cols, self.source))
        xs, ys = np.meshgrid(self.target.xs(window), self.target.ys(window))
        return _project(xs, ys, self.target, self.source)

    @cached_property
    def footprints(self) -> Footprints:
        """What each target pixel covers, for methods that work on areas.

        With equal CRS its edges; otherwise the bounding box of its four transformed corners,
        or of the nominal scale around its centre where a corner has no place or the
        projection is torn within the pixel.
        """
        if self.coincident:
            rows, cols = self._coincident_edges()
            return Footprints(rows[:-1], rows[:-1] + 1.0, cols[:-1], cols[:-1] + 1.0)
        return self._separable_edges() if self.separable else self._corner_boxes()

    def source_window(self, radius_rows: float, radius_cols: float, within: Window) -> Window:
        """Return the pixels that a kernel of these radii touches, around centres in `within`.

        Args:
            radius_rows: radius of the kernel, source rows; 0 = the containing pixel only.
            radius_cols: likewise, source columns.
            within: source pixels that there are; targets centred outside need nothing.
        """
        if self.offset is not None:
            return self.window.shifted(*self.offset).intersection(within)
        if self.window.is_empty:
            return Window(within.row, within.col, 0, 0)
        rows, cols = self.centres
        near_rows = (rows >= within.row) & (rows < within.row_stop)
        near_cols = (cols >= within.col) & (cols < within.col_stop)
        if not self.separable:
            near_rows = near_cols = near_rows & near_cols
        if not (near_rows.any() and near_cols.any()):
            return Window(within.row, within.col, 0, 0)
        radii = (0.0, 0.0) if self.coincident else (radius_rows, radius_cols)
        row, row_stop = _taps(rows[near_rows], radii[0])
        col, col_stop = _taps(cols[near_cols], radii[1])
        return Window(row, col, row_stop - row, col_stop - col).intersection(within)

    def footprint_window(self, within: Window) -> Window:
        """Return the source pixels of `within` that the footprints overlap."""
        if self.window.is_empty:
            return Window(within.row, within.col, 0, 0)
        area = self.footprints
        near_rows = (area.row_hi > within.row) & (area.row_lo < within.row_stop)
        near_cols = (area.col_hi > within.col) & (area.col_lo < within.col_stop)
        if not self.separable:
            near_rows = near_cols = near_rows & near_cols
        if not (near_rows.any() and near_cols.any()):
            return Window(within.row, within.col, 0, 0)
        row = math.floor(area.row_lo[near_rows].min())
        col = math.floor(area.col_lo[near_cols].min())
        row_stop = math.ceil(area.row_hi[near_rows].max())
        col_stop = math.ceil(area.col_hi[near_cols].max())
        return Window(row, col, row_stop - row, col_stop - col).intersection(within)

    def _coincident_edges(self) -> tuple[Floats, Floats]:
        rows_cols = _coincidence(self.target, self.source)
        row, col = rows_cols or (0, 0)
        window = self.window.shifted(row, col)
        cols = np.arange(window.col, window.col_stop + 1, dtype=np.float64)
        cols -= _turns(cols + 0.5, self.source) * _turn(self.source)
        return np.arange(window.row, window.row_stop + 1, dtype=np.float64), cols

    def _edges(self) -> tuple[Floats, Floats]:
        """Return x of the column edges and y of the row edges of the target window."""
        window, target = self.window, self.target
        cols = np.arange(window.col, window.col_stop + 1, dtype=np.float64)
        rows = np.arange(window.row, window.row_stop + 1, dtype=np.float64)
        return target.left + cols * target.pixel_x, target.top - rows * target.pixel_y

    def _separable_edges(self) -> Footprints:
        source, target = self.source, self.target
        xs, ys = self._edges()
        rows = _snapped((source.top - ys) / source.pixel_y)
        cols = (xs - source.left) / source.pixel_x
        centres = (target.xs(self.window) - source.left) / source.pixel_x
        shift = centres - _wrapped(centres, source)
        lo, hi = _snapped(cols[:-1] - shift), _snapped(cols[1:] - shift)
        return Footprints(rows[:-1], rows[1:], lo, hi)

    def _corner_boxes(self) -> Footprints:
        rows, cols = self.centres
        corner_rows, corner_cols = _project(*np.meshgrid(*self._edges()), self.target, self.source)
        box = [
            np.stack([c[:-1, :-1], c[:-1, 1:], c[1:, :-1], c[1:, 1:]])
            for c in (corner_rows, corner_cols)
        ]
        with np.errstate(invalid="ignore"):
            if is_geographic(self.source.crs):
                turn = 360.0 / self.source.pixel_x
                box[1] = _snapped(box[1] + np.round((cols - box[1]) / turn) * turn)
            lows, highs = [b.min(axis=0) for b in box], [b.max(axis=0) for b in box]
            whole = np.isfinite(rows) & np.isfinite(cols)
            for b, low, high, centre in zip(box, lows, highs, (rows, cols), strict=True):
                # In a smooth map the corners' mean is the centre; a tear moves it away.
                whole &= np.abs(b.mean(axis=0) - centre) <= 0.2 * (high - low) + SNAP
        torn = np.flatnonzero(~whole)
        nominal = scale_between(self.target, self.source) if torn.size else (1.0, 1.0)
        for low, high, centre, size in zip(lows, highs, (rows, cols), nominal, strict=True):
            middle = np.where(np.isfinite(rows) & np.isfinite(cols), centre, np.nan).flat[torn]
            low.flat[torn], high.flat[torn] = middle - size / 2, middle + size / 2
        return Footprints(lows[0], highs[0], lows[1], highs[1])


@lru_cache(maxsize=4096)
def scale_between(target: Grid, source: Grid) -> tuple[float, float]:
    """Return source pixels per target pixel, (rows, cols): above 1 the target is coarser.

    A property of the two lattices, never of a window, so that all blocks agree. With equal
    CRS the ratio of the pixel sizes. Otherwise the length of a target pixel's two sides in
    source rows and in source columns (root of the sum of squares, so that a rotation alone
    gives 1), measured at the source grid's centre. Where that lies outside the area for which
    the target's CRS is made, it is measured at the centre of what source and area share;
    where nothing is finite, the ratio of both grids' approximate pixel size in metres.
    """
    if target.crs == source.crs:
        return target.pixel_y / source.pixel_y, target.pixel_x / source.pixel_x
    for x, y in _places(target, source):
        step_x, step_y = 0.05 * target.pixel_x, 0.05 * target.pixel_y
        xs = np.array([[x - step_x, x + step_x, x, x]])
        ys = np.array([[y, y, y - step_y, y + step_y]])
        scales = []
        for at in _project(xs, ys, target, source, snap=False):
            with np.errstate(invalid="ignore"):
                scales.append(math.hypot(at[0, 1] - at[0, 0], at[0, 3] - at[0, 2]) / 0.1)
        if all(math.isfinite(scale) and scale > 0 for scale in scales):
            return scales[0], scales[1]
    ratio = target.pixel_metres / source.pixel_metres
    return ratio, ratio


def overview_for(target: Grid, source: Grid, factors: Sequence[tuple[float, float]]) -> int:
    """Return the coarsest overview that is still at least as fine as the target.

    Args:
        target: grid that is wanted; only its lattice matters.
        source: grid of the full resolution.
        factors: (row factor, column factor) of each level, level 0 = full resolution = (1, 1);
            in any order after that.

    Returns:
        The level, 0 where no overview is fine enough (a tolerance of 0.1 % is given).

    Raises:
        ArgumentInvalid: no level is given.
    """
    if not factors:
        raise ArgumentInvalid("A source has at least level 0: give factors=[(1.0, 1.0), ...].")
    rows, cols = (scale * (1 + FINER) for scale in scale_between(target, source))
    fine = [i for i, factor in enumerate(factors) if factor[0] <= rows and factor[1] <= cols]
    return max(fine, key=lambda level: factors[level][0] * factors[level][1], default=0)


def _places(target: Grid, source: Grid) -> Iterator[Point]:
    """Yield where to measure the scale, target coordinates, best first."""
    left, bottom, right, top = source.bounds
    points = [((left + right) / 2, (bottom + top) / 2, source.crs)]
    shared = _shared_centre(target, source)
    if shared is not None:
        points.insert(0, (*shared, WGS84))
    for x, y, crs in points:
        at = transformer(crs, target.crs).transform(x, y)
        if all(math.isfinite(v) for v in at):
            yield at


def _shared_centre(target: Grid, source: Grid) -> Point | None:
    """Return the centre (degrees) of source and target area, None if the source's own serves."""
    area = crs_object(target.crs).area_of_use
    west, south, east, north = transform_bounds(source.bounds, source.crs, WGS84)
    if area is None or not (math.isfinite(west) and west < east and south < north):
        return None
    area_east = area.east + (360.0 if area.east < area.west else 0.0)
    spans = [
        (min(east, area_east + turn) - max(west, area.west + turn), turn)
        for turn in (-360.0, 0.0, 360.0)
    ]
    width, turn = max(spans)
    low, high = max(south, area.south), min(north, area.north)
    if width <= 0 or low >= high:
        return None
    area_west, area_east = max(west, area.west + turn), min(east, area_east + turn)
    lon, lat = (west + east) / 2, (south + north) / 2
    if area_west <= lon <= area_east and low <= lat <= high:
        return None
    return (area_west + area_east) / 2, (low + high) / 2


def _coincidence(target: Grid, source: Grid) -> tuple[int, int] | None:
    """Return (rows, cols) to add to target pixels for source pixels, before any turn."""
    shift = source.offset_of(target)
    if shift is None or not is_geographic(source.crs):
        return shift
    whole_turn = abs(360.0 / source.pixel_x - _turn(source)) <= 1e-3  # noqa: PLR2004 - pixels
    columns = shift[1] + np.array([0.5, max(target.width, 1) - 0.5])
    return shift if whole_turn or not _turns(columns, source).any() else None


def _turn(source: Grid) -> int:
    """Return the whole columns of 360 degrees."""
    return round(360.0 / source.pixel_x) if is_geographic(source.crs) else 0


def _turns(cols: Floats, source: Grid) -> Floats:
    """Return how many turns each column lies right of the one that the source lies in.

    That one begins at the source's left edge, or half of what the source lacks to 360 degrees
    before it, so that pixels just outside a regional grid stay beside it on either side.
    """
    if not is_geographic(source.crs):
        return np.zeros_like(cols)
    turn = 360.0 / source.pixel_x
    begin = min(0.0, (source.width - turn) / 2)
    with np.errstate(invalid="ignore"):
        turns: Floats = np.floor((cols - begin + SNAP) / turn)
    return turns


def _wrapped(cols: Floats, source: Grid) -> Floats:
    turns = _turns(cols, source)
    if not turns.any():
        return cols
    with np.errstate(invalid="ignore"):
        return cols - turns * (360.0 / source.pixel_x)


def _snapped(values: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        halves = np.round(values * 2.0) / 2.0
        return np.where(np.abs(values - halves) <= SNAP, halves, values)


def _project(
    xs: Floats, ys: Floats, target: Grid, source: Grid, *, snap: bool = True
) -> tuple[Floats, Floats]:
    """Return (rows, cols) of points of the target's CRS in the source; NaN where undefined."""
    x, y = transformer(target.crs, source.crs).transform(xs, ys)
    with np.errstate(invalid="ignore"):
        rows = (source.top - np.asarray(y, dtype=np.float64)) / source.pixel_y
        cols = _wrapped((np.asarray(x, dtype=np.float64) - source.left) / source.pixel_x, source)
        lost = ~(np.isfinite(rows) & np.isfinite(cols))
    rows[lost] = cols[lost] = np.nan
    return (_snapped(rows), _snapped(cols)) if snap else (rows, cols)


def _taps(at: Floats, radius: float) -> tuple[int, int]:
    """Return first and stop of the pixels whose centre is nearer than `radius` to a point."""
    low, high = float(at.min()), float(at.max())
    first = min(math.floor(low), math.floor(low - 0.5 - radius) + 1)
    stop = max(math.floor(high) + 1, math.ceil(high - 0.5 + radius))
    return first, stop
