"""Listens on a port: checks it first, says where it is, and runs until it is told to stop."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from typing import TYPE_CHECKING

from terrazzo.errors import ArgumentInvalid
from terrazzo.ledger.worker import WorkerOptions
from terrazzo.ledger.workers import JobWorkers
from terrazzo.server.app import create_app
from terrazzo.server.running.kernels import preparing
from terrazzo.server.running.members import Members
from terrazzo.server.running.process import Web, leave
from terrazzo.server.settings import ServerSettings
from terrazzo.server.web.log import set_up_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

    from terrazzo.drivers.job import Workspace

log = logging.getLogger(__name__)


def listen(
    workspace: Workspace,
    host: str,
    port: int,
    *,
    ready: Callable[[str], None],
    say: Callable[[str], None],
    settings: ServerSettings | None = None,
) -> NoReturn:
    """Serve until Ctrl-C or SIGTERM, then end the process; a second signal ends it at once.

    Meanwhile kernels of ordinary graphs are loaded or compiled, and jobs run.

    Args:
        workspace: see `create_app`.
        host: address to listen on.
        port: 0 is any free one.
        ready: called once, with the address, as soon as requests are answered.
        say: told if kernels have to be compiled.
        settings: see `create_app`.

    Raises:
        ArgumentInvalid: the address or port cannot be had.
        CatalogUnusable, DatabaseUnusable, OutputFailed: see `create_app`.
        ServerFailed: of several processes one cannot start.
    """
    settings = settings or ServerSettings()
    set_up_log(settings.log)
    with bound(host, port) as listener:
        url = url_of(listener, settings.secret)
        if settings.workers > 1:
            # Made and checked here, once, so that the processes find everything in place.
            create_app(workspace, settings).state.parts.close()
            with jobs_run(workspace, settings), Members(workspace, settings, listener) as members:
                members.run(lambda: ready(url))
        else:
            web = Web(create_app(workspace, settings), settings, lambda: ready(url))
            with jobs_run(workspace, settings), preparing(say, workspace.home):
                web.until_told(listener)
    leave()


@contextlib.contextmanager
def serving(
    workspace: Workspace,
    host: str = "127.0.0.1",
    port: int = 0,
    settings: ServerSettings | None = None,
) -> Iterator[str]:
    """Serve in a thread while the block runs; yields the address. Port 0 is any free one.

    A server that does not end some time after it was told to is left behind.

    Raises:
        ArgumentInvalid: the address or port cannot be had.
    """
    settings = settings or ServerSettings()
    ready = threading.Event()
    with bound(host, port) as listener, jobs_run(workspace, settings):
        web = Web(create_app(workspace, settings), settings, ready.set)
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not ready.wait(0.05) and thread.is_alive():
                pass
            yield url_of(listener, settings.secret)
        finally:
            web.should_exit = True
            thread.join(web.patience)
            if thread.is_alive():
                log.error("The server at %s does not end, and is left behind.", host)


def jobs_run(workspace: Workspace, settings: ServerSettings) -> JobWorkers:
    """Return what runs the jobs of a server, for a `with` block."""
    limits = settings.limits
    options = WorkerOptions(
        settings.job_workers,
        memory_bytes=settings.job_memory_bytes,
        most_pixels=limits.job_pixels,
        quota_bytes=limits.quota_bytes,
        elsewhere=settings.elsewhere,
    )
    return JobWorkers(workspace, settings.database, options)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that has the address.

    Raises:
        ArgumentInvalid: somebody else has it, or it is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ArgumentInvalid(
            f"{host!r} is no address of this machine ({error.strerror}). Use --host 127.0.0.1, or "
            "0.0.0.0 for every network."
        ) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ArgumentInvalid(
                f"Port {port} of {host} is in use. Choose another one with --port, for example "
                f"--port {port + 1 if port < 65535 else 8080}, or --port 0 for any free one."  # noqa: PLR2004 - the last port
            ) from error
        raise ArgumentInvalid(
            f"Cannot listen on port {port} of {host}: {error.strerror}. Choose others with --host "
            "and --port (ports below 1024 are the system's)."
        ) from error
    return listener


def url_of(listener: socket.socket, secret: str = "") -> str:
    """Return the address of a listening socket, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
    return f"http://{shown}:{port}" + (f"/{secret}" if secret else "")
