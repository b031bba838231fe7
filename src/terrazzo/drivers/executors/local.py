"""Executors of this machine: threads, which share what they decode, or processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from terrazzo.drivers.executors.crew import Crew
from terrazzo.drivers.executors.stints import stint
from terrazzo.drivers.pool import one_thread_each, sharing
from terrazzo.progress import helping, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor as Workers
    from concurrent.futures import Future

    from terrazzo.drivers.executors.crew import Openable, Work
    from terrazzo.drivers.executors.stints import Parts, Stint
    from terrazzo.drivers.executors.work import Made
    from terrazzo.progress import Progress


K = TypeVar("K")
M = TypeVar("M")


@dataclass(frozen=True)
class Local(Generic[K, M]):
    """Workers of this machine."""

    workers: Workers
    make: Callable[[Parts[K]], Stint[M]]
    places: int
    reissues: bool = False  # it would only take the cores from the others

    def size(self) -> int:
        """Return how many workers there are."""
        return self.places

    def submit(self, parts: Parts[K]) -> Future[Stint[M]]:
        """Have parts made, blocks by their numbers."""
        return self.workers.submit(self.make, parts)


@contextmanager
def threads(work: Work[int, Made], size: int, progress: Progress) -> Iterator[Local[int, Made]]:
    """Open as many threads; at the end what waits is dropped, and what can be stopped is.

    Args:
        work: what they do.
        size: how many.
        progress: is asked by what takes long in a block, in any thread.
    """
    workers = ThreadPoolExecutor(size, thread_name_prefix="block")
    try:
        with helping(progress) as helper:

            def make(parts: Parts[int]) -> Stint[Made]:
                with watched(helper), sharing(size):
                    return stint(work.make, parts)

            yield Local(workers, make, size)
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


@contextmanager
def processes(
    sent: Openable[K, M], size: int, lost: Callable[[K, str], M]
) -> Iterator[Local[K, M]]:
    """Open as many processes; at the end what waits is dropped.

    Args:
        sent: what each of them opens.
        size: how many.
        lost: says what became of a part whose process died, and how.
    """
    crew = Crew(sent, lost)
    with one_thread_each():
        workers = ThreadPoolExecutor(size, thread_name_prefix="worker")
        try:
            yield Local(workers, crew.make, size)
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            crew.stop()
            raise
        finally:
            workers.shutdown(wait=True, cancel_futures=True)
            crew.close()
