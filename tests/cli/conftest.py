"""A home with the small collection, and the command line as a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.server.small import make_home, write_graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# A shell that starts the tests in the background makes them, and their children, ignore Ctrl-C.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
PROGRAM = [sys.executable, "-c", f"{HEED}; from terrazzo.cli import main; main()"]


@dataclass(frozen=True)
class Shell:
    """Runs the command line in a home folder."""

    home: Path

    def start(
        self, *arguments: object, program: Sequence[str] = PROGRAM, **options: object
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*program, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TERRAZZO_HOME": str(self.home)},
            **options,  # type: ignore[call-overload]
        )

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_home(folder)
    return folder


@pytest.fixture
def shell(home: Path) -> Shell:
    return Shell(home)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "graph.json", save=True)
