from __future__ import annotations

import csv
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import xarray as xr
from rasterio.enums import ColorInterp
from rio_cogeo import cog_validate
from tests.storage.files import SINUSOIDAL, UTM33, field

from terrazzo.cube import Cube, Dimension, Kind, empty_cube
from terrazzo.errors import ArgumentInvalid, FormatUnsupported, OutputFailed
from terrazzo.geo.crs import crs_name
from terrazzo.geo.grid import Grid, Window
from terrazzo.storage.arrays.opening import open_arrays
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.writers.cog import CogOptions, write_cog, write_cogs
from terrazzo.storage.writers.netcdf import write_netcdf
from terrazzo.storage.writers.table import write_geotable, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Y, X = Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL)
GRID = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, 1300, 900)
TIMES = ("2020-06-01T10:30:00Z", "2020-06-11T10:30:00Z")


def cube_of(dtype: str, *, bands: int = 2, times: tuple[str, ...] = (), grid: Grid = GRID) -> Cube:
    shape = (max(len(times), 1), bands)
    base = np.stack([
        np.stack([field(grid.height, grid.width, 10 * t + b) for b in range(bands)])
        for t in range(shape[0])
    ])  # fmt: skip
    values = (
        base > 5000 if dtype == "bool" else (base // 50 if dtype == "uint8" else base).astype(dtype)
    )
    valid = np.ones(values.shape, np.bool_)
    valid[..., 100:200, 300:500] = False
    dimensions = (
        Dimension("t", Kind.TEMPORAL, times),
        Dimension("bands", Kind.BANDS, tuple(f"B{b}" for b in range(bands))),
        Y,
        X,
    )
    if not times:
        values, valid, dimensions = values[0], valid[0], dimensions[1:]
    return Cube(values, valid, dimensions, grid, grid.window)


def shuffled(cube: Cube, edge: int) -> Iterator[Cube]:
    windows = list(cube.grid.window.blocks(edge))
    np.random.default_rng(0).shuffle(windows)
    for window in windows:
        yield cube.crop(
            Window(*map(int, (window.row, window.col, window.height, window.width)))
            if not isinstance(window, Window)
            else window
        )


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [("float32", None, np.nan), ("uint16", 0, 0), ("int16", -1, -1), ("bool", None, 255),
     ("uint8", 255, 255), ("float64", None, np.nan)],
)  # fmt: skip
def test_cogs_are_valid_and_hold_the_pixels(tmp_path: Path, dtype: str, nodata, expected):
    cube = cube_of(dtype)
    options = CogOptions(nodata=nodata, overviews="nearest", metadata={"digest": "abc"})

    path = write_cog(
        tmp_path / "a.tif", shuffled(cube, 333), GRID,
        dtype=cube.dtype, bands=("B0", "B1"), options=options,
    )  # fmt: skip

    valid, errors, warnings = cog_validate(path, strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]
    with rasterio.open(path) as file:
        found, mask = file.read(), file.read_masks() > 0
        assert file.descriptions == ("B0", "B1")
        assert file.tags()["digest"] == "abc"
        assert file.crs.to_epsg() == 32633
        assert file.bounds == GRID.bounds
        assert file.nodata == expected or np.isnan([file.nodata, expected]).all()
        assert file.overviews(1) == [2, 4]
    np.testing.assert_array_equal(mask, cube.valid)
    np.testing.assert_array_equal(found[mask], cube.values[mask].astype(found.dtype))


def test_cogs_can_be_asked_for_window_by_window(tmp_path: Path):
    cube, part = cube_of("uint16"), Window(50, 60, 400, 300)

    path = write_cog(
        tmp_path / "a.tif", cube.crop, GRID, window=part,
        dtype=cube.dtype, bands=("B0", "B1"), options=CogOptions(nodata=0),
    )  # fmt: skip

    with rasterio.open(path) as file:
        assert file.bounds == GRID.bounds_of(part)
        wanted = np.where(cube.valid, cube.values, 0)[:, 50:450, 60:360]
        np.testing.assert_array_equal(file.read(), wanted)


def test_what_no_block_covers_is_no_data(tmp_path: Path):
    cube = cube_of("float32")

    path = write_cog(
        tmp_path / "a.tif", [cube.crop(Window(0, 0, 50, 50))], GRID,
        dtype=cube.dtype, bands=("B0", "B1"),
    )  # fmt: skip

    with rasterio.open(path) as file:
        assert np.isnan(file.read()).sum() == 2 * (1300 * 900 - 50 * 50)


@pytest.mark.parametrize("count", [3, 4])
def test_no_band_of_bytes_masks_the_others(tmp_path: Path, count: int):
    values = np.zeros((count, GRID.height, GRID.width), np.uint8)
    values[0] = 7
    names = tuple(f"B{band}" for band in range(count))
    cube = Cube(
        values, np.ones(values.shape, np.bool_), (Dimension("bands", Kind.BANDS, names), Y, X),
        GRID, GRID.window,
    )  # fmt: skip

    path = write_cog(tmp_path / "a.tif", [cube], GRID, dtype=cube.dtype, bands=names)

    with rasterio.open(path) as file:
        assert ColorInterp.alpha not in file.colorinterp
        assert (file.colorinterp[0] is ColorInterp.red) is (count == 3)
        assert (file.read_masks() == 255).all()
        np.testing.assert_array_equal(file.read(), values)


