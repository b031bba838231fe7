"""Workers: forked by a zygote, one code each, frozen while nobody calls them."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from terrazzo.errors import UdfRefused
from terrazzo.sandbox import landlock
from terrazzo.sandbox.handle import Worker
from terrazzo.sandbox.header import PACKAGES
from terrazzo.sandbox.seal import LIFETIME, what_is_missing
from terrazzo.sandbox.zygote import STATUS

if TYPE_CHECKING:
    from terrazzo.sandbox.limits import Limits

_START_SECONDS = 120.0
"""Loading the libraries for the first time may take long on a busy machine."""
_END_SECONDS = 10.0
_DYING_SECONDS = 0.5
_THREADS = ("OPENBLAS", "OMP", "MKL", "NUMBA")
_MAIN = "import sys; sys.path[:0] = {path!r}; from terrazzo.sandbox.zygote import start; start()"


class Pool:
    """Workers of one server process, and the zygote that forks them; safe for many threads."""

    def __init__(self, limits: Limits, *, sealed: bool) -> None:
        self._limits, self._sealed = limits, sealed
        self._start()

    def _start(self) -> None:
        self._state = threading.Condition()
        self._forking = threading.Lock()
        self._idle: list[Worker] = []
        self._alive = 0
        self._zygote: _Zygote | None = None

    def begin_anew(self) -> None:
        """Leave all workers to the process that this one was forked from: two must not call one."""
        for worker in self._idle:
            worker.forget()
        if self._zygote is not None:
            self._zygote.forget()
        self._start()

    def take(self, code: str) -> Worker:
        """Return a worker that has served this code or none; waits until there may be one.

        Raises:
            UdfRefused: this machine cannot close workers, or cannot start them.
        """
        with self._state:
            while True:
                found = next((w for w in reversed(self._idle) if w.code == code), None)
                if found is not None and not found.is_alive():
                    self._drop(found)
                    continue
                if found is not None:
                    self._idle.remove(found)
                    break
                if self._alive < self._limits.workers:
                    self._alive += 1
                    break
                if self._idle:
                    self._drop(self._idle[0])
                    continue
                self._state.wait()
        if found is not None:
            found.signal(signal.SIGCONT)
            return found
        try:
            with self._forking:
                return self._started(code)
        except BaseException:
            with self._state:
                self._alive -= 1
                self._state.notify()
            raise

    def give_back(self, worker: Worker) -> None:
        """Keep a worker for the next call of its code.

        One that has kept files open, or might use up its CPU time in the next call, is ended.
        """
        spent = worker.cpu_seconds() > (LIFETIME - 1) * self._limits.cpu_seconds
        if not worker.freeze() or spent:
            self.end(worker)
            return
        with self._state:
            self._idle.append(worker)
            late = time.monotonic() - self._limits.idle_seconds
            for old in [w for w in self._idle if w.used < late]:
                self._drop(old)
            self._state.notify()

    def end(self, worker: Worker) -> None:
        """Do away with a worker."""
        worker.close()
        with self._state:
            self._alive -= 1
            self._state.notify()

    def close(self) -> None:
        """End all workers that are not at work, and the zygote."""
        with self._state:
            for worker in list(self._idle):
                self._drop(worker)
        with self._forking:
            if self._zygote is not None:
                self._zygote.close()
                self._zygote = None
        atexit.unregister(self.close)

    def _drop(self, worker: Worker) -> None:
        self._idle.remove(worker)
        self._alive -= 1
        worker.close()

    def _started(self, code: str) -> Worker:
        for _ in range(2):
            if self._zygote is None:
                self._zygote = _Zygote(self._limits, sealed=self._sealed)
                atexit.register(self.close)
            try:
                return self._zygote.fork(code)
            except OSError:  # the zygote was killed
                self._zygote.close()
                self._zygote = None
        raise UdfRefused("No worker process can be started for UDFs; the machine may be full.")


class _Zygote:
    """The server's end of the process that forks workers."""

    def __init__(self, limits: Limits, *, sealed: bool) -> None:
        missing = what_is_missing(sealed=sealed)
        if missing:
            raise UdfRefused(
                f"UDFs cannot be run here: {missing}. Nothing is run unless it can be shut in; on "
                "Linux, an operator who trusts all users may choose `--udf trusted`."
            )
        self._limits, self._sealed, self._count = limits, sealed, 0
        try:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._folder = tempfile.mkdtemp(prefix="terrazzo-udf-")
        except OSError as error:
            raise UdfRefused(f"No process can be started for UDFs: {error}.") from error
        with theirs:
            try:
                self._process = _interpreter(theirs.fileno(), self._folder)
            except OSError as error:
                mine.close()
                shutil.rmtree(self._folder, ignore_errors=True)
                raise UdfRefused(f"No process can be started for UDFs: {error}.") from error
        self._control = mine
        self._control.settimeout(_START_SECONDS)
        try:
            told = json.loads(self._control.recv(1 << 16) or b'{"failed": "it ended"}')
        except OSError as error:
            told = {"failed": str(error)}
        if "failed" in told:
            self.close()
            raise UdfRefused(f"The process that forks UDF workers cannot start: {told['failed']}")

    def fork(self, code: str) -> Worker:
        """Return a new worker.

        Raises:
            OSError: the zygote is gone, or cannot fork.
        """
        self._count += 1
        scratch = f"{self._folder}/{self._count}"
        try:
            channel, their_channel = socket.socketpair()
            status, their_status = socket.socketpair()
        except OSError as error:  # of this process, which has too many files open
            raise UdfRefused(f"No worker can be forked for UDFs: {error}.") from error
        request = {
            "landlock": landlock.version(),
            "limits": asdict(self._limits),
            "readable": _readable(),
            "scratch": scratch,
            "sealed": self._sealed,
        }
        with their_channel, their_status:
            try:
                files = [their_channel.fileno(), their_status.fileno()]
                socket.send_fds(self._control, [json.dumps(request).encode()], files)
                their_channel.close()
                their_status.close()
                status.settimeout(_END_SECONDS)
                content, opened, _, _ = socket.recv_fds(status, STATUS.size, 1)
            except BaseException:
                channel.close()
                status.close()
                raise
        if not opened:
            channel.close()
            status.close()
            if self._runs() and Path(self._folder).is_dir():
                raise UdfRefused("No worker can be forked for UDFs; the machine may be full.")
            raise ConnectionError("The process that forks UDF workers, or its folder, is gone.")
        channel.settimeout(self._limits.wall_seconds)
        (pid,) = STATUS.unpack(content)
        return Worker(channel, status, opened[0], pid, scratch, code)

    def _runs(self) -> bool:
        with suppress(subprocess.TimeoutExpired):  # it closes its files before it ends
            self._process.wait(_DYING_SECONDS)
        return self._process.returncode is None

    def forget(self) -> None:
        """Leave it to the process that this one was forked from."""
        self._control.close()
        self._process.returncode = 0

    def close(self) -> None:
        """End it, and with it every worker."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _interpreter(control: int, folder: str) -> subprocess.Popen[bytes]:
    """Start a fresh interpreter that has nothing of this process but one socket."""
    return subprocess.Popen(  # noqa: S603 - this very interpreter
        [
            *(sys.executable, "-I", "-S", "-B", "-c"),
            _MAIN.format(path=_search_path()),
            str(control),
            folder,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"LC_ALL": "C.UTF-8", **{f"{name}_NUM_THREADS": "1" for name in _THREADS}},
        pass_fds=(control,),
        start_new_session=True,
    )


def _package_folders() -> list[str]:
    """Return the folders in which the libraries of user code are installed."""
    folders = dict.fromkeys(
        str(Path(found.origin).parents[1])
        for name in (*PACKAGES.values(), "typing_extensions")
        if (found := importlib.util.find_spec(name)) is not None and found.origin
    )
    return list(folders)


def _search_path() -> list[str]:
    return [str(Path(__file__).parents[2]), *_package_folders()]


@cache
def _readable() -> list[str]:
    """Return what a worker may read: the interpreter's library and its packages."""
    kinds = ("stdlib", "platstdlib")
    own = {Path(sysconfig.get_path(kind)) for kind in kinds}
    own |= {Path(os.__file__).parent, Path(sys.base_prefix) / "lib"}
    return [*(str(folder) for folder in sorted(own)), *_package_folders()]
