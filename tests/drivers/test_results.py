"""What `save_result` and values become on disk, read back by other people's libraries."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import xarray as xr
from PIL import Image
from tests.drivers.scenes import composite, grid_of, job_of, load, node, ref

from terrazzo.drivers.batch import run
from terrazzo.engine import evaluate
from terrazzo.errors import FormatUnsupported, PlanTooLarge

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


def test_png_shows_the_stretched_values_and_is_clear_where_there_are_none(
    scenes: Scenes, tmp_path: Path
):
    nodes = {
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


@pytest.mark.parametrize("format_name", ["CSV", "JSON", "Parquet", "GeoParquet"])
def test_tables_of_geometries_are_read_back(scenes: Scenes, tmp_path: Path, format_name: str):
    pixels, valid = scenes.stack("B04")
    squares_of = [(slice(100, 120), slice(col, col + 20)) for col in (100, 300)]
    wanted = [
        pixels[day][place][valid[day][place]].mean(dtype=np.float64)
        for place in squares_of
        for day in range(len(pixels))
    ]

    (asset,) = run(
        job_of(saved(zonal(), "zones", format_name)), scenes.workspace, tmp_path, block=150
    ).assets

    if format_name == "CSV":
        rows = list(csv.DictReader(asset.path.read_text().splitlines()))
    elif format_name == "JSON":
        rows = json.loads(asset.path.read_text())
    elif format_name == "Parquet":
        rows = pq.read_table(asset.path).to_pylist()
    else:
        frame = geopandas.read_parquet(asset.path)
        assert frame.crs.to_epsg() == 32633
        assert frame.geometry.area.unique().tolist() == [40_000.0]
        rows = frame.drop(columns="geometry").to_dict("records")
    assert [row["name"] for row in rows] == ["s0"] * len(pixels) + ["s1"] * len(pixels)
    np.testing.assert_allclose([float(row["value"]) for row in rows], wanted, rtol=1e-6)


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
    with pytest.raises(FormatUnsupported, match="PARQUET"):
        run(job_of(saved(zonal(), "zones", "GTiff")), scenes.workspace, tmp_path / "b")
    with pytest.raises(FormatUnsupported, match="GTIFF"):
        run(job_of(saved(raster, "load", "GTif")), scenes.workspace, tmp_path / "c")
    assert not (tmp_path / "a").exists()


def test_a_run_of_too_many_blocks_is_refused_with_the_number_before_any_read(
    scenes: Scenes, tmp_path: Path
):
    nodes = {"load": {**load(["B04"]), "result": True}}

    with pytest.raises(PlanTooLarge, match=r"[\d,]{9,} blocks .*--resolution"):
        run(job_of(nodes, resolution=1e-4), scenes.workspace, tmp_path / "out", block=64)

    assert not (tmp_path / "out").exists()
