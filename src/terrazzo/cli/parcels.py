"""Parcels for the demo: 25 made-up fields over the extent of a grid, a few of them awkward."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyogrio.raw
import shapely
from shapely.affinity import rotate, scale, translate

from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.geo.grid import Grid

ACROSS = 5
ALIGNED = (slice(4, 14), slice(3, 15))
"""Rows and columns of the pixels that parcel 1 covers exactly."""
WITH_HOLE = 13


def parcels(grid: Grid) -> list[shapely.Polygon]:
    """Return the fields: one aligned to pixels, one with a hole, some across the grid's edge.

    They depend on the grid alone, so that every demo has the same.
    """
    left, bottom, right, top = grid.bounds
    width, height = (right - left) / ACROSS, (top - bottom) / ACROSS
    made = []
    for number in range(ACROSS * ACROSS):
        row, column = divmod(number, ACROSS)
        angle = 17.0 * number % 90.0
        field = rotate(shapely.box(-0.36, -0.27, 0.36, 0.27), angle, origin=(0, 0))
        corner = shapely.box(-0.5, -0.5, -0.12 - 0.02 * (number % 4), -0.1)
        field = shapely.difference(field, corner)
        field = scale(field, width, height, origin=(0, 0))
        x = left + (column + 0.5 + (0.3 if column == ACROSS - 1 else 0.0)) * width
        y = top - (row + 0.5) * height
        made.append(translate(field, x, y))
    rows, columns = ALIGNED
    made[0] = shapely.box(
        grid.left + columns.start * grid.pixel_x,
        grid.top - rows.stop * grid.pixel_y,
        grid.left + columns.stop * grid.pixel_x,
        grid.top - rows.start * grid.pixel_y,
    )
    middle = made[WITH_HOLE - 1]
    hole = middle.centroid.buffer(0.12 * math.sqrt(width * height), quad_segs=4)
    made[WITH_HOLE - 1] = shapely.difference(middle, hole)
    return made


def write_parcels(path: Path, grid: Grid) -> int:
    """Write the fields as GeoPackage with a column `parcel`, and return how many they are.

    Raises:
        OutputFailed: the file cannot be written.
    """
    shapes = parcels(grid)
    with whole_file(path) as part:
        pyogrio.raw.write(
            part,
            shapely.to_wkb(np.array(shapes, dtype=object)),
            [np.arange(1, len(shapes) + 1)],
            ["parcel"],
            geometry_type="Polygon",
            crs=grid.crs,
            driver="GPKG",
            layer="parcels",
        )
    return len(shapes)
