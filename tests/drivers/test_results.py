"""What `save_result` and values become on disk, read back by other people's libraries."""

from __future__ import annotations

import csv
import json
import subprocess
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import xarray as xr
import zarr
from PIL import Image
from rasterio.transform import Affine
from tests.drivers.scenes import composite, grid_of, job_of, load, node, ref

from terrazzo.drivers import results
from terrazzo.drivers.batch import run
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.engine import evaluate
from terrazzo.errors import (
    FormatArgumentInvalid,
    FormatArgumentUnsupported,
    FormatUnsuitable,
    FormatUnsupported,
    PlanTooLarge,
)
from terrazzo.testing.graphs import callback

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.cube import Cube


def saved(nodes: dict, last: str, format_name: str, **options: object) -> dict:
    """Return the graph with its result saved in a format."""
    graph = {name: {k: v for k, v in one.items() if k != "result"} for name, one in nodes.items()}
    graph["save"] = node("save_result", True, data=ref(last), format=format_name, options=options)
    return graph


def computed(nodes: dict, scenes: Scenes) -> Cube:
    job = job_of(nodes)
    plan = job.plan(job.infer(scenes.workspace))
    return evaluate(plan, plan.window)


def last_of(nodes: dict) -> str:
    return next(name for name, one in nodes.items() if one.get("result"))


def first_date() -> dict:
    return {
        "load": load(["B08"], temporal_extent=["2020-01-01", "2030-01-01"]),
        "one": node(
            "reduce_dimension",
            True,
            data=ref("load"),
            dimension="t",
            reducer={
                "process_graph": {
                    "f": node("first", True, data={"from_parameter": "data"}, ignore_nodata=False)
                }
            },
        ),
    }


def test_netcdf_holds_the_pixels_dates_and_coordinates(scenes: Scenes, tmp_path: Path):
    nodes = composite("month")
    expected = computed(nodes, scenes)

    (asset,) = run(
        job_of(saved(nodes, last_of(nodes), "netCDF")), scenes.workspace, tmp_path, block=200
    ).assets

    with xr.open_dataset(asset.path, decode_times=False) as data:
        (name,) = [v for v in data.data_vars if data[v].ndim >= 2]
        values = data[name].to_numpy()
        np.testing.assert_array_equal(np.isnan(values), ~expected.valid)
        np.testing.assert_array_equal(values[expected.valid], expected.values[expected.valid])
        grid = grid_of()
        np.testing.assert_array_equal(data["x"], grid.xs(expected.window))
        np.testing.assert_array_equal(data["y"], grid.ys(expected.window))


@pytest.mark.parametrize("overviews", [{}, {"overviews": "none"}])
def test_zarr_holds_the_pixels_dates_and_coordinates(
    scenes: Scenes, tmp_path: Path, overviews: dict
):
    nodes = composite("month")
    expected = computed(nodes, scenes)

    (asset,) = run(
        job_of(saved(nodes, last_of(nodes), "Zarr", **overviews)), scenes.workspace, tmp_path,
        block=200,
    ).assets  # fmt: skip

    assert asset.path.name == "result.zarr.zip"
    with xr.open_zarr(zarr.storage.ZipStore(asset.path, mode="r"), group="0") as data:
        (name,) = [v for v in data.data_vars if data[v].ndim >= 2]
        values = data[name].to_numpy()
        np.testing.assert_array_equal(np.isnan(values), ~expected.valid)
        np.testing.assert_array_equal(values[expected.valid], expected.values[expected.valid])
        np.testing.assert_array_equal(data["x"], grid_of().xs(expected.window))


@pytest.mark.parametrize(
    ("format_name", "suffix", "error"), [("JPEG", "jpg", 4), ("WebP", "webp", 0)]
)
def test_other_pictures_show_what_png_shows(
    scenes: Scenes, tmp_path: Path, format_name: str, suffix: str, error: int
):
    nodes = first_date()

    (png,) = run(
        job_of(saved(nodes, "one", "PNG", min=1500, max=6000)), scenes.workspace, tmp_path / "a"
    ).assets
    (other,) = run(
        job_of(saved(nodes, "one", format_name, min=1500, max=6000)),
        scenes.workspace, tmp_path / "b",
    ).assets  # fmt: skip

    assert other.path.name == f"result.{suffix}"
    one = np.asarray(Image.open(png.path).convert("RGBA")).astype(float)
    two = np.asarray(Image.open(other.path).convert("RGBA")).astype(float)
    seen = one[..., 3] > 0
    assert np.abs(one - two)[seen].mean() <= error
    if format_name == "WebP":
        np.testing.assert_array_equal(two[..., 3] > 0, seen)
    else:  # white, but for what JPEG smears around the edges
        assert (two[~seen] > 250).mean() > 0.9


