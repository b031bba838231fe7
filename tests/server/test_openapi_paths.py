"""What the server says it offers is what the openEO API has, and it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient
from tests.server.openapi import checked, route_of, routes

from terrazzo.server.app import create_app
from terrazzo.server.settings import OidcProvider, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace

BEGINNINGS = {"/", "/.well-known/openeo"}
"""Where clients are before they read what is offered."""

pytestmark = pytest.mark.usefixtures("shared")


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    """A server on which people log in in both ways."""
    provider = OidcProvider("test", "http://127.0.0.1:9")
    app = create_app(workspace, ServerSettings(open=False, providers=(provider,)))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield checked(client)


def test_every_operation_of_the_api_is_offered(client: TestClient) -> None:
    endpoints = client.get("/").json()["endpoints"]

    told = {(one["path"], method) for one in endpoints for method in one["methods"]}

    meant = {(route.template, method) for route in routes() for method in route.operations}
    assert {pair for pair in meant if pair[0] not in BEGINNINGS} <= told


def test_every_operation_that_is_offered_is_there(client: TestClient) -> None:
    endpoints = client.get("/").json()["endpoints"]

    answers = {
        (one["path"], method): client.request(method, one["path"].replace("{", "").replace("}", ""))
        for one in endpoints
        for method in one["methods"]
        if route_of(one["path"]) is not None
    }

    codes = {pair: answer.json().get("code") for pair, answer in answers.items() if answer.content}
    assert [pair for pair, code in codes.items() if code in {"NotFound", "MethodNotAllowed"}] == []
