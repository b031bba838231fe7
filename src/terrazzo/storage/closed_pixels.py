"""Decodes images of other hosts that no ingestion has looked at: the program of a closed worker.

It opens one file, whose bytes it asks back for, and answers requests for pixels. The other end,
`closed_dataset`, looks like a dataset to whoever reads it.
"""

from __future__ import annotations

import mmap
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio._vsiopener import _opener_registration
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from typing_extensions import override

from terrazzo.errors import ArgumentInvalid
from terrazzo.sandbox.closed import answer_many
from terrazzo.storage.closed_dataset import MASK, MOST_BYTES, MOST_RANGES
from terrazzo.storage.handles import gdal_environment
from terrazzo.storage.remote.files import BLOCK, Opener, RangedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket

    from terrazzo.sandbox.limits import Limits

    Ask = Callable[[Any], bytes]


def warm_up() -> None:
    """Everything is loaded with this module."""


def prepare(limits: Limits) -> None:
    """Nothing is to be done in a worker before it is shut in."""
    del limits


def serve(channel: socket) -> None:
    """Answer a request to open (`size`, `driver`, `level`), and then requests for pixels."""
    with ExitStack() as stack:
        image = _Image(stack)
        answer_many(channel, image.answer)


class _Image:
    """The file, once it is open."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._dataset: Any = None

    def answer(self, request: Any, ask: Ask, files: Sequence[int]) -> dict[str, Any]:
        """Open the file, or write pixels into the memory that comes with the request.

        Raises:
            ArgumentInvalid: GDAL cannot.
        """
        try:
            return self._answer(request, ask, files)
        except (RasterioError, CPLE_BaseError) as error:
            raise ArgumentInvalid(str(error)) from None

    def _answer(self, request: Any, ask: Ask, files: Sequence[int]) -> dict[str, Any]:
        if self._dataset is None:
            self._dataset = self._opened(request, ask)
            return _facts(self._dataset)
        with mmap.mmap(files[0], 0) as room:
            pixels = _pixels(self._dataset, request["bands"], request["window"])
            if pixels.nbytes > len(room):
                raise ArgumentInvalid("its pixels are larger than it says")
            room[: pixels.nbytes] = pixels.tobytes()
        return {"dtype": pixels.dtype.name, "shape": list(pixels.shape)}

    def _opened(self, request: Any, ask: Ask) -> Any:
        options = {"overview_level": request["level"] - 1} if request["level"] else {}
        file = _Asked(ask, request["size"])
        self._stack.enter_context(gdal_environment(ranges=True))
        opener = Opener(file, request["size"])
        name = self._stack.enter_context(_opener_registration("image", opener))
        return self._stack.enter_context(DatasetReader(name, driver=request["driver"], **options))


class _Asked(RangedFile):
    """A file whose bytes are asked back for."""

    def __init__(self, ask: Ask, size: int) -> None:
        super().__init__(size)
        self._ask = ask
        self._blocks: dict[int, bytes] = {}

    @override
    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer at the end, and where they cannot be had."""
        size = max(min(self._size if size < 0 else size, self._size - self._at), 0)
        content = self._small(size) if size <= BLOCK else self._ranges([self._at], [size])[0]
        self._at += len(content)
        return content

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Return several parts, asked for at once."""
        return self._ranges(offsets, sizes)

    def _small(self, size: int) -> bytes:
        numbers = range(self._at // BLOCK, -(-(self._at + size) // BLOCK))
        for number in numbers:
            if number not in self._blocks:
                self._blocks[number] = self._ranges([number * BLOCK], [BLOCK])[0]
        first = self._at - numbers.start * BLOCK
        return b"".join(self._blocks[number] for number in numbers)[first : first + size]

    def _ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        rooms = [max(min(n, self._size - at), 0) for at, n in zip(offsets, sizes, strict=True)]
        found: list[bytes] = []
        while len(found) < len(rooms):
            start = len(found)
            some = rooms[start : start + _fitting(rooms[start : start + MOST_RANGES])]
            places = list(map(int, offsets[start : start + len(some)]))
            content = self._ask({"offsets": places, "sizes": some})
            if len(content) != sum(some):
                return [b""] * len(rooms)
            ends = np.cumsum(some).tolist()
            found += [content[end - n : end] for end, n in zip(ends, some, strict=True)]
        return found


def _fitting(sizes: Sequence[int]) -> int:
    """Return how many of the first parts may be asked for at once; one at least."""
    return max(int(np.searchsorted(np.cumsum(sizes), MOST_BYTES, side="right")), 1)


def _pixels(dataset: Any, bands: Sequence[int], window: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return (band, y, x) of some bands, of all where none is named, or of the mask."""
    row, col, height, width = window
    where = ((row, row + height), (col, col + width))
    if list(bands) == [MASK]:
        found = dataset.read_masks(1, window=where)[np.newaxis]
    else:
        found = dataset.read(list(bands) or None, window=where)
    return np.ascontiguousarray(found)


def _facts(dataset: Any) -> dict[str, Any]:
    """Return what a dataset says of itself; numbers as texts, as JSON has neither NaN nor inf."""
    crs = dataset.crs
    return {
        "count": dataset.count,
        "height": dataset.height,
        "width": dataset.width,
        "transform": [repr(float(number)) for number in list(dataset.transform)[:6]],
        "crs": "" if crs is None else crs.to_wkt(),
        "dtypes": list(dataset.dtypes),
        "nodata": [None if n is None else repr(float(n)) for n in dataset.nodatavals],
        "scales": [repr(float(number)) for number in dataset.scales],
        "offsets": [repr(float(number)) for number in dataset.offsets],
        "blocks": [list(map(int, shape)) for shape in dataset.block_shapes],
        "masked": [MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums],
        "overviews": list(map(int, dataset.overviews(1))) if dataset.count else [],
        "descriptions": [text or "" for text in dataset.descriptions],
        "interleaving": dataset.interleaving.value if dataset.interleaving else "",
        "colours": [colour.value for colour in dataset.colorinterp],
    }
