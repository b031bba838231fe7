"""The traps of Earth-observation software, each gone through from graph to file and back."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.transform import Affine
from tests.drivers.scenes import (
    CRS,
    LEFT,
    TOP,
    asset_of,
    callback,
    job_of,
    load,
    node,
    of_x,
    ref,
    register,
    write_cog,
)

from terrazzo.catalog import BandInfo, make_asset
from terrazzo.drivers import batch
from terrazzo.drivers.extract import extract
from terrazzo.drivers.tile import MERCATOR, NATIVE, TileLayer
from terrazzo.engine import evaluate, make_plan
from terrazzo.errors import NoDataAvailable, SpatialExtentEmpty
from terrazzo.geo.crs import crs_name, crs_object, transformer
from terrazzo.geo.grid import Grid
from terrazzo.testing.compare import assert_same_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.cube import Cube
    from terrazzo.drivers.job import Workspace

DAY = "2020-06-01T10:00:00Z"
SINUSOIDAL = crs_name("+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs")
OWN_LAEA = crs_name("+proj=laea +lat_0=40 +lon_0=12 +x_0=100 +y_0=200 +ellps=GRS80 +units=m")


def ramp(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A plane over map coordinates: bilinear keeps it, a shift of half a pixel does not."""
    return ((x - LEFT) * 0.01 + (TOP - y) * 0.02 + 500).astype(np.float32)


def ramp_on(grid: Grid) -> np.ndarray:
    return ramp(*np.meshgrid(grid.xs(grid.window), grid.ys(grid.window)))


def one_image(home: Path, pixels: np.ndarray, grid: Grid, *, nodata: float | None = 0, **more: Any):
    """Register one image of band B."""
    options = more.pop("options", {})
    path = write_cog(home / "assets" / "image.tif", pixels, grid, nodata=nodata, **options)
    band = BandInfo("B", pixels.dtype.name, nodata)
    return register(home, "c", {"image": (DAY, {"B": asset_of(path, (band,), grid)})}, grid, **more)


def computed(workspace: Workspace, nodes: dict[str, Any], **options: Any) -> Cube:
    job = job_of(nodes, **options)
    plan = job.plan(job.infer(workspace))
    return evaluate(plan, plan.window)


def loaded(**arguments: Any) -> dict[str, Any]:
    return {"load": {**load(["B"], collection="c", **arguments), "result": True}}


def warped(**arguments: Any) -> dict[str, Any]:
    return {
        "load": load(["B"], collection="c"),
        "warp": node("resample_spatial", True, data=ref("load"), **arguments),
    }


@pytest.mark.parametrize(("height", "width"), [(1024, 1024), (1023, 1025), (1100, 901)])
def test_overview_levels_lie_where_the_pixels_lie(tmp_path: Path, height: int, width: int):
    grid = Grid.of(CRS, LEFT, TOP, 10.0, height, width)
    workspace = one_image(tmp_path, ramp_on(grid), grid, nodata=-1.0)
    inference = job_of(loaded()).infer(workspace)

    for pixel in (10.0, 20.0, 25.0, 40.0, 80.0):
        inner = Grid.of(CRS, LEFT + 800, TOP - 800, pixel, int(6000 / pixel), int(6000 / pixel))
        cube = evaluate(make_plan(inference, inner), inner.window)
        error = np.abs(cube.values[0, 0] - ramp_on(inner))

        # `near` may be off by half a pixel of the level, which is no coarser than the target.
        step = pixel * 0.03
        assert cube.valid.all()
        assert error.max() <= step / 2 + 0.02 * step
        assert abs(np.mean(cube.values[0, 0] - ramp_on(inner))) <= step / 2


@pytest.mark.parametrize("method", ["bilinear", "cubic", "average"])
@pytest.mark.parametrize("resolution", [7.0, 30.0])
def test_no_seams_at_blocks_and_tiles(tmp_path: Path, method: str, resolution: float):
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 130, 140)
    workspace = one_image(tmp_path / "home", ramp_on(grid), grid, nodata=-1.0)
    kernel = [[1 / 9] * 3] * 3
    nodes = {
        "load": load(["B"], collection="c"),
        "smooth": node("apply_kernel", data=ref("load"), kernel=kernel, border="replicate"),
        "warp": node(
            "resample_spatial", True, data=ref("smooth"), resolution=resolution, method=method
        ),
    }

    made = batch.run(job_of(nodes), workspace, tmp_path / "out", block=16)

    with rasterio.open(made.assets[0].path) as file:
        pixels, t = file.read(1), file.transform
    target = Grid.of(CRS, t.c, t.f, t.a, *pixels.shape)
    # Blocks of 16 begin at every 16th pixel; away from the border the plane is kept at all of them.
    inside = (slice(8, -8), slice(8, -8))
    tolerance = 0.2 if (method, resolution) == ("average", 7.0) else 1e-3
    np.testing.assert_allclose(pixels[inside], ramp_on(target)[inside], atol=tolerance)


