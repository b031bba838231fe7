"""Vector tiles of collections of geometries, as two other readers of them see them."""

from __future__ import annotations

import gzip
import math
from typing import TYPE_CHECKING, Any

import geopandas
import mapbox_vector_tile
import numpy as np
import pyogrio
import pytest
import shapely
from starlette.testclient import TestClient
from tests.server.fields import ROOT, SIDE, fields, make_fields

from terrazzo.drivers.features import tiles as made
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

WIDE = 2 * 20_037_508.342789244
UNITS, BUFFER = 4096, 64


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_fields(tmp_path_factory.mktemp("fields"))
    folder = workspace.home
    places = {
        "points": shapely.points([15.001, 15.001, 15.4], [45.001, 45.001, 45.4]),
        "lines": shapely.linestrings([[[15, 45], [15.4, 45.4]], [[15.2, 45], [15.20001, 45]]]),
        "mixed": np.array([shapely.Point(15.1, 45.1), shapely.box(15.2, 45.1, 15.20001, 45.10001)]),
    }
    for name, shapes in places.items():
        frame = geopandas.GeoDataFrame({"n": range(len(shapes))}, geometry=shapes, crs=4326)
        frame.to_parquet(folder / f"{name}.parquet")
        ingest(
            [folder / f"{name}.parquet"], name, workspace, options=IngestOptions(datetime="2024")
        )
    return workspace


@pytest.fixture(scope="module")
def client(home: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(home), raise_server_exceptions=False) as found:
        yield found


def address(zoom: int, column: int, row: int, name: str = "fields") -> str:
    return f"{ROOT}/{name}/tiles/WebMercatorQuad/{zoom}/{row}/{column}"


def tile_at(lon: float, lat: float, zoom: int) -> tuple[int, int, int]:
    """Return zoom, column and row."""
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return zoom, int((lon + 180) / 360 * 2**zoom), int(y * 2**zoom)


def square(zoom: int, column: int, row: int, buffer: float = 0) -> Any:
    """Return a tile in Web Mercator, with some units around it."""
    edge = WIDE / 2**zoom
    left, top, more = column * edge - WIDE / 2, WIDE / 2 - row * edge, buffer * edge / UNITS
    return shapely.box(left - more, top - edge - more, left + edge + more, top + more)


def raw(client: TestClient, *place: Any) -> list[dict[str, Any]]:
    """Return the features of a tile with shapes in its units."""
    content = client.get(address(*place)).content
    if not content:
        return []
    ((_, layer),) = mapbox_vector_tile.decode(
        content, default_options={"y_coord_down": True}
    ).items()
    assert layer["extent"] == UNITS
    for one in layer["features"]:
        one["shape"] = shapely.geometry.shape(one["geometry"])
    features: list[dict[str, Any]] = layer["features"]
    return features


def by_gdal(client: TestClient, folder: Path, place: tuple[int, int, int]) -> Any:
    """Return the features of a tile as GDAL reads them, in Web Mercator."""
    path = folder / "tile.mvt"
    path.write_bytes(client.get(address(*place)).content)
    zoom, column, row = place
    return pyogrio.read_dataframe(f"MVT:{path}", X=str(column), Y=str(row), Z=str(zoom), CLIP="NO")


def test_what_a_tile_shows_is_what_geopandas_cuts_out(client, tmp_path):
    frame = fields().to_crs(3857)
    place = tile_at(15.05, 45.18, 14)
    frame = frame[frame.intersects(square(*place, BUFFER))]

    seen = by_gdal(client, tmp_path, place)

    assert set(seen["name"]) == set(frame["name"])
    assert len(seen) == len(frame) > 50
    cut = frame.set_index("name").geometry.intersection(square(*place, BUFFER))
    unit = WIDE / 2**14 / UNITS
    for row in seen.itertuples():
        border = cut[row.name].length
        off = shapely.symmetric_difference(shapely.make_valid(row.geometry), cut[row.name]).area
        assert off <= border * 4.5 * unit  # half a pixel, and the rounding to units
    told = seen.set_index("name")
    source = frame.set_index("name").loc[told.index]
    assert (told["crop"] == source["crop"]).all()
    assert (told["year"] == source["year"]).all()
    assert (told["organic"] == source["organic"]).all()
    np.testing.assert_allclose(told["tonnes"], source["tonnes"])  # NaN where there is none
    assert set(told["_item"]) == {"fields"}


@pytest.mark.parametrize("zoom", [5, 8, 10, 12, 14, 16, 19, 22])
def test_tiles_hold_to_the_specification(client, zoom: int):
    for one in raw(client, *tile_at(15.05, 45.18, zoom)):
        shape = one["shape"]
        points = shapely.get_coordinates(shape)
        assert (points == np.round(points)).all()
        assert points.min() >= -BUFFER - 32
        assert points.max() <= UNITS + BUFFER + 32
        assert shape.is_valid
        for part in shapely.get_parts(shape):
            assert signed_area(part.exterior) > 0
            assert all(signed_area(ring) < 0 for ring in part.interiors)


