"""What a source is made of: items with their bands, grouped to the days that are read together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from terrazzo.errors import SourceUnreadable, SpatialExtentEmpty
from terrazzo.geo.crs import WGS84
from terrazzo.geo.grid import Grid, Window, transform_bounds
from terrazzo.storage.headers import Header

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    checksum: str = ""
    """What the item says of the file's content; empty where it does not."""

    @property
    def is_stated(self) -> bool:
        """Whether its item says where its pixels lie and of which type they are."""
        return self.header is not None or (self.grid is not None and bool(self.dtype))

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


def completed(item: SceneItem, names: Sequence[str], reader: RasterReader) -> SceneItem:
    """Return the item with lattice and type of its chosen bands.

    Files are opened only for facts that are missing. Bands whose file cannot be read are left
    without facts.
    """
    bands = tuple(
        _completed(band, reader) if band.band_name in names else band for band in item.bands
    )
    return item if bands == item.bands else replace(item, bands=bands)


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
    if stated and band.header is header and band.overviews == header.info.overviews:
        return band
    return replace(
        band,
        grid=band.grid if stated else header.info.grid,
        dtype=band.dtype if stated else header.info.dtypes[band.index - 1],
        overviews=header.info.overviews,
        header=header,
    )


def native_grid(images: Sequence[tuple[Sequence[Grid], int]]) -> Grid | None:
    """Return the lattice that a source has by itself, over all that its images cover.

    It is the finest of an image in the commonest CRS, of the first such image.

    Args:
        images: in reading order: lattices of the chosen bands, and how many images have the same.
    """
    finest = [
        (min(grids, key=lambda grid: grid.pixel_metres), count) for grids, count in images if grids
    ]
    if not finest:
        return None
    systems: Counter[str] = Counter()
    for grid, count in finest:
        systems[grid.crs] += count
    crs = systems.most_common(1)[0][0]
    base = next(grid for grid, _ in finest if grid.crs == crs)
    extent = Window(0, 0, 0, 0)
    for grid in dict.fromkeys(grid for grids, _ in images for grid in grids):
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