@pytest.mark.parametrize("method", ["near", "bilinear", "cubic", "lanczos", "average"])
@pytest.mark.parametrize("resolution", [3.0, 10.0, 20.0, 55.0])
def test_no_data_does_not_bleed(tmp_path: Path, method: str, resolution: float):
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 300, 320)
    pixels = np.full((300, 320), 1000, np.uint16)
    holes = np.random.default_rng(1).integers(0, 280, (20, 2))
    for row, col in holes:
        pixels[row : row + 13, col : col + 21] = 0
    workspace = one_image(tmp_path, pixels, grid)

    cube = computed(workspace, warped(resolution=resolution, projection=3035, method=method))

    assert 0.5 < cube.valid.mean() < 0.99
    np.testing.assert_array_equal(cube.values[cube.valid], 1000)


def test_offsets_are_applied_before_resampling_and_never_to_no_data(tmp_path: Path):
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 300, 300)
    surface = ramp_on(grid).astype(np.uint16)
    surface[50:80, 50:80] = 0
    items = {}
    for day, offset in ((1, 0.0), (2, -1000.0)):
        stored = np.where(surface > 0, surface - offset, 0).astype(np.uint16)
        path = write_cog(tmp_path / "assets" / f"{day}.tif", stored, grid)
        band = BandInfo("B", "uint16", 0.0, scale=0.0001, offset=offset * 0.0001)
        items[f"i{day}"] = (f"2020-06-0{day}T10:00:00Z", {"B": asset_of(path, (band,), grid)})
    workspace = register(tmp_path, "c", items, grid)

    for method in ("near", "bilinear", "cubic"):
        cube = computed(workspace, warped(resolution=23.0, method=method))

        np.testing.assert_array_equal(cube.valid[0], cube.valid[1])
        assert not cube.valid.all()
        both = cube.valid[0]
        np.testing.assert_allclose(cube.values[0][both], cube.values[1][both], atol=2e-7)
        assert cube.values[0][both].min() > 0.04


def test_both_sides_of_the_antimeridian_are_one_place(tmp_path: Path):
    items = {}
    east = Grid.of("EPSG:4326", 178.0, 1.0, 0.01, 200, 200)
    west = Grid.of("EPSG:4326", -180.0, 1.0, 0.01, 200, 200)
    for name, grid, value in (("east", east, 11), ("west", west, 22)):
        pixels = np.full((200, 200), value, np.uint8)
        path = write_cog(tmp_path / "assets" / f"{name}.tif", pixels, grid)
        items[name] = (DAY, {"B": asset_of(path, (BandInfo("B", "uint8", 0.0),), grid)})
    workspace = register(tmp_path, "c", items, east, bbox=[178.0, -1.0, -178.0, 1.0])
    box = {"west": 179.0, "east": -179.0, "south": -0.5, "north": 0.5}
    nodes = {
        **warped(resolution=1000.0, projection=3832),  # PDC Mercator, centred on 150 degrees east
        "load": load(["B"], collection="c", spatial_extent=box),
    }

    cube = computed(workspace, nodes)
    layer = TileLayer(job_of(loaded()).infer(workspace))
    tiles = [layer.cube(MERCATOR, 7, x, 63) for x in (0, 127)]

    row = cube.values.shape[2] // 2
    there = np.flatnonzero(cube.valid[0, 0, row])
    across = cube.values[0, 0, row][there]
    assert (np.diff(there) == 1).all()
    assert across.size == pytest.approx(2 * 111.3, abs=3)
    assert np.flatnonzero(np.diff(across.astype(int))).size == 1
    assert across[[0, -1]].tolist() == [11, 22]
    assert [np.unique(t.values[t.valid]).tolist() for t in tiles] == [[22], [11]]


