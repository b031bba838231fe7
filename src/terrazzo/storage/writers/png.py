"""PNG of bytes: as few channels as say the same, one filter, and a compressor that only looks back.

Map tiles are noise to a compressor: it finds little besides runs, and what it spends on looking
for more and on choosing a filter for every row is most of what a tile's picture costs.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.storage.writers.picture_kernels import paeth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB, PALETTE, RGBA = 2, 3, 6
"""PNG's numbers of kinds of colour."""
COLOURS = 256


def png(pixels: Bytes, palette: Bytes | None = None, clear: int | None = None) -> bytes:
    """Return a PNG of 8 bit per channel.

    Args:
        pixels: (y, x, channel) bytes: red, green, blue and maybe alpha, or one index.
        palette: (n, 3) colours of the indices, n <= 256; None where there are no indices.
        clear: the index that is transparent; of red, green and blue 0 = black is transparent.

    Source:
        W3C, Portable Network Graphics 3.
    """
    height, width, channels = pixels.shape
    kind = PALETTE if palette is not None else RGBA if channels == 4 else RGB  # noqa: PLR2004
    rows = np.empty((height, 1 + width * channels), np.uint8)
    paeth(np.ascontiguousarray(pixels), rows)
    parts = [
        SIGNATURE,
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
    ]
    if palette is not None:
        parts.append(_chunk(b"PLTE", palette.tobytes()))
    if clear is not None:
        mark = b"\xff" * clear + b"\0" if palette is not None else struct.pack(">HHH", *[clear] * 3)
        parts.append(_chunk(b"tRNS", mark))
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    parts.append(_chunk(b"IDAT", packer.compress(rows.data) + packer.flush()))
    parts.append(_chunk(b"IEND", b""))
    return b"".join(parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
