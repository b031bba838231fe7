"""What a source is made of: items with their bands, grouped to the days that are read together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from terrazzo.errors import SourceUnreadable, SpatialExtentEmpty
from terrazzo.geo.crs import WGS84
from terrazzo.geo.grid import Grid, Window, transform_bounds
from terrazzo.geo.times import format_time, solar_day
from terrazzo.storage.headers import Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from terrazzo.geo.grid import Bounds
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.raster import RasterReader


@dataclass(frozen=True, slots=True)
class AssetBand:
    """One band of one item: where it is and what its numbers mean."""

    band_name: str
    """As the user knows it."""
    asset: AssetName
    """The file, past the gate."""
    index: int = 1
    """1-based index of the band in the file."""
    nodata: float | None = None
    """The value that marks no-data; None = as the file declares."""
    scale: float = 1.0
    """Physical value = number * scale + offset, for this item's band."""
    offset: float = 0.0
    """See `scale`; Sentinel-2 from baseline 04.00 has one, items before don't."""
    grid: Grid | None = None
    """The file's lattice (proj:transform, proj:shape), so that planning opens nothing."""
    dtype: str = ""
    """Type of the numbers in the file (data_type), NumPy name; empty = ask the file."""
    overviews: tuple[int, ...] | None = None
    """Reduction factors of the file's overviews; None = not known, for costs only."""
    header: Header | None = None
    """What is known of the file, so that reading opens only the level that it wants."""

    @property
    def is_scaled(self) -> bool:
        """Whether physical values differ from the numbers in the file."""
        return self.scale != 1.0 or self.offset != 0.0


@dataclass(frozen=True, slots=True)
class SceneItem:
    """One image: an instant and its bands."""

    id: str
    """Id in the catalogue."""
    time: datetime
    """Aware instant."""
    bands: tuple[AssetBand, ...]
    """The bands that there are; others of the source are no-data."""
    bbox: Bounds | None = None
    """(west, south, east, north), degrees; west > east across the antimeridian."""

    def band(self, name: str) -> AssetBand | None:
        """Return a band by name, None where the item lacks it."""
        return next((band for band in self.bands if band.band_name == name), None)

    @property
    def longitude(self) -> float:
        """Of the middle, degrees; 0 where nothing is known."""
        if self.bbox is not None:
            west, _, east, _ = self.bbox
            return (west + east + (360.0 if west > east else 0.0)) / 2
        grid = next((band.grid for band in self.bands if band.grid is not None), None)
        if grid is None:
            return 0.0
        try:
            middle = Window(grid.height // 2, grid.width // 2, 1, 1)
            west, _, east, _ = transform_bounds(grid.bounds_of(middle), grid.crs, WGS84)
        except SpatialExtentEmpty:
            return 0.0
        return (west + east) / 2


def solar_day_groups(items: Iterable[SceneItem]) -> tuple[tuple[SceneItem, ...], ...]:
    """Group items to days in mean solar time at their place.

    Within a group, and between groups, the order is (time, id). Groups that begin at the same
    instant (swaths on both sides of the antimeridian) are one, so that labels are unique.
    """
    days: dict[object, list[SceneItem]] = {}
    for item in sorted(items, key=lambda item: (item.time, item.id)):
        days.setdefault(solar_day(item.time, item.longitude), []).append(item)
    starts: dict[datetime, list[SceneItem]] = {}
    for group in days.values():
        starts.setdefault(group[0].time, []).extend(group)
    ordered = [sorted(group, key=lambda item: (item.time, item.id)) for group in starts.values()]
    return tuple(tuple(group) for group in sorted(ordered, key=lambda g: (g[0].time, g[0].id)))


def labels_of(groups: Sequence[Sequence[SceneItem]]) -> tuple[str, ...]:
    """Return the time label of each group: the instant of its first item, RFC 3339."""
    return tuple(format_time(group[0].time) for group in groups)


def completed(item: SceneItem, names: Sequence[str], reader: RasterReader) -> SceneItem:
    """Return the item with lattice and type of its chosen bands.

    Files are opened only for facts that are missing. Bands whose file cannot be read are left
    without facts.
    """
    return replace(
        item,
        bands=tuple(
            _completed(band, reader) if band.band_name in names else band for band in item.bands
        ),
    )


def _completed(band: AssetBand, reader: RasterReader) -> AssetBand:
    header, stated = band.header, band.grid is not None and bool(band.dtype)
    if header is None and not stated:
        try:
            image = reader.image(band.asset)
        except SourceUnreadable:
            return band
        header = Header(image.stamp, image.info, (image.size(0),))
    if header is None or not 1 <= band.index <= len(header.info.dtypes):
        return band
    return replace(
        band,
        grid=band.grid if stated else header.info.grid,
        dtype=band.dtype if stated else header.info.dtypes[band.index - 1],
        overviews=header.info.overviews,
        header=header,
    )


def native_grid(items: Sequence[SceneItem], names: Sequence[str]) -> Grid | None:
    """Return the lattice that a source has by itself, over all that its items cover.

    It is that of the finest chosen band in the commonest CRS, of the first such item.
    """
    finest = [grid for grid in (_finest(item, names) for item in items) if grid is not None]
    if not finest:
        return None
    crs = Counter(grid.crs for grid in finest).most_common(1)[0][0]
    base = next(grid for grid in finest if grid.crs == crs)
    extent = Window(0, 0, 0, 0)
    for grid in _lattices(items, names):
        try:
            bounds = transform_bounds(grid.bounds, grid.crs, crs)
        except SpatialExtentEmpty:
            continue
        shift = base.offset_of(grid)
        window = (
            Window(*shift, grid.height, grid.width) if shift is not None else base.window_of(bounds)
        )
        extent = extent.union(window)
    return base.crop(extent)


def _finest(item: SceneItem, names: Sequence[str]) -> Grid | None:
    grids = [b.grid for b in item.bands if b.band_name in names and b.grid is not None]
    return min(grids, key=lambda grid: grid.pixel_metres, default=None)


def _lattices(items: Sequence[SceneItem], names: Sequence[str]) -> Iterator[Grid]:
    seen = set()
    for item in items:
        for band in item.bands:
            if band.band_name in names and band.grid is not None and band.grid not in seen:
                seen.add(band.grid)
                yield band.grid
