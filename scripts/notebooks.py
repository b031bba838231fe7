"""Starts JupyterLab and dashboards, for pictures and tests of what notebooks show."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "notebooks"
EVERY_SECONDS, ENDING_SECONDS = 0.1, 30


@contextmanager
def running(
    command: list[str], environment: dict[str, str], folder: Path, ready: str
) -> Iterator[str]:
    """Run a command while the block runs; yields the address that `ready` finds in what it says.

    Raises:
        RuntimeError: the command has ended before somebody answered there.
    """
    log = folder / "said.txt"
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - Jupyter, or this program
            command, cwd=folder, env={**os.environ, **environment}, stdout=said,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        while (url := _answering(log.read_text(errors="replace"), ready)) is None:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended by itself: {log.read_text()}")
            time.sleep(EVERY_SECONDS)
        yield url
    finally:
        process.terminate()
        process.wait(ENDING_SECONDS)


def _answering(said: str, ready: str) -> str | None:
    """Return the address, once it is told and somebody answers there."""
    found = re.search(ready, said)
    if found is None:
        return None
    address = urlsplit(found[1])
    try:
        socket.create_connection((str(address.hostname), address.port or 80)).close()
    except ConnectionRefusedError:
        return None
    return found[1]


@contextmanager
def jupyter_lab(
    folder: Path, environment: dict[str, str], application: str = "lab"
) -> Iterator[str]:
    """Run JupyterLab, or Notebook, over a folder while the block runs; yields its address."""
    program = str(Path(sys.executable).with_name("jupyter"))
    options = [
        "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--port=0",
        "--IdentityProvider.token=", "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    settings = {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "TERRAZZO_HOME": str(folder / "home"),
    }
    asked = folder / "settings" / "@jupyterlab" / "apputils-extension"
    asked.mkdir(parents=True, exist_ok=True)
    (asked / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    ready = r"(http://127\.0\.0\.1:\d+/)(?:lab|tree)"
    with running([program, application, *options], settings | environment, folder, ready) as url:
        yield url


@contextmanager
def dashboard(notebook: Path, home: Path) -> Iterator[str]:
    """Serve a notebook as a page while the block runs; yields its address.

    Args:
        notebook: the notebook.
        home: the home folder of whoever serves it, under which the demo's data lie.
    """
    program = str(Path(sys.executable).with_name("terrazzo"))
    environment = {"HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [program, "dashboard", str(notebook)]
    with running(command, environment, home, r"The dashboard: (\S+)") as url:
        yield url


def lend(demo: Path, home: Path) -> None:
    """Make a home folder that of somebody who has run `terrazzo demo`, with the data of `demo`."""
    place = home / ".local" / "share" / "terrazzo"
    place.mkdir(parents=True)
    (place / "demo").symlink_to(demo)
