"""Which pixels lie under shapes and what they weigh, as runs: the weights of every extraction.

The grid is cut into squares of 256 pixels, counted from its origin. What a shape has in one
square is a fragment; sums are made per fragment and merged in the order of the squares, so that
numbers have the same bits however the grid is cut into windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
import shapely

from terrazzo.geo.grid import Window
from terrazzo.geo.lines import line_pixels
from terrazzo.geo.rasterise import EDGE, rasterise, trace
from terrazzo.geo.shapes import LINES, POINTS, POLYGONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.geo.grid import Grid
    from terrazzo.geo.shapes import Geometries

    Ints: TypeAlias = NDArray[np.int32]
    Longs: TypeAlias = NDArray[np.int64]
    Floats: TypeAlias = NDArray[np.float64]

How: TypeAlias = Literal["exact", "centre", "touched"]
HOW: Final[tuple[How, ...]] = ("exact", "centre", "touched")
"""What a pixel weighs: the share that is covered; or 1, if its centre is, or if any of it is."""
ON_BORDER = 1e-6
"""Pixels: a point nearer than this to a border belongs to the pixel right of or below it."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Pixels under shapes, one entry per shape and pixel."""

    polygon: Ints
    """Position of the shape."""
    row: Ints
    """In the grid."""
    col: Ints
    """In the grid."""
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Pixels under shapes as fragments of sorted runs; arrays are not to be written."""

    across: int
    """How many squares lie beside each other in the grid."""
    polygon: Ints
    """(fragment,) position of the shape, ascending."""
    square: Longs
    """(fragment,) number of the square in row order, ascending within a shape."""
    starts: Longs
    """(fragment + 1,) where the runs of each fragment begin."""
    row: NDArray[np.uint8]
    """(run,) row in the square, ascending within a fragment."""
    col: NDArray[np.uint8]
    """(run,) first column in the square, ascending within a row."""
    length: NDArray[np.uint16]
    """(run,) pixels beside each other; 1, unless they all weigh 1."""
    weight: Floats
    """(run,) of each pixel."""

    @property
    def pixels(self) -> Pixels:
        """Every pixel, by shape, square, row and column."""
        lengths = self.length.astype(np.int64)
        ends = np.cumsum(lengths)
        step = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - lengths, lengths)
        rows, cols = self.corners
        fragment = np.repeat(np.arange(len(self.polygon)), np.diff(self.starts))
        return Pixels(
            np.repeat(self.polygon[fragment], lengths),
            np.repeat((rows[fragment] + self.row).astype(np.int32), lengths),
            (np.repeat(cols[fragment] + self.col, lengths) + step).astype(np.int32),
            np.repeat(self.weight, lengths),
        )

    def renamed(self, names: Longs) -> Runs:
        """Return the runs with `names[i]`, ascending, in place of the position i."""
        return replace(self, polygon=names[self.polygon].astype(np.int32))

    @property
    def corners(self) -> tuple[Longs, Longs]:
        """(fragment,) first row and first column of each fragment's square, in the grid."""
        rows, cols = np.divmod(self.square, self.across)
        return rows * EDGE, cols * EDGE

    @property
    def window(self) -> Window:
        """The smallest window that holds them all; empty if there are none."""
        if not self.row.size:
            return Window(0, 0, 0, 0)
        rows, cols = (
            np.repeat(corner, np.diff(self.starts)) + inner
            for corner, inner in zip(self.corners, (self.row, self.col), strict=True)
        )
        row, col = int(rows.min()), int(cols.min())
        stop = int((cols + self.length).max())
        return Window(row, col, int(rows.max()) + 1 - row, stop - col)


def runs_of(
    shapes: Geometries, grid: Grid, window: Window, how: How = "exact", *, around: int = 1
) -> Runs:
    """Find the pixels under shapes and what they weigh.

    A polygon's pixels weigh the covered share of their area, one below 1e-9 (or 1e-4 of the
    polygon, if that is less) counting as none and above 1 - 1e-9 as all; a line's pixels the
    length of it that they hold, in units of the CRS, as exactextract has it. With `centre` the
    pixels whose centre a polygon holds or touches weigh 1, with `touched` all that it covers;
    lines then have the pixels that they run through. A point has the pixel that holds it, or the
    square of pixels around that, always with weight 1, also where several points share it.

    Args:
        shapes: as `mended` returns them, in the grid's CRS.
        grid: the pixels; what lies outside has none.
        window: only these pixels of the grid.
        how: one of `HOW`.
        around: edge of the square of pixels that a point has, odd.
    """
    window = grid.window.intersection(window)
    kinds = shapely.get_type_id(shapes)
    found = []
    polygons = _of_kind(kinds, POLYGONS)
    if polygons.size:
        found.append(_under_polygons(shapes, polygons, grid, window, how))
    lines = _of_kind(kinds, LINES)
    if lines.size:
        under = _along_lines if how == "exact" else _touched_by_lines
        found.append(_gathered(grid, *under(shapes, lines, grid, window)))
    points = _of_kind(kinds, POINTS)
    if points.size:
        found.append(_gathered(grid, *_around_points(shapes, points, grid, window, around)))
    return _merged(found, grid)