def test_the_pole_is_a_place_like_any_other(tmp_path: Path):
    grid = Grid.of("EPSG:4326", -180.0, 90.0, 0.25, 120, 1440)
    _, lat = np.meshgrid(grid.xs(grid.window), grid.ys(grid.window))
    workspace = one_image(tmp_path, (lat * 10).astype(np.float32), grid, nodata=-1.0)

    cube = computed(workspace, warped(resolution=25_000.0, projection=3995))

    xs, ys = np.meshgrid(cube.grid.xs(cube.window), cube.grid.ys(cube.window))
    near_pole = np.hypot(xs, ys) < 1_500_000
    _, expected = transformer("EPSG:3995", "EPSG:4326").transform(xs, ys)
    assert cube.valid[0, 0][near_pole].all()
    error = cube.values[0, 0][near_pole] - 10 * expected[near_pole]
    assert np.abs(error).max() <= 10 * 0.126


@pytest.mark.parametrize("crs", [SINUSOIDAL, OWN_LAEA], ids=["sinusoidal", "laea"])
def test_a_crs_without_a_code_is_kept_and_projected(tmp_path: Path, crs: str):
    x, y = transformer("EPSG:4326", crs).transform(11.0, 44.0)
    grid = Grid.of(crs, round(x), round(y), 100.0, 300, 280)
    workspace = one_image(tmp_path / "home", ramp(*np.meshgrid(
        grid.xs(grid.window) - grid.left + LEFT, grid.ys(grid.window) - grid.top + TOP
    )), grid, nodata=-1.0)  # fmt: skip

    native = computed(workspace, loaded())
    made = batch.run(job_of(loaded()), workspace, tmp_path / "out", block=128)
    # 120 m of Mercator are 86 m here: finer than the source, so the kernel keeps planes.
    mercator = computed(workspace, warped(resolution=120.0, projection=3857, method="bilinear"))

    assert "EPSG" not in crs[:5]
    with rasterio.open(made.assets[0].path) as file:
        np.testing.assert_array_equal(file.read(1), native.values[0, 0])
        assert crs_object(crs_name(file.crs.to_wkt())).equals(crs_object(crs))
    xs, ys = np.meshgrid(mercator.grid.xs(mercator.window), mercator.grid.ys(mercator.window))
    there = transformer("EPSG:3857", crs).transform(xs, ys)
    expected = ramp(there[0] - grid.left + LEFT, there[1] - grid.top + TOP)
    inside = mercator.valid[0, 0]
    border = (np.abs(there[0] - grid.left) < 300) | (np.abs(there[1] - grid.top) < 300)
    border |= (there[0] > grid.bounds[2] - 300) | (there[1] < grid.bounds[1] + 300)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(
        mercator.values[0, 0][inside & ~border], expected[inside & ~border], atol=2e-2
    )


def test_rows_that_go_north_are_turned_over(tmp_path: Path):
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 90, 80)
    upright = ramp_on(grid)
    upright[5:9] = -1
    path = tmp_path / "assets" / "image.tif"
    path.parent.mkdir()
    with rasterio.open(
        path, "w", driver="GTiff", dtype="float32", count=1, height=90, width=80, crs=CRS,
        transform=Affine(10, 0, LEFT, 0, 10, TOP - 900), nodata=-1,
    ) as file:  # fmt: skip
        file.write(upright[::-1], 1)
    asset = make_asset(
        str(path), bands=(BandInfo("B", "float32", -1.0),), crs=CRS, shape=(90, 80),
        transform=(10, 0, LEFT, 0, 10, TOP - 900),
    )  # fmt: skip
    workspace = register(tmp_path, "c", {"image": (DAY, {"B": asset})}, grid)

    cube = computed(workspace, loaded())

    assert cube.grid == grid
    np.testing.assert_array_equal(cube.valid[0, 0], upright != -1)
    np.testing.assert_array_equal(cube.values[0, 0][cube.valid[0, 0]], upright[upright != -1])


def test_longitudes_from_0_to_360_are_found_west_of_greenwich(tmp_path: Path):
    grid = Grid.of("EPSG:4326", 0.0, 90.0, 1.0, 180, 360)
    lon = np.broadcast_to(grid.xs(grid.window), (180, 360)).astype(np.float32)
    workspace = one_image(tmp_path, lon, grid, nodata=-1.0, bbox=[-180.0, -90.0, 180.0, 90.0])
    box = {"west": -10.0, "east": 10.0, "south": 30.0, "north": 50.0}

    cube = computed(workspace, {**warped(resolution=50_000.0, projection=3857), "load": load(
        ["B"], collection="c", spatial_extent=box)})  # fmt: skip
    tile = TileLayer(job_of(loaded()).infer(workspace)).cube(MERCATOR, 4, 7, 6)

    values = cube.values[0, 0][cube.valid[0, 0]]
    assert values[values > 180].min() == 350.5
    assert values[values < 180].max() == 9.5
    assert tile is not None
    assert tile.valid.all()
    assert tile.values.min() == 337.5
    assert tile.values.max() == 359.5


