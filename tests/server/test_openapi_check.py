"""The check of answers against the openEO API itself: it accepts what is right and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from starlette.testclient import TestClient
from tests.server.openapi import NotOpenEO, check, checked, route_of, routes

if TYPE_CHECKING:
    from pathlib import Path


JSON = {"Content-Type": "application/json"}
JOB = {
    "id": "j",
    "status": "created",
    "created": "2024-01-01T00:00:00Z",
    "process": {"process_graph": {"n": {"process_id": "e", "arguments": {}}}},
}
SERVICE_TYPE = {
    "configuration": {"min": {"type": "number", "description": "Black."}},
    "process_parameters": [],
}
ERROR = {"code": "JobNotFound", "message": "There is no such job."}

pytestmark = pytest.mark.usefixtures("shared")


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def told_of(*answer: Any) -> str:
    with pytest.raises(NotOpenEO) as caught:
        check(*answer)
    return str(caught.value)


def test_every_path_of_the_api_is_known(shared: Path) -> None:
    text = (shared / "openeo" / "openapi.yaml").read_text()
    section = text[text.index("\npaths:") : text.index("\ncomponents:")]

    written = [line[2:].strip("'\":") for line in section.splitlines() if line[2:3] in {"/", "'"}]

    assert {route.template for route in routes()} == set(written)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/jobs/a", "/jobs/{job_id}"),
        ("/jobs/a/logs", "/jobs/{job_id}/logs"),
        ("/files/a/b.tif", "/files/{path}"),
        ("/collections/S2/queryables", "/collections/{collection_id}/queryables"),
    ],
)
def test_path_is_found(path: str, template: str) -> None:
    found = route_of(path)

    assert found is not None
    assert found.template == template


def test_paths_of_our_own_are_not_of_the_api() -> None:
    assert route_of("/maps/a") is None
    assert route_of("/jobs/a/b") is None


def test_what_is_right_passes() -> None:
    check("GET", "/jobs/j", 200, JSON, body(JOB))
    check("GET", "/jobs/j", 200, JSON, body(JOB | {"title": None, "costs": 3}))
    check("GET", "/jobs/j", 404, JSON, body(ERROR))
    check("DELETE", "/jobs/j", 204, {}, b"")
    check("POST", "/result", 200, {"Content-Type": "image/tiff"}, b"II*")
    check("GET", "/maps", 200, {}, b"ours")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (("GET", "/jobs/j", 201, JSON, body(JOB)), "the API knows 200, 4XX, 5XX here, not 201"),
        (("GET", "/jobs/j", 200, {"Content-Type": "text/plain"}, body(JOB)), "media type"),
        (("GET", "/jobs/j", 200, JSON, b"{"), "no JSON"),
        (("GET", "/jobs/j", 200, JSON, b'{"costs": NaN}'), "NaN is no JSON"),
        (("GET", "/jobs/j", 200, JSON, body(JOB | {"status": "waiting"})), "$.status"),
        (("GET", "/jobs/j", 200, JSON, body(JOB | {"progress": None})), "$.progress"),
        (("GET", "/jobs/j", 200, JSON, body(JOB | {"created": "2024-01-01"})), "$.created"),
        (("GET", "/jobs/j", 200, JSON, body({"id": "j"})), "'status' is a required property"),
        (("POST", "/jobs", 201, {}, b""), "OpenEO-Identifier"),
        (("POST", "/jobs", 201, {"OpenEO-Identifier": "j", "Location": "/jobs/j"}, b""), "absolut"),
        (("DELETE", "/jobs/j", 204, JSON, b"{}"), "204 has no body"),
        (("GET", "/jobs/j", 404, {"Content-Type": "text/html"}, b"<p>"), "errors are"),
        (("GET", "/jobs/j", 404, JSON, body({"detail": "no"})), "'code' is a required property"),
        (("GET", "/jobs/j", 400, JSON, body(ERROR)), "JobNotFound has status 404"),
        (("GET", "/maps/a", 500, {"Content-Type": "text/plain"}, b"oh"), "errors are"),
    ],
)
def test_what_is_wrong_is_told(answer: tuple[Any, ...], reason: str) -> None:
    assert reason in told_of(*answer)


def test_schemas_of_parameters_meet_the_api_as_it_is_meant_only(shared: Path) -> None:
    text = (shared / "openeo" / "openapi.yaml").read_text()

    check("GET", "/service_types", 200, JSON, body({"XYZ": SERVICE_TYPE}))

    assert refused_by_letter("process_json_schema", {"type": "string"}, text)
    assert refused_by_letter("process_json_schema", {"subtype": "datacube"}, text)


def test_ranges_of_summaries_meet_the_api_as_it_is_meant_only(shared: Path) -> None:
    text = (shared / "openeo" / "openapi.yaml").read_text()
    path = yaml.safe_load(text)["paths"]["/collections/{collection_id}"]["get"]
    content = path["responses"]["200"]["content"]["application/json"]
    ranges = {"eo:cloud_cover": {"minimum": 0, "maximum": 75}}
    told = content["example"] | {"summaries": ranges}

    check("GET", "/collections/S2", 200, JSON, body(told))

    assert refused_by_letter("collection", told, text)


def refused_by_letter(name: str, value: Any, text: str) -> bool:
    """Tell whether a value is invalid by the letter of the API."""
    components = yaml.safe_load(text)["components"]
    whole = {"components": components, "$ref": f"#/components/schemas/{name}"}
    return not jsonschema.Draft202012Validator(whole).is_valid(value)


def test_client_with_the_check_reads_answers_as_before(client: TestClient) -> None:
    answer = checked(TestClient(client.app)).get("/nothing/here")

    assert answer.json()["code"] == "NotFound"
