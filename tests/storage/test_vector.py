from __future__ import annotations

import datetime as dt
import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.reading import check_geopackage, check_parquet, read_polygons

if TYPE_CHECKING:
    from pathlib import Path

BOWTIE = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
SHAPES = [shapely.box(0, 0, 10, 10), BOWTIE, shapely.MultiPolygon([shapely.box(20, 0, 30, 5)])]


def frame(crs: str | None = "EPSG:32633") -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(
        {"name": ["a", "b", "c"], "area": [1.5, np.nan, 3.0]}, geometry=SHAPES, crs=crs
    )


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".parquet"])
def test_formats_hold_the_same(tmp_path: Path, suffix: str):
    path = tmp_path / f"fields{suffix}"
    (frame().to_parquet if suffix == ".parquet" else frame().to_file)(path)

    found = read_polygons(path, Gate((tmp_path,)), id_column="name")

    assert found.crs == "EPSG:32633"
    assert found.ids == ("a", "b", "c")
    assert found.properties[0]["area"] == 1.5
    for mine, theirs in zip(found.shapes, SHAPES, strict=True):
        assert shapely.normalize(mine).area == pytest.approx(shapely.normalize(theirs).area)
    assert not found.shapes[1].is_valid


def test_geojson_is_longitude_and_latitude(tmp_path: Path):
    path = tmp_path / "fields.geojson"
    path.write_text(frame("EPSG:4326").to_json())

    found = read_polygons(path, Gate((tmp_path,)))

    assert found.crs == "EPSG:4326"
    assert found.ids == (0, 1, 2)
    assert found.properties[2] == {"name": "c", "area": 3.0}
    path.write_text(json.dumps(shapely.box(0, 0, 1, 1).__geo_interface__))
    assert read_polygons(path, Gate((tmp_path,))).shapes == (shapely.box(0, 0, 1, 1),)


def test_a_file_without_crs_needs_one(tmp_path: Path):
    for path in (tmp_path / "a.gpkg", tmp_path / "a.shp"):
        with pytest.warns(UserWarning, match="crs"):
            frame(None).to_file(path)
    frame(None).to_parquet(tmp_path / "a.parquet")
    plain = frame(None).to_wkb()
    plain.to_parquet(tmp_path / "b.parquet")

    for name in ("a.gpkg", "a.shp", "a.parquet", "b.parquet"):
        with pytest.raises(ArgumentInvalid, match="--crs"):
            read_polygons(tmp_path / name, Gate((tmp_path,)))
        found = read_polygons(tmp_path / name, Gate((tmp_path,)), crs="EPSG:3035")
        assert found.crs == "EPSG:3035"
        assert len(found.shapes) == 3


def test_empty_files_and_wrong_names_are_refused(tmp_path: Path):
    frame().iloc[:0].to_parquet(tmp_path / "empty.parquet")
    frame().to_file(tmp_path / "fields.gpkg", layer="fields")
    gate = Gate((tmp_path,))

    with pytest.raises(ArgumentInvalid, match="no geometry"):
        read_polygons(tmp_path / "empty.parquet", gate)
    with pytest.raises(ArgumentInvalid, match="Did you mean 'name'"):
        read_polygons(tmp_path / "fields.gpkg", gate, id_column="nam")
    with pytest.raises(ArgumentInvalid, match="Layers: fields"):
        read_polygons(tmp_path / "fields.gpkg", gate, layer="meadows")


