"""The server with the collections that clients ask for, run as its users run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import openeo
import pytest
from tests.conformance import material
from tests.conformance.running import Shell
from tests.server import oidc_provider
from tests.server.openapi import checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "alice", "correct horse battery staple"


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    shell: Shell
    user: str = USER
    password: str = PASSWORD

    def connect(self) -> openeo.Connection:
        """Return a connection whose every answer is compared with the API."""
        connection = openeo.connect(self.url)
        checked(connection.session)
        return connection


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    shell = Shell(folder / "home")
    material.make(folder / "files", shell)
    shell("user", "add", USER, given=f"{PASSWORD}\n")
    with oidc_provider.provider(shared) as issuer:
        providers = oidc_provider.settings_file(folder, issuer)
        with shell.serving("--oidc", providers) as url:
            yield Served(url, shell)


@pytest.fixture
def connection(served: Served) -> openeo.Connection:
    """A connection of somebody who has logged in with a password."""
    return served.connect().authenticate_basic(served.user, served.password)
