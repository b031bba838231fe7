"""Listens on a port: checks it first, says where it is, and runs until it is told to stop."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import override

from terrazzo.drivers.ready import make_ready
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.progress import Cancelled, Progress
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from terrazzo.drivers.job import Workspace
    from terrazzo.server.settings import ServerSettings

log = logging.getLogger(__name__)

SOON = 3.0
"""Seconds in which kernels are loaded if they were compiled before."""
PATIENCE = 5.0
"""Seconds that the end waits for a kernel that is being compiled."""


def listen(
    workspace: Workspace,
    host: str,
    port: int,
    *,
    ready: Callable[[str], None],
    say: Callable[[str], None],
    settings: ServerSettings | None = None,
) -> None:
    """Serve until Ctrl-C, and meanwhile load or compile the kernels of ordinary graphs.

    Args:
        workspace: see `create_app`.
        host: address to listen on.
        port: 0 is any free one.
        ready: called once, with the address, as soon as requests are answered.
        say: told if kernels have to be compiled.
        settings: see `create_app`.

    Raises:
        ArgumentInvalid: the address or port cannot be had.
    """
    with bound(host, port) as listener:
        server = _server(workspace, settings)
        server.when_ready = lambda: ready(url_of(listener))
        with contextlib.suppress(KeyboardInterrupt), preparing(say):
            server.run(sockets=[listener])


@contextlib.contextmanager
def preparing(say: Callable[[str], None]) -> Iterator[None]:
    """Make kernels ready in a thread while the block runs; `say` is told if it takes long."""
    progress = _Stoppable()
    told = threading.Timer(
        SOON,
        lambda: say(
            "Compiling, once after an installation. The first tiles take up to a minute meanwhile."
        ),
    )

    def prepare() -> None:
        try:
            make_ready(progress, extraction=False)
        except Cancelled:
            pass
        except (TerrazzoError, OSError) as error:
            log.warning("Kernels were not compiled beforehand: %s", error)
        finally:
            told.cancel()

    thread = threading.Thread(target=prepare, name="kernels", daemon=True)
    told.start()
    thread.start()
    try:
        yield
    finally:
        progress.stopped = True
        told.cancel()
        thread.join(PATIENCE)


class _Stoppable(Progress):
    """Stops what it watches as soon as it is asked to."""

    stopped = False

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.stopped:
            raise Cancelled


@contextlib.contextmanager
def serving(
    workspace: Workspace,
    host: str = "127.0.0.1",
    port: int = 0,
    settings: ServerSettings | None = None,
) -> Iterator[str]:
    """Serve in a thread while the block runs; yields the address. Port 0 is any free one.

    Raises:
        ArgumentInvalid: the address or port cannot be had.
    """
    ready = threading.Event()
    with bound(host, port) as listener:
        server = _server(workspace, settings)
        server.when_ready = ready.set
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not ready.wait(0.05) and thread.is_alive():
                pass
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


def _server(workspace: Workspace, settings: ServerSettings | None) -> _Server:
    app = create_app(workspace, settings)
    return _Server(uvicorn.Config(app, log_level="warning", access_log=False))


class _Server(uvicorn.Server):
    """Tells when it has started."""

    when_ready: Callable[[], None]

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.when_ready()


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


def url_of(listener: socket.socket) -> str:
    """Return the address of a listening socket, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
    return f"http://{shown}:{port}"
