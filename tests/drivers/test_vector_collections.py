"""Files of geometries become collections, and collections of geometries vector cubes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from tests.drivers.fields import DAY, frame, held, item_of, loaded, squares, table_of, taken_in
from tests.drivers.scenes import callback, grid_of, job_of, load, node, ref
from tests.drivers.test_equality_files import as_image, image_of

from terrazzo.drivers.batch import run
from terrazzo.drivers.described import Results
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.publish import publish
from terrazzo.drivers.tile import NATIVE, TileLayer
from terrazzo.engine.evaluate import paste
from terrazzo.errors import (
    ArgumentInvalid,
    BandNotFound,
    CollectionNotFound,
    NoDataAvailable,
    PlanTooLarge,
)
from terrazzo.storage.vectors import feature_table
from terrazzo.storage.vectors import stored as geoparquet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(tmp_path / "home")


@pytest.mark.parametrize("ending", ["gpkg", "shp", "geojson", "json", "parquet", "geoparquet"])
def test_every_format_becomes_a_table_that_others_read(
    tmp_path: Path, workspace: Workspace, ending: str
):
    numbers = pd.array([1, None, 3, 4, 5], dtype="Int64")
    given = frame(squares(5), name=["a", "b", None, "ü", "e"], number=numbers)
    path = tmp_path / f"fields.{ending}"
    if ending in {"parquet", "geoparquet"}:
        given.to_parquet(path)
    elif ending in {"json", "geojson"}:
        given.to_file(path, driver="GeoJSON", RFC7946="NO")
    else:
        given.to_file(path, encoding="utf-8" if ending == "shp" else None)

    report = taken_in(path, workspace)
    read = geopandas.read_parquet(table_of(workspace)).sort_values("_row").reset_index(drop=True)

    assert (report.made, dict(report.failed)) == (1, {})
    assert read.crs == given.crs
    assert read.geometry.geom_equals(given.geometry).all()
    assert [one if isinstance(one, str) else None for one in read["name"]] == [
        "a",
        "b",
        None,
        "ü",
        "e",
    ]
    assert [None if pd.isna(one) else one for one in read["number"]] == [1, None, 3, 4, 5]
    assert duckdb.read_parquet(table_of(workspace)).shape[0] == 5


def test_attributes_keep_their_types_and_nulls(tmp_path: Path, workspace: Workspace):
    table = pa.table(
        {
            "geometry": shapely.to_wkb(np.array(squares(2))),
            "day": pa.array([date(2020, 1, 2), None], pa.date32()),
            "moment": pa.array([1_600_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
            "price": pa.array([Decimal("12.30"), None], pa.decimal128(10, 2)),
            "small": pa.array([7, None], pa.uint16()),
            "sure": pa.array([True, None]),
            "nested": pa.array([{"a": [1, 2], "b": "x"}, None]),
            "kind": pa.array(["wheat", None]).dictionary_encode(),
            "bytes": pa.array([b"\x00\xff", None]),
            "bbox": pa.array(["mine", None]),
        }
    )
    pq.write_table(table, tmp_path / "fields.parquet")

    taken_in(tmp_path / "fields.parquet", workspace, crs="EPSG:32633")
    read = pq.read_table(table_of(workspace)).sort_by("_row")

    for name in table.column_names[1:]:
        kind = table.schema.field(name).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        assert read.schema.field(name).type == plain, name
        assert (
            read.column(name)
            .combine_chunks()
            .equals(table.column(name).combine_chunks().cast(plain))
        ), name
    told = {one["name"]: one["type"] for one in item_of(workspace)["properties"]["table:columns"]}
    assert (told["price"], told["day"], told["geometry"]) == (
        "decimal128(10, 2)", "date32[day]", "geometry",
    )  # fmt: skip


def test_tables_are_sorted_in_space_and_only_the_groups_of_the_place_are_read(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(geoparquet, "ROWS_OF_GROUP", 50)
    places = np.random.default_rng(3).uniform(0, 1, (1000, 2)) * (10_000, 10_000)
    given = frame([shapely.Point(5e5 + x, 5e6 + y) for x, y in places])
    given.to_parquet(tmp_path / "fields.parquet")
    taken_in(tmp_path / "fields.parquet", workspace)
    box = (502_000, 5_003_000, 503_000, 5_004_000)
    read: list[int] = []
    whole = pq.ParquetFile.iter_batches

    def noted(self: Any, *arguments: Any, **named: Any) -> Any:
        read.extend(named["row_groups"])
        return whole(self, *arguments, **named)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    west, south, east, north = box
    extent = {"west": west, "south": south, "east": east, "north": north, "crs": 32633}
    found = held(workspace, spatial_extent=extent)

    expected = given[given.within(shapely.box(*box))]
    assert [one["name"] for one in found.properties] == expected["name"].tolist()
    assert 1 <= len(read) <= 5 < pq.ParquetFile(table_of(workspace)).num_row_groups == 20


def test_only_what_lies_within_the_extent_as_a_whole_is_loaded(
    tmp_path: Path, workspace: Workspace
):
    frame(squares(10)).to_file(tmp_path / "fields.gpkg")
    taken_in(tmp_path / "fields.gpkg", workspace)
    ring = [[500_090, 4_999_990], [500_420, 4_999_990], [500_420, 5_000_100], [500_090, 5_000_100]]
    utm = {"type": "name", "properties": {"name": "EPSG:32633"}}
    polygon = {"type": "Polygon", "coordinates": [[*ring, ring[0]]], "crs": utm}

    found = held(workspace, spatial_extent=polygon)  # the fifth square is cut

    assert [one["name"] for one in found.properties] == ["s1", "s2", "s3"]
    far = {"west": 0, "south": 0, "east": 1, "north": 1}
    with pytest.raises(NoDataAvailable):
        held(workspace, spatial_extent=far)


def test_dates_of_rows_make_the_period_and_choose_rows(tmp_path: Path, workspace: Workspace):
    days = [date(2020, 1, 5), date(2020, 3, 1), None, date(2019, 7, 1)]
    frame(squares(4), name=list("abcd"), day=days).to_parquet(tmp_path / "fields.parquet")

    taken_in(tmp_path / "fields.parquet", workspace, date="day", id="name")

    times = item_of(workspace)["properties"]
    assert times["start_datetime"] == "2019-07-01T00:00:00Z"
    assert times["end_datetime"] == "2020-03-02T00:00:00Z"
    cube = loaded(workspace, temporal_extent=["2020-01-01", "2020-03-01"])
    assert cube.dimensions[0].labels == ("a",)
    assert loaded(workspace).dimensions[0].labels == ("a", "b", "c", "d")


def test_conditions_choose_rows_by_attributes_and_items_by_properties(
    tmp_path: Path, workspace: Workspace
):
    for name, count in (("few", 2), ("many", 5)):
        frame(squares(count), size=[1.0 * n for n in range(count)]).to_file(
            tmp_path / f"{name}.gpkg"
        )
    ingest([tmp_path], "fields", workspace, options=IngestOptions(datetime=DAY))
    value = {"from_parameter": "value"}
    large = callback("gte", x=value, y=3)
    conditions = {"size": callback("gte", x=value, y=1), "table:row_count": large}

    cube = loaded(workspace, properties=conditions, bands=["size"])

    assert cube.names == ("geometry", "properties")
    assert [one["size"] for one in cube.geometries.properties] == [1.0, 2.0, 3.0, 4.0]
    np.testing.assert_array_equal(cube.values, [[1.0], [2.0], [3.0], [4.0]])
    with pytest.raises(BandNotFound, match="size"):
        loaded(workspace, bands=["sizes"])


def test_a_collection_holds_images_or_geometries(own_scenes: Scenes, tmp_path: Path):
    home = own_scenes.workspace
    folder = tmp_path / "both"
    folder.mkdir()
    shutil.copy(own_scenes.file("2020-05-12", "B04"), folder)
    frame(squares(2)).to_file(folder / "fields.gpkg")

    report = ingest([folder], "both", home, options=IngestOptions(datetime=DAY))
    into = ingest([folder / "fields.gpkg"], "fields", home, options=IngestOptions(datetime=DAY))
    turned = ingest([folder], "fields", home, options=IngestOptions(datetime=DAY))

    assert report.made == 1
    assert list(report.notes) == ["fields.gpkg"]
    assert "passed over" in report.notes["fields.gpkg"][0]
    assert (into.made, turned.kept) == (1, 1)
    assert "passed over" in turned.notes["2020-05-12_B04.tif"][0]
    with pytest.raises(
        ArgumentInvalid, match=r"'both' holds images.*another one with --collection"
    ):
        ingest([folder / "fields.gpkg"], "both", home, options=IngestOptions(datetime=DAY))
    with pytest.raises(ArgumentInvalid, match="--bands is for images"):
        ingest([folder / "fields.gpkg"], "f", home, options=IngestOptions(bands=("a",)))
    with pytest.raises(ArgumentInvalid, match="--layer is for geometries"):
        ingest([folder], "f", home, options=IngestOptions(layer="a"))


def test_collections_of_geometries_say_so(tmp_path: Path, workspace: Workspace):
    frame(squares(3)).to_file(tmp_path / "fields.gpkg")
    taken_in(tmp_path / "fields.gpkg", workspace)

    with workspace.catalog() as catalog:
        collection = catalog.collection("fields")
    item = item_of(workspace)

    dimensions = collection["cube:dimensions"]
    assert set(dimensions) == {"geometry", "t"}
    assert dimensions["geometry"]["type"] == "geometry"
    assert dimensions["geometry"]["geometry_types"] == ["Polygon"]
    assert dimensions["geometry"]["bbox"] == collection["extent"]["spatial"]["bbox"][0]
    own = item["properties"]["cube:dimensions"]["geometry"]
    assert (own["reference_system"], own["bbox"]) == (32633, [5e5, 5e6, 500_250, 5_000_050])
    assert item["properties"]["table:primary_geometry"] == "geometry"
    expected = frame(squares(3)).to_crs(4326).total_bounds
    np.testing.assert_allclose(item["bbox"], expected, atol=1e-5)


def test_more_than_a_graph_holds_is_refused_before_it_is_held(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    frame(squares(20)).to_file(tmp_path / "fields.gpkg")
    taken_in(tmp_path / "fields.gpkg", workspace)
    monkeypatch.setattr("terrazzo.engine.vector_collections.MOST_FEATURES", 10)

    with pytest.raises(PlanTooLarge, match="More than 10 geometries"):
        held(workspace)
    box = {"west": 499_999, "south": 4_999_999, "east": 500_300, "north": 5_001_000, "crs": 32633}
    assert len(held(workspace, spatial_extent=box).shapes) == 3
    assert feature_table.MOST_FEATURES > 10


def test_polygons_beyond_the_antimeridian_are_found_on_both_sides(
    tmp_path: Path, workspace: Workspace
):
    given = geopandas.GeoDataFrame(
        {"name": ["across", "west", "east"]},
        geometry=[
            shapely.box(179.5, -17, 180.5, -16),
            shapely.box(178, -17, 178.5, -16),
            shapely.box(-178.5, -17, -178, -16),
        ],
        crs=4326,
    )
    given.iloc[:1].to_parquet(tmp_path / "across.parquet")
    given.to_parquet(tmp_path / "fields.parquet")
    taken_in(tmp_path / "across.parquet", workspace, "across")
    taken_in(tmp_path / "fields.parquet", workspace)
    pacific = {"west": 179, "south": -18, "east": -177, "north": -15}

    assert item_of(workspace, "across")["bbox"] == [179.5, -17, -179.5, -16]
    found = held(workspace, spatial_extent=pacific)

    assert [one["name"] for one in found.properties] == ["across", "east"]


def fields_of_scenes() -> geopandas.GeoDataFrame:
    """Return fields on the lattice of the scenes; one crosses itself."""
    grid = grid_of()
    left, top = grid.left, grid.top
    shapes = [
        shapely.box(left + 1003, top - 2507, left + 2204, top - 1111),
        shapely.Point(left + 4500, top - 3000).buffer(731),
        shapely.Polygon(
            [(left + 5000, top - 500), (left + 6500, top - 2000), (left + 6500, top - 500),
             (left + 5000, top - 2000)]
        ),
    ]  # fmt: skip
    return frame(shapes, name=["box", "round", "crossed"])


@pytest.fixture
def with_fields(own_scenes: Scenes, tmp_path: Path) -> Scenes:
    fields_of_scenes().to_file(tmp_path / "fields.gpkg")
    taken_in(tmp_path / "fields.gpkg", own_scenes.workspace, id="name")
    return own_scenes


def fields_node() -> dict[str, Any]:
    return node("load_collection", id="fields", spatial_extent=None, temporal_extent=None)


def test_a_mask_of_a_collection_gives_the_same_pixels_in_tiles_and_in_batch(
    with_fields: Scenes, tmp_path: Path
):
    nodes = {
        "load": load(["B04"], temporal_extent=["2020-05-12", "2020-05-13"]),
        "fields": fields_node(),
        "mask": node("mask_polygon", True, data=ref("load"), mask=ref("fields")),
    }
    job = job_of(nodes)
    inference = job.infer(with_fields.workspace)
    plan = job.plan(inference)
    made = run(job, with_fields.workspace, tmp_path / "out", block=150)

    layer = TileLayer(inference, tile=128)
    matrix, zoom = layer.matrix(NATIVE), layer.matrix(NATIVE).base_zoom
    columns, rows = matrix.covering(plan.grid, plan.window, zoom)
    tiles = [layer.cube(NATIVE, zoom, x, y) for y in rows for x in columns]

    values, valid = image_of([asset.path for asset in made.assets])
    got, there = as_image(paste(plan.probe, plan.window, [t for t in tiles if t is not None]))
    np.testing.assert_array_equal(there, valid)
    np.testing.assert_array_equal(got[there], values[valid])
    fields = fields_of_scenes().make_valid()
    xs, ys = np.meshgrid(plan.grid.xs(plan.window), plan.grid.ys(plan.window))
    inside = np.any([shapely.intersects_xy(one, xs, ys) for one in fields], axis=0)
    pixels, data = with_fields.stack("B04")  # noqa: PD013 - no data frame
    np.testing.assert_array_equal(valid.reshape(inside.shape), inside & data[0])
    np.testing.assert_array_equal(values[valid], pixels[0][inside & data[0]])


def test_statistics_of_a_collection_are_those_of_its_mended_polygons(
    with_fields: Scenes, tmp_path: Path
):
    nodes = {
        "load": load(["B04"], temporal_extent=["2020-05-12", "2020-05-13"]),
        "fields": fields_node(),
        "mean": node(
            "aggregate_spatial",
            data=ref("load"),
            geometries=ref("fields"),
            reducer=callback("mean"),
        ),
        "save": node("save_result", True, data=ref("mean"), format="GeoParquet"),
    }

    (asset,) = run(job_of(nodes), with_fields.workspace, tmp_path / "run", block=150).assets
    table = geopandas.read_parquet(asset.path)

    grid = grid_of()
    xs, ys = np.meshgrid(grid.xs(grid.window), grid.ys(grid.window))
    pixels, data = with_fields.stack("B04")  # noqa: PD013 - no data frame
    fields = fields_of_scenes()
    means = [
        pixels[0][shapely.intersects_xy(one, xs, ys) & data[0]].mean()
        for one in fields.make_valid()
    ]
    assert table["id"].tolist() == table["name"].tolist() == ["box", "round", "crossed"]
    assert all(a.equals_exact(b) for a, b in zip(table.geometry, fields.geometry, strict=True))
    np.testing.assert_allclose(table.filter(like="B04").iloc[:, 0], means, rtol=1e-6)
    results = Results.of(tmp_path / "run")
    assert results is not None
    assert results.told["provenance"]["terrazzo:sources"] == {
        "load": ["S2_2020-05-12"], "fields": ["fields"],
    }  # fmt: skip


def test_private_collections_of_geometries_do_not_exist_for_others(with_fields: Scenes):
    hidden = replace(with_fields.workspace, hidden=frozenset({"fields"}))

    with pytest.raises(CollectionNotFound):
        held(hidden)


@pytest.mark.parametrize("form", ["GeoParquet", "GeoJSON"])
def test_a_published_table_is_loaded_by_the_next_graph(
    with_fields: Scenes, tmp_path: Path, form: str
):
    home = with_fields.workspace
    nodes = {
        "load": load(["B04"], temporal_extent=["2020-05-12", "2020-05-13"]),
        "fields": fields_node(),
        "mean": node(
            "aggregate_spatial",
            data=ref("load"),
            geometries=ref("fields"),
            reducer=callback("mean"),
        ),
        "save": node("save_result", True, data=ref("mean"), format=form),
    }
    run(job_of(nodes), home, tmp_path / "run", block=150)

    first = publish(tmp_path / "run", "means", home, license="CC-BY-4.0")
    again = publish(tmp_path / "run", "means", home)
    cube = loaded(home, "means")

    assert (first.made, again.kept) == (1, 1)
    assert cube.dimensions[0].labels == ("box", "round", "crossed")
    item = item_of(home, "means")
    assert item["properties"]["terrazzo:sources"]["fields"] == ["fields"]
    assert item["properties"]["datetime"] or item["properties"]["start_datetime"]
    names = [column["name"] for column in item["properties"]["table:columns"]]
    (mean,) = (name for name in names if name not in {"id", "name", "geometry"})
    means = loaded(home, "means", bands=[mean])
    assert means.valid.all()
    values = np.array(means.values)
    assert ((values > 200) & (values < 3000)).all()
    with pytest.raises(ArgumentInvalid, match="'scenes' holds images"):
        publish(tmp_path / "run", "scenes", home)


def test_a_table_without_geometries_is_not_published(with_fields: Scenes, tmp_path: Path):
    save = node("save_result", True, data=ref("fields"), format="CSV")
    run(job_of({"fields": fields_node(), "save": save}), with_fields.workspace, tmp_path / "run")

    with pytest.raises(ArgumentInvalid, match="GeoParquet or GeoJSON for geometries"):
        publish(tmp_path / "run", "means", with_fields.workspace)


def test_features_of_different_systems_are_brought_together(tmp_path: Path, workspace: Workspace):
    frame(squares(1)).to_file(tmp_path / "a.gpkg")
    frame(squares(2)).to_crs(3035).to_file(tmp_path / "b.gpkg")
    ingest([tmp_path], "fields", workspace, options=IngestOptions(datetime=DAY))

    found = held(workspace)

    expected = frame(squares(2)).to_crs(4326).geometry
    assert found.crs == "EPSG:4326"
    for number, shape in zip((0, 0, 1), found.shapes, strict=True):
        assert shape.hausdorff_distance(expected[number]) < 1e-7
