"""Every file that a run makes has a STAC item that says what it is and what it was made of."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.table import TableExtension
from pystac.validation import JsonSchemaSTACValidator
from tests.drivers.scenes import DATES, grid_of, job_of, load
from tests.drivers.test_results import first_date, last_of, saved, zonal

from terrazzo.drivers.batch import run
from terrazzo.drivers.extract import extract

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

RASTERS = {
    "COG": "image/tiff; application=geotiff; profile=cloud-optimized",
    "GTiff": "image/tiff; application=geotiff; profile=cloud-optimized",
    "netCDF": "application/x-netcdf",
    "Zarr": "application/vnd.zarr+zip; version=3",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WebP": "image/webp",
}
TABLES = {
    "GeoJSON": "application/geo+json",
    "GeoParquet": "application/vnd.apache.parquet",
    "Parquet": "application/vnd.apache.parquet",
    "CSV": "text/csv",
    "JSON": "application/json",
    "netCDF": "application/x-netcdf",
}
PICTURES = {"PNG", "JPEG", "WebP"}


def only_item(folder: Path) -> pystac.Item:
    """Return the item of a run of one part, valid by STAC's own schemas."""
    (item,) = all_items(folder)
    return item


def all_items(folder: Path) -> list[pystac.Item]:
    """Return the items of a run, valid by STAC's own schemas."""
    collection = pystac.Collection.from_file(str(folder / "stac" / "collection.json"))
    items = list(collection.get_items())
    for one in (collection, *items):
        # The schemas of extensions are on the web; what they want is tested field by field.
        told = json.loads(json.dumps(one.to_dict(include_self_link=False)))
        JsonSchemaSTACValidator().validate_core(told, one.STAC_OBJECT_TYPE, "1.1.0")
    return items


def check_provenance(item: pystac.Item, digest: str, sources: set[str]) -> pystac.Asset:
    """Check what every item says of the graph, its sources and the one file that it has."""
    (asset,) = item.assets.values()
    path = item.get_assets()[next(iter(item.assets))].get_absolute_href()
    assert path is not None
    with open(path, "rb") as file:  # noqa: PTH123 - STAC's own name of it
        content = file.read()
    told = FileExtension.ext(asset)
    assert told.size == len(content)
    assert told.checksum == "1220" + hashlib.sha256(content).hexdigest()
    assert item.properties["terrazzo:graph_digest"] == digest
    named = {name for names in item.properties["terrazzo:sources"].values() for name in names}
    assert named == sources
    assert item.properties["processing:expression"]["format"] == "openeo"
    return asset


@pytest.mark.parametrize("format_name", RASTERS)
def test_rasters_say_where_they_lie(scenes: Scenes, tmp_path: Path, format_name: str) -> None:
    nodes = first_date()
    job = job_of(saved(nodes, last_of(nodes), format_name))
    inference = job.infer(scenes.workspace)
    sources = set(inference.nodes["load"].items)

    run(job, scenes.workspace, tmp_path, block=200)
    run(job, scenes.workspace, tmp_path, block=200)
    item = only_item(tmp_path)

    asset = check_provenance(item, inference.graph.digest, sources)
    grid = grid_of()
    told = ProjectionExtension.ext(asset)
    assert asset.media_type == RASTERS[format_name]
    assert told.code == grid.crs
    assert told.shape == [grid.height, grid.width]
    assert told.transform == [grid.pixel_x, 0.0, grid.left, 0.0, -grid.pixel_y, grid.top]
    if format_name in PICTURES:
        assert asset.roles == ["data", "visual"]
        return
    (band,) = asset.extra_fields["bands"]
    assert band["name"] == "B08"
    if format_name == "COG":
        with rasterio.open(asset.get_absolute_href()) as file:
            assert band["data_type"] == file.dtypes[0]
            assert np.array_equal(float(band["nodata"]), file.nodata, equal_nan=True)
    if format_name in {"netCDF", "Zarr"}:
        assert {*asset.extra_fields["cube:variables"]} == {"B08"}
        assert {*asset.extra_fields["cube:dimensions"]} == {"y", "x"}


@pytest.mark.parametrize("format_name", TABLES)
def test_tables_say_what_their_columns_are(
    scenes: Scenes, tmp_path: Path, format_name: str
) -> None:
    job = job_of(saved(zonal(), "zones", format_name))
    inference = job.infer(scenes.workspace)
    sources = set(inference.nodes["load"].items)

    run(job, scenes.workspace, tmp_path, block=200)
    item = only_item(tmp_path)

    asset = check_provenance(item, inference.graph.digest, sources)
    assert asset.media_type == TABLES[format_name]
    assert item.bbox is not None
    if format_name == "netCDF":
        assert ProjectionExtension.ext(asset).code == "EPSG:32633"
        return
    told = TableExtension.ext(asset)
    columns = {column.name: column.col_type for column in told.columns or ()}
    assert columns["name"] == "string"
    if format_name == "GeoParquet":
        frame = geopandas.read_parquet(asset.get_absolute_href())
        assert [*columns] == [*frame.columns]
        assert told.row_count == len(frame)
        assert told.primary_geometry == "geometry"
        assert ProjectionExtension.ext(asset).code == "EPSG:32633"
        np.testing.assert_allclose(item.bbox, frame.to_crs(4326).total_bounds, atol=1e-4)


def test_the_table_of_extract_names_its_graph_and_its_polygons(
    scenes: Scenes, tmp_path: Path
) -> None:
    squares = zonal()["zones"]["arguments"]["geometries"]
    polygons = tmp_path / "fields.geojson"
    polygons.write_text(json.dumps(squares))
    job = job_of({"load": {**load(["B04"]), "result": True}})
    inference = job.infer(scenes.workspace)

    made = extract(job, scenes.workspace, polygons, tmp_path / "out", statistics=("mean",))
    fields, *dates = all_items(tmp_path / "out")

    frame = geopandas.read_file(polygons)
    digest = hashlib.sha256(polygons.read_bytes()).hexdigest()
    rows = []
    for item in (fields, *dates):
        asset = check_provenance(item, inference.graph.digest, set(inference.nodes["load"].items))
        rows.append(TableExtension.ext(asset).row_count)
        assert item.properties["terrazzo:polygons"] == {
            "file": "fields.geojson", "file:checksum": f"1220{digest}",
        }  # fmt: skip
        np.testing.assert_allclose(item.bbox, frame.to_crs(4326).total_bounds, atol=1e-4)
    assert rows[0] == len(frame) == len(geopandas.read_parquet(tmp_path / "out/polygons.parquet"))
    assert [f"{item.datetime:%Y-%m-%d}" for item in dates] == list(DATES)
    assert sum(rows[1:]) == made.rows == pq.read_table(made.table).num_rows
    columns: Any = TableExtension.ext(next(iter(dates[0].assets.values()))).columns
    assert [column.name for column in columns] == ["id", "t", "item", "bands", "mean"]
