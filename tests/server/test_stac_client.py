"""Everything that pystac-client asks for, on both kinds of catalogue; its warnings are errors."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pystac_client
import pytest
from pystac_client import ConformanceClasses
from pystac_client.free_text import sqlite_text_search
from tests.catalog.conftest import KINDS
from tests.server.stac_items import COUNT, NAME, PLACE, item, items
from tests.server.stac_served import workspace_of

from terrazzo.catalog import make_collection
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = make_collection("sea-ice", title="Sea ice", description="Concentration of ice.") | {
    "keywords": ["arctic", "ice"],
    "extent": {
        "spatial": {"bbox": [[-180, 66, 180, 90]]},
        "temporal": {"interval": [["1979-01-01T00:00:00Z", None]]},
    },
}
ALL = [item(number) for number in range(COUNT)]


@pytest.fixture(scope="module", params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with workspace_of(request.param, tmp_path_factory.mktemp("home"), request) as workspace:
        with workspace.catalog(create=True) as catalog:
            catalog.put_collection(make_collection(NAME, title="Scenes", description="Scenes."))
            catalog.put_collection(OTHER)
            catalog.put_items(items())
        with serving(workspace, settings=ServerSettings(job_workers=0)) as url:
            yield url


@pytest.fixture
def api(url: str) -> pystac_client.Client:
    return pystac_client.Client.open(url)


def ids(found: Any) -> list[str]:
    return [one.id for one in found]


def test_every_class_that_it_knows_is_there(api: pystac_client.Client) -> None:
    missing = [
        one.name
        for one in ConformanceClasses
        if one.name not in {"CONTEXT", "TRANSACTION"} and not api.conforms_to(one)
    ]

    assert missing == []


def test_collections_children_and_items_are_walked_through(api: pystac_client.Client) -> None:
    assert ids(api.get_collections()) == [NAME, "sea-ice"]
    assert ids(api.get_children()) == [NAME, "sea-ice"]
    collection = api.get_collection(NAME)
    assert collection.get_item("scene-007").id == "scene-007"
    assert ids(collection.get_items("scene-003", "scene-004")) == ["scene-004", "scene-003"]
    assert len(list(api.get_items(recursive=True))) == COUNT


def test_items_are_found_by_place_time_and_id(api: pystac_client.Client) -> None:
    west, south, east, north = ALL[21]["bbox"]
    middle = [(west + east) / 2, (south + north) / 2]

    by_box = api.search(bbox=[*middle, *middle])
    by_shape = api.search(intersects={"type": "Point", "coordinates": middle})
    by_id = api.search(ids=["scene-005", "nothing"], collections=[NAME])
    by_day = api.search(datetime="2023-01-01")
    by_time = api.search(datetime=[datetime(2023, 1, 1, tzinfo=UTC), None], max_items=3)
    by_year = api.search(datetime="2023", method="GET")

    assert ids(by_box.items()) == ids(by_shape.items()) == ["scene-021"]
    assert ids(by_id.items()) == ["scene-005"]
    assert ids(by_day.items()) == ["scene-000"]
    assert ids(by_time.items()) == ["scene-079", "scene-078", "scene-077"]
    assert by_year.matched() == sum(one["properties"]["datetime"] < "2024" for one in ALL)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_items_are_filtered_sorted_and_come_in_pages(
    api: pystac_client.Client, method: str
) -> None:
    def cloud(one: Any) -> int:
        return int(one["properties"]["eo:cloud_cover"])

    search = api.search(
        method=method,
        collections=[NAME],
        filter="eo:cloud_cover < 50 AND platform = 'sentinel-2a'",
        sortby=[{"field": "properties.eo:cloud_cover", "direction": "desc"}],
        limit=7,
    )

    pages = [len(page.items) for page in search.pages()]
    found = [one["properties"]["eo:cloud_cover"] for one in search.items_as_dicts()]
    meant = [
        cloud(one)
        for one in ALL
        if cloud(one) < 50 and one["properties"]["platform"] == "sentinel-2a"
    ]
    assert found == sorted(meant, reverse=True)
    assert pages == [7] * (len(meant) // 7) + [len(meant) % 7]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "asked",
    [
        {"query": {"eo:cloud_cover": {"lt": 20}}},
        {"query": ["eo:cloud_cover<20"]},
        {"filter": {"op": "<", "args": [{"property": "eo:cloud_cover"}, 20]}},
        {"intersects": PLACE},
        {"collections": [NAME], "datetime": "../2023-02-01T00:00:00Z"},
    ],
    ids=str,
)
def test_a_search_tells_how_many_it_finds(
    api: pystac_client.Client, asked: dict[str, Any], method: str
) -> None:
    search = api.search(method=method, **asked)

    assert search.matched() == len(list(search.items())) > 0


def test_fields_are_chosen(api: pystac_client.Client) -> None:
    search = api.search(fields=["properties.platform", "-assets"], max_items=1)

    (found,) = search.items_as_dicts()

    assert found["properties"].keys() == {"datetime", "platform"}
    assert "assets" not in found


def test_queryables_tell_the_types_of_properties(api: pystac_client.Client) -> None:
    collection = api.get_collection(NAME).get_queryables()["properties"]
    merged = api.get_merged_queryables([NAME])["properties"]

    assert collection["eo:cloud_cover"]["type"] == "number"
    assert collection["platform"]["type"] == "string"
    assert merged.keys() >= {"eo:cloud_cover", "platform"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"q": "ice"}, ["sea-ice"]),
        ({"q": '"sea ice" OR scenes'}, [NAME, "sea-ice"]),
        ({"q": "arctic,nothing"}, ["sea-ice"]),
        ({"bbox": [-10, 70, 10, 80]}, ["sea-ice"]),
        ({"datetime": "1980"}, ["sea-ice"]),
        ({"filter": "title = 'Sea ice'"}, ["sea-ice"]),
        ({"sortby": "-id"}, ["sea-ice", NAME]),
        ({"limit": 1}, [NAME, "sea-ice"]),
        ({"query": {"title": {"eq": "Sea ice"}}}, ["sea-ice"]),
    ],
    ids=str,
)
def test_collections_are_searched(
    api: pystac_client.Client, asked: dict[str, Any], found: list[str]
) -> None:
    search = api.collection_search(**asked)

    assert ids(search.collections()) == found
    assert search.matched() == len(found)


@pytest.mark.parametrize("q", ["ice", "arctic AND ice", "sea OR nothing", "concentration,scenes"])
def test_the_server_finds_what_the_client_would_by_itself(
    api: pystac_client.Client, q: str
) -> None:
    every = api.get_collections()

    alone = [
        one.id
        for one in every
        if sqlite_text_search(
            q,
            {"title": one.title, "description": one.description,
             "keywords": ", ".join(one.keywords or [])},
        )
    ]  # fmt: skip

    assert ids(api.collection_search(q=q).collections()) == alone


def test_the_command_line_of_the_client_works(url: str) -> None:
    command = [sys.executable, "-m", "pystac_client.cli", "search", url, "-c", NAME, "--matched"]
    command += ["--filter", "eo:cloud_cover < 10", "--filter-lang", "cql2-text", "--error"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    few = sum(one["properties"]["eo:cloud_cover"] < 10 for one in ALL)
    assert done.stdout.strip() == f"{few} items matched", done.stderr
