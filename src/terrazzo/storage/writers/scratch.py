"""Uncompressed pixels that arrive in any order, in a file that GDAL reads and does not write.

All threads share GDAL's cache of blocks, and one that needs room there writes blocks of the
others to their files. Of a block that is written in parts, pixels would be lost: its owner reads
the old one from the file while another thread is about to write the new one.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from xml.etree import ElementTree as ET

import numpy as np
import rasterio

from terrazzo.storage.writers.files import BLOCK_EDGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from terrazzo.cube import Values

READING: Final = {"GDAL_ONE_BIG_READ": "YES"}
"""Configuration with which GDAL reads windows from the file, and keeps no rows of it."""


class Scratch:
    """The pixels of one image; what is not written is no-data, or 0 where there is none."""

    def __init__(self, part: Path, profile: Mapping[str, Any]) -> None:
        """Take the whole room at once, so that a full disk is an error and no lost page.

        Args:
            part: beside which two files are while there is a scratch. They are called like it but
                for the suffix, so that whoever deletes what a killed writer left finds them.
            profile: `dtype`, `count`, `height`, `width`, `crs` (WKT), `transform` and maybe
                `nodata`, as rasterio calls them.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self._raw, self._vrt = part.with_suffix(".raw"), part.with_suffix(".vrt")
        self._profile = profile
        self._dtype = np.dtype(profile["dtype"]).newbyteorder("<")
        self._shape = profile["count"], profile["height"], profile["width"]
        self._written: list[tuple[slice, slice]] = []
        try:
            with self._raw.open("xb") as file:
                size = self._dtype.itemsize * int(np.prod(self._shape, dtype=np.int64))
                _take_room(file, size)
        except BaseException:
            self.remove()
            raise

    @property
    def count(self) -> int:
        """Number of bands."""
        return int(self._shape[0])

    def remove(self) -> None:
        """Delete the files."""
        self._raw.unlink(missing_ok=True)
        self._vrt.unlink(missing_ok=True)

    def write(self, pixels: Values, rows: slice, cols: slice) -> None:
        """Write (band, y, x) pixels to a place, which is mapped for just that long."""
        np.memmap(self._raw, self._dtype, "r+", shape=self._shape)[:, rows, cols] = pixels
        self._written.append((rows, cols))

    def fill(self) -> None:
        """Write no-data wherever no pixels were written."""
        nodata = self._profile.get("nodata")
        if nodata:  # 0 is there
            value = np.full((1, 1, 1), nodata, self._dtype)
            for rows, cols in list(self._gaps()):
                self.write(value, rows, cols)

    def _gaps(self) -> Iterator[tuple[slice, slice]]:
        _, height, width = self._shape
        ends = {end for rows, _ in self._written for end in (rows.start, rows.stop)}
        edges = sorted(ends | {0, height} | set(range(0, height, BLOCK_EDGE)))
        for top, bottom in pairwise(edges):
            found = [
                (cols.start, cols.stop)
                for rows, cols in self._written
                if rows.start <= top < rows.stop
            ]
            at = 0
            for start, stop in sorted(found):
                if start > at:
                    yield slice(top, bottom), slice(at, start)
                at = max(at, stop)
            if at < width:
                yield slice(top, bottom), slice(at, width)

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Open it as a dataset of rasterio that may be given tags, for a `with` block."""
        self._vrt.write_bytes(ET.tostring(self._described(), encoding="utf-8"))
        with rasterio.open(self._vrt, "r+", driver="VRT") as dataset:
            yield dataset

    def _described(self) -> ET.Element:
        """Return what GDAL is told of the file: a virtual dataset whose bands are parts of it."""
        count, height, width = self._shape
        size = self._dtype.itemsize
        root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
        ET.SubElement(root, "SRS").text = self._profile["crs"]
        numbers = self._profile["transform"].to_gdal()
        ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, map(float, numbers)))
        colours = _COLOURS if self._dtype == np.uint8 and count == len(_COLOURS) else ()
        for number in range(count):
            band = ET.SubElement(
                root, "VRTRasterBand", dataType=_TYPES.get(self._dtype.name, self._dtype.name),
                band=str(number + 1), subClass="VRTRawRasterBand",
            )  # fmt: skip
            for name, text in (
                ("ColorInterp", colours[number] if colours else ""),
                ("NoDataValue", self._nodata()),
                ("ImageOffset", str(number * height * width * size)),
                ("PixelOffset", str(size)),
                ("LineOffset", str(width * size)),
                ("ByteOrder", "LSB"),
            ):
                if text:
                    ET.SubElement(band, name).text = text
            source = ET.SubElement(band, "SourceFilename", relativeToVRT="1")
            source.text = self._raw.name
        return root

    def _nodata(self) -> str:
        """Return the text of no-data; empty if there is none."""
        nodata = self._profile.get("nodata")
        if nodata is None:
            return ""
        return repr(float(nodata)) if self._dtype.kind == "f" else str(int(nodata))


def _take_room(file: BinaryIO, size: int) -> None:
    """Make a new file as long as it will be, with room on the disk for all of it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    # macOS has none.
    file.writelines(bytes(min(_AT_ONCE, size - start)) for start in range(0, size, _AT_ONCE))


_AT_ONCE: Final = 1 << 20
_COLOURS: Final = ("Red", "Green", "Blue")
"""What three bands of bytes are in a GeoTIFF. A fourth is one that was computed, and no mask."""
_TYPES: Final = {"uint8": "Byte"}
"""Names of types that GDAL calls by another word; it takes the others in any case of letters."""
