"""Whatever is written is read back equal by other people's libraries and programs.

One matrix: formats and types in full; shapes, projections, dates, values of no-data and the pixels
themselves are drawn.
"""

from __future__ import annotations

import json
import math
import subprocess
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas
import netCDF4
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import shapely
import tensorstore
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window as RasterioWindow
from rio_cogeo import cog_validate
from tests.storage.files import SINUSOIDAL

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.errors import FormatUnsuitable, FormatUnsupported
from terrazzo.geo.crs import crs_name, crs_object
from terrazzo.geo.grid import Grid
from terrazzo.storage.writers.cog import COMPRESSIONS, CogOptions, write_cogs
from terrazzo.storage.writers.files import stored_dtype, stored_nodata
from terrazzo.storage.writers.geojson import write_geojson
from terrazzo.storage.writers.netcdf import write_netcdf
from terrazzo.storage.writers.table import write_geotable, write_table
from terrazzo.storage.writers.zarr import write_zarr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DTYPES = ("bool", "uint8", "int16", "uint16", "int32", "float32", "float64", "int8", "uint32")
LAEA = crs_name(
    "+proj=laea +lat_0=47.5 +lon_0=13.25 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +units=m"
)
PLACES = {
    "utm": ("EPSG:32633", 499_980.0, 5_300_040.0, (10.0, 10.0)),
    "laea": (LAEA, 4_321_000.25, 3_210_000.75, (30.0, 20.0)),
    "sinusoidal": (crs_name(SINUSOIDAL), 1e6, 5e6, (463.312716528, 463.312716528)),
    "degrees": ("EPSG:4326", -180.0, 90.0, (0.1, 0.05)),
}
TIMES = ("2020-02-29T00:00:00Z", "2020-06-11T10:30:00Z", "2021-01-01T23:59:59.25Z")
NAMES = ("B04", "Größe, m²", "a/b")


@dataclass(frozen=True)
class Case:
    """A cube, and the value that is to mark no-data."""

    cube: Cube
    grid: Grid
    times: tuple[str, ...]
    bands: tuple[str, ...]
    nodata: float | None

    @property
    def stored(self) -> NDArray[Any]:
        """(time, band, y, x) as a file must hold it."""
        shape = (max(len(self.times), 1), len(self.bands), self.grid.height, self.grid.width)
        kind = stored_dtype(self.cube.dtype)
        values = np.asarray(self.cube.values, kind).reshape(shape)
        mark = self.mark
        valid = self.cube.valid.reshape(shape)
        return values if mark is None else np.where(valid, values, kind.type(mark))

    @property
    def mark(self) -> float | None:
        """The value that a file must have for no-data."""
        return stored_nodata(self.cube.dtype, self.nodata)


@st.composite
def cases(draw: st.DrawFn, name: str) -> Case:
    """Draw a cube of a type: pixels at both ends of what it holds, and in between."""
    dtype = np.dtype(name)
    height, width = draw(st.sampled_from([(1, 1), (1, 7), (13, 1), (17, 33)]))
    times = TIMES[: draw(st.integers(0, 3))]
    bands = NAMES[: draw(st.integers(1, 3))]
    crs, left, top, pixel = PLACES[draw(st.sampled_from(sorted(PLACES)))]
    grid = Grid.of(crs, left, top, pixel, height, width)
    shape = (len(times), len(bands), height, width) if times else (len(bands), height, width)
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    nodata, values = _values(dtype, shape, random, marked=draw(st.booleans()))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    valid = random.random(shape) >= share
    if dtype.kind in "iu" and nodata is None:
        valid = np.ones(shape, np.bool_)
    dimensions = [Dimension("bands", Kind.BANDS, bands)]
    if times:
        dimensions.insert(0, Dimension("t", Kind.TEMPORAL, times))
    dimensions += [Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL)]
    cube = Cube(values, valid, tuple(dimensions), grid, grid.window)
    return Case(cube, grid, times, bands, nodata)


