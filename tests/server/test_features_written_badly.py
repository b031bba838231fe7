"""What users write into items and tables breaks no page of features, and no tile."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import mapbox_vector_tile
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS
from starlette.testclient import TestClient
from tests.server.fields import ROOT, make_fields
from tests.server.people import closed, ledger, newcomer
from tests.server.small import make_home

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.geo.crs import crs_name
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.users import find_user
from terrazzo.server.app import create_app
from terrazzo.server.features import routes
from terrazzo.server.web import patience
from terrazzo.server.web.faults import ServerBusy

EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
TEXTS = (
    "1" + "0" * 400,
    "9" * 5000,
    '{"b":"\\ud800"}',
    '"\\ud800"',
    '{"a":NaN}',
    "[" * 900 + "]" * 900,
)


def collection(name: str) -> dict[str, Any]:
    extent = {
        "spatial": {"bbox": [[-180, -90, 180, 90]]},
        "temporal": {"interval": [[None, None]]},
    }
    return {
        "type": "Collection",
        "id": name,
        "stac_version": "1.0.0",
        "description": "Written by a user",
        "license": "other",
        "links": [],
        "extent": extent,
        "cube:dimensions": {"g": {"type": "geometry", "bbox": [0, 0, 1, 1]}},
    }


def item(code: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "x",
        "geometry": {"type": "Point", "coordinates": [1, 1]},
        "bbox": [1, 1, 1, 1],
        "properties": {
            "datetime": "2020-01-01T00:00:00Z",
            "table:primary_geometry": "g",
            "proj:code": code,
        },
        "links": [],
        "assets": {"t": {"href": "https://elsewhere.example/x.parquet"}},
    }


def test_only_crs_that_are_some_are_offered(tmp_path):
    workspace = make_fields(tmp_path)
    database = ledger(workspace.home)
    hers, name = newcomer(database, "mallory"), "mallory~p"
    here, offered = quote(name, safe=""), {}
    with TestClient(create_app(workspace, settings=closed())) as client:
        assert client.post("/collections", json=collection(name), headers=hers).status_code == 201
        owner = find_user(database, "mallory")
        assert owner is not None
        set_access(database, CollectionAccess(name, Visibility.PUBLIC, owner=owner.id))
        wrong = ("abc", "9" * 5000, "-5", "999999", "1_0", " 4326", "5773", "٣٢٦٣٣")
        for code in (*wrong, "32633"):
            made = client.post(
                f"/collections/{here}/items", json=item(f"EPSG:{code}"), headers=hers
            )
            assert made.status_code == 201, made.text

            listed = client.get(f"{ROOT}")

            assert listed.status_code == 200
            (told,) = [one for one in listed.json()["collections"] if one["id"] == name]
            offered[code] = (
                set(told["crs"][1:]) - {f"{EPSG}4326", f"{EPSG}3857"},
                told.get("storageCrs"),
            )
            for crs in told["crs"]:
                asked = {"crs": crs, "bbox": "0,0,1,1", "bbox-crs": crs}
                assert client.get(f"{ROOT}/{here}/items", params=asked).status_code == 200
            client.delete(f"/collections/{here}/items/x", headers=hers)

    assert all(offered[code] == (set(), None) for code in wrong)
    assert offered["32633"] == ({f"{EPSG}32633"}, f"{EPSG}32633")


@pytest.mark.parametrize("code", ["abc", 999_999, -5])
def test_a_definition_that_states_a_code_that_does_not_exist_is_taken_by_what_it_says(code):
    document = CRS.from_epsg(32633).to_json_dict()
    document["name"], document["id"] = "mine", {"authority": "EPSG", "code": code}
    document["conversion"]["parameters"][1]["value"] = 15.5

    name = crs_name(document)

    assert CRS(name).coordinate_operation.params[1].value == 15.5


def test_attributes_that_no_text_holds_are_null_or_left_out(tmp_path):
    workspace = make_home(tmp_path)
    shape = shapely.box(10, 45, 11, 46)
    kind = pa.json_(pa.utf8())
    table = pa.table(
        {
            "n": list(range(len(TEXTS))),
            "x": pa.ExtensionArray.from_storage(kind, pa.array(TEXTS)),
            "geometry": pa.array([shapely.to_wkb(shape)] * len(TEXTS), pa.binary()),
        }
    )
    columns = {"geometry": {"encoding": "WKB", "geometry_types": []}}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": columns}
    path = tmp_path / "texts.parquet"
    pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo)}), path)
    ingest([path], "texts", workspace, options=IngestOptions(datetime="2024"))
    with TestClient(create_app(workspace)) as client:
        answer = client.get(f"{ROOT}/texts/items")
        tile = client.get(f"{ROOT}/texts/tiles/WebMercatorQuad/5/11/16")

    told = {one["properties"]["n"]: one["properties"]["x"] for one in answer.json()["features"]}
    assert told[0] == 10**400
    assert told[4] == {"a": None}
    assert told[5] is None
    ((_, layer),) = mapbox_vector_tile.decode(tile.content).items()
    shown = {one["properties"]["n"]: one["properties"].get("x") for one in layer["features"]}
    assert sorted(shown) == list(range(len(TEXTS)))
    assert shown[0] == TEXTS[0]
    assert (shown[2], shown[3]) == ('{"b": "?"}', "?")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    with TestClient(create_app(make_fields(tmp_path_factory.mktemp("fields")))) as found:
        yield found


@pytest.mark.parametrize("asked", [{"tonnes": "1,2"}, {"year": "2020,2021"}])
def test_an_attribute_has_one_number(client, asked):
    answer = client.get(f"{ROOT}/fields/items", params=asked)

    assert answer.status_code == 400
    assert "one number" in answer.json()["message"]


def test_a_wrong_token_is_told_by_its_name(client):
    message = client.get(f"{ROOT}/fields/items", params={"token": "x"}).json()["message"]

    assert "`token`" in message
    assert "after" not in message


def test_one_feature_does_not_wait_for_searches(client, monkeypatch: pytest.MonkeyPatch):
    class Full:
        async def run(self, *_: Any) -> Any:
            raise ServerBusy("All threads are taken.")

    monkeypatch.setattr(routes, "searches", Full())

    assert client.get(f"{ROOT}/fields/items").status_code == 503
    assert client.get(f"{ROOT}/fields/items/fields.3").status_code == 200


def test_the_wait_for_a_thread_is_no_part_of_a_search(monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: now))
    soon, late = patience.Patience(60), patience.Patience(60)

    now = 1059.0
    soon()
    now = 1118.0

    soon()
    with pytest.raises(ServerBusy):
        late()
