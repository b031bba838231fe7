"""One file of tiles that lie side by side, mostly without decoding them.

Where edges of tiles lie on edges of internal tiles, those are copied as they are stored: at full
resolution, and at each overview at which that holds. Only the coarsest of these is decoded, to
make those above it. What comes out is laid out as GDAL's COG driver does it: directories first,
coarse pixels before fine ones.
"""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as Part
from tifffile import TiffFile

from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.storage.writers.mosaic import Piece

_WIDTH, _HEIGHT, _TIEPOINT, _OFFSETS, _COUNTS = 256, 257, 33922, 324, 325
_SHORT, _LONG, _DOUBLE, _LONG8 = 3, 4, 12, 16
_MOST_CLASSIC: Final = 4_000_000_000
"""Bytes of the largest file that is no BigTIFF."""
_GHOST: Final = b"GDAL_STRUCTURAL_METADATA_SIZE="
_GHOST_LINE: Final = 43
"""Bytes of the line that says how long the rest is."""
_ALIKE: Final = ("bitspersample", "compression", "predictor", "samplesperpixel", "planarconfig",
                 "sampleformat", "tilewidth", "tilelength")  # fmt: skip
_ENVIRONMENT: Final = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}

Tag = tuple[int, int, bytes]
"""Type, count and value."""


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """One resolution of the file to be."""

    tags: Mapping[int, Tag]
    """All but where pixels are."""
    paths: Sequence[Path]
    """Files of which internal tiles are copied."""
    source: NDArray[np.int32]
    """(y, x) of which of them each internal tile is."""
    offsets: NDArray[np.uint64]
    """(y, x) where it lies there; 0 = there is none."""
    counts: NDArray[np.uint32]
    """(y, x) its bytes."""

    @property
    def size_bytes(self) -> int:
        """Of its internal tiles, with their lengths before and their last bytes behind."""
        return int(self.counts.sum()) + 8 * int((self.counts > 0).sum())


def assemble(
    path: Path, pieces: Sequence[Piece], vrt: Path, *, overviews: str, threads: int = 1
) -> Path:
    """Write one COG of tiles; decodes all of them only where they cannot be copied.

    Args:
        path: where to; replaced if there.
        pieces: COGs of one look on one lattice, at least one.
        vrt: of them, as `write_vrt` makes it.
        overviews: how overviews are made; as for `write_cog`.
        threads: that compress what is decoded.

    Raises:
        OutputFailed: it cannot be written.
    """
    if join(path, pieces, overviews=overviews):
        return path
    with rasterio.Env(**_ENVIRONMENT):
        with rasterio.open(pieces[0].path) as file:
            how, inner = file.tags(ns="IMAGE_STRUCTURE"), file.block_shapes[0][0]
        with whole_file(path) as part:
            rasterio.shutil.copy(
                vrt, part, driver="COG", **_compression(how), BLOCKSIZE=inner,
                OVERVIEWS="NONE" if overviews == "none" else "AUTO",
                OVERVIEW_RESAMPLING="NEAREST" if overviews == "none" else overviews.upper(),
                NUM_THREADS=threads, BIGTIFF="IF_SAFER",
            )  # fmt: skip
    return path


def _compression(how: Mapping[str, str]) -> dict[str, str]:
    """Return what makes a file that is compressed like another one."""
    plain = how.get("PREDICTOR", "1") == "1"
    return {"COMPRESS": how.get("COMPRESSION", "NONE"), "PREDICTOR": "NO" if plain else "YES"}