def _values(
    dtype: np.dtype[Any], shape: tuple[int, ...], random: np.random.Generator, *, marked: bool
) -> tuple[float | None, NDArray[Any]]:
    """Return a value of no-data, perhaps, and pixels without it."""
    if dtype.kind == "b":
        return None, random.random(shape) > 0.5
    if dtype.kind == "f":
        info = np.finfo(dtype)
        odd = np.array([info.min, info.max, info.tiny, -0.0, 0.1, np.inf, -np.inf], dtype)
        odd = np.append(odd, np.nan).astype(dtype) if marked else odd
        values = random.normal(0, 1e3, shape).astype(dtype)
        return (-9999.0 if marked else None), _mixed(values, odd, random)
    ends = np.iinfo(dtype)
    low = ends.min + 1 if marked else ends.min
    values = random.integers(low, ends.max, shape, dtype, endpoint=True)
    odd = np.array([low, ends.max, 0 if low <= 0 else 1], dtype)
    return (float(ends.min) if marked else None), _mixed(values, odd, random)


def _mixed(values: NDArray[Any], odd: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    return np.where(random.random(values.shape) < 0.3, random.choice(odd, values.shape), values)


def same_mark(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isnan(one + other))


def same_crs(wkt: str, name: str) -> bool:
    """Compare what a file says with what was to be written; GeoTIFF keeps no names of CRS."""
    return bool(pyproj.CRS.from_wkt(wkt).equals(crs_object(name), ignore_axis_order=True))


def gdal(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("dtype", DTYPES)
def test_cogs_come_back_equal(dtype: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=4, deadline=None)
    @given(case=cases(dtype), compression=st.sampled_from(COMPRESSIONS))
    def check(case: Case, compression: str) -> None:
        folder = tmp_path_factory.mktemp("cog")
        paths = [folder / f"{number}.tif" for number in range(max(len(case.times), 1))]

        write_cogs(
            paths, [case.cube], case.grid, dtype=case.cube.dtype, bands=case.bands,
            times=case.times,
            options=CogOptions(nodata=case.nodata, overviews="nearest", compression=compression),
        )  # fmt: skip

        for number, path in enumerate(paths):
            assert cog_validate(path, strict=True) == (True, [], [])
            with rasterio.open(path) as file:
                np.testing.assert_array_equal(file.read(), case.stored[number])
                assert same_mark(file.nodata, case.mark)
                assert file.descriptions == case.bands
                assert same_crs(file.crs.to_wkt(), case.grid.crs)
                assert file.bounds == pytest.approx(case.grid.bounds, rel=1e-15)
                assert file.tags().get("time", "") == (case.times[number] if case.times else "")

    check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_netcdf_comes_back_equal(dtype: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=4, deadline=None)
    @given(case=cases(dtype))
    def check(case: Case) -> None:
        path = tmp_path_factory.mktemp("nc") / "a.nc"

        write_netcdf(path, [case.cube], case.grid, probe=case.cube, nodata=case.nodata)

        for engine in ("h5netcdf", "netcdf4"):
            with xr.open_dataset(path, engine=engine, mask_and_scale=False) as data:
                check_dataset(case, data)
            with xr.open_dataset(path, engine=engine) as data:
                check_mask(case, data)
        with netCDF4.Dataset(path) as file:
            file.set_auto_mask(False)
            found = file["a_b"] if "a/b" in case.bands else file["B04"]
            assert found.dtype == stored_dtype(case.cube.dtype)

    check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_zarr_comes_back_equal(dtype: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=4, deadline=None)
    @given(case=cases(dtype))
    def check(case: Case) -> None:
        path = tmp_path_factory.mktemp("zarr") / "a.zarr.zip"

        write_zarr(path, [case.cube], case.grid, probe=case.cube, nodata=case.nodata)

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Zarr V3.*|.*Zarr format 3.*")
            store = zarr.storage.ZipStore(path, mode="r")
            with xr.open_zarr(store, group="0", mask_and_scale=False) as data:
                check_dataset(case, data)
            with xr.open_zarr(store, group="0") as data:
                check_mask(case, data)
        where = {"driver": "zip", "base": f"file://{path}", "path": "0/B04/"}
        found = tensorstore.open({"driver": "zarr3", "kvstore": where}).result().read().result()
        np.testing.assert_array_equal(found.reshape(case.stored[:, 0].shape), case.stored[:, 0])

    check()


def check_dataset(case: Case, data: xr.Dataset) -> None:
    """Compare names, stored numbers, places, dates and CRS."""
    variables = [name.replace("/", "_") for name in case.bands]
    assert {*data.data_vars} - {"spatial_ref"} == {*variables}
    for number, name in enumerate(variables):
        found = data[name]
        assert found.attrs.get("long_name", name) == case.bands[number]
        assert found.dims == (("t", "y", "x") if case.times else ("y", "x"))
        assert found.dtype == stored_dtype(case.cube.dtype)
        expected = case.stored[:, number]
        np.testing.assert_array_equal(found.to_numpy().reshape(expected.shape), expected)
    np.testing.assert_array_equal(data["x"], case.grid.xs(case.grid.window))
    np.testing.assert_array_equal(data["y"], case.grid.ys(case.grid.window))
    if case.times:
        wanted = np.array([time[:-1] for time in case.times], "M8[ns]")
        np.testing.assert_array_equal(data["t"].to_numpy().astype("M8[ns]"), wanted)
    assert same_crs(data["spatial_ref"].attrs["crs_wkt"], case.grid.crs)
    assert same_crs(pyproj.CRS.from_cf(data["spatial_ref"].attrs).to_wkt(), case.grid.crs)


def check_mask(case: Case, data: xr.Dataset) -> None:
    """Compare what a reader that believes `_FillValue` takes for no-data."""
    valid = case.cube.valid.reshape(case.stored.shape)
    for number, band in enumerate(case.bands):
        nan = np.isnan(case.stored[:, number]) if case.cube.dtype.kind == "f" else False
        null = pd.isna(data[band.replace("/", "_")].to_numpy()).reshape(valid[:, number].shape)
        np.testing.assert_array_equal(null, ~valid[:, number] | nan)


@pytest.mark.parametrize("place", PLACES)
def test_gdals_programs_find_the_same(place: str, tmp_path: Path) -> None:
    crs, left, top, pixel = PLACES[place]
    grid = Grid.of(crs, left, top, pixel, 40, 30)
    values = np.arange(2 * 40 * 30, dtype=np.int16).reshape(1, 2, 40, 30)
    valid = values % 7 > 0
    bands = ("red", "nir")
    dimensions = (
        Dimension("t", Kind.TEMPORAL, TIMES[:1]), Dimension("bands", Kind.BANDS, bands),
        Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL),
    )  # fmt: skip
    cube = Cube(values, valid, dimensions, grid, grid.window)
    row, col = 22, 17
    x, y = float(grid.xs(grid.window)[col]), float(grid.ys(grid.window)[row])
    number = int(np.where(valid, values, -1)[0, 1, row, col])

    tif, nc, second = tmp_path / "a.tif", tmp_path / "a.nc", tmp_path / "b.tif"
    write_cogs(
        [tif], [cube], grid, dtype=cube.dtype, bands=bands, times=TIMES[:1],
        options=CogOptions(nodata=-1),
    )  # fmt: skip
    write_netcdf(nc, [cube], grid, probe=cube, nodata=-1)
    told = json.loads(gdal("gdalinfo", "-json", str(tif)))
    gdal("gdal_translate", "-q", "-b", "2", str(tif), str(second))

    assert told["size"] == [30, 40]
    assert told["geoTransform"] == pytest.approx([left, pixel[0], 0, top, 0, -pixel[1]])
    assert same_crs(told["coordinateSystem"]["wkt"], grid.crs)
    assert [band["description"] for band in told["bands"]] == ["red", "nir"]
    assert [band["noDataValue"] for band in told["bands"]] == [-1, -1]
    assert told["metadata"][""]["TIFFTAG_DATETIME"] == "2020:02:29 00:00:00"
    for name in (str(tif), f"NETCDF:{nc}:nir"):
        band = ["-b", "2"] if name == str(tif) else []
        found = gdal("gdallocationinfo", "-valonly", "-geoloc", *band, name, repr(x), repr(y))
        assert int(found) == number
    with rasterio.open(second) as file:
        np.testing.assert_array_equal(file.read(1) != -1, valid[0, 1])
        np.testing.assert_array_equal(file.read(1)[valid[0, 1]], values[0, 1][valid[0, 1]])


def test_what_a_format_cannot_hold_is_an_error_and_no_file(tmp_path: Path) -> None:
    grid = Grid.of("EPSG:32633", 0.0, 0.0, 10.0, 16, 16)
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    valid = every != 3
    dimensions = (
        Dimension("bands", Kind.BANDS, ("b",)),
        Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL),
    )  # fmt: skip
    cube = Cube(every, valid, dimensions, grid, grid.window)
    deep = Dimension("depth", Kind.OTHER, (1, 2))
    thick = Cube(
        np.stack([every, every]), np.ones((2, *every.shape), np.bool_), (deep, *dimensions),
        grid, grid.window,
    )  # fmt: skip

    for nodata in (None, 255.0):
        options = CogOptions(nodata=nodata)
        with pytest.raises(FormatUnsupported, match="nodata"):
            write_cogs(
                [tmp_path / "a.tif"], [cube], grid, dtype=cube.dtype, bands=("b",), options=options
            )
        with pytest.raises(FormatUnsupported, match="nodata"):
            write_netcdf(tmp_path / "a.nc", [cube], grid, probe=cube, nodata=nodata)
        with pytest.raises(FormatUnsupported, match="nodata"):
            write_zarr(tmp_path / "a.zip", [cube], grid, probe=cube, nodata=nodata)
    with pytest.raises(FormatUnsuitable, match="depth"):
        write_cogs([tmp_path / "a.tif"], [thick], grid, dtype=thick.dtype, bands=("b",))
    assert list(tmp_path.iterdir()) == []

    write_netcdf(tmp_path / "a.nc", [cube], grid, probe=cube, nodata=3)
    with xr.open_dataset(tmp_path / "a.nc") as data:
        np.testing.assert_array_equal(np.isnan(data["b"]), ~valid[0])


