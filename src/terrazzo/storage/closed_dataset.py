"""Images of other hosts that no ingestion has looked at, read in a closed worker.

Whoever reads one sees a dataset like those of rasterio, as far as it is needed here. The bytes of
the file are fetched by this process, and GDAL, in the worker, sees nothing else; what comes back is
a description, every member of which is checked, and plain numbers.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from affine import Affine
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import RasterioIOError

from terrazzo.errors import UdfRefused
from terrazzo.sandbox.channel import SharedMemory
from terrazzo.sandbox.closed import Conversation, Refused
from terrazzo.sandbox.layers import this_machine
from terrazzo.sandbox.limits import Limits
from terrazzo.storage.remote.files import BLOCK, RANGES_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.cube import Values
    from terrazzo.storage.remote.files import RemoteFile
    from terrazzo.storage.remote.transport import RemoteFailed

    Span = tuple[tuple[int, int], tuple[int, int]]

PROGRAM: Final = "terrazzo.storage.closed_pixels"
MASK: Final = -1
"""What is asked for in place of bands."""
LIMITS: Final = Limits(
    wall_seconds=300.0,
    cpu_seconds=120.0,
    memory_bytes=2_000_000_000,
    scratch_bytes=1_000_000,
    scratch_files=10,
    threads=16,
    workers=8,
    kept=0,
    each=4,
    wait_seconds=120.0,
)
"""What one read may take. More may run than there are cores, because they wait for the network."""
_TYPES: Final = frozenset(
    {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
     "complex64", "complex128"}
)  # fmt: skip
_MOST_BANDS, _MOST_EDGE, _MOST_LEVELS, _LETTERS = 65_535, 2**31, 64, 1000
MOST_RANGES: Final = 4096
"""Parts of the file that may be asked for at once."""
MOST_BYTES: Final = 2**28
"""Their bytes."""
_MOST_IN_ALL: Final = 2**33
"""Bytes of the file that a worker may ask for, a part being a block at least."""
_SIDE_BY_SIDE: Final = 4 * RANGES_AT_ONCE
"""Parts that are fetched before others get their turn: all accounts share those who fetch."""
_NO_ROOM: Final = "reading it takes more memory than there is"
_UPSET: Final = (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError)


@dataclass(frozen=True, slots=True)
class _Crs:
    """What a file says of its CRS; whoever uses it takes it for anything."""

    wkt: str

    def to_wkt(self) -> str:
        """Return it as it was told."""
        return self.wkt


class ClosedDataset:
    """A remote image that is open in a closed worker."""

    def __init__(self, file: RemoteFile, driver: str, level: int, owner: str) -> None:
        """Open it.

        Args:
            file: gives its bytes.
            driver: the one that may open it.
            level: 0 = full resolution.
            owner: account for which it is read.

        Raises:
            RasterioIOError: it cannot be opened, or is described as nothing can be.
            UdfRefused: this machine cannot shut workers in.
            WorkersBusy: there is no worker for it in time.
        """
        self._file = file
        self._asked, self._until = 0, 0.0
        try:
            self._worker = Conversation(PROGRAM, LIMITS, owner)
        except UdfRefused as refused:
            raise _refused(refused) from None
        try:
            told = self._ask({"size": file.size, "driver": driver, "level": level})
            self._describe(told)
        except _UPSET as error:
            self.close()
            raise RasterioIOError(f"it upsets its reader ({type(error).__name__})") from None
        except BaseException:
            self.close()
            raise

    @property
    def failure(self) -> RemoteFailed | None:
        """Why a part of the file could not be fetched."""
        return self._file.failure

    def close(self) -> None:
        """Do away with the worker."""
        self._worker.close()

    def overviews(self, band: int) -> list[int]:
        """Return the factors of its overviews, which all bands share."""
        del band
        return list(self._overviews)

    def read(self, bands: Sequence[int] | None = None, *, window: Span) -> Values:
        """Return (band, y, x) of some bands, or of all.

        Raises:
            RasterioIOError: they cannot be decoded, or fetched.
        """
        try:
            types = [self.dtypes[band - 1] for band in bands] if bands else self.dtypes
        except IndexError:
            raise RasterioIOError("it has fewer bands than were asked for") from None
        return self._pixels(list(bands or ()), len(types), np.result_type(*set(types)), window)

    def read_masks(self, band: int, *, window: Span) -> Values:
        """Return (y, x) of the mask that all bands share.

        Raises:
            RasterioIOError: it cannot be decoded, or fetched.
        """
        del band
        mask: Values = self._pixels([MASK], 1, np.dtype(np.uint8), window)[0]
        return mask

    def _pixels(self, bands: list[int], count: int, dtype: np.dtype[Any], window: Span) -> Values:
        (row, row_stop), (col, col_stop) = window
        shape = count, row_stop - row, col_stop - col
        size = math.prod(shape) * dtype.itemsize
        if size > LIMITS.memory_bytes:
            raise RasterioIOError(_NO_ROOM)
        try:
            room = SharedMemory(size)
        except OSError:
            raise RasterioIOError(_NO_ROOM) from None
        try:
            wanted = {"bands": bands, "window": [row, col, *shape[1:]]}
            told = self._ask(wanted, (room.file,))
            if tuple(told["shape"]) != shape or told["dtype"] != dtype.name:
                raise ValueError(told)
            pixels: Values = room.array(dtype, shape).copy()
        except _UPSET as error:
            raise RasterioIOError(f"it upsets its reader ({type(error).__name__})") from None
        except MemoryError:
            raise RasterioIOError(_NO_ROOM) from None
        finally:
            room.close()
        return pixels

    def _ask(self, request: Any, files: Sequence[int] = ()) -> Mapping[str, Any]:
        self._until = time.monotonic() + LIMITS.wall_seconds
        try:
            return self._worker.ask(request, self._bytes, files)
        except Refused as refused:
            raise RasterioIOError(refused.reason) from None

    def _bytes(self, asked: Mapping[str, Any]) -> bytes:
        """Return parts of the file one after the other; nothing where one cannot be fetched."""
        offsets, sizes = asked["offsets"], asked["sizes"]
        if not 0 < len(offsets) == len(sizes) <= MOST_RANGES:
            raise ValueError(str(asked)[:100])
        offsets = [_count(number, 2**62, 0) for number in offsets]
        sizes = [_count(number, MOST_BYTES, 0) for number in sizes]
        self._asked += sum(max(size, BLOCK) for size in sizes)
        if sum(sizes) > MOST_BYTES or self._asked > _MOST_IN_ALL:
            raise ValueError(str(asked)[:100])
        found: list[bytes] = []
        before = self._file.failure
        while len(found) < len(sizes):
            if time.monotonic() > self._until:
                raise RasterioIOError("it takes too long to read")
            part = slice(len(found), len(found) + _SIDE_BY_SIDE)
            found += self._file.get_byte_ranges(offsets[part], sizes[part])
            if self._file.failure is not before:
                return b""
        return b"".join(found)

    def _describe(self, told: Mapping[str, Any]) -> None:
        self.count = _count(told["count"], _MOST_BANDS)
        self.height, self.width = (_count(told[side], _MOST_EDGE) for side in ("height", "width"))
        self.transform = Affine(*_numbers(told["transform"], 6))
        self.crs = _Crs(_text(told["crs"], 20_000)) if told["crs"] else None
        self.dtypes = tuple(_known(name) for name in _all(told["dtypes"], self.count))
        self.nodatavals = tuple(
            None if n is None else float(n) for n in _all(told["nodata"], self.count)
        )
        self.scales = _numbers(told["scales"], self.count)
        self.offsets = _numbers(told["offsets"], self.count)
        self.block_shapes = [
            tuple(_count(side, _MOST_EDGE) for side in _all(shape, 2))
            for shape in _all(told["blocks"], self.count)
        ]
        self.mask_flag_enums = [
            (MaskFlags.per_dataset,) if masked is True else ()
            for masked in _all(told["masked"], self.count)
        ]
        if len(told["overviews"]) > _MOST_LEVELS:
            raise ValueError(told["overviews"])
        self._overviews = tuple(_count(number, _MOST_EDGE, 2) for number in told["overviews"])
        self.descriptions = tuple(
            _text(text, _LETTERS) for text in _all(told["descriptions"], self.count)
        )
        self.interleaving = Interleaving(told["interleaving"]) if told["interleaving"] else None
        self.colorinterp = [ColorInterp(int(c)) for c in _all(told["colours"], self.count)]


def _refused(refused: UdfRefused) -> UdfRefused:
    """Say what else can be done where this machine cannot shut workers in."""
    missing = this_machine().missing
    if not missing:
        return refused
    return UdfRefused(
        "Images of other hosts that no ingestion has looked at are read in closed workers only, "
        f"and this machine cannot shut workers in: {missing}. `terrazzo doctor` says how to get "
        "what is missing. Whoever runs Terrazzo may ingest the images first, or, trusting the "
        "hosts on the list and all users, have it read them itself: `terrazzo --udf trusted ...`."
    )


def _count(value: Any, most: int, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(str(value)[:100])
    return value


def _all(values: Any, count: int) -> list[Any]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(str(values)[:100])
    return values


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    return tuple(float(value) for value in _all(values, count))


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(str(value)[:100])
    return value


def _known(name: Any) -> str:
    if name not in _TYPES:
        raise ValueError(str(name)[:100])
    return str(name)
