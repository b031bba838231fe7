"""Internal tiles of local GeoTIFFs, inflated without GDAL: most of what anybody decodes.

GDAL opens a file, says what it is, and decodes whatever is unusual; what is a plain tile of
numbers, deflated or as it is, is read here, by Intel's ISA-L, in two thirds of the time (see
docs/decisions/0005-own-inflate.md). Whatever is in doubt is left to GDAL, and whatever cannot be
read too, so that errors are told by one.
"""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib
from tifffile import TiffFile, TiffFileError

from terrazzo.geo.jit import jit
from terrazzo.spans import note, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Values
    from terrazzo.geo.grid import Window

    Stamp = tuple[int, int]

# What is odd about a file is told by GDAL, which reads it then.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_DAMAGED: Any = isal_zlib.IsalError
PLAIN, INFLATED = 1, frozenset({8, 32946})
"""TIFF's numbers of compressions that are read here: none, and both that mean deflate."""
NO_PREDICTOR, DIFFERENCES, FLOATING = 1, 2, 3
REDUCED, IS_MASK = 1, 4
"""Bits of NewSubfileType: an overview, a mask."""
NUMBERS = frozenset({0, 1, 2, 3})
"""Photometric interpretations of which GDAL gives the numbers as they are stored."""
MOST_PAGES = 64
"""Images in a file that is looked at: levels, masks; more are left to GDAL."""
SEPARATE = 2
"""The planar configuration in which every band has tiles of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class TiffLevel:
    """One overview level of a file: where its tiles are and how they are coded."""

    path: str
    stamp: Stamp
    """Time of change and size of the file that was looked at."""
    shape: tuple[int, int]
    """(height, width) of the level."""
    tile: tuple[int, int]
    """(height, width) of a tile; those at the border are stored whole."""
    dtype: np.dtype[Any]
    bands: int
    offsets: NDArray[np.int64]
    """Where tiles begin, row by row, band after band; 0 = there is none."""
    counts: NDArray[np.int64]
    """Bytes of each."""
    inflated: bool
    """Whether tiles are deflated."""
    predictor: int
    """What was done to the numbers before that."""

    def decode(self, band: int, area: Window) -> Values | None:
        """Return the pixels of one tile, cut at the border; None is for GDAL to find out.

        Args:
            band: 1-based index.
            area: the rows and columns of exactly one tile, in the file's own orientation.
        """
        height, width = self.tile
        across = -(-self.shape[1] // width)
        down = -(-self.shape[0] // height)
        number = ((band - 1) * down + area.row // height) * across + area.col // width
        offset, count = int(self.offsets[number]), int(self.counts[number])
        if not offset or not count:
            return None
        stored = self._bytes(offset, count)
        if stored is None:
            return None
        with span("decode"):
            found = self._inflate(stored)
            if found is None:
                return None
            pixels = _undone(found.reshape(height, width), self.predictor)[
                : area.height, : area.width
            ]
        note("tiles_decoded", 1)
        note("bytes_decoded", pixels.nbytes)
        note("pixels_decoded", pixels.size)
        # A view of a part would keep the whole tile.
        return pixels.copy() if pixels.shape != self.tile else pixels

    def _bytes(self, offset: int, count: int) -> bytes | None:
        """Read a tile as it is stored, if the file is still the one that was looked at."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            facts = os.fstat(file)
            if (facts.st_mtime_ns, facts.st_size) != self.stamp or offset + count > facts.st_size:
                return None
            stored = os.pread(file, count, offset)
        except OSError:
            return None
        finally:
            os.close(file)
        return stored if len(stored) == count else None

    def _inflate(self, stored: bytes) -> Values | None:
        size = self.tile[0] * self.tile[1] * self.dtype.itemsize
        if not self.inflated:
            return np.frombuffer(stored, self.dtype) if len(stored) == size else None
        try:
            # A limit on the output: a small tile may claim to be a large one.
            inflater = isal_zlib.decompressobj()
            found = inflater.decompress(stored, size)
        except _DAMAGED:
            return None
        return np.frombuffer(found, self.dtype) if len(found) == size else None


