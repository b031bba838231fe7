"""Whole graphs of vector cubes: files by URL, geometries for rasters, points, merged tables."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from tests.drivers.scenes import callback, grid_of, job_of, load, node, of_x, ref
from tests.storage.served import serving

from terrazzo.drivers.batch import run
from terrazzo.drivers.job import Job, Workspace
from terrazzo.errors import (
    ArgumentInvalid,
    AssetForbidden,
    FormatUnsuitable,
    SourceUnreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes
    from tests.storage.served import Server

UTM = {"type": "name", "properties": {"name": "EPSG:32633"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


def allowed(scenes: Scenes, server: Server) -> Workspace:
    return Workspace.of(scenes.workspace.home, hosts=(f"{server.host}=127.0.0.1",))


def squares(*cols: int) -> list[Any]:
    """Return squares of 20 pixels, 100 rows down the lattice."""
    grid = grid_of()
    left, top = grid.left, grid.top - 1000
    return [shapely.box(left + c * 10, top - 200, left + c * 10 + 200, top) for c in cols]


def frame_of(shapes: list[Any]) -> geopandas.GeoDataFrame:
    names, sizes = [f"s{n}" for n in range(len(shapes))], [n * 1.5 for n in range(len(shapes))]
    return geopandas.GeoDataFrame({"name": names, "size": sizes}, geometry=shapes, crs=32633)


def geojson(shapes: list[Any], **properties: list[Any]) -> dict[str, Any]:
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shape),
            "properties": {name: values[number] for name, values in properties.items()},
        }
        for number, shape in enumerate(shapes)
    ]
    return {"type": "FeatureCollection", "features": features, "crs": UTM}


def result(nodes: dict[str, Any], workspace: Workspace, folder: Path) -> list[dict[str, Any]]:
    """Run a graph and return its result as long records."""
    last = next(name for name, one in nodes.items() if one.get("result"))
    graph = {name: {k: v for k, v in one.items() if k != "result"} for name, one in nodes.items()}
    graph["save"] = node(
        "save_result", True, data=ref(last), format="JSON", options={"layout": "long"}
    )
    (asset,) = run(job_of(graph), workspace, folder, block=150).assets
    rows: list[dict[str, Any]] = json.loads(asset.path.read_text())
    return rows


@pytest.mark.parametrize("name", ["GeoJSON", "GPKG", "GeoParquet"])
def test_files_are_loaded_from_a_url(scenes: Scenes, server: Server, tmp_path: Path, name: str):
    frame, path = frame_of(squares(100, 300)), server.folder / f"fields.{name.lower()}"
    if name == "GeoParquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path, driver=name, **({"RFC7946": "NO"} if name == "GeoJSON" else {}))
    options = {"properties": ["size"], "id": "name"}
    url = f"http://{server.host}/{path.name}"
    nodes = {"load": node("load_url", True, url=url, format=name, options=options)}

    rows = result(nodes, allowed(scenes, server), tmp_path)

    assert [row["id"] for row in rows] == ["s0", "s1"]
    assert [row["value"] for row in rows] == [0.0, 1.5]
    job = job_of(nodes)
    held = job.infer(allowed(scenes, server)).cube("load").result.geometries
    assert held.crs == "EPSG:32633"
    assert all(a.equals(b) for a, b in zip(held.shapes, frame.geometry, strict=True))


def test_files_that_are_something_else_are_told(scenes: Scenes, server: Server):
    (server.folder / "text.txt").write_text("hello")
    (server.folder / "list.json").write_text("[1, 2]")
    (server.folder / "deep.json").write_text("[" * 100_000)
    far = {"type": "Point", "coordinates": [10**400, 0]}
    (server.folder / "far.json").write_text(json.dumps(far))
    (server.folder / "line.json").write_text('{"type": "Polygon", "coordinates": [[[0, 0]]]}')
    frame_of(squares(100)).to_file(server.folder / "a.gpkg")

    def loaded(name: str, format_name: str, **options: Any) -> Any:
        url = f"http://{server.host}/{name}"
        nodes = {"it": node("load_url", True, url=url, format=format_name, options=options)}
        return job_of(nodes).infer(allowed(scenes, server))

    for name, format_name in (
        ("text.txt", "GeoJSON"),
        ("text.txt", "GPKG"),
        ("text.txt", "Parquet"),
        ("list.json", "GeoJSON"),
        ("deep.json", "GeoJSON"),
        ("far.json", "GeoJSON"),
        ("line.json", "GeoJSON"),
        ("a.gpkg", "GeoJSON"),
        ("a.gpkg", "GeoParquet"),
    ):
        with pytest.raises(FormatUnsuitable, match=f"{name} cannot be loaded as"):
            loaded(name, format_name)
    with pytest.raises(ArgumentInvalid, match="Attributes: name, size"):
        loaded("a.gpkg", "GPKG", properties=["pop"])
    with pytest.raises(ArgumentInvalid, match="no layer"):
        loaded("a.gpkg", "GPKG", layer="b")
    with pytest.raises(SourceUnreadable, match="404"):
        loaded("none.json", "GeoJSON")


@pytest.mark.parametrize("format_name", ["GeoJSON", "GeoParquet", "CSV", "JSON", "NetCDF"])
def test_odd_properties_are_written_by_every_format(
    scenes: Scenes, server: Server, tmp_path: Path, format_name: str
):
    place = {"type": "Point", "coordinates": [15, 50]}
    odd = {"huge": 10**400, "nan": float("nan"), "deep": {"a": [float("inf"), None]}, "": True}
    features = [{"type": "Feature", "geometry": place, "properties": p} for p in (odd, {}, None)]
    path = server.folder / "odd.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    url, options = f"http://{server.host}/{path.name}", {"properties": ["huge", "nan"]}
    nodes = {
        "it": node("load_url", url=url, format="GeoJSON", options=options),
        "save": node("save_result", True, data=ref("it"), format=format_name),
    }

    (asset,) = run(job_of(nodes), allowed(scenes, server), tmp_path).assets

    if format_name in {"GeoJSON", "JSON"}:
        json.loads(asset.path.read_text(), parse_constant=pytest.fail)
    assert asset.path.stat().st_size


def test_a_package_that_is_a_program_is_not_run(scenes: Scenes, server: Server):
    for number, sql in enumerate(
        (
            "CREATE VIEW v AS SELECT * FROM fields",
            "CREATE VIRTUAL TABLE v USING fts4(a)",
        )
    ):
        path = server.folder / f"evil{number}.gpkg"
        frame_of(squares(100)).to_file(path, layer="fields")
        with sqlite3.connect(path) as db:
            db.execute(sql)
        db.close()
        url = f"http://{server.host}/{path.name}"

        with pytest.raises(FormatUnsuitable, match="not run"):
            job_of({"it": node("load_url", True, url=url, format="GPKG")}).infer(
                allowed(scenes, server)
            )


def test_only_hosts_that_are_allowed_are_asked(scenes: Scenes, server: Server):
    url = f"http://{server.host}/fields.geojson"
    server.log()

    with pytest.raises(AssetForbidden, match="--allow-host"):
        job_of({"it": node("load_url", True, url=url, format="GeoJSON")}).infer(scenes.workspace)

    assert not server.log().ranges


def test_a_file_that_is_too_large_is_not_loaded(
    scenes: Scenes, server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("terrazzo.storage.remote.download.LARGEST_BYTES", 100)
    for name, bytes_ in (("small.geojson", 100), ("large.geojson", 101)):
        text = json.dumps({"type": "FeatureCollection", "features": []})
        (server.folder / name).write_text(text.ljust(bytes_))

    def loaded(name: str) -> Any:
        url = f"http://{server.host}/{name}"
        nodes = {"it": node("load_url", True, url=url, format="GeoJSON")}
        return job_of(nodes).infer(allowed(scenes, server)).cube("it").result

    assert loaded("small.geojson").values.shape == (0,)
    with pytest.raises(SourceUnreadable, match="more than 100 bytes"):
        loaded("large.geojson")


def test_files_in_degrees_fit_together_whatever_they_call_them(
    scenes: Scenes, server: Server, tmp_path: Path
):
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    place = {"type": "Point", "coordinates": [15, 50]}
    point = {"type": "Feature", "properties": {"n": 1}, "geometry": place}
    document = {"type": "FeatureCollection", "features": [point]}
    (server.folder / "crs84.geojson").write_text(json.dumps({**document, "crs": named}))
    url = f"http://{server.host}/crs84.geojson"
    nodes = {
        "a": node("load_url", url=url, format="GeoJSON", options={"properties": ["n"]}),
        "b": node("load_geojson", data=document, properties=["n"]),
        "c": node(
            "merge_cubes",
            True,
            cube1=ref("a"),
            cube2=ref("b"),
            overlap_resolver=callback(
                "sum", data=[{"from_parameter": "x"}, {"from_parameter": "y"}]
            ),
        ),
    }

    rows = result(nodes, allowed(scenes, server), tmp_path)

    assert [row["value"] for row in rows] == [2]


def test_a_file_that_has_changed_makes_other_pixels(scenes: Scenes, server: Server, tmp_path: Path):
    path = server.folder / "changing.geojson"
    nodes = {
        "zone": node("load_url", url=f"http://{server.host}/{path.name}", format="GeoJSON"),
        "load": load(["B04"]),
        "here": node("mask_polygon", True, data=ref("load"), mask=ref("zone")),
    }
    path.write_text(json.dumps(geojson(squares(100))))
    first = run(job_of(nodes), allowed(scenes, server), tmp_path, block=200)
    again = run(job_of(nodes), allowed(scenes, server), tmp_path, block=200)
    path.write_text(json.dumps(geojson(squares(300))))

    changed = run(job_of(nodes), allowed(scenes, server), tmp_path, block=200)

    assert first.resumed == 0
    assert again.resumed == again.blocks
    assert changed.resumed == 0


def test_points_sampled_from_polygons_take_the_pixels_they_lie_in(scenes: Scenes, tmp_path: Path):
    pixels, valid = scenes.stack("B04")
    nodes = {
        "load": load(["B04"]),
        "fields": node("load_geojson", data=geojson(squares(100), name=["field"])),
        "points": node("vector_to_regular_points", data=ref("fields"), distance=50, group=False),
        "zonal": node(
            "aggregate_spatial",
            True,
            data=ref("load"),
            geometries=ref("points"),
            reducer=callback("first"),
        ),
    }

    rows = result(nodes, scenes.workspace, tmp_path)

    assert len(rows) == 16 * len(pixels)
    assert {row["name"] for row in rows} == {"field"}
    for number, row in enumerate(rows):
        point, day = divmod(number, len(pixels))
        down, across = divmod(point, 4)
        at = day, 100 + 2 + 5 * down, 100 + 2 + 5 * across  # 25 m, 75 m ... : a pixel's edge
        wanted = float(pixels[at]) if valid[at] else None
        assert row["id"] == point
        assert row["value"] == wanted


def test_points_of_a_polygon_together_are_one_row(scenes: Scenes, tmp_path: Path):
    pixels, valid = scenes.stack("B04")
    nodes = {
        "load": load(["B04"]),
        "fields": node("load_geojson", data=geojson(squares(100, 300))),
        "points": node("vector_to_regular_points", data=ref("fields"), distance=50),
        "zonal": node(
            "aggregate_spatial",
            True,
            data=ref("load"),
            geometries=ref("points"),
            reducer=callback("mean"),
        ),
    }

    rows = result(nodes, scenes.workspace, tmp_path)

    taken = (slice(102, 120, 5), slice(102, 120, 5))
    wanted = [p[taken][v[taken]].mean(dtype=float) for p, v in zip(pixels, valid, strict=True)]
    np.testing.assert_allclose([r["value"] for r in rows if r["id"] == 0], wanted, rtol=1e-6)


@pytest.mark.parametrize("process", ["mask_polygon", "filter_spatial", "load_collection"])
def test_vector_cubes_cut_rasters_as_geojson_does(scenes: Scenes, tmp_path: Path, process: str):
    zone = geojson(squares(100, 300))

    def graph(argument: Any) -> dict[str, Any]:
        nodes = {"zone": node("load_geojson", data=zone)} if "from_node" in argument else {}
        if process == "load_collection":
            return {**nodes, "it": {**load(["B04"], spatial_extent=argument), "result": True}}
        name = "mask" if process == "mask_polygon" else "geometries"
        cut = node(process, True, data=ref("load"), **{name: argument})
        return {**nodes, "load": load(["B04"]), "it": cut}

    cube = run(job_of(graph(ref("zone"))), scenes.workspace, tmp_path / "cube").assets
    plain = run(job_of(graph(zone)), scenes.workspace, tmp_path / "plain").assets

    import rasterio  # noqa: PLC0415 - the oracle of one test

    for mine, theirs in zip(cube, plain, strict=True):
        with rasterio.open(mine.path) as here, rasterio.open(theirs.path) as there:
            assert here.transform == there.transform
            np.testing.assert_array_equal(here.read(), there.read())


def test_tables_go_on_as_cubes(scenes: Scenes, tmp_path: Path):
    """Aggregated, filtered by box, date, label and relation, computed with, merged and renamed."""
    pixels, valid = scenes.stack("B04")
    shapes = squares(100, 300, 500)
    grid = grid_of()
    box = {
        "west": grid.left + 2500,
        "east": grid.left + 6000,
        "south": grid.top - 2000,
        "north": grid.top,
        "crs": 32633,
    }
    nodes = {
        "load": load(["B04"]),
        "fields": node("load_geojson", data=geojson(shapes, name=["a", "b", "c"])),
        "zonal": node(
            "aggregate_spatial",
            data=ref("load"),
            geometries=ref("fields"),
            reducer=callback("mean"),
        ),
        "east": node("filter_bbox", data=ref("zonal"), extent=box),
        "early": node("filter_temporal", data=ref("east"), extent=["2020-01-01", "2020-08-01"]),
        "twice": node("apply", data=ref("early"), process=of_x("multiply", y=2)),
        "red": node(
            "rename_labels", data=ref("twice"), dimension="bands", source=["B04"], target=["red"]
        ),
        "other": node(
            "filter_vector",
            data=ref("early"),
            geometries=ref("east"),
            relation="intersects",
        ),
        "both": node("merge_cubes", cube1=ref("red"), cube2=ref("other")),
        "named": node(
            "rename_dimension", True, data=ref("both"), source="geometry", target="parcel"
        ),
    }

    rows = result(nodes, scenes.workspace, tmp_path)

    assert {row["name"] for row in rows} == {"b", "c"}
    for row in rows:
        col = {"b": 300, "c": 500}[row["name"]]
        day = {"2020-05": 0, "2020-07": 1}[row["t"][:7]]
        place = day, slice(100, 120), slice(col, col + 20)
        mean = pixels[place][valid[place]].mean(dtype=np.float64)
        assert row["value"] == pytest.approx(mean * {"red": 2, "B04": 1}[row["bands"]], rel=1e-6)
    assert len(rows) == 2 * 2 * 2


def test_the_graph_is_the_same_in_every_process(scenes: Scenes, tmp_path: Path):
    """Random points are the same wherever a graph is run."""
    fields = node("load_geojson", data=geojson(squares(100, 300)))
    points = node("vector_to_random_points", True, data=ref("fields"), geometry_count=3)

    made = [
        run(Job.of({"fields": fields, "points": points}), scenes.workspace, tmp_path / name).assets
        for name in "ab"
    ]

    first, second = (assets[0].path.read_bytes() for assets in made)
    assert first == second
    assert len(pyogrio.read_dataframe(made[0][0].path)) == 2


def test_a_map_has_no_tiles_of_a_table(scenes: Scenes):
    nodes = {"fields": node("load_geojson", True, data=geojson(squares(100)))}
    job = job_of(nodes)

    with pytest.raises(ArgumentInvalid, match="terrazzo run"):
        job.plan(job.infer(scenes.workspace))


def test_attributes_that_are_asked_for_must_be_in_a_file_that_has_any(
    scenes: Scenes, server: Server
):
    point = {"type": "Feature", "geometry": None, "properties": {"n": 1}}
    for name, features in (("none.geojson", []), ("one.geojson", [point])):
        text = json.dumps({"type": "FeatureCollection", "features": features})
        (server.folder / name).write_text(text)

    def loaded(name: str, **options: Any) -> Any:
        url = f"http://{server.host}/{name}"
        nodes = {"it": node("load_url", True, url=url, format="GeoJSON", options=options)}
        return job_of(nodes).infer(allowed(scenes, server)).cube("it").result

    assert loaded("none.geojson", id="m", properties=["n"]).values.shape == (0, 1)
    assert loaded("one.geojson", id="n").dimensions[0].labels == (1,)
    with pytest.raises(ArgumentInvalid, match="no attribute 'm'"):
        loaded("one.geojson", id="m")


def test_texts_of_a_file_that_cannot_be_written_are_refused(scenes: Scenes, server: Server):
    text = '{"type": "Feature", "geometry": null, "properties": {"n": "\\ud800"}}'
    (server.folder / "half.geojson").write_text(text)
    nodes = {
        "it": node("load_url", True, url=f"http://{server.host}/half.geojson", format="GeoJSON")
    }

    with pytest.raises(FormatUnsuitable, match="half of a character"):
        job_of(nodes).infer(allowed(scenes, server))
