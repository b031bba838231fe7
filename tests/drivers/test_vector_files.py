"""Files of geometries, also odd and damaged ones, become items."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from click.testing import CliRunner
from tests.drivers.fields import DAY, frame, held, item_of, loaded, squares, taken_in

from terrazzo.cli import main
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.errors import (
    ArgumentInvalid,
    OutputFailed,
)
from terrazzo.storage.vectors import stored as geoparquet

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(tmp_path / "home")


def test_a_layer_of_a_geopackage_is_an_item(tmp_path: Path, workspace: Workspace):
    path = tmp_path / "both.gpkg"
    frame(squares(2)).to_file(path, layer="parcels")
    frame(squares(3)).to_file(path, layer="trees")

    report = taken_in(path, workspace)
    only = taken_in(path, workspace, "trees", layer="trees")

    with workspace.catalog() as catalog:
        counts = {i["id"]: i["properties"]["table:row_count"] for i in catalog.search(["fields"])}
    assert (report.made, only.made) == (2, 1)
    assert counts == {"both_parcels": 2, "both_trees": 3}
    with pytest.raises(ArgumentInvalid, match=r"no layer 'tree'.*trees"):
        taken_in(path, workspace, "other", layer="tree")


def test_what_cannot_be_found_is_asked_for_by_name(tmp_path: Path, workspace: Workspace):
    wkb = pa.array(shapely.to_wkb(np.array(squares(2))))
    pq.write_table(pa.table({"place": wkb, "n": [1, 2]}), tmp_path / "a.parquet")
    frame(squares(2)).to_file(tmp_path / "b.shp")
    (tmp_path / "b.prj").unlink()

    with pytest.raises(ArgumentInvalid, match=r"--datetime .* --date COLUMN"):
        ingest([tmp_path / "b.shp"], "b", workspace)
    with pytest.raises(ArgumentInvalid, match="--crs EPSG:4326"):
        taken_in(tmp_path / "b.shp", workspace)
    with pytest.raises(ArgumentInvalid, match=r"--geometry COLUMN.*place, n"):
        taken_in(tmp_path / "a.parquet", workspace, crs="EPSG:32633")
    with pytest.raises(ArgumentInvalid, match=r"'nn'.*Did you mean 'n'"):
        taken_in(tmp_path / "a.parquet", workspace, crs="EPSG:32633", geometry="place", id="nn")
    with pytest.raises(ArgumentInvalid, match="--date n: the column holds int64"):
        taken_in(tmp_path / "a.parquet", workspace, crs="EPSG:32633", geometry="place", date="n")

    taken_in(tmp_path / "a.parquet", workspace, crs="EPSG:32633", geometry="place")
    taken_in(tmp_path / "b.shp", workspace, "b", crs="EPSG:32633")
    frame(squares(2)).to_file(tmp_path / "c.shp")
    believed = taken_in(tmp_path / "c.shp", workspace, "c", crs="EPSG:3035")
    assert believed.notes["c.shp"] == ("it states its CRS, 'EPSG:32633', which is believed.",)
    assert held(workspace, "c").crs == "EPSG:32633"

    for name in ("fields", "b"):
        assert all(
            a.equals(b) for a, b in zip(held(workspace, name).shapes, squares(2), strict=True)
        )


def test_the_same_content_is_kept_and_another_one_is_made_anew(
    tmp_path: Path, workspace: Workspace
):
    path = tmp_path / "fields.shp"
    frame(squares(3)).to_file(path)

    tried = taken_in(path, workspace, dry_run=True)
    assert not (workspace.assets / "fields").exists()
    first = taken_in(path, workspace)
    again = taken_in(path, workspace)
    frame(squares(3), name=["x", "y", "z"]).to_file(path)  # the same geometries
    changed = taken_in(path, workspace)
    shutil.rmtree(workspace.assets / "fields")
    mended = taken_in(path, workspace)

    assert [(r.made, r.kept) for r in (tried, first, again, changed, mended)] == [
        (1, 0), (1, 0), (0, 1), (1, 0), (1, 0),
    ]  # fmt: skip
    assert [one["name"] for one in held(workspace).properties] == ["x", "y", "z"]


def bowtie() -> Any:
    return shapely.Polygon([(5e5, 5e6), (500_100, 5_000_100), (500_100, 5e6), (5e5, 5_000_100)])


def test_odd_geometries_are_kept_counted_and_do_not_stop_the_others(
    tmp_path: Path, workspace: Workspace
):
    with np.errstate(invalid="ignore"):
        lost = shapely.from_wkt("LINESTRING (500000 5000000, NaN 5000000, 500010 5000000)")
        given = [*squares(2), bowtie(), None, shapely.Polygon(), lost]
        frame(given, name=list("abcdef")).to_parquet(tmp_path / "fields.parquet")

    report = taken_in(tmp_path / "fields.parquet", workspace)
    found = held(workspace)

    notes = " ".join(report.notes["fields.parquet"])
    assert "1 of 6 features have rings that cross" in notes
    assert "2 of 6 features have no geometry" in notes
    assert "1 of 6 features had a coordinate that is no number" in notes
    assert [one["name"] for one in found.properties] == list("abcdef")
    assert [one.is_empty for one in found.shapes] == [False] * 3 + [True] * 3
    assert found.shapes[2].equals_exact(bowtie())
    assert not found.shapes[2].is_valid
    box = {"west": 5e5, "south": 5e6, "east": 500_100, "north": 5_000_100, "crs": 32633}
    inside = held(workspace, spatial_extent=box)
    assert [one["name"] for one in inside.properties] == ["a", "c"]


def test_heights_stay_and_measures_go(tmp_path: Path, workspace: Workspace):
    rows = [
        ("high", shapely.Point(5e5, 5e6, 7.0)),
        ("measured", shapely.from_wkt("POINT ZM (500000 5000000 7 9)")),
        ("flat", shapely.from_wkt("LINESTRING M (500000 5000000 1, 500010 5000000 2)")),
    ]
    names, shapes = zip(*rows, strict=True)
    geometry = pa.array(shapely.to_wkb(np.array(shapes), flavor="iso"))
    pq.write_table(pa.table({"name": names, "geometry": geometry}), tmp_path / "fields.parquet")

    taken_in(tmp_path / "fields.parquet", workspace, crs="EPSG:32633")

    found = held(workspace).shapes
    assert [one.wkt for one in found] == [
        "POINT Z (500000 5000000 7)",
        "POINT Z (500000 5000000 7)",
        "LINESTRING (500000 5000000, 500010 5000000)",
    ]
    dimension = item_of(workspace)["properties"]["cube:dimensions"]["geometry"]
    assert dimension["axes"] == ["x", "y", "z"]


def test_empty_damaged_and_foreign_files_are_left_out_with_the_reason(
    tmp_path: Path, workspace: Workspace
):
    frame(squares(300)).to_file(tmp_path / "good.gpkg")
    frame([]).to_file(tmp_path / "none.gpkg", geometry_type="Polygon")
    frame([shapely.Polygon()]).to_parquet(tmp_path / "nowhere.parquet")
    whole = (tmp_path / "good.gpkg").read_bytes()
    (tmp_path / "cut.gpkg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "cut.geojson").write_text('{"type": "FeatureCollection", "features": [{"type": "F')
    frame(squares(3)).to_file(tmp_path / "alone.shp")
    (tmp_path / "alone.shx").unlink()
    for name in ("broken", "short", "bare"):
        frame(squares(3)).to_file(tmp_path / f"{name}.shp")
    (tmp_path / "broken.dbf").write_bytes(b"\x03nothing")
    (tmp_path / "short.shp").write_bytes((tmp_path / "short.shp").read_bytes()[:300])
    (tmp_path / "bare.dbf").unlink()
    pipeline = {
        "type": "gdal_streamed_alg",
        "command_line": "gdal vector pipeline ! read good.gpkg",
    }
    (tmp_path / "program.geojson").write_text(json.dumps(pipeline))
    off = frame([shapely.box(1e9, 1e9, 1e9 + 1, 1e9 + 1)])
    off.to_parquet(tmp_path / "off.parquet")

    report = ingest([tmp_path], "fields", workspace, options=IngestOptions(datetime=DAY))

    reasons = dict(report.failed)
    assert "it holds no feature" in reasons.pop("none.gpkg")
    assert "has a geometry with a place" in reasons.pop("nowhere.parquet")
    assert "have no place on the Earth" in reasons.pop("off.parquet")
    for name in ("cut.gpkg", "text.parquet", "cut.geojson", "program.geojson"):
        assert reasons.pop(name)
    with workspace.catalog() as catalog:
        there = {item["id"] for item in catalog.search(["fields"])}
    assert there == {"good", "bare"}
    assert "alone.shx is missing" in reasons.pop("alone.shp")
    assert "broken.dbf, are damaged" in reasons.pop("broken.shp")
    assert "cut short: 300 bytes of" in reasons.pop("short.shp")
    assert reasons == {}


def test_texts_of_a_shapefile_are_read_in_the_encoding_that_is_stated(
    tmp_path: Path, workspace: Workspace
):
    given = frame(squares(1), name=["Łąka"])
    given.to_file(tmp_path / "said.shp", encoding="cp1250")
    given.to_file(tmp_path / "silent.shp", encoding="cp1250")
    (tmp_path / "silent.cpg").unlink()

    taken_in(tmp_path / "said.shp", workspace, "said")
    taken_in(tmp_path / "silent.shp", workspace, "silent", encoding="cp1250")

    assert held(workspace, "said").properties[0]["name"] == "Łąka"
    assert held(workspace, "silent").properties[0]["name"] == "Łąka"


def test_geojson_keeps_nested_values_and_old_crs(tmp_path: Path, workspace: Workspace):
    feature = {
        "type": "Feature",
        "properties": {"tags": {"a": [1, {"b": None}]}, "when": "2020-01-02", "mixed": 1},
        "geometry": {"type": "Point", "coordinates": [500_000, 5_000_000]},
    }
    other = {"type": "Feature", "properties": {"mixed": "x"}, "geometry": feature["geometry"]}
    old = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    document = {"type": "FeatureCollection", "crs": old, "features": [feature, other]}
    (tmp_path / "fields.geojson").write_text(json.dumps(document))

    taken_in(tmp_path / "fields.geojson", workspace)

    found = held(workspace)
    assert found.crs == "EPSG:32633"
    assert found.properties[0] == feature["properties"]
    assert found.properties[1] == {"tags": None, "when": None, "mixed": "x"}


def test_a_geopackage_with_programs_is_left_out(tmp_path: Path, workspace: Workspace):
    path = tmp_path / "fields.gpkg"
    frame(squares(2)).to_file(path)
    with sqlite3.connect(path) as database:
        database.execute("CREATE VIEW trap AS SELECT * FROM fields")
    database.close()

    with pytest.raises(ArgumentInvalid, match="views or virtual tables"):
        taken_in(path, workspace)


def test_names_that_two_have_are_told_and_positions_stand_for_them(
    tmp_path: Path, workspace: Workspace
):
    frame(squares(3), name=["a", "b", "a"]).to_file(tmp_path / "fields.gpkg")

    report = taken_in(tmp_path / "fields.gpkg", workspace, id="name")

    assert "1 of 3 features have the 'name' of another one" in report.notes["fields.gpkg"][0]
    assert loaded(workspace).dimensions[0].labels == (0, 1, 2)


def test_the_number_of_a_row_in_a_geopackage_can_name_it(tmp_path: Path, workspace: Workspace):
    frame(squares(3)).to_file(tmp_path / "fields.gpkg")

    taken_in(tmp_path / "fields.gpkg", workspace, id="fid")

    expected = pyogrio.raw.read(tmp_path / "fields.gpkg", return_fids=True)[1].tolist()
    assert list(loaded(workspace).dimensions[0].labels) == expected


def test_what_a_killed_ingestion_left_is_cleared_and_nothing_half_made_is_seen(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    frame(squares(10)).to_file(tmp_path / "fields.gpkg")
    folder = workspace.assets / "fields" / "fields"
    folder.mkdir(parents=True)
    left = [folder / f".data.parquet.0123abcd.part.{end}" for end in ("parquet", "arrow")]
    for file in left:
        file.write_bytes(b"half")

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(geoparquet, "_groups", full)
        with pytest.raises(OutputFailed, match=r"the disk .* is full"):
            taken_in(tmp_path / "fields.gpkg", workspace)
    assert list(folder.iterdir()) == []
    with workspace.catalog() as catalog:
        assert list(catalog.search()) == []

    assert taken_in(tmp_path / "fields.gpkg", workspace).made == 1
    assert [file.name for file in folder.iterdir()] == ["data.parquet"]


def test_the_command_tells_geojson_from_stac_by_content(tmp_path: Path, workspace: Workspace):
    frame(squares(2)).to_file(tmp_path / "fields.json", driver="GeoJSON", RFC7946="NO")
    item = {"type": "Feature", "stac_version": "1.1.0", "id": "a", "geometry": None}
    (tmp_path / "item.json").write_text(json.dumps(item))
    home = ["--home", str(workspace.home), "ingest", "--collection", "fields"]

    made = CliRunner().invoke(
        main, [*home, str(tmp_path / "fields.json"), "--datetime", "2020", "--id", "name"]
    )
    stac = CliRunner().invoke(main, [*home, str(tmp_path / "item.json"), "--id", "name"])

    assert (made.exit_code, json.loads(made.stdout)["made"]) == (0, 1)
    assert loaded(workspace).dimensions[0].labels == ("s0", "s1")
    assert stac.exit_code == 2
    assert "STAC" in stac.stderr


def test_curves_become_lines(tmp_path: Path, workspace: Workspace):
    path = tmp_path / "fields.gpkg"
    half = shapely.LineString([(5e5, 5e6), (500_010, 5_000_010), (500_020, 5e6)])
    frame([half]).to_file(path, SPATIAL_INDEX="NO")
    wkb = struct.pack("<BII6d", 1, 8, 3, *np.ravel(half.coords))  # 8 is a CircularString
    blob = b"GP\0\1" + struct.pack("<i", 32633) + wkb
    with sqlite3.connect(path) as database:
        database.execute("UPDATE fields SET geom = ?", (blob,))
    database.close()

    taken_in(path, workspace)

    (found,) = held(workspace).shapes
    assert found.length == pytest.approx(np.pi * 10, rel=1e-3)
