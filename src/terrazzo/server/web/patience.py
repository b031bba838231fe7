"""How long a search may look at items: until the client goes, or its time is over."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from terrazzo.server.web.faults import SearchTooLong, ServerBusy
from terrazzo.server.web.work import ClientGone, disconnected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request

SECONDS = 60.0
"""The longest search, and the longest wait for its begin."""


class Patience:
    """Called by a search now and then; raises when nobody wants to wait for it any more."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """Wait for so many seconds, from when the search begins to look: when it calls first."""
        self._seconds, self._made = seconds, time.monotonic()
        self._end: float | None = None
        self._gone = threading.Event()

    def __call__(self) -> None:
        """Do nothing, while somebody waits.

        Raises:
            ClientGone: the client has gone.
            SearchTooLong: the time is over.
            ServerBusy: a minute went by before the search began.
        """
        if self._gone.is_set():
            raise ClientGone
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
            if now > self._made + SECONDS:
                raise ServerBusy("Too many requests of this kind wait. Try again in a few seconds.")
        if now > self._end:
            raise SearchTooLong(
                f"The search looked at items for {self._seconds:.0f} s without coming to an end. "
                "Narrow it: name collections, a bbox or a datetime."
            )

    def leave(self) -> None:
        """Say that the client has gone."""
        self._gone.set()


@asynccontextmanager
async def patience_of(request: Request, seconds: float = SECONDS) -> AsyncIterator[Patience]:
    """Yield the patience of a request's client; its body was read before.

    Args:
        request: that is answered.
        seconds: the longest wait.
    """
    found = Patience(seconds)
    watch = asyncio.ensure_future(disconnected(request))
    watch.add_done_callback(lambda _: found.leave())
    try:
        yield found
    finally:
        watch.cancel()
