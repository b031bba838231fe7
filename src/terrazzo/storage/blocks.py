"""The cache of decoded internal tiles: each tile is decoded once, whoever asks for it."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrazzo.spans import note

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from terrazzo.cube import Values

    Tile = Values | Exception
    Keep = Callable[[int, Tile], None]


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
        self._coming: dict[Hashable, Future[Tile]] = {}
        self._bytes = 0

    def resize(self, max_bytes: int) -> None:
        """Keep at most as many bytes from now on."""
        with self._lock:
            self.max_bytes = max_bytes
            self._evict()

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

    def get(
        self,
        keys: Sequence[Hashable],
        decode: Callable[[Sequence[int], Keep], None],
        *,
        together: bool = True,
    ) -> list[Tile]:
        """Return the tiles of some keys, decoding those that nobody has; arrays are read-only.

        Args:
            keys: what the tiles are called.
            decode: gets the positions of the keys that are missing, and what takes each tile as
                soon as it is there, `keep(position, tile)`: an array, or the error why this one
                has none. An error is given to whoever waits for the tile now, and is not kept.
            together: whether it gets all of them at once, because that saves requests; else one
                after the other, so that threads which want the same tiles share the work.

        Whatever `decode` raises reaches every thread that waits for one of these tiles.
        """
        found: dict[int, Tile] = {}
        others: dict[int, Future[Tile]] = {}
        at = decoded = 0
        while at < len(keys):
            mine, at = self._claim(keys, at, len(keys) if together else 1, (found, others))
            if mine:
                decoded += len(mine)
                self._decode(keys, mine, decode, found)
        note("tiles_found", len(keys) - decoded)
        for position, coming in others.items():
            found[position] = coming.result()
        return [found[position] for position in range(len(keys))]

    def _decode(
        self,
        keys: Sequence[Hashable],
        mine: dict[int, Future[Tile]],
        decode: Callable[[Sequence[int], Keep], None],
        found: dict[int, Tile],
    ) -> None:
        """Decode what was claimed, and hand it to whoever waits for it."""

        def keep(position: int, tile: Tile) -> None:
            found[position] = tile
            with self._lock:
                del self._coming[keys[position]]
                if not isinstance(tile, Exception):
                    self._keep(keys[position], tile)
            mine.pop(position).set_result(tile)

        try:
            decode(tuple(mine), keep)
        except BaseException as error:
            with self._lock:
                for position in mine:
                    del self._coming[keys[position]]
            for future in mine.values():
                future.set_exception(error)
            raise

    def _claim(
        self,
        keys: Sequence[Hashable],
        first: int,
        most: int,
        known: tuple[dict[int, Tile], dict[int, Future[Tile]]],
    ) -> tuple[dict[int, Future[Tile]], int]:
        """Look at keys from the first on, until so many tiles are to be decoded here.

        What there is, and what others decode, is added to the known ones. Returns the claimed ones,
        and the first position that was not looked at.
        """
        found, others = known
        mine: dict[int, Future[Tile]] = {}
        position = first
        with self._lock:
            while position < len(keys) and len(mine) < most:
                key = keys[position]
                tile = self._tiles.get(key)
                if tile is not None:
                    self._tiles.move_to_end(key)
                    found[position] = tile
                elif key in self._coming:
                    others[position] = self._coming[key]
                else:
                    mine[position] = self._coming[key] = Future()
                position += 1
            self._counts[2] += position - first - len(mine)
        return mine, position

    def missing(self, keys: Sequence[Hashable]) -> list[int]:
        """Return the positions of keys whose tile is neither kept nor coming."""
        with self._lock:
            return [
                position
                for position, key in enumerate(keys)
                if key not in self._tiles and key not in self._coming
            ]

    def clear(self) -> None:
        """Forget all tiles; counts stay."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def _keep(self, key: Hashable, tile: Values) -> None:
        tile.flags.writeable = False
        self._counts[0] += 1
        self._counts[1] += tile.nbytes
        if tile.nbytes > self.max_bytes:
            return
        self._tiles[key] = tile
        self._bytes += tile.nbytes
        self._evict()

    def _evict(self) -> None:
        while self._bytes > self.max_bytes:
            _, old = self._tiles.popitem(last=False)
            self._bytes -= old.nbytes


_CACHES: weakref.WeakSet[BlockCache] = weakref.WeakSet()


def _start_afresh() -> None:
    """In a forked child: locks may be held and tiles be coming by threads that don't exist."""
    for cache in list(_CACHES):
        cache._start()  # noqa: SLF001 - its own module


os.register_at_fork(after_in_child=_start_afresh)
