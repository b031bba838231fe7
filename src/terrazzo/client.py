"""`terrazzo.connect`: the official openEO client, connected to a server here or elsewhere."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from terrazzo.errors import TerrazzoError

if TYPE_CHECKING:
    from openeo.rest.connection import Connection

_COMMAND = (sys.executable, "-c", "from terrazzo.cli import main; main()")
_SERVE = (
    "serve", "--embedded", "--host", "127.0.0.1", "--port", "0", "--public-url", "", "--workers",
    "1", "--grace", "1",
)  # fmt: skip
_END_SECONDS = 5.0
_SAID = 2000
"""Bytes of a log that are shown of a server that did not start."""

_servers: dict[Path | None, _Server] = {}
_starting = threading.Lock()


class ClientMissing(TerrazzoError):
    """The official client of openEO is not installed."""

    code, status = "ClientMissing", 501


class ServerNotStarted(TerrazzoError):
    """A server for this process alone did not start."""

    code, status = "ServerNotStarted", 500


def connect(
    url: str | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    log: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Connection:
    """Connect the official openEO client to a Terrazzo server.

    Without an address a server is started on this machine, over the files of a home folder. It
    answers only this user, needs no log-in, is shared by all connections of this Python process,
    and ends with it.

    Args:
        url: address of a server; any back end of openEO will do.
        home: folder of the catalogue and its files; without one that of the command `terrazzo`.
        log: file for the log of a server that is started; without one it is not kept. Of a server
            that runs already, home and log are as they were.
        options: passed on to `openeo.connect`.

    Returns:
        The client's own connection.

    Raises:
        ClientMissing: the official client is not installed.
        ServerNotStarted: there is no server because, for example, the folder cannot be written.
    """
    try:
        from openeo.rest import connection as client  # noqa: PLC0415 - optional, and slow to load
    except ImportError as error:
        raise ClientMissing(
            "The official openEO client is not installed. Run: pip install 'terrazzo[client]'"
        ) from error
    if url is not None:
        return client.connect(url, **options)
    import requests  # noqa: PLC0415 - comes with the client

    if "session" not in options:
        session = requests.Session()
        session.trust_env = False  # a proxy would look for the server on its own machine
        options["session"] = session
    return client.connect(_server(home, log).url, **options)


def _server(home: str | os.PathLike[str] | None, log: str | os.PathLike[str] | None) -> _Server:
    """Return the server of a home folder, started unless it runs."""
    folder = None if home is None else Path(home).expanduser().absolute()
    with _starting:
        server = _servers.get(folder)
        if server is None or not server.runs():
            server = _servers[folder] = _Server(folder, log)
        return server


class _Server:
    """A server in a child process, which ends when its stdin does."""

    def __init__(self, home: Path | None, log: str | os.PathLike[str] | None) -> None:
        command = [*_COMMAND, *(() if home is None else ("--home", str(home))), *_SERVE]
        with _file(log) as told:
            self._process = subprocess.Popen(  # noqa: S603 - this program
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told,
                start_new_session=True,
            )  # fmt: skip
            self._owner = os.getpid()
            atexit.register(self.end)
            self.url = self._greeted()
            if not self.url:
                self.end()
                raise ServerNotStarted(f"The server could not be started. {_said(told)}")

    def _greeted(self) -> str:
        """Send the secret, and return the address that the server tells when it answers."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return ""
        with contextlib.suppress(BrokenPipeError):
            stdin.write(secrets.token_urlsafe(32).encode() + b"\n")
            stdin.flush()
        with stdout:
            return stdout.readline().decode().strip()

    def runs(self) -> bool:
        """Tell whether it answers this process."""
        return self._owner == os.getpid() and self._process.poll() is None

    def end(self) -> None:
        """End it, unless this is a fork of the process that it belongs to."""
        if self._owner != os.getpid() or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _file(log: str | os.PathLike[str] | None) -> IO[bytes]:
    """Return where a server writes its log: a file without a name, if nobody wants it."""
    return Path(log).open("a+b") if log else TemporaryFile()


def _said(file: IO[bytes]) -> str:
    """Return the last lines of a log."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _SAID))
    return file.read().decode(errors="replace").strip().removeprefix("Error: ")