def join(path: Path, pieces: Sequence[Piece], *, overviews: str) -> bool:
    """Write one file of tiles, if their internal tiles can be copied; tell whether it was.

    Args:
        path: where to; replaced if there.
        pieces: COGs of one size and look that do not overlap, at least one.
        overviews: how overviews are made; as for `write_cog`.

    Raises:
        OutputFailed: it cannot be written.
    """
    pages = _pages(pieces[0].path)
    edge, inner = pieces[0].grid.height, int(pages[0].tilelength)
    places = _places(pieces)
    if places is None or edge % inner or edge != pieces[0].grid.width or not _plain(pages[0]):
        return False
    depth = next(
        level for level in range(len(pages) + 1)
        if level == len(pages) or edge % (inner << level)
    )  # fmt: skip
    levels = _copied(pieces, places, edge // inner, depth)
    if levels is None:
        return False
    first = replace(levels[0], tags={**levels[0].tags, _TIEPOINT: _tiepoint(pieces)})
    with whole_file(path) as part, ExitStack() as stack:
        rows, cols = levels[-1].source.shape
        if max(rows, cols) > 1 and overviews != "none":
            above = part.with_suffix(".above.tif")
            stack.callback(above.unlink, missing_ok=True)
            _write_above(above, pieces, places, depth - 1, overviews)
            levels = [*levels, *_levels_of(above)]
        _write(part, [first, *levels[1:]], _ghost(pieces[0].path))
    return True


def _pages(path: Path) -> list[Any]:
    with TiffFile(path) as tiff:
        return list(tiff.pages)


def _plain(page: Any) -> bool:
    """Tell whether all bands of a place are in one internal tile."""
    one = int(page.samplesperpixel) == 1 or int(page.planarconfig) == 1
    return bool(page.is_tiled and one and page.tilewidth == page.tilelength)


def _places(pieces: Sequence[Piece]) -> list[tuple[int, int]] | None:
    """Return (row, col) of each tile, counted in tiles; None where they do not lie side by side."""
    first = pieces[0].grid
    left = min(piece.grid.left for piece in pieces)
    top = max(piece.grid.top for piece in pieces)
    found = []
    for piece in pieces:
        row = (top - piece.grid.top) / (first.pixel_y * first.height)
        col = (piece.grid.left - left) / (first.pixel_x * first.width)
        near = abs(row - round(row)) + abs(col - round(col)) < 1e-6  # noqa: PLR2004 - tiles
        if not near or (piece.grid.height, piece.grid.width) != (first.height, first.width):
            return None
        found.append((round(row), round(col)))
    return found if len(set(found)) == len(found) else None


def _copied(
    pieces: Sequence[Piece], places: Sequence[tuple[int, int]], across: int, depth: int
) -> list[_Level] | None:
    """Return the levels whose internal tiles are copied; None where the tiles are not alike."""
    rows, cols = (max(numbers) + 1 for numbers in zip(*places, strict=True))
    paths = [piece.path for piece in pieces]
    levels: list[_Level] = []
    alike: list[tuple[Any, ...]] = []
    for number, (piece, (row, col)) in enumerate(zip(pieces, places, strict=True)):
        with TiffFile(piece.path) as tiff:
            pages: list[Any] = list(tiff.pages)[:depth]
            look = [tuple(getattr(page, name) for name in _ALIKE) for page in pages]
            if number == 0:
                alike = look
                levels = [
                    _empty(tags, paths, rows * (across >> level), cols * (across >> level))
                    for level, tags in enumerate(_tags(tiff, page) for page in pages)
                ]
            if look != alike:
                return None
            for level, page in zip(levels, pages, strict=True):
                size = int(page.imagelength) // int(page.tilelength)
                at = np.s_[row * size : (row + 1) * size, col * size : (col + 1) * size]
                level.source[at] = number
                level.offsets[at] = np.reshape(page.dataoffsets, (size, size))
                level.counts[at] = np.reshape(page.databytecounts, (size, size))
    return [replace(level, tags={**level.tags, **_sized(level, alike[0][-1])}) for level in levels]


def _empty(tags: Mapping[int, Tag], paths: Sequence[Path], rows: int, cols: int) -> _Level:
    shape = rows, cols
    return _Level(
        tags, paths, np.zeros(shape, np.int32), np.zeros(shape, np.uint64),
        np.zeros(shape, np.uint32),
    )  # fmt: skip


def _sized(level: _Level, inner: int) -> dict[int, Tag]:
    rows, cols = level.source.shape
    return {
        _WIDTH: (_LONG, 1, struct.pack("<I", cols * inner)),
        _HEIGHT: (_LONG, 1, struct.pack("<I", rows * inner)),
    }


def _tags(tiff: TiffFile, page: Any) -> dict[int, Tag]:
    """Return the tags of a directory as they are stored, but for where pixels are."""
    found = {}
    for tag in page.tags.values():
        if tag.code in {_OFFSETS, _COUNTS}:
            continue
        size = tag.count * np.dtype(_NUMBERS[int(tag.dtype)]).itemsize
        tiff.filehandle.seek(tag.valueoffset)
        found[int(tag.code)] = int(tag.dtype), int(tag.count), tiff.filehandle.read(size)
    return found


_NUMBERS: Final = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "u8", 6: "i1", 7: "u1", 8: "i2",
                   9: "i4", 10: "i8", 11: "f4", 12: "f8", 16: "u8", 17: "i8"}  # fmt: skip


