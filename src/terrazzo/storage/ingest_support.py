"""What ingestion asks of image files: their tags, whether they are whole, and a copy as COG."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from terrazzo.errors import SourceUnreadable
from terrazzo.storage.gate import Gate
from terrazzo.storage.handles import gdal_environment, open_dataset, unreadable
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.storage.gate import AssetName

CLASS_TYPES: Final = frozenset({"uint8", "int8", "bool"})
"""Types whose overviews take the nearest pixel, because their values are often classes."""

_ROWS_AT_ONCE: Final = 512


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file states that is not about its pixels."""

    tags: Mapping[str, str]
    """Its own metadata and that of GDAL's domain `IMAGERY`."""
    is_cog: bool
    """Whether it is laid out, and says so, as a cloud-optimised GeoTIFF."""


def file_facts(asset: AssetName) -> FileFacts:
    """Return what a file states that is not about its pixels.

    Raises:
        SourceUnreadable: the file cannot be opened.
    """
    with open_dataset(asset) as dataset, gdal_environment():
        tags = dict(dataset.tags(ns="IMAGERY")) | dict(dataset.tags())
        return FileFacts(tags, dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG")


def check_whole(asset: AssetName, *, decode: bool = False) -> None:
    """Refuse a TIFF that is cut short: every internal tile must lie within the file.

    Args:
        asset: what the gate let through.
        decode: also decode every pixel of full resolution and overviews, and compare the
            checksums of DEFLATE, which GDAL does not; as slow as reading the whole file. For
            JPEG 2000 nothing else is checked.

    Raises:
        SourceUnreadable: the file is gone, cut short or damaged.
    """
    with open_dataset(asset) as dataset:
        levels = range(1 + len(dataset.overviews(1)) if dataset.count else 0)
        deflated = dataset.profile.get("compress") in {"deflate", "adobe_deflate"}
    if asset.driver == "GTiff" and not asset.is_remote:
        size_bytes = asset.stamp[1]
        parts = [part for level in levels for part in _parts(asset, level)]
        reach = max((first + length for first, length in parts), default=0)
        if reach > size_bytes:
            raise unreadable(
                asset, f"it is cut short: {size_bytes} bytes of at least {reach}. Get it again"
            )
        if decode and deflated:
            _compare_checksums(asset, parts)
    if decode:
        for level in levels:
            _decode_all(asset, level)


def _parts(asset: AssetName, level: int) -> list[tuple[int, int]]:
    """Return where the internal tiles of a level lie in the file: (first byte, bytes), in order."""
    found = set()
    with open_dataset(asset, level) as dataset, gdal_environment():
        height, width = dataset.block_shapes[0]
        for band in dataset.indexes:
            for row in range(-(-dataset.height // height)):
                for col in range(-(-dataset.width // width)):
                    first = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
                    length = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
                    if first and length:
                        found.add((int(first), int(length)))
    return sorted(found)


def _compare_checksums(asset: AssetName, parts: Sequence[tuple[int, int]]) -> None:
    """Unpack internal tiles, which compares the checksum that each ends with."""
    with Path(asset.gdal).open("rb") as file:
        for first, length in parts:
            file.seek(first)
            try:
                zlib.decompress(file.read(length))
            except zlib.error:
                raise unreadable(
                    asset, f"it is damaged: the internal tile at byte {first} does not unpack"
                ) from None


def _decode_all(asset: AssetName, level: int) -> None:
    """Decode every pixel of a level, some rows of internal tiles at a time."""
    with open_dataset(asset, level) as dataset:
        tile = dataset.block_shapes[0][0]
        height = max(_ROWS_AT_ONCE // tile, 1) * tile
        for row in range(0, dataset.height, height):
            window = RasterioWindow(0, row, dataset.width, min(height, dataset.height - row))
            try:
                with gdal_environment():
                    dataset.read(window=window)
            except RasterioError as error:
                raise unreadable(asset, error) from None


def copy_as_cog(asset: AssetName, path: Path) -> None:
    """Copy an image, losslessly and with all that its header states, to a COG.

    Overviews that the file has are kept; missing ones take the nearest pixel for types that
    often hold classes (`CLASS_TYPES`), else the mean of the valid ones.

    Args:
        asset: what the gate let through.
        path: the new file, in a folder that is there. It appears whole or not at all.

    Raises:
        SourceUnreadable: the image cannot be decoded.
        OutputFailed: the copy cannot be written.
    """
    check_whole(asset, decode=True)
    with whole_file(path) as part, open_dataset(asset) as dataset:
        classes = CLASS_TYPES.intersection(dataset.dtypes)
        try:
            with gdal_environment():
                rasterio.shutil.copy(
                    dataset,
                    part,
                    driver="COG",
                    COMPRESS="DEFLATE",
                    PREDICTOR="YES",
                    OVERVIEW_RESAMPLING="NEAREST" if classes else "AVERAGE",
                    BIGTIFF="IF_SAFER",
                )
            check_whole(Gate((part.parent,)).open_name(str(part)))
        except (RasterioError, CPLE_BaseError, SourceUnreadable) as error:
            # The source decodes, as was seen above, so it is the copy that fails.
            raise OSError(str(error)) from error
