"""Parcels over dates against exactextract: masks, other CRS, UTM zones, buffers, borders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
import xarray as xr
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from rasterio.transform import from_origin
from tests.drivers.scenes import (
    CLOUDY,
    CRS,
    DATES,
    LEFT,
    TOP,
    Scenes,
    asset_of,
    cloudless_ndvi,
    grid_of,
    job_of,
    load,
    node,
    ref,
    register,
    write_cog,
)

from terrazzo.catalog import BandInfo
from terrazzo.drivers.extract import extract
from terrazzo.drivers.job import Workspace
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

# rasterio 1.4 multiplies affine 3 matrices in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

OPERATIONS = {
    "count": "count",
    "sum": "sum",
    "mean": "mean",
    "variance": "variance",
    "sd": "stdev",
    "min": "min",
    "max": "max",
}
"""Names here and there."""


def ours(workspace: Workspace, graph: Any, polygons: Path, out: Path, **options: Any) -> Any:
    """Extract, and return the table in the order of dates, bands and polygons."""
    made = extract(job_of(graph), workspace, polygons, out, statistics=tuple(OPERATIONS), **options)
    table = pq.read_table(made.table).to_pandas()
    keys = [name for name in ("t", "bands", "id") if name in table]
    return table.sort_values(keys, ignore_index=True)


def theirs(pixels: NDArray[Any], grid: Grid, polygons: gpd.GeoDataFrame) -> pd.DataFrame:
    """Return what exactextract has of one image, NaN = no-data."""
    raster = NumPyRasterSource(
        pixels.astype(np.float64),
        *grid.bounds,
        nodata=np.nan,
        srs_wkt=pyproj.CRS(grid.crs).to_wkt(),
    )
    found = exact_extract(raster, polygons, list(OPERATIONS.values()), output="pandas")
    return found.set_index(polygons.index)


def assert_agree(mine: pd.DataFrame, other: pd.DataFrame) -> None:
    """Compare polygon by polygon; ours has no rows of those that cover no pixel."""
    other = other.loc[mine["id"]].reset_index(drop=True)
    mine = mine.reset_index(drop=True)
    some = mine["count"] > 0
    np.testing.assert_allclose(mine["count"], other["count"], rtol=1e-6, atol=1e-6)
    for name, there in OPERATIONS.items():
        np.testing.assert_allclose(
            mine.loc[some, name], other.loc[some, there], rtol=1e-6, atol=1e-6, err_msg=name
        )


def parcels_of(grid: Grid, count: int, seed: int) -> gpd.GeoDataFrame:
    """Return fields that tell what can go wrong, in the grid's CRS.

    Rings with holes, several parts, smaller than a pixel, crossing themselves, with sides on
    borders of pixels and blocks, over the image's border and beside it.
    """
    random = np.random.default_rng(seed)
    left, bottom, right, top = grid.bounds
    pixel = grid.pixel_x
    shapes: list[Any] = []
    for number in range(count):
        x, y = random.uniform(left, right), random.uniform(bottom, top)
        kind = number % 8
        radius = pixel * (random.uniform(0.05, 0.6) if kind == 0 else random.uniform(2, 40))
        turns = np.sort(random.uniform(0, 2 * np.pi, 9))
        reach = radius * random.uniform(0.4, 1.0, 9)
        ring = np.column_stack([x + reach * np.cos(turns), y + reach * np.sin(turns)])
        shape: Any = shapely.make_valid(shapely.Polygon(ring))
        if kind == 1:
            shape = shape.difference(shapely.Point(x, y).buffer(radius / 5))
        elif kind == 2:
            shape = shape.union(shapely.affinity.translate(shape, 2.3 * radius, pixel / 3))
        elif kind == 3:
            first, second = (x, y), (x + radius, y + radius)
            shape = shapely.Polygon([first, second, (x + radius, y), (x, y + radius)])
        elif kind == 4:
            col, row = (random.integers(0, n - 9) for n in (grid.width, grid.height))
            west, north = left + col * pixel, top - row * pixel
            shape = shapely.box(west, north - 5 * pixel, west + 8 * pixel, north)
        elif kind == 5:
            across, down = left + 256 * pixel, top - 256 * pixel
            shape = shapely.box(across - radius, down - radius, across, down + radius)
        elif kind == 6:
            shape = shapely.affinity.translate(shape, left - x + radius / 3, 0)
        shapes.append(shape)
    shapes.append(shapely.box(left - 900, bottom, left - 400, top))
    return gpd.GeoDataFrame(geometry=shapes, crs=grid.crs)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fields_of_every_kind_have_the_statistics_of_exactextract(seed: int, tmp_path: Path):
    grid = Grid.of(32633, LEFT, TOP, 10.0, 530, 610)
    random = np.random.default_rng(seed)
    pixels = random.normal(0.5, 0.2, (530, 610)).astype(np.float32)
    pixels[random.random(pixels.shape) < 0.05] = -9999
    path = write_cog(tmp_path / "image.tif", pixels, grid, nodata=-9999)
    asset = asset_of(path, (BandInfo("B", "float32", -9999),), grid)
    workspace = Workspace.of(
        register(tmp_path, "image", {"i": ("2020-05-12T10:30:00Z", {"i": asset})}, grid).home,
        roots=(tmp_path,),
    )
    fields = parcels_of(grid, 160, seed)
    fields.to_parquet(tmp_path / "fields.parquet")
    graph = {"load": {**load(["B"], collection="image"), "result": True}}

    mine = ours(workspace, graph, tmp_path / "fields.parquet", tmp_path / "out", block=256)

    fields["geometry"] = fields.make_valid()
    other = theirs(np.where(pixels == -9999, np.nan, pixels), grid, fields)
    there = np.flatnonzero(other["count"] > 0)
    assert 130 < len(there) < 161
    assert set(there) <= set(mine["id"])
    assert_agree(mine, other)


def masked_index(scenes: Scenes) -> NDArray[Any]:
    """Return (date, y, x) the index without clouds, computed by NumPy, NaN = no-data."""
    (red, some), (nir, others), (classes, known) = map(scenes.stack, ("B04", "B08", "SCL"))
    cloud = np.isin(classes, CLOUDY) & known
    with np.errstate(invalid="ignore", divide="ignore"):
        index = (nir - red) / (nir + red)
    return np.where(some & others & ~cloud, index, np.nan)


def fields_in(folder: Path, crs: str, seed: int = 5) -> tuple[Path, gpd.GeoDataFrame]:
    """Write fields of the scenes in a CRS; return them in the scenes' own, vertex by vertex."""
    fields = parcels_of(grid_of(), 60, seed)
    # Off the borders of pixels: whether a side on one touches the next is decided by rounding.
    fields["geometry"] = fields.make_valid().translate(1.3, 1.7)
    there = fields.to_crs(crs)
    there.to_file(folder / "fields.gpkg")
    return folder / "fields.gpkg", gpd.read_file(folder / "fields.gpkg").to_crs(CRS)


