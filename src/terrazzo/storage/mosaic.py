"""Images put together from rectangles of others, as a GDAL VRT describes it, and written as COGs.

A VRT is a program that GDAL would run: it opens whatever its text names. Here only the
*description* is taken, by a parser of ours; what is opened are the checked files of `Piece`, each
with its one driver, and no VRT is ever opened. Pixels are those that GDAL gives (nearest one).
"""

from __future__ import annotations

import math
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window as RasterioWindow

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import crs_object
from terrazzo.storage.handles import HandlePool, gdal_environment, unreadable
from terrazzo.storage.headers import RasterInfo
from terrazzo.storage.ingest_support import check_whole, cog_of
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from terrazzo.cube import Mask, Values
    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.image_facts import BandFacts, PixelClass

Rectangle = tuple[float, float, float, float]
"""Column and row of the upper left corner, width and height, in pixels."""

BLOCK: Final = 1024
"""Edge of what is put together at once, pixels."""
_NEAR: Final = 1e-3
"""Fraction of a pixel by which GDAL lets a rectangle miss the pixels' edges."""
_TINY: Final = 1e-10


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of one band of a file, and where it goes."""

    asset: AssetName
    """The file, past the gate."""
    band: int
    """1-based; 0 is the mask of its first band."""
    source: Rectangle
    """The rectangle in the file."""
    target: Rectangle
    """Where it goes."""
    nodata: float | None = None
    """Stored number that is left out; None takes every pixel."""
    scale: float = 1.0
    """Factor of the stored numbers."""
    offset: float = 0.0
    """Added after that."""
    masked: bool = False
    """Whether pixels that the file's mask calls invalid are left out."""

    def sampled(
        self, pool: HandlePool, rows: range, cols: range
    ) -> tuple[slice, slice, Values, Mask | None] | None:
        """Return where in a block the piece lies, its pixels there, and which of them count.

        Raises:
            SourceUnreadable: the file cannot be read, or is smaller than the rectangle.
        """
        down = _along(rows, self.source[1], self.source[3], self.target[1], self.target[3])
        over = _along(cols, self.source[0], self.source[2], self.target[0], self.target[2])
        if down is None or over is None:
            return None
        ys, xs = down[1], over[1]
        window = RasterioWindow(
            int(xs[0]), int(ys[0]), int(xs[-1] - xs[0]) + 1, int(ys[-1] - ys[0]) + 1
        )
        stored, valid = self._read(pool, window)
        at = np.ix_(ys - ys[0], xs - xs[0])
        numbers: Values = stored[at]
        counts: Mask | None = None if valid is None else valid[at]
        if self.nodata is not None:
            kept = ~np.isnan(numbers) if math.isnan(self.nodata) else numbers != self.nodata
            counts = kept if counts is None else counts & kept
        if (self.scale, self.offset) != (1.0, 0.0):
            numbers = numbers.astype(np.float64) * self.scale + self.offset
        return down[0], over[0], numbers, counts

    def _read(self, pool: HandlePool, window: RasterioWindow) -> tuple[Values, Mask | None]:
        with pool.lease(self.asset, 0, self.asset.stamp) as dataset:
            self.check(dataset)
            try:
                with gdal_environment():
                    valid = None
                    if self.masked or not self.band:
                        valid = dataset.read_masks(self.band or 1, window=window)
                    if not self.band and valid is not None:
                        return valid, valid != 0 if self.masked else None
                    numbers = dataset.read(self.band, window=window)
            except RasterioError as error:
                raise unreadable(self.asset, error) from None
        return numbers, None if valid is None else valid != 0

    def check(self, dataset: Any) -> None:
        """Refuse a file that does not have what the rectangle takes.

        Raises:
            SourceUnreadable: says what it has.
        """
        left, top, width, height = self.source
        inside = (
            min(left, top) >= -_NEAR
            and left + width <= dataset.width + _NEAR
            and top + height <= dataset.height + _NEAR
        )
        if self.band > dataset.count or not inside:
            raise unreadable(
                self.asset,
                f"band {self.band or 'mask'} at column {left:g}, row {top:g}, {width:g} x "
                f"{height:g} pixels is asked of it, and it has {dataset.count} bands of "
                f"{dataset.width} x {dataset.height} pixels",
            )


