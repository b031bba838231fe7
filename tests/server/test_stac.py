"""The STAC API: the official client over HTTP, pages, filters, assets, and bad requests."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac_client
import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient
from tests.server.small import COLLECTION, DATES, EDGE, make_home, red

from terrazzo.catalog import make_collection
from terrazzo.drivers.job import Workspace
from terrazzo.ledger import Database, Visibility, database_url, schema
from terrazzo.server.app import create_app
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings
from terrazzo.server.stac import items as stac
from terrazzo.server.stac.documents import Page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 25


def item(number: int, collection: str = "many") -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"item-{number:02}",
        "collection": collection,
        "bbox": [number, 0, number + 1, 1],
        "geometry": {
            "type": "Polygon",
            "coordinates": [
                [[number, 0], [number + 1, 0], [number + 1, 1], [number, 1], [number, 0]]
            ],
        },
        "properties": {
            "datetime": f"2024-01-{number + 1:02}T00:00:00Z",
            "eo:cloud_cover": (number * 7) % MANY,
            "platform": "a" if number % 2 else "b",
        },
        "links": [{"rel": "derived_from", "href": "https://example.com/source"}],
        "assets": {
            "away": {"href": "https://example.com/data.tif"},
            "secret": {"href": "SECRET", "type": "image/tiff"},
        },
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_home(tmp_path_factory.mktemp("home"))
    with workspace.catalog() as catalog:
        for name in ("many", "hidden"):
            catalog.put_collection(make_collection(name))
        secret = str(workspace.home / "secret.key")
        catalog.put_items(
            json.loads(json.dumps(item(number)).replace("SECRET", secret)) for number in range(MANY)
        )
        catalog.put_items([item(0, "hidden")])
    database = Database(database_url(workspace.home))
    with database.writing() as connection:
        connection.execute(
            insert(schema.collection).values(
                id="hidden", owner="someone", visibility=Visibility.PRIVATE
            )
        )
    database.close()
    return workspace


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    app = create_app(workspace, ServerSettings(open=False))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    with serving(workspace, settings=ServerSettings(open=False, job_workers=0)) as url:
        yield url


def ids(found: dict[str, Any]) -> list[str]:
    return [feature["id"] for feature in found["features"]]


# the official client


def test_the_official_client_finds_pages_and_items(url: str) -> None:
    api = pystac_client.Client.open(url)

    search = api.search(collections=["many"], limit=7, sortby="+properties.eo:cloud_cover")
    found = list(search.items())

    clouds = [one.properties["eo:cloud_cover"] for one in found]
    assert clouds == sorted((number * 7) % MANY for number in range(MANY))
    assert {one.id for one in api.get_collections()} == {COLLECTION, "many"}


def test_the_official_client_filters_by_text_json_and_query(url: str) -> None:
    api = pystac_client.Client.open(url)
    expected = {f"item-{n:02}" for n in range(MANY) if (n * 7) % MANY < 5 and n % 2}

    asked = {"op": "and", "args": [
        {"op": "<", "args": [{"property": "eo:cloud_cover"}, 5]},
        {"op": "=", "args": [{"property": "platform"}, "a"]},
    ]}  # fmt: skip
    text = "eo:cloud_cover < 5 AND platform = 'a'"
    query = {"eo:cloud_cover": {"lt": 5}, "platform": {"eq": "a"}}

    assert {one.id for one in api.search(filter=asked).items()} == expected
    assert {one.id for one in api.search(filter=text, method="GET").items()} == expected
    assert {one.id for one in api.search(query=query).items()} == expected


def test_the_official_client_finds_by_place_and_time(url: str) -> None:
    api = pystac_client.Client.open(url)

    by_box = api.search(collections=["many"], bbox=[3.5, 0, 4.5, 1])
    by_shape = api.search(intersects={"type": "Point", "coordinates": [3.5, 0.5]}, method="POST")
    by_time = api.search(collections=["many"], datetime="2024-01-04/2024-01-05")

    assert {one.id for one in by_box.items()} == {"item-03", "item-04"}
    assert {one.id for one in by_shape.items()} == {"item-03"}
    assert {one.id for one in by_time.items()} == {"item-03", "item-04"}


def test_queryables_tell_types(url: str) -> None:
    api = pystac_client.Client.open(url)

    properties = api.get_collection("many").get_queryables()["properties"]

    assert properties["eo:cloud_cover"]["type"] == "number"


def test_an_asset_is_read_over_http(url: str) -> None:
    api = pystac_client.Client.open(url)
    found = next(api.search(collections=[COLLECTION], datetime=DATES[0]).items())
    href = next(iter(found.assets.values())).href

    # In a process of its own: GDAL's opening keeps the interpreter that serves it.
    read = "import rasterio, sys; sys.stdout.buffer.write(rasterio.open(sys.argv[1]).read(1).data)"
    done = subprocess.run(
        [sys.executable, "-c", read, href], capture_output=True, check=True, timeout=300
    )

    pixels = np.frombuffer(done.stdout, np.uint16).reshape(EDGE, EDGE)
    np.testing.assert_array_equal(pixels, red(2018))


# what is served


def test_no_path_of_the_server_is_served(client: TestClient, workspace: Workspace) -> None:
    for path in ("/search?limit=1000", f"/collections/{COLLECTION}/items", "/collections/many"):
        assert str(workspace.home) not in client.get(path).text


def test_what_a_server_keeps_for_itself_is_no_asset(client: TestClient) -> None:
    answer = client.get("/collections/many/items/item-00/assets/secret")

    assert answer.status_code == 404
    assert answer.json()["code"] == "AssetNotFound"


def test_hidden_collections_do_not_exist(client: TestClient) -> None:
    every = client.get("/search?limit=1000").json()
    named = client.get("/search?collections=hidden")
    inside = client.get("/collections/hidden/items/item-00")
    absent = client.get("/collections/absent/items/item-00")

    assert "hidden" not in {feature["collection"] for feature in every["features"]}
    assert (named.status_code, inside.status_code) == (404, 404)
    assert "Collections here: many, small" in inside.json()["message"]
    assert inside.json()["message"].replace("hidden", "absent") == absent.json()["message"]


def test_assets_of_hidden_collections_have_signed_addresses(workspace: Workspace) -> None:
    database = Database(database_url(workspace.home))
    with database.writing() as connection:
        row = {"id": COLLECTION, "owner": "someone", "visibility": Visibility.PRIVATE}
        connection.execute(insert(schema.collection).values(row))
    try:
        with TestClient(create_app(workspace, ServerSettings(open=True))) as operator:
            found = operator.get(f"/collections/{COLLECTION}/items?limit=1").json()
            href = next(iter(found["features"][0]["assets"].values()))["href"]
        with TestClient(create_app(workspace, ServerSettings(open=False))) as stranger:
            signed = stranger.get(href.removeprefix("http://testserver"))
            plain = stranger.get(href.split("?")[0].removeprefix("http://testserver"))
            forged = stranger.get(href.removeprefix("http://testserver")[:-1] + "x")
    finally:
        with database.writing() as connection:
            connection.execute(
                schema.collection.delete().where(schema.collection.c.id == COLLECTION)
            )
        database.close()

    assert signed.status_code == 200
    assert (plain.status_code, forged.status_code) == (404, 404)


def test_fields_choose_members(client: TestClient) -> None:
    few = client.get("/search?collections=many&limit=1&fields=id,properties.platform").json()
    less = client.get("/search?collections=many&limit=1&fields=-assets,-properties.platform").json()

    assert few["features"][0]["properties"].keys() == {"platform", "datetime"}
    assert "assets" not in less["features"][0]
    assert "platform" not in less["features"][0]["properties"]
    assert "eo:cloud_cover" in less["features"][0]["properties"]


@pytest.mark.parametrize(
    ("fields", "there", "gone"),
    [
        ("-properties,properties.platform", {"platform"}, {"eo:cloud_cover", "datetime"}),
        ("properties,-properties.platform", {"eo:cloud_cover", "datetime"}, {"platform"}),
        ("properties.platform,-properties.platform", {"platform"}, set()),
    ],
)
def test_the_narrower_name_decides_and_including_wins(
    client: TestClient, fields: str, there: set[str], gone: set[str]
) -> None:
    found = client.get(f"/search?collections=many&limit=1&fields={fields}").json()["features"][0]

    assert there <= found["properties"].keys()
    assert not gone & found["properties"].keys()


def test_fields_that_are_null_are_not_given(client: TestClient) -> None:
    asked = {"limit": 1, "fields": {"include": None, "exclude": ["geometry"]}}

    (found,) = client.post("/search", json=asked).json()["features"]

    assert "geometry" not in found
    assert "assets" in found


def test_numbers_that_are_written_as_text_are_compared_as_numbers(client: TestClient) -> None:
    meant = {
        "lt": lambda cloud: cloud < 5,
        "gte": lambda cloud: cloud >= 5,
        "eq": lambda cloud: cloud == 5,
        "neq": lambda cloud: cloud != 5,
    }
    for operator, holds in meant.items():
        query = {"eo:cloud_cover": {operator: "5"}}
        found = client.post("/search", json={"query": query, "limit": 100}).json()

        clouds = [(number * 7) % MANY for number in range(MANY)]
        assert len(ids(found)) == sum(map(holds, clouds)), operator
    among = client.post("/search", json={"query": {"eo:cloud_cover": {"in": ["5", "6.0"]}}}).json()
    assert {one["properties"]["eo:cloud_cover"] for one in among["features"]} == {5, 6}


def test_pages_by_get_and_post_are_the_same(client: TestClient) -> None:
    got, href = [], "/search?collections=many&limit=4&sortby=-properties.platform,id"
    while href:
        page = client.get(href.removeprefix("http://testserver")).json()
        got += ids(page)
        href = next((one["href"] for one in page["links"] if one["rel"] == "next"), "")
    posted, body = [], {"collections": ["many"], "limit": 4, "sortby": [
        {"field": "properties.platform", "direction": "desc"}, {"field": "id", "direction": "asc"},
    ]}  # fmt: skip
    while body:
        page = client.post("/search", json=body).json()
        posted += ids(page)
        body = next((one["body"] for one in page["links"] if one["rel"] == "next"), {})

    expected = [f"item-{n:02}" for rest in (0, 1) for n in range(MANY) if n % 2 == rest]
    assert got == expected
    assert posted == expected


def test_the_newest_come_first(client: TestClient) -> None:
    found = client.get("/collections/many/items?limit=3").json()

    assert ids(found) == ["item-24", "item-23", "item-22"]
    assert found["numberReturned"] == 3


@pytest.mark.parametrize(
    "query",
    [
        "bbox=1,2,3",
        "bbox=a,b,c,d",
        "bbox=0,0,1,1&intersects={}",
        "datetime=soon",
        "datetime=2024-01-01",
        "datetime=2024-01/..",
        "datetime=2024-02-01/2024-01-01",
        "datetime=../..",
        "limit=0",
        "limit=x",
        "limit=٣",
        "token=abc",
        "token=WyJhIl0=",
        "filter=a%20=",
        "filter=a%00=1",
        "filter=%7B%7D&filter-lang=cql2-json",
        "filter=a=1&filter-lang=sql",
        "filter=a=1&filter-crs=EPSG:3857",
        "sortby=",
        "sortby=,",
        "sortby=a,a",
        "query=[]",
        'query={"a":{"foo":1}}',
        "intersects=nope",
        'intersects={"type":"Point"}',
        "unknown=1",
        "ids=%00",
        "collections=%00",
    ],
)
def test_bad_parameters_are_told(client: TestClient, query: str) -> None:
    answer = client.get(f"/search?{query}")

    if query in {"sortby=", "ids=%00"}:
        assert answer.status_code == 200
        return
    assert answer.status_code in {400, 404}
    assert answer.json()["message"]


@pytest.mark.parametrize(
    ("query", "words"), [("unknown=1", "no 'unknown' here"), ("intersects=nope", "`intersects`")]
)
def test_the_parameter_that_is_bad_is_named(client: TestClient, query: str, words: str) -> None:
    answer = client.get(f"/search?{query}")

    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"limit": True},
        {"limit": "5"},
        {"bbox": "0,0,1,1"},
        {"collections": "many"},
        {"ids": [1]},
        {"datetime": 5},
        {"token": ["a"]},
        {"sortby": "id"},
        {"sortby": [{"field": 3}]},
        {"sortby": [{"field": "a", "direction": "up"}]},
        {"fields": ["id"]},
        {"fields": {"include": "id"}},
        {"filter": 3},
        {"filter": [[]]},
        {"filter": {"op": "=", "args": [{"property": "a"}, {"property": {}}]}},
        {"query": {"a": 1}},
        {"intersects": []},
        {"intersects": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}},
        {"limit": -1},
        {"foo": 1},
        {"filter": {"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [1]}]}},
    ],
)
def test_bad_bodies_are_told(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/search", json=body)

    assert answer.status_code == 400
    assert answer.json()["message"]


HUGE = 10**400


@pytest.mark.parametrize(
    "body",
    [
        {"query": {"eo:cloud_cover": {"lt": HUGE}}},
        {"query": {"eo:cloud_cover": {"in": [HUGE, 1]}}},
        {"query": {f"p{number}": {"neq": number} for number in range(3000)}},
        {"filter": {"op": "<", "args": [{"property": "eo:cloud_cover"}, HUGE]}},
        {"filter": {"op": "in", "args": [{"property": "eo:cloud_cover"}, [*range(15_000)]]}},
        {"ids": ["item-01"] * 10_000},
    ],
)
def test_large_searches_are_answered(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/search", json=body | {"limit": 1}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"intersects": {"type": "Point", "coordinates": [HUGE, 0]}},
        {"filter": f"a < {'9' * 5000}"},
        {"ids": ["item-01"] * 10_001},
        {"fields": {"include": [f"p{number}" for number in range(501)]}},
    ],
)
def test_searches_that_are_too_large_are_told(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/search", json=body)

    assert answer.status_code == 400
    assert answer.json()["message"]


def test_a_search_has_few_bytes(client: TestClient) -> None:
    answer = client.post("/search", json={"token": "x" * 1_000_000})

    assert answer.status_code == 413


def test_files_of_assets_are_no_pages_and_in_no_shared_cache(client: TestClient) -> None:
    (found,) = client.get(f"/collections/{COLLECTION}/items?limit=1").json()["features"]
    href = next(iter(found["assets"].values()))["href"]

    headers = client.get(href.removeprefix("http://testserver")).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in headers["Content-Security-Policy"]


def test_slow_searches_leave_other_routes_their_threads(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, count = threading.Event(), 45  # more than the threads that ordinary routes share

    def slow(*_: Any) -> Page:
        go.wait(60)
        return Page([], [])

    monkeypatch.setattr(stac, "found_items", slow)
    with ThreadPoolExecutor(count) as pool:
        searches = [pool.submit(client.get, "/search") for _ in range(count)]
        other = client.get("/collections")
        waiting = [search for search in searches if not search.done()]
        go.set()

    assert other.status_code == 200
    assert len(waiting) == count
    assert {search.result().status_code for search in searches} == {200}


# words


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("q=a", sum(number % 2 for number in range(MANY))),
        ("q=a,b", MANY),
        ("q=item%203", 0),
        ("q=item-03", 1),
        ("q=many%20-a", sum(number % 2 == 0 for number in range(MANY))),
        ("q=a&filter=eo:cloud_cover%3C5", sum(n % 2 and (n * 7) % MANY < 5 for n in range(MANY))),
    ],
)
def test_words_are_found_in_items(client: TestClient, query: str, count: int) -> None:
    got = client.get(f"/search?{query}&limit=1000&collections=many").json()
    counted = client.get(f"/aggregate?{query}&aggregations=total_count&collections=many").json()

    assert len(ids(got)) == count
    assert counted["aggregations"][0]["value"] == count


def test_words_of_a_body_are_a_text_or_a_list(client: TestClient) -> None:
    found = [
        ids(client.post("/search", json={"q": q, "ids": ["item-01", "item-02"]}).json())
        for q in ("a,b", ["a", "b"], ["a"])
    ]

    assert found == [["item-02", "item-01"]] * 2 + [["item-01"]]
    for q in (3, [3], {}, "***", []):
        assert client.post("/search", json={"q": q}).status_code == 400


# what can be filtered by


def test_what_items_of_all_collections_have_in_common_can_be_filtered_by(
    client: TestClient,
) -> None:
    every = client.get("/queryables").json()["properties"]
    many = client.get("/collections/many/queryables").json()["properties"]

    assert every.keys() == {"id", "collection", "geometry", "datetime"}
    assert every.keys() | {"eo:cloud_cover", "platform"} == many.keys()
    assert (many["eo:cloud_cover"]["type"], many["platform"]["type"]) == ("number", "string")
    assert many["datetime"]["format"] == "date-time"
    assert many["eo:cloud_cover"]["maximum"] == MANY - 1


def test_limits_of_a_property_are_told_where_all_collections_share_them(
    tmp_path: Path,
) -> None:
    workspace = Workspace.of(tmp_path)
    with workspace.catalog(create=True) as catalog:
        for name, cloud in (("one", 10), ("two", 20)):
            catalog.put_collection(make_collection(name))
            catalog.put_items([item(0, name) | {"properties": {
                "datetime": "2024-01-01T00:00:00Z", "eo:cloud_cover": cloud, "gsd": 10, name: 1,
            }}])  # fmt: skip
    with TestClient(create_app(workspace)) as client:
        told = client.get("/queryables").json()["properties"]

    assert told["eo:cloud_cover"]["type"] == "number"
    assert "minimum" not in told["eo:cloud_cover"]
    assert told["gsd"]["minimum"] == 10
    assert not {"one", "two"} & told.keys()
