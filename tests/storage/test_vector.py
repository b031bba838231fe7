from __future__ import annotations

import json
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pytest
import shapely

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable
from terrazzo.storage.gate import Gate
from terrazzo.storage.vector import read_polygons

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
