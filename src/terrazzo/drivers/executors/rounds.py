"""How a run gets through its blocks: a few ahead of the workers, again what may pass."""

from __future__ import annotations

import heapq
import statistics
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from terrazzo.drivers.executors.stints import STINT_S
from terrazzo.progress import CHECK_S, pause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from terrazzo.drivers.executors.stints import Stint
    from terrazzo.drivers.executors.work import Executor, Made
    from terrazzo.progress import Progress

ATTEMPTS = 3
"""How often a block is tried that may succeed another time."""
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Before the second attempt, twice that before the third, and so on; and at most."""
WAITING_PER_WORKER = 3
"""Stints handed out ahead of the workers; bounds memory, whatever the run's size."""
MOST = 128
"""Blocks of a stint, however quick they are."""
SLOW, SLOW_S = 3.0, 5.0
"""A stint is given to somebody else, too, after so many times the median, but not before."""
_RECENT = 200


def computed(
    executor: Executor,
    numbers: Iterable[int],
    versions: NDArray[np.uint64] | Mapping[int, int] | Sequence[int],
    progress: Progress,
    *,
    attempts: int = ATTEMPTS,
    most: int = MOST,
) -> Iterator[tuple[int, Made]]:
    """Yield blocks by number as they are done.

    What failed by something that passes is tried again after a pause. When none are left to hand
    out, the slowest are handed to idle workers once more: two that make one block do no harm.

    Args:
        executor: who computes them.
        numbers: which, in the order in which they are handed out.
        versions: with which blocks are kept already, by number; 0 = not.
        progress: is asked twice a second, also while blocks take long; may raise `Cancelled`.
        attempts: how often a block is tried.
        most: how many blocks are handed out together, however quick they are.

    Raises:
        OutputFailed: blocks cannot be kept.
        BrokenExecutor: there is nobody left who computes.
    """
    handed = _Handed(executor, versions, progress, (attempts, most))
    upcoming = iter(numbers)
    try:
        while True:
            handed.hand_out(upcoming)
            if handed.done:
                return
            yield from handed.finished()
    finally:
        handed.cancel()


@dataclass(eq=False, slots=True)
class _Task:
    """A stint that is in work."""

    numbers: tuple[int, ...]
    begun_s: float
    twice: bool
    """Whether it is somebody else's as well."""


class _Handed:
    """Blocks that are in work."""

    def __init__(
        self,
        executor: Executor,
        versions: NDArray[np.uint64] | Mapping[int, int] | Sequence[int],
        progress: Progress,
        limits: tuple[int, int],
    ) -> None:
        self._executor, self._versions, self._progress = executor, versions, progress
        self._attempts, self._most = limits
        self._running: dict[Future[Stint[Made]], _Task] = {}
        self._open: set[int] = set()
        self._left: dict[int, None] = {}
        self._again: list[tuple[float, int]] = []
        self._tried: dict[int, int] = {}
        self._took: deque[float] = deque(maxlen=_RECENT)
        self._many = 1
        self._exhausted = False

    @property
    def done(self) -> bool:
        # Somebody may still be at a block that somebody else has made.
        return self._exhausted and not self._open

    def hand_out(self, upcoming: Iterator[int]) -> None:
        """Give the workers as much as they have places, those that wait for another try first."""
        places = self._executor.size() * WAITING_PER_WORKER
        while len(self._running) < places:
            numbers = self._due() or tuple(islice(self._following(upcoming), self._many))
            if not numbers:
                break
            self._submit(numbers)
        if self._exhausted and self._executor.reissues:
            self._reissue()

    def _due(self) -> tuple[int, ...]:
        """Return a block that is tried again now, alone: it may take its worker with it."""
        while self._again and self._again[0][0] <= time.monotonic():
            number = heapq.heappop(self._again)[1]
            if number in self._open:  # else somebody else has made it meanwhile
                return (number,)
        return ()

    def _following(self, upcoming: Iterator[int]) -> Iterator[int]:
        """Yield blocks that are to be made, first those for which there was no time."""
        while self._left:
            number = next(iter(self._left))
            del self._left[number]
            if number in self._open:
                yield number
        for number in upcoming:  # `yield from` would close it with this generator
            yield number
        self._exhausted = True

    def _submit(self, numbers: tuple[int, ...], *, twice: bool = False) -> None:
        parts = tuple((number, int(self._versions[number])) for number in numbers)
        self._running[self._executor.submit(parts)] = _Task(numbers, time.monotonic(), twice)
        self._open.update(numbers)

    def _reissue(self) -> None:
        """Give the slowest stints to somebody else, too, where somebody is idle."""
        idle = self._executor.size() - len(self._running)
        if idle <= 0 or not self._took:
            return
        limit = max(SLOW * statistics.median(self._took), SLOW_S)
        slow = [
            task
            for task in self._running.values()
            if not task.twice and time.monotonic() - task.begun_s > limit
        ]
        for task in slow[:idle]:
            task.twice = True
            numbers = tuple(number for number in task.numbers if number in self._open)
            if numbers:
                self._submit(numbers, twice=True)

    def finished(self) -> Iterator[tuple[int, Made]]:
        """Wait for a stint, and yield what is done."""
        if not self._running:
            pause(self._again[0][0] - time.monotonic() if self._again else 0.0, self._progress)
            return
        ready, _ = wait(self._running, CHECK_S, FIRST_COMPLETED)
        self._progress.check()
        for future in [one for one in self._running if one in ready]:  # as they were handed out
            task = self._running.pop(future)
            stint = future.result()
            self._took.append(time.monotonic() - task.begun_s)
            self._learn(stint)
            # Also what somebody else has, too: whoever that is may never come to it.
            self._left.update(dict.fromkeys(task.numbers[len(stint.made) :]))
            yield from self._ended(task, stint)

    def _learn(self, stint: Stint[Made]) -> None:
        """Choose how many blocks a stint has; at most twice as many as were seen to be quick.

        What was there already says nothing of those that are yet to be made.
        """
        if any(made.resumed for made in stint.made):
            return
        count = len(stint.made)
        fitting = int(STINT_S * count / max(stint.seconds, 1e-9))
        self._many = max(min(fitting, max(self._many, 2 * count), self._most), 1)

    def _ended(self, task: _Task, stint: Stint[Made]) -> Iterator[tuple[int, Made]]:
        for number, made in zip(task.numbers, stint.made, strict=False):
            if number not in self._open:
                continue  # somebody else was faster
            if made.passing and self._try_again(number):
                continue
            self._open.discard(number)
            yield number, made

    def _try_again(self, number: int) -> bool:
        """Note a block for another attempt; tell whether it has one."""
        tried = self._tried[number] = self._tried.get(number, 0) + 1
        if tried >= self._attempts:
            return False
        delay_s = min(PAUSE_S * 2 ** (tried - 1), LONGEST_PAUSE_S)
        heapq.heappush(self._again, (time.monotonic() + delay_s, number))
        return True

    def cancel(self) -> None:
        for future in self._running:
            future.cancel()