def test_a_box_on_both_sides_of_greenwich_keeps_what_is_in_it(tmp_path: Path):
    grid = Grid.of("EPSG:4326", 0.0, 90.0, 1.0, 180, 360)
    lon = np.broadcast_to(grid.xs(grid.window), (180, 360)).astype(np.float32)
    workspace = one_image(tmp_path, lon, grid, nodata=-1.0, bbox=[-180.0, -90.0, 180.0, 90.0])
    box = {"west": -2.0, "east": 2.0, "south": 49.0, "north": 51.0}

    cube = computed(workspace, {"load": load(["B"], collection="c", spatial_extent=box)})

    values = cube.values[0, 0][cube.valid[0, 0]]
    assert sorted(values.tolist()) == sorted([358.5, 359.5, 0.5, 1.5] * 2)


def test_images_of_one_instant_are_one_date_in_the_order_of_their_ids(tmp_path: Path):
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 60, 60)
    items = {}
    for name, value in (("z", 1), ("a", 2), ("m", 3)):
        pixels = np.full((60, 60), value, np.uint8)
        pixels[: {"z": 0, "a": 30, "m": 10}[name]] = 0
        path = write_cog(tmp_path / "assets" / f"{name}.tif", pixels, grid)
        items[name] = (DAY, {"B": asset_of(path, (BandInfo("B", "uint8", 0.0),), grid)})
    workspace = register(tmp_path, "c", items, grid)

    cube = computed(workspace, loaded())

    assert cube.dimension("t").labels == (DAY,)
    assert [cube.values[0, 0, row, 0] for row in (0, 9, 10, 29, 30, 59)] == [1, 1, 3, 3, 2, 2]


def daily(tmp_path: Path, times: tuple[str, ...]) -> Workspace:
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 40, 50)
    pixels = np.arange(1, 2001, dtype=np.uint16).reshape(40, 50)
    path = write_cog(tmp_path / "assets" / "image.tif", pixels, grid)
    asset = {"B": asset_of(path, (BandInfo("B", "uint16", 0.0),), grid)}
    return register(tmp_path, "c", {f"i{n}": (t, asset) for n, t in enumerate(times)}, grid)


def test_an_interval_holds_its_start_and_not_its_end(tmp_path: Path):
    times = ("2020-01-01T00:00:00Z", "2020-01-31T23:59:59Z", "2020-02-01T00:00:00Z")
    workspace = daily(tmp_path, times)

    january = computed(workspace, loaded(temporal_extent=["2020-01-01", "2020-02-01"]))
    later = computed(workspace, loaded(temporal_extent=["2020-02-01", None]))
    both = {
        "load": load(["B"], collection="c"),
        "filter": node(
            "filter_temporal", True, data=ref("load"), extent=["2020-01-01", "2020-02-01"]
        ),
    }

    assert january.dimension("t").labels == times[:2]
    assert later.dimension("t").labels == times[2:]
    assert computed(workspace, both).dimension("t").labels == times[:2]


