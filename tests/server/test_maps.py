"""Services as maps: what there is to see, values at a place, changes of the data."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.server.small import (
    COLLECTION,
    DATES,
    LEFT,
    PIXEL,
    TOP,
    graph,
    made_service,
    make_home,
    nir,
    red,
)

from terrazzo.geo.crs import transformer
from terrazzo.ledger import LOCAL
from terrazzo.server.app import create_app
from terrazzo.server.maps.maps import Maps

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.server.maps.maps import OpenMap
    from terrazzo.server.parts import Parts

EDGES = ("west", "south", "east", "north")


def place(row: int, col: int) -> dict[str, float]:
    lon, lat = transformer("EPSG:32634", "EPSG:4326").transform(
        LEFT + (col + 0.5) * PIXEL, TOP - (row + 0.5) * PIXEL
    )
    return {"lon": lon, "lat": lat}


def test_a_service_tells_what_a_map_needs(service: dict[str, Any]) -> None:
    assert [date[:10] for date in service["dates"]] == list(DATES)
    assert service["shown"] == {"bands": [], "time": service["dates"][-1]}
    assert service["matrices"]["native"]["crs"] == "EPSG:32634"
    assert service["matrices"]["native"]["zooms"] == [0, 1]
    assert service["resolution_metres"] == 10
    assert (service["legend"]["min"], service["legend"]["max"]) == (0, 1)
    assert len(service["legend"]["colors"]) > 2
    west, south, east, north = service["bounds"]
    assert west < place(0, 0)["lon"] < east
    assert south < place(0, 0)["lat"] < north


def test_maps_are_listed(client: TestClient, service: dict[str, Any]) -> None:
    listed = client.get("/maps").json()["maps"]

    assert {"id": service["id"], "title": "NDVI", "created": service["created"]} in listed


def test_range_is_taken_from_the_pixels_where_none_is_configured(client: TestClient) -> None:
    document = graph()
    document["process_graph"]["ndvi"]["arguments"]["target_band"] = "index"
    name = made_service(client, document, configuration={"bands": ["red"]})

    legend = client.get(f"/services/{name}/map").json()["legend"]

    assert 100 < legend["min"] < legend["max"] < 420


def test_point_has_the_value_of_every_date(client: TestClient, service: dict[str, Any]) -> None:
    row, col = 123, 222

    told = client.get(f"/services/{service['id']}/point", params=place(row, col)).json()

    assert (told["row"], told["column"]) == (row, col)
    for entry, date in zip(told["values"], DATES, strict=True):
        a, b = float(nir(int(date[:4]))[row, col]), float(red(int(date[:4]))[row, col])
        assert entry["value"] == pytest.approx((a - b) / (a + b), rel=1e-6)


def test_point_without_data_is_null(client: TestClient, service: dict[str, Any]) -> None:
    inside = client.get(f"/services/{service['id']}/point", params=place(5, 5)).json()
    outside = client.get(f"/services/{service['id']}/point", params={"lon": -60, "lat": -80}).json()

    assert {entry["value"] for entry in inside["values"]} == {None}
    assert outside["values"] == []


@pytest.mark.parametrize("lon", ["nan", "inf", "181", "x", ""])
def test_point_refuses_what_is_no_place(
    client: TestClient, service: dict[str, Any], lon: str
) -> None:
    answer = client.get(f"/services/{service['id']}/point?lon={lon}&lat=45")

    assert answer.status_code == 400
    assert answer.json()["code"] == "RequestInvalid"


def opened(client: TestClient, name: str) -> OpenMap:
    maps: Maps = client.app.state.parts.maps  # type: ignore[attr-defined]
    return maps.opened(LOCAL, name)


def test_a_changed_collection_changes_the_map(tmp_path: Path) -> None:
    workspace = make_home(tmp_path)
    with TestClient(create_app(workspace)) as client:
        name = made_service(client, graph())
        before = opened(client, name)

        workspace.catalog().delete_items(COLLECTION, ["scene_20190501"])
        after = opened(client, name)

        assert before.versions != after.versions
        assert opened(client, name).tiles is after.tiles


def test_a_map_that_many_want_at_once_is_opened_once(
    client: TestClient, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: Parts = client.app.state.parts  # type: ignore[attr-defined]
    maps = Maps(shared.database, shared.workspace)
    seen, made = maps.seen(LOCAL, service["id"]), list[int]()
    open_one = maps.layers.opened

    def slowly(*given: Any, **named: Any) -> Layer:
        made.append(1)
        return open_one(*given, **named)

    monkeypatch.setattr(maps.layers, "opened", slowly)
    with ThreadPoolExecutor(4) as pool:
        tiles = {id(one.tiles) for one in pool.map(lambda _: maps.open(seen), range(20))}

    assert (len(tiles), len(made)) == (1, 1)


def with_parameter(name: str, **load: Any) -> dict[str, Any]:
    """Return NDVI of what a parameter of the service says."""
    document = graph()
    document["process_graph"]["load"]["arguments"] |= load
    return document | {"parameters": [{"name": name, "description": "", "schema": {}}]}


@pytest.mark.parametrize("matrix", ["native", "WebMercatorQuad"])
def test_a_graph_of_titiler_gives_the_same_tiles(
    client: TestClient, service: dict[str, Any], matrix: str
) -> None:
    box = with_parameter("bounding_box", spatial_extent={"from_parameter": "bounding_box"})
    edges = {edge: {"from_parameter": f"spatial_extent_{edge}"} for edge in EDGES}
    undeclared = graph()
    undeclared["process_graph"]["load"]["arguments"]["spatial_extent"] = edges
    zoom = service["matrices"][matrix]["zooms"][0]
    column, row = covered(client, service["id"], matrix, zoom)
    tile = f"tiles/{matrix}/{zoom}/{column}/{row}.npy"

    whole = client.get(f"/services/{service['id']}/{tile}").content
    given = [
        client.get(f"/services/{made_service(client, document)}/{tile}").content
        for document in (box, undeclared)
    ]

    assert given == [whole, whole]


def covered(client: TestClient, name: str, matrix: str, zoom: int) -> tuple[int, int]:
    tiles = opened(client, name).tiles
    plan = tiles.plan(matrix, zoom)
    assert plan is not None
    columns, rows = tiles.matrix(matrix).covering(plan.grid, plan.window, zoom)
    return columns[0], rows[0]


def test_a_graph_may_depend_on_the_tile(client: TestClient) -> None:
    document = graph()
    document["process_graph"]["ndvi"].pop("result")
    place = {"x": {"from_parameter": "x"}, "y": {"from_parameter": "tile_x"}}
    document["process_graph"]["moved"] = {
        "process_id": "apply",
        "arguments": {
            "data": {"from_node": "ndvi"},
            "process": {
                "process_graph": {"add": {"process_id": "add", "arguments": place, "result": True}}
            },
        },
        "result": True,
    }
    plain, moved = made_service(client, graph()), made_service(client, document)

    for column in (0, 1):
        tiles = [
            np.load(
                io.BytesIO(client.get(f"/services/{name}/tiles/native/1/{column}/1.npy").content)
            )
            for name in (plain, moved)
        ]
        inside = tiles[0][1] != 0
        assert inside.any()
        np.testing.assert_allclose(tiles[1][0][inside], tiles[0][0][inside] + column, rtol=1e-6)


def test_an_extent_confines_tiles_values_and_bounds(
    client: TestClient, service: dict[str, Any]
) -> None:
    west, south, east, north = service["bounds"]
    half = [west, south, (west + east) / 2, north]
    name = made_service(client, graph(), configuration={"extent": half})

    left, right = (
        client.get(f"/services/{name}/tiles/native/1/{column}/0.npy") for column in (0, 1)
    )
    whole = client.get(f"/services/{service['id']}/tiles/native/1/0/0.npy")
    told = client.get(f"/services/{name}/map").json()
    beside = client.get(f"/services/{name}/point", params=place(100, 280)).json()

    valid = np.load(io.BytesIO(left.content))[1] != 0
    everywhere = np.load(io.BytesIO(whole.content))[1] != 0
    columns = np.flatnonzero(valid.any(axis=0))
    assert columns.max() == pytest.approx(150, abs=3)  # the half of 300 columns
    np.testing.assert_array_equal(valid[:, :148], everywhere[:, :148])
    assert right.status_code == 204
    assert told["bounds"][2] == pytest.approx(half[2], abs=1e-3)
    assert beside["values"] == []


def test_a_finer_tile_has_the_same_pixels_as_four(
    client: TestClient, service: dict[str, Any]
) -> None:
    name = made_service(client, graph(), configuration={"tile_size": 512})

    large = np.load(io.BytesIO(client.get(f"/services/{name}/tiles/native/0/0/0.npy").content))
    small = [
        [
            np.load(
                io.BytesIO(
                    client.get(f"/services/{service['id']}/tiles/native/1/{x}/{y}.npy").content
                )
            )
            for x in (0, 1)
        ]
        for y in (0, 1)
    ]

    assert client.get(f"/services/{name}/map").json()["matrices"]["native"]["zooms"] == [0, 0]
    np.testing.assert_array_equal(large, np.block(small))
