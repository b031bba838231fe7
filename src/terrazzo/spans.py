"""Where time goes: named spans of work, told to a recorder while somebody listens.

Code that does something worth knowing wraps it, `with span("decode"): ...`, and counts,
`note("bytes_decoded", n)`. Nobody asks for times as a rule, and then a span costs a quarter of a
microsecond; while somebody does it costs four, most of them for asking the thread's CPU time.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Spent:
    """What all spans of one name took together, without the spans inside them."""

    calls: int = 0
    """How often it was done."""
    cpu_seconds: float = 0.0
    """CPU time of the threads that did it."""
    wall_seconds: float = 0.0
    """Time on the clock, added over threads."""


@dataclass(eq=False)
class Recorder:
    """Adds up spans and counts of all threads of this process; can be pickled and merged."""

    spent: dict[str, Spent] = field(default_factory=dict)
    """By name of the span."""
    counts: dict[str, float] = field(default_factory=dict)
    """By name of the count."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def add(self, name: str, cpu: float, wall: float, calls: int = 1) -> None:
        """Record spans that have ended."""
        with self._lock:
            spent = self.spent.get(name)
            if spent is None:
                spent = self.spent[name] = Spent()
            spent.calls += calls
            spent.cpu_seconds += cpu
            spent.wall_seconds += wall

    def count(self, name: str, amount: float) -> None:
        """Record a count."""
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + amount

    def merge(self, other: Recorder) -> None:
        """Add what another recorder has, for example that of a worker process."""
        for name, spent in other.spent.items():
            self.add(name, spent.cpu_seconds, spent.wall_seconds, spent.calls)
        for name, amount in other.counts.items():
            self.count(name, amount)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            return Recorder, (dict(self.spent), dict(self.counts))


_timing: tuple[Recorder, ...] = ()
"""Who hears of spans; replaced, never changed, so that threads read it without a lock."""
_counting: tuple[Recorder, ...] = ()
"""Who hears of counts; likewise."""
_changing = threading.Lock()
_inner = threading.local()


class span:  # noqa: N801 - reads like the keyword that it is used with
    """Work worth knowing of, for a `with` block; what spans inside it took is not its own.

    It is counted, too, if the block raises. CPU time is that of the thread; with `all_threads` that
    of the process, for work which a library spreads over threads while nothing else runs.
    """

    __slots__ = ("_all", "_cpu", "_inside", "_name", "_outer", "_process", "_told", "_wall")

    def __init__(self, name: str, *, all_threads: bool = False) -> None:
        self._name = name
        self._all = all_threads
        self._told: tuple[Recorder, ...] = ()

    def __enter__(self) -> Self:
        if _timing:
            self._told = _timing
            self._inside = [0.0, 0.0]
            self._outer: list[float] | None = getattr(_inner, "spans", None)
            _inner.spans = self._inside
            self._wall = time.perf_counter()
            self._process = time.process_time() if self._all else 0.0
            self._cpu = time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._told:
            return
        cpu = time.thread_time() - self._cpu
        wall = time.perf_counter() - self._wall
        _inner.spans = self._outer
        if self._outer is not None:
            self._outer[0] += cpu
            self._outer[1] += wall
        if self._all:
            cpu = time.process_time() - self._process
        for recorder in self._told:
            if recorder in _timing:
                recorder.add(self._name, cpu - self._inside[0], wall - self._inside[1])


def note(name: str, amount: float) -> None:
    """Count something, if somebody listens."""
    for recorder in _counting:
        recorder.count(name, amount)


@contextmanager
def recorded(*, times: bool = True) -> Iterator[Recorder]:
    """Listen to this process for the `with` block.

    A recorder hears spans that begin and end while it listens; several may listen at once.

    Args:
        times: whether to listen to spans; without, only to counts, and spans cost nothing.
    """
    global _timing, _counting  # noqa: PLW0603 - what makes a span cheap while nobody listens
    recorder = Recorder()
    with _changing:
        _counting = (*_counting, recorder)
        _timing = (*_timing, recorder) if times else _timing
    try:
        yield recorder
    finally:
        with _changing:
            _counting = tuple(one for one in _counting if one is not recorder)
            _timing = tuple(one for one in _timing if one is not recorder)
