"""What ingestion asks of image files: what they are, whether they are whole, a copy as COG."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rasterio.shutil
from isal import isal_zlib
from rasterio._err import CPLE_BaseError
from rasterio.enums import Interleaving
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from terrazzo.errors import SourceUnreadable
from terrazzo.spans import span
from terrazzo.storage.gate import Gate
from terrazzo.storage.handles import gdal_environment, open_dataset, unreadable
from terrazzo.storage.headers import TILE_BYTES_LIMIT, Header, LevelInfo, info_of, level_of
from terrazzo.storage.image_facts import FileFacts, facts_of
from terrazzo.storage.jpeg2000 import check_codestream
from terrazzo.storage.lost_marks import kept_mark
from terrazzo.storage.remote.objects import fetch_whole
from terrazzo.storage.remote.transport import RemoteFailed
from terrazzo.storage.tiff import INFLATED
from terrazzo.storage.tiff_layout import tiff_layout
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.headers import RasterInfo
    from terrazzo.storage.tiff_layout import TiffLayout

CLASS_TYPES: Final = frozenset({"uint8", "int8", "bool"})
"""Types whose overviews take the nearest pixel, because their values are often classes."""

_EDGE_AT_ONCE: Final = 2048
_BYTES_AT_ONCE: Final = 2**24
_DAMAGED: Any = isal_zlib.IsalError
_JPEG_2000: Final = "JP2OpenJPEG"
_JPEG: Final = 7
_JPEG_END: Final = b"\xff\xd9"
"""Is in every whole JPEG, and nowhere before its end."""
_CRS_KEPT: Final = 512
_crs_names: dict[bytes, str] = {}
"""Names of CRS by what a TIFF says of them, which GDAL takes longer to read than all else."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a file is, seen by opening it once."""

    header: Header
    """What it says about its pixels."""
    facts: FileFacts
    """What it says besides."""


def look(asset: AssetName, *, decode: bool = False) -> Look:
    """Find out what an image file is, and that it is whole.

    Args:
        asset: what the gate let through.
        decode: see `check_whole`.

    Raises:
        SourceUnreadable: gone, cut short or damaged, without georeference, or rotated.
    """
    stamp = asset.stamp
    with span("open"), gdal_environment(), open_dataset(asset) as dataset:
        layout = tiff_layout(asset) if _is_local_tiff(asset) else None
        keys = layout.crs_keys if layout is not None else b""
        info = info_of(asset, dataset, crs=_crs_names.get(keys, ""))
        if keys:
            if len(_crs_names) >= _CRS_KEPT:
                _crs_names.clear()
            _crs_names[keys] = info.grid.crs
        levels = (level_of(dataset), *_overviews(asset, info, layout))
        units = layout is None or layout.may_have_units
        found = Look(Header(stamp, info, levels), facts_of(dataset, units=units))
    for level in levels:
        level.check(asset, info)
    if layout is not None:
        _check_reach(asset, layout)
    if asset.driver == _JPEG_2000 and not asset.is_remote:
        check_codestream(asset)
    if decode:
        _check_decodes(asset, layout)
    return found


def check_whole(asset: AssetName, *, decode: bool = False) -> None:
    """Refuse an image that is cut short: every internal tile must lie within the file.

    Args:
        asset: what the gate let through.
        decode: also decode every pixel of full resolution and overviews, and compare the
            checksums of DEFLATE, which GDAL does not; as slow as reading the whole file.

    Raises:
        SourceUnreadable: the file is gone, cut short or damaged.
    """
    with open_dataset(asset):
        layout = tiff_layout(asset) if _is_local_tiff(asset) else None
    if layout is not None:
        _check_reach(asset, layout)
    if asset.driver == _JPEG_2000 and not asset.is_remote:
        check_codestream(asset)
    if decode:
        _check_decodes(asset, layout)


def _is_local_tiff(asset: AssetName) -> bool:
    return asset.driver == "GTiff" and not asset.is_remote


def _overviews(asset: AssetName, info: RasterInfo, layout: TiffLayout | None) -> list[LevelInfo]:
    """Describe the overviews: by the directories where those say all, else by opening each."""
    inside = () if layout is None else layout.overviews
    count = len(info.overviews)
    plain = len(inside) == count and not info.has_mask and all(one.tile for one in inside)
    if plain and not os.path.exists(f"{asset.gdal}.ovr"):  # noqa: PTH110 - GDAL's name of it
        return [LevelInfo(one.height, one.width, one.tile or (0, 0), False) for one in inside]
    found = []
    for level in range(1, count + 1):
        with open_dataset(asset, level) as dataset, gdal_environment():
            found.append(level_of(dataset))
    return found if info.has_mask else [replace(one, masked=False) for one in found]


def _check_reach(asset: AssetName, layout: TiffLayout) -> None:
    for one in layout.directories:
        if one.parts != len(one.offsets):
            raise unreadable(
                asset,
                f"it is damaged: {one.height} x {one.width} pixels take {one.parts} internal tiles "
                f"or strips, and it has {len(one.offsets)}",
            )
    reach, size_bytes = max(one.reach for one in layout.directories), asset.stamp[1]
    if reach > size_bytes:
        raise unreadable(
            asset, f"it is cut short: {size_bytes} bytes of at least {reach}. Get it again"
        )


def _check_decodes(asset: AssetName, layout: TiffLayout | None) -> None:
    """Decode every pixel of every level, and compare the checksums that there are."""
    if layout is not None:
        _compare_checksums(asset, layout)
    with open_dataset(asset) as dataset, gdal_environment():
        count = len(dataset.overviews(1)) if dataset.count else 0
    for level in range(1 + count):
        _decode_all(asset, level)


