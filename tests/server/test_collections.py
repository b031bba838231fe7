"""Collections as clients discover them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jsonschema
import pystac
import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient
from tests.server.openapi import checked
from tests.server.small import COLLECTION, DATES, EDGE, LEFT, PIXEL, TOP

from terrazzo.catalog import BandInfo, make_asset, make_collection, make_item
from terrazzo.drivers.job import Workspace
from terrazzo.ledger import Database, database_url
from terrazzo.ledger.schema import collection as access
from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("a", "b", "c/d", "e")


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    """A workspace with four collections; `a` has items, and says nothing of them."""
    workspace = Workspace.of(tmp_path)
    with workspace.catalog(create=True) as catalog:
        for name in NAMES:
            catalog.put_collection(make_collection(name, title=f"Title {name}"))
        bare = catalog.collection("a")
        for field in ("cube:dimensions", "summaries", "stac_extensions"):
            del bare[field]
        link = {"rel": "license", "href": "https://example.org/licence", "type": "text/html"}
        bare["links"] = [link, {"rel": "self", "href": "../a"}]
        bare["assets"] = {
            "here": {"href": str(tmp_path / "thumbnail.png")},
            "there": {"href": "https://example.org/thumbnail.png"},
        }
        catalog.put_collection(bare)
        catalog.put_items(_item(number) for number in range(3))
    return workspace


def _item(number: int) -> dict[str, Any]:
    band = BandInfo("B04", "uint16", 0.0, 0.0001, -0.1, "red", 0.665, 10.0)
    asset = make_asset(
        "/data/image.tif",
        bands=(band,),
        crs="EPSG:32633",
        shape=(10, 20),
        transform=(10.0, 0, 500_000.0 + 200 * number, 0, -10.0, 5_000_000.0),
    )
    return make_item(
        f"item{number}",
        "a",
        bbox=(15.0, 45.0, 15.1, 45.1),
        datetime=f"2020-01-0{number + 1}T00:00:00Z",
        properties={
            "eo:cloud_cover": 10.0 * number,
            "platform": ["sentinel-2a", "sentinel-2b"][number % 2],
            "mixed": number or "none",
        },
        assets={"B04": asset},
    )


@pytest.fixture
def client(home: Workspace, shared: Path) -> Iterator[TestClient]:
    assert shared
    with TestClient(create_app(home), raise_server_exceptions=False) as client:
        yield checked(client)


def test_a_collection_has_the_dimensions_of_its_images(api: TestClient) -> None:
    told = api.get(f"/collections/{COLLECTION}").json()

    dimensions = told["cube:dimensions"]
    assert dimensions["x"]["extent"] == [LEFT, LEFT + EDGE * PIXEL]
    assert dimensions["y"]["extent"] == [TOP - EDGE * PIXEL, TOP]
    assert (dimensions["x"]["step"], dimensions["x"]["reference_system"]) == (PIXEL, 32634)
    assert dimensions["t"]["extent"] == [f"{DATES[0]}T00:00:00Z", f"{DATES[-1]}T00:00:00Z"]
    assert dimensions["bands"]["values"] == ["red", "nir"]
    assert [band["common_name"] for band in told["summaries"]["eo:bands"]] == ["red", "nir"]
    assert [band["nodata"] for band in told["bands"]] == [0.0, 0.0]


def test_a_collection_is_read_by_pystac(api: TestClient) -> None:
    told = api.get(f"/collections/{COLLECTION}").json()

    read = pystac.Collection.from_dict(told)

    assert read.ext.cube.dimensions.keys() == {"x", "y", "t", "bands"}
    assert read.extent.temporal.intervals[0][0] is not None
    assert [schema for schema in told["stac_extensions"] if "/eo/" in schema]


def test_answers_tell_no_path_of_the_server(api: TestClient, workspace: Workspace) -> None:
    answers = [api.get("/collections"), api.get(f"/collections/{COLLECTION}")]

    for answer in answers:
        assert str(workspace.home) not in answer.text
        assert "terrazzo:" not in answer.text


def test_a_list_leaves_out_what_may_be_large_and_says_so_to_stac(client: TestClient) -> None:
    found = client.get("/collections").json()["collections"]

    assert [one["id"] for one in found] == list(NAMES)
    assert [one["title"] for one in found] == [f"Title {name}" for name in NAMES]
    assert all("cube:dimensions" not in one and not one["stac_extensions"] for one in found)


def test_what_a_collection_does_not_say_is_made_of_its_items(client: TestClient) -> None:
    told = client.get("/collections/a").json()

    assert told["cube:dimensions"]["x"]["extent"] == [500_000.0, 500_000.0 + 2 * 200 + 20 * 10]
    assert told["cube:dimensions"]["x"]["step"] == 10.0
    assert told["cube:dimensions"]["bands"]["values"] == ["B04"]
    assert told["summaries"]["eo:cloud_cover"] == {"minimum": 0.0, "maximum": 20.0}
    assert told["summaries"]["eo:bands"] == [
        {"name": "B04", "common_name": "red", "center_wavelength": 0.665, "gsd": 10.0}
    ]
    assert [(b["raster:scale"], b["raster:offset"]) for b in told["bands"]] == [(0.0001, -0.1)]


def test_it_is_made_again_when_the_items_are_others(client: TestClient, home: Workspace) -> None:
    before = client.get("/collections/a").json()["summaries"]["eo:cloud_cover"]
    with home.catalog() as catalog:
        catalog.delete_items("a", ["item2"])

    after = client.get("/collections/a").json()["summaries"]["eo:cloud_cover"]

    assert (before["maximum"], after["maximum"]) == (20.0, 10.0)


def test_links_and_assets_that_lead_somewhere_are_kept(client: TestClient) -> None:
    told = client.get("/collections/a").json()

    rels = [link["rel"] for link in told["links"]]
    assert rels.count("self") == 1
    assert "license" in rels
    assert told["assets"].keys() == {"there"}
    for rel in ("self", "root", "parent"):
        (href,) = [link["href"] for link in told["links"] if link["rel"] == rel]
        assert client.get(href).status_code == 200


def test_filters_have_the_types_and_ranges_of_the_properties(client: TestClient) -> None:
    client.get("/collections/a")
    answer = client.get("/collections/a/queryables")
    told = answer.json()

    jsonschema.Draft201909Validator.check_schema(told)
    assert answer.headers["content-type"] == "application/schema+json"
    assert told["$id"].endswith("/collections/a/queryables")
    assert told["properties"]["eo:cloud_cover"]["type"] == "number"
    assert told["properties"]["platform"]["type"] == "string"
    assert told["properties"]["mixed"]["type"] == ["number", "string"]
    assert told["properties"]["datetime"]["format"] == "date-time"


def test_filters_have_the_ranges_and_the_values_of_the_items(home: Workspace) -> None:
    with TestClient(create_app(home)) as client:
        told = client.get("/collections/a/queryables").json()["properties"]

    assert (told["eo:cloud_cover"]["minimum"], told["eo:cloud_cover"]["maximum"]) == (0.0, 20.0)
    assert told["platform"]["enum"] == ["sentinel-2a", "sentinel-2b"]


@pytest.mark.parametrize(
    "odd",
    [
        {"summaries": []},
        {"summaries": {"a": None, "b": []}},
        {"bands": {}},
        {"bands": [{"name": "a", "nodata": "much"}]},
        {"bands": [{"name": "a", "eo:center_wavelength": "nan"}]},
        {"item_assets": []},
        {"item_assets": {"a": 1}},
        {"assets": [1]},
        {"assets": {"a": 1}},
        {"links": {}},
        {"links": [1, {}]},
        {"stac_extensions": [1, None]},
        {"cube:dimensions": []},
        {"cube:dimensions": {}, "bands": [{"name": "a", "nodata": "much"}]},
        {"description": ""},
    ],
)
def test_odd_documents_are_told_as_far_as_they_go(home: Workspace, odd: dict[str, Any]) -> None:
    with home.catalog() as catalog:
        catalog.put_collection(catalog.collection("a") | odd)
    with TestClient(create_app(home)) as client:
        answers = [client.get(f"/collections{path}") for path in ("", "/a", "/a/queryables")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[1].json()["description"]


def test_pages_follow_each_other_without_gaps(client: TestClient) -> None:
    seen: list[str] = []
    address = "/collections?limit=1"
    while address:
        page = client.get(address).json()
        seen += [one["id"] for one in page["collections"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        address = following[0] if following else ""

    assert seen == list(NAMES)
    assert len(client.get("/collections?limit=").json()["collections"]) == len(NAMES)


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_limits_that_make_no_sense_are_refused(client: TestClient, limit: str) -> None:
    assert client.get(f"/collections?limit={limit}").status_code == 400


def test_ids_may_hold_slashes(client: TestClient) -> None:
    assert client.get("/collections/c/d").json()["id"] == "c/d"
    assert client.get(f"/collections/{quote('c/d', safe='')}/queryables").status_code == 200


def test_what_may_not_be_seen_does_not_exist(home: Workspace, shared: Path) -> None:
    assert shared
    database = Database(database_url(home.home))
    with database.writing() as connection:
        connection.execute(
            insert(access).values(id="b", owner="somebody", visibility="private", audience="")
        )
    database.close()
    with TestClient(create_app(home, ServerSettings(open=False))) as client:
        checked(client)
        listed = [one["id"] for one in client.get("/collections").json()["collections"]]
        hidden, missing = client.get("/collections/b"), client.get("/collections/x")
        filters = client.get("/collections/b/queryables")

    assert listed == ["a", "c/d", "e"]
    assert hidden.status_code == missing.status_code == filters.status_code == 404
    assert hidden.json()["code"] == missing.json()["code"] == "CollectionNotFound"
    assert (
        hidden.json()["message"].replace("'b'", "'x'").replace(" b`", " x`")
        == (missing.json()["message"])
    )
