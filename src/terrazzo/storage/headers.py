"""What image files say of themselves: read from the file once, kept, and told to others.

Ingestion writes the header of a file into its item (`HEADER`), so that neither planning nor a
worker opens a file to find out which overview it wants. What an item tells is believed as long as
the file has not changed since, and is compared with every dataset that is opened: where they
differ the file is right (`HeaderOutdated`).
"""

from __future__ import annotations

import marshal
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import ColorInterp, Interleaving, MaskFlags

from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.crs import WGS84, crs_name, transformer
from terrazzo.geo.grid import SAME_PLACE, Grid
from terrazzo.storage.handles import NO_GEOREFERENCE, unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.storage.gate import AssetName

    Stamp = tuple[int, int]

HEADER = "terrazzo:header"
"""Member of an asset in an item that holds what `header_document` made."""
EXACT = 2
"""Version of `marshal` in which equal JSON values are equal bytes, and no others."""
TILE_BYTES_LIMIT = 2**30
"""A file whose internal tiles are larger is not read: decoding one takes them whole."""
STRIP_PIXELS = 2**17
"""Strips of an untiled file are cached in runs of about so many pixels."""


class NotNorthUp(SourceUnreadable):
    """An image has no regular north-up grid in a known CRS; ingestion can give it one."""


class HeaderOutdated(Exception):
    """A file is not as its item tells; it has been described anew, so try again."""


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

    @property
    def dtype(self) -> np.dtype[Any]:
        """The common type of its bands, in which they are read."""
        return _common(self.dtypes)


