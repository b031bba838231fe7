"""Zarr stores are read by xarray and by TensorStore."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from tests.storage.test_writers import TIMES, X, Y, cube_of, shuffled

from terrazzo.cube import Cube, Dimension, Kind, empty_cube
from terrazzo.errors import FormatUnsupported
from terrazzo.geo.grid import Grid, Window
from terrazzo.storage.writers.zarr import write_zarr

if TYPE_CHECKING:
    from pathlib import Path

GRID = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, 1100, 600)


def opened(path: Path, level: int) -> xr.Dataset:
    store = zarr.storage.ZipStore(path, mode="r")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Zarr V3.*|.*Zarr format 3.*")
        return xr.open_zarr(store, group=str(level), mask_and_scale=True)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("float32", None), ("float64", -9999.0), ("uint16", 0), ("int16", -1), ("bool", None)],
)
def test_xarray_reads_what_was_written(tmp_path: Path, dtype: str, nodata: float | None):
    cube = cube_of(dtype, times=TIMES, grid=GRID)

    path = write_zarr(
        tmp_path / "a.zarr.zip", shuffled(cube, 333), GRID, probe=cube, nodata=nodata,
        metadata={"digest": "abc"},
    )  # fmt: skip

    filled = np.where(cube.valid, cube.values.astype(float), np.nan)
    with opened(path, 0) as data:
        assert data["B0"].dims == ("t", "y", "x")
        np.testing.assert_array_equal(data["t"], np.array([t[:-1] for t in TIMES], "M8[ns]"))
        np.testing.assert_array_equal(data["B0"], filled[:, 0])
        np.testing.assert_array_equal(data["B1"], filled[:, 1])
        np.testing.assert_array_equal(data["y"], GRID.ys(GRID.window))
        np.testing.assert_array_equal(data["x"], GRID.xs(GRID.window))
    root = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    assert root.attrs["digest"] == "abc"
    assert root.attrs["proj:code"] == "EPSG:32633"
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr.zip"]


def test_another_reader_finds_every_level_where_it_lies(tmp_path: Path):
    """GDAL reads final Zarr 3 from version 3.11; TensorStore shares no code with what we use."""
    cube = cube_of("float32", grid=GRID)

    path = write_zarr(tmp_path / "a.zip", [cube], GRID, probe=cube, overviews="average")

    def read(name: str) -> tensorstore.TensorStore:
        where = {"driver": "zip", "base": f"file://{path}", "path": f"{name}/"}
        return tensorstore.open({"driver": "zarr3", "kvstore": where}).result()

    root = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    layout = root.attrs["multiscales"]["layout"]
    assert [entry["spatial:shape"] for entry in layout] == [[1100, 600], [550, 300], [275, 150]]
    for entry in layout:
        width, _, left, _, height, top = entry["spatial:transform"]
        found = read(f"{entry['asset']}/B1")
        assert list(found.shape) == entry["spatial:shape"]
        assert found.domain.labels == ("y", "x")
        np.testing.assert_allclose(
            read(f"{entry['asset']}/x").read().result(),
            left + width * (np.arange(found.shape[1]) + 0.5),
        )
        np.testing.assert_allclose(
            read(f"{entry['asset']}/y").read().result(),
            top + height * (np.arange(found.shape[0]) + 0.5),
        )
    np.testing.assert_array_equal(
        read("0/B1").read().result(), np.where(cube.valid[1], cube.values[1], np.nan)
    )


@pytest.mark.parametrize("shape", [(1100, 600), (1101, 513), (513, 1)])
def test_coarser_levels_are_means_of_valid_pixels_or_the_nearest(
    tmp_path: Path, shape: tuple[int, int]
):
    grid = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, *shape)
    cube = cube_of("float64", grid=grid)

    mean = write_zarr(tmp_path / "m.zip", [cube], grid, probe=cube, overviews="average")
    near = write_zarr(tmp_path / "n.zip", [cube], grid, probe=cube, overviews="nearest")

    full = np.where(cube.valid[0], cube.values[0], np.nan)
    padded = np.pad(full, ((0, shape[0] % 2), (0, shape[1] % 2)), constant_values=np.nan)
    quads = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmean(quads, axis=(1, 3))
    with opened(mean, 1) as data:
        np.testing.assert_allclose(data["B0"], expected, rtol=1e-12)
    with opened(near, 1) as data:
        np.testing.assert_array_equal(data["B0"], full[::2, ::2])


def test_what_no_block_covers_is_no_data_and_a_part_of_a_grid_lies_right(tmp_path: Path):
    cube, part = cube_of("uint16", grid=GRID), Window(50, 60, 400, 300)

    path = write_zarr(
        tmp_path / "a.zip", [cube.crop(Window(60, 60, 40, 50))], GRID,
        probe=cube, window=part, nodata=7,
    )  # fmt: skip

    with opened(path, 0) as data:
        expected = np.full((400, 300), np.nan)
        expected[10:50, :50] = cube.values[0, 60:100, 60:110]
        np.testing.assert_array_equal(data["B0"], expected)
        assert float(data["x"][0]) == 500_000 + 60 * 10 + 5


def test_further_dimensions_text_labels_and_odd_names_are_kept(tmp_path: Path):
    dims = (
        Dimension("season", Kind.OTHER, ("été", "winter")),
        Dimension("bands", Kind.BANDS, ("zarr.json", "__a", "B/1")),
        Y, X,
    )  # fmt: skip
    grid = Grid.of("EPSG:4326", 10.0, 50.0, 0.25, 20, 30)
    values = np.arange(2 * 3 * 600, dtype=np.float32).reshape(2, 3, 20, 30)
    cube = Cube(values, np.ones(values.shape, np.bool_), dims, grid, grid.window)

    path = write_zarr(tmp_path / "a.zip", [cube], grid, probe=cube)

    with opened(path, 0) as data:
        assert list(data["season"].values) == ["été", "winter"]
        assert set(data.data_vars) - {"spatial_ref"} == {"B_1", "band___a", "band_zarr.json"}
        np.testing.assert_array_equal(data["B_1"], values[:, 2])
        assert data["x"].attrs["units"] == "degrees_east"


def test_equal_content_gives_equal_bytes(tmp_path: Path):
    cube = cube_of("int16", grid=GRID)

    one = write_zarr(tmp_path / "a.zip", shuffled(cube, 333), GRID, probe=cube, nodata=-1)
    two = write_zarr(tmp_path / "b.zip", [cube], GRID, probe=cube, nodata=-1)

    assert one.read_bytes() == two.read_bytes()


def test_no_data_without_a_value_is_refused_and_nothing_is_left(tmp_path: Path):
    cube = cube_of("int16", grid=GRID)

    with pytest.raises(FormatUnsupported, match="no value set aside"):
        write_zarr(tmp_path / "a.zip", [cube], GRID, probe=cube)

    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from terrazzo.cube import *
from terrazzo.errors import OutputFailed
from terrazzo.geo.grid import Grid
from terrazzo.storage.writers.zarr import write_zarr
grid = Grid.of(32633, 0.0, 0.0, 10.0, 1500, 1500)
values = np.random.default_rng(0).random((1, 1500, 1500))
dims = (Dimension("bands", Kind.BANDS, ("B",)),
    Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL))
cube = Cube(values, all_valid(values.shape), dims, grid, grid.window)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 100_000, 5_000_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_zarr(Path(sys.argv[1]) / "a.zip", [cube], grid, probe=cube)
    except OutputFailed as error:
        print("refused", error)
    print("left", len(list(Path(sys.argv[1]).iterdir())))
"""


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line for line in lines if line.startswith("left")] == ["left 0"] * 3
    refused = [line for line in lines if line.startswith("refused")]
    assert len(refused) == 3
    assert all("--output" in line and str(tmp_path) not in line for line in refused)


def test_a_store_without_a_pixel_on_one_date_is_empty_there(tmp_path: Path):
    grid = Grid.of("EPSG:4326", 10.0, 50.0, 0.25, 20, 30)
    label = "2020-06-01T10:30:00.5Z"
    dated = empty_cube(
        (Dimension("t", Kind.TEMPORAL, (label,)), Y, X), np.dtype("f4"), grid, grid.window
    )

    path = write_zarr(tmp_path / "a.zip", [dated], grid, probe=dated)

    with opened(path, 0) as data:
        assert data["var"].isnull().all()
        assert str(data["t"].values[0]) == "2020-06-01T10:30:00.500000000"