def test_a_float_geotiff_keeps_nan_that_is_data_apart_if_no_data_is_a_number(
    tmp_path: Path,
) -> None:
    grid = Grid.of("EPSG:32633", 0.0, 0.0, 10.0, 1, 3)
    values, valid = np.array([[[1.0, np.nan, 2.0]]]), np.array([[[True, True, False]]])
    dimensions = (
        Dimension("bands", Kind.BANDS, ("b",)),
        Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL),
    )  # fmt: skip
    cube = Cube(values, valid, dimensions, grid, grid.window)

    write_cogs(
        [tmp_path / "a.tif"], [cube], grid, dtype=cube.dtype, bands=("b",),
        options=CogOptions(nodata=-1.0),
    )  # fmt: skip

    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(1), [[1.0, np.nan, -1.0]])


def test_a_huge_file_is_a_bigtiff_and_a_small_one_is_not(tmp_path: Path) -> None:
    """GDAL decides by the size before compression; nothing but a corner is written."""
    small = Grid.of("EPSG:32633", 0.0, 0.0, 10.0, 64, 64)
    dimensions = (
        Dimension("bands", Kind.BANDS, ("b",)),
        Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL),
    )  # fmt: skip
    ones = np.ones((1, 64, 64))
    cube = Cube(ones, ones > 0, dimensions, small, small.window)
    large = tmp_path / "large.tif"

    write_cogs([tmp_path / "a.tif"], [cube], small, dtype=cube.dtype, bands=("b",))
    with rasterio.open(
        large, "w", driver="GTiff", dtype="float64", count=1, height=40_000, width=40_000,
        tiled=True, sparse_ok=True, compress="deflate", BIGTIFF="IF_SAFER",
        transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
    ) as file:  # fmt: skip
        file.write(ones, window=RasterioWindow(0, 0, 64, 64))

    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II*\0"
    assert large.read_bytes()[:4] == b"II+\0"


