"""How a run gets through its blocks: a few ahead of the workers, again what may pass."""

from __future__ import annotations

import heapq
import statistics
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from terrazzo.drivers.executors.work import Executor, Made

ATTEMPTS = 3
"""How often a block is tried that may succeed another time."""
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Before the second attempt, twice that before the third, and so on; and at most."""
WAITING_PER_WORKER = 3
"""Blocks handed out ahead of the workers; bounds memory, whatever the run's size."""
SLOW, SLOW_S = 3.0, 5.0
"""A block is given to somebody else, too, after so many times the median, but not before."""
_LOOK_S = 1.0
_RECENT = 200


def computed(
    executor: Executor,
    numbers: Iterable[int],
    versions: NDArray[np.uint64] | Mapping[int, int] | Sequence[int],
    *,
    attempts: int = ATTEMPTS,
) -> Iterator[tuple[int, Made]]:
    """Yield blocks by number as they are done.

    What failed by something that passes is tried again after a pause. When none are left to hand
    out, the slowest are handed to idle workers once more: two that make one block do no harm.

    Args:
        executor: who computes them.
        numbers: which, in the order in which they are handed out.
        versions: with which blocks are kept already, by number; 0 = not.
        attempts: how often a block is tried.

    Raises:
        OutputFailed: blocks cannot be kept.
        BrokenExecutor: there is nobody left who computes.
    """
    handed = _Handed(executor, versions, attempts)
    upcoming = iter(numbers)
    try:
        while True:
            handed.hand_out(upcoming)
            if handed.done:
                return
            yield from handed.finished()
    finally:
        handed.cancel()


class _Handed:
    """Blocks that are in work."""

    def __init__(
        self,
        executor: Executor,
        versions: NDArray[np.uint64] | Mapping[int, int] | Sequence[int],
        attempts: int,
    ) -> None:
        self._executor, self._versions, self._attempts = executor, versions, attempts
        self._running: dict[Future[Made], int] = {}
        self._begun: dict[int, float] = {}
        """When each block that is not done was handed out last."""
        self._twice: set[int] = set()
        self._tried: dict[int, int] = {}
        self._again: list[tuple[float, int]] = []
        self._took: list[float] = []
        self._exhausted = False

    @property
    def done(self) -> bool:
        # Somebody may still be at a block that somebody else has made.
        return self._exhausted and not self._begun

    def hand_out(self, upcoming: Iterator[int]) -> None:
        """Give the workers as much as they have places, those that wait for another try first."""
        places = self._executor.size() * WAITING_PER_WORKER
        while len(self._running) < places:
            if self._again and self._again[0][0] <= time.monotonic():
                number = heapq.heappop(self._again)[1]
                if number in self._begun:  # else somebody else has made it meanwhile
                    self._submit(number)
                continue
            following = None if self._exhausted else next(upcoming, None)
            if following is None:
                self._exhausted = True
                break
            self._submit(following)
        if self._exhausted and self._executor.reissues:
            self._reissue()

    def _submit(self, number: int) -> None:
        kept = int(self._versions[number])
        self._running[self._executor.submit(number, kept)] = number
        self._begun[number] = time.monotonic()

    def _reissue(self) -> None:
        """Give the slowest block to somebody else, too, where somebody is idle."""
        if not self._took or len(self._running) >= self._executor.size():
            return
        limit = max(SLOW * statistics.median(self._took), SLOW_S)
        slow = [
            number
            for number, begun in self._begun.items()
            if number not in self._twice and time.monotonic() - begun > limit
        ]
        for number in slow[: self._executor.size() - len(self._running)]:
            self._twice.add(number)
            self._submit(number)

    def finished(self) -> Iterator[tuple[int, Made]]:
        """Wait for a block, and yield what is done."""
        if not self._running:
            time.sleep(max(0.0, self._again[0][0] - time.monotonic()) if self._again else 0.0)
            return
        patient = self._again or (self._exhausted and self._executor.reissues)
        ready, _ = wait(
            self._running, timeout=_LOOK_S if patient else None, return_when=FIRST_COMPLETED
        )
        for future in ready:
            number = self._running.pop(future)
            if number not in self._begun:
                continue  # somebody else was faster
            made = future.result()
            if made.passing and (number in self._running.values() or self._try_again(number)):
                continue  # somebody else is at it, or will be
            self._took = [*self._took[1 - _RECENT :], time.monotonic() - self._begun.pop(number)]
            yield number, made

    def _try_again(self, number: int) -> bool:
        """Note a block for another attempt; tell whether it has one."""
        tried = self._tried[number] = self._tried.get(number, 0) + 1
        if tried >= self._attempts:
            return False
        pause = min(PAUSE_S * 2 ** (tried - 1), LONGEST_PAUSE_S)
        heapq.heappush(self._again, (time.monotonic() + pause, number))
        return True

    def cancel(self) -> None:
        for future in self._running:
            future.cancel()
