"""The pulse of a worker: a small file in the folder of its run, anew every few seconds.

Whoever computes blocks, in whatever process on whatever machine, tells of itself: what it has made,
what it is at, and what that takes. A watcher only reads these files. Nobody waits for them, and
what cannot be written is left out.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import re
import secrets
import socket
import threading
import time
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.memory import resident
from terrazzo.drivers.watching.told import DAMAGED, checked, count_of
from terrazzo.errors import TerrazzoError
from terrazzo.progress import Cancelled
from terrazzo.spans import Recorder, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from terrazzo.drivers.depot import Depot

FOLDER = ".workers"
BEAT_S = 5.0
"""Between two files; a worker is silent when there is none for several times as long."""
QUIET_S = 2 * BEAT_S
"""A worker that has had no block for so long says so, and writes nothing until the next."""
RECENT_S = 60.0
"""Blocks of so long count as the worker's rate."""
MOST_RUNNING = 64
"""Blocks at hand that are told, of one worker."""
MOST_QUIET = 16
"""Runs that a process remembers while it has no block of them, so that it goes on counting."""
_PAUSE_S = 0.5
"""For more blocks to begin when the last has ended, before that is told."""


class Outcome(StrEnum):
    """What became of a block in a worker."""

    MADE = "made"
    KEPT = "kept"
    """An earlier run had made it."""
    FAILED = "failed"
    STOPPED = "stopped"
    """Somebody stopped the run in the middle of it."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a worker tells of itself; what is of blocks counts since it began."""

    name: str
    """Unlike that of any other worker, ever."""
    host: str
    """Its machine."""
    pid: int
    """Its process there."""
    begun: str
    """When its first block began, RFC 3339."""
    seen: str
    """When it told this, RFC 3339."""
    made: int = 0
    """Blocks that it has computed."""
    failed: int = 0
    """Attempts that failed."""
    running: tuple[tuple[str, int], ...] = ()
    """The blocks at hand: which part of the run, and their numbers."""
    last: str = ""
    """When it last finished one, RFC 3339."""
    per_second: float = 0.0
    """Blocks that it computed per second, in the last minute."""
    decoded_bytes: int = 0
    """Pixels that it unpacked."""
    fetched_bytes: int = 0
    """That came over the network."""
    written_bytes: int = 0
    """Of its blocks."""
    memory_bytes: int = 0
    """Resident now."""
    peak_bytes: int = 0
    """Resident at most."""
    cpu_seconds: float = 0.0
    """Of its process, since its first block."""

    @property
    def file(self) -> str:
        """Name of its file, in the folder of the run."""
        return f"{FOLDER}/{self.name}.json"

    @classmethod
    def of(cls, content: bytes) -> Beat | None:
        """Read one; None where it is none that this Terrazzo understands."""
        try:
            told: dict[str, Any] = json.loads(content)
            running = tuple((str(place), count_of(one)) for place, one in told.pop("running"))
            beat = checked(cls(**told, running=running))
            _ = age_s(beat.begun), age_s(beat.seen)  # what is no moment is no beat
        except DAMAGED:
            return None
        return beat


