"""The pixels that one read wants, and which pixels of which images that takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.cube.warp import source_window
from terrazzo.errors import SpatialExtentEmpty
from terrazzo.geo.crs import WGS84, is_geographic
from terrazzo.geo.grid import transform_bounds
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import overview_for, scale_between
from terrazzo.storage.headers import level_factors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from terrazzo.geo.grid import Bounds, Grid, Window
    from terrazzo.geo.pixelmap import Lookup
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.scenes import AssetBand, SceneItem

    Outline = tuple[Bounds, str]

FULL_RESOLUTION = frozenset({"sum", "rms", "min", "max", "q1", "med", "q3", "mode"})
"""Methods whose result over an overview is not that over the pixels: they read level 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """A window, and which images can have pixels in it."""

    grid: Grid
    """The grid that is wanted."""
    window: Window
    """The pixels of it."""
    _bounds: dict[str, Bounds | None] = field(default_factory=dict)
    _touched: dict[Outline, bool] = field(default_factory=dict)

    def touches(self, outline: Outline | None) -> bool:
        """Tell whether an image can have a pixel here: False only where it surely has none."""
        if outline is None:
            return True
        found = self._touched.get(outline)
        if found is None:
            found = self._touched[outline] = self._near(*outline)
        return found

    def bounds_in(self, crs: str) -> Bounds | None:
        """Return the bounds of the window in another CRS, None where nothing can be said."""
        if crs not in self._bounds:
            mine = self.grid.bounds_of(self.window)
            self._bounds[crs] = projected(mine, self.grid.crs, crs)
        return self._bounds[crs]

    def touching(self, bounds: NDArray[np.float64], crs: str) -> NDArray[np.bool_]:
        """Tell what `touches` tells of many images of one CRS.

        Args:
            bounds: (n, 4) left, bottom, right, top of each.
            crs: their CRS.
        """
        sides = bounds[:, 0], bounds[:, 1], bounds[:, 2], bounds[:, 3]
        if crs == self.grid.crs:
            return _overlaps(self._padded(), sides, crs)
        here = self.bounds_in(crs)
        if here is None:
            return np.ones(len(bounds), np.bool_)
        found = _overlaps(_half_padded(here), sides, crs)
        smaller = (sides[2] - sides[0]) * (sides[3] - sides[1]) < _area(here)
        for at in np.flatnonzero(smaller):
            left, bottom, right, top = bounds[at].tolist()
            found[at] = self._near((left, bottom, right, top), crs)
        return found

    def _near(self, bounds: Bounds, crs: str) -> bool:
        """Compare rectangles, where the image is projected to the target or the target to it.

        Whichever is smaller is projected, as its outline is then all but straight; half of its
        size is added on each side for what curves.
        """
        if crs == self.grid.crs:
            return _overlap(self._padded(), bounds, crs)
        here = self.bounds_in(crs)
        if here is None:
            return True
        if _area(here) <= _area(bounds):
            return _overlap(_half_padded(here), bounds, crs)
        there = _projected_image(bounds, crs, self.grid.crs)
        if there is None:
            return True
        return _overlap(_half_padded(there), self.grid.bounds_of(self.window), self.grid.crs)

    def _padded(self) -> Bounds:
        """Return the window's bounds, and two pixels more on each side."""
        pad = 2 * max(self.grid.pixel_x, self.grid.pixel_y)
        return _padded(self.grid.bounds_of(self.window), pad, pad)


