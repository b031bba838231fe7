"""The end of a server: orderly when it is told once, at once when it is told twice."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.server.program import Program, all_gone, running, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GRACE = 3

pytestmark = pytest.mark.slow


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Program]:
    """Return a server with routes that take their time."""
    command = (sys.executable, "-m", "tests.server.program", str(tmp_path), str(GRACE))
    with running(command, tmp_path) as program:
        yield program


def in_flight(program: Program) -> float:
    """Return how many requests are being answered."""
    lines = program.get("/metrics")[1].decode().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith("terrazzo_requests_in_flight")]
    return float(value)


class Asking(threading.Thread):
    """Asks in a thread."""

    def __init__(self, program: Program, path: str) -> None:
        super().__init__()
        self.answer: tuple[int, bytes] | None = None
        self._program, self._path = program, path
        self.start()
        while in_flight(program) < 2:  # this one, and that which asks
            time.sleep(0.05)

    def run(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # the server went first
            self.answer = self._program.get(self._path)


def test_a_request_that_was_begun_is_finished(slow: Program) -> None:
    asking = Asking(slow, "/slow/1.5")

    slow.tell(signal.SIGTERM)
    asking.join()
    status, _ = slow.ended()

    assert asking.answer == (200, b'{"slept":1.5}')
    assert status == 0


def test_a_stopping_server_takes_no_new_requests(slow: Program) -> None:
    asking = Asking(slow, "/slow/2")

    slow.tell(signal.SIGTERM)
    time.sleep(0.5)
    with pytest.raises(ConnectionRefusedError):
        slow.get("/health")
    asking.join()

    assert asking.answer is not None
    assert asking.answer[0] == 200


def test_a_request_that_takes_too_long_is_told_that_the_server_stops(slow: Program) -> None:
    asking = Asking(slow, "/slow/60")
    begun = time.monotonic()

    slow.tell(signal.SIGTERM)
    asking.join()
    status, _ = slow.ended()

    assert asking.answer is not None
    assert asking.answer[0] == 503
    assert json.loads(asking.answer[1])["code"] == "ServerStopping"
    assert status == 0
    assert time.monotonic() - begun < GRACE + 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_twice_ends_at_once(slow: Program, number: signal.Signals) -> None:
    asking = Asking(slow, "/slow/2")

    slow.tell(number)
    time.sleep(0.2)
    slow.tell(number)
    status, _ = slow.ended()
    asking.join()

    assert status == 128 + number
    assert asking.answer is None


@pytest.mark.parametrize("workers", ["1", "2"])
def test_all_processes_of_a_server_end_with_it(tmp_path: Path, workers: str) -> None:
    with serve(tmp_path, "--workers", workers, "--job-workers", "1") as program:
        children = program.children()

        program.tell(signal.SIGTERM)
        status, _ = program.ended()

        assert len(children) >= (1 if workers == "1" else 3)
        assert status == 0
        assert all_gone(children)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_process_outlives_a_server_that_is_killed(tmp_path: Path, workers: str) -> None:
    with serve(tmp_path, "--workers", workers, "--job-workers", "1", "--grace", "1") as program:
        children = program.children()

        program.tell(signal.SIGKILL)

        assert children
        assert all_gone(children)


def test_ctrl_c_ends_a_server_that_still_compiles_kernels(tmp_path: Path) -> None:
    cache = tmp_path / "no-kernels-yet"
    options = ("--job-workers", "0")
    with serve(tmp_path, *options, NUMBA_CACHE_DIR=str(cache)) as program:
        begun = time.monotonic()

        program.tell(signal.SIGINT)
        status, _ = program.ended()

        assert status == 0
        assert time.monotonic() - begun < 10
