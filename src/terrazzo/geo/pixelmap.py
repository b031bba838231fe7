"""Where the pixels of one grid lie in another: fractional rows and columns of the source.

Convention: integer + 0.5 is a pixel's centre, in rows and columns of the source grid; so the
pixel that contains a coordinate is its floor. Coordinates are computed from the target grid's
own anchor and the absolute row and column: a pixel has the same coordinates, to the bit,
whichever window it is computed in.

With equal CRS they are exact, and a coordinate within 1e-6 pixel of a pixel's border or centre
counts as on it. Otherwise they are interpolated between exact ones, at most 0.1 source pixel
away (`terrazzo.geo.control`), unless exact ones are asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.errors import PlanTooLarge
from terrazzo.geo.control import Control
from terrazzo.geo.coordinates import Footprints, edges, snapped, turn_of, turns, wrapped
from terrazzo.geo.crs import is_geographic
from terrazzo.geo.grid import Grid, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints32 = NDArray[np.int32]

MOST_PIXELS = 2**31 - 1
"""Source pixels that a `Lookup` can number."""


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """For each target pixel, which source pixel contains its centre (nearest neighbour)."""

    window: Window
    """The source pixels that are needed; empty where none is."""
    rows: Ints32
    """(h,) row within `window`, -1 = outside, for separable and coincident maps; else (0,)."""
    cols: Ints32
    """(w,) column within `window`, likewise."""
    index: Ints32
    """(h, w) row * window.width + column within `window`, -1 = outside; (0, 0) where `rows` and
    `cols` say it."""
    direct: bool
    """Whether target pixel (i, j) is pixel (i, j) of `window` and none is outside."""


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
    exact: bool = False
    """Whether every pixel is transformed exactly, though 0.1 source pixel would do."""

    @classmethod
    def between(
        cls, target: Grid, window: Window, source: Grid, *, exact: bool = False
    ) -> PixelMap:
        """Make the map of a window of `target` (absolute rows and columns) into `source`.

        Args:
            target: grid whose pixels are wanted.
            window: which of them.
            source: grid whose pixels there are.
            exact: transform every pixel instead of interpolating within 0.1 source pixel.
        """
        shift = _coincidence(target, source)
        if shift is None:
            return cls(target, window, source, coincident=False, offset=None, exact=exact)
        rows, cols = shift
        first, last = (
            cols - turn_of(source) * int(turns(np.array([col + cols + 0.5]), source)[0])
            for col in (window.col, max(window.col_stop - 1, window.col))
        )
        offset = (rows, first) if first == last else None
        return cls(target, window, source, coincident=True, offset=offset, exact=exact)

    @property
    def separable(self) -> bool:
        """Whether rows depend on rows and columns on columns only (equal CRS)."""
        return self.target.crs == self.source.crs

    @property
    def centres(self) -> tuple[Floats, Floats]:
        """(rows, cols) of the pixel centres: (h,) and (w,) where separable, else both (h, w).

        Not finite where the target pixel has no place in the source's CRS.
        """
        return self.centres_of(0, self.window.height)

    def centres_of(self, first: int, stop: int) -> tuple[Floats, Floats]:
        """Return `centres` of some of the window's rows, counted from its first."""
        if self.separable:
            rows, cols = self._lines
            return rows[first:stop], cols
        return self._control.centres(first, stop)

    @property
    def footprints(self) -> Footprints:
        """What each target pixel covers, for methods that work on areas.

        With equal CRS its edges; otherwise the bounding box of its four transformed corners,
        or of the nominal scale around its centre where a corner has no place or the
        projection is torn within the pixel.
        """
        return self.footprints_of(0, self.window.height)

    def footprints_of(self, first: int, stop: int) -> Footprints:
        """Return `footprints` of some of the window's rows, counted from its first."""
        if self.separable:
            whole = self._line_boxes
            rows = slice(first, stop)
            return Footprints(whole.row_lo[rows], whole.row_hi[rows], whole.col_lo, whole.col_hi)
        return Footprints(*self._control.boxes(first, stop))

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
        if self.separable:
            rows, cols = self._lines
            near_rows = rows[(rows >= within.row) & (rows < within.row_stop)]
            near_cols = cols[(cols >= within.col) & (cols < within.col_stop)]
            low_row, high_row = _extent(near_rows, near_rows)
            low_col, high_col = _extent(near_cols, near_cols)
        else:
            low_row, high_row, low_col, high_col = self._control.bounds(within, areas=False)
        if not (low_row <= high_row and low_col <= high_col):
            return Window(within.row, within.col, 0, 0)
        radii = (0.0, 0.0) if self.coincident else (radius_rows, radius_cols)
        row, row_stop = _taps(low_row, high_row, radii[0])
        col, col_stop = _taps(low_col, high_col, radii[1])
        return Window(row, col, row_stop - row, col_stop - col).intersection(within)

    def lookup(self, within: Window) -> Lookup:
        """Return which source pixel contains each target pixel's centre, as `near` picks it.

        Args:
            within: source pixels that there are; targets centred outside get -1.

        Raises:
            PlanTooLarge: the pixels lie too far apart in the source to be numbered.
        """
        window = self.source_window(0.0, 0.0, within)
        if not self.separable and window.pixels > MOST_PIXELS:
            raise PlanTooLarge(
                f"The {self.window.height} x {self.window.width} pixels need a window of "
                f"{window.height} x {window.width} pixels in the source, where {MOST_PIXELS} can "
                "be numbered. Ask for a smaller window, or one away from a pole."
            )
        none = _fixed(np.zeros(0, dtype=np.int32))
        if self.offset is not None and window.pixels and window.pixels == self.window.pixels:
            counted = _counted(window.height), _counted(window.width)
            return Lookup(window, *counted, none.reshape(0, 0), direct=True)
        if self.separable:
            rows, cols = self._lines
            picked = (
                _picked(rows, window.row, window.height),
                _picked(cols, window.col, window.width),
            )
            direct = all(_counts_up(at) for at in picked)
            return Lookup(window, *picked, none.reshape(0, 0), direct)
        if window.is_empty:
            shape = self.window.height, self.window.width
            index = np.full(shape, -1, dtype=np.int32)
        else:
            index = self._control.indices(window)
        return Lookup(window, none, none, _fixed(index), direct=False)

    def footprint_window(self, within: Window) -> Window:
        """Return the source pixels of `within` that the footprints overlap."""
        if self.window.is_empty:
            return Window(within.row, within.col, 0, 0)
        if self.separable:
            area = self._line_boxes
            near_rows = (area.row_hi > within.row) & (area.row_lo < within.row_stop)
            near_cols = (area.col_hi > within.col) & (area.col_lo < within.col_stop)
            low_row, high_row = _extent(area.row_lo[near_rows], area.row_hi[near_rows])
            low_col, high_col = _extent(area.col_lo[near_cols], area.col_hi[near_cols])
        else:
            low_row, high_row, low_col, high_col = self._control.bounds(within, areas=True)
        if not (low_row <= high_row and low_col <= high_col):
            return Window(within.row, within.col, 0, 0)
        row, row_stop = math.floor(low_row), math.ceil(high_row)
        col, col_stop = math.floor(low_col), math.ceil(high_col)
        return Window(row, col, row_stop - row, col_stop - col).intersection(within)

    @cached_property
    def _control(self) -> Control:
        return Control.around(self.target, self.window, self.source, exact=self.exact)

    @cached_property
    def _lines(self) -> tuple[Floats, Floats]:
        """Rows and columns of the centres, (h,) and (w,), of a separable map."""
        if self.coincident:
            rows, cols = self._coincident_edges()
            return rows[:-1] + 0.5, cols[:-1] + 0.5
        target, source, window = self.target, self.source, self.window
        rows = (source.top - target.ys(window)) / source.pixel_y
        cols = (target.xs(window) - source.left) / source.pixel_x
        return snapped(rows), snapped(wrapped(cols, source))

    @cached_property
    def _line_boxes(self) -> Footprints:
        """Edges of the pixels, (h,) and (w,), of a separable map."""
        if self.coincident:
            rows, cols = self._coincident_edges()
            return Footprints(rows[:-1], rows[:-1] + 1.0, cols[:-1], cols[:-1] + 1.0)
        source, target = self.source, self.target
        xs, ys = edges(target, self.window)
        rows = snapped((source.top - ys) / source.pixel_y)
        cols = (xs - source.left) / source.pixel_x
        centres = (target.xs(self.window) - source.left) / source.pixel_x
        shift = centres - wrapped(centres, source)
        lo, hi = snapped(cols[:-1] - shift), snapped(cols[1:] - shift)
        return Footprints(rows[:-1], rows[1:], lo, hi)

    def _coincident_edges(self) -> tuple[Floats, Floats]:
        rows_cols = _coincidence(self.target, self.source)
        row, col = rows_cols or (0, 0)
        window = self.window.shifted(row, col)
        cols = np.arange(window.col, window.col_stop + 1, dtype=np.float64)
        cols -= turns(cols + 0.5, self.source) * turn_of(self.source)
        return np.arange(window.row, window.row_stop + 1, dtype=np.float64), cols


