"""Programs of ours that read what strangers wrote, each file in a closed worker of its own.

Libraries for files (GDAL, HDF5, GEOS, Arrow) are large and written in C. A file of a stranger meets
them in a worker only, shut in like code of users: it sees the file, the libraries and its own
folder, and neither network nor anything else. It serves one file and is ended.

A program is a module with `warm_up()`, `prepare(limits)` and `serve(channel)`; the last is
`answer_one` with a function of a request. What it answers is JSON; large results lie in its folder,
as files that `Answer` reads. Whoever calls checks both as if the stranger had written them.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import secrets
import shutil
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.errors import TerrazzoError, UdfFailed, UdfRefused
from terrazzo.sandbox.channel import SharedMemory, frame, receive, write
from terrazzo.sandbox.environments import own_environment
from terrazzo.sandbox.handle import Key, request_of
from terrazzo.sandbox.layers import SOURCES
from terrazzo.sandbox.limits import Limits, Mode
from terrazzo.sandbox.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from socket import socket

    from terrazzo.sandbox.environments import Environment
    from terrazzo.sandbox.handle import Worker

LIMITS = Limits(
    wall_seconds=300.0,
    cpu_seconds=300.0,
    memory_bytes=2_000_000_000,
    scratch_bytes=4_000_000_000,
    scratch_files=10_000,
    threads=64,
    kept=0,
    each=1,
    wait_seconds=60.0,
)
"""What the reading of one file may take: its copy, and what is made of it, count as files. An
account has one file read at a time, so that it does not keep all others waiting."""
_TOO_LARGE = "it becomes too large when it is unpacked"
_LETTERS = 600
"""Of a message that are handed on."""


class Refused(Exception):
    """The program says why it cannot read the file, or had to be stopped."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        """Name of the error, as the program has it; empty where it was stopped."""
        self.reason = reason
        """One line for people, with no path of this machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program has made of a file. Its author is not to be trusted."""

    told: Mapping[str, Any]
    """JSON values."""
    folder: Path
    """Where its files are; gone with the `with` block."""

    def path(self, name: str, size: int) -> Path:
        """Return a regular file of its folder that has exactly so many bytes.

        Raises:
            Refused: there is none.
        """
        path = self.folder / name
        try:
            found = path.lstat()
        except OSError:
            found = None
        if "/" in name or found is None or not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise Refused("", "what was made of it is not whole")
        return path

    def text(self, name: str, most: int) -> bytes:
        """Return what a file of its folder holds.

        Raises:
            Refused: there is none, or it has more bytes than `most`.
        """
        try:
            size = (self.folder / name).lstat().st_size
        except OSError:
            size = 0
        if size > most:
            raise Refused("", f"what was made of it has more than {most:,} bytes")
        return self.path(name, size).read_bytes()


@contextmanager
def reading(
    program: str,
    files: Mapping[str, Path | bytes],
    request: Any,
    *,
    mode: Mode = Mode.SANDBOXED,
    owner: str = "",
) -> Iterator[Answer]:
    """Have files read in a closed worker, and lend what it answers.

    Once it has answered it stands still, so that nothing changes of what is looked at.

    Args:
        program: full name of its module.
        files: what the worker finds in its folder, by name: a copy of a file, or bytes.
        request: JSON values for the program.
        mode: `TRUSTED` does without shutting it in; any other one shuts it in.
        owner: account whose turn it is; all that have none share one turn.

    Raises:
        Refused: the program says that it cannot read them, fails, or takes too much.
        UdfRefused: this machine cannot shut workers in, or cannot start them.
        WorkersBusy: the account's turn does not come in time.
    """
    pool = _pool(program, LIMITS, sealed=mode is not Mode.TRUSTED)
    worker = pool.take(Key(owner, program, secrets.token_hex(8)), _environment(program))
    try:
        folder = Path(worker.scratch)
        for name, content in files.items():
            _put(folder / name, content)
        told = _told(worker, request, LIMITS)
        try:
            worker.halt(LIMITS)
        except UdfFailed as error:
            raise Refused("", _stopped(str(error))) from None
        yield Answer(told, folder)
    finally:
        pool.end(worker)


def answer_one(channel: socket, run: Callable[[Any], Any]) -> None:
    """Answer one request; called in the worker, by the program."""
    request, _ = receive(channel)
    if request is None:
        return
    write(channel.fileno(), frame(_answered(lambda: run(request))))
    receive(channel)  # whoever called reads the folder until they hang up; it goes with the worker


def _answered(run: Callable[[], Any]) -> dict[str, Any]:
    """Return what a program does, or why it cannot, as it is told."""
    try:
        return {"done": run()}
    except TerrazzoError as error:
        return {"code": type(error).__name__, "reason": _reason(error)}
    except MemoryError:
        return {"code": "", "reason": "it needs more memory than a file may"}
    except Exception as error:  # noqa: BLE001 - whatever a file upsets is said of the file
        if getattr(error, "errno", None) == errno.EFBIG:  # which its limit on files gives
            return {"code": "", "reason": _TOO_LARGE}
        return {"code": "", "reason": f"it upsets its reader ({type(error).__name__})"}


def _reason(error: TerrazzoError) -> str:
    return str(getattr(error, "reason", "") or error)


def _put(place: Path, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        place.write_bytes(content)
    elif content.stat().st_size > LIMITS.scratch_bytes:
        raise Refused("", f"it has more than {LIMITS.scratch_bytes:,} bytes")
    else:
        shutil.copyfile(content, place)


class Conversation:
    """A program in a closed worker that answers one request after another, and may ask back."""

    def __init__(self, program: str, limits: Limits, owner: str) -> None:
        """Take a worker.

        Raises:
            UdfRefused: this machine cannot shut workers in, or cannot start them.
            WorkersBusy: the account's turn does not come in time.
        """
        self._limits, self._pool = limits, _pool(program, limits, sealed=True)
        key = Key(owner, program, secrets.token_hex(8))
        self._worker = self._pool.take(key, _environment(program))

    def ask(
        self, request: Any, give: Callable[[Mapping[str, Any]], bytes], files: Sequence[int] = ()
    ) -> Mapping[str, Any]:
        """Return the answer to a request.

        Args:
            request: JSON values.
            give: what is asked for before the answer comes; its bytes go to the worker.
            files: that the worker gets.

        Raises:
            Refused: the program says that it cannot, fails, or takes too much.
            UdfRefused: it cannot be shut in.
        """
        return _told(self._worker, request, self._limits, give, files)

    def close(self) -> None:
        """Do away with the worker."""
        self._pool.end(self._worker)


def answer_many(
    channel: socket, answer: Callable[[Any, Callable[[Any], bytes], Sequence[int]], Any]
) -> None:
    """Answer requests until nobody asks any more; called in the worker, by the program.

    Args:
        channel: that `serve` got.
        answer: of a request, a function that asks back for bytes, and files that came with it.
    """

    def ask(question: Any) -> bytes:
        write(channel.fileno(), frame({"asked": question}))
        told, files = receive(channel, 1)
        if told is None:
            os._exit(0)
        content = os.pread(files[0], told["size"], 0)
        os.close(files[0])
        return content

    while True:
        request, files = receive(channel, 1)
        if request is None:
            return
        write(channel.fileno(), frame(_answered(lambda: answer(request, ask, files))))  # noqa: B023 - called at once
        for file in files:
            os.close(file)


def _told(
    worker: Worker,
    request: Any,
    limits: Limits,
    give: Callable[[Mapping[str, Any]], bytes] | None = None,
    files: Sequence[int] = (),
) -> Mapping[str, Any]:
    """Send a request, give what is asked for meanwhile, and return the answer."""
    deadline = time.monotonic() + limits.wall_seconds
    try:
        request_of(worker, request, files)
        for answer in worker.messages(limits):
            asked = answer.get("asked")
            if give is None or not isinstance(asked, dict):
                break
            _in_time(deadline)  # many questions may have come at once
            _give(worker, give(asked))
    except UdfFailed as error:
        raise Refused("", _stopped(str(error))) from None
    folder = worker.scratch
    if "refused" in answer:
        raise UdfRefused(f"A worker cannot be shut in here: {str(answer['refused'])[:_LETTERS]}")
    if isinstance(done := answer.get("done"), dict):
        return done
    code, reason = str(answer.get("code", "")), str(answer.get("reason", ""))
    shown = "".join(letter for letter in reason.replace(folder, "") if letter.isprintable())
    raise Refused(code[:40], shown[:_LETTERS] or "it upsets its reader")


def _in_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise UdfFailed("It takes more seconds than it may.")


def _give(worker: Worker, content: bytes) -> None:
    try:
        memory = SharedMemory(len(content))
    except OSError as error:
        raise UdfFailed("no memory") from error
    try:
        memory.memory[: len(content)] = content
        request_of(worker, {"size": len(content)}, (memory.file,))
    finally:
        memory.close()


def _stopped(reason: str) -> str:
    """Say why a worker was stopped; of a file, and not of code of users."""
    for word, told in (
        ("seconds", "it takes too long to read"),
        ("MB", _TOO_LARGE),
        ("memory", "it needs more memory than a file may"),
        ("threads", "it needs more threads than a file may"),
    ):
        if word in reason:
            return told
    return "it crashes its reader"


@cache
def _pool(program: str, limits: Limits, *, sealed: bool) -> Pool:
    del program  # each has its own
    return Pool(limits, sealed=sealed)


@cache
def _environment(program: str) -> Environment:
    """Return this very Python, with everything that is installed and the sources of Terrazzo."""
    own = own_environment()
    folders = dict.fromkeys((*own.path, *_installed(), SOURCES))
    return replace(own, name=program, path=tuple(folders), program=program)


def _installed() -> list[str]:
    """Return the folders in which libraries for files lie."""
    names = ("rasterio", "h5py", "pyarrow", "pyogrio", "pyproj", "shapely")
    found = [importlib.util.find_spec(name) for name in names]
    return [os.path.dirname(os.path.dirname(one.origin)) for one in found if one and one.origin]  # noqa: PTH120


def save(name: str, document: Any) -> None:
    """Write JSON into the worker's folder; called by programs."""
    Path(name).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
