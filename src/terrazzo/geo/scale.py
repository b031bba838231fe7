"""How coarse one grid is in the pixels of another, and the overview that fits it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.coordinates import project
from terrazzo.geo.crs import WGS84, crs_object, transformer
from terrazzo.geo.grid import transform_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from terrazzo.geo.grid import Grid

    Point = tuple[float, float]

FINER = 1e-3
"""How much coarser than the target, relatively, an overview may be and still be as fine."""


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
        for at in project(xs, ys, target, source, snap=False):
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
