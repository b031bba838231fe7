"""A server as a program of its own: `terrazzo serve`, and one that holds requests, too.

python -m tests.server.program HOME SECONDS_OF_GRACE
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds that a busy machine may take to start a server."""
# A shell that starts the tests in the background makes them, and their children, ignore Ctrl-C.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
SERVE = (sys.executable, "-c", f"{HEED}; from terrazzo.cli import main; main()", "serve")


@dataclass(eq=False)
class Program:
    """A server that runs."""

    process: subprocess.Popen[str]
    url: str

    def line(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask over a connection of its own."""
        line = self.line()
        line.request("GET", urlsplit(self.url).path + path)
        answer = line.getresponse()
        found = answer.status, answer.read()
        line.close()
        return found

    def json(self, path: str) -> Any:
        status, content = self.get(path)
        assert status == 200, content
        return json.loads(content)

    def children(self) -> list[int]:
        """Return all processes below this one."""
        return descendants(self.process.pid)

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Return exit status and stderr, once it has ended."""
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


def descendants(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                found.append((int(entry.name), int(fields[1])))
    wanted, level = [], [pid]
    while level:
        level = [child for child, parent in found if parent in level]
        wanted += level
    return wanted


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_gone(pids: Sequence[int], seconds: float = PATIENCE) -> bool:
    """Wait until none of some processes runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(runs(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


@contextmanager
def running(command: Sequence[str], home: Path, **environment: str) -> Iterator[Program]:
    """Run a server while the block runs; what is left of it afterwards is killed."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"TERRAZZO_HOME": str(home)} | environment,
    )  # fmt: skip
    try:
        yield Program(process, address(process))
    finally:
        for pid in [*descendants(process.pid), process.pid]:
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def address(process: subprocess.Popen[str]) -> str:
    """Wait for the line that tells the address."""
    assert process.stderr is not None
    told, end = b"", time.monotonic() + PATIENCE
    while time.monotonic() < end:
        # Not by lines: a second one that is read ahead would not be seen as coming.
        if not select.select([process.stderr], [], [], 1)[0]:
            if process.poll() is not None:
                break
            continue
        piece = os.read(process.stderr.fileno(), 1 << 16)
        told += piece
        if found := re.search(rb" at (http\S+)\s", told):
            return found[1].decode()
        if not piece:
            break
    raise AssertionError(told.decode())


def serve(home: Path, *options: str, **environment: str) -> Any:
    """Run `terrazzo serve` on a free port while the block runs."""
    return running((*SERVE, "--port", "0", *options), home, **environment)


def main(home: str, grace: str) -> None:
    """Serve a home folder, with a route that answers once there is a file of some name.

    That it was asked is told by a file of that name and `.asked`.
    """
    from terrazzo.drivers.job import Workspace  # noqa: PLC0415 - only the server needs it
    from terrazzo.server.app import create_app  # noqa: PLC0415 - as above
    from terrazzo.server.running.listen import bound, url_of  # noqa: PLC0415 - as above
    from terrazzo.server.running.process import Web, leave  # noqa: PLC0415 - as above
    from terrazzo.server.settings import ServerSettings  # noqa: PLC0415 - as above

    settings = ServerSettings(grace_seconds=float(grace), job_workers=0)
    app = create_app(Workspace.of(Path(home)), settings)

    @app.get("/held/{name}")
    def held(name: str) -> str:
        (Path(home) / f"{name}.asked").touch()
        while not (Path(home) / name).exists():
            time.sleep(0.02)
        return name

    with bound("127.0.0.1", 0) as listener:
        url = url_of(listener)
        Web(app, settings, lambda: print(f"Serving at {url} ", file=sys.stderr)).until_told(  # noqa: T201
            listener
        )
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
