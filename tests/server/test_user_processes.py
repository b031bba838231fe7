"""User-defined processes over HTTP, and graphs that call them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.graphs import node, ref

from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace

NUMBER = {"type": "number"}
DOUBLE = {
    "summary": "Twice",
    "description": "The double of a number.",
    "parameters": [{"name": "x", "description": "A number.", "schema": NUMBER}],
    "returns": {"description": "The double.", "schema": NUMBER},
    "process_graph": {"m": node("multiply", x={"from_parameter": "x"}, y=2, result=True)},
}


@pytest.fixture
def stored(api: TestClient) -> Iterator[TestClient]:
    """A client for whom `double` is stored."""
    answer = api.put("/process_graphs/double", json=DOUBLE)
    assert (answer.status_code, answer.content) == (200, b"")
    yield api
    for one in api.get("/process_graphs").json()["processes"]:
        api.delete(f"/process_graphs/{one['id']}")


def test_a_stored_process_is_listed_and_told(stored: TestClient) -> None:
    listed = stored.get("/process_graphs").json()["processes"]
    told = stored.get("/process_graphs/double").json()

    assert [one["id"] for one in listed] == ["double"]
    assert "process_graph" not in listed[0]
    assert told == {"id": "double", **DOUBLE}


def test_pages_follow_each_other(stored: TestClient) -> None:
    stored.put("/process_graphs/another", json=DOUBLE)

    first = stored.get("/process_graphs?limit=1").json()
    (following,) = [link["href"] for link in first["links"] if link["rel"] == "next"]
    second = stored.get(following).json()

    assert [one["id"] for one in first["processes"] + second["processes"]] == ["another", "double"]
    assert not [link for link in second["links"] if link["rel"] == "next"]


@pytest.mark.parametrize("keys", [["\0"], ["\ud800"], [1], ["a", "b"], "a", None])
def test_places_in_the_list_that_cannot_be_are_refused(api: TestClient, keys: Any) -> None:
    made_up = base64.urlsafe_b64encode(json.dumps(keys).encode()).decode()

    answer = api.get(f"/process_graphs?limit=1&after={made_up}")

    assert (answer.status_code, answer.json()["code"]) == (400, "RequestInvalid")


def test_what_is_not_there_is_not_found(api: TestClient) -> None:
    for method in ("GET", "DELETE"):
        answer = api.request(method, "/process_graphs/nothing")

        assert (answer.status_code, answer.json()["code"]) == (404, "ProcessGraphNotFound")


def test_a_deleted_process_cannot_be_called(stored: TestClient) -> None:
    graph = {"process_graph": {"d": node("double", x=1, result=True)}}

    before = stored.post("/validation", json=graph).json()["errors"]
    stored.delete("/process_graphs/double")
    after = stored.post("/validation", json=graph).json()["errors"]

    assert before == []
    assert [error["code"] for error in after] == ["ProcessUnsupported"]


@pytest.mark.parametrize("namespace", [None, "user"])
def test_a_graph_calls_it_by_its_name(stored: TestClient, namespace: str | None) -> None:
    call = node("double", x=ref("one"), result=True) | {"namespace": namespace}
    graph = {"one": node("add", x=1, y=2), "two": call}

    answer = stored.post("/result", json={"process": {"process_graph": graph}})

    assert answer.json() == 6


def test_it_is_checked_like_any_process(stored: TestClient) -> None:
    graph = {
        "without": node("double"),
        "wrong": node("double", x="text"),
        "unknown": node("double", x=1, y=2, result=True),
    }

    errors = stored.post("/validation", json={"process_graph": graph}).json()["errors"]

    assert {(error["code"], error["node"]) for error in errors} == {
        ("ProcessParameterRequired", "without"),
        ("ProcessParameterInvalid", "wrong"),
        ("ProcessParameterInvalid", "wrong/m"),
        ("ProcessParameterUnsupported", "unknown"),
    }


def test_processes_that_call_each_other_in_a_circle_are_reported(stored: TestClient) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        graph = {"process_graph": {"n": node(other, result=True)}}
        assert stored.put(f"/process_graphs/{name}", json=graph).status_code == 200

    errors = stored.post(
        "/validation", json={"process_graph": {"n": node("a", result=True)}}
    ).json()["errors"]

    assert [error["code"] for error in errors] == ["ProcessGraphInvalid"]
    assert "cycle" in errors[0]["message"]


@pytest.mark.parametrize(
    ("name", "document", "code"),
    [
        ("add", DOUBLE, "PredefinedProcessExists"),
        ("a%20b", DOUBLE, "ProcessGraphIdDoesntMatch"),
        ("mine", {}, "ProcessGraphMissing"),
        ("mine", {"process_graph": {"a": 1}}, "ProcessGraphInvalid"),
        ("mine", DOUBLE | {"parameters": 1}, "ProcessInvalid"),
        ("mine", [], "RequestInvalid"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    api: TestClient, name: str, document: Any, code: str
) -> None:
    answer = api.put(f"/process_graphs/{name}", json=document)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_process_without_a_body_is_refused(api: TestClient) -> None:
    assert api.put("/process_graphs/mine").status_code == 400


def test_strangers_have_no_processes(workspace: Workspace) -> None:
    with TestClient(create_app(workspace, ServerSettings(open=False))) as client:
        answers = [
            client.get("/process_graphs"),
            client.get("/process_graphs/double"),
            client.put("/process_graphs/double", json=DOUBLE),
            client.delete("/process_graphs/double"),
        ]

    assert {answer.status_code for answer in answers} == {401}
