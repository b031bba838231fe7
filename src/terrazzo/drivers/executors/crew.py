"""Processes of this machine that each do one thing at a time, and are replaced when they die.

Each has a pipe of its own and a thread here that waits at it. So it is known what a process that
was killed had in hand, and nobody else loses anything.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from terrazzo.drivers.executors.stints import Stint, stint
from terrazzo.drivers.pool import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.executors.stints import Parts
    from terrazzo.drivers.job import Workspace

K = TypeVar("K")
M = TypeVar("M")
K_contra = TypeVar("K_contra", contravariant=True)
M_co = TypeVar("M_co", covariant=True)

STARTS = 3
"""How often a process is started that dies before it can do anything."""
LEAVE_S = 10.0
"""For a process to end that has nothing to do any more."""
_SPAWN = multiprocessing.get_context("spawn")
_GONE = (EOFError, BrokenPipeError, ConnectionResetError)


class Work(Protocol[K_contra, M_co]):
    """What a process has opened, and does."""

    def make(self, what: K_contra, kept: int, /) -> M_co:
        """Make one part of it, unless it is kept with the version that it has now."""


class Openable(Protocol[K_contra, M_co]):
    """What a process opens its work with; it is pickled."""

    def opened(self) -> Work[K_contra, M_co]:
        """Open the sources and make the plan."""


class Sendable(Openable[K_contra, M_co], Protocol):
    """The same for workers on other machines; best small."""

    @property
    def workspace(self) -> Workspace:
        """Where collections are."""

    @property
    def folder(self) -> Depot:
        """Where what is made is kept; all machines must reach it."""


class Sending(Sendable[K_contra, M_co], Protocol):
    """The same, as whoever begins the work has it."""

    def elsewhere(self) -> Sendable[K_contra, M_co]:
        """Return it with paths that mean the same in every folder."""


class Crew(Generic[K, M]):
    """One process for each thread that calls `make`, started when it first does."""

    def __init__(self, sent: Openable[K, M], lost: Callable[[K, str], M]) -> None:
        """Describe a work; nothing is started yet.

        Args:
            sent: what each process opens.
            lost: says what became of a part whose process died, and how.
        """
        self._sent, self._lost = sent, lost
        self._own = threading.local()
        self._members: set[_Member] = set()
        self._changing = threading.Lock()
        self._over = False

    def make(self, parts: Parts[K]) -> Stint[M]:
        """Have parts made by this thread's process, as many as there is time for.

        Raises:
            BrokenExecutor: processes die before they can do anything.
            Exception: whatever the work raised.
        """
        member: _Member | None = getattr(self._own, "member", None)
        if member is None:
            member = self._own.member = self._hired()
        try:
            answer = member.asked(parts)
        except _GONE:
            self._own.member = None
            how = self._dismissed(member)
            return Stint.lost(self._lost, parts, f"The worker process at it {how}")
        made: Stint[M] = _given(answer)
        return made

    def _hired(self) -> _Member:
        how = ""
        for _ in range(STARTS):
            with self._changing:
                if self._over:
                    break
                member = _Member(self._sent)
                self._members.add(member)
            try:
                answer = member.answer()
            except _GONE:
                how = self._dismissed(member)
            else:
                _given(answer)  # it is ready, or cannot be
                return member
        raise BrokenExecutor(f"A worker process {how or 'is not wanted any more.'}")

    def _dismissed(self, member: _Member) -> str:
        with self._changing:
            self._members.discard(member)
            return member.end()

    def stop(self) -> None:
        """Kill the processes, whatever they are at: what they make is there whole or not at all."""
        with self._changing:
            self._over = True
            for member in self._members:
                member.kill()

    def close(self) -> None:
        """End the processes; no thread may be calling `make` any more."""
        with self._changing:
            for member in self._members:
                member.leave()
            for member in self._members:
                member.end()
            self._members.clear()


class _Member:
    """A process, and our end of its pipe."""

    def __init__(self, sent: Openable[Any, Any]) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(sent, theirs), daemon=False)
        try:
            self._process.start()
        finally:
            theirs.close()  # else nobody would notice that the process has died

    def asked(self, what: object) -> tuple[bool, Any]:
        """Have something made, and return the answer."""
        self._pipe.send(what)
        return self.answer()

    def answer(self) -> tuple[bool, Any]:
        """Wait for an answer: whether all is well, and what was made, or else raised."""
        answer: tuple[bool, Any] = self._pipe.recv()
        return answer

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def leave(self) -> None:
        """Let it end, as soon as it reads on."""
        self._pipe.close()

    def end(self) -> str:
        """Wait until it has ended, and return how, as words."""
        self.leave()
        self._process.join(LEAVE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        self._process.close()
        if code == -signal.SIGKILL:
            return "was killed, most likely by the system as memory ran out. Try fewer --workers."
        return f"ended unexpectedly, with {f'signal {-code}' if code < 0 else f'status {code}'}."


def _given(answer: tuple[bool, Any]) -> Any:
    """Return what was made; raise what was raised."""
    well, told = answer
    if well:
        return told
    raise told


def _serve(sent: Openable[Any, Any], pipe: Connection) -> None:
    """Do what is asked for, in a process, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever hands out the work
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        work = sent.opened()
    except Exception as error:  # noqa: BLE001 - it is raised where somebody can act
        pipe.send((False, error))
        return
    with suppress(*_GONE):
        pipe.send((True, None))
        while True:
            parts = pipe.recv()
            try:
                pipe.send((True, stint(work.make, parts)))
            except Exception as error:  # noqa: BLE001 - as above
                pipe.send((False, error))
