"""Points and lines on a grid: each marks the pixels whose centres are nearest to it.

The pixel whose centre is nearest to a point is the one that holds it; of pixels that are equally
near the right and lower one is taken. A line marks all pixels that hold a point of it. What is
marked depends on the lattice alone, never on the window that is looked at.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import shapely

from terrazzo.geo.grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.geo.grid import Grid

_POINT, _LINE = 0, 1
"""Dimensions of geometries."""


def marks_of(shapes: Iterable[BaseGeometry]) -> BaseGeometry | None:
    """Return the points and lines among geometries as one; None where there are none."""
    found = [part for part in _parts(shapes) if shapely.get_dimensions(part) in {_POINT, _LINE}]
    return shapely.GeometryCollection(found) if found else None


def _parts(shapes: Iterable[BaseGeometry]) -> list[BaseGeometry]:
    parts = list(shapes)
    while any(part.geom_type.startswith(("Multi", "Geometry")) for part in parts):
        parts = shapely.get_parts(parts).tolist()
    return [part for part in parts if not part.is_empty]


def marked_window(marks: BaseGeometry, grid: Grid) -> Window:
    """Return the smallest window that holds all marked pixels.

    Args:
        marks: points and lines in the CRS of the grid.
        grid: the lattice.
    """
    points = shapely.get_coordinates(marks)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return Window(0, 0, 0, 0)
    cols, rows = np.floor(_on_lattice(points, grid)).astype(np.int64).T
    row, col = int(rows.min()), int(cols.min())
    return Window(row, col, int(rows.max()) + 1 - row, int(cols.max()) + 1 - col)


def marked(marks: BaseGeometry, grid: Grid, window: Window) -> NDArray[np.bool_]:
    """Return (y, x) True for the pixels of a window whose centre is nearest to a point or line.

    Args:
        marks: points and lines in the CRS of the grid; vertices that have no place there mark
            nothing.
        grid: the lattice.
        window: pixels of it.
    """
    found = np.zeros((window.height, window.width), np.bool_)
    for part in _parts([marks]):
        places = _on_lattice(shapely.get_coordinates(part), grid)
        if shapely.get_dimensions(part) == _POINT:
            _mark(found, window, places[0, 1], places[0, 0], places[0, 0])
            continue
        for start, end in pairwise(places):
            _mark_segment(found, window, start, end)
    return found


def _on_lattice(points: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Return (n, 2) columns and rows of points, fractions of pixels included."""
    return np.stack(
        [(points[:, 0] - grid.left) / grid.pixel_x, (grid.top - points[:, 1]) / grid.pixel_y], 1
    )


def _mark_segment(
    found: NDArray[np.bool_],
    window: Window,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
) -> None:
    """Mark the pixels that hold a point of a straight line, row by row."""
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        return
    (x0, y0), (x1, y1) = (start, end) if start[1] <= end[1] else (end, start)
    for row in range(max(math.floor(y0), window.row), min(math.floor(y1) + 1, window.row_stop)):
        upper, lower = max(y0, row), min(y1, row + 1)
        if y0 == y1:
            _mark(found, window, row, x0, x1)
            continue
        first, last = (x0 + (y - y0) / (y1 - y0) * (x1 - x0) for y in (upper, lower))
        if lower == row + 1 and last > first:
            last = math.nextafter(last, first)  # that point is of the next row
        _mark(found, window, row, first, last)


def _mark(found: NDArray[np.bool_], window: Window, y: float, x0: float, x1: float) -> None:
    """Mark the pixels of a row that hold a point between two columns."""
    if not math.isfinite(x0 + x1 + y) or not window.row <= math.floor(y) < window.row_stop:
        return
    first = max(math.floor(min(x0, x1)), window.col) - window.col
    stop = min(math.floor(max(x0, x1)) + 1, window.col_stop) - window.col
    if first < stop:
        found[math.floor(y) - window.row, first:stop] = True
