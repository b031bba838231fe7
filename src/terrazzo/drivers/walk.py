"""Walks over windows: computes them with a few threads and hands on what is kept of each."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from terrazzo import logs
from terrazzo.drivers.pool import sharing
from terrazzo.engine import evaluate
from terrazzo.progress import helping, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from terrazzo.cube import Cube
    from terrazzo.engine import Plan
    from terrazzo.geo.grid import Window
    from terrazzo.progress import Progress

T = TypeVar("T")


def walked(
    plan: Plan,
    windows: Sequence[Window],
    part: Callable[[int, Cube], T],
    *,
    workers: int,
    progress: Progress,
) -> Iterator[tuple[int, T]]:
    """Compute windows of a plan and yield what `part` keeps of each, by number, in order.

    What is logged meanwhile is told, in the same order, to whoever listens here.

    Args:
        plan: the raster.
        windows: pixels of its grid.
        part: called with the number of a window and its cube, by many threads at once.
        workers: threads that compute, ahead of whoever takes the results.
        progress: told about every window, and asked by what takes long in one; by many threads.
    """

    def computed(number: int) -> tuple[T, tuple[logs.Entry, ...]]:
        with logs.collected() as log, watched(helper), sharing(workers):
            kept = part(number, evaluate(plan, windows[number]))
        return kept, log.all()

    threads = ThreadPoolExecutor(workers, thread_name_prefix="block")
    with progress, threads as pool, helping(progress) as helper:
        progress.start(len(windows), "blocks")
        running: deque[Future[tuple[T, tuple[logs.Entry, ...]]]] = deque()
        upcoming = iter(range(len(windows)))
        try:
            for number in range(len(windows)):
                while len(running) < 2 * workers:
                    following = next(upcoming, None)
                    if following is None:
                        break
                    running.append(pool.submit(computed, following))
                kept, told = running.popleft().result()
                logs.retell(told)
                progress.hear(told)
                yield number, kept
                progress.advance()
        finally:
            for future in running:
                future.cancel()