@lru_cache(maxsize=256)
def reach_of(grid: Grid, window: Window) -> Reach:
    """Return the reach of a window, which price, version and read of it share."""
    return Reach(grid, window)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The pixels that one read wants, and what was worked out for the lattices they come from."""

    grid: Grid
    """The grid that is wanted."""
    window: Window
    """The pixels of it."""
    method: str
    """How they are resampled."""
    exact: bool = False
    """Whether every pixel is projected, instead of interpolating within 0.1 pixel."""
    _maps: dict[Grid, tuple[PixelMap, tuple[float, float], Window]] = field(default_factory=dict)
    _lookups: dict[Grid, Lookup] = field(default_factory=dict)

    def level(self, source: Grid, overviews: tuple[int, ...]) -> int:
        """Choose the overview: a function of both lattices, never of the window."""
        return level_for(self.grid, source, overviews, self.method)

    def map_to(self, lattice: Grid) -> tuple[PixelMap, tuple[float, float], Window]:
        """Return map, scale and needed source window; images on one lattice share them."""
        found = self._maps.get(lattice)
        if found is None:
            pixel_map = self._between(lattice)
            scale = scale_between(self.grid, lattice)
            needed = source_window(pixel_map, self.method, scale, lattice.window)
            found = self._maps[lattice] = pixel_map, scale, needed
        return found

    def lookup(self, lattice: Grid) -> Lookup:
        """Return the nearest pixels of a lattice; images on one lattice share them."""
        found = self._lookups.get(lattice)
        if found is None:
            found = self._lookups[lattice] = self._between(lattice).lookup(lattice.window)
        return found

    def _between(self, lattice: Grid) -> PixelMap:
        return PixelMap.between(self.grid, self.window, lattice, exact=self.exact)

    def needed(self, lattice: Grid) -> Window:
        """Return the pixels of a lattice that are taken."""
        return self.lookup(lattice).window if self.method == "near" else self.map_to(lattice)[2]

    def by_asset(
        self, item: SceneItem, names: Sequence[str]
    ) -> dict[AssetName, list[tuple[int, AssetBand]]]:
        """Return the item's files that may have pixels here, each with bands and their places."""
        reach = reach_of(self.grid, self.window)
        found: dict[AssetName, list[tuple[int, AssetBand]]] = {}
        for place, name in enumerate(names):
            band = item.band(name)
            if band is not None and (band.asset in found or reach.touches(outline_of(item, band))):
                found.setdefault(band.asset, []).append((place, band))
        return found


@lru_cache(maxsize=4096)
def level_for(target: Grid, source: Grid, overviews: tuple[int, ...], method: str) -> int:
    """Choose the overview: a function of both lattices and the method."""
    if not overviews or method in FULL_RESOLUTION:
        return 0
    return overview_for(target, source, level_factors(source, overviews))


def outline_of(item: SceneItem, band: AssetBand) -> Outline | None:
    """Return bounds and CRS of an image, None where nothing is known."""
    if band.grid is not None:
        return band.grid.bounds, band.grid.crs
    if item.bbox is None:
        return None
    west, south, east, north = item.bbox
    return (west, south, east + 360.0 * (west > east), north), WGS84


def projected(bounds: Bounds, source: str, target: str) -> Bounds | None:
    """Return bounds in another CRS, None where nothing can be said."""
    try:
        found = transform_bounds(bounds, source, target)
        corners = transform_bounds(found, target, source)
    except SpatialExtentEmpty:
        return None
    lost = [abs(a - b) for a, b in zip(bounds, corners, strict=True)]
    size = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    return found if all(math.isfinite(v) for v in (*found, *lost)) and max(lost) < size else None


_projected_image = lru_cache(maxsize=16_384)(projected)
"""Images stay where they are, so their bounds in the CRS of a map are kept."""


def _overlap(one: Bounds, other: Bounds, crs: str) -> bool:
    """Tell whether rectangles touch; degrees of longitude repeat after a turn."""
    for turn in _turns(crs):
        apart = (
            one[0] + turn > other[2]
            or one[2] + turn < other[0]
            or one[1] > other[3]
            or one[3] < other[1]
        )
        if not apart:
            return True
    return False


def _overlaps(one: Bounds, others: tuple[NDArray[np.float64], ...], crs: str) -> NDArray[np.bool_]:
    """Tell of each rectangle whether one touches it; see `_overlap`."""
    left, bottom, right, top = others
    found = np.zeros(len(left), np.bool_)
    for turn in _turns(crs):
        found |= (one[0] + turn <= right) & (one[2] + turn >= left)
    found &= (one[1] <= top) & (one[3] >= bottom)
    return found


def _turns(crs: str) -> tuple[float, ...]:
    return (0.0, -360.0, 360.0) if is_geographic(crs) else (0.0,)


def _padded(bounds: Bounds, x: float, y: float) -> Bounds:
    left, bottom, right, top = bounds
    return left - x, bottom - y, right + x, top + y


def _half_padded(bounds: Bounds) -> Bounds:
    return _padded(bounds, (bounds[2] - bounds[0]) / 2, (bounds[3] - bounds[1]) / 2)


def _area(bounds: Bounds) -> float:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])