def test_hostile_and_broken_files_are_not_read(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    secret = tmp_path / "secret.geojson"
    secret.write_text(frame("EPSG:4326").to_json())
    vrt = (
        f"<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>{secret}</SrcDataSource>"
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    algorithm = {
        "type": "gdal_streamed_alg",
        "command_line": f"gdal vector pipeline ! read {secret}",
    }
    (root / "vrt.gpkg").write_text(vrt)
    (root / "vrt.shp").write_text(vrt)
    (root / "vrt.geojson").write_text(vrt)
    (root / "algorithm.json").write_text(json.dumps(algorithm))
    (root / "cut.parquet").write_bytes(b"PAR1 nothing")
    (root / "cut.gpkg").write_bytes(b"SQLite format 3\0 nothing")
    (root / "link.geojson").symlink_to(secret)
    gate = Gate((root,))

    for name in (
        "vrt.gpkg",
        "vrt.shp",
        "vrt.geojson",
        "algorithm.json",
        "cut.parquet",
        "cut.gpkg",
        "gone.gpkg",
    ):
        with pytest.raises(SourceUnreadable) as refused:
            read_polygons(root / name, gate)
        assert str(tmp_path) not in str(refused.value)
    for name in ("link.geojson", "../secret.geojson", "x.vrt", "x.kml"):
        with pytest.raises(AssetForbidden):
            read_polygons(str(root / name), gate)


def test_shared_files(shared: Path):
    gate = Gate((shared,))
    fields = shared / "data/eodal_zurich_s2_parcels/ZH_Polygons_2020_ESCH_EPSG32632.shp"
    towns = shared / "data/exactextractr_sao_miguel/concelhos.gpkg"

    found = read_polygons(fields, gate)

    assert len(found.shapes) == 281
    assert sum(not shape.is_valid for shape in found.shapes) == 2
    assert found.crs == "EPSG:32632"
    assert len(read_polygons(towns, gate, id_column="name").ids) == 6
    samples = shared / "data/skmap_nl_landsat_quarterly/samples/samples.gpkg"
    assert len(read_polygons(samples, gate).shapes) == 256


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIRTUAL TABLE v USING \"VirtualOGR\"('secret.geojson')",
        "CREATE VIRTUAL TABLE v USING\"VirtualOGR\"('secret.geojson using rtree')",
        "CREATE/**/VIRTUAL TABLE v USING VirtualOGR('secret.geojson')",
        "CREATE VIRTUAL TABLE v USING VirtualOGR('x') -- using rtree",
    ],
)
def test_a_package_that_was_made_by_hand_is_no_program_either(tmp_path: Path, sql: str):
    path = tmp_path / "fields.gpkg"
    frame().to_file(path, layer="fields")
    check_geopackage(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = 1")
        db.execute("INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, ?)", (sql,))

    with pytest.raises(SourceUnreadable, match="not run"):
        check_geopackage(path)


def test_a_database_that_is_no_geopackage_is_refused(tmp_path: Path):
    path = tmp_path / "plain.gpkg"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t (x)")

    with pytest.raises(SourceUnreadable, match="no GeoPackage"):
        check_geopackage(path)


def test_the_first_layer_with_geometries_is_read_without_a_word(tmp_path: Path):
    path = tmp_path / "fields.gpkg"
    pyogrio.write_dataframe(pd.DataFrame({"n": [1]}), path, layer="notes")
    for layer, part in (("fields", frame()), ("meadows", frame().iloc[:1])):
        part.to_file(path, layer=layer)

    assert len(read_polygons(path, Gate((tmp_path,))).shapes) == 3


def parquet(path: Path, geo: object, **columns: object) -> Path:
    """Write a point with columns and whatever is said of it."""
    held = {"geometry": pa.array([shapely.Point(1, 2).wkb], pa.binary()), **columns}
    text = geo if isinstance(geo, str) else json.dumps(geo)
    pq.write_table(pa.table(held).replace_schema_metadata({"geo": text}), path)
    return path


POINTS = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": {}}}


@pytest.mark.parametrize(
    "geo",
    [
        [],
        "[" * 100_000,
        POINTS | {"columns": []},
        POINTS | {"columns": {"geometry": []}},
    ],
)
def test_parquet_that_says_nonsense_of_itself_is_told(tmp_path: Path, geo: object):
    path = parquet(tmp_path / "a.parquet", geo)

    with pytest.raises(SourceUnreadable, match="no GeoParquet"):
        read_polygons(path, Gate((tmp_path,)))


def test_attributes_of_parquet_are_json_values(tmp_path: Path):
    moment = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    columns = {
        "day": pa.array([moment.date()]),
        "moment": pa.array([moment]),
        "price": pa.array([Decimal("1.5")]),
        "key": pa.array([b"\x01\xff"]),
        "tags": pa.array([{"a": [moment.date(), None]}]),
        "nan": pa.array([np.nan]),
    }
    path = parquet(tmp_path / "a.parquet", POINTS, **columns)

    (found,) = read_polygons(path, Gate((tmp_path,))).properties

    assert np.isnan(found["nan"])
    assert json.loads(json.dumps({**found, "nan": None})) == {
        "day": "2020-01-02",
        "moment": "2020-01-02T03:04:05+00:00",
        "price": 1.5,
        "key": "01ff",
        "tags": {"a": ["2020-01-02", None]},
        "nan": None,
    }


def test_parquet_that_becomes_too_large_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shape, text = shapely.Point(1, 2).wkb, "x" * 10_000
    table = pa.table({"geometry": pa.array([shape] * 5000), "n": pa.array([text] * 5000)})
    pq.write_table(table, tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size < 100_000  # the text is there once
    monkeypatch.setattr("terrazzo.storage.vectors.reading.MOST_DECODED_BYTES", 10_000_000)

    with pytest.raises(SourceUnreadable, match="once unpacked"):
        check_parquet(tmp_path / "bomb.parquet")
    monkeypatch.setattr("terrazzo.storage.vectors.reading.MOST_DECODED_BYTES", 100_000_000)
    check_parquet(tmp_path / "bomb.parquet")
    monkeypatch.setattr("terrazzo.storage.vectors.reading.MOST_ROWS", 4999)
    with pytest.raises(SourceUnreadable, match="4,999 rows"):
        check_parquet(tmp_path / "bomb.parquet")
