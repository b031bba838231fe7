"""The server's end of a worker: what it is given, what it says, and whether it keeps its limits."""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from terrazzo.errors import UdfFailed
from terrazzo.sandbox.channel import Frames, SharedMemory, send
from terrazzo.sandbox.zygote import STATUS, empty

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from terrazzo.sandbox.limits import Limits

_TICK_SECONDS = 0.05
"""How often a running call is looked after."""
_END_SECONDS = 10.0
_LAST_WORD = 1000
"""Bytes in which a worker says that it has dropped the rest of what was printed."""
_MOST_ANSWER = 5_000_000
"""Bytes of an answer without its array: labels, mostly."""
_HALT_SECONDS = 2.0
"""Until all threads of a worker that is told to stop have stopped."""
_KEPT_BYTES = 1 << 25
"""Arrays up to here go through memory that is kept between calls."""


class Key(NamedTuple):
    """What a worker serves; another is never served by it."""

    owner: str
    """The user, by whatever name whoever opens the sources has."""
    environment: str
    """Name of the Python that it runs in."""
    code: str
    """Digest of what it runs."""


@dataclass(eq=False)
class Worker:
    """A process that serves one code of one user."""

    channel: socket.socket
    status: socket.socket
    pidfd: int
    scratch: str
    """Its folder, by the name that it has for the server."""
    key: Key
    pid: int = 0
    """Its number, for the server: in namespaces it has another."""
    calls: int = 0
    used: float = field(default_factory=time.monotonic)
    """When it was called last."""
    ended: int | None = None
    """How it ended, as `os.waitpid` has it; None while it runs."""
    kept: tuple[SharedMemory, SharedMemory] | None = None
    """Memory for arrays in and out that its process has mapped already."""

    def __post_init__(self) -> None:
        told = Path(f"/proc/self/fdinfo/{self.pidfd}").read_text(encoding="ascii")
        lines = dict(line.split(":", 1) for line in told.splitlines())
        self.pid = int(lines["Pid"])

    @contextmanager
    def memory(self, given: int, taken: int) -> Iterator[tuple[SharedMemory, SharedMemory, str]]:
        """Lend memory for so many bytes in and out, and say what it is to the worker.

        It is `kept` from an earlier call, `new` and to be kept, or for this call only (`once`):
        pages that are mapped for the first time cost more than to copy the array.
        """
        most = max(given, taken)
        if self.kept is not None and given <= self.kept[0].size and taken <= self.kept[1].size:
            yield *self.kept, "kept"
            return
        if most <= _KEPT_BYTES:
            size = 1 << max(most - 1, 4095).bit_length()
            before, self.kept = self.kept, _pair(size, size)
            for memory in before or ():
                memory.close()
            yield *self.kept, "new"
            return
        pair = _pair(given, taken)
        try:
            yield *pair, "once"
        finally:
            for memory in pair:
                memory.close()

    def signal(self, number: signal.Signals) -> None:
        """Signal the process, and none that has its number by now."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def is_alive(self, seconds: float = 0.0) -> bool:
        """Tell whether it runs, or is frozen; wait so long for its end."""
        poll = select.poll()  # `select` takes no files beyond the first 1024
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(seconds * 1000)

    def cpu_seconds(self) -> float:
        """Return what all its threads have used; the clock of a process has a number."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:  # it has ended
            return 0.0

    def messages(self, limits: Limits) -> Iterator[dict[str, Any]]:
        """Yield what it says, while it keeps within its limits.

        Raises:
            UdfFailed: it took too much, ended, or speaks gibberish.
        """
        frames, received, told = Frames(), 0, 0
        deadline = time.monotonic() + limits.wall_seconds
        before, looked = self.cpu_seconds(), 0.0
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        while True:
            events = poll.poll(_TICK_SECONDS * 1000)
            now = time.monotonic()
            if now - looked >= _TICK_SECONDS:
                looked = now
                self._check(limits, now - deadline, self.cpu_seconds() - before)
            if not events:
                continue
            content = self._received()
            received += len(content)
            if received > limits.told_bytes + _MOST_ANSWER:
                raise UdfFailed("The UDF sends more than an answer.")
            frames.add(content)
            try:
                while (message := frames.next()) is not None:
                    told += frames.size if "log" in message else 0
                    if "log" not in message or told <= limits.told_bytes + _LAST_WORD:
                        yield message
            except ValueError as error:
                raise UdfFailed(f"The UDF has upset its worker: {error}") from None

    def _received(self) -> bytes:
        try:
            content = self.channel.recv(1 << 20)
        except ConnectionError:
            content = b""
        if not content:
            alive = self.is_alive(_TICK_SECONDS * 4)  # it closes files as it ends
            self.finish()
            raise UdfFailed(_HUNG_UP if alive else _reason(self.ended))
        return content

    def _check(self, limits: Limits, late: float, cpu: float) -> None:
        if late > 0:
            raise UdfFailed(
                f"The UDF was stopped: it took more than {limits.wall_seconds:g} seconds for one "
                "block. Use smaller blocks, or faster code."
            )
        if cpu > limits.cpu_seconds:
            raise UdfFailed(
                f"The UDF was stopped: it used more than {limits.cpu_seconds:g} seconds of CPU "
                "time for one block. Use smaller blocks, or faster code."
            )
        size = count = 0
        with suppress(FileNotFoundError), os.scandir(self.scratch) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                count += 1
        if size > limits.scratch_bytes or count > limits.scratch_files:
            raise UdfFailed(
                f"The UDF was stopped: it wrote more than {limits.scratch_bytes / 1e6:g} MB or "
                f"{limits.scratch_files} files into its folder. Keep less there."
            )
        threads = 0
        with suppress(OSError):
            threads = os.stat(f"/proc/{self.pid}/task").st_nlink - 2  # noqa: PTH116 - no file
        if threads > limits.threads:
            raise UdfFailed(
                f"The UDF was stopped: it had more than {limits.threads} threads. Start fewer."
            )

    def freeze(self) -> bool:
        """Stop it until it is called again, forget its files, and tell whether it may be."""
        self.signal(signal.SIGSTOP)
        self.used = time.monotonic()
        return not (empty(self.scratch) and self._has_files_open())

    def halt(self, limits: Limits) -> None:
        """Stop it for good: what is in its folder stays as it is, and is within its limits.

        Raises:
            UdfFailed: it goes on, or keeps too much.
        """
        self.signal(signal.SIGSTOP)
        end = time.monotonic() + _HALT_SECONDS
        while not self._stands():
            if time.monotonic() > end:
                raise UdfFailed("The UDF was stopped: it does not stand still when it is told to.")
            time.sleep(0.001)
        self._check(limits, 0, 0)

    def _stands(self) -> bool:
        """Tell whether all its threads have stopped, or it is gone."""
        for task in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            with suppress(OSError):
                if task.read_text().rpartition(")")[2].split()[0] not in "TtZX":
                    return False
        return True

    def _has_files_open(self) -> bool:
        """Tell whether it could write to files that were in its folder, which nobody sees now."""
        try:
            with os.scandir(f"/proc/{self.pid}/fd") as entries:
                return any(
                    stat.S_ISREG(entry.stat().st_mode) and self._may_write(entry.name)
                    for entry in entries
                )
        except OSError:
            return True

    def _may_write(self, number: str) -> bool:
        told = Path(f"/proc/{self.pid}/fdinfo/{number}").read_text(encoding="ascii")
        flags = next(line for line in told.splitlines() if line.startswith("flags:"))
        return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY

    def finish(self) -> None:
        """Kill it and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.status.settimeout(_END_SECONDS)
        content = b""
        with suppress(OSError):
            content = self.status.recv(STATUS.size)
        if len(content) == STATUS.size:
            (self.ended,) = STATUS.unpack(content)

    def close(self) -> None:
        """Kill it, and give back what we had of it."""
        if self.ended is None:
            self.finish()
        self.forget()

    def forget(self) -> None:
        """Give back what we had of it."""
        for memory in self.kept or ():
            memory.close()
        self.kept = None
        self.channel.close()
        self.status.close()
        os.close(self.pidfd)


_HUNG_UP = "The UDF has closed files that are not its own. Close only what you opened."


def _pair(given: int, taken: int) -> tuple[SharedMemory, SharedMemory]:
    try:
        first = SharedMemory(given)
        try:
            return first, SharedMemory(taken)
        except BaseException:
            first.close()
            raise
    except OSError as error:
        raise UdfFailed(f"There is no memory for the arrays of a UDF: {error}.") from error


def _reason(status: int | None) -> str:
    """Say why a worker ended by itself."""
    if status is None:
        return "The UDF's worker is gone, and nobody knows why. Try again."
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return "The UDF's worker had used up its CPU time. Try again with smaller blocks."
        if number == signal.SIGKILL:
            return "The UDF was killed; most likely the machine ran out of memory."
        name = signal.Signals(number).name
        return f"The UDF crashed its worker ({name}): compiled code that it calls has a fault."
    return "The UDF ended its worker instead of returning. Leave `os._exit` and `sys.exit` out."


def request_of(worker: Worker, message: dict[str, Any], files: Sequence[int]) -> None:
    """Send a call to a worker.

    Raises:
        UdfFailed: it has ended, or does not listen.
    """
    try:
        send(worker.channel, message, files)
    except OSError:
        worker.finish()
        raise UdfFailed(_reason(worker.ended)) from None
