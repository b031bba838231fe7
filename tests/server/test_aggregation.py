"""Routes of the aggregation extension: the same numbers by GET and POST, and what is wrong."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from starlette.testclient import TestClient
from tests.server.stac_items import COUNT, NAME, PLACE, item, items

from terrazzo.catalog import make_collection
from terrazzo.drivers.job import Workspace
from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings
from terrazzo.server.stac import matched
from terrazzo.server.web.faults import SearchTooLong
from terrazzo.server.web.patience import Patience, patience_of
from terrazzo.server.web.work import ClientGone

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = 20
"""Items of the other collection."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace.of(tmp_path_factory.mktemp("home"))
    with workspace.catalog(create=True) as catalog:
        for name in (NAME, "other"):
            catalog.put_collection(make_collection(name))
        catalog.put_items(items())
        catalog.put_items(items("other", FEW))
    return workspace


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    app = create_app(workspace, ServerSettings(open=False))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def counted(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["type"] == "AggregationCollection"
    return {one["name"]: one.get("value", one.get("buckets")) for one in told["aggregations"]}


def test_get_and_post_count_the_same(client: TestClient) -> None:
    names = ["total_count", "collection_frequency", "cloud_cover_frequency", "datetime_min"]
    box = [100, 0, 101, 1]
    clear = {"op": "<", "args": [{"property": "eo:cloud_cover"}, 50]}

    got = client.get(
        f"/aggregate?aggregations={','.join(names)}&bbox=100,0,101,1"
        "&filter=eo:cloud_cover<50&cloud_cover_frequency_ranges=10,20"
    )
    body = {"aggregations": names, "bbox": box, "filter": clear}
    posted = client.post("/aggregate", json=body | {"cloud_cover_frequency_ranges": [10, 20]})

    found = client.post("/search", json={"bbox": box, "filter": clear, "limit": 1000}).json()
    features = found["features"]
    clouds = [one["properties"]["eo:cloud_cover"] for one in features]
    assert counted(got) == counted(posted)
    assert counted(got)["total_count"] == len(features) > 1
    assert {one["key"]: one["frequency"] for one in counted(got)["collection_frequency"]} == (
        Counter(one["collection"] for one in features)
    )
    assert [one["frequency"] for one in counted(got)["cloud_cover_frequency"]] == [
        sum(cloud < 10 for cloud in clouds),
        sum(10 <= cloud < 20 for cloud in clouds),
        sum(cloud >= 20 for cloud in clouds),
    ]
    assert counted(got)["datetime_min"] == min(one["properties"]["datetime"] for one in features)


def test_a_collection_counts_its_own_items(client: TestClient) -> None:
    path = "/collections/other/aggregate"

    got = client.get(f"{path}?aggregations=total_count&platform_x=1")
    whole = counted(client.get(f"{path}?aggregations=total_count"))
    some = counted(client.post(path, json={"aggregations": ["total_count"], "ids": ["scene-001"]}))

    assert got.status_code == 400
    assert (whole["total_count"], some["total_count"]) == (FEW, 1)


def test_places_are_counted_by_cells(client: TestClient) -> None:
    grid = "centroid_geotile_grid_frequency"

    told = counted(
        client.get(f"/aggregate?aggregations={grid}&{grid}_precision=2&collections=other")
    )

    assert sum(bucket["frequency"] for bucket in told[grid]) == FEW
    assert all(bucket["key"].startswith("2/") for bucket in told[grid])


def test_nothing_is_counted_that_is_not_asked_for(client: TestClient) -> None:
    assert counted(client.get("/aggregate")) == {}
    assert counted(client.post("/aggregate", json={})) == {}


def test_what_can_be_counted_is_listed(client: TestClient) -> None:
    every = client.get("/aggregations").json()
    one = client.get(f"/collections/{NAME}/aggregations").json()

    names = [told["name"] for told in one["aggregations"]]
    assert {"total_count", "cloud_cover_frequency", "platform_frequency", "gsd_mean"} <= {*names}
    assert names == [told["name"] for told in every["aggregations"]]
    assert {told["data_type"] for told in one["aggregations"]} == {
        "integer", "datetime", "numeric", "frequency_distribution",
    }  # fmt: skip
    answer = client.get(f"/collections/{NAME}/aggregate?aggregations={','.join(names)}")
    assert list(counted(answer)) == names


def test_links_lead_to_the_aggregations(client: TestClient) -> None:
    for path in ("/", f"/collections/{NAME}"):
        links = client.get(path).json()["links"]
        hrefs = {one["rel"]: one["href"] for one in links}

        for rel in ("aggregate", "aggregations"):
            answer = client.get(hrefs[rel].removeprefix("http://testserver"))
            assert answer.status_code == 200
        assert {one["method"] for one in links if one["rel"] == "aggregate"} == {"GET", "POST"}


@pytest.mark.parametrize(
    "query",
    [
        "aggregations=nothing", "aggregations=,", "unknown=1", "aggregations=" + "a_min," * 51,
        "datetime_frequency_interval=fortnight&aggregations=datetime_frequency",
        "aggregations=centroid_geohash_grid_frequency&centroid_geohash_grid_frequency_precision=13",
        "centroid_geohash_grid_frequency_precision=x", "cloud_cover_frequency_ranges=2,1",
        "cloud_cover_frequency_ranges=a", "cloud_cover_frequency_ranges=nan", "bbox=1",
        "filter=a%20=", "datetime=soon", "token=abc&aggregations=%00",
    ],
)  # fmt: skip
def test_bad_parameters_are_told(client: TestClient, query: str) -> None:
    answer = client.get(f"/aggregate?{query}")

    assert answer.status_code == 400
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"aggregations": "total_count"},
        {"aggregations": [1]},
        {"aggregations": {}},
        {"datetime_frequency_interval": 3, "aggregations": ["datetime_frequency"]},
        {"centroid_geotile_grid_frequency_precision": 1.5},
        {"cloud_cover_frequency_ranges": [10**400]},
        {"cloud_cover_frequency_ranges": []},
        {"foo": 1},
    ],
)
def test_bad_bodies_are_told(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/aggregate", json=body)

    assert answer.status_code == 400
    assert answer.json()["message"]


def test_a_collection_has_the_aggregations_that_it_lists_only(client: TestClient) -> None:
    answer = client.get(f"/collections/{NAME}/aggregate?aggregations=snow_frequency")
    anywhere = client.get("/aggregate?aggregations=snow_frequency")
    other = client.get("/collections/other/aggregate?collections=scenes&aggregations=total_count")

    assert (answer.status_code, other.status_code) == (400, 400)
    assert "platform_frequency" in answer.json()["message"]
    assert counted(anywhere) == {"snow_frequency": []}


# how many a search finds


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"collections={NAME}&limit=1", COUNT),
        ("limit=1", COUNT + FEW),
        ("limit=1&filter=eo:cloud_cover%3C50&collections=other",
         sum(item(number)["properties"]["eo:cloud_cover"] < 50 for number in range(FEW))),
        ("limit=1000&ids=scene-001", 2),
        ("limit=1&ids=nothing", 0),
        (f"collections={NAME}&limit=10&filter=eo:cloud_cover%3C50", None),
    ],
)  # fmt: skip
def test_a_search_tells_how_many_it_finds_where_that_is_cheap_or_asked(
    client: TestClient, query: str, count: int | None
) -> None:
    assert client.get(f"/search?{query}").json().get("numberMatched") == count