def _tiepoint(pieces: Sequence[Piece]) -> Tag:
    left = min(piece.grid.left for piece in pieces)
    top = max(piece.grid.top for piece in pieces)
    return _DOUBLE, 6, struct.pack("<6d", 0.0, 0.0, 0.0, left, top, 0.0)


def _write_above(
    path: Path,
    pieces: Sequence[Piece],
    places: Sequence[tuple[int, int]],
    level: int,
    overviews: str,
) -> None:
    """Write a COG of the tiles at one of their levels; its overviews are those of the whole."""
    raw = path.with_suffix(".raw.tif")
    rows, cols = (max(numbers) + 1 for numbers in zip(*places, strict=True))
    opening = {} if level == 0 else {"OVERVIEW_LEVEL": level - 1}
    try:
        with rasterio.Env(**_ENVIRONMENT):
            with rasterio.open(pieces[0].path, **opening) as file:
                profile, height, width = file.profile, file.height, file.width
                how = file.tags(ns="IMAGE_STRUCTURE")
            profile |= {
                "driver": "GTiff", "height": rows * height, "width": cols * width,
                "BIGTIFF": "IF_SAFER", "compress": "none",
            }  # fmt: skip
            for name in ("predictor", "layout"):
                profile.pop(name, None)
            with rasterio.open(raw, "w", **profile) as out:
                # Whole blocks, each once: another thread may write what leaves GDAL's cache. Where
                # no tile is, GDAL writes no-data when it closes the file.
                for piece, (row, col) in zip(pieces, places, strict=True):
                    with rasterio.open(piece.path, **opening) as file:
                        out.write(
                            file.read(), window=Part(col * width, row * height, width, height)
                        )
            rasterio.shutil.copy(
                raw, path, driver="COG", **_compression(how),
                BLOCKSIZE=profile["blockxsize"], OVERVIEWS="AUTO",
                OVERVIEW_RESAMPLING=overviews.upper(), BIGTIFF="IF_SAFER",
            )  # fmt: skip
    finally:
        raw.unlink(missing_ok=True)


