"""What the server says of its own API at `/openapi.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from terrazzo.server.description import BODIES

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.fixture(scope="module")
def told(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(told: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_says_what_its_errors_look_like(told: dict[str, Any]) -> None:
    for operation in operations(told).values():
        for status in ("4XX", "5XX"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Error"}
        assert "422" not in operation["responses"]


def test_every_body_is_described(told: dict[str, Any]) -> None:
    found = operations(told)
    with_body = {key for key, operation in found.items() if "requestBody" in operation}

    assert with_body >= set(BODIES)
    assert ("put", "/files/{path}") in with_body
    changing = {key for key in found if key[0] in {"post", "put", "patch"}}
    assert changing - with_body == {("post", "/jobs/{job_id}/results")}  # starts a job


def test_every_reference_leads_somewhere(told: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [one for entry in node for one in references(entry)]
        if not isinstance(node, dict):
            return []
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return [*own, *(one for value in node.values() for one in references(value))]

    names = {one.rpartition("/")[2] for one in references(told)}

    assert names
    assert names <= set(told["components"]["schemas"])


def test_who_must_log_in_is_said_and_true(client: TestClient, told: dict[str, Any]) -> None:
    found = operations(told)

    assert set(told["components"]["securitySchemes"]) == {"Bearer", "Basic"}
    assert found["post", "/jobs"]["security"] == [{"Bearer": []}]
    assert found["get", "/collections"]["security"] == [{}, {"Bearer": []}]
    assert found["get", "/credentials/basic"]["security"] == [{"Basic": []}]
    assert "security" not in found["get", "/health"]
    assert client.get("/openapi.json").headers["content-type"] == "application/json"