def test_a_picture_that_its_format_cannot_hold_is_refused(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(results.PICTURE_EDGES, "WEBP", 10)  # type: ignore[index]

    with pytest.raises(FormatUnsupported, match=r"WEBP of .* too large"):
        run(job_of(saved(first_date(), "one", "WebP")), scenes.workspace, tmp_path)


def test_png_shows_the_stretched_values_and_is_clear_where_there_are_none(
    scenes: Scenes, tmp_path: Path
):
    nodes = first_date()
    expected = computed(nodes, scenes)

    (asset,) = run(
        job_of(saved(nodes, "one", "PNG", min=1500, max=6000)), scenes.workspace, tmp_path
    ).assets

    picture = np.asarray(Image.open(asset.path).convert("RGBA")).astype(float)
    valid = expected.valid.reshape(picture.shape[:2])
    wanted = (expected.values.reshape(valid.shape) - 1500.0) / 4500 * 255
    np.testing.assert_array_equal(picture[..., 3] > 0, valid)
    assert np.abs(picture[..., 0] - wanted.clip(0, 255))[valid].max() <= 1


def squares() -> dict:
    """Return two squares of 20 pixels on the lattice, as GeoJSON in the CRS of the files."""
    grid = grid_of()
    features = []
    for number, col in enumerate((100, 300)):
        left, top = grid.left + col * 10, grid.top - 1000
        ring = [[left, top], [left + 200, top], [left + 200, top - 200], [left, top - 200]]
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        features.append(
            {"type": "Feature", "properties": {"name": f"s{number}"}, "geometry": geometry}
        )
    name = {"type": "name", "properties": {"name": "EPSG:32633"}}
    return {"type": "FeatureCollection", "features": features, "crs": name}


def zonal() -> dict:
    mean = {"process_graph": {"m": node("mean", True, data={"from_parameter": "data"})}}
    return {
        "load": load(["B04"]),
        "zones": node(
            "aggregate_spatial", True, data=ref("load"), geometries=squares(), reducer=mean
        ),
    }


@pytest.mark.parametrize("format_name", ["CSV", "JSON", "Parquet", "GeoParquet", "GeoJSON"])
def test_long_tables_of_geometries_are_read_back(scenes: Scenes, tmp_path: Path, format_name: str):
    pixels, valid = scenes.stack("B04")
    squares_of = [(slice(100, 120), slice(col, col + 20)) for col in (100, 300)]
    wanted = [
        pixels[day][place][valid[day][place]].mean(dtype=np.float64)
        for place in squares_of
        for day in range(len(pixels))
    ]

    (asset,) = run(
        job_of(saved(zonal(), "zones", format_name, layout="long")),
        scenes.workspace,
        tmp_path,
        block=150,
    ).assets

    if format_name == "CSV":
        rows = list(csv.DictReader(asset.path.read_text().splitlines()))
    elif format_name == "JSON":
        rows = json.loads(asset.path.read_text())
    elif format_name == "Parquet":
        rows = pq.read_table(asset.path).to_pylist()
    elif format_name == "GeoJSON":
        rows = [one["properties"] for one in json.loads(asset.path.read_text())["features"]]
    else:
        frame = geopandas.read_parquet(asset.path)
        assert frame.crs.to_epsg() == 32633
        assert frame.geometry.area.unique().tolist() == [40_000.0]
        rows = frame.drop(columns="geometry").to_dict("records")
    assert [row["name"] for row in rows] == ["s0"] * len(pixels) + ["s1"] * len(pixels)
    np.testing.assert_allclose([float(row["value"]) for row in rows], wanted, rtol=1e-6)


@pytest.mark.parametrize("format_name", ["", "GeoJSON", "CSV", "Parquet", "GeoParquet", "NetCDF"])
def test_vector_cubes_have_a_row_per_geometry(scenes: Scenes, tmp_path: Path, format_name: str):
    pixels, valid = scenes.stack("B04")
    nodes = saved(zonal(), "zones", format_name) if format_name else zonal()
    job = job_of(nodes)
    times = job.infer(scenes.workspace).cube("zones").result.dimension("t").labels

    (asset,) = run(job, scenes.workspace, tmp_path, block=150).assets

    if format_name == "NetCDF":
        with xr.open_dataset(asset.path) as data:
            assert data["name"].to_numpy().tolist() == ["s0", "s1"]
            found = data["B04"].to_numpy()
    else:
        if format_name == "CSV":
            frame = pyarrow.csv.read_csv(asset.path).to_pandas()
        elif format_name in {"Parquet", "GeoParquet"}:
            frame = geopandas.read_parquet(asset.path)
            assert frame.geometry.area.unique().tolist() == [40_000.0]
        else:
            assert asset.media_type == "application/geo+json"
            frame = pyogrio.read_dataframe(asset.path)
            assert frame.crs.to_epsg() == 4326
        assert frame["name"].tolist() == ["s0", "s1"]
        found = frame[[f"{time}~B04" for time in times]].to_numpy()
    for row, col in enumerate((100, 300)):
        for day in range(len(pixels)):
            place = day, slice(100, 120), slice(col, col + 20)
            wanted = pixels[place][valid[place]].mean(dtype=np.float64)
            assert found[row, day] == pytest.approx(wanted, rel=1e-6)


def test_a_cube_without_space_is_written_long(scenes: Scenes, tmp_path: Path):
    mean = {"process_graph": {"m": node("mean", True, data={"from_parameter": "data"})}}
    nodes = {
        **zonal(),
        "over": node(
            "reduce_dimension", True, data=ref("zones"), dimension="geometry", reducer=mean
        ),
    }
    del nodes["zones"]["result"]

    (plain,) = run(job_of(nodes), scenes.workspace, tmp_path / "a").assets
    (netcdf,) = run(job_of(saved(nodes, "over", "NetCDF")), scenes.workspace, tmp_path / "b").assets

    rows = json.loads(plain.path.read_text())
    assert list(rows[0]) == ["t", "bands", "value"]
    with xr.open_dataset(netcdf.path) as data:
        np.testing.assert_allclose(data["B04"], [row["value"] for row in rows], rtol=1e-6)


def test_a_graph_of_numbers_writes_its_value(scenes: Scenes, tmp_path: Path):
    nodes = {"sum": node("add", x=1.5, y=2), "ten": node("multiply", True, x=ref("sum"), y=10)}

    (asset,) = run(job_of(nodes), scenes.workspace, tmp_path).assets

    assert json.loads(asset.path.read_text()) == 35


def test_every_save_result_of_a_graph_is_written(scenes: Scenes, tmp_path: Path):
    nodes = {
        "load": load(["B04"]),
        "tif": node("save_result", data=ref("load"), format="GTiff"),
        "nc": node("save_result", True, data=ref("load"), format="netCDF"),
    }

    made = run(job_of(nodes), scenes.workspace, tmp_path).assets

    assert {asset.path.suffix for asset in made} == {".tif", ".nc"}
    tifs = sorted(asset.path for asset in made if asset.path.suffix == ".tif")
    pixels, valid = scenes.stack("B04")
    assert len(tifs) == len(pixels)
    with rasterio.open(tifs[0]) as file:
        np.testing.assert_array_equal(file.read(1)[valid[0]], pixels[0][valid[0]])


def test_whole_numbers_keep_their_type_and_get_a_no_data_value_of_their_own(
    scenes: Scenes, tmp_path: Path
):
    nodes = {"load": {**load(["SCL"]), "result": True}}

    first, *_ = run(job_of(nodes), scenes.workspace, tmp_path).assets

    with rasterio.open(first.path) as file:
        assert file.dtypes == ("uint8",)
        assert file.nodata == 255
        np.testing.assert_array_equal(file.read(1, masked=True).mask, file.read(1) == 255)


def test_formats_that_cannot_hold_the_result_are_named_before_any_read(
    scenes: Scenes, tmp_path: Path
):
    raster = {"load": load(["B04"])}

    with pytest.raises(FormatUnsupported, match="GTIFF"):
        run(job_of(saved(raster, "load", "CSV")), scenes.workspace, tmp_path / "a")
    with pytest.raises(FormatUnsuitable, match="GEOJSON, GEOPARQUET"):
        run(job_of(saved(zonal(), "zones", "GTiff")), scenes.workspace, tmp_path / "b")
    with pytest.raises(FormatUnsupported, match="GTIFF"):
        run(job_of(saved(raster, "load", "GTif")), scenes.workspace, tmp_path / "c")
    with pytest.raises(FormatUnsupported, match="Did you mean 'GEOJSON'"):
        run(job_of(saved(zonal(), "zones", "GeoJSN")), scenes.workspace, tmp_path / "d")
    assert not list(tmp_path.glob("*/*.*"))


def test_images_of_further_dimensions_are_refused_before_any_read(scenes: Scenes, tmp_path: Path):
    data = {"from_parameter": "data"}
    process = callback("quantiles", data=data, probabilities=[0.1, 0.9])
    nodes = {
        "load": load(["B04"]),
        "low and high": node(
            "apply_dimension",
            data=ref("load"),
            dimension="t",
            target_dimension="quantiles",
            process=process,
        ),
    }
    plain = {**nodes, "low and high": {**nodes["low and high"], "result": True}}

    for number, graph in enumerate(
        (plain, saved(nodes, "low and high", "GTiff"), saved(nodes, "low and high", "PNG"))
    ):
        with pytest.raises(FormatUnsuitable, match="besides"):
            run(job_of(graph), scenes.workspace, tmp_path / str(number))
        assert not (tmp_path / str(number)).exists()
    (asset,) = run(
        job_of(saved(nodes, "low and high", "NetCDF")), scenes.workspace, tmp_path / "nc"
    ).assets

    assert asset.path.name == "result.nc"


def test_options_that_a_format_does_not_have_are_named_before_any_read(
    scenes: Scenes, tmp_path: Path
):
    for format_name, options, error, message in (
        ("CSV", {"layut": "long"}, FormatArgumentUnsupported, "Did you mean 'layout'"),
        ("CSV", {"layout": "tall"}, FormatArgumentInvalid, "'wide' or 'long'"),
        ("NetCDF", {"layout": "long"}, FormatArgumentUnsupported, "Options: nodata"),
    ):
        job = job_of(saved(zonal(), "zones", format_name, **options))
        with pytest.raises(error, match=message):
            run(job, scenes.workspace, tmp_path)
    assert not list(tmp_path.glob("*.*"))


def test_a_run_of_too_many_blocks_is_refused_with_the_number_before_any_read(
    scenes: Scenes, tmp_path: Path
):
    nodes = {"load": {**load(["B04"]), "result": True}}

    with pytest.raises(PlanTooLarge, match=r"[\d,]{9,} blocks .*--resolution"):
        run(job_of(nodes, resolution=1e-4), scenes.workspace, tmp_path / "out", block=64)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("format_name", "options", "message"),
    [
        ("GTiff", {"nodata": "none"}, "a number, not 'none'"),
        ("GTiff", {"nodata": True}, "a number, not True"),
        ("GTiff", {"nodata": -1}, "uint8, cannot hold.*0 to 255"),
        ("netCDF", {"nodata": 256}, "uint8, cannot hold"),
        ("netCDF", {"nodata": 0.5}, "whole number"),
        ("GTiff", {"compression": "zip"}, "'deflate' or 'zstd'"),
        ("GTiff", {"overviews": "sum"}, "'average' or"),
        ("PNG", {"min": "0", "max": 1}, "`min` is a number"),
        ("PNG", {"min": 0}, "given together"),
        ("PNG", {"min": 1, "max": 0}, "the lower one first"),
        ("PNG", {"colormap": "rainbows"}, "Did you mean 'rainbow'"),
    ],
)
def test_values_of_options_that_mean_nothing_are_told_before_any_read(
    scenes: Scenes, tmp_path: Path, format_name: str, options: dict[str, object], message: str
):
    nodes = {"load": load(["SCL"])}

    with pytest.raises(FormatArgumentInvalid, match=message):
        run(job_of(saved(nodes, "load", format_name, **options)), scenes.workspace, tmp_path)
    assert not list(tmp_path.iterdir())


