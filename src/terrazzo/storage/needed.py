"""What a window needs of its images at least: what reads are measured and ordered by.

A pixel of an image is needed if it lies between the outermost pixel centres of the window, at
the overview that a read takes, and no earlier image of its label covers it. Reads take more: a
rectangle, the surroundings that resampling weighs, and what blocks have in common.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import shapely

from terrazzo.errors import SourceUnreadable
from terrazzo.geo.crs import transformer
from terrazzo.storage.headers import HeaderOutdated
from terrazzo.storage.target import level_for, outline_of, reach_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.geo.grid import Grid, Window
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.raster import Image
    from terrazzo.storage.scenes import AssetBand, SceneItem
    from terrazzo.storage.source import RasterSource

    Floats = NDArray[np.float64]

INSET = 0.5 - 1e-7
"""Pixels from a window's border to the centres of its outermost pixels, almost."""
SLACK = 1e-5
"""Pixels of an image that rounding may move an outline by."""
PARTS = 64
"""Pieces into which the sides of outlines are cut, as straight lines may map to curves."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What a window needs of its images."""

    pixels: int = 0
    """Of all images, bands and labels."""
    assets: frozenset[AssetName] = frozenset()
    """The files that hold them."""
    tile_bytes: int = 0
    """Of the whole internal tiles, or runs of strips, that hold them, decoded."""


def needed(
    source: RasterSource,
    grid: Grid,
    window: Window,
    labels: Mapping[str, tuple[int, ...]],
    method: str,
) -> Needed:
    """Count what `source.read` of the same arguments cannot do without.

    Opens files for what their items don't say, as the read does; one that cannot be read needs
    nothing. Takes time per file, not per pixel.
    """
    if window.is_empty:
        return Needed()
    view = _View(source, grid, window, method)
    groups = source.near(grid, window, labels)
    names = [source.bands[i] for i in labels.get("bands", range(len(source.bands)))]
    pixels = sum(view.count(group, name) for group in groups for name in names)
    return Needed(pixels, frozenset(view.assets), sum(view.tiles.values()))


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A window, and what was worked out for the lattices of its images."""

    source: RasterSource
    grid: Grid
    window: Window
    method: str
    assets: set[AssetName] = field(default_factory=set)
    tiles: dict[tuple[AssetName, int], int] = field(default_factory=dict)
    """Bytes of decoded tiles by file and band, 0 = all bands, where they share tiles."""
    _known: dict[Grid, _Touched] = field(default_factory=dict)

    def count(self, items: tuple[SceneItem, ...], name: str) -> int:
        """Return the pixels needed of one label and band; earlier items go before later ones."""
        total = 0.0
        reach = reach_of(self.grid, self.window)
        before: BaseGeometry = shapely.Polygon()
        for item in items:
            band = item.band(name)
            if band is None or not reach.touches(outline_of(item, band)):
                continue
            found = self._level(band)
            if found is None:
                continue
            image, level = found
            there = self._touched(image.lattice(level))
            if not there.pixels:
                continue
            self.assets.add(band.asset)
            layer = 0 if image.info.interleaved else band.index
            self.tiles[band.asset, layer] = _tile_bytes(image, level, there.box, band.index)
            seen = there.seen
            fresh = shapely.difference(seen, before) if not before.is_empty else seen
            total += there.pixels * (fresh.area / seen.area)
            before = seen if before.is_empty else shapely.union(before, seen)
        return int(total)

    def _level(self, band: AssetBand) -> tuple[Image, int] | None:
        """Return an image and the overview that is read; None where the file is bad."""
        while True:
            try:
                image = self.source.reader.image(band.asset, band.header)
                info = image.info
                level = level_for(self.grid, info.grid, info.overviews, self.method)
                image.lattice(level)
            except HeaderOutdated:
                continue  # the file has been described anew
            except SourceUnreadable:
                return None
            return image, level

    def _touched(self, lattice: Grid) -> _Touched:
        """Return where an image lies in the window, and its pixels there.

        An image whose outline cannot be projected counts as nothing.
        """
        found = self._known.get(lattice)
        if found is None:
            found = self._known[lattice] = self._touch(lattice)
        return found

    def _touch(self, lattice: Grid) -> _Touched:
        grid, window = self.grid, self.window
        nothing = _Touched(shapely.Polygon(), 0, (0.0, 0.0, 0.0, 0.0))
        image = shapely.box(0, 0, lattice.width, lattice.height)
        image = _mapped(shapely.segmentize(image, _piece(lattice)), lattice, grid)
        if not np.isfinite(shapely.get_coordinates(image)).all() or not image.is_valid:
            return nothing
        centres = shapely.box(
            window.col + INSET,
            window.row + INSET,
            window.col_stop - INSET,
            window.row_stop - INSET,
        )
        seen = shapely.intersection(image, centres)
        if seen.is_empty or not seen.area:
            return nothing
        there = _mapped(shapely.segmentize(seen, _piece(window)), grid, lattice)
        if not np.isfinite(shapely.get_coordinates(there)).all():
            return nothing
        pixels = sum(
            touched(shapely.get_coordinates(part.exterior), lattice.width, lattice.height)
            for part in shapely.get_parts(there)
            if part.geom_type == "Polygon"
        )
        return _Touched(seen, pixels, there.bounds)


@dataclass(frozen=True, slots=True, eq=False)
class _Touched:
    """What a window has of an image."""

    seen: BaseGeometry
    """Where the image lies, in the window's pixels."""
    pixels: int
    """Its pixels there."""
    box: tuple[float, float, float, float]
    """Columns and rows around them: left, upper, right and lower border."""


