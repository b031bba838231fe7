"""A small fresh process, without anything of the server's, that forks the workers.

It has the libraries loaded, so that a worker is there in milliseconds, and runs nothing but our
own code. It ends with the server, and the workers end with it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Never

from terrazzo.sandbox import namespaces, seal
from terrazzo.sandbox.channel import frame, write
from terrazzo.sandbox.layers import Layers
from terrazzo.sandbox.limits import Limits

STATUS = struct.Struct("<i")
"""What is said of a worker in the end, as `os.waitpid` has it."""
TREE = "root"
"""Folder of what workers may read, if they have namespaces."""
_REQUEST_BYTES = 65_536
_FILES = 2


@dataclass(frozen=True, slots=True)
class _Child:
    """A worker that runs."""

    pid: int
    status: socket.socket
    """On which the server is told how it ended."""
    scratch: str


@dataclass(frozen=True, slots=True)
class _House:
    """Where workers live."""

    folder: str
    """It holds the folders of all of them."""
    layers: Layers
    readable: tuple[str, ...]
    program: str
    """Module that workers run instead of code of users; empty for that."""

    @property
    def tree(self) -> str:
        """Where what they may read is to be found, if they have namespaces."""
        return f"{self.folder}/{TREE}"


def main(control: socket.socket, folder: str) -> None:
    """Fork a worker for every request until the server hangs up; remove the folder then."""
    children: dict[int, _Child] = {}
    try:
        content = control.recv(_REQUEST_BYTES)
        if not content:
            return
        told = json.loads(content)
        house = _House(folder, Layers(**told["layers"]), tuple(told["readable"]), told["program"])
        answer = _furnish(house)
        with contextlib.suppress(OSError):  # whoever has hung up already is told nothing
            control.send(json.dumps(answer).encode())
        if not answer:
            _serve(control, house, children)
    finally:
        _end(children)
        namespaces.take_down(f"{folder}/{TREE}")
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106


def _furnish(house: _House) -> dict[str, str]:
    """Load what workers need, and return why that cannot be done, if so."""
    try:
        _load(house).warm_up()
        if house.layers.namespaces:
            os.mkdir(house.tree)  # noqa: PTH102 - a path like any
            namespaces.build(
                house.tree, (*namespaces.LIBRARIES, *house.readable), namespaces.DEVICES
            )
    except Exception:  # noqa: BLE001 - whatever it is, the server must be told
        return {"failed": traceback.format_exc()}
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123
        score.write("1000")  # memory that runs out shall not cost the server its life
    gc.collect()
    gc.freeze()
    return {}


def _load(house: _House) -> Any:
    """Return the module that says what workers do, and load the libraries that it needs."""
    if house.program:
        # Dask asks it for this process, whose number means another one outside of its namespace.
        sys.modules["psutil"] = None  # type: ignore[assignment]
        return import_module(house.program)
    from terrazzo.sandbox import worker  # noqa: PLC0415 - code of users needs many

    return worker


def _serve(control: socket.socket, house: _House, children: dict[int, _Child]) -> None:
    """Fork a worker for every request until the server hangs up."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for file, _ in poll.poll():
            if file != control.fileno():
                poll.unregister(file)
                _bury(file, children.pop(file))
                continue
            content, files, _, _ = socket.recv_fds(control, _REQUEST_BYTES, _FILES)
            if not content:
                return
            child = _fork(control, house, json.loads(content), files, children)
            if child is not None:
                number = os.pidfd_open(child.pid)
                children[number] = child
                poll.register(number, select.POLLIN)
                with contextlib.suppress(OSError):  # the server has lost interest
                    socket.send_fds(child.status, [b" "], [number])


def _fork(
    control: socket.socket,
    house: _House,
    request: dict[str, Any],
    files: list[int],
    others: dict[int, _Child],
) -> _Child | None:
    channel, status = files
    scratch = request["scratch"]
    try:
        os.mkdir(scratch, 0o700)  # noqa: PTH102 - a path like any
        pid = os.fork()
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(scratch)  # noqa: PTH106
        os.close(channel)
        os.close(status)  # which tells the server
        return None
    if not pid:
        try:
            control.close()
            os.close(status)
            for number, other in others.items():
                os.close(number)
                other.status.close()
            _work(channel, house, request)
        finally:
            os._exit(1)  # what the zygote does in the end is not for a worker to do
    os.close(channel)
    return _Child(pid, socket.socket(fileno=status), scratch)


def _work(channel: int, house: _House, request: dict[str, Any]) -> Never:
    """Be a worker, to the end of this process."""
    worker = _load(house)
    with contextlib.suppress(BaseException):
        seal.end_with_parent()
        os.setsid()
        scratch = request["scratch"]
        os.chdir(scratch)
        home = namespaces.INSIDE if house.layers.namespaces else scratch
        os.environ.update(HOME=home, TMPDIR=home)
        limits = Limits(**request["limits"])
        told = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=channel)
        worker.prepare(limits)
        seal.keep_memory()
        try:
            seal.limit(limits)
            if house.layers.sealed:
                seal.seal(house.layers, house.readable, house.tree, scratch)
        except OSError as error:
            write(channel, frame({"refused": str(error)}))
            os._exit(1)
        worker.serve(told)
    os._exit(0)


def _bury(number: int, child: _Child) -> None:
    """Tell how a worker ended, and remove what it left."""
    os.close(number)
    with contextlib.suppress(OSError):  # what trusted code has started; the pid is not free yet
        os.killpg(child.pid, signal.SIGKILL)
    _, status = os.waitpid(child.pid, 0)
    shutil.rmtree(child.scratch, ignore_errors=True)
    with contextlib.suppress(OSError):
        child.status.send(STATUS.pack(status))
    child.status.close()


def _end(children: dict[int, _Child]) -> None:
    for number, child in children.items():
        signal.pidfd_send_signal(number, signal.SIGKILL)
        _bury(number, child)


def empty(scratch: str) -> bool:
    """Remove the files of a worker's folder, and tell whether there were any.

    They are cut short first: who has them open or mapped would keep their room otherwise.
    """
    found = False
    with contextlib.suppress(OSError), os.scandir(scratch) as entries:
        for entry in entries:
            found = True
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    os.truncate(entry.path, 0)
                os.unlink(entry.path)  # noqa: PTH108
    return found


def start() -> Never:
    """Be the zygote: the arguments are the number of the control socket, and the folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=int(sys.argv[1])) as control:
        main(control, sys.argv[2])
    os._exit(0)
