"""What every test gets: no network, few threads, repeatable random cases, the shared data."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_CI = os.environ.get("CI") == "true"

# Read when numba is imported, so before any test module.
os.environ.setdefault("NUMBA_NUM_THREADS", str(min(2, os.cpu_count() or 1)))

# No deadline: the first example of a test may have to compile its kernels.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("dev", deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci" if IN_CI else "dev")

KERNELS_S = 600.0
"""What making kernels ready may take on a machine that does much else."""
NOWHERE = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class NetworkBlockedError(RuntimeError):
    """A test reached for the network. No OSError: the code under test must not survive it."""


def is_loopback(host: object) -> bool:
    """Tell whether `host` names this machine without asking a resolver."""
    if isinstance(host, bytes):
        host = host.decode()
    if host in {None, "", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def guarded(call: Callable[..., object], find_host: Callable[..., object]) -> Callable[..., object]:
    """Return `call`, refusing every host but loopback."""

    def guard(*args: object, **kwargs: object) -> object:
        host = find_host(*args, **kwargs)
        if not is_loopback(host):
            raise NetworkBlockedError(
                f"A test reached for {host!r}. Tests see loopback only: serve the data from "
                "127.0.0.1, or put a trimmed fixture beside the test."
            )
        return call(*args, **kwargs)

    return guard


def destination(sock: socket.socket, *args: object) -> object:
    """Return the host that a call on `sock` means; None for local families."""
    address = args[-1]
    return address[0] if isinstance(address, tuple) and sock.family != socket.AF_UNIX else None


def stream_destination(sock: socket.socket, *args: object) -> object:
    """Like `destination`; a datagram socket sends nothing on connect (Dask asks so for its IP)."""
    return None if sock.type == socket.SOCK_DGRAM else destination(sock, *args)


@pytest.fixture(scope="session", autouse=True)
def no_leftovers() -> Iterator[None]:
    """Have all that tests start end with them, even if they are killed."""
    value = uuid.uuid4().hex
    leftovers.watch(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(leftovers.MARK, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Refuse connections from this process, and point GDAL and child processes at a dead proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            call = getattr(socket.socket, name)
            patch.setattr(socket.socket, name, guarded(call, stream_destination))
        patch.setattr(socket.socket, "sendto", guarded(socket.socket.sendto, destination))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
            call = getattr(socket, name)
            patch.setattr(socket, name, guarded(call, lambda host, *_, **__: host))
        for name in PROXIES:
            patch.setenv(name, NOWHERE)
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "localhost,127.0.0.1,::1")
        yield


@pytest.fixture
def alone() -> None:
    """Wait until no server of other tests in this process makes kernels ready.

    That would be heard and counted by tests of what this process does: spans, memory, CPU time.
    """
    end = time.monotonic() + KERNELS_S
    for thread in threading.enumerate():
        if thread.name == "kernels":
            thread.join(max(end - time.monotonic(), 0.0))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data that `TERRAZZO_SHARED` names; tests without it are skipped."""
    named = os.environ.get("TERRAZZO_SHARED")
    if not named:
        pytest.skip("needs real data: set TERRAZZO_SHARED to the path of the shared folder")
    folder = Path(named)
    if not folder.is_dir():
        reason = f"TERRAZZO_SHARED={named!r} is no folder"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses the shared folder, so that `-m 'not shared'` leaves it out.

    What takes a real HTCondor runs only where its marker is asked for, other choices or not.
    """
    if "condor" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("condor")]
        items[:] = [item for item in items if not item.get_closest_marker("condor")]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
