"""Grids and windows: where pixels lie, counted in whole pixels of one lattice.

A `Grid` is anchored once; everything smaller is a `Window` of whole rows and columns of it.
Coordinates are always computed from the grid's own anchor and the absolute row and column,
never from a block's corner, so that a pixel has the same coordinates, to the bit, whichever
window it is computed in. That is what makes a tile equal to a batch block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty
from terrazzo.geo.crs import WGS84, crs_name, is_geographic, transformer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top), CRS units."""

METRES_PER_DEGREE = 111_320.0
"""Of a meridian or the equator, approximately."""
SAME_PLACE = 1e-3
"""Pixels that lie less than this share of a pixel apart are one pixel."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels of a grid; rows go down, and may lie outside the grid."""

    row: int
    """First row."""
    col: int
    """First column."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""

    @property
    def row_stop(self) -> int:
        """The row after the last one."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """The column after the last one."""
        return self.col + self.width

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def is_empty(self) -> bool:
        """Whether there is no pixel in it."""
        return self.height <= 0 or self.width <= 0

    def grown(self, rows: int, cols: int) -> Window:
        """Return the window with a halo of `rows` and `cols` pixels on each side."""
        return Window(
            self.row - rows, self.col - cols, self.height + 2 * rows, self.width + 2 * cols
        )

    def intersection(self, other: Window) -> Window:
        """Return what both windows share; without any pixel where they share none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row_stop, other.row_stop) - row
        width = min(self.col_stop, other.col_stop) - col
        return Window(row, col, max(height, 0), max(width, 0))

    def union(self, other: Window) -> Window:
        """Return the smallest window that holds both; an empty one adds nothing."""
        if self.is_empty or other.is_empty:
            return other if self.is_empty else self
        row, col = min(self.row, other.row), min(self.col, other.col)
        return Window(
            row,
            col,
            max(self.row_stop, other.row_stop) - row,
            max(self.col_stop, other.col_stop) - col,
        )

    def contains(self, other: Window) -> bool:
        """Tell whether every pixel of `other` is in this window."""
        return other.is_empty or self.intersection(other) == other

    def shifted(self, rows: int, cols: int) -> Window:
        """Return the window moved down by `rows` and right by `cols`."""
        return replace(self, row=self.row + rows, col=self.col + cols)

    def slices(self, inner: Window) -> tuple[slice, slice]:
        """Return the array slices that cut `inner` out of an array of this window."""
        row, col = inner.row - self.row, inner.col - self.col
        return slice(row, row + inner.height), slice(col, col + inner.width)

    def blocks(self, edge: int) -> Iterator[Window]:
        """Yield blocks of `edge` pixels in row order, the last ones cut at the border."""
        for row in range(self.row, self.row_stop, edge):
            for col in range(self.col, self.col_stop, edge):
                yield Window(
                    row, col, min(edge, self.row_stop - row), min(edge, self.col_stop - col)
                )


