"""Where the parts of a local TIFF lie: its directories, read without GDAL and without a pixel.

Ingestion looks at thousands of files, of which it wants to know whether every internal tile is
there. GDAL answers tile by tile; a directory of a TIFF is an array of offsets and one of lengths,
whatever is coded in them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.storage.handles import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from terrazzo.storage.gate import AssetName

_TYPES: Final = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 11: "f4",
                 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}  # fmt: skip
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES = 254, 256, 257, 258, 259, 277
_ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT = 278, 284, 322, 323
_OFFSETS, _COUNTS = (324, 273), (325, 279)
_CRS_KEYS = (34735, 34736, 34737)
_GDAL_METADATA, _UNIT_WORD, _FIRST_VERTICAL_KEY = 42112, b"unittype", 4096
_REDUCED, _MASK, _SEPARATE = 1, 4, 2
_BIG, _MOST_DIRECTORIES = 43, 4096
_PLAIN: Final = {_SUBFILE: 0, _BITS: 1, _COMPRESSION: 1, _SAMPLES: 1, _PLANAR: 1}


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """One image of a TIFF: full resolution, an overview or a mask."""

    height: int
    """Rows."""
    width: int
    """Columns."""
    tile: tuple[int, int] | None
    """(height, width) of an internal tile; None where it has strips."""
    is_overview: bool
    """Whether it shows the image at a coarser resolution."""
    is_mask: bool
    """Whether it says which pixels are valid."""
    compression: int
    """TIFF's number of it."""
    part_bytes: int
    """Bytes of a tile or strip when decoded, at most."""
    parts: int
    """Tiles or strips that its size takes."""
    offsets: NDArray[np.int64]
    """Where parts begin; 0 = there is none."""
    counts: NDArray[np.int64]
    """Bytes of each."""

    @property
    def reach(self) -> int:
        """How many bytes the file must have at least."""
        there = (self.offsets > 0) & (self.counts > 0)
        return int((self.offsets + self.counts)[there].max(initial=0))


@dataclass(frozen=True, slots=True, eq=False)
class TiffLayout:
    """The directories of a TIFF."""

    directories: tuple[Directory, ...]
    """In the order of the file, the first is the image."""
    crs_keys: bytes
    """All that the image says of its CRS; empty if it says nothing."""
    may_have_units: bool = True
    """Whether its bands or its heights may have a unit."""

    @property
    def overviews(self) -> tuple[Directory, ...]:
        """Those that GDAL takes for overviews."""
        return tuple(one for one in self.directories if one.is_overview and not one.is_mask)


def tiff_layout(asset: AssetName) -> TiffLayout:
    """Read the directories of a local TIFF.

    Raises:
        SourceUnreadable: it is no TIFF, gone, or cut short within its directories.
    """
    try:
        with open(asset.gdal, "rb") as file:  # noqa: PTH123 - GDAL's name of it
            return _Walk(asset, file, asset.stamp[1]).layout()
    except (OSError, struct.error) as error:
        raise unreadable(asset, error) from None


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """A walk over the directories of a file."""

    asset: AssetName
    file: IO[bytes]
    size_bytes: int

    def layout(self) -> TiffLayout:
        head = self._bytes(0, min(16, self.size_bytes))
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        version = struct.unpack(f"{order}H", head[2:4])[0] if order and head[2:4] else 0
        if order is None or version not in {42, _BIG}:
            raise unreadable(self.asset, "it is no TIFF")
        is_big = version == _BIG
        first = struct.unpack(f"{order}Q", head[8:16]) if is_big else struct.unpack(
            f"{order}I", head[4:8]
        )  # fmt: skip
        found: list[Directory] = []
        crs_keys, may_have_units = b"", False
        for values in self._directories(first[0], order, is_big=is_big):
            if not found:
                crs_keys = b"".join(values[key].tobytes() for key in _CRS_KEYS if key in values)
                may_have_units = _may_have_units(values)
            found.append(_directory(values))
        return TiffLayout(tuple(found), crs_keys, may_have_units)

    def _directories(
        self, offset: int, order: str, *, is_big: bool
    ) -> Iterator[Mapping[int, NDArray[Any]]]:
        """Yield the values of the tags that are wanted, directory by directory."""
        count_type, entry, link = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
        inline = 8 if is_big else 4
        one = struct.Struct(order + entry)
        seen: set[int] = set()
        while offset and offset not in seen and len(seen) < _MOST_DIRECTORIES:
            seen.add(offset)
            head = struct.calcsize(count_type)
            (count,) = struct.unpack(order + count_type, self._bytes(offset, head))
            body = self._bytes(offset + head, count * one.size + struct.calcsize(link))
            values = {}
            for number, kind, length, value in one.iter_unpack(body[: count * one.size]):
                if number in _WANTED and kind in _TYPES:
                    dtype = np.dtype(order + _TYPES[kind])
                    needs = length * dtype.itemsize
                    if needs > inline:
                        (at,) = struct.unpack(order + link, value)
                        value = self._bytes(at, needs)  # noqa: PLW2901 - where it lies
                    values[number] = np.frombuffer(value[:needs], dtype)
            yield values
            (offset,) = struct.unpack(order + link, body[count * one.size :])

    def _bytes(self, offset: int, count: int) -> bytes:
        if offset + count > self.size_bytes:
            raise unreadable(
                self.asset,
                f"it is cut short: {self.size_bytes} bytes of at least {offset + count}. Get it "
                "again",
            )
        self.file.seek(offset)
        return self.file.read(count)


_WANTED: Final = frozenset({*_PLAIN, _WIDTH, _HEIGHT, _ROWS, _TILE_WIDTH, _TILE_HEIGHT,
                            *_OFFSETS, *_COUNTS, *_CRS_KEYS, _GDAL_METADATA})  # fmt: skip


def _may_have_units(values: Mapping[int, NDArray[Any]]) -> bool:
    """Tell whether GDAL's metadata name a unit, or the CRS has a key of a vertical one."""
    keys = values.get(_CRS_KEYS[0], np.zeros(0, np.uint16))[4::4]
    told = values.get(_GDAL_METADATA, np.zeros(0, np.uint8)).tobytes().lower()
    return _UNIT_WORD in told or bool((keys >= _FIRST_VERTICAL_KEY).any())


def _directory(values: Mapping[int, NDArray[Any]]) -> Directory:
    def first(key: int, otherwise: int = 0) -> int:
        found = values.get(key)
        return int(found[0]) if found is not None and found.size else otherwise

    height, width = first(_HEIGHT), first(_WIDTH)
    tile = None
    if _TILE_WIDTH in values and _TILE_HEIGHT in values:
        tile = first(_TILE_HEIGHT), first(_TILE_WIDTH)
    rows, cols = tile or (min(first(_ROWS, height), height), width)
    samples = first(_SAMPLES, 1) if first(_PLANAR, 1) != _SEPARATE else 1
    offsets, counts = (
        next((values[key].astype(np.int64) for key in keys if key in values), np.zeros(0, np.int64))
        for keys in (_OFFSETS, _COUNTS)
    )
    size = min(len(offsets), len(counts))
    kind = first(_SUBFILE)
    planes = first(_SAMPLES, 1) if first(_PLANAR, 1) == _SEPARATE else 1
    parts = -(-height // max(rows, 1)) * -(-width // max(cols, 1)) * planes
    return Directory(
        height,
        width,
        tile,
        bool(kind & _REDUCED),
        bool(kind & _MASK),
        first(_COMPRESSION, 1),
        rows * -(-cols * samples * first(_BITS, 1) // 8),
        parts,
        offsets[:size],
        counts[:size],
    )
