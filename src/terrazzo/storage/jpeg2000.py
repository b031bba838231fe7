"""Whether a JPEG 2000 file is whole: its boxes and tile-parts are walked, nothing is decoded.

OpenJPEG reads a codestream that ends early and gives zeros for what is missing, so a file that is
cut short looks like one with dark corners. Every tile-part says how long it is, and the codestream
ends with a marker.

Source:
    ITU-T T.800 (2019), annexes A.4 (markers SOC, SOT, EOC) and I.4 (boxes).
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING, Final

from terrazzo.storage.handles import unreadable

if TYPE_CHECKING:
    from terrazzo.storage.gate import AssetName

_SIGNATURE: Final = b"\0\0\0\x0cjP  "
_CODESTREAM: Final = b"jp2c"
_SOC, _SOT, _EOC = b"\xff\x4f", b"\xff\x90", b"\xff\xd9"
_LONG: Final = 1
"""A length of a box that says that a longer number follows."""
_MOST_STEPS: Final = 5_000_000


class _CutShort(Exception):
    """The file ends, or goes on as something else, at a byte."""


def check_codestream(asset: AssetName) -> None:
    """Refuse a local JPEG 2000 file that ends before its codestream does.

    Raises:
        SourceUnreadable: it is cut short or damaged, and where.
    """
    try:
        with open(asset.gdal, "rb") as file:  # noqa: PTH123 - GDAL's name of it
            _walk(file, asset.stamp[1])
    except OSError as error:
        raise unreadable(asset, error) from None
    except _CutShort as where:
        raise unreadable(
            asset, f"it is cut short or damaged: its codestream breaks off at {where}. Get it again"
        ) from None


def _walk(file: IO[bytes], size_bytes: int) -> None:
    """Walk the boxes to the codestream, and that to its end."""
    at, end = 0, size_bytes
    if _read(file, 0, 8, size_bytes) == _SIGNATURE:
        at, end = _codestream(file, size_bytes)
    if _read(file, at, 2, end) != _SOC:
        raise _CutShort(f"byte {at:,}")
    at += 2
    for _ in range(_MOST_STEPS):
        marker = _read(file, at, 2, end)
        if marker == _EOC:
            return
        if marker == _SOT:
            (length,) = struct.unpack(">I", _read(file, at + 6, 4, end))
            if not length:  # the last one, to the end marker
                at = end - 2
                continue
            at += length
        elif marker[:1] == b"\xff":
            (length,) = struct.unpack(">H", _read(file, at + 2, 2, end))
            at += 2 + length
        else:
            break
    raise _CutShort(f"byte {min(at, end):,}")


def _codestream(file: IO[bytes], size_bytes: int) -> tuple[int, int]:
    """Return where the codestream lies: its first byte, and the one behind its last."""
    at = 0
    for _ in range(_MOST_STEPS):
        length, kind = struct.unpack(">I4s", _read(file, at, 8, size_bytes))
        head = 8
        if length == _LONG:
            (length,) = struct.unpack(">Q", _read(file, at + 8, 8, size_bytes))
            head = 16
        stop = at + length if length else size_bytes
        if stop > size_bytes or stop < at + head:
            raise _CutShort(f"byte {size_bytes:,} of {stop:,}")
        if kind == _CODESTREAM:
            return at + head, stop
        at = stop
    raise _CutShort(f"byte {at:,}")


def _read(file: IO[bytes], at: int, count: int, end: int) -> bytes:
    if at + count > end:
        raise _CutShort(f"byte {end:,}, and byte {at + count:,} is needed")
    file.seek(at)
    return file.read(count)