@dataclass(frozen=True, slots=True)
class Grid:
    """A lattice of square-cornered, north-up pixels: CRS, anchor, pixel size and shape."""

    crs: str
    """Canonical name: `EPSG:n`, or WKT2 (see `terrazzo.geo.crs`)."""
    left: float
    """x of the left edge of column 0, CRS units."""
    top: float
    """y of the upper edge of row 0, CRS units."""
    pixel_x: float
    """Width of a pixel, CRS units, positive."""
    pixel_y: float
    """Height of a pixel, CRS units, positive; y falls as rows go down."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""

    @classmethod
    def of(
        cls,
        crs: str | int,
        left: float,
        top: float,
        pixel: float | tuple[float, float],
        height: int,
        width: int,
    ) -> Grid:
        """Make a checked grid; `pixel` is one edge length or (width, height) in CRS units.

        Raises:
            ArgumentInvalid: unknown CRS, or a pixel size or shape that is not positive.
        """
        pixel_x, pixel_y = pixel if isinstance(pixel, tuple) else (pixel, pixel)
        numbers = (left, top, pixel_x, pixel_y)
        if not all(math.isfinite(v) for v in numbers) or pixel_x <= 0 or pixel_y <= 0:
            raise ArgumentInvalid(f"A grid needs finite edges and a pixel size > 0, not {numbers}.")
        if height < 0 or width < 0:
            raise ArgumentInvalid(f"A grid cannot have {height} x {width} pixels.")
        return cls(
            crs_name(crs), float(left), float(top), float(pixel_x), float(pixel_y), height, width
        )

    @classmethod
    def of_bounds(cls, crs: str | int, bounds: Bounds, pixel: float | tuple[float, float]) -> Grid:
        """Make the grid that covers bounds, edges on multiples of the pixel size (CRS origin).

        Raises:
            SpatialExtentEmpty: the bounds hold no area.
        """
        left, bottom, right, top = bounds
        if not (right > left and top > bottom):
            raise SpatialExtentEmpty(
                f"The extent {bounds} is empty. Give (left, bottom, right, top) with left < right "
                "and bottom < top."
            )
        size = pixel if isinstance(pixel, tuple) else (pixel, pixel)
        base = cls.of(crs, 0.0, 0.0, size, 0, 0)
        window = base.window_of(bounds)
        return cls(
            base.crs,
            window.col * base.pixel_x,
            -window.row * base.pixel_y,
            base.pixel_x,
            base.pixel_y,
            window.height,
            window.width,
        )

    @property
    def window(self) -> Window:
        """All pixels of the grid."""
        return Window(0, 0, self.height, self.width)

    @property
    def bounds(self) -> Bounds:
        """(left, bottom, right, top) of the whole grid, CRS units."""
        return self.bounds_of(self.window)

    def bounds_of(self, window: Window) -> Bounds:
        """Return (left, bottom, right, top) of a window, CRS units."""
        return (
            self.left + window.col * self.pixel_x,
            self.top - window.row_stop * self.pixel_y,
            self.left + window.col_stop * self.pixel_x,
            self.top - window.row * self.pixel_y,
        )

    def crop(self, window: Window) -> Grid:
        """Return the window as a grid of its own, for writing files; not for computing."""
        left, _, _, top = self.bounds_of(window)
        return replace(self, left=left, top=top, height=window.height, width=window.width)

    def window_of(self, bounds: Bounds, *, centres: bool = False) -> Window:
        """Return the pixels that bounds touch, or with `centres` those whose centre is inside.

        An edge within 1e-6 pixel of a pixel border counts as on it. With `centres`, all edges
        belong to the bounds, as openEO has it (a centre on an edge intersects the box).
        """
        left, bottom, right, top = bounds
        col0, col1 = (left - self.left) / self.pixel_x, (right - self.left) / self.pixel_x
        row0, row1 = (self.top - top) / self.pixel_y, (self.top - bottom) / self.pixel_y
        if centres:
            first_col, stop_col = _ceil(col0 - 0.5), _floor(col1 - 0.5) + 1
            first_row, stop_row = _ceil(row0 - 0.5), _floor(row1 - 0.5) + 1
        else:
            first_col, stop_col = _floor(col0), _ceil(col1)
            first_row, stop_row = _floor(row0), _ceil(row1)
        return Window(
            first_row, first_col, max(stop_row - first_row, 0), max(stop_col - first_col, 0)
        )

    def xs(self, window: Window) -> NDArray[np.float64]:
        """Return x of the pixel centres of a window's columns."""
        cols = np.arange(window.col, window.col_stop, dtype=np.float64)
        return self.left + (cols + 0.5) * self.pixel_x

    def ys(self, window: Window) -> NDArray[np.float64]:
        """Return y of the pixel centres of a window's rows."""
        rows = np.arange(window.row, window.row_stop, dtype=np.float64)
        return self.top - (rows + 0.5) * self.pixel_y

    def offset_of(self, other: Grid) -> tuple[int, int] | None:
        """Return (rows, cols) at which `other`'s pixel (0, 0) lies here, None if off the lattice.

        Pixel sizes may differ by 1e-9 of themselves and positions by 1e-3 pixel: more is a
        different lattice, and pixels must be resampled.
        """
        if self.crs != other.crs:
            return None
        extent = max(self.height, self.width, other.height, other.width, 1)
        for mine, theirs in ((self.pixel_x, other.pixel_x), (self.pixel_y, other.pixel_y)):
            if abs(mine - theirs) * extent > SAME_PLACE * mine or abs(mine - theirs) > 1e-6 * mine:
                return None
        cols = (other.left - self.left) / self.pixel_x
        rows = (self.top - other.top) / self.pixel_y
        if abs(cols - round(cols)) > SAME_PLACE or abs(rows - round(rows)) > SAME_PLACE:
            return None
        return round(rows), round(cols)

    def to_bounds(self, window: Window, crs: str) -> Bounds:
        """Return the bounds of a window in another CRS, its edges sampled at 21 points each.

        Raises:
            SpatialExtentEmpty: no part of the window can be expressed in that CRS.
        """
        return transform_bounds(self.bounds_of(window), self.crs, crs)

    @property
    def pixel_metres(self) -> float:
        """Approximate edge of a pixel at the grid's centre, metres."""
        if not is_geographic(self.crs):
            return math.sqrt(self.pixel_x * self.pixel_y)
        latitude = min(abs(self.top - self.height * self.pixel_y / 2), 89.0)
        return METRES_PER_DEGREE * math.sqrt(
            self.pixel_x * self.pixel_y * math.cos(math.radians(latitude))
        )