@dataclass(frozen=True, slots=True)
class LevelInfo:
    """What one overview level of a file says about itself."""

    height: int
    """Rows."""
    width: int
    """Columns."""
    block: tuple[int, int]
    """(height, width) of an internal tile or strip."""
    masked: bool
    """Whether a mask says what is valid here."""

    def check(self, asset: AssetName, info: RasterInfo) -> None:
        """Refuse internal tiles that are too large to be decoded.

        Raises:
            SourceUnreadable: they take more than `TILE_BYTES_LIMIT`.
        """
        size = max(np.dtype(name).itemsize for name in info.dtypes)
        count = len(info.dtypes) if info.interleaved else 1
        rows, cols = self.unit
        need = min(rows, max(self.height, self.block[0])) * cols * size * count
        if need > TILE_BYTES_LIMIT:
            raise unreadable(
                asset,
                f"each of its internal tiles takes {need / 1e9:.1f} GB; write it with smaller "
                "ones first, for example `gdal_translate -of COG in.tif out.tif`",
            )

    @property
    def unit(self) -> tuple[int, int]:
        """(height, width) of what is decoded and cached at once: a tile, or a run of strips."""
        rows, cols = self.block
        if cols != self.width:  # strips are as wide as the image; tiles may be wider
            return self.block
        return rows * max(STRIP_PIXELS // max(rows * self.width, 1), 1), self.width


@dataclass(frozen=True, slots=True)
class Header:
    """What an item tells of a file: how it was when it was described."""

    stamp: Stamp
    """Time of change (ns) and bytes of the file then; zeros for a remote one."""
    info: RasterInfo
    """The file."""
    levels: tuple[LevelInfo, ...]
    """Level 0 (full resolution), 1, 2, ..."""


@lru_cache(maxsize=256)
def _common(dtypes: tuple[str, ...]) -> np.dtype[Any]:
    return np.result_type(*dtypes)


def level_factors(grid: Grid, overviews: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """Return (row factor, column factor) of full resolution and overviews of a file.

    They are the true ratios of the sizes: 7 pixels make an overview of 4, a factor of 1.75.
    """
    sizes = [(grid.height, grid.width)]
    sizes += [(-(-grid.height // factor), -(-grid.width // factor)) for factor in overviews]
    return tuple((grid.height / height, grid.width / width) for height, width in sizes)


def level_lattice(info: RasterInfo, level: int, size: LevelInfo) -> Grid:
    """Return the lattice of an overview level: the file's extent in the level's pixels."""
    full = info.grid
    if not level:
        return full
    pixel_x, pixel_y = full.pixel_x * full.width / size.width, full.pixel_y * full.height
    return Grid(
        full.crs, full.left, full.top, pixel_x, pixel_y / size.height, size.height, size.width
    )


def info_of(asset: AssetName, dataset: Any, *, crs: str = "") -> RasterInfo:
    """Describe a file by its dataset of full resolution.

    Args:
        asset: the file.
        dataset: opened of it.
        crs: name of its CRS where that is known; it takes longer to find out than all else.

    Raises:
        SourceUnreadable: without georeference, or rotated.
    """
    if not dataset.count:
        raise unreadable(asset, "it has no bands")
    numbers, flipped = _lattice_of(asset, dataset)
    grid = Grid(crs or _crs_of(asset, dataset), *numbers, dataset.height, dataset.width)
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
        has_mask=MaskFlags.per_dataset in dataset.mask_flag_enums[0],
        alpha=alphas[0] if alphas else None,
        descriptions=tuple(text or "" for text in dataset.descriptions),
        interleaved=dataset.count > 1 and dataset.interleaving is Interleaving.pixel,
    )


def level_of(dataset: Any) -> LevelInfo:
    """Describe an overview level by its dataset."""
    masked = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    return LevelInfo(dataset.height, dataset.width, tuple(dataset.block_shapes[0]), masked)


def agrees(asset: AssetName, dataset: Any, info: RasterInfo, level: LevelInfo) -> bool:
    """Tell whether a dataset that was opened is the level of the file that is described.

    The CRS, which takes longer to find out than all else, is compared for remote files only:
    local ones have the time of change and the size that are told.
    """
    numbers, flipped = _lattice_of(asset, dataset)
    grid = Grid(info.grid.crs, *numbers, dataset.height, dataset.width)
    apart = max(abs(a - b) for a, b in zip(grid.bounds, info.grid.bounds, strict=True))
    return (
        level == level_of(dataset)
        and flipped == info.flipped_y
        and apart <= SAME_PLACE * min(info.grid.pixel_x, info.grid.pixel_y)
        and tuple(dataset.dtypes) == info.dtypes
        and repr(tuple(dataset.nodatavals)) == repr(info.nodata)
        and (not asset.is_remote or _crs_of(asset, dataset) == info.grid.crs)
    )


def _crs_of(asset: AssetName, dataset: Any) -> str:
    found = dataset.crs
    if found is None:
        raise NotNorthUp(asset.item, asset.asset, NO_GEOREFERENCE)
    try:
        name = crs_name(found.to_wkt())
        transformer(name, WGS84)
    except ArgumentInvalid:
        raise unreadable(
            asset, "its coordinate reference system is not known, or not bound to the earth"
        ) from None
    return name


def _lattice_of(asset: AssetName, dataset: Any) -> tuple[tuple[float, float, float, float], bool]:
    """Return left, top and pixel size of the north-up grid, and whether rows go north."""
    transform = dataset.transform
    if transform.is_identity:
        raise NotNorthUp(asset.item, asset.asset, NO_GEOREFERENCE)
    if transform.b or transform.d or transform.a < 0:
        raise NotNorthUp(
            asset.item,
            asset.asset,
            "its pixels are rotated or mirrored; turn it north-up first, for example with "
            "`gdalwarp in.tif out.tif`",
        )
    flipped = transform.e > 0
    top = transform.f + transform.e * dataset.height if flipped else transform.f
    numbers = (transform.c, top, transform.a, abs(transform.e))
    if not all(math.isfinite(number) for number in numbers) or min(numbers[2:]) <= 0:
        raise unreadable(asset, "its geotransform is not valid")
    return numbers, flipped


def header_document(header: Header) -> dict[str, Any]:
    """Write a header as JSON values, for an asset of an item."""
    info, grid = header.info, header.info.grid
    lattice = [grid.crs, grid.left, grid.top, grid.pixel_x, grid.pixel_y, grid.height, grid.width]
    bands = zip(info.dtypes, info.nodata, info.scales, info.offsets, info.descriptions, strict=True)
    return {
        "stamp": [str(header.stamp[0]), header.stamp[1]],  # ns are more than a double holds
        "grid": lattice,
        "bands": [[t, None if n is None else str(n), s, o, d] for t, n, s, o, d in bands],
        "overviews": list(info.overviews),
        "levels": [
            [level.height, level.width, *level.block, level.masked] for level in header.levels
        ],
        "mask": info.has_mask,
        "alpha": info.alpha,
        "interleaved": info.interleaved,
        "south_up": info.flipped_y,
    }


def read_header(document: object) -> Header | None:
    """Read what `header_document` wrote; None for anything else, as the file can be asked."""
    if not isinstance(document, Mapping):
        return None
    try:
        changed, size = document["stamp"]
        stamp = int(changed), int(size)
        rest = marshal.dumps({k: v for k, v in document.items() if k != "stamp"}, EXACT)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    found = _described(rest)
    return None if found is None else Header(stamp, *found)


@lru_cache(maxsize=16_384)
def _described(text: bytes) -> tuple[RasterInfo, tuple[LevelInfo, ...]] | None:
    """Read what a header tells but for its stamp; files that are alike share it."""
    document = marshal.loads(text)  # noqa: S302 - what was written above
    try:
        crs, left, top, pixel_x, pixel_y, height, width = document["grid"]
        grid = Grid.of(crs, left, top, (pixel_x, pixel_y), int(height), int(width))
        dtypes, nodata, scales, offsets, descriptions = zip(*document["bands"], strict=True)
        levels = tuple(
            LevelInfo(int(h), int(w), (int(rows), int(cols)), bool(masked))
            for h, w, rows, cols, masked in document["levels"]
        )
        info = RasterInfo(
            grid,
            bool(document["south_up"]),
            tuple(np.dtype(name).name for name in dtypes),
            tuple(None if number is None else float(number) for number in nodata),
            tuple(map(float, scales)),
            tuple(map(float, offsets)),
            tuple(map(int, document["overviews"])),
            levels[0].block,
            bool(document["mask"]),
            None if document["alpha"] is None else int(document["alpha"]),
            tuple(map(str, descriptions)),
            bool(document["interleaved"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, ArgumentInvalid):
        return None
    sizes = [size for one in levels for size in (one.height, one.width, *one.block)]
    sound = (
        len(levels) == 1 + len(info.overviews)
        and min(*sizes, *info.overviews) > 0
        and all(np.dtype(name).kind in "iufc" for name in info.dtypes)
    )
    return (info, levels) if sound else None
