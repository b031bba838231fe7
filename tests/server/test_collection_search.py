"""Searches of collections and the collections below the landing page."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient
from tests.server.openapi import checked

from terrazzo.catalog import make_collection
from terrazzo.drivers.job import Workspace
from terrazzo.server.app import create_app
from terrazzo.server.openeo import capabilities
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

ALPS, ARCTIC, PACIFIC = [5, 44, 16, 48], [-180, 66, 180, 90], [170, -20, -170, 10]


def made(name: str, title: str, box: list[float], start: str, end: str | None, **more: Any) -> Any:
    extent = {"spatial": {"bbox": [box]}, "temporal": {"interval": [[start, end]]}}
    return make_collection(name, title=title) | {"extent": extent} | more


COLLECTIONS = (
    made("alps-snow", "Snow in the Alps", ALPS, "2000-01-01T00:00:00Z", "2010-01-01T00:00:00Z",
         keywords=["snow", "ice"], license="CC-BY-4.0", providers=[{"name": "Météo"}]),
    made("arctic-ice", "Sea ice", ARCTIC, "1979-01-01T00:00:00Z", None, keywords=["sea ice"],
         license="CC0-1.0", version="2"),
    made("pacific", "Colour of the sea", PACIFIC, "2015-06-01T00:00:00Z", None, version="10"),
)  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace.of(tmp_path_factory.mktemp("home"))
    with workspace.catalog(create=True) as catalog:
        for collection in COLLECTIONS:
            catalog.put_collection(collection)
    return workspace


@pytest.fixture(scope="module")
def client(workspace: Workspace, shared: Any) -> Iterator[TestClient]:
    """Every answer is held against the text of the openEO API, too."""
    assert shared
    app = create_app(workspace, ServerSettings(open=False))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield checked(client)


def ids(client: TestClient, **asked: str) -> list[str]:
    answer = client.get(f"/collections?{urlencode(asked)}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["collections"]]


ALL = ["alps-snow", "arctic-ice", "pacific"]


def test_without_parameters_all_come_by_id(client: TestClient) -> None:
    told = client.get("/collections").json()

    assert [one["id"] for one in told["collections"]] == ALL
    assert (told["numberMatched"], told["numberReturned"]) == (3, 3)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"bbox": "10,45,11,46"}, ["alps-snow"]),
        ({"bbox": "-175,-10,-174,0"}, ["pacific"]),
        ({"bbox": "175,-10,-175,80"}, ["arctic-ice", "pacific"]),
        ({"bbox": "10,45,0,11,46,9"}, ["alps-snow"]),
        ({"datetime": "1980-01-01T00:00:00Z"}, ["arctic-ice"]),
        ({"datetime": "../2001-01-01T00:00:00Z"}, ["alps-snow", "arctic-ice"]),
        ({"datetime": "2030-01-01T00:00:00Z/.."}, ["arctic-ice", "pacific"]),
        ({"datetime": "2010-01-01T00:00:00Z"}, ["alps-snow", "arctic-ice"]),
        ({"bbox": "10,45,11,46", "datetime": "1980-01-01T00:00:00Z"}, []),
        ({"q": "sea"}, ["arctic-ice", "pacific"]),
        ({"q": "snow,colour"}, ["alps-snow", "pacific"]),
        ({"q": '"sea ice" OR snow'}, ["alps-snow", "arctic-ice"]),
        ({"q": "ice -sea"}, ["alps-snow"]),
        ({"q": "meteo"}, ["alps-snow"]),
        ({"q": "(sea OR snow) AND ice"}, ["alps-snow", "arctic-ice"]),
        ({"filter": "license = 'CC0-1.0'"}, ["arctic-ice"]),
        ({"filter": "title LIKE '%ea%'"}, ["arctic-ice", "pacific"]),
        ({"filter": "a_contains(keywords, ('snow', 'ice'))"}, ["alps-snow"]),
        ({"filter": "s_intersects(geometry, POINT(10 45))"}, ["alps-snow"]),
        ({"filter": "datetime < TIMESTAMP('1990-01-01T00:00:00Z')"}, ["arctic-ice"]),
        ({"filter": json.dumps({"op": "=", "args": [{"property": "id"}, "pacific"]}),
          "filter-lang": "cql2-json"}, ["pacific"]),
        ({"query": json.dumps({"license": {"eq": "CC0-1.0"}})}, ["arctic-ice"]),
        ({"sortby": "-id"}, ALL[::-1]),
        ({"sortby": "title"}, ["pacific", "arctic-ice", "alps-snow"]),
        ({"sortby": "version"}, ["pacific", "arctic-ice", "alps-snow"]),
        ({"sortby": "-version"}, ["alps-snow", "arctic-ice", "pacific"]),
        ({"sortby": "extent.temporal"}, ["arctic-ice", "alps-snow", "pacific"]),
        ({"sortby": "nothing"}, ALL),
        ({"sortby": "-nothing"}, ALL[::-1]),
        ({"q": "sea", "sortby": "-title", "limit": "1"}, ["arctic-ice"]),
    ],
    ids=str,
)  # fmt: skip
def test_collections_are_found(client: TestClient, asked: dict[str, str], found: list[str]) -> None:
    assert ids(client, **asked) == found


@pytest.mark.parametrize("sortby", ["", "title", "-version,title", "-id", "nothing"])
def test_pages_are_the_whole_list_in_order(client: TestClient, sortby: str) -> None:
    whole = ids(client, sortby=sortby)

    got, href = list[str](), f"/collections?{urlencode({'limit': '1', 'sortby': sortby})}"
    while href:
        page = client.get(href.removeprefix("http://testserver")).json()
        got += [one["id"] for one in page["collections"]]
        assert (page["numberMatched"], page["numberReturned"]) == (3, 1)
        href = next((one["href"] for one in page["links"] if one["rel"] == "next"), "")

    assert got == whole


def test_fields_choose_members_and_keep_what_openeo_needs(client: TestClient) -> None:
    few = client.get("/collections?fields=title,summaries").json()["collections"][0]
    less = client.get("/collections?fields=-keywords,-license").json()["collections"][0]

    needed = {"type", "id", "stac_version", "description", "license", "extent", "links"}
    assert few.keys() == needed | {"title", "summaries"}
    assert "keywords" not in less
    assert "license" in less
    assert "providers" in less


@pytest.mark.parametrize(
    "query",
    [
        "unknown=1", "limit=0", "limit=x", "limit=-1", "bbox=1,2", "bbox=a,b,c,d", "datetime=soon",
        "datetime=2020-01-01", "datetime=../..", "q=***", "q=(", "q=%22", "q=AND", "filter=a%20=",
        "filter=a%00=1", "sortby=a,a", "sortby=,", "fields=" + ",".join(map(str, range(501))),
        "query=[]", "after=abc", "after=WyJhIiwiYiJd", "after=WyJbXSJd", "filter-lang=sql&filter=a",
    ],
)  # fmt: skip
def test_bad_parameters_are_told(client: TestClient, query: str) -> None:
    answer = client.get(f"/collections?{query}")

    assert answer.status_code == 400
    assert answer.json()["message"]


def test_odd_extents_are_everywhere_and_always(tmp_path: Any) -> None:
    workspace = Workspace.of(tmp_path)
    odd = ({}, {"spatial": 1, "temporal": {"interval": [["soon", None]]}},
           {"spatial": {"bbox": [[1, 2], "x"]}, "temporal": {"interval": [1, ["2020", "2010"]]}},
           {"spatial": {"bbox": [ALPS, PACIFIC]}})  # fmt: skip
    with workspace.catalog(create=True) as catalog:
        for number, extent in enumerate(odd):
            catalog.put_collection({"type": "Collection", "id": str(number), "extent": extent})
    with TestClient(create_app(workspace)) as client:
        found = ids(client, bbox="-175,-10,-174,0", datetime="1850-01-01T00:00:00Z")

    assert found == ["0", "1", "2", "3"]


def test_what_collections_can_be_filtered_by_is_a_schema(client: TestClient) -> None:
    links = client.get("/collections").json()["links"]
    href = next(one["href"] for one in links if one["rel"].endswith("queryables"))

    answer = client.get(href.removeprefix("http://testserver"))

    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.json()["$id"] == href
    assert {"title", "keywords", "datetime", "geometry"} <= answer.json()["properties"].keys()


# children


def test_children_are_what_the_landing_page_links_to(client: TestClient) -> None:
    root = client.get("/").json()
    hrefs = [one["href"] for one in root["links"] if one["rel"] == "child"]
    address = next(one["href"] for one in root["links"] if one["rel"] == "children")

    told = client.get(address.removeprefix("http://testserver")).json()

    single = [client.get(href.removeprefix("http://testserver")).json() for href in hrefs]
    assert [one["id"] for one in single] == ALL
    assert told["children"] == single
    assert {one["rel"] for one in told["links"]} == {"self", "root"}


def test_children_come_in_pages(client: TestClient) -> None:
    first = client.get("/children?limit=2").json()
    href = next(one["href"] for one in first["links"] if one["rel"] == "next")
    second = client.get(href.removeprefix("http://testserver")).json()

    assert [one["id"] for one in first["children"] + second["children"]] == ALL
    assert all(one["rel"] != "next" for one in second["links"])
    assert client.get("/children?after=x").status_code == 400


def test_a_landing_page_of_many_collections_stays_small(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "MOST_CHILDREN", 2)

    links = client.get("/").json()["links"]

    assert "child" not in {one["rel"] for one in links}
    assert {"children", "data"} <= {one["rel"] for one in links}


def test_the_landing_page_is_there_for_those_whose_token_is_not_good(client: TestClient) -> None:
    answer = client.get("/", headers={"Authorization": "Bearer basic//nonsense"})

    assert answer.status_code == 200


def test_all_links_of_stac_have_a_relation_and_a_type(client: TestClient) -> None:
    links = [
        link
        for path in ("/", "/collections", "/children", "/collections/pacific", "/search",
                     "/collections/pacific/items", "/aggregations", "/aggregate")
        for link in client.get(path).json()["links"]
    ]  # fmt: skip

    assert all(link["href"].startswith("http://testserver/") and link["type"] for link in links)
    assert {"self", "root", "next", "search"} - {link["rel"] for link in links} == {"next"}


def test_conformance_classes_are_named_once(client: TestClient) -> None:
    told = client.get("/conformance").json()["conformsTo"]

    assert all(one != other for one, other in pairwise(sorted(told)))
    assert told == client.get("/").json()["conformsTo"]


def test_the_description_comes_as_what_it_is_asked_for(client: TestClient) -> None:
    links = client.get("/").json()["links"]
    link = next(one for one in links if one["rel"] == "service-desc")

    answer = client.get("/openapi.json", headers={"Accept": link["type"]})

    assert answer.headers["content-type"] == link["type"]
    assert {"/aggregate", "/children"} <= answer.json()["paths"].keys()
