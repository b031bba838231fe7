"""What the server says that it is and can do."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.graphs import load, node, ref
from tests.server.openapi import document

from terrazzo.drivers.results import RASTER_FORMATS, TABLE_FORMATS, VALUE_FORMATS, VECTOR_FORMATS
from terrazzo.sandbox import Mode, UdfRules
from terrazzo.server.app import create_app
from terrazzo.server.openeo.file_formats import NAMES
from terrazzo.server.settings import OidcProvider, ServerSettings
from terrazzo.storage.gate import _DRIVERS

if TYPE_CHECKING:
    from terrazzo.drivers.job import Workspace

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "application/json", "application/json, text/html;q=0.9", "text/html;q=0, */*"],
)
def test_programs_get_the_capabilities(api: TestClient, accept: str) -> None:
    answer = api.get("/", headers={"accept": accept})

    assert answer.json()["api_version"] == "1.2.0"
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "application/json;q=0.5, text/html"])
def test_browsers_get_the_map_at_the_same_address(workspace: Workspace, accept: str) -> None:
    with TestClient(create_app(workspace)) as client:
        answer = client.get("/", headers={"accept": accept})

    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["vary"] == "Accept"


def test_endpoints_are_the_routes_of_openeo_that_there_are(workspace: Workspace) -> None:
    app = create_app(workspace, ServerSettings(open=False, providers=(OidcProvider("a", "b"),)))
    known = {
        (path, method.upper())
        for path, methods in document()["paths"].items()
        for method in methods
        if method in {"get", "post", "put", "patch", "delete"}
    } - {("/", "GET"), ("/.well-known/openeo", "GET")}
    routes = {
        (path, method.upper())
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }

    with TestClient(app) as client:
        told = client.get("/").json()["endpoints"]

    listed = {(entry["path"], method) for entry in told for method in entry["methods"]}
    assert listed == known & routes
    assert len({entry["path"] for entry in told}) == len(told)


def test_endpoints_answer(api: TestClient) -> None:
    endpoints = api.get("/").json()["endpoints"]
    plain = [one["path"] for one in endpoints if "GET" in one["methods"] and "{" not in one["path"]]

    answers = {path: api.get(path).status_code for path in plain}

    assert {"/collections", "/processes", "/process_graphs", "/file_formats"} <= answers.keys()
    assert set(answers.values()) == {200}


def test_log_ins_are_listed_where_somebody_can_log_in(workspace: Workspace) -> None:
    def credentials(settings: ServerSettings) -> list[str]:
        with TestClient(create_app(workspace, settings)) as client:
            paths = [one["path"] for one in client.get("/").json()["endpoints"]]
        return [path for path in paths if path.startswith("/credentials")]

    assert credentials(ServerSettings(open=True)) == []
    assert credentials(ServerSettings(open=False)) == ["/credentials/basic"]


def test_the_version_listed_leads_to_the_capabilities(api: TestClient) -> None:
    (version,) = api.get("/.well-known/openeo").json()["versions"]

    told = api.get(version["url"]).json()

    assert version["url"].endswith("/")  # clients join paths to it
    assert version["api_version"] == told["api_version"]
    assert version["production"] == told["production"]


def test_links_of_the_landing_page_lead_somewhere(api: TestClient) -> None:
    links = api.get("/").json()["links"]
    rels = {link["rel"] for link in links}

    answers = {link["href"]: api.get(link["href"]).status_code for link in links}

    assert {"self", "root", "data", "conformance", "service-desc", "version-history"} <= rels
    assert set(answers.values()) == {200}


def test_links_use_the_public_address(workspace: Workspace) -> None:
    settings = ServerSettings(public_url="https://earth.example/eo/")
    with TestClient(create_app(workspace, settings)) as client:
        links = client.get("/").json()["links"]
        (version,) = client.get("/.well-known/openeo").json()["versions"]

    assert all(link["href"].startswith("https://earth.example/eo/") for link in links)
    assert version["url"] == "https://earth.example/eo/"


def test_conformance_is_that_of_the_landing_page(api: TestClient) -> None:
    told = api.get("/conformance").json()["conformsTo"]

    assert told == api.get("/").json()["conformsTo"]
    assert "https://api.openeo.org/1.2.0" in told


def test_money_is_not_spoken_of(api: TestClient) -> None:
    assert "billing" not in api.get("/").json()


def test_formats_are_those_that_are_written(api: TestClient) -> None:
    output = api.get("/file_formats").json()["output"]
    tables = {
        "raster": [RASTER_FORMATS],
        "vector": [VECTOR_FORMATS],
        "table": [TABLE_FORMATS, VALUE_FORMATS],
    }

    for kind, known in tables.items():
        written = {NAMES.get(name, name) for table in known for name in table}
        assert {n for n, told in output.items() if kind in told["gis_data_types"]} == written


@pytest.mark.parametrize("name", RASTER_FORMATS)
def test_options_of_formats_are_those_that_are_taken(api: TestClient, name: str) -> None:
    options = api.get("/file_formats").json()["output"][NAMES.get(name, name)]["parameters"]
    values = {"nodata": 0, "min": 0, "max": 1, "archive": True}
    chosen = {
        option: values.get(option, schema.get("enum", [None])[0])
        for option, schema in options.items()
    }

    def errors(**given: Any) -> list[Any]:
        graph = {
            "load": load(),
            "one": node("reduce_dimension", data=ref("load"), dimension="t", reducer=_first()),
            "save": node("save_result", data=ref("one"), format=name, options=given, result=True),
        }
        found: list[Any] = api.post("/validation", json={"process_graph": graph}).json()["errors"]
        return found

    assert errors(**chosen) == []
    assert [error["code"] for error in errors(nonsense=1)] == ["FormatArgumentUnsupported"]


def _first() -> dict[str, Any]:
    return {"process_graph": {"f": node("first", data={"from_parameter": "data"}, result=True)}}


def test_formats_that_are_read_are_listed(api: TestClient) -> None:
    told = api.get("/file_formats").json()["input"]

    images = {name for name, one in told.items() if one["gis_data_types"] == ["raster"]}
    assert images == {*_DRIVERS.values(), "netCDF", "GRIB"}
    assert {"GeoJSON", "GPKG"} <= told.keys()


def test_runtimes_have_the_libraries_that_are_installed(api: TestClient) -> None:
    told = api.get("/udf_runtimes").json()["Python"]

    libraries = told["versions"][told["default"]]["libraries"]
    assert {name: one["version"] for name, one in libraries.items()} == {
        name: importlib.metadata.version(name) for name in libraries
    }
    assert "numpy" in libraries


def test_there_is_no_runtime_where_code_of_users_is_off(workspace: Workspace) -> None:
    off = replace(workspace, udf=UdfRules(Mode.OFF))
    with TestClient(create_app(off)) as client:
        assert client.get("/udf_runtimes").json() == {}


def test_services_are_tiles(api: TestClient) -> None:
    told = api.get("/service_types").json()

    assert told.keys() == {"XYZ", "WMTS"}
    for one in told.values():
        assert {"tile_size", "minzoom", "maxzoom", "extent", "tilematrixset"} <= one[
            "configuration"
        ].keys()
