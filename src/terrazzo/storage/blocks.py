"""The cache of decoded internal tiles: each tile is decoded once, whoever asks for it."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from terrazzo.cube import Values


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """What a cache has done since it was made."""

    tiles_decoded: int = 0
    """Internal tiles that were decoded."""
    bytes_decoded: int = 0
    """Bytes of those tiles."""
    tiles_found: int = 0
    """Internal tiles that were found decoded, or being decoded by another thread."""
    pixels_requested: int = 0
    """Pixels that reads asked for, all bands."""


class BlockCache:
    """Least recently used decoded tiles, at most `max_bytes` of them; for many threads.

    Two threads that ask for one tile at once get one decoding. A tile larger than the whole
    cache is decoded and not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._start()
        self._counts = [0, 0, 0, 0]
        _CACHES.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Hashable, Values] = OrderedDict()
        self._coming: dict[Hashable, Future[Values]] = {}
        self._bytes = 0

    @property
    def bytes_held(self) -> int:
        """Bytes of the tiles that are kept now."""
        return self._bytes

    @property
    def counts(self) -> ReadCounts:
        """What was decoded and asked for so far."""
        with self._lock:
            return ReadCounts(*self._counts)

    def count_request(self, pixels: int) -> None:
        """Record that a read asked for so many pixels."""
        with self._lock:
            self._counts[3] += pixels

    def get(self, key: Hashable, decode: Callable[[], Values]) -> Values:
        """Return the tile of a key, decoding it if nobody has; the array is read-only.

        Whatever `decode` raises reaches every thread that waits for this tile, and is not kept.
        """
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
                self._counts[2] += 1
                return tile
            coming = self._coming.get(key)
            if coming is None:
                mine = self._coming[key] = Future()
            else:
                self._counts[2] += 1
        if coming is not None:
            return coming.result()
        try:
            tile = decode()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            mine.set_exception(error)
            raise
        tile.flags.writeable = False
        with self._lock:
            del self._coming[key]
            self._keep(key, tile)
        mine.set_result(tile)
        return tile

    def clear(self) -> None:
        """Forget all tiles; counts stay."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def _keep(self, key: Hashable, tile: Values) -> None:
        self._counts[0] += 1
        self._counts[1] += tile.nbytes
        if tile.nbytes > self.max_bytes:
            return
        self._tiles[key] = tile
        self._bytes += tile.nbytes
        while self._bytes > self.max_bytes:
            _, old = self._tiles.popitem(last=False)
            self._bytes -= old.nbytes


_CACHES: weakref.WeakSet[BlockCache] = weakref.WeakSet()


def _start_afresh() -> None:
    """In a forked child: locks may be held and tiles be coming by threads that don't exist."""
    for cache in list(_CACHES):
        cache._start()  # noqa: SLF001 - its own module


os.register_at_fork(after_in_child=_start_afresh)
