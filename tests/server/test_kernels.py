"""Kernels that are made ready beside a server, and never hold it up."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from terrazzo.server.running import kernels
from terrazzo.server.running.kernels import preparing

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.progress import Progress

PATIENCE = 60.0
pytestmark = pytest.mark.usefixtures("alone")


def kernel_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "kernels"]


def wait_for_end() -> None:
    for thread in kernel_threads():
        thread.join(PATIENCE)


def test_kernels_are_made_ready_while_it_serves_and_it_is_said_if_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, told = list[str](), threading.Event()

    def make_ready(progress: Progress, *, extraction: bool, folder: Path) -> None:
        assert not extraction
        assert not list(folder.iterdir())
        progress.start(1, "graphs")
        told.wait(PATIENCE)
        progress.advance()

    def say(message: str) -> None:
        said.append(message)
        told.set()

    monkeypatch.setattr(kernels, "make_ready", make_ready)
    monkeypatch.setattr(kernels, "SOON", 0.01)
    with preparing(say, tmp_path):
        assert told.wait(PATIENCE)
        wait_for_end()

    assert len(said) == 1
    assert "once after an installation" in said[0]


def test_what_makes_kernels_ready_stops_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def make_ready(progress: Progress, *, extraction: bool, folder: Path) -> None:
        progress.start(1000, f"graphs {extraction} {folder}")
        begun.set()
        while True:
            progress.advance()
            time.sleep(0.001)

    monkeypatch.setattr(kernels, "make_ready", make_ready)
    with preparing(lambda _: None, tmp_path):
        assert begun.wait(PATIENCE)
    wait_for_end()

    assert kernel_threads() == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_end_does_not_wait_for_a_kernel_that_is_being_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, hold = threading.Event(), threading.Event()

    def make_ready(progress: Progress, *, extraction: bool, folder: Path) -> None:
        del progress, extraction, folder
        begun.set()
        hold.wait(PATIENCE)

    monkeypatch.setattr(kernels, "make_ready", make_ready)
    with preparing(lambda _: None, tmp_path):
        assert begun.wait(PATIENCE)

    assert kernel_threads()
    hold.set()
    wait_for_end()


def test_two_processes_over_one_home_do_not_compile_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most = list[int](), list[int]()

    def make_ready(progress: Progress, *, extraction: bool, folder: Path) -> None:
        del progress, extraction, folder
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()

    monkeypatch.setattr(kernels, "make_ready", make_ready)
    with preparing(lambda _: None, tmp_path), preparing(lambda _: None, tmp_path):
        wait_for_end()

    assert most == [1, 1]


def test_kernels_that_cannot_be_made_ready_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make_ready(progress: Progress, *, extraction: bool, folder: Path) -> None:
        del progress, extraction, folder
        raise OSError("disk full")

    monkeypatch.setattr(kernels, "make_ready", make_ready)
    with preparing(lambda _: None, tmp_path):
        wait_for_end()

    assert "disk full" in caplog.text
