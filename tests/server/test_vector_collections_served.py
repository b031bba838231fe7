"""Collections of geometries as clients of openEO and STAC read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas
import pytest
import shapely
from starlette.testclient import TestClient
from tests.server.people import closed, ledger, newcomer
from tests.server.small import make_home

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.users import find_user
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

NAMES = ["north", "south"]
BOXES = [shapely.box(15.0, 46.1, 15.1, 46.2), shapely.box(15.0, 45.1, 15.1, 45.2)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("vectors")
    workspace = make_home(folder)
    frame = geopandas.GeoDataFrame({"name": NAMES, "area": [1.5, 2.5]}, geometry=BOXES, crs=4326)
    frame.to_file(folder / "fields.gpkg")
    options = IngestOptions(datetime="2020", id="name", title="Fields")
    ingest([folder / "fields.gpkg"], "fields", workspace, options=options)
    return workspace


@pytest.fixture(scope="module")
def client(home: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(home), raise_server_exceptions=False) as found:
        yield found


def graph(**arguments: Any) -> dict[str, Any]:
    given = {"id": "fields", "spatial_extent": None, "temporal_extent": None, **arguments}
    load = {"process_id": "load_collection", "arguments": given}
    save = {
        "process_id": "save_result",
        "arguments": {"data": {"from_node": "load"}, "format": "GeoJSON"},
        "result": True,
    }
    return {"process": {"process_graph": {"load": load, "save": save}}}


def test_a_collection_has_a_dimension_of_geometries(client: TestClient):
    answer = client.get("/collections/fields").json()

    dimension = answer["cube:dimensions"]["geometry"]
    assert set(answer["cube:dimensions"]) == {"geometry", "t"}
    assert (dimension["type"], dimension["geometry_types"]) == ("geometry", ["Polygon"])
    assert dimension["bbox"] == [15.0, 45.1, 15.1, 46.2]


def test_an_item_names_its_columns_and_its_file_can_be_fetched(client: TestClient, tmp_path: Path):
    item = client.get("/collections/fields/items/fields").json()

    columns = {one["name"]: one["type"] for one in item["properties"]["table:columns"]}
    assert columns == {"name": "string", "area": "double", "geometry": "geometry"}
    answer = client.get(item["assets"]["data"]["href"].replace("http://testserver", ""))
    (tmp_path / "fields.parquet").write_bytes(answer.content)
    assert (
        geopandas.read_parquet(tmp_path / "fields.parquet")["name"].sort_values().tolist() == NAMES
    )
    assert "/vectors" not in str(item)


def test_features_of_a_place_are_a_result(client: TestClient):
    box = {"west": 14, "south": 46, "east": 16, "north": 47}

    answer = client.post("/result", json=graph(spatial_extent=box))

    (feature,) = answer.json()["features"]
    assert (feature["id"], feature["properties"]["area"]) == ("north", 1.5)
    assert shapely.geometry.shape(feature["geometry"]).equals(BOXES[0])


def test_there_is_no_picture_of_geometries(client: TestClient):
    answer = client.get("/collections/fields/items/fields/preview")

    assert (answer.status_code, answer.json()["code"]) == (404, "PreviewUnavailable")


def test_private_collections_of_geometries_are_not_there_for_others(home: Workspace):
    database = ledger(home.home)
    header = newcomer(database, "owner"), newcomer(database, "other")
    owner = find_user(database, "owner")
    assert owner is not None
    set_access(database, CollectionAccess("fields", Visibility.PRIVATE, owner=owner.id))
    try:
        with TestClient(create_app(home, settings=closed())) as found:
            mine, theirs = (found.post("/result", json=graph(), headers=one) for one in header)
    finally:
        set_access(database, CollectionAccess("fields", Visibility.PUBLIC, owner=owner.id))

    assert mine.status_code == 200
    assert (theirs.status_code, theirs.json()["code"]) == (404, "CollectionNotFound")
