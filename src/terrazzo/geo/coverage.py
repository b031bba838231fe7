"""Exact polygon coverage: which share of each pixel a polygon covers, for many polygons.

Shares are computed by accumulating signed areas along edges, as font rasterisers do, row by
row, in pixels of the grid and relative to the polygon itself. A row depends only on the edges
that cross it and is always summed from the polygon's (or the grid's) first column, so that a
pixel has the same weight, to the bit, whichever window it is asked in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.rasterise import rasterise, select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float64]
    Geometries = NDArray[np.object_]

POINTS = (shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT)
POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
ON_BORDER = 1e-6
"""Pixels: a point nearer than this to a border belongs to the pixel right of or below it."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """Pixels that shapes cover, sorted by (polygon, row, col).

    One shape's pixels are one run (`segments`), so a reduction per polygon adds neighbours in
    a fixed order; and within a run rows ascend, so that `block` finds a window by bisection.
    Arrays are read-only.
    """

    grid: Grid
    """The grid that rows and columns are counted in."""
    window: Window
    """The part of the grid that was asked for; pixels outside it are not here."""
    polygon: Ints
    """(n,) index of the shape in the sequence that was given."""
    row: Ints
    """(n,) row in `grid`."""
    col: Ints
    """(n,) column in `grid`."""
    weight: Floats
    """(n,) share of the pixel that is covered, in (0, 1]."""
    repaired: tuple[int, ...]
    """Shapes that were invalid and went through `shapely.make_valid`."""

    @property
    def pixels(self) -> int:
        """Number of entries: pairs of a polygon and a pixel."""
        return int(self.polygon.size)

    @cached_property
    def segments(self) -> tuple[Ints, NDArray[np.int64]]:
        """(k,) shapes with pixels here, ascending, and (k + 1,) where each one's run starts."""
        starts = np.flatnonzero(np.diff(self.polygon, prepend=-1))
        return self.polygon[starts], np.append(starts, self.pixels)

    @cached_property
    def extent(self) -> Window:
        """The smallest window that holds every entry."""
        boxes = self._boxes
        if not boxes.size:
            return Window(self.window.row, self.window.col, 0, 0)
        row, col = int(boxes[0].min()), int(boxes[2].min())
        return Window(row, col, int(boxes[1].max()) + 1 - row, int(boxes[3].max()) + 1 - col)

    def block(self, window: Window) -> Coverage:
        """Return the entries inside a window (absolute rows and columns of `grid`)."""
        window = self.window.intersection(window)
        _, starts = self.segments
        boxes = self._boxes
        hit = (boxes[0] < window.row_stop) & (boxes[1] >= window.row)
        hit &= (boxes[2] < window.col_stop) & (boxes[3] >= window.col)
        bounds = (window.row, window.row_stop, window.col, window.col_stop)
        entries = select(np.flatnonzero(hit), starts, self.row, self.col, bounds)
        arrays = (a[entries] for a in (self.polygon, self.row, self.col, self.weight))
        return _coverage(self.grid, window, *arrays, repaired=self.repaired)

    @cached_property
    def _boxes(self) -> Ints:
        """First row, last row, first column, last column of each run: (4, k)."""
        starts = self.segments[1][:-1]
        if not starts.size:
            return np.empty((4, 0), dtype=np.int32)
        return np.stack(
            [
                self.row[starts],
                self.row[self.segments[1][1:] - 1],
                np.minimum.reduceat(self.col, starts),
                np.maximum.reduceat(self.col, starts),
            ]
        )


def coverage(
    shapes: Sequence[Any] | Geometries, grid: Grid, window: Window | None = None
) -> Coverage:
    """Compute which share of each pixel every shape covers.

    A polygon's weights are the covered share of the pixel's area, a share below 1e-9 (or 1e-4
    of the polygon, if that is less) counting as none and above 1 - 1e-9 as all. A point has
    weight 1 in the pixel that contains it, several points of one multipoint in a pixel too.

    Args:
        shapes: shapely polygons, multipolygons, points or multipoints in the grid's CRS; None
            and empty ones have no pixels.
        grid: the pixels; what lies outside has no entries.
        window: only these pixels of the grid; None = all.

    Raises:
        ArgumentInvalid: lines or mixed collections, or coordinates that are not finite.
    """
    window = grid.window if window is None else grid.window.intersection(window)
    geometries, repaired = _repaired(_checked(shapes))
    kinds = shapely.get_type_id(geometries)
    polygons = np.flatnonzero(np.isin(kinds, POLYGONS))
    points = np.flatnonzero(np.isin(kinds, POINTS))
    parts = [
        _cover_polygons(geometries, polygons, grid, window),
        _cover_points(geometries, points, grid, window),
    ]
    if not points.size or not polygons.size:
        return _coverage(grid, window, *parts[0 if polygons.size else 1], repaired=repaired)
    polygon, row, col, weight = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    order = np.argsort(polygon, kind="stable")
    return _coverage(
        grid, window, polygon[order], row[order], col[order], weight[order], repaired=repaired
    )


