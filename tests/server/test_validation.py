"""Validation: all mistakes at once, with openEO's codes and where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.graphs import load, node, ref
from tests.server.small import graph

from terrazzo.server.app import create_app
from terrazzo.server.openeo.validation import LARGEST_OF_STRANGERS
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from terrazzo.drivers.job import Workspace


def errors(client: TestClient, document: Any) -> list[dict[str, Any]]:
    """Return what is wrong with a process."""
    answer = client.post("/validation", json=document)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["errors"]
    return found


def of(**nodes: Any) -> dict[str, Any]:
    """Return a process with these nodes."""
    return {"process_graph": nodes}


def test_a_valid_process_has_no_errors(api: TestClient) -> None:
    assert errors(api, graph(save=True)) == []


def test_long_bodies_are_read_like_short_ones(api: TestClient) -> None:
    long = graph(save=True) | {"description": "x" * 300_000}

    assert errors(api, long) == []


def test_an_empty_process_is_told_to_have_no_graph(api: TestClient) -> None:
    assert [error["code"] for error in errors(api, {})] == ["ProcessGraphMissing"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": NaN}', b'{"a": 1e999}', b"\xff{}"])
def test_what_is_no_object_is_refused(api: TestClient, content: bytes) -> None:
    answer = api.post("/validation", content=content, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (400, "RequestInvalid")


@pytest.mark.parametrize("text", [r"\ud800", r"\u0000", r"\\\u0000"])
def test_texts_that_cannot_be_kept_are_refused(api: TestClient, text: str) -> None:
    content = b'{"process_graph": {"a": {"process_id": "' + text.encode() + b'"}}}'

    answer = api.post("/validation", content=content, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (400, "RequestInvalid")


def test_a_backslash_before_u0000_is_text(api: TestClient) -> None:
    content = rb'{"process_graph": {"a": {"process_id": "\\u0000", "arguments": {}}}}'

    answer = api.post("/validation", content=content, headers={"content-type": "application/json"})

    assert [error["code"] for error in answer.json()["errors"]] == ["ProcessUnsupported"]


def test_bodies_that_do_not_say_that_they_are_json_are_refused(api: TestClient) -> None:
    content = json.dumps(graph()).encode()

    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = api.post("/validation", content=content, headers={"content-type": kind})

        assert (answer.status_code, answer.json()["code"]) == (400, "ContentTypeInvalid")


def test_all_mistakes_of_a_graph_are_told_with_node_and_path(api: TestClient) -> None:
    found = errors(
        api,
        of(
            one=node("ad", x=1, y=2),
            two=node("add", x=1, z=2),
            three=node("add", x=ref("nowhere"), y=True, result=True),
        ),
    )

    told = {(error["code"], error["node"], error["path"]) for error in found}
    assert ("ProcessUnsupported", "one", "$.process_graph.one.process_id") in told
    assert ("ProcessParameterUnsupported", "two", "$.process_graph.two.arguments.z") in told
    assert ("ProcessParameterRequired", "two", "$.process_graph.two.arguments.y") in told
    assert ("ProcessParameterInvalid", "three", "$.process_graph.three.arguments.y") in told
    assert {node for _, node, _ in told} == {"one", "two", "three"}
    assert len({error["id"] for error in found}) == len(found)


def test_mistakes_that_only_data_show_are_told_of_every_branch(api: TestClient) -> None:
    found = errors(
        api,
        of(
            gone=load(id="nothing"),
            bands=load(bands=["red", "blue"]),
            far=load(spatial_extent={"west": 0, "east": 1, "south": 0, "north": 1}),
            one=node("merge_cubes", cube1=ref("gone"), cube2=ref("bands")),
            two=node("merge_cubes", cube1=ref("one"), cube2=ref("far"), result=True),
        ),
    )

    assert {(error["code"], error["path"]) for error in found} == {
        ("CollectionNotFound", "$.process_graph.gone"),
        ("BandNotFound", "$.process_graph.bands"),
        ("NoDataAvailable", "$.process_graph.far"),
    }


def test_mistakes_inside_a_process_of_the_user_are_told_where_it_is_called(
    api: TestClient,
) -> None:
    api.put("/process_graphs/gone", json=of(l=load(id="nothing") | {"result": True}))
    found = errors(api, {"process": of(call=node("gone", result=True))})
    api.delete("/process_graphs/gone")

    assert [(e["code"], e["node"], e["path"]) for e in found] == [
        ("CollectionNotFound", "call", "$.process.process_graph.call")
    ]


def test_parameters_without_values_are_no_mistake(api: TestClient) -> None:
    document = of(a=node("add", x={"from_parameter": "x"}, y=1, result=True))
    declared = document | {"parameters": [{"name": "x", "description": "", "schema": {}}]}

    assert errors(api, document) == []
    assert errors(api, declared) == []


def test_formats_that_cannot_hold_the_result_are_told(api: TestClient) -> None:
    found = errors(
        api, of(load=load(), save=node("save_result", data=ref("load"), format="CSV", result=True))
    )

    assert [(error["code"], error["node"]) for error in found] == [("FormatUnsuitable", "save")]


def failing() -> dict[str, Any]:
    """Return a process whose code of a user fails."""
    code = "def apply_datacube(cube, context):\n    return 1 / 0\n"
    call = node("run_udf", data={"from_parameter": "data"}, udf=code, runtime="Python", result=True)
    return of(
        load=load(),
        udf=node(
            "apply_dimension",
            data=ref("load"),
            dimension="t",
            process={"process_graph": {"u": call}},
            result=True,
        ),
    )


def test_code_of_users_that_fails_is_told(api: TestClient) -> None:
    found = errors(api, failing())

    assert [(error["code"], error["node"]) for error in found] == [("UdfFailed", "udf")]
    assert "division by zero" in found[0]["message"]


def test_code_of_strangers_is_not_run(workspace: Workspace) -> None:
    with TestClient(create_app(workspace, ServerSettings(open=False))) as client:
        assert errors(client, failing()) == []


def test_the_payloads_of_the_test_suite_are_valid(api: TestClient) -> None:
    folder = Path(os.environ["TERRAZZO_SHARED"]) / "openeo" / "payload_examples"
    (path,) = (folder / "post_validation").glob("*.json")

    assert errors(api, json.loads(path.read_text())) == []


def test_messages_tell_no_path_of_the_server(api: TestClient, workspace: Workspace) -> None:
    answer = api.post("/validation", json=of(load=load(id="nothing") | {"result": True}))

    assert str(workspace.home) not in answer.text


def test_anybody_may_validate(workspace: Workspace) -> None:
    with TestClient(create_app(workspace, ServerSettings(open=False))) as client:
        assert errors(client, graph(save=True)) == []


def test_strangers_send_small_graphs_only(workspace: Workspace) -> None:
    large = {"process_graph": {}, "description": "x" * LARGEST_OF_STRANGERS}
    with TestClient(create_app(workspace, ServerSettings(open=False))) as client:
        refused = client.post("/validation", json=large)
    with TestClient(create_app(workspace)) as client:
        answered = client.post("/validation", json=large)

    assert (refused.status_code, answered.status_code) == (413, 200)