@pytest.mark.parametrize("crs", [CRS, "EPSG:4326", "EPSG:3035"])
def test_masks_of_each_date_are_those_of_the_graph(crs: str, scenes: Scenes, tmp_path: Path):
    path, fields = fields_in(tmp_path, crs)
    graph = cloudless_ndvi()
    graph["ndvi"]["result"] = True

    mine = ours(scenes.workspace, graph, path, tmp_path / "out", block=256)

    index = masked_index(scenes)
    assert mine["t"].nunique() == len(DATES)
    for (_, rows), image in zip(mine.groupby("t"), index, strict=True):
        assert_agree(rows, theirs(image, grid_of(), fields))


def test_the_inner_buffer_is_in_metres(scenes: Scenes, tmp_path: Path):
    path, fields = fields_in(tmp_path, CRS)
    graph = cloudless_ndvi()
    graph["ndvi"]["result"] = True

    mine = ours(scenes.workspace, graph, path, tmp_path / "out", buffer_m=-15.0)

    shrunk = fields.set_geometry(fields.buffer(-15.0, quad_segs=8))
    shrunk = shrunk[~shrunk.is_empty]
    assert 20 < len(shrunk) < len(fields)
    assert set(mine["id"]) <= set(shrunk.index)
    last = mine[mine["t"] == mine["t"].max()]
    assert_agree(last, theirs(masked_index(scenes)[-1], grid_of(), shrunk))


@pytest.mark.parametrize("how", ["centre", "touched"])
def test_whole_pixels_are_those_that_rasterio_draws(how: str, scenes: Scenes, tmp_path: Path):
    path, fields = fields_in(tmp_path, CRS)
    graph = {"load": {**load(["B08"]), "result": True}}

    mine = ours(scenes.workspace, graph, path, tmp_path / "out", how=how)

    values, valid = scenes.stack("B08")  # noqa: PD013 - no data frame
    place, grid = from_origin(LEFT, TOP, 10, 10), grid_of()
    drawn = [_drawn(shape, how, place, (grid.height, grid.width)) for shape in fields.geometry]
    for (_, rows), image, there in zip(mine.groupby("t"), values, valid, strict=True):
        chosen = [image[drawn[number] & there] for number in rows["id"]]
        assert list(rows["count"]) == [len(pixels) for pixels in chosen]
        some = rows["count"].to_numpy() > 0
        expected = [pixels.mean(dtype=np.float64) for pixels in chosen if len(pixels)]
        np.testing.assert_allclose(rows["mean"][some], expected, rtol=1e-9)
    assert set(mine["id"]) == {number for number, pixels in enumerate(drawn) if pixels.any()}