def _tile_bytes(image: Image, level: int, box: Sequence[float], band: int) -> int:
    """Return the bytes of the whole tiles of one band, or of all, that a box touches."""
    size, info = image.size(level), image.info
    total = np.dtype(info.dtypes[band - 1]).itemsize * (len(info.dtypes) if info.interleaved else 1)
    for edge, whole, low, high in zip(
        size.unit, (size.height, size.width), (box[1], box[0]), (box[3], box[2]), strict=True
    ):
        first, stop = max(int(low), 0) // edge * edge, -(-min(int(high) + 1, whole) // edge) * edge
        total *= max(min(stop, whole) - first, 0)
    return total


def _piece(area: Grid | Window) -> float:
    return max(area.height, area.width) / PARTS


def _mapped(shape: BaseGeometry, source: Grid, target: Grid) -> BaseGeometry:
    """Bring a shape from (col, row) of one grid to those of another."""
    convert = transformer(source.crs, target.crs).transform if source.crs != target.crs else None

    def through(points: Floats) -> Floats:
        x = source.left + points[:, 0] * source.pixel_x
        y = source.top - points[:, 1] * source.pixel_y
        if convert is not None:
            x, y = convert(x, y)
        return np.stack(
            [(x - target.left) / target.pixel_x, (target.top - y) / target.pixel_y], axis=-1
        )

    return shapely.transform(shape, through)


def touched(outline: Floats, width: int, height: int) -> int:
    """Count the pixels of an image that a closed outline without deep bays touches.

    Args:
        outline: (n, 2) columns and rows, 0 = the image's left and upper border; first point last.
        width: of the image, pixels.
        height: of the image, pixels.

    Returns:
        In each row of pixels, those from the outline's leftmost point to its rightmost.
    """
    middle = (outline.min(axis=0) + outline.max(axis=0)) / 2
    away = outline - middle
    outline = middle + np.sign(away) * np.maximum(np.abs(away) - SLACK, 0)
    start, stop = outline[:-1], outline[1:]
    upper, lower = np.minimum(start, stop)[:, 1], np.maximum(start, stop)[:, 1]
    first = np.clip(np.floor(upper), 0, height).astype(np.int64)
    last = np.clip(np.floor(lower), -1, height - 1).astype(np.int64)
    count = np.maximum(last - first + 1, 0)
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    rise = stop[:, 1] - start[:, 1]
    slope = np.divide(stop[:, 0] - start[:, 0], rise, out=np.zeros_like(rise), where=rise != 0)
    left, right = np.full(height, np.inf), np.full(height, -np.inf)
    for side in (upper, lower):
        at = np.clip(side[edge], row, row + 1)
        col = start[edge, 0] + slope[edge] * (at - start[edge, 1])
        flat = (start if side is upper else stop)[edge, 0]
        col = np.where(rise[edge] == 0, flat, col)
        np.minimum.at(left, row, col)
        np.maximum.at(right, row, col)
    here = np.isfinite(left)
    leftmost = np.maximum(np.floor(left[here]), 0)
    rightmost = np.minimum(np.floor(right[here]), width - 1)
    return int(np.maximum(rightmost - leftmost + 1, 0).sum())