def transform_bounds(bounds: Bounds, source: str, target: str) -> Bounds:
    """Return bounds, in `target`, that hold a rectangle in `source`.

    Its points are sampled 21 x 21; how far its edges may bulge between them is estimated from
    their curvature and added. A pole inside is found by itself.

    Raises:
        SpatialExtentEmpty: no part of the rectangle can be expressed in `target`.
    """
    if source == target:
        return bounds
    left, bottom, right, top = bounds
    if is_geographic(source):  # pixels whose centres are the poles reach beyond them
        bottom, top = max(bottom, -90.0), min(top, 90.0)
    steps = np.linspace(0.0, 1.0, 21)
    mesh = np.meshgrid(left + steps * (right - left), bottom + steps * (top - bottom))
    x, y = (np.asarray(c) for c in transformer(source, target).transform(*mesh))
    inside = np.isfinite(x) & np.isfinite(y)
    if not inside.any():
        raise SpatialExtentEmpty(
            f"The extent {bounds} of {source[:40]} cannot be expressed in {target[:40]}."
        )
    (low_x, high_x), (low_y, high_y) = _with_bulge(x[inside], x), _with_bulge(y[inside], y)
    if not is_geographic(target):
        return low_x, low_y, high_x, high_y
    low_x, high_x = (
        max(low_x, min(-180.0, x[inside].min())),
        min(high_x, max(180.0, x[inside].max())),
    )
    low_y, high_y = max(low_y, -90.0), min(high_y, 90.0)
    for latitude in (-90.0, 90.0):
        pole_x, pole_y = transformer(target, source).transform(0.0, latitude)
        if not is_geographic(source) and left <= pole_x <= right and bottom <= pole_y <= top:
            low_x, high_x = -180.0, 180.0
            low_y, high_y = min(low_y, latitude), max(high_y, latitude)
    return float(low_x), float(low_y), float(high_x), float(high_y)


def _with_bulge(known: NDArray[np.float64], mesh: NDArray[np.float64]) -> tuple[float, float]:
    """Return the least and greatest value, with what may lie beyond between the samples.

    A curve bulges over its chord by an eighth of its second difference; twice that is added.
    """
    with np.errstate(invalid="ignore"):
        bends = np.concatenate([np.diff(mesh, 2, axis=axis).ravel() for axis in (0, 1)])
    bends = np.abs(bends[np.isfinite(bends)])
    bulge = float(bends.max(initial=0.0)) / 4
    return float(known.min()) - bulge, float(known.max()) + bulge


def geographic_bounds(grid: Grid, window: Window) -> Bounds:
    """Return (west, south, east, north) of a window in degrees; west > east at the antimeridian."""
    west, south, east, north = grid.to_bounds(window, WGS84)
    if grid.crs != WGS84:
        centre = transformer(grid.crs, WGS84).transform(
            *(np.array(grid.bounds_of(window)).reshape(2, 2).mean(axis=0))
        )[0]
        if east - west > 180.0 and math.isfinite(centre):  # noqa: PLR2004 - half the globe
            xs = _outline_longitudes(grid, window)
            east_part, west_part = xs[xs >= 0], xs[xs < 0]
            if east_part.size and west_part.size:
                return float(east_part.min()), south, float(west_part.max()), north
    return west, south, east, north


def _outline_longitudes(grid: Grid, window: Window) -> NDArray[np.float64]:
    left, bottom, right, top = grid.bounds_of(window)
    steps = np.linspace(0.0, 1.0, 21)
    xs, ys = np.meshgrid(left + steps * (right - left), bottom + steps * (top - bottom))
    x, _ = transformer(grid.crs, WGS84).transform(xs.ravel(), ys.ravel())
    longitudes = np.asarray(x, dtype=np.float64)
    return longitudes[np.isfinite(longitudes)]


def _floor(value: float) -> int:
    return math.floor(value + 1e-6)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-6)