def now() -> str:
    """Return this moment, RFC 3339."""
    return _text(datetime.now(UTC))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def worker_name() -> str:
    """Return a name for this process, in letters that every file system has."""
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname())[:60]
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass(eq=False)
class Pulse:
    """Tells of this process as a worker of one run.

    Its thread looks by itself what there is to tell: blocks may end a thousand times a second.
    """

    depot: Depot
    """The folder of the run."""
    _beat: Beat = field(init=False)
    _running: dict[tuple[str, int], int] = field(default_factory=dict)
    _made: int = 0
    _failed: int = 0
    _last: datetime | None = None
    _ends: deque[float] = field(default_factory=deque)
    _ended_s: float = 0.0
    """When the last block ended."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _recorder: Recorder | None = None
    _before: Recorder = field(default_factory=Recorder)
    """What was counted before it was quiet the last time."""
    _listening: ExitStack = field(default_factory=ExitStack)
    _since_s: float = 0.0
    _since_cpu_s: float = 0.0

    def __post_init__(self) -> None:
        """Take a name; nothing is written before the first block."""
        self._beat = Beat(worker_name(), socket.gethostname(), os.getpid(), now(), now())

    def began(self, place: str, number: int) -> None:
        """Say that a block is begun.

        Args:
            place: the part of the run, a folder in that of the run; empty if it has one.
            number: the block.
        """
        with _opening, self._lock:
            key = place, number
            self._running[key] = self._running.get(key, 0) + 1
            if self._over.is_set():
                return
            _remember(self)  # it may have been forgotten
            if self._recorder is None:
                self._recorder = self._listening.enter_context(recorded(times=False))
            if not self._since_s:
                self._since_s, self._since_cpu_s = time.monotonic(), time.process_time()
                self._beat = replace(self._beat, begun=now())
            if self._thread is None:
                self._thread = threading.Thread(target=self._tell, name="pulse", daemon=True)
                self._thread.start()

    def ended(self, place: str, number: int, outcome: Outcome) -> None:
        """Say what became of a block."""
        with self._lock:
            key = place, number
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]
            self._ended_s = time.monotonic()
            if outcome is Outcome.FAILED:
                self._failed += 1
            elif outcome is Outcome.MADE:
                self._made += 1
                self._last = datetime.now(UTC)
                self._ends.append(self._ended_s)

    @property
    def file(self) -> str:
        """Name of the file in which it tells, in the folder of the run."""
        return self._beat.file

    def beat(self) -> Beat:
        """Return what there is to tell now."""
        with self._lock:
            return self._now()

    def _now(self) -> Beat:
        at_s = time.monotonic()
        while self._ends and at_s - self._ends[0] > RECENT_S:
            self._ends.popleft()
        over_s = min(RECENT_S, max(at_s - self._since_s, 1e-3))
        memory, peak = resident()
        return replace(
            self._beat,
            seen=now(),
            made=self._made,
            failed=self._failed,
            running=tuple(sorted(self._running)[:MOST_RUNNING]),
            last="" if self._last is None else _text(self._last),
            per_second=round(len(self._ends) / over_s, 4),
            decoded_bytes=self._counted("bytes_decoded"),
            fetched_bytes=self._counted("bytes_fetched"),
            written_bytes=self._counted("bytes_written"),
            memory_bytes=memory,
            peak_bytes=peak,
            cpu_seconds=round(time.process_time() - self._since_cpu_s, 2),
        )

    def _counted(self, name: str) -> int:
        heard = (self._before, self._recorder)
        return int(sum(one.counts.get(name, 0) for one in heard if one is not None))

    def _tell(self) -> None:
        """Write while there are blocks, and once more when there are none any more."""
        told: Beat | None = None
        told_s = -math.inf
        while not (told is not None and self._over.wait(_PAUSE_S)):
            with self._lock:
                at_s = time.monotonic()
                idle_s = 0.0 if self._running else at_s - self._ended_s
                is_old = self._ended_s > told_s or (told is not None and bool(told.running))
                if not is_old and idle_s >= QUIET_S:
                    self._unlisten()
                    self._thread = None
                    return
                if at_s - told_s < BEAT_S and not (is_old and idle_s >= _PAUSE_S):
                    continue
                fresh = self._now()
            if told is not None and self._gone():
                self._forget()
                return
            self._write(fresh)
            told, told_s = fresh, at_s
        with self._lock:
            self._thread = None

    def _forget(self) -> None:
        """Be no pulse any more: the run has ended, and its folder is tidied."""
        with _opening, self._lock:
            if _pulses.get(str(self.depot)) is self:
                del _pulses[str(self.depot)]
            self._unlisten()
            self._thread = None

    def _unlisten(self) -> None:
        """Let spans cost nothing any more; what was counted stays."""
        if self._recorder is not None:
            self._listening.close()
            self._before.merge(self._recorder)
            self._recorder = None

    @property
    def is_quiet(self) -> bool:
        """Whether it has told all that there is to tell."""
        return self._thread is None

    def _gone(self) -> bool:
        try:
            return self.depot.read(self._beat.file) is None
        except TerrazzoError:
            return False

    def _write(self, told: Beat) -> None:
        with suppress(TerrazzoError, OSError):  # the blocks themselves say when a disk is full
            self.depot.write(told.file, json.dumps(asdict(told)).encode())

    def stop(self) -> None:
        """Tell the last of this worker, and nothing more."""
        with self._lock:
            self._over.set()
            thread = self._thread
        if thread is not None:
            thread.join()
            self._write(self.beat())
        with self._lock:
            self._unlisten()


@dataclass(frozen=True, slots=True)
class Part:
    """A worker at one part of a run: the blocks of one result."""

    pulse: Pulse
    place: str
    """Its folder in that of the run; empty where it is the same."""

    @classmethod
    def of(cls, run: Depot, folder: Depot) -> Part:
        """Return the part of a run that is kept in a folder, for this process."""
        return cls(pulse_of(run), str(folder).removeprefix(str(run)).strip("/"))

    @contextmanager
    def at(self, number: int) -> Iterator[Callable[[Outcome], None]]:
        """Say that a block is at hand while the `with` block runs; takes what became of it."""
        outcome = Outcome.FAILED

        def became(known: Outcome) -> None:
            nonlocal outcome
            outcome = known

        self.pulse.began(self.place, number)
        try:
            yield became
        except Cancelled:
            outcome = Outcome.STOPPED
            raise
        finally:
            self.pulse.ended(self.place, number, outcome)


_pulses: dict[str, Pulse] = {}
_opening = threading.Lock()


def pulse_of(depot: Depot) -> Pulse:
    """Return the pulse of this process for a run: one, however many parts the run has."""
    with _opening:
        pulse = _pulses.get(str(depot))
        if pulse is None:
            pulse = Pulse(depot)
            _remember(pulse)
        return pulse


def _remember(pulse: Pulse) -> None:
    """Keep a pulse for other parts of its run; of those that are quiet, only the last ones.

    A worker of a cluster goes from run to run, and is not told that one has ended.
    """
    if str(pulse.depot) in _pulses:
        return
    quiet = [name for name, one in _pulses.items() if one.is_quiet]
    for name in quiet[: max(len(quiet) - MOST_QUIET + 1, 0)]:
        del _pulses[name]
    _pulses[str(pulse.depot)] = pulse


def stop_pulse(depot: Depot) -> str:
    """Stop that of this process for a run, if there is one; returns the name of its file."""
    with _opening:
        pulse = _pulses.pop(str(depot), None)
    if pulse is None:
        return ""
    pulse.stop()
    return pulse.file


@atexit.register
def _stop_all() -> None:
    """Let workers that end tell their last blocks."""
    with _opening:
        pulses = list(_pulses.values())
        _pulses.clear()
    for pulse in pulses:
        pulse.stop()


def beats(depot: Depot) -> tuple[Beat, ...]:
    """Return what the workers of a run tell of themselves, by name."""
    found = []
    for name in sorted(depot.names(FOLDER)):
        if name.startswith(".") or not name.endswith(".json"):
            continue  # on its way to its name
        content = depot.read(f"{FOLDER}/{name}")
        beat = None if content is None else Beat.of(content)
        if beat is not None and beat.file == f"{FOLDER}/{name}":
            found.append(beat)
    return tuple(found)


def age_s(moment: str, at: str | None = None) -> float:
    """Return the seconds since a moment; 0 where clocks differ and it is yet to come.

    Raises:
        ValueError, TypeError: it is none, or one without an offset from UTC.
    """
    then = datetime.fromisoformat(moment)
    end = datetime.now(UTC) if at is None else datetime.fromisoformat(at)
    return max((end - then).total_seconds(), 0.0)