SHAPES = (
    shapely.Point(4_400_000, 3_300_000),
    shapely.box(4_400_000, 3_300_000, 4_400_100, 3_300_200),
    shapely.MultiPolygon([shapely.box(4e6, 3e6, 4e6 + 9, 3e6 + 9)]),
    shapely.LineString([(4e6, 3e6), (4.1e6, 3.1e6)]),
)
COLUMNS: dict[str, Any] = {
    "name": ["a", 'Größe, "q"', None, "line\nbreak"],
    "whole": np.ma.MaskedArray([1, -(2**62), 3, 4], [False, False, True, False]),
    "number": np.ma.MaskedArray([0.1, np.nan, 1e300, 2.0], [False, False, False, True]),
    "flag": [True, False, None, True],
}


def check_table(found: pd.DataFrame, *, nan: bool = True) -> None:
    assert list(found["name"])[:2] == COLUMNS["name"][:2]
    assert found["name"].isna().tolist() == [False, False, True, False]
    assert found["name"][3] == "line\nbreak"
    assert [found["whole"][n] for n in (0, 1, 3)] == [1, -(2**62), 4]
    assert pd.isna(found["whole"][2])
    assert found["number"][0] == 0.1
    assert found["number"][2] == 1e300
    assert pd.isna(found["number"][3])
    assert bool(found["flag"][0]) is True
    assert bool(found["flag"][1]) is False
    if nan:
        assert math.isnan(found["number"][1])


