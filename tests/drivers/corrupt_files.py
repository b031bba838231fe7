"""Damaged image files, each named by what is wrong with it."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import Affine
from tifffile import TiffFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEEDS = 40
EDGE, TILE = 512, 128


def good_tiff(folder: Path, name: str, **options: Any) -> bytes:
    """Write a COG of 4 x 4 tiles with overviews; return its bytes."""
    raw, made = folder / f"{name}.raw", folder / name
    values = np.random.default_rng(3).integers(0, 4000, (1, EDGE, EDGE)).astype("uint16")
    shape = {"count": 1, "height": EDGE, "width": EDGE, "dtype": "uint16"}
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(raw, "w", driver="GTiff", **shape, **place) as file:
        file.write(values)
    rasterio.shutil.copy(raw, made, **{"driver": "COG", "BLOCKSIZE": TILE, **options})
    found = made.read_bytes()
    raw.unlink()
    made.unlink()
    return found


def changed(content: bytes, **tags: tuple[str, int]) -> bytes:
    """Set the value, count or type of tags of the first directory: name = (member, number)."""
    out = bytearray(content)
    with TiffFile(io.BytesIO(content)) as tiff:
        page: Any = tiff.pages[0]
        for name, (member, number) in tags.items():
            tag = page.tags[name]
            at = tag.offset + {"type": 2, "count": 4, "value": 8}[member]
            size = 2 if member == "type" or (member == "value" and tag.dtype == 3) else 4
            out[at : at + size] = number.to_bytes(size, "little")
    return bytes(out)


def directories(content: bytes) -> list[int]:
    """Return where the directories of a file begin."""
    with TiffFile(io.BytesIO(content)) as tiff:
        return [page.offset for page in tiff.pages]


def linked(content: bytes, directory: int, to: int) -> bytes:
    """Let a directory be followed by another one."""
    out = bytearray(content)
    (count,) = struct.unpack_from("<H", content, directory)
    struct.pack_into("<I", out, directory + 2 + 12 * count, to)
    return bytes(out)


def tile_places(content: bytes, page: int = 0) -> tuple[int, int, int, int]:
    """Return where offsets and byte counts of tiles lie, and the first tile and its length."""
    with TiffFile(io.BytesIO(content)) as tiff:
        found: Any = tiff.pages[page]
        return (
            found.tags["TileOffsets"].valueoffset, found.tags["TileByteCounts"].valueoffset,
            found.dataoffsets[0], found.databytecounts[0],
        )  # fmt: skip


def patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def bomb(megabytes: int) -> bytes:
    """Return some kilobytes that inflate to many megabytes of zeros."""
    squeezer = zlib.compressobj(9)
    head = squeezer.compress(b"") + squeezer.flush(zlib.Z_FULL_FLUSH)
    part = squeezer.compress(bytes(2**20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    return head + part * megabytes + squeezer.flush()


def tiffs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield damaged TIFFs, of which a look at the file alone must find the damage."""
    good = good_tiff(folder, "good.tif", COMPRESS="DEFLATE")
    offsets, counts, first, length = tile_places(good)
    starts = directories(good)
    overview = tile_places(good, 1)
    yield "cut in the header", good[:6]
    yield "cut behind the header", good[:8]
    yield "cut in the first directory", good[: starts[0] + 30]
    yield "cut in the offsets of tiles", good[: offsets + 10]
    yield "cut in the overviews", good[: overview[2] + 5]
    yield "cut in the tiles", good[: first + length // 2]
    yield "cut at the last byte", good[:-50]
    yield "zeros behind the header", good[:8] + bytes(len(good) - 8)
    yield "noise behind the header", good[:8] + np.random.default_rng(1).bytes(5000)
    yield (
        "million pixels each way",
        changed(good, ImageWidth=("value", 65_535), ImageLength=("value", 65_535)),
    )
    wide = patched(good, offsets, struct.pack("<I", 2**32 - 100))
    yield "offset of a tile beyond the file", wide
    yield "length of a tile beyond the file", patched(good, counts, struct.pack("<I", 2**31))
    yield "tag of a thousand million entries", changed(good, TileOffsets=("count", 10**9))
    yield (
        "tag of too few entries",
        changed(good, TileOffsets=("count", 2), TileByteCounts=("count", 2)),
    )
    yield "text of four gigabytes", changed(good, GeoAsciiParamsTag=("count", 2**32 - 1))
    yield (
        "tiles of a million pixels",
        changed(good, TileWidth=("value", 65_520), TileLength=("value", 65_520)),
    )
    yield "tiles of no pixels", changed(good, TileWidth=("value", 0))
    yield "no rows", changed(good, ImageLength=("value", 0))
    yield "unknown compression", changed(good, Compression=("value", 9999))
    yield "thirteen thousand bits", changed(good, BitsPerSample=("value", 13_000))
    yield "no bands", changed(good, SamplesPerPixel=("value", 0))
    yield "65535 bands", changed(good, SamplesPerPixel=("value", 65_535))


def huge() -> bytes:
    """Return a file of one directory that claims 10^6 x 10^6 pixels in tiles of 256."""
    tags = [
        (256, 4, 1, 10**6), (257, 4, 1, 10**6), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (277, 3, 1, 1), (322, 3, 1, 256), (323, 3, 1, 256), (324, 4, 3907 * 3907, 200),
        (325, 4, 3907 * 3907, 200), (33550, 12, 3, 160), (33922, 12, 6, 160),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries
    return (head + bytes(4)).ljust(400, b"\0")


def odd_tiffs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield damaged TIFFs that may be read by those who do not care, but must do no harm."""
    good = good_tiff(folder, "good.tif", COMPRESS="DEFLATE")
    starts = directories(good)
    yield "directory that follows itself", linked(good, starts[0], starts[0])
    yield "directories in a ring", linked(good, starts[-1], starts[0])
    yield "directory beyond the file", linked(good, starts[-1], 2**31)
    random = np.random.default_rng(7)
    for seed in range(SEEDS):
        out = bytearray(good)
        reach = starts[-1] + 300 if seed % 2 else starts[0] + 400
        for at in random.integers(4, reach, 1 + seed % 6):
            out[at] = random.integers(0, 256)
        yield f"flipped {seed:02}", bytes(out)


def damaged_data(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield TIFFs whose header is right and whose tiles are not: decoding finds it."""
    good = good_tiff(folder, "good.tif", COMPRESS="DEFLATE")
    offsets, counts, first, length = tile_places(good)
    yield "flipped byte in a tile", patched(good, first + length // 2, b"\xa5\x5a\xff")
    overview = tile_places(good, 1)
    yield "flipped byte in an overview", patched(good, overview[2] + overview[3] // 2, b"\xa5\x5a")
    evil = bomb(3000)
    swollen = patched(good, offsets, struct.pack("<I", len(good)))
    yield (
        "tile that inflates to gigabytes",
        patched(swollen, counts, struct.pack("<I", len(evil))) + evil,
    )
    lzw = good_tiff(folder, "lzw.tif", COMPRESS="LZW")
    _, _, first, length = tile_places(lzw)
    yield "noise instead of a tile", patched(lzw, first, np.random.default_rng(2).bytes(length))


def good_jp2(folder: Path) -> bytes:
    raw, made = folder / "x.raw", folder / "x.jp2"
    values = np.random.default_rng(3).integers(0, 4000, (1, EDGE, EDGE)).astype("uint16")
    shape = {"count": 1, "height": EDGE, "width": EDGE, "dtype": "uint16"}
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(raw, "w", driver="GTiff", **shape, **place) as file:
        file.write(values)
    rasterio.shutil.copy(raw, made, driver="JP2OpenJPEG", BLOCKXSIZE=TILE, BLOCKYSIZE=TILE)
    found = made.read_bytes()
    raw.unlink()
    made.unlink()
    return found


def jp2s(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield damaged JPEG 2000 files, of which a look at the file alone must find the damage."""
    good = good_jp2(folder)
    stream = good.index(b"\xff\x4f\xff\x51")
    first_tile = good.index(b"\xff\x90", stream)
    yield "cut in its boxes", good[:30]
    yield "cut before its codestream", good[: stream - 4]
    yield "cut in its main header", good[: stream + 20]
    yield "cut in its first tile", good[: first_tile + 100]
    yield "cut in the middle", good[: len(good) // 2]
    yield "cut at its last bytes", good[:-30]
    yield "zeros behind its boxes", good[:stream] + bytes(len(good) - stream)
    sized = patched(good, stream + 8, struct.pack(">II", 10**6, 10**6))
    yield "codestream of a million pixels each way", sized
    yield "tiles of no pixels", patched(good, stream + 24, struct.pack(">II", 0, 0))
    yield "no bands", patched(good, stream + 40, struct.pack(">H", 0))