def _levels_of(path: Path) -> Iterator[_Level]:
    """Yield the overviews of a file."""
    with TiffFile(path) as tiff:
        pages: list[Any] = list(tiff.pages)[1:]
        for page in pages:
            inner = int(page.tilelength)
            shape = -(-int(page.imagelength) // inner), -(-int(page.imagewidth) // inner)
            yield _Level(
                _tags(tiff, page),
                [path],
                np.zeros(shape, np.int32),
                np.reshape(page.dataoffsets, shape).astype(np.uint64),
                np.reshape(page.databytecounts, shape).astype(np.uint32),
            )


def _ghost(path: Path) -> bytes:
    """Return what GDAL writes between the header and the directories of a COG; b"" if nothing."""
    with path.open("rb") as file:
        head = file.read(4096)
    start = 16 if head[2:4] == b"\x2b\x00" else 8
    if not head[start:].startswith(_GHOST):
        return b""
    size = int(head[start + len(_GHOST) : start + len(_GHOST) + 6])
    return head[start : start + _GHOST_LINE + size]


def _write(path: Path, levels: Sequence[_Level], ghost: bytes) -> None:
    """Write the file: header, directories, and internal tiles from the coarsest level on."""
    total = sum(level.size_bytes + 16 * level.counts.size for level in levels)
    big = total > _MOST_CLASSIC
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0)
    begin = len(head) + len(ghost)
    begin += begin % 2
    sizes = [_directory_bytes(level, big=big) for level in levels]
    data = begin + sum(sizes)
    starts: list[NDArray[np.uint64]] = [level.offsets for level in levels]
    for number in range(len(levels) - 1, -1, -1):
        starts[number] = _laid(levels[number], data)
        data += levels[number].size_bytes
    with path.open("wb") as file:
        first = struct.pack("<Q" if big else "<I", begin)
        file.write((head[:8] if big else head[:4]) + first + ghost)
        file.write(b"\0" * (begin - file.tell()))
        at = begin
        for number, (level, size) in enumerate(zip(levels, sizes, strict=True)):
            at += size
            following = at if number + 1 < len(levels) else 0
            file.write(_directory(level, starts[number], at - size, following, big=big))
        for level in reversed(levels):
            _write_tiles(file, level)


def _laid(level: _Level, begin: int) -> NDArray[np.uint64]:
    """Return where the internal tiles of a level will be, row by row; 0 for those there are not."""
    counts = level.counts.astype(np.uint64).ravel()
    room = np.where(counts > 0, counts + np.uint64(8), np.uint64(0))
    ends = np.cumsum(room)
    starts = np.uint64(begin) + ends - room + np.uint64(4)
    return np.where(counts > 0, starts, np.uint64(0)).reshape(level.counts.shape)


def _entries(level: _Level, starts: NDArray[np.uint64], *, big: bool) -> list[tuple[int, Tag]]:
    kind, dtype = (_LONG8, "<u8") if big else (_LONG, "<u4")
    where = {
        _OFFSETS: (kind, starts.size, starts.astype(dtype).tobytes()),
        _COUNTS: (_LONG, level.counts.size, level.counts.astype("<u4").tobytes()),
    }
    return sorted({**level.tags, **where}.items())


def _directory_bytes(level: _Level, *, big: bool) -> int:
    return len(_directory(level, level.offsets, 0, 0, big=big))


def _directory(
    level: _Level, starts: NDArray[np.uint64], at: int, following: int, *, big: bool
) -> bytes:
    """Return a directory and its values, as it stands at an offset in the file."""
    entries = _entries(level, starts, big=big)
    count, entry, link, inline = ("<Q", "<HHQ", "<Q", 8) if big else ("<H", "<HHI", "<I", 4)
    table = struct.pack(count, len(entries))
    size = len(table) + len(entries) * (struct.calcsize(entry) + inline) + struct.calcsize(link)
    values = b""
    for code, (kind, length, value) in entries:
        table += struct.pack(entry, code, kind, length)
        if len(value) <= inline:
            table += value.ljust(inline, b"\0")
            continue
        table += struct.pack(link, at + size + len(values))
        values += value + b"\0" * (len(value) % 2)
    whole = table + struct.pack(link, following) + values
    return whole + b"\0" * (len(whole) % 2)


def _write_tiles(file: IO[bytes], level: _Level) -> None:
    """Copy the internal tiles of a level; each has its length before and its last bytes behind."""
    for source, offsets, counts in zip(level.source, level.offsets, level.counts, strict=True):
        with ExitStack() as stack:
            opened: dict[int, int] = {}
            for number, offset, count in zip(
                source.tolist(), offsets.tolist(), counts.tolist(), strict=True
            ):
                if not count:
                    continue
                if number not in opened:
                    opened[number] = os.open(level.paths[number], os.O_RDONLY | os.O_CLOEXEC)
                    stack.callback(os.close, opened[number])
                content = os.pread(opened[number], count, offset)
                file.write(struct.pack("<I", count) + content + content[-4:])
