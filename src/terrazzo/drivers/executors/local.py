"""Executors of this machine: threads, which share what they decode, or processes."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from terrazzo.drivers.pool import end_with_parent, one_thread_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor as Workers
    from concurrent.futures import Future

    from terrazzo.drivers.executors.work import Blockwise, Made, Sent


@dataclass(frozen=True, slots=True)
class Local:
    """Workers of this machine."""

    workers: Workers
    make: Callable[[int, int], Made]
    places: int
    reissues: bool = False  # it would only take the cores from the others

    def size(self) -> int:
        """Return how many workers there are."""
        return self.places

    def submit(self, number: int, kept: int) -> Future[Made]:
        """Have a block computed."""
        return self.workers.submit(self.make, number, kept)


@contextmanager
def threads(work: Blockwise, size: int) -> Iterator[Local]:
    """Open as many threads; at the end what waits is dropped."""
    # Workers share what is fetched: the block after those in work is the next one needed.
    make = replace(work, ahead=size).make
    workers = ThreadPoolExecutor(size, thread_name_prefix="block")
    try:
        yield Local(workers, make, size)
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


@contextmanager
def processes(sent: Sent, size: int) -> Iterator[Local]:
    """Open as many processes; at the end what waits is dropped."""
    with one_thread_each():
        workers = ProcessPoolExecutor(
            size,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(sent,),
        )
        try:
            yield Local(workers, _block, size)
        finally:
            workers.shutdown(wait=True, cancel_futures=True)


_work: list[Blockwise] = []
"""What a worker process keeps between blocks: its plan, made once."""


def _begin(sent: Sent) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    _work.append(sent.opened())


def _block(number: int, kept: int) -> Made:
    return _work[-1].make(number, kept)
