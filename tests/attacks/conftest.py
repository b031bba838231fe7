from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.watch import Bell, Site, watched
from tests.attacks.world import Attacked, write_canary
from tests.server.people import CHEAP
from tests.server.stac_written import world

from terrazzo.ledger import passwords

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC = "93.184.215.14"


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """Run a server that may read one site, `data.example`, and `loop.example` by mistake."""
    folder = tmp_path_factory.mktemp("attacked")
    canary = write_canary(folder / "outside")
    (folder / "site").mkdir()
    site, bell = Site(folder / "site"), Bell()
    hosts = (site.host, "data.example", "loop.example")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passwords, "_HASHER", CHEAP)
        patched.setattr(socket, "getaddrinfo", _resolver(socket.getaddrinfo))
        with world(folder / "home", files=hosts) as there, watched(canary.parent) as watch:
            yield Attacked(there, site, bell, watch, canary)
    site.close()
    bell.close()


def _resolver(known: Any) -> Any:
    """Return a resolver for which `data.example` is public and `loop.example` is this machine."""

    def resolve(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host == "data.example":
            return known(PUBLIC, port, *more, **named)
        if host == "loop.example":
            return known("127.0.0.1", port, *more, **named)
        if host in {"127.0.0.1", "localhost", "::1", None}:
            return known(host, port, *more, **named)
        raise socket.gaierror(socket.EAI_NONAME, "there is no network in tests")

    return resolve