def test_what_is_there_while_a_cog_is_written_is_known_by_its_name(tmp_path: Path):
    cube, seen = cube_of("uint16"), set()

    def cropped(window: Window) -> Cube:
        seen.update(path.name for path in tmp_path.iterdir())
        return cube.crop(window)

    write_cog(
        tmp_path / "a.tif", cropped, GRID, dtype=cube.dtype, bands=("B0", "B1"),
        options=CogOptions(nodata=0),
    )  # fmt: skip

    assert seen
    assert all(name.startswith(".a.tif.") and ".part" in name for name in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_each_date_is_a_file(tmp_path: Path):
    cube = cube_of("float32", times=TIMES)
    paths = [tmp_path / f"{time[:10]}.tif" for time in TIMES]

    write_cogs(paths, shuffled(cube, 500), GRID, dtype=cube.dtype, bands=("B0", "B1"), times=TIMES)

    for index, path in enumerate(paths):
        with rasterio.open(path) as file:
            assert file.tags()["time"] == TIMES[index]
            assert file.tags()["TIFFTAG_DATETIME"].startswith("2020:06:")
            np.testing.assert_array_equal(
                file.read(), np.where(cube.valid, cube.values, np.nan)[index]
            )


def test_written_files_are_read_back(tmp_path: Path):
    grid = Grid.of(crs_name(SINUSOIDAL), 1e6, 5e6, 100.0, 70, 90)
    values = field(70, 90)[None].astype(np.float32)
    valid = np.ones(values.shape, np.bool_)
    cube = Cube(values, valid, (Dimension("bands", Kind.BANDS, ("B",)), Y, X), grid, grid.window)

    path = write_cog(tmp_path / "a.tif", [cube], grid, dtype=cube.dtype, bands=("B",))

    name = Gate((tmp_path,)).open_name(str(path))
    reader = RasterReader()
    found, _ = reader.read_window(name, 0, [1], grid.window)
    np.testing.assert_array_equal(found, values)
    assert reader.describe(name).grid.bounds == grid.bounds
    assert "Sinusoidal" in reader.describe(name).grid.crs


def test_no_data_that_cannot_be_written_is_refused(tmp_path: Path):
    cube = cube_of("uint16")
    write = {"grid": GRID, "dtype": cube.dtype, "bands": ("B0", "B1")}

    with pytest.raises(FormatUnsupported, match="nodata=0"):
        write_cog(tmp_path / "a.tif", [cube], **write)
    taken = int(cube.values[0, 0, 0])
    with pytest.raises(FormatUnsupported, match="valid pixels"):
        write_cog(tmp_path / "a.tif", [cube], **write, options=CogOptions(nodata=taken))
    with pytest.raises(ArgumentInvalid, match="Did you mean 'deflate'"):
        write_cog(tmp_path / "a.tif", [cube], **write, options=CogOptions(compression="deflat"))
    many = cube_of("uint16", times=TIMES)
    with pytest.raises(FormatUnsupported, match="dates"):
        write_cog(tmp_path / "a.tif", [many], **write, options=CogOptions(nodata=0))
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from terrazzo.cube import *
from terrazzo.geo.grid import Grid
from terrazzo.errors import OutputFailed
from terrazzo.storage.writers.cog import write_cog
from terrazzo.storage.writers.netcdf import write_netcdf
from terrazzo.storage.writers.table import write_table
grid = Grid.of(32633, 0.0, 0.0, 10.0, 1500, 1500)
values = np.random.default_rng(0).random((1, 1500, 1500))
dims = (Dimension("bands", Kind.BANDS, ("B",)),
    Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL))
cube = Cube(values, all_valid(values.shape), dims, grid, grid.window)
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 100_000, 5_000_000, 19_000_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for write in (
        lambda: write_cog(folder / "a.tif", [cube], grid, dtype=cube.dtype, bands=("B",)),
        lambda: write_netcdf(folder / "a.nc", [cube], grid, probe=cube, level=0),
        lambda: write_table(folder / "a.csv", {"a": values.ravel()}),
        lambda: write_table(folder / "a.parquet", {"a": np.concatenate([values.ravel()] * 3)}),
    ):
        try:
            write()
        except OutputFailed as error:
            print("refused", error)
        left = list(folder.iterdir())
        if limit < 5_000_000 or left:
            print("left", [p.name for p in left])
        for path in left:
            path.unlink()
