"""Pixels that lines run through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.geo.grid import Grid, Window

    Ints = NDArray[np.int64]


def line_pixels(
    lines: Sequence[BaseGeometry], grid: Grid, window: Window
) -> tuple[Ints, Ints, Ints]:
    """Return the pixels whose centre is the closest one to some point of a line.

    On a border between pixels that is the one right of or below it.

    Args:
        lines: line strings, one or many each, in the grid's CRS.
        grid: the pixels.
        window: only these of them.

    Returns:
        Line, row and column of each pixel, sorted; each pixel of a line once.
    """
    parts, line_of = shapely.get_parts(np.array(lines, dtype=object), return_index=True)
    points, owner = shapely.get_coordinates(parts, return_index=True)
    col = (points[:, 0] - grid.left) / grid.pixel_x
    row = (grid.top - points[:, 1]) / grid.pixel_y
    joined = np.flatnonzero(owner[1:] == owner[:-1])
    found = [np.zeros((3, 0), np.int64)]
    for start in joined:
        cells = _segment((row[start], col[start]), (row[start + 1], col[start + 1]), window)
        found.append(np.vstack([np.full(cells.shape[1], line_of[owner[start]]), cells]))
    line, rows, cols = np.unique(np.concatenate(found, axis=1), axis=1)
    return line, rows, cols


def _segment(start: tuple[float, float], end: tuple[float, float], window: Window) -> Ints:
    """Return (row, column) of the pixels of a window that a segment runs through, row by row."""
    (row_0, col_0), (row_1, col_1) = sorted((start, end))
    first = max(int(np.floor(row_0)), window.row)
    last = min(int(np.floor(row_1)), window.row_stop - 1)
    rows = np.arange(first, last + 1)
    if not rows.size:
        return np.zeros((2, 0), np.int64)
    slope = (col_1 - col_0) / (row_1 - row_0) if row_1 > row_0 else 0.0
    enters = np.where(rows <= row_0, col_0, col_0 + (rows - row_0) * slope)
    leaves = np.where(rows + 1 > row_1, col_1, col_0 + (rows + 1 - row_0) * slope)
    left = np.floor(np.minimum(enters, leaves)).astype(np.int64)
    right = np.floor(np.maximum(enters, leaves)).astype(np.int64)
    left, right = np.maximum(left, window.col), np.minimum(right, window.col_stop - 1)
    counts = np.maximum(right - left + 1, 0)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([np.repeat(rows, counts), np.repeat(left, counts) + offsets])