@dataclass(frozen=True, slots=True)
class MosaicBand:
    """One band of a mosaic; later pieces lie over earlier ones."""

    name: str
    """Its description; empty if it has none."""
    dtype: str
    """Type of its numbers, in NumPy's words."""
    pieces: tuple[Piece, ...]
    """What it is made of."""
    nodata: float | None = None
    """What marks no-data."""
    fill: float = 0.0
    """What fills what no piece covers."""
    scale: float = 1.0
    """Factor from stored to physical values."""
    offset: float = 0.0
    """Added after scaling."""
    facts: BandFacts | None = None
    """Unit and wavelength."""
    colours: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Its table of colours: (red, green, blue, alpha) by number."""


@dataclass(frozen=True, slots=True)
class Mosaic:
    """An image to be."""

    grid: Grid
    """Its lattice, north up."""
    south_up: bool
    """Whether its rows go north, as those of its pieces are then counted."""
    bands: tuple[MosaicBand, ...]
    """Its bands."""
    mask: tuple[Piece, ...] = ()
    """What says which pixels are valid; empty if nothing does."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Its metadata."""
    classes: tuple[PixelClass, ...] = ()
    """The classes of its first band, if it states any."""

    @property
    def assets(self) -> tuple[AssetName, ...]:
        """The files that it is made of, each once."""
        pieces = [piece for band in self.bands for piece in band.pieces]
        return tuple(dict.fromkeys(piece.asset for piece in (*pieces, *self.mask)))

    @property
    def info(self) -> RasterInfo:
        """What the image will say about itself."""
        return RasterInfo(
            grid=self.grid,
            flipped_y=self.south_up,
            dtypes=tuple(band.dtype for band in self.bands),
            nodata=tuple(band.nodata for band in self.bands),
            scales=tuple(band.scale for band in self.bands),
            offsets=tuple(band.offset for band in self.bands),
            overviews=(),
            block=(BLOCK, BLOCK),
            has_mask=bool(self.mask),
            alpha=None,
            descriptions=tuple(band.name for band in self.bands),
            interleaved=False,
        )

    def check(self) -> None:
        """Open every file once, and refuse what cannot be put together.

        Raises:
            SourceUnreadable: a file is damaged, cut short, or smaller than what is taken of it.
        """
        pieces = [piece for band in self.bands for piece in band.pieces]
        by_asset: dict[AssetName, list[Piece]] = {}
        for piece in (*pieces, *self.mask):
            by_asset.setdefault(piece.asset, []).append(piece)
        pool = HandlePool(1)
        for asset, taken in by_asset.items():
            with pool.lease(asset, 0, asset.stamp) as dataset:
                for piece in taken:
                    piece.check(dataset)
            check_whole(asset)
        pool.close()

    def write(self, path: Path, numbers: Sequence[int]) -> None:
        """Write some of the bands as one COG; they must be of one type and no-data value.

        Args:
            path: the new file, in a folder that is there. It appears whole or not at all.
            numbers: 0-based positions in `bands`.

        Raises:
            SourceUnreadable: a file cannot be read.
            ArgumentInvalid: the disk is too small for it.
            OutputFailed: it cannot be written.
        """
        bands = [self.bands[number] for number in numbers]
        self._check_room(path, bands)
        pool = HandlePool()
        with ExitStack() as stack:
            stack.callback(pool.close)
            part = stack.enter_context(whole_file(path))
            raw = part.with_suffix(".raw.tif")
            stack.callback(raw.unlink, missing_ok=True)
            with gdal_environment():
                try:
                    with rasterio.open(raw, "w", **self._profile(bands)) as file:
                        self._describe(file, bands)
                        self._fill(file, bands, pool)
                except RasterioError as error:
                    raise output_failed(path.parent, OSError(str(error))) from error
                with rasterio.open(raw, driver="GTiff") as file:
                    cog_of(file, part)

    def _check_room(self, path: Path, bands: Sequence[MosaicBand]) -> None:
        count = len(bands) + bool(self.mask)
        pixels = self.grid.height * self.grid.width
        need = pixels * count * np.dtype(bands[0].dtype).itemsize
        free = shutil.disk_usage(path.parent).free
        if need > free:
            raise ArgumentInvalid(
                f"it has {self.grid.height} x {self.grid.width} pixels of {count} bands, which "
                f"take {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB of the disk are free. Ingest "
                "its files instead, or cut it smaller with gdalbuildvrt -te."
            )

    def _profile(self, bands: Sequence[MosaicBand]) -> dict[str, Any]:
        grid = self.grid
        top, step = (grid.bounds[1], grid.pixel_y) if self.south_up else (grid.top, -grid.pixel_y)
        profile: dict[str, Any] = {
            "driver": "GTiff", "dtype": bands[0].dtype, "count": len(bands) + bool(self.mask),
            "height": grid.height, "width": grid.width, "crs": crs_object(grid.crs).to_wkt(),
            "transform": Affine(grid.pixel_x, 0.0, grid.left, 0.0, step, top),
            "tiled": True, "interleave": "band", "BIGTIFF": "IF_SAFER", "SPARSE_OK": "TRUE",
        }  # fmt: skip
        if bands[0].nodata is not None:
            profile["nodata"] = bands[0].nodata
        if self.mask:
            profile["ALPHA"] = "YES"
        return profile

    def _describe(self, file: Any, bands: Sequence[MosaicBand]) -> None:
        """Write what is known of the bands into a new file, before its pixels."""
        if self.mask:
            file.colorinterp = [*file.colorinterp[: len(bands)], ColorInterp.alpha]
        extra = [1.0] * bool(self.mask)
        file.scales = [band.scale for band in bands] + extra
        file.offsets = [band.offset for band in bands] + [0.0] * bool(self.mask)
        for number, band in enumerate(bands, 1):
            if band.name:
                file.set_band_description(number, band.name)
            if band.facts is not None and band.facts.unit:
                file.set_band_unit(number, band.facts.unit)
        if len(bands) == 1 and bands[0].colours and bands[0].dtype in {"uint8", "uint16"}:
            file.write_colormap(1, dict(bands[0].colours))
        file.update_tags(**self.tags)

    def _fill(self, file: Any, bands: Sequence[MosaicBand], pool: HandlePool) -> None:
        height, width = self.grid.height, self.grid.width
        for top in range(0, height, BLOCK):
            rows = range(top, min(top + BLOCK, height))
            laid = [_touching(band.pieces, rows) for band in bands]
            masks = _touching(self.mask, rows)
            for left in range(0, width, BLOCK):
                cols = range(left, min(left + BLOCK, width))
                window = RasterioWindow(left, top, len(cols), len(rows))
                for number, band in enumerate(bands):
                    out = np.full((len(rows), len(cols)), band.fill, band.dtype)
                    out = _laid(out, laid[number], pool, rows, cols)
                    file.write(out, number + 1, window=window)
                if self.mask:
                    mask = np.zeros((len(rows), len(cols)), np.uint8)
                    mask = _laid(mask, masks, pool, rows, cols)
                    alpha = np.where(mask, _opaque(bands[0].dtype), 0).astype(bands[0].dtype)
                    file.write(alpha, len(bands) + 1, window=window)


