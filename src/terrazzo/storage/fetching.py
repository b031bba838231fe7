"""Threads that wait for servers: remote files are read side by side, and ahead of their use.

Local files are decoded by whoever reads them. Their bytes come from the page cache or a disk that
the system reads ahead of us, so that more threads than cores would only wait for one another.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    T = TypeVar("T")
    R = TypeVar("R")

READS_AT_ONCE = 16
"""Remote files that are read at a time, by all reads of a process together."""
AHEAD_AT_ONCE = 2
"""Reads that are prepared ahead of their use at a time; more are not begun."""
SHARE_AHEAD = 4
"""A part of the block cache, one in so many, that a read ahead may fill."""


@lru_cache(maxsize=1)
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="fetch")


@lru_cache(maxsize=1)
def _ahead() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AHEAD_AT_ONCE, thread_name_prefix="ahead")


_slots = threading.BoundedSemaphore(AHEAD_AT_ONCE)


def side_by_side(work: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """Yield `work` of each thing, in order, done by the threads that wait for servers.

    `work` must not call this itself.
    """
    return _readers().map(work, things)


def ahead(work: Callable[[], None]) -> None:
    """Begin work in the background, unless enough is under way; returns at once."""
    if not _slots.acquire(blocking=False):
        return

    def run() -> None:
        try:
            work()
        finally:
            _slots.release()

    _ahead().submit(run)


def _start_afresh() -> None:
    """In a forked child there are no such threads."""
    global _slots  # noqa: PLW0603 - a semaphore cannot be counted up to full
    _slots = threading.BoundedSemaphore(AHEAD_AT_ONCE)
    _readers.cache_clear()
    _ahead.cache_clear()


os.register_at_fork(after_in_child=_start_afresh)
