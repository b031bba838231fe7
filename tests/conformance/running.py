"""The server as its users run it: the command line in a process of its own, on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = (sys.executable, "-c", "from terrazzo.cli import main; main()")
PATIENCE = 60.0
"""Seconds in which a server or worker that was told to end has to."""


@dataclass(frozen=True)
class Shell:
    """Runs the command line in a home folder."""

    home: Path

    def __call__(self, *arguments: object, given: str = "") -> str:
        """Run a command to its end and return what it writes.

        Raises:
            AssertionError: it failed; tells what it said.
        """
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            input=given,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """What the command line sees: this home, and nothing of the tests' own settings."""
        kept = {name: value for name, value in os.environ.items() if name[:9] != "TERRAZZO_"}
        return kept | {"TERRAZZO_HOME": str(self.home)}

    @contextmanager
    def serving(self, *options: object) -> Iterator[str]:
        """Run `terrazzo serve` while the block runs; yields the address."""
        log = self.home.parent / f"{self.home.name}-serve.log"
        with log.open("w") as file:
            server = subprocess.Popen(
                [*PROGRAM, "serve", "--port", "0", *map(str, options)],
                stdout=file,
                stderr=file,
                env=self.environment,
                start_new_session=True,
            )
            try:
                yield _address(server, log)
            finally:
                server.send_signal(signal.SIGINT)
                try:
                    server.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    os.killpg(server.pid, signal.SIGKILL)
                    server.wait()
                    raise


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    while True:
        found = re.search(r" at (http://\S+)", log.read_text())
        if found:
            return found[1]
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the server ended: {log.read_text()}")