def _touching(pieces: Sequence[Piece], rows: range) -> list[Piece]:
    """Return the pieces that can have pixels in some rows, in their order."""
    return [
        one
        for one in pieces
        if one.target[1] <= rows.stop and one.target[1] + one.target[3] >= rows.start
    ]


def _laid(
    out: Values, pieces: Sequence[Piece], pool: HandlePool, rows: range, cols: range
) -> Values:
    """Lay pieces over each other into a block; return it."""
    for piece in pieces:
        found = piece.sampled(pool, rows, cols)
        if found is None:
            continue
        down, over, numbers, counts = found
        numbers = converted(numbers, out.dtype)
        if counts is None:
            out[down, over] = numbers
        else:
            np.copyto(out[down, over], numbers, where=counts)
    return out


def _opaque(dtype: str) -> float:
    kind = np.dtype(dtype)
    return 255.0 if kind.kind == "f" or kind.itemsize == 1 else float(np.iinfo(kind).max)


def converted(numbers: Values, dtype: np.dtype[Any]) -> Values:
    """Return numbers in another type as GDAL converts them: rounded, and kept in its range."""
    if numbers.dtype == dtype or dtype.kind not in "iu":
        return numbers.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    wide = numbers.astype(np.float64) if numbers.dtype.kind == "f" else numbers
    if wide.dtype.kind == "f":
        wide = np.where(np.isnan(wide), 0.0, wide)
        wide = np.floor(np.abs(wide) + 0.5) * np.sign(wide)
    found: Values = np.clip(wide, limits.min, limits.max).astype(dtype)
    return found


def _along(
    wanted: range, source: float, length: float, target: float, size: float
) -> tuple[slice, Any] | None:
    """Return which of the wanted pixels a piece covers along one axis, and their source pixels."""
    first = max(math.floor(target + _NEAR), wanted.start)
    stop = min(math.ceil(target + size - _NEAR), wanted.stop)
    if first >= stop:
        return None
    centres = np.arange(first, stop) + 0.5 - target
    found = np.floor(source + centres * (length / size) + _TINY).astype(np.int64)
    lowest, highest = math.floor(source + _NEAR), math.ceil(source + length - _NEAR) - 1
    return slice(first - wanted.start, stop - wanted.start), np.clip(found, lowest, highest)