def test_words_of_options_are_taken_in_any_case(scenes: Scenes, tmp_path: Path):
    nodes = {"one": node("load_geojson", data={"type": "Point", "coordinates": [1, 2]})}
    long = saved(nodes, "one", "CSV", layout="LONG")

    (asset,) = run(job_of(long), scenes.workspace, tmp_path).assets

    assert asset.path.read_text().startswith("id")


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", ".", "", "a" * 300, "é/"])
def test_the_id_of_a_node_leads_nowhere_else(scenes: Scenes, tmp_path: Path, name: str):
    folder = tmp_path / "a" / "b" / "run"
    nodes = {
        "one": node("load_geojson", data={"type": "Point", "coordinates": [1, 2]}),
        name: node("save_result", data=ref("one"), format="CSV"),
        "save": node("save_result", True, data=ref("one"), format="GeoJSON"),
    }

    made = run(job_of(nodes), scenes.workspace, folder).assets

    assert sorted(asset.path.name for asset in made) == ["result.csv", "result.geojson"]
    for asset in made:
        assert asset.path.resolve().parent.parent == folder
    assert len({asset.path.parent for asset in made}) == 2


def test_dates_that_would_be_called_alike_have_files_of_their_own(scenes: Scenes, tmp_path: Path):
    labels = ["jun/jul", "junjul"]
    nodes = {
        "load": load(["B04"]),
        "times": node(
            "aggregate_temporal",
            True,
            data=ref("load"),
            intervals=[["2020-01-01", "2022-01-01"], ["2022-01-01", "2040-01-01"]],
            labels=labels,
            reducer=callback("count", data={"from_parameter": "data"}),
        ),
    }

    made = run(job_of(nodes), scenes.workspace, tmp_path).assets

    assert [asset.time for asset in made] == labels
    assert len({asset.path for asset in made}) == 2
    for asset in made:
        with rasterio.open(asset.path) as file:
            assert file.tags()["time"] == asset.time


