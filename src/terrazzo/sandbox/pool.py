"""Workers: forked by a zygote, one code of one user each, frozen while nobody calls them."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from terrazzo.errors import TerrazzoError, UdfRefused
from terrazzo.sandbox.handle import Key, Worker
from terrazzo.sandbox.layers import SOURCES, Layers, Machine, choose, this_machine
from terrazzo.sandbox.seal import LIFETIME

if TYPE_CHECKING:
    from terrazzo.sandbox.environments import Environment
    from terrazzo.sandbox.limits import Limits

_START_SECONDS = 120.0
"""Loading the libraries for the first time may take long on a busy machine."""
_END_SECONDS = 10.0
_DYING_SECONDS = 0.5
_THREADS = ("OPENBLAS", "OMP", "MKL", "NUMBA")
_ENTER = "from terrazzo.sandbox.namespaces import enter; enter(); "
_START = "from terrazzo.sandbox.zygote import start; start()"


class WorkersBusy(TerrazzoError):
    """All closed processes, or those of one account, are busy with other files for too long."""

    code, status = "ServerBusy", 503


class Pool:
    """Workers of one server process, and the zygotes that fork them; safe for many threads."""

    def __init__(self, limits: Limits, *, sealed: bool, machine: Machine | None = None) -> None:
        """Make a pool that starts nothing yet.

        Args:
            limits: what a worker may take.
            sealed: whether workers are shut in.
            machine: what there is to shut them in; None finds it out.
        """
        self._limits, self._sealed, self._machine = limits, sealed, machine
        self._start()
        _POOLS.add(self)

    def _start(self) -> None:
        self._state = threading.Condition()
        self._forking = threading.Lock()
        self._idle: list[Worker] = []
        self._busy = 0
        self._at_work: Counter[str] = Counter()
        self._zygotes: dict[str, _Zygote] = {}

    def begin_anew(self) -> None:
        """Leave all workers to the process that this one was forked from: two must not call one."""
        for worker in self._idle:
            worker.forget()
        for zygote in self._zygotes.values():
            zygote.forget()
        self._start()

    def take(self, key: Key, environment: Environment) -> Worker:
        """Return a worker that has served this code of this user, or none; waits for its turn.

        Raises:
            UdfRefused: this machine cannot close workers, or cannot start them.
            WorkersBusy: its turn does not come in time.
        """
        with self._state:
            self._wait(key.owner)
            self._busy += 1
            self._at_work[key.owner] += 1
            found = self._kept(key)
        if found is not None:
            found.signal(signal.SIGCONT)
            return found
        try:
            with self._forking:
                return self._started(key, environment)
        except BaseException:
            self._leave(key.owner)
            raise

    def _wait(self, owner: str) -> None:
        """Wait until one more worker may run for a user."""
        limits = self._limits
        each, most_seconds = limits.each or limits.workers, limits.wait_seconds or None

        def is_free() -> bool:
            return self._busy < limits.workers and self._at_work[owner] < each

        if not self._state.wait_for(is_free, most_seconds):
            raise WorkersBusy(
                f"Other files have kept the closed processes busy for {most_seconds:g} s. Ask "
                "again in a moment, and for fewer files at a time."
            )

    def _kept(self, key: Key) -> Worker | None:
        """Return a worker that was kept for this, and let it be kept no longer."""
        for worker in reversed(self._idle):
            if worker.key == key:
                self._idle.remove(worker)
                if worker.is_alive():
                    return worker
                worker.close()
                break
        return None

    def _leave(self, owner: str) -> None:
        with self._state:
            self._busy -= 1
            self._at_work[owner] -= 1
            if not self._at_work[owner]:
                del self._at_work[owner]
            self._state.notify_all()

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
            most = max(len(self._idle) - self._limits.kept, 0)
            for number, old in enumerate(list(self._idle)):
                if number < most or old.used < late:
                    self._drop(old)
        self._leave(worker.key.owner)

    def end(self, worker: Worker) -> None:
        """Do away with a worker."""
        worker.close()
        self._leave(worker.key.owner)

    def close(self) -> None:
        """End all workers that are not at work, and the zygotes."""
        with self._state:
            for worker in list(self._idle):
                self._drop(worker)
        with self._forking:
            for zygote in self._zygotes.values():
                zygote.close()
            self._zygotes.clear()
        atexit.unregister(self.close)

    def _drop(self, worker: Worker) -> None:
        self._idle.remove(worker)
        worker.close()

    def _started(self, key: Key, environment: Environment) -> Worker:
        for _ in range(2):
            zygote = self._zygotes.get(environment.name)
            if zygote is None:
                layers = choose(self._machine or this_machine(), sealed=self._sealed)
                zygote = _Zygote(self._limits, layers, environment)
                self._zygotes[environment.name] = zygote
                atexit.register(self.close)
            try:
                return zygote.fork(key)
            except OSError:  # the zygote was killed
                zygote.close()
                del self._zygotes[environment.name]
        raise UdfRefused("No worker process can be started for UDFs; the machine may be full.")


_POOLS: WeakSet[Pool] = WeakSet()


def _begin_anew() -> None:
    for pool in list(_POOLS):
        pool.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def workers() -> tuple[int, int]:
    """Return how many workers of this process compute, and how many wait for work."""
    pools = list(_POOLS)
    return sum(pool._busy for pool in pools), sum(len(pool._idle) for pool in pools)  # noqa: SLF001 - its own module


class _Zygote:
    """The server's end of the process that forks workers."""

    def __init__(self, limits: Limits, layers: Layers, environment: Environment) -> None:
        self._limits, self._count = limits, 0
        try:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._folder = tempfile.mkdtemp(prefix="terrazzo-udf-")
        except OSError as error:
            raise UdfRefused(f"No process can be started for UDFs: {error}.") from error
        with theirs:
            try:
                self._process = _interpreter(theirs.fileno(), self._folder, layers, environment)
            except OSError as error:
                mine.close()
                shutil.rmtree(self._folder, ignore_errors=True)
                raise UdfRefused(f"No process can be started for UDFs: {error}.") from error
        self._control = mine
        self._control.settimeout(_START_SECONDS)
        house = {
            "layers": asdict(layers),
            "readable": [*environment.readable, *environment.path],
            "program": environment.program,
        }
        try:
            self._control.send(json.dumps(house).encode())
            told = json.loads(self._control.recv(1 << 16) or b'{"failed": "it ended"}')
        except ConnectionError:
            told = {"failed": "it ended"}
        except OSError as error:
            told = {"failed": str(error)}
        if "failed" in told:
            self.close()
            raise UdfRefused(
                "The process that forks UDF workers cannot start; `terrazzo doctor` says why."
            ) from OSError(told["failed"])

    def fork(self, key: Key) -> Worker:
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
        request = {"limits": asdict(self._limits), "scratch": scratch}
        with their_channel, their_status:
            try:
                files = [their_channel.fileno(), their_status.fileno()]
                socket.send_fds(self._control, [json.dumps(request).encode()], files)
                their_channel.close()
                their_status.close()
                status.settimeout(_END_SECONDS)
                _, opened, _, _ = socket.recv_fds(status, 1, 1)
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
        return Worker(channel, status, opened[0], scratch, key)

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


def _interpreter(
    control: int, folder: str, layers: Layers, environment: Environment
) -> subprocess.Popen[bytes]:
    """Start a fresh interpreter that has nothing of this process but one socket."""
    path = [SOURCES, *environment.path]
    enter = _ENTER if layers.namespaces else ""
    code = f"import sys; sys.path[:0] = {path!r}; {enter}{_START}"
    return subprocess.Popen(  # noqa: S603 - an interpreter that the operator has chosen
        [environment.python, "-I", "-S", "-B", "-c", code, str(control), folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"LC_ALL": "C.UTF-8", **{f"{name}_NUM_THREADS": "1" for name in _THREADS}},
        pass_fds=(control,),
        start_new_session=True,
    )
