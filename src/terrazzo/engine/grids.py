"""Grids of nodes: what an extent is on another grid, and which grid `resample_spatial` makes.

One snapping rule: a grid of the same CRS is anchored at the source grid's corner, a grid of
another CRS at that CRS's origin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.errors import ArgumentInvalid, PlanTooLarge
from terrazzo.geo.crs import crs_name, is_geographic, transformer
from terrazzo.geo.grid import Grid, Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.geo.grid import Bounds

MOST_ALONG = 2.0**33
"""Pixels along a side of a grid: with more, float64 has no millionth of a pixel left. All of the
Earth at half a centimetre."""


def extent_on(grid: Grid, window: Window, target: Grid) -> Window:
    """Return the pixels of `target` that a window of `grid` may touch.

    Exact where the lattices agree; elsewhere a pixel is added around, because the edges of the
    window are curves there.
    """
    if window.is_empty:
        return Window(0, 0, 0, 0)
    shift = target.offset_of(grid)
    if shift is not None and not is_geographic(target.crs):
        return window.shifted(*shift)
    if shift is not None and target.window.contains(window.shifted(*shift)):
        return window.shifted(*shift)
    bounds = grid.to_bounds(window, target.crs)
    touched = target.window_of(bounds)
    if is_geographic(target.crs):
        touched = _turned(bounds, target)
    return touched if grid.crs == target.crs else touched.grown(1, 1)


def _turned(bounds: Bounds, target: Grid) -> Window:
    """Return the pixels that bounds in degrees touch, whole turns away if the grid lies there."""
    left, bottom, right, top = bounds
    turns = [
        target.window_of((left + turn, bottom, right + turn, top)) for turn in (-360.0, 0.0, 360.0)
    ]
    touched = Window(0, 0, 0, 0)
    for window in turns:
        if not window.intersection(target.window).is_empty:
            touched = touched.union(window)
    return turns[1] if touched.is_empty else touched


def union_on(grid: Grid, parts: Sequence[tuple[Grid, Window]]) -> Window:
    """Return the pixels of `grid` that any of the windows touches."""
    union = Window(0, 0, 0, 0)
    for other, window in parts:
        union = union.union(extent_on(other, window, grid))
    return union


def extents_on(
    grid: Grid | None, parts: Mapping[str, tuple[Grid | None, Window]]
) -> dict[str, Window]:
    """Return the pixels of `grid` that each window touches, by name; only those of rasters."""
    return {
        name: extent_on(other, window, grid)
        for name, (other, window) in parts.items()
        if other is not None and grid is not None
    }


def resampled_grid(
    native: Grid, extent: Window, *, resolution: Any, projection: Any, align: str
) -> Grid:
    """Return the grid of `resample_spatial`.

    Args:
        native: grid of the cube that is resampled.
        extent: its pixels; the new grid covers them.
        resolution: pixel size, units of the new CRS, one number or (x, y); 0 keeps the size.
        projection: EPSG code or WKT2; None keeps the CRS.
        align: the corner of the native grid that stays where it is when the CRS is kept.

    Raises:
        ArgumentInvalid: a resolution that is no positive number, an unknown CRS or corner.
    """
    crs = native.crs if projection is None else crs_name(projection)
    sizes = resolution if isinstance(resolution, (list, tuple)) else (resolution, resolution)
    if len(sizes) not in {1, 2} or not all(
        isinstance(size, (int, float)) and math.isfinite(size) and size >= 0 for size in sizes
    ):
        raise ArgumentInvalid(
            f"resolution is one number >= 0 or two (x, y), in units of the CRS, not {resolution!r}."
        )
    size_x, size_y = float(sizes[0]), float(sizes[-1])
    if size_x == 0 or size_y == 0:
        kept_x, kept_y = _pixel_in(native, crs)
        size_x, size_y = size_x or kept_x, size_y or kept_y
    bounds = native.to_bounds(extent, crs)
    _check_count(bounds, size_x, size_y)
    left, top = _anchor(native, align) if crs == native.crs else (0.0, 0.0)
    lattice = Grid(crs, left, top, size_x, size_y, 0, 0)
    window = lattice.window_of(bounds)
    snapped = lattice.crop(window)
    if crs == native.crs and (size_x, size_y) == (native.pixel_x, native.pixel_y):
        return native
    return snapped


def _check_count(bounds: Bounds, size_x: float, size_y: float) -> None:
    """Refuse pixels that are too small or too large for an extent, before anything is read.

    Raises:
        PlanTooLarge: there would be more of them than can be counted.
        ArgumentInvalid: one of them would be many times the extent.
    """
    across, down = bounds[2] - bounds[0], bounds[3] - bounds[1]
    most = max(across / size_x, down / size_y)
    if most > MOST_ALONG:
        least = max(across, down) / MOST_ALONG
        raise PlanTooLarge(
            f"Pixels of {size_x:g} x {size_y:g} cut an extent of {across:g} x {down:g} (units of "
            f"the CRS) into {across / size_x:.3g} x {down / size_y:.3g}; at most {MOST_ALONG:.3g} "
            f"a side are possible. Choose a resolution of {least:.3g} or more, or a smaller extent."
        )
    if most < 1 / MOST_ALONG:
        raise ArgumentInvalid(
            f"Pixels of {size_x:g} x {size_y:g} are too large for an extent of {across:g} x "
            f"{down:g} (units of the CRS). Choose a smaller resolution."
        )


def _anchor(native: Grid, align: str) -> tuple[float, float]:
    left, bottom, right, top = native.bounds
    corners = {
        "upper-left": (left, top),
        "lower-left": (left, bottom),
        "upper-right": (right, top),
        "lower-right": (right, bottom),
    }
    if align not in corners:
        raise ArgumentInvalid(f"align is one of {', '.join(corners)}, not {align!r}.")
    return corners[align]


def _pixel_in(native: Grid, crs: str) -> tuple[float, float]:
    """Return the native pixel size in another CRS, at the grid's centre, to three digits.

    The grid's, not the extent's: else the lattice would depend on the bounding box.
    """
    if crs == native.crs:
        return native.pixel_x, native.pixel_y
    middle = Window(native.height // 2, native.width // 2, 1, 1)
    left, bottom, right, top = native.bounds_of(middle)
    x, y = transformer(native.crs, crs).transform(
        np.array([left, right, left, right]), np.array([top, top, bottom, bottom])
    )
    area = 0.5 * abs((x[3] - x[0]) * (y[2] - y[1]) - (x[2] - x[1]) * (y[3] - y[0]))
    if not math.isfinite(area) or area <= 0:
        raise ArgumentInvalid(
            f"The pixel size cannot be carried over to {crs[:40]!r}. Give `resolution`."
        )
    size = float(f"{math.sqrt(area):.3g}")
    return size, size
