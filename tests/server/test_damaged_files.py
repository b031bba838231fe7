"""Files that break or vanish after they were catalogued: every route says which item it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import Affine
from starlette.testclient import TestClient
from tests.drivers.corrupt_files import changed, good_tiff, patched, tile_places
from tests.server.small import made_service

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ITEM, OTHER = "scene_20240501", "parcels"
BUILDING = 'LOCAL_CS["plan of a building",UNIT["metre",1]]'
FAILED_DEPENDENCY = 424


def loading(collection: str) -> dict[str, Any]:
    given = {"id": collection, "spatial_extent": None, "temporal_extent": None}
    node = {"process_id": "load_collection", "arguments": given, "result": True}
    return {"process_graph": {"load": node}}


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    workspace = Workspace.of(tmp_path)
    (tmp_path / "images").mkdir()
    image = tmp_path / "images" / f"{ITEM}.tif"
    image.write_bytes(good_tiff(tmp_path, "good.tif", COMPRESS="DEFLATE"))
    ingest([image], "images", workspace, options=IngestOptions(bands=("red",)))
    boxes = [shapely.box(15.0, 46.1, 15.1, 46.2)]
    frame = geopandas.GeoDataFrame({"name": ["a"]}, geometry=boxes, crs=4326)
    frame.to_file(tmp_path / f"{OTHER}.gpkg")
    options = IngestOptions(datetime="2020", id="name")
    ingest([tmp_path / f"{OTHER}.gpkg"], "fields", workspace, options=options)
    return workspace


@pytest.fixture
def client(home: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(home), raise_server_exceptions=False) as client:
        yield client


def _gone(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    """Cut it in its smallest overview, which comes first in the file."""
    content = path.read_bytes()
    _, _, first, length = tile_places(content, -1)
    path.write_bytes(content[: first + length // 2])


def _noise(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:8] + np.random.default_rng(1).bytes(5000))


def _unknown(path: Path) -> None:
    path.write_bytes(changed(path.read_bytes(), Compression=("value", 9999)))


def _inside(path: Path) -> None:
    """Break the first tile of every size, so that whatever is read decodes a broken one."""
    content = path.read_bytes()
    for page in range(3):
        _, _, first, length = tile_places(content, page)
        content = patched(content, first + length // 3, b"\xa5\x5a\xff" * (length // 9))
    path.write_bytes(content)


def _unbound(path: Path) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=512, height=512, count=1, dtype="uint16", crs=BUILDING,
        transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.ones((1, 512, 512), np.uint16))


HEADERS = ("gone", "empty", "noise", "unknown compression", "not bound to the earth")
"""What is found when a file is opened."""
DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": _gone,
    "empty": _empty,
    "cut short": _cut,
    "noise": _noise,
    "unknown compression": _unknown,
    "broken inside": _inside,
    "not bound to the earth": _unbound,
}


def checked(answer: Any, home: Workspace, item: str, status: int = FAILED_DEPENDENCY) -> None:
    assert answer.status_code == status, answer.text
    assert f"'{item}'" in answer.text, answer.text
    for place in (str(home.home), "site-packages", "Traceback", "Internal"):
        assert place not in answer.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_route_names_the_item_whose_image_is_broken(
    home: Workspace, client: TestClient, damage: str
):
    process = loading("images")
    service = made_service(client, process, configuration={"min": 0, "max": 4000})
    tile = {
        "service": "WMTS", "request": "GetTile", "version": "1.0.0", "layer": service,
        "style": "default", "format": "image/png", "tilematrixset": "native",
        "tilematrix": "0", "tilerow": "0", "tilecol": "0",
    }  # fmt: skip
    DAMAGES[damage](home.home / "images" / f"{ITEM}.tif")

    checked(client.post("/result", json={"process": process}), home, ITEM)
    checked(client.get(f"/services/{service}/tiles/native/0/0/0.png"), home, ITEM)
    checked(client.get(f"/services/{service}/wmts", params=tile), home, ITEM)
    where = {"lon": 15.0001, "lat": 45.1530}
    checked(client.get(f"/services/{service}/point", params=where), home, ITEM)
    checked(client.get(f"/collections/images/items/{ITEM}/preview"), home, ITEM, 404)


@pytest.mark.parametrize("damage", HEADERS)
def test_no_service_is_made_of_what_cannot_be_opened(
    home: Workspace, client: TestClient, damage: str
):
    DAMAGES[damage](home.home / "images" / f"{ITEM}.tif")

    answer = client.post("/services", json={"type": "XYZ", "process": loading("images")})

    checked(answer, home, ITEM)


@pytest.mark.parametrize("damage", ["gone", "empty", "noise"])
def test_a_broken_table_of_geometries_is_named_by_its_item(
    home: Workspace, client: TestClient, damage: str
):
    (table,) = home.home.glob("**/*.parquet")
    DAMAGES[damage](table)

    answer = client.post("/result", json={"process": loading("fields")})

    checked(answer, home, OTHER)
