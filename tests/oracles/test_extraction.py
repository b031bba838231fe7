"""Statistics under polygons against exactextract, on random polygons and on real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from exactextract import exact_extract
from tests.drivers.scenes import LEFT, TOP, job_of, load, register, write_cog

from terrazzo.catalog import BandInfo, make_asset
from terrazzo.drivers.extract import extract
from terrazzo.drivers.job import Workspace
from terrazzo.geo.crs import crs_name
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

STATISTICS = {
    "count": "count",
    "sum": "sum",
    "mean": "mean",
    "variance": "variance",
    "sd": "stdev",
    "min": "min",
    "max": "max",
    "median": "median",
}
"""Names here and there."""


def register_image(
    home: Path, path: Path, bands: tuple[str, ...], roots: tuple[Path, ...]
) -> Workspace:
    """Register a file where it lies."""
    with rasterio.open(path) as file:
        t, height, width = file.transform, file.height, file.width
        crs, dtypes, nodata = crs_name(file.crs.to_wkt()), file.dtypes, file.nodatavals
    grid = Grid.of(crs, t.c, t.f, (t.a, -t.e), height, width)
    infos = tuple(
        BandInfo(name, kind, mark) for name, kind, mark in zip(bands, dtypes, nodata, strict=False)
    )
    asset = make_asset(
        str(path), bands=infos, crs=crs, shape=(height, width), transform=tuple(t)[:6]
    )
    register(home, "image", {"image": ("2019-05-30T10:30:00Z", {"image": asset})}, grid)
    return Workspace.of(home, roots=roots)


def ours(
    workspace: Workspace, polygons: Path, out: Path, bands: tuple[str, ...], block: int = 256
) -> pd.DataFrame:
    graph = {"load": {**load(bands, collection="image"), "result": True}}
    made = extract(
        job_of(graph), workspace, polygons, out, statistics=tuple(STATISTICS), block=block
    )
    return pq.read_table(made.table).to_pandas()


def theirs(path: Path, polygons: gpd.GeoDataFrame) -> pd.DataFrame:
    wanted = [*STATISTICS.values(), "values", "coverage"]
    return exact_extract(str(path), polygons, wanted, output="pandas")


def weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float = 0.5) -> float:
    """Return the quantile as exactextract documents it: s = i w + (n - 1) sum of weights before.

    Version 0.3.0 itself gives another value on the rasters of Sao Miguel, for classes of land
    cover even one that is not the middle of all pixels; so its pixels and weights are the oracle.
    """
    there = ~np.isnan(values)
    values, weights = values[there], weights[there]
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    before = np.concatenate([[0.0], np.cumsum(weights)[:-1]])
    steps = np.arange(len(values)) * weights + (len(values) - 1) * before
    return float(np.interp(share * (len(values) - 1) * weights.sum(), steps, values))


def assert_agree(mine: pd.DataFrame, other: pd.DataFrame, suffix: str = "") -> None:
    """Compare polygon by polygon; those without a pixel have no row here and count 0 there."""
    there = other[other[f"{suffix}count"] > 0]
    mine = mine[mine["count"] > 0].set_index("id")
    assert list(mine.index) == list(there.index)
    cells = zip(there[f"{suffix}values"], there[f"{suffix}coverage"], strict=True)
    medians = [weighted_quantile(np.asarray(v, float), np.asarray(w, float)) for v, w in cells]
    for name, their_name in STATISTICS.items():
        expected = medians if name == "median" else there[f"{suffix}{their_name}"].astype(float)
        np.testing.assert_allclose(mine[name], expected, rtol=1e-6, atol=1e-6, err_msg=name)


def random_polygons(grid: Grid, count: int = 60) -> gpd.GeoDataFrame:
    """Stars, slivers, rings and multipolygons, smaller than a pixel up to a third of the image."""
    random = np.random.default_rng(8)
    left, bottom, right, top = grid.bounds
    shapes = []
    for number in range(count):
        x, y = random.uniform(left, right), random.uniform(bottom, top)
        radius = 10 ** random.uniform(0.3, 3.2)
        angles = np.sort(random.uniform(0, 2 * np.pi, 11))
        reach = radius * random.uniform(0.2, 1.0, 11)
        star = shapely.Polygon(
            np.column_stack([x + reach * np.cos(angles), y + reach * np.sin(angles)])
        )
        shape = shapely.make_valid(star)
        if number % 4 == 1:
            shape = shape.difference(shapely.Point(x, y).buffer(radius / 4))
        if number % 4 == 2:
            shape = shapely.union(shape, shapely.affinity.translate(shape, 2.5 * radius, 10))
        if shape.geom_type in {"Polygon", "MultiPolygon"} and not shape.is_empty:
            shapes.append(shape)
    return gpd.GeoDataFrame(geometry=shapes, crs=grid.crs)


def test_random_polygons_have_the_statistics_of_exactextract(tmp_path: Path):
    grid = Grid.of(32633, LEFT, TOP, 10.0, 400, 380)
    pixels = np.random.default_rng(3).normal(0.5, 0.2, (400, 380)).astype(np.float32)
    pixels[100:140, 90:200] = -9999
    path = write_cog(tmp_path / "image.tif", pixels, grid, nodata=-9999)
    workspace = register_image(tmp_path, path, ("B",), (tmp_path,))
    polygons = random_polygons(grid)
    polygons.to_file(tmp_path / "polygons.gpkg")

    mine = ours(workspace, tmp_path / "polygons.gpkg", tmp_path / "out", ("B",))

    other = theirs(path, polygons)
    assert len(mine) > 40
    assert_agree(mine, other)


def test_parcels_of_zurich_have_the_statistics_of_exactextract(shared: Path, tmp_path: Path):
    folder = shared / "data" / "eodal_zurich_s2_parcels"
    (path,) = folder.glob("*.tiff")
    parcels = folder / "ZH_Polygons_2020_ESCH_EPSG32632.shp"
    with rasterio.open(path) as file:
        count = file.count
    bands = tuple(f"B{n:02}" for n in range(1, count + 1))
    workspace = register_image(tmp_path, path, bands, (folder,))

    mine = ours(workspace, parcels, tmp_path / "out", bands)

    frame = gpd.read_file(parcels)
    frame["geometry"] = frame.make_valid()
    other = theirs(path, frame)
    assert mine["id"].nunique() == 281
    for number, band in enumerate(bands, 1):
        assert_agree(mine[mine["bands"] == band], other, f"band_{number}_")


@pytest.mark.parametrize(
    "name", ["eu_dem_v11.tif", "gpw_v411_2020_density_2020.tif", "clc2018_v2020_20u1.tif"]
)
def test_municipalities_of_sao_miguel_have_the_statistics_of_exactextract(
    shared: Path, tmp_path: Path, name: str
):
    folder = shared / "data" / "exactextractr_sao_miguel"
    workspace = register_image(tmp_path, folder / name, ("B",), (folder,))
    polygons = gpd.read_file(folder / "concelhos.gpkg")

    mine = ours(workspace, folder / "concelhos.gpkg", tmp_path / "out", ("B",))

    with rasterio.open(folder / name) as file:
        polygons = polygons.to_crs(file.crs)
    other = theirs(folder / name, polygons)
    assert len(mine) == len(polygons) == 6
    assert_agree(mine, other)


def test_land_cover_of_municipalities_has_the_shares_of_exactextract(shared: Path, tmp_path: Path):
    folder = shared / "data" / "exactextractr_sao_miguel"
    path = folder / "clc2018_v2020_20u1.tif"
    workspace = register_image(tmp_path, path, ("B",), (folder,))
    with rasterio.open(path) as file:
        polygons = gpd.read_file(folder / "concelhos.gpkg").to_crs(file.crs)
    other = exact_extract(str(path), polygons, ["mode", "unique", "frac"], output="pandas")
    classes = sorted({int(one) for found in other["unique"] for one in found})
    assert len(classes) > 5
    fractions = [f"fraction_{one}" for one in classes]
    graph = {"load": {**load(["B"], collection="image"), "result": True}}

    made = extract(
        job_of(graph), workspace, folder / "concelhos.gpkg", tmp_path / "out",
        statistics=("mode", *fractions),
    )  # fmt: skip

    mine = pq.read_table(made.table).to_pandas().sort_values("id")
    assert list(mine["mode"]) == list(other["mode"])
    for number, row in enumerate(mine[fractions].to_numpy()):
        shares = dict(zip(other["unique"][number], other["frac"][number], strict=True))
        expected = [shares.get(one, 0.0) for one in classes]
        np.testing.assert_allclose(row, expected, rtol=1e-6, atol=1e-7)
        assert abs(row.sum() - 1) < 1e-9


def test_quantiles_are_those_of_the_pixels_of_exactextract(tmp_path: Path):
    # Of random numbers: where many pixels have one value, their order decides.
    grid = Grid.of(32633, LEFT, TOP, 10.0, 400, 380)
    pixels = np.random.default_rng(4).normal(0.5, 0.2, (400, 380)).astype(np.float32)
    path = write_cog(tmp_path / "image.tif", pixels, grid, nodata=-9999)
    workspace = register_image(tmp_path, path, ("B",), (tmp_path,))
    polygons = random_polygons(grid)
    polygons.to_file(tmp_path / "polygons.gpkg")
    graph = {"load": {**load(["B"], collection="image"), "result": True}}
    shares = {"q05": 0.05, "median": 0.5, "q95": 0.95}

    made = extract(
        job_of(graph), workspace, tmp_path / "polygons.gpkg", tmp_path / "out",
        statistics=tuple(shares),
    )  # fmt: skip

    mine = pq.read_table(made.table).to_pandas().sort_values("id")
    cells = exact_extract(str(path), polygons, ["values", "coverage"], output="pandas")
    cells = cells.loc[mine["id"]]
    for name, share in shares.items():
        pairs = zip(cells["values"], cells["coverage"], strict=True)
        expected = [weighted_quantile(*map(np.asarray, pair), share) for pair in pairs]
        np.testing.assert_allclose(mine[name], expected, rtol=1e-6, atol=1e-6)
