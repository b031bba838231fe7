"""Encoded tiles that were made a moment ago, for the many who look at the same map."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from terrazzo.progress import Cancelled
from terrazzo.server.maps.patient import AnswerTooLong
from terrazzo.server.web.faults import SearchTooLong
from terrazzo.server.web.work import ClientGone

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_OF_ONE = (Cancelled, ClientGone, AnswerTooLong, SearchTooLong)
"""Raised where one of those who wait has gone, or has waited long enough: others may wait on."""
OVERHEAD = 512
"""Bytes that keeping a tile takes beside its own."""


class KeptTiles:
    """Least recently used tiles, at most `max_bytes` of them; for many threads.

    Keys say all that a tile's bytes depend on, so that nothing kept ever has to be dropped
    because it is old. Two threads that want one tile at once get one computation.
    """

    def __init__(
        self, max_bytes: int, count: Callable[[str, int], object] = lambda *_: None
    ) -> None:
        """Keep nothing yet.

        Args:
            max_bytes: of all tiles together.
            count: told of each tile where it came from (`made`, `kept`, or `joined` to one that is
                being made) and how many pixels it has.
        """
        self.max_bytes = max_bytes
        self._count = count
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Hashable, bytes] = OrderedDict()
        self._coming: dict[Hashable, Future[bytes | None]] = {}
        self._bytes = 0

    @property
    def bytes_held(self) -> int:
        """Bytes of the tiles that are kept now."""
        return self._bytes

    def get(
        self, key: Hashable, make: Callable[[], bytes | None], *, pixels: int = 0
    ) -> bytes | None:
        """Return a tile, made now if nobody has made it; None = empty, which is not kept.

        Whatever `make` raises reaches every thread that waits for this tile; but where nobody waits
        any more for whom it was made, another thread makes it for those who wait on.
        """
        while True:
            with self._lock:
                if key in self._tiles:
                    self._tiles.move_to_end(key)
                    self._count("kept", pixels)
                    return self._tiles[key]
                coming = self._coming.get(key)
                if coming is None:
                    mine = self._coming[key] = Future[bytes | None]()
                    break
            self._count("joined", pixels)
            with suppress(*_OF_ONE):
                return coming.result()
        self._count("made", pixels)
        try:
            tile = make()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._coming[key]
            if tile is not None:
                self._keep(key, tile)
        mine.set_result(tile)
        return tile

    def _keep(self, key: Hashable, tile: bytes) -> None:
        if len(tile) + OVERHEAD > self.max_bytes:
            return
        self._tiles[key] = tile
        self._bytes += len(tile) + OVERHEAD
        while self._bytes > self.max_bytes:
            _, old = self._tiles.popitem(last=False)
            self._bytes -= len(old) + OVERHEAD