def _drawn(shape: Any, how: str, place: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centre is inside, or those that share some area, if only a bit."""
    if how == "centre":
        return rasterio.features.geometry_mask([shape], size, place, invert=True)
    touched = rasterio.features.geometry_mask([shape], size, place, invert=True, all_touched=True)
    for row, col in np.argwhere(touched):
        west, north = place.c + 10 * col, place.f - 10 * row
        cell = shapely.box(west, north - 10, west + 10, north)
        touched[row, col] = shape.intersection(cell).area > 1e-7
    return touched


def test_fields_of_flanders_have_the_statistics_of_exactextract(shared: Path, tmp_path: Path):
    """Fifteen dates of 2018 and before, and the fields of a map of crops, borders drawn in."""
    folder = shared / "data" / "worldcereal_be2018_patch"
    grid = Grid.of(32631, 501_360, 5_629_680, 10.0, 64, 64)
    with xr.open_dataset(next(folder.glob("OUTPUT_*.nc")), mask_and_scale=False) as crops:
        classes = crops["LC"].to_numpy()
    with xr.open_dataset(next(folder.glob("S2_L2A_10m_*.nc")), mask_and_scale=False) as data:
        some = data.isel(timestamp=slice(None, None, 8))
        times = [f"{day}Z" for day in some["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S").to_numpy()]
        stored = some[["B04", "B08"]].to_dataarray().transpose("timestamp", ...).to_numpy()
    bands = tuple(BandInfo(name, "uint16", 0) for name in ("B04", "B08"))
    items = {}
    for number, (time, pixels) in enumerate(zip(times, stored, strict=True)):
        path = write_cog(tmp_path / "assets" / f"{number}.tif", pixels, grid)
        items[f"S2_{number}"] = (time, {"s2": asset_of(path, bands, grid)})
    workspace = register(tmp_path, "s2", items, grid)
    outlines = rasterio.features.shapes(classes, transform=from_origin(grid.left, grid.top, 10, 10))
    drawn = [shapely.geometry.shape(outline).buffer(-7) for outline, _ in outlines]
    fields = gpd.GeoDataFrame(geometry=drawn, crs=grid.crs)
    fields = fields[fields.area > 100].reset_index(drop=True)
    fields.to_file(tmp_path / "fields.geojson")
    graph = {
        "load": load(["B04", "B08"], collection="s2"),
        "ndvi": node("ndvi", True, data=ref("load"), nir="B08", red="B04"),
    }

    mine = ours(workspace, graph, tmp_path / "fields.geojson", tmp_path / "out")

    red, nir = stored.astype(np.float64).swapaxes(0, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        index = np.where((red > 0) & (nir > 0), (nir - red) / (nir + red), np.nan)
    assert mine["t"].nunique() == len(index) == 15
    for (_, rows), image in zip(mine.groupby("t"), index, strict=True):
        assert len(rows) == len(fields) > 10
        assert_agree(rows, theirs(image, grid, fields))


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One scene in two images whose UTM zones meet at 6 degrees east, and fields on both sides."""
    home = tmp_path_factory.mktemp("zones")
    items, images = {}, {}
    for zone, left in ((31, 709_080.0), (32, 279_000.0)):
        grid = Grid.of(32600 + zone, left, 5_540_000.0, 10.0, 420, 450)
        pixels = np.random.default_rng(zone).integers(1, 5000, (420, 450)).astype(np.uint16)
        pixels[:40, :60] = 0
        path = write_cog(home / f"{zone}.tif", pixels, grid)
        name = f"T{zone}"
        items[name] = (
            "2020-05-12T10:30:00Z",
            {"B": asset_of(path, (BandInfo("B", "uint16", 0),), grid)},
        )
        images[name] = (grid, np.where(pixels == 0, np.nan, pixels.astype(float)))
    boxes = [shapely.box(*grid.to_bounds(grid.window, "EPSG:4326")) for grid, _ in images.values()]
    bbox = shapely.union_all(boxes).bounds
    return register(home, "zones", items, images["T31"][0], bbox=bbox), images


def test_images_of_two_zones_are_each_extracted_on_their_own_grid(zones: Any, tmp_path: Path):
    workspace, images = zones
    grid, _ = images["T31"]
    fields = parcels_of(grid, 80, 11).make_valid().translate(1.3, 1.7).to_crs("EPSG:4326")
    gpd.GeoDataFrame(geometry=fields).to_file(tmp_path / "fields.gpkg")
    graph = {"load": {**load(["B"], collection="zones"), "result": True}}

    mine = ours(workspace, graph, tmp_path / "fields.gpkg", tmp_path / "out", by="image")

    items = mine["item"].str[0]
    assert (mine["item"].str.len() == 1).all()
    assert set(items) == set(images)
    for name, (grid, pixels) in images.items():
        there = gpd.read_file(tmp_path / "fields.gpkg").to_crs(grid.crs)
        other = theirs(pixels, grid, there)
        rows = mine[items == name]
        assert set(np.flatnonzero(other["count"] > 1e-3)) <= set(rows["id"])
        assert_agree(rows, other)
