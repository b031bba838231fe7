"""Threads for what waits or is slow by intent, so that it takes none from other requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

from terrazzo.server.web.faults import ServerBusy

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")
A = TypeVarTuple("A")
MOST = 200
"""Requests that may wait for a thread."""


class Waiting:
    """A few threads, and a bounded queue before them."""

    def __init__(self, threads: int) -> None:
        self._limiter = anyio.CapacityLimiter(threads)

    async def run(self, task: Callable[[*A], R], *arguments: *A) -> R:
        """Return what a function returns, called in one of the threads.

        Raises:
            ServerBusy: too many requests wait already.
        """
        if self._limiter.statistics().tasks_waiting >= MOST:
            raise ServerBusy("Too many requests of this kind wait. Try again in a few seconds.")
        return await anyio.to_thread.run_sync(task, *arguments, limiter=self._limiter)
