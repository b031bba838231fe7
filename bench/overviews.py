"""What is right, worked out without the engine: which overview to read, and which pixel of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.warp import transform_bounds

from bench.dataset import CRS, NODATA, OFFSET, PIXEL, QUANTIFICATION

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.geo.grid import Grid, Window


def overview(grid: Grid, window: Window, size: int) -> int:
    """Return the reduction of the coarsest overview that is no coarser than the screen there."""
    left, bottom, right, top = grid.bounds_of(window)
    x, y = (left + right) / 2, (bottom + top) / 2
    box = (x, y, x + grid.pixel_x, y + grid.pixel_y)
    west, south, east, north = transform_bounds(grid.crs, CRS, *box)
    ground = min(east - west, north - south)
    factor = 1
    while PIXEL * factor * 2 <= ground * 1.01 and size / factor > 512:
        factor *= 2
    return factor


def exact_nearest(file: Path, grid: Grid, window: Window, size: int) -> np.ndarray:
    """Return the reflectance at each pixel's centre, every centre projected on its own."""
    factor = overview(grid, window, size)
    level = {} if factor == 1 else {"overview_level": round(math.log2(factor)) - 1}
    with rasterio.open(file, **level) as opened:
        numbers, affine = opened.read(1), opened.transform
    into = Transformer.from_crs(grid.crs, CRS, always_xy=True)
    x, y = into.transform(*np.meshgrid(grid.xs(window), grid.ys(window)))
    cols = np.floor((x - affine.c) / affine.a).astype(np.int64)
    rows = np.floor((y - affine.f) / affine.e).astype(np.int64)
    height, width = numbers.shape
    inside = (cols >= 0) & (cols < width) & (rows >= 0) & (rows < height)
    found = np.where(inside, numbers[rows.clip(0, height - 1), cols.clip(0, width - 1)], NODATA)
    physical = (found.astype(np.float32) - OFFSET) / np.float32(QUANTIFICATION)
    return np.where(found == NODATA, np.float32(np.nan), physical)