@jit
def add_up(numbers: Any, out: Any) -> None:
    """Write the sums of each row from its start, four rows at a time; they wrap around."""
    height, width = numbers.shape
    for y in range(0, height - 3, 4):
        a, b, c, d = 0, 0, 0, 0
        for x in range(width):
            a += numbers[y, x]
            b += numbers[y + 1, x]
            c += numbers[y + 2, x]
            d += numbers[y + 3, x]
            out[y, x], out[y + 1, x], out[y + 2, x], out[y + 3, x] = a, b, c, d
    for y in range(height // 4 * 4, height):
        total = 0
        for x in range(width):
            total += numbers[y, x]
            out[y, x] = total


def _undone(numbers: Values, predictor: int) -> Values:
    """Return (y, x) numbers of a tile without what TIFF's predictor did to them."""
    if predictor == DIFFERENCES:
        out = np.empty(numbers.shape, numbers.dtype)
        # What wraps around is the same for signed and unsigned numbers.
        unsigned = f"<u{numbers.itemsize}"
        add_up(numbers.view(unsigned), out.view(unsigned))
        return out
    if predictor == FLOATING:
        height, width = numbers.shape
        size = numbers.dtype.itemsize
        planes = np.cumsum(numbers.view(np.uint8).reshape(height, -1), axis=1, dtype=np.uint8)
        ordered = planes.reshape(height, size, width)[:, ::-1].transpose(0, 2, 1)
        return np.ascontiguousarray(ordered).view(numbers.dtype)[..., 0]
    return numbers


@lru_cache(maxsize=4096)
def tiff_levels(path: str, stamp: Stamp) -> tuple[TiffLevel | None, ...]:
    """Return full resolution and overviews of a file, None for those that are left to GDAL.

    Overviews in a file of their own, and files of which anything is unusual, are too.
    """
    try:
        with open(path, "rb") as file, TiffFile(file) as tiff:  # noqa: PTH123 - GDAL's name of it
            every: list[Any] = list(islice(tiff.pages, MOST_PAGES + 1))
            if len(every) > MOST_PAGES:
                return ()
            pages = [page for page in every if not int(page.subfiletype) & IS_MASK]
            whole = [page for page in pages if not int(page.subfiletype) & REDUCED]
            if tiff.byteorder != "<" or len(whole) != 1 or pages[0] is not whole[0]:
                return ()
            levels = tuple(_level(path, stamp, page) for page in pages)
    except (
        TiffFileError,
        OSError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        struct.error,
    ):
        return ()
    return levels[:1] if os.path.exists(f"{path}.ovr") else levels  # noqa: PTH110 - likewise


def _level(path: str, stamp: Stamp, page: Any) -> TiffLevel | None:
    dtype: np.dtype[Any] = np.dtype(page.dtype or np.void)
    bands = int(page.samplesperpixel)
    compression = int(page.compression)
    predictor = int(page.predictor) if compression in INFLATED else NO_PREDICTOR
    height, width = int(page.imagelength), int(page.imagewidth)
    tile = int(page.tilelength), int(page.tilewidth)
    plain = (
        page.is_tiled
        and dtype.kind in "iuf"
        and int(page.bitspersample) == 8 * dtype.itemsize
        and (bands == 1 or int(page.planarconfig) == SEPARATE)
        and (compression == PLAIN or compression in INFLATED)
        and int(page.fillorder) == 1
        and int(page.imagedepth) == 1
        and int(page.photometric) in NUMBERS
    )
    fits = predictor == NO_PREDICTOR or (predictor == DIFFERENCES and dtype.kind in "iu")
    fits = fits or (predictor == FLOATING and dtype.kind == "f")
    if not plain or not fits:
        return None
    tiles = -(-height // tile[0]) * -(-width // tile[1]) * bands
    if page.tags["TileOffsets"].count != tiles:
        return None
    offsets, counts = _numbers(page.dataoffsets), _numbers(page.databytecounts)
    if len(offsets) != tiles or len(counts) != tiles:
        return None
    return TiffLevel(
        path,
        stamp,
        (height, width),
        tile,
        dtype.newbyteorder("<"),
        bands,
        offsets,
        counts,
        compression in INFLATED,
        predictor,
    )


def _numbers(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)
