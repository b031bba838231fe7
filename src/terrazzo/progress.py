"""Progress as events: whoever works calls `advance`, whoever shows it subclasses `Progress`.

A run that somebody wants to stop is stopped the same way: `Progress.advance` may raise
`Cancelled`, and nothing that was finished before is lost.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self, TextIO

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType


CHECK_S = 0.5
"""How often a run that waits can be stopped."""


class Cancelled(Exception):
    """Somebody asked the run to stop."""


class Progress:
    """Counts finished units of work and shows nothing; the base of every display."""

    total, unit, done = 0, "", 0

    def start(self, total: int, unit: str) -> None:
        """Begin a stage of `total` units."""
        self.total, self.unit, self.done = total, unit, 0

    def advance(self, count: int = 1) -> None:
        """Report `count` more finished units."""
        self.done += count

    def resume(self, count: int = 1) -> None:
        """Report `count` more units that an earlier run had finished."""
        self.done += count

    def check(self) -> None:
        """Go on, or stop by raising, in the middle of a unit of work that takes long."""

    def note(self, message: str) -> None:
        """Tell the user something that is worth a line of its own."""

    def fail(self, unit: str, reason: str, error: Exception | None) -> None:
        """Tell that a unit of work failed, and why; `error` is what users are told of it."""
        del error
        self.note(f"{unit} failed: {reason}")

    @property
    def listens(self) -> bool:
        """Whether `hear` does anything: what nobody hears need not be fetched from far away."""
        return False

    def hear(self, entries: Sequence[object], unit: str = "") -> None:
        """Take what a finished unit of work logged (`logs.Entry`), before the others are done.

        Args:
            entries: in their order.
            unit: names it where it may be told of more than once, by whoever looks at it again.
        """

    def finish(self) -> None:
        """End the stage."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()


class Passing(Progress):
    """Passes all on to another progress; the base of whoever listens in between."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        self._inner.start(total, unit)

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        self._inner.advance(count)

    @override
    def resume(self, count: int = 1) -> None:
        super().resume(count)
        self._inner.resume(count)

    @override
    def check(self) -> None:
        self._inner.check()

    @override
    def note(self, message: str) -> None:
        self._inner.note(message)

    @override
    def fail(self, unit: str, reason: str, error: Exception | None) -> None:
        self._inner.fail(unit, reason, error)

    @property
    @override
    def listens(self) -> bool:
        return self._inner.listens

    @override
    def hear(self, entries: Sequence[object], unit: str = "") -> None:
        self._inner.hear(entries, unit)

    @override
    def finish(self) -> None:
        self._inner.finish()


def pause(seconds: float, progress: Progress) -> None:
    """Wait for something that is not counted, and still be stopped soon.

    Raises:
        Cancelled: by `progress`, as somebody asked the run to stop.
    """
    end = time.monotonic() + seconds
    progress.check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, CHECK_S))
        progress.check()


_watching: ContextVar[Progress | None] = ContextVar("watching", default=None)


@contextmanager
def watched(progress: Progress) -> Iterator[None]:
    """Have what computes pixels in the `with` block, and takes long, ask by `go_on`."""
    token = _watching.set(progress)
    try:
        yield
    finally:
        _watching.reset(token)


def go_on() -> None:
    """Go on, or stop by raising what the progress that watches this context raises, if one does."""
    progress = _watching.get()
    if progress is not None:
        progress.check()


class Stoppable(Progress):
    """Stops the run that it watches as soon as somebody, in any thread, sets `stopped`."""

    stopped = False

    @override
    def advance(self, count: int = 1) -> None:
        """Count, or stop.

        Raises:
            Cancelled: `stopped` was set.
        """
        super().advance(count)
        self.check()

    @override
    def check(self) -> None:
        """Go on, or stop.

        Raises:
            Cancelled: `stopped` was set.
        """
        if self.stopped:
            raise Cancelled


class _Helping(Stoppable):
    """Stops when it is told to, and when another progress stops."""

    def __init__(self, helped: Progress) -> None:
        self._helped = helped

    @override
    def check(self) -> None:
        super().check()
        self._helped.check()


@contextmanager
def helping(progress: Progress) -> Iterator[Progress]:
    """Yield what the threads are watched by that work for the `with` block.

    It stops them where `progress` does, and where the block ends for whatever reason, such as
    Ctrl-C, of which only the first thread hears.
    """
    watching = _Helping(progress)
    try:
        yield watching
    finally:
        watching.stopped = True


class ProgressLine(Progress):
    """One line on a terminal, `blocks 412/1204  8.3/s  95 s left`, at most five times a second.

    Where the stream is no terminal, only the last line of a stage is written.
    """

    INTERVAL_S = 0.2

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._shown = ""
        self._last_s = 0.0

    @override
    def start(self, total: int, unit: str) -> None:
        """Begin a stage and show it."""
        super().start(total, unit)
        self._resumed, self._begin_s = 0, time.monotonic()
        self._draw(force=True)

    @override
    def advance(self, count: int = 1) -> None:
        """Count and, five times a second, show."""
        super().advance(count)
        self._draw(force=False)

    @override
    def resume(self, count: int = 1) -> None:
        """Count without taking it for speed."""
        super().resume(count)
        self._resumed += count
        self._draw(force=False)

    @override
    def note(self, message: str) -> None:
        """Write a line above the progress line."""
        self._erase()
        self._stream.write(message + "\n")
        self._stream.flush()

    @override
    def finish(self) -> None:
        """Leave the last state of the line on the screen."""
        if self._shown or not self._live:
            line = self._line()
            self._erase()
            self._stream.write(line + "\n")
            self._stream.flush()

    def _line(self) -> str:
        if not hasattr(self, "_begin_s"):
            return ""
        elapsed_s = time.monotonic() - self._begin_s
        rate = (self.done - self._resumed) / elapsed_s if elapsed_s > 0 else 0.0
        left = f"  {(self.total - self.done) / rate:.0f} s left" if rate > 0 else ""
        return f"{self.unit} {self.done}/{self.total}  {rate:.1f}/s{left}"

    def _draw(self, *, force: bool) -> None:
        now_s = time.monotonic()
        if not self._live or (not force and now_s - self._last_s < self.INTERVAL_S):
            return
        self._last_s = now_s
        line = self._line()
        self._erase()
        self._stream.write(line)
        self._stream.flush()
        self._shown = line

    def _erase(self) -> None:
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""
