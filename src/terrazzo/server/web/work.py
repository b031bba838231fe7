"""A bounded pool of threads for computing pixels, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

from fastapi.responses import Response

from terrazzo.server.web.faults import ServerBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request

T = TypeVar("T")


CLIENT_CLOSED = 499


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def nobody(_: Request, __: Exception) -> Response:
    """Answer `ClientGone`: nobody sees it, but the request's log line says how it ended."""
    return Response(status_code=CLIENT_CLOSED)


class Work:
    """Runs what requests ask for, a few at a time, and forgets what nobody waits for."""

    def __init__(self, threads: int = 0, *, longest_queue: int = 1000) -> None:
        """Make the pool; 0 threads is one per core."""
        self._executor = ThreadPoolExecutor(
            threads or len(os.sched_getaffinity(0)), thread_name_prefix="pixels"
        )
        self._longest_queue = longest_queue
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many requests wait or run."""
        return self._waiting

    async def run(self, request: Request, task: Callable[[], T]) -> T:
        """Run a task for a request; one whose client has gone before it began never runs.

        Raises:
            ClientGone: the client went first.
            ServerBusy: too many requests wait already.
        """
        if self._waiting >= self._longest_queue:
            raise ServerBusy("Too many requests are waiting. Ask again in a moment.")
        self._waiting += 1
        inside = copy_context()  # so that what the thread logs has the id of the request
        job = asyncio.get_running_loop().run_in_executor(self._executor, inside.run, task)
        gone = asyncio.ensure_future(disconnected(request))
        gone.add_done_callback(lambda _: job.cancel())
        try:
            return await job
        except asyncio.CancelledError:
            if gone.done():
                raise ClientGone from None
            raise
        finally:
            self._waiting -= 1
            gone.cancel()

    def close(self, *, wait: bool = True) -> None:
        """Drop what waits, and wait for what runs unless told not to."""
        self._executor.shutdown(wait=wait, cancel_futures=True)


async def disconnected(request: Request) -> None:
    """Return when the client has gone; the body was read before, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
