"""A server over the small collection, with one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.small import graph, make_home

from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def layer(client: TestClient) -> dict[str, Any]:
    style = {"min": 0.0, "max": 1.0, "colors": "rdylgn"}
    answer = client.post("/layers", json=graph() | {"title": "NDVI", "style": style})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told
