"""A server over the small collection, with one service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.openapi import checked
from tests.server.small import graph, made_service, make_home

from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.job import Workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def service(client: TestClient) -> dict[str, Any]:
    """Return what a map needs to know of a service that shows NDVI, for everybody."""
    shown = {"min": 0.0, "max": 1.0, "colors": "rdylgn", "scope": "public"}
    name = made_service(client, graph(), title="NDVI", configuration=shown)
    told: dict[str, Any] = client.get(f"/services/{name}/map").json()
    return told


@pytest.fixture
def api(workspace: Workspace, shared: Path) -> Iterator[TestClient]:
    """A client whose every answer is held against the text of the openEO API."""
    assert shared
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        yield checked(client)