def test_items_that_take_long_to_count_are_not_counted(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matched, "SECONDS", -1.0)

    told = client.post("/search", json={"limit": 1, "intersects": PLACE}).json()

    assert told["numberReturned"] == 1
    assert "numberMatched" not in told


# an end of patience


def test_counting_ends_when_its_time_is_over() -> None:
    with pytest.raises(SearchTooLong, match="Narrow it"):
        Patience(-1)()


@pytest.mark.anyio
async def test_counting_ends_when_the_client_goes() -> None:
    class Asking:
        def __init__(self) -> None:
            self.gone = anyio.Event()

        async def receive(self) -> dict[str, str]:
            await self.gone.wait()
            return {"type": "http.disconnect"}

    asking = Asking()
    async with patience_of(asking) as patience:  # type: ignore[arg-type]
        patience()
        asking.gone.set()
        await anyio.wait_all_tasks_blocked()

        with pytest.raises(ClientGone):
            patience()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_counting_leaves_searches_their_threads(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(
        "terrazzo.server.stac.aggregation.aggregated", lambda *_: go.wait(60) and []
    )
    asked = [
        threading.Thread(target=client.get, args=("/aggregate?aggregations=total_count",))
        for _ in range(10)
    ]
    for thread in asked:
        thread.start()

    try:
        assert client.get("/search?limit=1").status_code == 200
    finally:
        go.set()
        for thread in asked:
            thread.join()
