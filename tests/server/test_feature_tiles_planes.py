"""Vector tiles in other planes than that of web maps, against geopandas and morecantile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import geopandas
import mapbox_vector_tile
import numpy as np
import pytest
import shapely
from morecantile import TileMatrixSet
from pyproj import Transformer
from starlette.testclient import TestClient
from tests.server.fields import ROOT, fields, make_fields

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNITS, BUFFER = 4096, 64
PLACE = (15.05, 45.18)
"""Of some fields, degrees."""
STRIPS = {
    # Its edges along a parallel bend by 12 km in EPSG:3035.
    "wide": shapely.box(4, 50, 20, 51),
    "narrow": shapely.box(5, 55, 9, 55.01),
    "round the pole": shapely.box(-180, 85, 180, 90),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("fields")
    workspace = make_fields(folder)
    strips = geopandas.GeoDataFrame({"name": list(STRIPS)}, geometry=[*STRIPS.values()], crs=4326)
    strips.to_parquet(folder / "strips.parquet")
    ingest([folder / "strips.parquet"], "strips", workspace, options=IngestOptions(datetime="2024"))
    with TestClient(create_app(workspace), raise_server_exceptions=False) as found:
        yield found


def pyramid(client: TestClient, name: str) -> TileMatrixSet:
    """Return a pyramid as morecantile reads its document."""
    told = client.get(f"/features/tileMatrixSets/{name}")
    assert told.status_code == 200, told.text
    return TileMatrixSet.model_validate(told.json())


def inside(
    client: TestClient, tiles: TileMatrixSet, collection: str, x: float, y: float, zoom: int
) -> tuple[dict[str, Any], Any]:
    """Return the shapes of the tile at a place, in its plane, by name; and its box."""
    tile = tiles._tile(x, y, zoom)
    box = tiles.xy_bounds(tile)
    answer = client.get(f"{ROOT}/{collection}/tiles/{tiles.id}/{zoom}/{tile.y}/{tile.x}")
    assert answer.status_code == 200, answer.text
    ((_, layer),) = mapbox_vector_tile.decode(
        answer.content, default_options={"y_coord_down": True}
    ).items()
    unit = (box.right - box.left) / UNITS

    def placed(points: Any) -> Any:
        return np.stack([box.left + points[:, 0] * unit, box.top - points[:, 1] * unit], axis=1)

    shapes = {
        one["properties"]["name"]: shapely.make_valid(
            shapely.transform(shapely.geometry.shape(one["geometry"]), placed)
        )
        for one in layer["features"]
    }
    return shapes, shapely.box(*box).buffer(BUFFER * unit, join_style="mitre")


@pytest.mark.parametrize(
    ("code", "zoom"),
    [(3035, 16), (32633, 16), (32632, 16), (4326, 14), (3995, 16), (2263, 15), (4647, 16)],
)
def test_what_a_tile_shows_is_what_geopandas_cuts_out(client: TestClient, code: int, zoom: int):
    tiles = pyramid(client, f"EPSG-{code}")
    place = Transformer.from_crs(4326, code, always_xy=True).transform(*PLACE)

    shown, box = inside(client, tiles, "fields", *place, zoom)

    frame = fields().to_crs(code)
    frame = frame[frame.intersects(box)].set_index("name")
    unit = tiles.matrix(0).cellSize * 256 / 2**zoom / UNITS
    assert set(shown) <= set(frame.index)
    assert len(shown) > 5
    for name, shape in frame.geometry.items():
        cut = shape.intersection(box)
        if name not in shown:  # a sliver at the edge, as small as rounding
            assert cut.area < 16 * unit**2
            continue
        off = shapely.symmetric_difference(shown[name], cut).area
        assert off <= cut.length * 4.5 * unit  # half a pixel, and the rounding to units


@pytest.mark.parametrize(
    ("code", "zoom", "lon", "lat", "name"),
    [
        (3035, 5, 12, 50.5, "wide"),
        (3035, 9, 12, 51, "wide"),
        (3035, 8, 7, 55, "narrow"),
        (32632, 10, 7, 55.005, "narrow"),
        (3995, 4, 10, 88, "round the pole"),
        (3995, 8, 10, 85, "round the pole"),
    ],
)
def test_edges_are_where_they_are_straight_in_degrees(
    client: TestClient, code: int, zoom: int, lon: float, lat: float, name: str
):
    tiles = pyramid(client, f"EPSG-{code}")
    x, y = Transformer.from_crs(4326, code, always_xy=True).transform(lon, lat)

    shown, box = inside(client, tiles, "strips", x, y, zoom)

    strips = {one: shapely.segmentize(shape, 0.01) for one, shape in STRIPS.items()}
    true = geopandas.GeoSeries(strips, crs=4326).to_crs(code)[name]
    cut = shapely.make_valid(true).intersection(box)
    unit = tiles.matrix(0).cellSize * 256 / 2**zoom / UNITS
    edges = cut.boundary.length
    assert shapely.symmetric_difference(shown[name], cut).area <= edges * 4.5 * unit


def test_in_a_plane_of_the_pacific_the_antimeridian_is_no_edge(client: TestClient):
    zone, around = pyramid(client, "EPSG-32760"), pyramid(client, "EPSG-4326")

    together, _ = inside(client, zone, "islands", 819_450.0, 8_118_000.0, 11)
    west, _ = inside(client, around, "islands", 179.99, -17.0, 8)
    east, _ = inside(client, around, "islands", -179.99, -17.0, 8)

    assert set(together) == {"west", "across", "east"}
    assert set(west) == {"west", "across"}
    assert set(east) == {"across", "east"}
    assert together["across"].area == pytest.approx(4e6, rel=0.02)
    for side in (west, east):
        left, _, right, _ = shapely.bounds(side["across"])
        assert right - left < 0.1


def test_pyramids_are_told_as_their_crs_writes_coordinates(client: TestClient):
    told = client.get("/features/tileMatrixSets/EPSG-3035").json()
    listed = client.get("/features/tileMatrixSets").json()["tileMatrixSets"]
    tilesets = client.get(f"{ROOT}/fields/tiles").json()["tilesets"]
    one = client.get(f"{ROOT}/fields/tiles/EPSG-3035").json()

    assert told["orderedAxes"] == ["Y", "X"]
    assert told["tileMatrices"][0]["pointOfOrigin"] == [2.0**26, -(2.0**26)]
    assert [each["id"] for each in listed] == [
        "WebMercatorQuad", "EPSG-32633", "EPSG-32760", "EPSG-4326",
    ]  # fmt: skip
    crs = "http://www.opengis.net/def/crs/EPSG/0/"
    assert [each["crs"] for each in tilesets] == [f"{crs}3857", f"{crs}32633"]
    (template,) = [link["href"] for link in one["links"] if link["rel"] == "item"]
    (scheme,) = [link["href"] for link in one["links"] if "tiling-scheme" in link["rel"]]
    assert client.get(scheme).json() == told
    x, y = Transformer.from_crs(4326, 3035, always_xy=True).transform(*PLACE)
    tile = pyramid(client, "EPSG-3035")._tile(x, y, 10)
    href = template.format(tileMatrix=10, tileRow=tile.y, tileCol=tile.x)
    assert client.get(href).status_code == 200


def test_the_scale_of_degrees_is_that_at_the_equator(client: TestClient):
    (first, *_) = client.get("/features/tileMatrixSets/EPSG-4326").json()["tileMatrices"]

    metres = 2 * math.pi * 6_378_137 / 256  # a pixel, around the world
    assert first["scaleDenominator"] == pytest.approx(metres / 0.00028)
    assert first["cellSize"] == 360 / 256


@pytest.mark.parametrize(
    "name",
    ["EPSG-0", "EPSG-999999", "epsg-3035", "EPSG-5773", "EPSG-4978", "OGC-CRS84", "EPSG-", "3035"],
)
def test_what_is_no_plane_of_maps_has_no_tiles(client: TestClient, name: str):
    for address in (
        f"{ROOT}/fields/tiles/{name}/0/0/0", f"{ROOT}/fields/tiles/{name}",
        f"/features/tileMatrixSets/{name}",
    ):  # fmt: skip
        answer = client.get(address)
        assert answer.status_code == 404
        assert "such as EPSG-3035" in answer.json()["message"]


def test_a_tile_beside_the_world_is_empty(client: TestClient):
    for z, row, column in ((5, 0, 0), (12, 4095, 4095), (22, 0, 2**22 - 1)):
        for name in ("EPSG-3035", "EPSG-4326", "EPSG-32633"):
            answer = client.get(f"{ROOT}/strips/tiles/{name}/{z}/{row}/{column}")
            assert answer.status_code == 204, (name, z, answer.text)