def shares_inside(shapes: Geometries, grid: Grid, window: Window, *, around: int = 1) -> Floats:
    """Return (shape,) how much of each shape lies in a window: of its area, length or pixels.

    Shapes, grid, window and `around` are those of `runs_of`.
    """
    window = grid.window.intersection(window)
    box = shapely.box(*grid.bounds_of(window))
    found = np.ones(len(shapes))
    kinds = shapely.get_type_id(shapes)
    for kind, size in ((POLYGONS, shapely.area), (LINES, shapely.length)):
        mine = _of_kind(kinds, kind)
        whole = size(shapes[mine])
        inside = size(shapely.intersection(shapes[mine], box))
        np.divide(inside, whole, out=inside, where=whole > 0.0)
        found[mine] = np.where(inside > 0.0, inside, 1.0)
    points = _of_kind(kinds, POINTS)
    if points.size:
        under = _around_points(shapes, points, grid, None, around)[0]
        within = _around_points(shapes, points, grid, window, around)[0]
        whole, inside = (np.bincount(each, minlength=len(shapes)) for each in (under, within))
        found[points] = inside[points] / whole[points]
    return found


def across(grid: Grid) -> int:
    """Return how many squares lie beside each other in a grid."""
    return -(-grid.width // EDGE)


def _under_polygons(
    shapes: Geometries, polygons: Longs, grid: Grid, window: Window, how: How
) -> Runs:
    points, ring_starts, signs, shape_starts = _rings(shapes[polygons])
    owner, square, row, col, length, weight = rasterise(
        (points[:, 0] - grid.left) / grid.pixel_x,
        (grid.top - points[:, 1]) / grid.pixel_y,
        ring_starts,
        signs,
        shape_starts,
        polygons,
        (window.row, window.row_stop, window.col, window.col_stop),
        across(grid),
        how == "touched",
    )
    if how == "centre":
        border = np.flatnonzero(weight < 1.0)
        rows, cols = np.divmod(square[border], across(grid))
        x = grid.left + (cols * EDGE + col[border] + 0.5) * grid.pixel_x
        y = grid.top - (rows * EDGE + row[border] + 0.5) * grid.pixel_y
        shapely.prepare(shapes[polygons])
        kept = np.ones(len(weight), np.bool_)
        kept[border] = shapely.intersects_xy(shapes[owner[border]], x, y)
        owner, square, weight = owner[kept], square[kept], np.ones(int(kept.sum()))
        row, col, length = row[kept], col[kept], length[kept]
    return _cut(across(grid), owner, square, row, col, length, weight)


def _rings(shapes: Geometries) -> tuple[Floats, Longs, Floats, Longs]:
    """Return vertices, where rings begin, shells (1) and holes (-1), and where polygons' begin."""
    single = shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON
    every = np.arange(len(shapes) + 1)
    if single.all() and not shapely.get_num_interior_rings(shapes).any():
        points, owner = shapely.get_coordinates(shapes, return_index=True)
        return points, np.searchsorted(owner, every), np.ones(len(shapes)), every
    parts, part_owner = shapely.get_parts(shapes, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    points, point_ring = shapely.get_coordinates(rings, return_index=True)
    # get_rings gives a polygon's shell first and then its holes.
    shell = np.diff(ring_part, prepend=-1) != 0
    first = np.searchsorted(point_ring, np.arange(rings.size + 1))
    return (
        points,
        first,
        np.where(shell, 1.0, -1.0),
        np.searchsorted(part_owner[ring_part], every),
    )


def _of_kind(kinds: NDArray[np.int32], which: tuple[int, ...]) -> Longs:
    """Return the positions of shapes of some kinds."""
    found: Longs = np.flatnonzero(np.logical_or.reduce([kinds == kind for kind in which]))
    return found


def _cut(
    wide: int,
    owner: Ints,
    square: Longs,
    row: NDArray[np.uint8],
    col: NDArray[np.uint8],
    length: NDArray[np.uint16],
    weight: Floats,
) -> Runs:
    """Return sorted runs as fragments."""
    new = np.ones(len(owner), np.bool_)
    new[1:] = (owner[1:] != owner[:-1]) | (square[1:] != square[:-1])
    starts = np.flatnonzero(new)
    return Runs(
        wide, owner[starts], square[starts], np.append(starts, len(owner)), row, col, length, weight
    )


def _gathered(grid: Grid, owner: Longs, row: Longs, col: Longs, weight: Floats) -> Runs:
    """Return pixels in any order as runs; what a pixel has several times is summed up."""
    square = (row // EDGE) * across(grid) + col // EDGE
    order = np.lexsort((col, row, square, owner))
    owner, square, row, col = (a[order] for a in (owner, square, row, col))
    new = np.ones(len(owner), np.bool_)
    new[1:] = (np.diff(owner) != 0) | (np.diff(row) != 0) | (np.diff(col) != 0)
    first = np.flatnonzero(new)
    total = np.add.reduceat(weight[order], first) if first.size else weight[:0]
    owner, square, row, col = (a[first] for a in (owner, square, row, col))
    return _cut(
        across(grid),
        owner.astype(np.int32),
        square,
        (row % EDGE).astype(np.uint8),
        (col % EDGE).astype(np.uint8),
        np.ones(len(owner), np.uint16),
        total,
    )


def _along_lines(
    shapes: Geometries, lines: Longs, grid: Grid, window: Window
) -> tuple[Longs, Longs, Longs, Floats]:
    """Return line, row, column and length of every piece of a line in a pixel."""
    parts, owner = shapely.get_parts(shapes[lines], return_index=True)
    points, part = shapely.get_coordinates(parts, return_index=True)
    segment, row, col, share = trace(
        (points[:, 0] - grid.left) / grid.pixel_x,
        (grid.top - points[:, 1]) / grid.pixel_y,
        part,
        (window.row, window.row_stop, window.col, window.col_stop),
    )
    steps = np.hypot(*np.diff(points, axis=0).T)
    return lines[owner[part[segment]]], row, col, share * steps[segment]


def _touched_by_lines(
    shapes: Geometries, lines: Longs, grid: Grid, window: Window
) -> tuple[Longs, Longs, Longs, Floats]:
    line, row, col = line_pixels(list(shapes[lines]), grid, window)
    return lines[line], row, col, np.ones(len(line))


def _around_points(
    shapes: Geometries, points: Longs, grid: Grid, window: Window | None, around: int
) -> tuple[Longs, Longs, Longs, Floats]:
    at, owner = shapely.get_coordinates(shapes[points], return_index=True)
    col = np.floor((at[:, 0] - grid.left) / grid.pixel_x + ON_BORDER).astype(np.int64)
    row = np.floor((grid.top - at[:, 1]) / grid.pixel_y + ON_BORDER).astype(np.int64)
    steps = np.arange(around) - around // 2
    row = (row[:, None, None] + steps[:, None] + 0 * steps).ravel()
    col = (col[:, None, None] + 0 * steps[:, None] + steps).ravel()
    owner = points[owner].repeat(around * around)
    inside = np.ones(len(owner), np.bool_)
    if window is not None:
        inside &= (row >= window.row) & (row < window.row_stop)
        inside &= (col >= window.col) & (col < window.col_stop)
    found = np.unique(np.stack([owner[inside], row[inside], col[inside]]), axis=1)
    return found[0], found[1], found[2], np.ones(found.shape[1])


def _merged(found: list[Runs], grid: Grid) -> Runs:
    """Return the runs of shapes of several kinds as those of one sequence of shapes."""
    if not found:
        nothing = np.zeros(0, np.int64)
        return _gathered(grid, nothing, nothing, nothing, np.zeros(0))
    if len(found) == 1:
        return found[0]
    owners = [runs.polygon.repeat(np.diff(runs.starts)) for runs in found]
    squares = [runs.square.repeat(np.diff(runs.starts)) for runs in found]
    order = np.argsort(np.concatenate(owners), kind="stable")
    return _cut(
        across(grid),
        np.concatenate(owners)[order],
        np.concatenate(squares)[order],
        np.concatenate([runs.row for runs in found])[order],
        np.concatenate([runs.col for runs in found])[order],
        np.concatenate([runs.length for runs in found])[order],
        np.concatenate([runs.weight for runs in found])[order],
    )