def test_numbers_that_json_has_not_are_null(scenes: Scenes, tmp_path: Path):
    nodes = {
        "nan": node("divide", x=0, y=0),
        "all": node("array_create", True, data=[ref("nan"), 1]),
    }

    (asset,) = run(job_of(nodes), scenes.workspace, tmp_path).assets

    assert json.loads(asset.path.read_text(), parse_constant=pytest.fail) == [None, 1]


@pytest.mark.parametrize(("dtype", "mark"), [("int64", -(2**63)), ("uint64", 2**63)])
def test_results_of_64_bits_say_which_pixels_have_no_data(tmp_path: Path, dtype: str, mark: int):
    pixels = np.array([[mark, 9, 1000], [2**60, 0, mark]], dtype)
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": 1, "height": 2, "width": 3,
        "crs": "EPSG:32633", "transform": Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0),
    }  # fmt: skip
    with rasterio.open(tmp_path / "plain.tif", "w", **profile) as file:
        file.write(pixels, 1)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a_20200501.tif"
    words = ["gdal_translate", "-a_nodata", str(mark), str(tmp_path / "plain.tif"), str(path)]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    workspace = Workspace.of(tmp_path / "home", (tmp_path / "in",))
    ingest([path], "long", workspace, options=IngestOptions())
    nodes = {"load": {**load(["band1"], collection="long"), "result": True}}

    (asset,) = run(job_of(nodes), workspace, tmp_path).assets

    with rasterio.open(asset.path) as file:
        assert file.dtypes == (dtype,)
        np.testing.assert_array_equal(file.read_masks(1) > 0, pixels != mark)
        np.testing.assert_array_equal(file.read(1)[pixels != mark], pixels[pixels != mark])
    with pytest.raises(FormatUnsupported, match=f"{mark} as it is"):
        run(job_of(saved(nodes, "load", "GTiff", nodata=mark)), workspace, tmp_path / "refused")
