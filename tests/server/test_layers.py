"""Layers: graphs that are stored, listed, described and asked for values."""

from __future__ import annotations

import json
import math
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.small import COLLECTION, DATES, LEFT, PIXEL, TOP, graph, make_home, nir, red

from terrazzo.errors import TerrazzoError
from terrazzo.geo.crs import transformer
from terrazzo.server.store import LayerStore

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

    from terrazzo.drivers.job import Workspace


def place(row: int, col: int) -> dict[str, float]:
    lon, lat = transformer("EPSG:32634", "EPSG:4326").transform(
        LEFT + (col + 0.5) * PIXEL, TOP - (row + 0.5) * PIXEL
    )
    return {"lon": lon, "lat": lat}


def test_a_stored_layer_tells_what_a_map_needs(layer: dict[str, Any]) -> None:
    assert layer["digest"].startswith(layer["id"])
    assert [date[:10] for date in layer["dates"]] == list(DATES)
    assert layer["matrices"]["native"]["crs"] == "EPSG:32634"
    assert layer["matrices"]["native"]["zooms"] == [0, 1]
    assert layer["resolution_metres"] == 10
    assert layer["legend"]["min"] == 0
    assert len(layer["legend"]["colors"]) > 2
    west, south, east, north = layer["bounds"]
    assert west < place(0, 0)["lon"] < east
    assert south < place(0, 0)["lat"] < north


def test_layer_is_kept_by_its_digest_and_survives_the_server(
    layer: dict[str, Any], workspace: Workspace
) -> None:
    files = [path.name for path in (workspace.home / "layers").iterdir()]

    again = LayerStore(workspace).open(layer["id"])

    assert f"{layer['digest']}.json" in files
    assert not [name for name in files if name.endswith(".part")]
    assert again.stored.title == "NDVI"


def test_equal_graphs_are_one_layer(client: TestClient, layer: dict[str, Any]) -> None:
    renamed = json.loads(json.dumps(graph()).replace('"load"', '"source"'))

    answer = client.post("/layers", json=renamed | {"title": "NDVI", "style": layer["style"]})

    assert answer.json()["id"] == layer["id"]


def test_layers_are_listed(client: TestClient, layer: dict[str, Any]) -> None:
    listed = client.get("/layers").json()["layers"]

    assert layer["id"] in [entry["id"] for entry in listed]


def test_range_is_taken_from_the_pixels_where_the_style_has_none(client: TestClient) -> None:
    document = graph()
    document["process_graph"]["ndvi"]["arguments"]["target_band"] = "index"
    style = {"bands": ["red"]}

    told = client.post("/layers", json=document | {"style": style}).json()

    assert 100 < told["style"]["min"] < told["style"]["max"] < 420


def test_point_has_the_value_of_every_date(client: TestClient, layer: dict[str, Any]) -> None:
    row, col = 123, 222

    told = client.get(f"/layers/{layer['id']}/point", params=place(row, col)).json()

    assert (told["row"], told["column"]) == (row, col)
    for entry, date in zip(told["values"], DATES, strict=True):
        a, b = float(nir(int(date[:4]))[row, col]), float(red(int(date[:4]))[row, col])
        assert entry["value"] == pytest.approx((a - b) / (a + b), rel=1e-6)


def test_point_without_data_is_null(client: TestClient, layer: dict[str, Any]) -> None:
    inside = client.get(f"/layers/{layer['id']}/point", params=place(5, 5)).json()
    outside = client.get(f"/layers/{layer['id']}/point", params={"lon": -60, "lat": -80}).json()

    assert {entry["value"] for entry in inside["values"]} == {None}
    assert outside["values"] == []


@pytest.mark.parametrize("lon", ["nan", "inf", "181", "x", ""])
def test_point_refuses_what_is_no_place(
    client: TestClient, layer: dict[str, Any], lon: str
) -> None:
    answer = client.get(f"/layers/{layer['id']}/point?lon={lon}&lat=45")

    assert answer.status_code == 400
    assert answer.json()["code"] == "RequestInvalid"


BAD_BODIES = {
    "no JSON": ("{", 400, "RequestInvalid"),
    "no graph": ("{}", 400, "RequestInvalid"),
    "an array": ("[]", 400, "RequestInvalid"),
    "deep": ("[" * 100_000, 400, "RequestInvalid"),
    "unknown member": ('{"process_graph": {}, "stile": 1}', 400, "RequestInvalid"),
    "empty graph": ('{"process_graph": {}}', 400, "ProcessGraphInvalid"),
    "title": ('{"process_graph": {}, "title": 5}', 400, "RequestInvalid"),
    "style": ('{"process_graph": {}, "style": {"min": NaN}}', 400, "RequestInvalid"),
    "style names": ('{"process_graph": {}, "style": {"mim": 1}}', 400, "RequestInvalid"),
    "range": ('{"process_graph": {}, "style": {"min": 2, "max": 1}}', 400, None),
    "colours": ('{"process_graph": {}, "style": {"colors": "pink"}}', 400, None),
    "bands": ('{"process_graph": {}, "style": {"bands": ["a", "b"]}}', 400, None),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies_get_an_openeo_error(client: TestClient, name: str) -> None:
    body, status, code = BAD_BODIES[name]

    answer = client.post("/layers", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == status
    assert set(answer.json()) == {"id", "code", "message", "links"}
    assert code in (None, answer.json()["code"])


def test_a_body_that_does_not_say_json_is_refused(client: TestClient) -> None:
    answer = client.post(
        "/layers", content=json.dumps(graph()), headers={"Content-Type": "text/plain"}
    )

    assert answer.status_code == 415


def test_a_wrong_graph_is_not_stored(client: TestClient, workspace: Workspace) -> None:
    before = sorted([path.name for path in (workspace.home / "layers").iterdir()])

    unknown_band = client.post("/layers", json=graph(bands=("red", "nix")))
    unknown_collection = client.post("/layers", json=graph("nowhere"))

    assert unknown_band.status_code == 400
    assert "nir" in unknown_band.json()["message"]
    assert unknown_collection.status_code == 404
    assert COLLECTION in unknown_collection.json()["message"]
    assert sorted([path.name for path in (workspace.home / "layers").iterdir()]) == before


def test_a_changed_collection_changes_the_layer(tmp_path: Path) -> None:
    workspace = make_home(tmp_path)
    store = LayerStore(workspace)
    stored = store.put(graph())
    before = store.open(stored.id)

    workspace.catalog().delete_items(COLLECTION, ["scene_20190501"])
    after = store.open(stored.id)

    assert before.versions != after.versions
    assert store.open(stored.id).tiles is after.tiles


def test_layers_can_be_stored_and_opened_at_once(tmp_path: Path) -> None:
    store = LayerStore(make_home(tmp_path))
    failures: list[TerrazzoError] = []

    def work() -> None:
        try:
            for _ in range(5):
                store.open(store.put(graph()).id)
        except TerrazzoError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(store.layers()) == 1
    assert math.isfinite(store.open(store.layers()[0].id).tiles.bounds("EPSG:4326")[0])
