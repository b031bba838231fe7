"""Worlds side by side: maps in Web Mercator or degrees go on beyond their own edges."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from terrazzo.geo.coordinates import turns
from terrazzo.geo.crs import WEB_MERCATOR, is_geographic
from terrazzo.geo.grid import Window
from terrazzo.geo.tiling import MERCATOR_HALF

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.geo.grid import Grid

    Floats = NDArray[np.float64]

MOST: Final = 8
"""Worlds that a view may show; of a wider one only what lies in the first world is looked at."""
_MERCATOR_TURN: Final = 2 * MERCATOR_HALF
_TURN: Final = 360.0


def in_one_world(grid: Grid, middle: float = 0.0) -> list[tuple[Window, Grid]]:
    """Cut a view where the world ends; return its parts, and each as it lies in the first world.

    In degrees nothing is cut: sources there are turned to where the view is, if that is near.

    Args:
        grid: the pixels of the view.
        middle: x in the middle of the first world, where that is Web Mercator's.
    """
    centre = grid.left + grid.width * grid.pixel_x / 2
    if is_geographic(grid.crs):
        far = math.trunc(centre / _TURN)
        return [(grid.window, replace(grid, left=grid.left - far * _TURN) if far else grid)]
    if grid.crs != WEB_MERCATOR:
        return [(grid.window, grid)]
    away = _worlds(grid.xs(grid.window), middle)
    if not away.any() or away[-1] - away[0] >= MOST:
        return [(grid.window, grid)]
    begins = [0, *(np.flatnonzero(np.diff(away)) + 1).tolist(), grid.width]
    parts = []
    for first, stop in pairwise(begins):
        window = Window(0, first, grid.height, stop - first)
        part = grid.crop(window)
        left = part.left - float(away[first]) * _MERCATOR_TURN
        parts.append((window, replace(part, left=left)))
    return parts


def to_grid(xs: Floats, grid: Grid) -> Floats:
    """Return x of places in the CRS of a grid, moved by whole worlds to the grid."""
    with np.errstate(invalid="ignore"):  # where there is no place
        if grid.crs == WEB_MERCATOR:
            middle = grid.left + grid.width * grid.pixel_x / 2
            return xs - _worlds(xs, middle) * _MERCATOR_TURN
        return xs - turns((xs - grid.left) / grid.pixel_x, grid) * _TURN


def _worlds(xs: Floats, middle: float) -> Floats:
    """Return how many worlds to the right of the first one each x of Web Mercator lies."""
    counted: Floats = np.floor((xs - middle) / _MERCATOR_TURN + 0.5)
    return counted
