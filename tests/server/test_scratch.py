"""Temporary folders: used by two, removed by whoever is the last, or by the next server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from terrazzo.drivers.job import Workspace
from terrazzo.errors import OutputFailed
from terrazzo.progress import Cancelled
from terrazzo.server.app import create_app
from terrazzo.server.scratch import FOLDER, Scratch, sweep

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_is_there_until_it_is_dropped(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    with scratch.used() as folder:
        (folder / "result.tif").write_bytes(b"pixels")
    assert (scratch.path / "result.tif").exists()

    scratch.drop()
    scratch.drop()

    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_folder_that_is_dropped_while_it_is_used_goes_afterwards(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)

    with scratch.used() as folder:
        scratch.drop()
        there = folder.exists()

    assert there
    assert not folder.exists()


def test_a_folder_that_was_dropped_is_not_used_any_more(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.drop()

    with pytest.raises(Cancelled), scratch.used():
        pass


def test_folders_in_use_are_not_swept(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)

    assert sweep(tmp_path) == 0
    assert scratch.path.exists()
    scratch.drop()


def test_the_next_server_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from terrazzo.server.scratch import Scratch\n"
        "made = Scratch(Path(sys.argv[1])); (made.path / 'half').write_bytes(b'x' * 100)\n"
        "print(made.path, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        path = killed.stdout.readline().strip()
        alive = sweep(tmp_path)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        there = os.path.exists(path)  # noqa: PTH110 - a text from another process

    create_app(Workspace.of(tmp_path))

    assert (alive, there) == (0, True)
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file")

    with pytest.raises(OutputFailed):
        Scratch(tmp_path)
