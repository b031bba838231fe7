"""Reports of a run: whoever sees to it writes its status while it passes progress on."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from typing_extensions import override

from terrazzo.drivers.watching.pulse import BEAT_S, FOLDER, age_s, beats, now, stop_pulse
from terrazzo.drivers.watching.speeds import compared, expected_text, remember
from terrazzo.drivers.watching.status import ENDED, MOST_WORKERS, STATUS, State, Status, Took
from terrazzo.errors import RunIncomplete, TerrazzoError
from terrazzo.progress import Cancelled, Passing, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.watching.speeds import Outlook

SILENT_S = 6 * BEAT_S
"""Without a word for so long, a worker or a run counts as silent."""
COUNTED = frozenset({"blocks", "tiles"})
"""Units of a run. What else is shown, such as megabytes sent, only passes through."""
_LONGEST = 2000
"""Characters of the reason that is kept."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run as it begins."""

    home: Path
    """Folder that remembers how fast runs were."""
    title: str = ""
    """For people."""
    executor: str = "threads"
    """Who computes."""
    workers: int = 1
    """How many."""
    outlook: Outlook | None = None
    """What it is expected to take; None where nobody can say."""


class Reported(Passing):
    """Passes progress on, and writes down how the run is."""

    def __init__(self, inner: Progress, depot: Depot, facts: Facts) -> None:
        """Take over from whoever saw to the run before; nothing is written before it starts."""
        super().__init__(inner)
        self.depot, self._facts = depot, facts
        expected = None if facts.outlook is None else facts.outlook.expected
        self._status = Status(
            State.RUNNING,
            facts.title,
            facts.executor,
            facts.workers,
            socket.gethostname(),
            os.getpid(),
            now(),
            now(),
            expected=expected,
        )
        self._begun_s = time.monotonic()
        self._made = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @override
    def start(self, total: int, unit: str) -> None:
        if unit in COUNTED:
            with self._lock:
                fresh = {"unit": unit, "total": total, "done": 0, "kept": 0, "failed": 0}
                self._status = replace(self._status, **fresh)  # type: ignore[arg-type] # as named
        if self._thread is None and self._take_over(counts=unit in COUNTED):
            self._thread = threading.Thread(target=self._tell, name="status", daemon=True)
            self._thread.start()
        super().start(total, unit)

    def _take_over(self, *, counts: bool) -> bool:
        """Go on where an earlier process stopped, and tidy what its workers left.

        Args:
            counts: whether blocks are made now; else those of that process stay.

        Returns:
            Whether there is anything to tell: a run that is finished stays as it was.
        """
        with suppress(TerrazzoError):
            known = Status.read(self.depot)
            if known is not None:
                if not counts and known.state is State.FINISHED:
                    return False
                self._status = _after(known, self._status)
                if not counts:
                    self._status = replace(
                        self._status, unit=known.unit, total=known.total, done=known.done,
                        kept=known.kept, failed=known.failed,
                    )  # fmt: skip
            old = [one.file for one in beats(self.depot) if age_s(one.seen) > SILENT_S]
            self.depot.delete(old)
        return True

    @override
    def advance(self, count: int = 1) -> None:
        if self.unit in COUNTED:
            self._made += count
            self._count(made=count)
        super().advance(count)

    @override
    def resume(self, count: int = 1) -> None:
        if self.unit in COUNTED:
            self._count(kept=count)
        super().resume(count)

    @override
    def fail(self, unit: str, reason: str, error: Exception | None) -> None:
        if self.unit in COUNTED:
            self._count(failed=1)
        super().fail(unit, reason, error)

    def _count(self, made: int = 0, kept: int = 0, failed: int = 0) -> None:
        with self._lock:
            told = self._status
            self._status = replace(
                told,
                done=told.done + made + kept,
                kept=told.kept + kept,
                failed=told.failed + failed,
            )

    def _tell(self) -> None:
        while True:
            self._write()
            if self._over.wait(BEAT_S):
                return

    def _write(self) -> None:
        with self._lock:
            told = self._status = replace(self._status, seen=now())
        with suppress(TerrazzoError, OSError):  # the run itself says when a disk is full
            self.depot.write(STATUS, told.content())

    def end(self, state: State, message: str = "") -> None:
        """Say how the run has ended, if it had begun, and keep what it took."""
        stop_pulse(self.depot)
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        seconds = time.monotonic() - self._begun_s
        with suppress(TerrazzoError):
            team = beats(self.depot)
            took = Took(
                round(seconds + self._status.before_s, 3),
                self._made,
                sum(one.decoded_bytes for one in team),
                sum(one.fetched_bytes for one in team),
                sum(one.written_bytes for one in team),
                max((one.peak_bytes for one in team), default=0),
            )
            self._status = replace(
                self._status,
                state=state, message=message[:_LONGEST], took=took, team=team[:MOST_WORKERS],
            )  # fmt: skip
            self._write()
            if state in ENDED:
                self.depot.clear(FOLDER)
            self._compare(state, took, seconds)

    def _compare(self, state: State, took: Took, seconds: float) -> None:
        outlook, facts = self._facts.outlook, self._facts
        if outlook is None or state is not State.FINISHED or self._status.before_s:
            return  # nothing to learn for the next one
        if 0 < outlook.expected.blocks <= took.blocks:  # nothing was there before
            remember(facts.home, outlook, facts.executor, facts.workers, seconds)
            self._inner.note(compared(outlook.expected, took))


def _after(known: Status, fresh: Status) -> Status:
    """Return the status of a run that goes on after an earlier process."""
    if known.state is State.FINISHED:
        return fresh
    if known.state in ENDED:
        return replace(fresh, before_s=known.took.seconds if known.took else 0.0)
    if age_s(known.seen) < SILENT_S:  # that process still sees to it, or did a moment ago
        return replace(fresh, begun=known.begun, before_s=known.before_s)
    return replace(fresh, before_s=known.before_s + age_s(known.begun, known.seen))


@contextmanager
def reported(progress: Progress, depot: Depot, facts: Facts) -> Iterator[Progress]:
    """Write down how a run is while the block runs, and how it ended.

    A run within a reported one (what a cluster has left) is reported by the outer one.

    Args:
        progress: to pass on to.
        depot: folder of the run.
        facts: what is known of it.
    """
    if isinstance(progress, Reported) and str(progress.depot) == str(depot):
        yield progress
        return
    told = Reported(progress, depot, facts)
    if facts.outlook is not None:
        told.note(expected_text(facts.outlook.expected))
    try:
        yield told
    except (KeyboardInterrupt, Cancelled):
        told.end(State.STOPPED)
        raise
    except RunIncomplete as error:
        told.end(State.INCOMPLETE, str(error))
        raise
    except BaseException as error:
        told.end(State.FAILED, str(error))
        raise
    told.end(State.FINISHED)


def leave(depot: Depot) -> None:
    """Say nothing more as a worker of a run; nothing stays of that where the run has finished.

    A task that a cluster took for lost may be the last to end, when all has been tidied.
    """
    own = stop_pulse(depot)
    with suppress(TerrazzoError):
        known = Status.read(depot)
        if known is not None and known.state is State.FINISHED:
            depot.delete([own] if own else [])
            if not any(depot.names(FOLDER)):
                depot.clear(FOLDER)