def signed_area(ring: Any) -> float:
    """Return the surveyor's formula, positive for outer rings by the specification."""
    x, y = np.array(ring.coords).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


@pytest.mark.parametrize("zoom", [7, 9, 10])
def test_small_ones_are_thinned_alike_in_all_tiles(client, zoom: int):
    place = tile_at(15.05, 45.18, zoom)
    cells: dict[tuple[int, int], set[int]] = {}
    for right in (-1, 0, 1):
        for down in (-1, 0, 1):
            _, column, row = zoom, place[1] + right, place[2] + down
            for one in raw(client, zoom, column, row):
                middle = one["shape"].centroid
                if max(np.ptp(shapely.get_coordinates(one["shape"]), axis=0)) >= 32:
                    continue
                cell = math.floor(middle.x / 32), math.floor(middle.y / 32)
                if -2 <= cell[0] < 130 and -2 <= cell[1] < 130:
                    key = column * 128 + cell[0], row * 128 + cell[1]
                    cells.setdefault(key, set()).add(one["id"])

    assert len(cells) > 1
    # A middle on the edge of a cell may be rounded into the next one.
    alone = sum(len(names) == 1 for names in cells.values())
    assert alone >= 0.9 * len(cells)
    assert sum(map(len, cells.values())) <= SIDE * SIDE
    if zoom == 7:
        assert sum(map(len, cells.values())) < SIDE * SIDE / 4


def test_across_the_antimeridian_both_edges_of_the_world_show_it(client):
    zoom = 9
    row = tile_at(0, -17.02, zoom)[2]

    west, east = (
        raw(client, zoom, 2**zoom - 1, row, "islands"),
        raw(client, zoom, 0, row, "islands"),
    )

    shown = [{one["properties"]["name"] for one in side} for side in (west, east)]
    assert shown == [{"west", "across"}, {"across", "east"}]
    for side in (west, east):
        for one in side:
            assert np.ptp(shapely.get_coordinates(one["shape"])[:, 0]) < UNITS / 8


def test_points_lines_and_mixtures_keep_their_kind(client):
    kinds = {
        name: {
            one["shape"].geom_type
            for zoom in (4, 10)
            for one in raw(client, *tile_at(15.15, 45.1, zoom), name)
        }
        for name in ("points", "lines", "mixed")
    }
    assert kinds == {
        "points": {"Point"}, "lines": {"LineString"}, "mixed": {"Point", "Polygon"},
    }  # fmt: skip
    both = raw(client, *tile_at(15.001, 45.001, 22), "points")
    assert len(both) == 1  # at the same place, one is seen


def test_a_tile_has_a_tag_is_compressed_for_those_who_ask_and_may_be_empty(client):
    place = address(*tile_at(15.05, 45.18, 12))
    plain = client.get(place, headers={"Accept-Encoding": "identity"})
    with client.stream("GET", place, headers={"Accept-Encoding": "gzip"}) as answer:
        squeezed = b"".join(answer.iter_raw())

    known = client.get(place, headers={"If-None-Match": plain.headers["etag"]})

    assert plain.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    assert gzip.decompress(squeezed) == plain.content
    assert known.status_code == 304
    assert client.get(address(12, 0, 0)).status_code == 204
    for wrong in (address(23, 0, 0), address(3, 8, 0), address(3, 0, -1)):
        assert client.get(wrong).status_code == 404
    other = place.replace("WebMercatorQuad", "WorldCRS84Quad")
    assert client.get(other).status_code == 404


def test_the_tileset_says_which_tiles_hold_something(client):
    told = client.get(f"{ROOT}/fields/tiles/WebMercatorQuad").json()

    (template,) = [one["href"] for one in told["links"] if one["rel"] == "item"]
    for limits in told["tileMatrixSetLimits"][8:13]:
        zoom = int(limits["tileMatrix"])
        rows = range(limits["minTileRow"] - 1, limits["maxTileRow"] + 2)
        cols = range(limits["minTileCol"] - 1, limits["maxTileCol"] + 2)
        inside = {
            (row, column)
            for row in rows
            for column in cols
            if any(
                shapely.intersects(one["shape"], shapely.box(0, 0, UNITS, UNITS))
                for one in raw(client, zoom, column, row)
            )
        }
        href = template.format(tileMatrix=zoom, tileRow=rows[1], tileCol=cols[1])
        assert client.get(href).status_code in {200, 204}
        assert inside
        assert {row for row, _ in inside} <= set(rows[1:-1])
        assert {column for _, column in inside} <= set(cols[1:-1])


def test_a_tile_stays_small_however_much_there_is(home, monkeypatch):
    place = tile_at(15.05, 45.18, 9)
    monkeypatch.setattr(made, "LARGEST", 4000)
    with TestClient(create_app(home)) as client:
        small = client.get(address(*place)).content
        outlines = client.get(address(*tile_at(15.05, 45.18, 14))).content
    monkeypatch.undo()
    with TestClient(create_app(home)) as client:
        whole = client.get(address(*place)).content

    assert 0 < len(small) <= 4000 < len(whole)
    assert 0 < len(outlines) <= 4000