@pytest.mark.parametrize(
    ("edges", "sizes"),
    [
        ((0, 110, 250, 500), [11, 14, 25]),  # between two columns of centres
        ((0, 104.9, 255.1, 500), [10, 16, 24]),
        ((0, 105, 255, 500), [11, 16, 25]),  # on centres, which intersect both boxes
    ],
)
def test_adjacent_boxes_lose_no_pixel_and_share_those_with_a_centre_on_the_edge(
    tmp_path: Path, edges: tuple[float, ...], sizes: list[int]
):
    workspace = daily(tmp_path, (DAY,))
    found = []
    for west, east in pairwise(edges):
        box = {
            "west": LEFT + west,
            "east": LEFT + east,
            "south": TOP - 400,
            "north": TOP,
            "crs": 32633,
        }
        cube = computed(workspace, loaded(spatial_extent=box))
        found.append(cube.values[cube.valid])

    assert [part.size // 40 for part in found] == sizes
    np.testing.assert_array_equal(np.unique(np.concatenate(found)), np.arange(1, 2001))


def test_empty_results_are_errors_before_a_read_or_no_data_after_it(tmp_path: Path):
    workspace = daily(tmp_path / "home", (DAY,))
    nothing = {
        "load": load(["B"], collection="c"),
        "low": node("apply", data=ref("load"), process=of_x("gt", y=0)),
        "mask": node("mask", True, data=ref("load"), mask=ref("low")),
    }
    far = {"west": 0, "east": 1, "south": 0, "north": 1}
    field = tmp_path / "field.geojson"
    ring = [[LEFT + x, TOP - y] for x, y in ((0, 0), (0, 90), (90, 90), (90, 0), (0, 0))]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    field.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))

    with pytest.raises(NoDataAvailable, match="2021"):
        computed(workspace, loaded(temporal_extent=["2021-01-01", "2022-01-01"]))
    with pytest.raises((NoDataAvailable, SpatialExtentEmpty)):
        computed(workspace, loaded(spatial_extent=far))
    with pytest.raises(SpatialExtentEmpty):
        computed(workspace, loaded(), bbox=(0.0, 0.0, 1.0, 1.0))
    unknown = node("filter_bands", True, data=ref("load"), bands=["none"])
    before = node("filter_temporal", True, data=ref("load"), extent=[None, "1999-01-01"])
    for dimension, chosen in (("bands", unknown), ("t", before)):
        graph = {"load": load(["B"], collection="c"), "chosen": chosen}
        with pytest.raises(NoDataAvailable, match=f"'{dimension}' of the result has no label"):
            batch.run(job_of(graph), workspace, tmp_path / dimension)
    made = batch.run(job_of(nothing), workspace, tmp_path / "out", block=16)
    table = extract(job_of(nothing), workspace, field, tmp_path / "out").table
    layer = TileLayer(job_of(nothing).infer(workspace))

    with rasterio.open(made.assets[0].path) as file:
        assert not file.read_masks(1).any()
    (row,) = pq.read_table(table).to_pylist()
    assert row["count"] == 0
    assert row["mean"] is None
    assert layer.cube(MERCATOR, 3, 0, 0) is None


def test_a_pixel_alone_is_the_pixel_of_the_whole(tmp_path: Path):
    workspace = daily(tmp_path, (DAY, "2020-07-01T10:00:00Z"))
    nodes = {
        "load": load(["B"], collection="c"),
        "smooth": node("apply_kernel", data=ref("load"), kernel=[[1, 2, 1], [2, 4, 2], [1, 2, 1]]),
        "warp": node(
            "resample_spatial", data=ref("smooth"), resolution=13, projection=3035, method="cubic"
        ),
        "mean": node(
            "reduce_dimension", True, data=ref("warp"), dimension="t", reducer=callback("mean")
        ),
    }
    plan = job_of(nodes).plan(job_of(nodes).infer(workspace))
    whole = evaluate(plan, plan.window)

    for pixel in plan.window.blocks(1):
        assert_same_pixels(evaluate(plan, pixel), whole.crop(pixel))


def test_an_image_of_one_pixel_goes_through_every_driver(tmp_path: Path):
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 1, 1)
    workspace = one_image(tmp_path / "home", np.array([[7]], np.uint16), grid)

    made = batch.run(job_of(loaded()), workspace, tmp_path / "out")
    layer = TileLayer(job_of(loaded()).infer(workspace))
    tile = layer.cube(NATIVE, 0, 0, 0)

    with rasterio.open(made.assets[0].path) as file:
        assert file.read().tolist() == [[[7]]]
    assert tile is not None
    assert tile.valid.sum() == 1
    assert tile.values[tile.valid].tolist() == [7]
    assert computed(workspace, warped(resolution=4.0, method="cubic")).values.max() == 7


def test_scalars_keep_ten_digits_and_large_integers_their_last_one(tmp_path: Path):
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 4, 4)
    pixels = np.full((4, 4), 16_777_217, np.uint32)
    workspace = one_image(tmp_path / "home", pixels, grid)
    scalars = {
        "sum": node("add", x=1, y=1e-10),
        "rest": node("subtract", True, x=ref("sum"), y=1),
    }
    equal = {
        "load": load(["B"], collection="c"),
        "plus": node("apply", data=ref("load"), process=of_x("add", y=1)),
        "same": node("apply", True, data=ref("plus"), process=of_x("eq", y=16_777_218)),
    }
    other = {
        **equal,
        "same": node("apply", True, data=ref("plus"), process=of_x("eq", y=16_777_217)),
    }

    made = batch.run(job_of(scalars), workspace, tmp_path / "out")

    assert json.loads(made.assets[0].path.read_text()) == pytest.approx(1e-10, rel=1e-6)
    assert computed(workspace, equal).values.all()
    assert not computed(workspace, other).values.any()