def _compare_checksums(asset: AssetName, layout: TiffLayout) -> None:
    """Inflate internal tiles, which compares the checksum that each ends with; see JPEG's ends.

    GDAL stops as soon as a tile is full, and so takes what goes on as something else for good.
    LZW, PackBits and ZSTD of TIFF have no checksum: damage that decodes is found by nobody.
    """
    with open(asset.gdal, "rb") as file:  # noqa: PTH123 - GDAL's name of it
        for one in layout.directories:
            if one.compression not in INFLATED and one.compression != _JPEG:
                continue
            if one.part_bytes > TILE_BYTES_LIMIT:
                raise unreadable(asset, _too_large(one.part_bytes))
            for number in np.argsort(one.offsets, kind="stable").tolist():
                offset, count = int(one.offsets[number]), int(one.counts[number])
                if not offset or not count:
                    continue
                file.seek(offset)
                stored = file.read(count)
                deflated = one.compression in INFLATED
                if not (_inflates(stored, one.part_bytes) if deflated else _JPEG_END in stored):
                    raise unreadable(
                        asset, f"it is damaged: the internal tile at byte {offset} does not unpack"
                    )


def _inflates(stored: bytes, part_bytes: int) -> bool:
    """Tell whether a tile ends where it should, with the checksum of its content."""
    inflater = isal_zlib.decompressobj()
    try:
        inflater.decompress(stored, part_bytes)
    except _DAMAGED:
        return False
    return bool(inflater.eof)


def _too_large(part_bytes: float) -> str:
    return (
        f"each of its internal tiles takes {part_bytes / 1e9:.1f} GB; write it with smaller ones "
        "first, for example `gdal_translate -of COG in.tif out.tif`"
    )


def _decode_all(asset: AssetName, level: int) -> None:
    """Decode every pixel of a level, some internal tiles at a time."""
    with open_dataset(asset, level) as dataset:
        rows, cols = dataset.block_shapes[0]
        pixel_bytes = sum(np.dtype(name).itemsize for name in dataset.dtypes)
        apart = dataset.interleaving is not Interleaving.pixel
        tile_bytes = rows * cols * pixel_bytes // (dataset.count if apart else 1)
        if tile_bytes > TILE_BYTES_LIMIT:
            raise unreadable(asset, _too_large(tile_bytes))
        width = max(_EDGE_AT_ONCE // cols, 1) * cols
        height = max(_BYTES_AT_ONCE // (width * rows * pixel_bytes), 1) * rows
        for row in range(0, dataset.height, height):
            for col in range(0, dataset.width, width):
                window = RasterioWindow(
                    col, row, min(width, dataset.width - col), min(height, dataset.height - row)
                )
                try:
                    with gdal_environment():
                        dataset.read(window=window)
                except RasterioError as error:
                    raise unreadable(asset, error) from None


def copy_as_cog(asset: AssetName, path: Path) -> None:
    """Copy an image, losslessly and with all that its header states, to a COG.

    No-data that float64 does not hold becomes a number that it does (`kept_mark`). The source is
    decoded once, by the copy, which fails where a pixel does not decode; checksums that GDAL does
    not compare are compared before.

    Args:
        asset: what the gate let through.
        path: the new file, in a folder that is there. It appears whole or not at all.

    Raises:
        SourceUnreadable: the image cannot be decoded.
        OutputFailed: the copy cannot be written.
    """
    layout = tiff_layout(asset) if _is_local_tiff(asset) else None
    if layout is not None:
        _check_reach(asset, layout)
        _compare_checksums(asset, layout)
    with whole_file(path) as part, open_dataset(asset) as dataset:
        try:
            with kept_mark(asset, dataset, part) as plain:
                cog_of(plain, part)
        except OSError:
            _check_decodes(asset, None)  # tells whether it is the source that fails
            raise


def copy_whole(asset: AssetName, path: Path) -> None:
    """Copy an image as `copy_as_cog` does; a remote one is fetched beforehand, in one go.

    Raises:
        SourceUnreadable: the image cannot be fetched or decoded.
        OutputFailed: the copy cannot be written.
    """
    if asset.address is None:
        copy_as_cog(asset, path)
        return
    suffix = Path(asset.key).suffix
    whole = path.with_name(f".{path.name}.fetched.part{suffix}")
    try:
        fetch_whole(asset.address, whole, path.parent / ".fetched")
        copy_as_cog(Gate((path.parent,)).open_name(str(whole), item=asset.item), path)
    except RemoteFailed as error:
        raise unreadable(asset, error) from None
    whole.unlink(missing_ok=True)
    shutil.rmtree(path.parent / ".fetched", ignore_errors=True)


def cog_of(dataset: Any, path: Path) -> None:
    """Write an open dataset as COG, and see that the file is whole.

    Overviews that the dataset has are kept; missing ones take the nearest pixel for types that
    often hold classes (`CLASS_TYPES`), else the mean of the valid ones.

    Args:
        dataset: of rasterio, with all bands, tags and masks that the file is to have.
        path: the new file; what is left of it after an error is the caller's.

    Raises:
        OSError: a pixel cannot be read, or the file cannot be written.
    """
    classes = CLASS_TYPES.intersection(dataset.dtypes)
    try:
        with gdal_environment(), span("encode"):
            rasterio.shutil.copy(
                dataset,
                path,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR="YES",
                OVERVIEW_RESAMPLING="NEAREST" if classes else "AVERAGE",
                BIGTIFF="IF_SAFER",
            )
        check_whole(Gate((path.parent,)).open_name(str(path)))
    except (RasterioError, CPLE_BaseError, SourceUnreadable) as error:
        raise OSError(str(error)) from error
