"""Image files: what they are, and exactly the pixels of a window from cached internal tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import RasterioError
from typing_extensions import override

from terrazzo.cube import all_valid
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import crs_name
from terrazzo.geo.grid import Grid, Window
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.handles import NO_GEOREFERENCE, HandlePool, gdal_environment, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from terrazzo.cube import Mask, Values
    from terrazzo.errors import SourceUnreadable
    from terrazzo.storage.gate import AssetName

    Stamp = tuple[int, int]
    OnBad = Callable[[SourceUnreadable], None]

CACHE_BYTES = 512 * 2**20
"""What the process-wide cache of decoded tiles holds unless told otherwise."""
TILE_BYTES_LIMIT = 2**30
"""A file whose internal tiles are larger is not read: decoding one takes them whole."""
STRIP_PIXELS = 2**17
"""Strips of an untiled file are cached in runs of about so many pixels."""

_MASK_KEY, _ALL_BANDS_KEY = -1, 0


@dataclass(frozen=True, slots=True)
class RasterInfo:
    """What a file says about itself."""

    grid: Grid
    """The lattice of its full resolution, always north-up."""
    flipped_y: bool
    """Whether the file stores its southern row first; reads turn it over."""
    dtypes: tuple[str, ...]
    """One per band, NumPy names."""
    nodata: tuple[float | None, ...]
    """One per band; None where nothing is declared."""
    scales: tuple[float, ...]
    """One per band, 1 where nothing is declared."""
    offsets: tuple[float, ...]
    """One per band, 0 where nothing is declared."""
    overviews: tuple[int, ...]
    """Reduction factors of levels 1, 2, ...; empty without overviews."""
    block: tuple[int, int]
    """(height, width) of an internal tile or strip at full resolution."""
    has_mask: bool
    """Whether a mask band or an alpha band says what is valid."""
    alpha: int | None
    """1-based index of the alpha band."""
    descriptions: tuple[str, ...]
    """One per band; empty text where nothing is declared."""
    interleaved: bool
    """Whether one internal tile holds all bands."""

    @property
    def overview_sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of levels 1, 2, ..., rounded up as GDAL does."""
        return tuple(
            (-(-self.grid.height // factor), -(-self.grid.width // factor))
            for factor in self.overviews
        )

    @property
    def factors(self) -> tuple[tuple[float, float], ...]:
        """(row factor, column factor) of levels 0, 1, 2, ..."""
        return level_factors(self.grid, self.overviews)


@dataclass(frozen=True, slots=True)
class _Level:
    """One overview level of one file."""

    grid: Grid
    block: tuple[int, int]
    masked: bool


class RasterReader:
    """Reads image files through one cache and one pool of open datasets; for many threads.

    A reader that is pickled arrives as the process-wide one of the other process.
    """

    def __init__(self, cache: BlockCache | None = None, handles: HandlePool | None = None) -> None:
        self.cache = cache or BlockCache(CACHE_BYTES)
        self.handles = handles or HandlePool()
        self._info = lru_cache(maxsize=4096)(self._read_info)
        self._level = lru_cache(maxsize=8192)(self._read_level)

    @override
    def __reduce__(self) -> tuple[Callable[[], RasterReader], tuple[()]]:
        return default_reader, ()

    def describe(self, asset: AssetName) -> RasterInfo:
        """Return what a file says about itself, read once per version of the file.

        Raises:
            SourceUnreadable: gone, damaged, without georeference, or rotated.
        """
        return self._info(asset, asset.stamp)

    def level_grid(self, asset: AssetName, level: int) -> Grid:
        """Return the lattice of an overview level: the file's extent in the level's pixels.

        Raises:
            SourceUnreadable: as `describe`.
        """
        return self._level(asset, asset.stamp, level).grid

    def read_window(
        self,
        asset: AssetName,
        level: int,
        bands: Sequence[int],
        window: Window,
        *,
        nodata: Sequence[float | None] | None = None,
        on_bad: OnBad | None = None,
    ) -> tuple[Values, Mask]:
        """Return exactly the pixels of a window.

        Args:
            asset: what the gate let through.
            level: overview level, 0 = full resolution.
            bands: 1-based indices.
            window: rows and columns of the level's north-up grid, all inside it.
            nodata: one per band, instead of what the file declares; None = no such value.
            on_bad: called for an internal tile that cannot be decoded, whose pixels are then
                invalid; without it the error is raised.

        Returns:
            (band, y, x) values in the file's dtype (the common one of the bands), and their
            validity: from the mask or alpha band, else from no-data (NaN no-data marks NaN).

        Raises:
            SourceUnreadable: gone, damaged or without georeference.
            ArgumentInvalid: a band or pixel that is not there.
        """
        stamp = asset.stamp
        info, lattice = self._info(asset, stamp), self._level(asset, stamp, level)
        missing = [band for band in bands if not 1 <= band <= len(info.dtypes)]
        if missing or not lattice.grid.window.contains(window):
            raise ArgumentInvalid(
                f"Item {asset.item!r}, asset {asset.asset!r} has {len(info.dtypes)} bands of "
                f"{lattice.grid.height} x {lattice.grid.width} pixels at level {level}, not "
                f"bands {tuple(bands)} at {window}."
            )
        self.cache.count_request(window.pixels * len(bands))
        dtype = np.result_type(*(info.dtypes[band - 1] for band in bands))
        values = np.empty((len(bands), window.height, window.width), dtype)
        read = _Read(self, asset, stamp, level, info, lattice, on_bad)
        broken = read.fill(values, bands, window)
        own = [info.nodata[b - 1] if not info.has_mask else None for b in bands]
        valid = _valid_by_value(values, own if nodata is None else nodata)
        if lattice.masked:
            mask = np.empty((1, window.height, window.width), np.uint8)
            lost = read.fill(mask, (_MASK_KEY,), window)
            valid = valid & (mask != 0)
            broken = [*broken, *((slice(None), rows, cols) for _, rows, cols in lost)]
        if broken:
            valid = valid.copy()
            for where in broken:
                valid[where] = False
                values[where] = 0
        return values, valid

    def _read_info(self, asset: AssetName, stamp: Stamp) -> RasterInfo:
        with self.handles.lease(asset, 0, stamp) as dataset:
            grid, flipped = _grid_of(asset, dataset)
            flags = dataset.mask_flag_enums[0]
            alphas = [i for i, c in enumerate(dataset.colorinterp, 1) if c is ColorInterp.alpha]
            return RasterInfo(
                grid=grid,
                flipped_y=flipped,
                dtypes=tuple(dataset.dtypes),
                nodata=tuple(dataset.nodatavals),
                scales=tuple(dataset.scales),
                offsets=tuple(dataset.offsets),
                overviews=tuple(dataset.overviews(1)),
                block=tuple(dataset.block_shapes[0]),
                has_mask=MaskFlags.per_dataset in flags,
                alpha=alphas[0] if alphas else None,
                descriptions=tuple(text or "" for text in dataset.descriptions),
                interleaved=dataset.count > 1 and dataset.interleaving is Interleaving.pixel,
            )

    def _read_level(self, asset: AssetName, stamp: Stamp, level: int) -> _Level:
        info = self._info(asset, stamp)
        full = info.grid
        with self.handles.lease(asset, level, stamp) as dataset:
            height, width = dataset.height, dataset.width
            block = tuple(dataset.block_shapes[0])
            masked = info.has_mask and MaskFlags.per_dataset in dataset.mask_flag_enums[0]
        if block[1] >= width:
            strips = max(STRIP_PIXELS // max(block[0] * width, 1), 1)
            block = (block[0] * strips, width)
        size = np.dtype(max(info.dtypes, key=lambda name: np.dtype(name).itemsize)).itemsize
        count = len(info.dtypes) if info.interleaved else 1
        need = min(block[0], height) * min(block[1], width) * size * count
        if need > TILE_BYTES_LIMIT:
            raise unreadable(
                asset,
                f"each of its internal tiles takes {need / 1e9:.1f} GB; write it with smaller "
                "ones first, for example `gdal_translate -of COG in.tif out.tif`",
            )
        grid = Grid(
            full.crs,
            full.left,
            full.top,
            full.pixel_x * full.width / width if level else full.pixel_x,
            full.pixel_y * full.height / height if level else full.pixel_y,
            height,
            width,
        )
        return _Level(grid, block, masked)


@dataclass(frozen=True, slots=True)
class _Read:
    """One read of one level: fills arrays from internal tiles."""

    reader: RasterReader
    asset: AssetName
    stamp: Stamp
    level: int
    info: RasterInfo
    lattice: _Level
    on_bad: OnBad | None

    def fill(
        self, out: Values, bands: Sequence[int], window: Window
    ) -> list[tuple[int | slice, slice, slice]]:
        """Copy bands (or the mask) into `out`; returns the places of tiles that are broken."""
        stored = window
        if self.info.flipped_y:
            row = self.lattice.grid.height - window.row_stop
            stored = Window(row, window.col, window.height, window.width)
            out = out[:, ::-1]
        together = self.info.interleaved and bands[0] != _MASK_KEY
        broken: list[tuple[int | slice, slice, slice]] = []
        for tile in self._tiles(stored):
            part = stored.intersection(tile)
            rows, cols = stored.slices(part)
            inner = tile.slices(part)
            for position, band in enumerate(bands):
                try:
                    pixels = self._decoded(_ALL_BANDS_KEY if together else band, tile)
                except RasterioError as error:
                    problem = unreadable(self.asset, error)
                    if self.on_bad is None:
                        raise problem from None
                    self.on_bad(problem)
                    if self.info.flipped_y:
                        rows = slice(stored.height - rows.stop, stored.height - rows.start)
                    broken.append((position, rows, cols))
                    rows, cols = stored.slices(part)
                    continue
                out[position, rows, cols] = pixels[band - 1 if together else 0][inner]
        return broken

    def _tiles(self, stored: Window) -> list[Window]:
        """Return the internal tiles that a window touches, cut at the border of the image."""
        height, width = self.lattice.block
        if stored.is_empty:
            return []
        return [
            Window(row, col, height, width).intersection(self.lattice.grid.window)
            for row in range(stored.row // height * height, stored.row_stop, height)
            for col in range(stored.col // width * width, stored.col_stop, width)
        ]

    def _decoded(self, band: int, tile: Window) -> Values:
        """Return (1 or all bands, y, x) of an internal tile, in the file's orientation."""
        key = (self.asset.key, self.stamp, self.level, band, tile.row, tile.col)
        return self.reader.cache.get(key, lambda: self._decode(band, tile))

    def _decode(self, band: int, tile: Window) -> Values:
        window = ((tile.row, tile.row_stop), (tile.col, tile.col_stop))
        lease = self.reader.handles.lease(self.asset, self.level, self.stamp)
        with gdal_environment(), lease as dataset:
            if band == _MASK_KEY:
                found = dataset.read_masks(1, window=window)[np.newaxis]
            elif band == _ALL_BANDS_KEY:
                found = dataset.read(window=window)
            else:
                found = dataset.read([band], window=window)
        pixels: Values = np.asarray(found)
        return pixels


def level_factors(grid: Grid, overviews: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """Return (row factor, column factor) of full resolution and overviews of a file.

    They are the true ratios of the sizes: 7 pixels make an overview of 4, a factor of 1.75.
    """
    sizes = [(grid.height, grid.width)]
    sizes += [(-(-grid.height // factor), -(-grid.width // factor)) for factor in overviews]
    return tuple((grid.height / height, grid.width / width) for height, width in sizes)


@lru_cache(maxsize=1)
def default_reader() -> RasterReader:
    """Return the reader that all sources of this process share."""
    return RasterReader()


def describe(asset: AssetName) -> RasterInfo:
    """Return what a file says about itself; see `RasterReader.describe`."""
    return default_reader().describe(asset)


def read_window(
    asset: AssetName, level: int, bands: Sequence[int], window: Window
) -> tuple[Values, Mask]:
    """Return exactly the pixels of a window; see `RasterReader.read_window`."""
    return default_reader().read_window(asset, level, bands, window)


def _grid_of(asset: AssetName, dataset: Any) -> tuple[Grid, bool]:
    """Return the north-up grid, and whether the file's rows go north."""
    transform = dataset.transform
    if dataset.crs is None or transform.is_identity:
        raise unreadable(asset, NO_GEOREFERENCE)
    if transform.b or transform.d or transform.a < 0:
        raise unreadable(
            asset,
            "its pixels are rotated or mirrored; turn it north-up first, for example with "
            "`gdalwarp in.tif out.tif`",
        )
    try:
        crs = crs_name(dataset.crs.to_wkt())
    except ArgumentInvalid:
        raise unreadable(asset, "its coordinate reference system is not known") from None
    flipped = transform.e > 0
    top = transform.f + transform.e * dataset.height if flipped else transform.f
    numbers = (transform.c, top, transform.a, abs(transform.e))
    if not all(math.isfinite(number) for number in numbers) or min(numbers[2:]) <= 0:
        raise unreadable(asset, "its geotransform is not valid")
    return Grid(crs, *numbers, dataset.height, dataset.width), flipped


def _valid_by_value(values: Values, nodata: Sequence[float | None]) -> Mask:
    """Return validity from no-data values, in the dtype of the pixels."""
    if all(value is None for value in nodata):
        return all_valid(values.shape)
    valid = np.ones(values.shape, np.bool_)
    for position, value in enumerate(nodata):
        if value is None:
            continue
        if values.dtype.kind in "fc":
            band = values[position]
            valid[position] = (
                ~np.isnan(band) if math.isnan(value) else band != band.dtype.type(value)
            )
        elif not math.isnan(value) and value == int(value):
            info = np.iinfo(values.dtype)
            if info.min <= value <= info.max:
                valid[position] = values[position] != int(value)
    return valid