"""


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr[-3000:]
    refused = [line for line in lines if line.startswith("refused")]
    assert len(refused) >= 13
    assert all("--output" in line and str(tmp_path) not in line for line in refused)
    left = [line for line in lines if line.startswith("left")]
    assert left[:8] == ["left []"] * 8
    assert not any(".part" in line for line in left)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    cube = cube_of("float32")

    with pytest.raises(OutputFailed, match=r"'a\.tif'"):
        write_cog(tmp_path / "no" / "a.tif", [cube], GRID, dtype=cube.dtype, bands=("B0", "B1"))


@pytest.mark.parametrize(("dtype", "nodata"), [("float32", None), ("uint16", 0), ("bool", None)])
def test_netcdf_is_read_by_xarray_gdal_and_ourselves(tmp_path: Path, dtype: str, nodata):
    grid = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, 600, 550)
    cube = cube_of(dtype, times=TIMES, grid=grid)

    path = write_netcdf(
        tmp_path / "a.nc", shuffled(cube, 200), grid, probe=cube, nodata=nodata,
        metadata={"digest": "abc"},
    )  # fmt: skip

    filled = np.where(cube.valid, cube.values.astype(float), np.nan)
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert data.attrs["Conventions"] == "CF-1.8"
        assert data.attrs["digest"] == "abc"
        assert data["B0"].dims == ("t", "y", "x")
        np.testing.assert_array_equal(data["t"], np.array([t[:-1] for t in TIMES], "M8[ns]"))
        np.testing.assert_array_equal(data["B1"], filled[:, 1])
        np.testing.assert_array_equal(data["y"], grid.ys(grid.window))
    with rasterio.open(f"netcdf:{path}:B0") as file:
        assert file.crs.to_epsg() == 32633
        assert file.bounds == grid.bounds
        found = file.read(masked=True).astype(float).filled(np.nan)
        np.testing.assert_array_equal(found, filled[:, 0])
    with open_arrays(path, Gate((tmp_path,))) as file:
        (mine,) = file.cubes
        assert mine.grid == grid
        assert [t.start for t in mine.times] == [datetime.fromisoformat(t) for t in TIMES]
        band = mine.bands[1]
        pixels = mine.read("B1", 1)
    masked = np.isnan(pixels) if dtype == "float32" else pixels == band.nodata
    np.testing.assert_array_equal(masked, ~cube.valid[1, 1])


def test_netcdf_without_time_and_bands_and_with_fractions(tmp_path: Path):
    grid = Grid.of("EPSG:4326", 10.0, 50.0, 0.25, 20, 30)
    one = Cube(np.ones((20, 30)), np.ones((20, 30), np.bool_), (Y, X), grid, grid.window)
    label = "2020-06-01T10:30:00.5Z"
    dated = empty_cube(
        (Dimension("t", Kind.TEMPORAL, (label,)), Y, X), np.dtype("f4"), grid, grid.window
    )

    write_netcdf(tmp_path / "a.nc", [one], grid, probe=one)
    write_netcdf(tmp_path / "b.nc", [dated], grid, probe=dated)

    with xr.open_dataset(tmp_path / "a.nc") as data:
        assert data["var"].dims == ("y", "x")
        assert data["x"].attrs["units"] == "degrees_east"
    with open_arrays(tmp_path / "b.nc", Gate((tmp_path,))) as file:
        (cube,) = file.cubes
        assert cube.times[0].start == datetime(2020, 6, 1, 10, 30, 0, 500_000, UTC)


def test_tables_hold_their_columns(tmp_path: Path):
    columns = {
        "id": ["a", "b", "c"],
        "mean": np.ma.masked_array([1.5, 2.5, np.nan], mask=[False, True, False]),
        "count": np.array([1, 2, 3], np.int32),
        "time": np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[s]"),
    }

    for suffix in ("csv", "json", "parquet"):
        write_table(tmp_path / f"a.{suffix}", columns)

    table = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert table["mean"][:2] == [1.5, None]
    assert np.isnan(table["mean"][2])
    assert table["id"] == ["a", "b", "c"]
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [row["mean"] for row in rows] == ["1.5", "", "nan"]
    assert rows[0]["time"] == "2020-01-01T00:00:00Z"
    records = json.loads((tmp_path / "a.json").read_text())
    assert [record["mean"] for record in records] == [1.5, None, None]
    assert records[2]["count"] == 3
    with pytest.raises(ArgumentInvalid, match="one length"):
        write_table(tmp_path / "b.csv", {"a": [1], "b": [1, 2]})
    with pytest.raises(FormatUnsupported, match="xls"):
        write_table(tmp_path / "b.xls", {"a": [1]})


def test_geotables_are_geoparquet(tmp_path: Path):
    shapes = [shapely.box(0, 0, 1, 1), shapely.Point(3, 4)]

    write_geotable(tmp_path / "a.parquet", {"id": np.array([1, 2])}, shapes, crs_name(SINUSOIDAL))

    frame = geopandas.read_parquet(tmp_path / "a.parquet")
    assert list(frame["id"]) == [1, 2]
    assert list(frame.geometry) == shapes
    assert "Sinusoidal" in frame.crs.to_wkt()
