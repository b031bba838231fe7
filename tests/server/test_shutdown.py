"""The end of a server: orderly when it is told once, at once when it is told twice."""

from __future__ import annotations

import http.client
import json
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from tests.server.program import PATIENCE, Program, all_gone, running, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = 600
"""Seconds of grace that no test waits for."""

pytestmark = pytest.mark.slow


@contextmanager
def holding(home: Path, grace: int = LONG) -> Iterator[Program]:
    """Run a server that holds requests until there is a file of the name that they ask for."""
    command = (sys.executable, "-m", "tests.server.program", str(home), str(grace))
    with running(command, home) as program:
        yield program


class Asking(threading.Thread):
    """Asks in a thread for what a server holds; begins when the server is at it."""

    def __init__(self, program: Program, home: Path, name: str) -> None:
        super().__init__(daemon=True)
        self.answer: tuple[int, bytes] | None = None
        self._program, self._path = program, f"/held/{name}"
        self.start()
        end = time.monotonic() + PATIENCE
        while not (home / f"{name}.asked").exists():
            assert time.monotonic() < end
            time.sleep(0.02)

    def run(self) -> None:
        with suppress(OSError, http.client.HTTPException):  # the server went first
            self.answer = self._program.get(self._path)


def refuses(program: Program) -> bool:
    """Wait until a server takes no new requests."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            program.get("/health")
        except ConnectionRefusedError:
            return True
        except (OSError, http.client.HTTPException):  # it stops just now
            continue
    return False


def test_a_stopping_server_finishes_what_was_begun_and_takes_no_new_requests(
    tmp_path: Path,
) -> None:
    with holding(tmp_path) as program:
        asking = Asking(program, tmp_path, "a")

        program.tell(signal.SIGTERM)
        refused = refuses(program)
        (tmp_path / "a").touch()
        asking.join(PATIENCE)
        status, _ = program.ended()

    assert refused
    assert asking.answer == (200, b'"a"')
    assert status == 0


def test_a_request_that_takes_too_long_is_told_that_the_server_stops(tmp_path: Path) -> None:
    with holding(tmp_path, grace=1) as program:
        asking = Asking(program, tmp_path, "never")

        program.tell(signal.SIGTERM)
        asking.join(PATIENCE)
        status, _ = program.ended()

    assert asking.answer is not None
    assert asking.answer[0] == 503
    assert json.loads(asking.answer[1])["code"] == "ServerStopping"
    assert status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_twice_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with holding(tmp_path) as program:
        asking = Asking(program, tmp_path, "never")

        program.tell(number)
        refused = refuses(program)
        program.tell(number)
        status, _ = program.ended()
        asking.join(PATIENCE)

    assert refused

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
        end = time.monotonic() + PATIENCE
        while not list(cache.rglob("*.nbc")):
            assert time.monotonic() < end
            time.sleep(0.05)

        program.tell(signal.SIGINT)
        status, _ = program.ended()

    assert status == 0
    assert not list(cache.rglob("kernels.convolve-*.nbc")), "the last one is compiled, too"