def _coincidence(target: Grid, source: Grid) -> tuple[int, int] | None:
    """Return (rows, cols) to add to target pixels for source pixels, before any turn."""
    shift = source.offset_of(target)
    if shift is None or not is_geographic(source.crs):
        return shift
    whole_turn = abs(360.0 / source.pixel_x - turn_of(source)) <= 1e-3  # noqa: PLR2004 - pixels
    columns = shift[1] + np.array([0.5, max(target.width, 1) - 0.5])
    return shift if whole_turn or not turns(columns, source).any() else None


def _picked(at: Floats, start: int, size: int) -> Ints32:
    """Return the containing pixel of coordinates, counted from `start`; -1 outside."""
    with np.errstate(invalid="ignore"):
        inside = (at >= start) & (at < start + size)
        return _fixed(np.where(inside, np.floor(at) - start, -1.0).astype(np.int32))


@lru_cache(maxsize=64)
def _counted(size: int) -> Ints32:
    """Return 0, 1, 2 ...; windows of one size share it."""
    return _fixed(np.arange(size, dtype=np.int32))


def _counts_up(at: Ints32) -> bool:
    return bool(at.size and (at == np.arange(at.size)).all())


def _fixed(array: Ints32) -> Ints32:
    array.flags.writeable = False
    return array


def _extent(low: Floats, high: Floats) -> tuple[float, float]:
    """Return least and greatest coordinate; least above greatest where there is none."""
    return float(low.min(initial=math.inf)), float(high.max(initial=-math.inf))


def _taps(low: float, high: float, radius: float) -> tuple[int, int]:
    """Return first and stop of the pixels whose centre is nearer than `radius` to an interval."""
    first = min(math.floor(low), math.floor(low - 0.5 - radius) + 1)
    stop = max(math.floor(high) + 1, math.ceil(high - 0.5 + radius))
    return first, stop