def _coverage(
    grid: Grid,
    window: Window,
    polygon: Ints,
    row: Ints,
    col: Ints,
    weight: Floats,
    *,
    repaired: tuple[int, ...],
) -> Coverage:
    for array in (polygon, row, col, weight):
        array.flags.writeable = False
    return Coverage(grid, window, polygon, row, col, weight, repaired)


def _checked(shapes: Sequence[Any] | Geometries) -> Geometries:
    geometries = np.empty(len(shapes), dtype=object)
    for index, shape in enumerate(shapes):
        geometries[index] = shape
    wrong = ~(shapely.is_geometry(geometries) | shapely.is_missing(geometries))
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise ArgumentInvalid(
            f"Shape {index} is {type(geometries[index]).__name__}, no shapely geometry."
        )
    geometries[shapely.is_missing(geometries) | shapely.is_empty(geometries)] = shapely.Polygon()
    wrong = ~np.isin(shapely.get_type_id(geometries), POLYGONS + POINTS)
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise ArgumentInvalid(
            f"Shape {index} is a {geometries[index].geom_type}; pixel coverage knows polygons and "
            "points. Buffer lines, and split collections into their parts."
        )
    coordinates, owner = shapely.get_coordinates(geometries, return_index=True)
    wrong = ~np.isfinite(coordinates).all(axis=1)
    if wrong.any():
        raise ArgumentInvalid(f"Shape {int(owner[wrong][0])} has coordinates that are not finite.")
    return geometries


def _repaired(geometries: Geometries) -> tuple[Geometries, tuple[int, ...]]:
    """Mend invalid polygons; what a repair leaves besides polygons has no area."""
    broken = np.flatnonzero(~shapely.is_valid(geometries))
    for index in broken:
        parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(geometries[index])))
        areas = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
        geometries[index] = shapely.MultiPolygon(list(areas))
    return geometries, tuple(int(index) for index in broken)


def _cover_polygons(
    geometries: Geometries, polygons: NDArray[np.int64], grid: Grid, window: Window
) -> tuple[Ints, Ints, Ints, Floats]:
    parts, part_owner = shapely.get_parts(geometries[polygons], return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    points, point_ring = shapely.get_coordinates(rings, return_index=True)
    # get_rings gives a polygon's shell first and then its holes.
    shell = np.diff(ring_part, prepend=-1) != 0
    ring_starts = np.searchsorted(point_ring, np.arange(rings.size + 1))
    shape_starts = np.searchsorted(part_owner[ring_part], np.arange(polygons.size + 1))
    return rasterise(
        (points[:, 0] - grid.left) / grid.pixel_x,
        (grid.top - points[:, 1]) / grid.pixel_y,
        ring_starts,
        np.where(shell, 1.0, -1.0),
        shape_starts,
        polygons,
        (window.row, window.row_stop, window.col, window.col_stop),
    )


def _cover_points(
    geometries: Geometries, points: NDArray[np.int64], grid: Grid, window: Window
) -> tuple[Ints, Ints, Ints, Floats]:
    at, owner = shapely.get_coordinates(geometries[points], return_index=True)
    col = np.floor((at[:, 0] - grid.left) / grid.pixel_x + ON_BORDER)
    row = np.floor((grid.top - at[:, 1]) / grid.pixel_y + ON_BORDER)
    inside = (row >= window.row) & (row < window.row_stop)
    inside &= (col >= window.col) & (col < window.col_stop)
    found = np.stack([points[owner[inside]], row[inside], col[inside]]).astype(np.int32)
    polygon, row, col = np.unique(found, axis=1)
    return polygon.copy(), row.copy(), col.copy(), np.ones(polygon.size)