def test_tables_come_back_equal(tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "json"):
        write_table(tmp_path / f"a.{suffix}", COLUMNS)

    parquet = pq.read_table(tmp_path / "a.parquet")
    check_table(parquet.to_pandas(types_mapper=pd.ArrowDtype), nan=False)
    assert parquet["number"].null_count == 1
    types = {"whole": "Int64", "flag": "boolean"}
    check_table(pd.read_csv(tmp_path / "a.csv", dtype=types))
    records = json.loads((tmp_path / "a.json").read_text())
    assert [record["whole"] for record in records] == [1, -(2**62), None, 4]
    assert [record["number"] for record in records] == [0.1, None, 1e300, None]


@pytest.mark.parametrize("crs", [LAEA, "EPSG:3035"])
def test_geometries_come_back_equal(tmp_path: Path, crs: str) -> None:
    write_geotable(tmp_path / "a.parquet", COLUMNS, SHAPES, crs)
    write_geojson(tmp_path / "a.geojson", list("pqrs"), COLUMNS, SHAPES, crs)

    found = geopandas.read_parquet(tmp_path / "a.parquet")
    degrees = geopandas.read_file(tmp_path / "a.geojson")

    assert shapely.equals_identical(found.geometry.values, np.array(SHAPES, object)).all()
    assert crs_name(found.crs.to_wkt()) == crs
    check_table(found)
    assert degrees.crs.to_epsg() == 4326
    expected = found.to_crs(4326).geometry
    assert shapely.equals_exact(
        shapely.normalize(degrees.geometry.values), shapely.normalize(expected.values), 1e-9
    ).all()
    assert degrees["name"].tolist()[:2] == COLUMNS["name"][:2]
    told = gdal("ogrinfo", "-al", "-q", str(tmp_path / "a.geojson"))
    assert told.count("OGRFeature") == len(SHAPES)
    assert f"whole (Integer64) = {-(2**62)}" in told
