"""Every option of a COG changes what it says it changes, and no pixel."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from tests.storage.files import UTM33, field

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.errors import FormatUnsupported
from terrazzo.geo.grid import Grid
from terrazzo.storage.writers.cog import COMPRESSIONS, OVERVIEWS, CogOptions, write_cog

if TYPE_CHECKING:
    from pathlib import Path

GRID = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, 600, 700)
DIMENSIONS = (
    Dimension("bands", Kind.BANDS, ("B",)),
    Dimension("y", Kind.SPATIAL),
    Dimension("x", Kind.SPATIAL),
)


def written(path: Path, options: CogOptions) -> Path:
    values = (field(600, 700) // 500).astype(np.float32)[np.newaxis]
    valid = np.ones(values.shape, np.bool_)
    valid[0, 100:131, 200:251] = False
    cube = Cube(values, valid, DIMENSIONS, GRID, GRID.window)
    return write_cog(path, [cube], GRID, dtype=cube.dtype, bands=("B",), options=options)


def long_cube(dtype: str) -> Cube:
    """Return 600 x 700 large integers, some of which are no data."""
    values = (2**60 + np.arange(600 * 700)).reshape(1, 600, 700).astype(dtype)
    return Cube(values, values % 7 != 0, DIMENSIONS, GRID, GRID.window)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_compression_is_the_one_asked_for_and_loses_nothing(
    tmp_path: Path, compression: str
) -> None:
    path = written(tmp_path / "a.tif", CogOptions(compression=compression))
    plain = written(tmp_path / "b.tif", CogOptions(compression="none"))

    with rasterio.open(path) as file, rasterio.open(plain) as other:
        assert file.profile.get("compress", "none").lower().startswith(compression)
        np.testing.assert_array_equal(file.read(), other.read())


@pytest.mark.parametrize("method", OVERVIEWS)
def test_overviews_are_made_as_gdal_makes_them(tmp_path: Path, method: str) -> None:
    path = written(tmp_path / "a.tif", CogOptions(overviews=method))

    with rasterio.open(path) as file:
        levels = file.overviews(1)
    if method == "none":
        assert levels == []
        return
    assert levels == [2]
    oracle = tmp_path / "b.tif"
    rasterio.shutil.copy(
        written(tmp_path / "c.tif", CogOptions(overviews="none")), oracle, driver="COG",
        OVERVIEW_RESAMPLING=method.upper(), COMPRESS="DEFLATE",
    )  # fmt: skip
    with (
        rasterio.open(path, overview_level=0) as found,
        rasterio.open(oracle, overview_level=0) as expected,
    ):
        np.testing.assert_array_equal(found.read(1), expected.read(1))


def test_the_overviews_of_each_method_differ(tmp_path: Path) -> None:
    levels = []
    for method in OVERVIEWS[:-1]:
        with rasterio.open(
            written(tmp_path / f"{method}.tif", CogOptions(overviews=method)), overview_level=0
        ) as file:
            levels.append(file.read(1).tobytes())

    assert OVERVIEWS[-1] == "none"
    assert len(set(levels)) == len(levels)


@pytest.mark.parametrize("mark", [-1.0, 1e6, None])
def test_no_data_is_the_number_asked_for(tmp_path: Path, mark: float | None) -> None:
    path = written(tmp_path / "a.tif", CogOptions(nodata=mark))

    with rasterio.open(path) as file:
        wanted = np.nan if mark is None else mark
        np.testing.assert_equal(file.nodata, wanted)
        np.testing.assert_equal(file.read(1)[100, 200], np.float32(wanted))
        assert (file.read_masks(1) == 0).sum() == 31 * 51


def test_predictor_block_and_threads_change_the_layout_alone(tmp_path: Path) -> None:
    first = written(tmp_path / "a.tif", CogOptions())
    without = written(tmp_path / "b.tif", CogOptions(predictor=False, blocksize=128))
    threads = written(tmp_path / "c.tif", CogOptions(threads=3))

    with rasterio.open(first) as one, rasterio.open(without) as other:
        assert one.block_shapes == [(512, 512)]
        assert other.block_shapes == [(128, 128)]
        assert one.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "3"
        assert other.tags(ns="IMAGE_STRUCTURE").get("PREDICTOR", "1") == "1"
        np.testing.assert_array_equal(one.read(), other.read())
    assert first.read_bytes() == threads.read_bytes()


@pytest.mark.parametrize(
    ("dtype", "mark"),
    [("int64", -(2**53)), ("int64", 2**53), ("uint64", 2**53), ("int64", -9999), ("uint64", 0)],
)
def test_no_data_of_64_bits_is_written_as_it_is(tmp_path: Path, dtype: str, mark: int) -> None:
    path = write_cog(
        tmp_path / "a.tif", [long_cube(dtype)], GRID, dtype=np.dtype(dtype), bands=("a",),
        options=CogOptions(nodata=float(mark)),
    )  # fmt: skip

    told = subprocess.run(["gdalinfo", path], capture_output=True, text=True, check=True).stdout
    assert f"NoData Value={mark}\n" in told
    with rasterio.open(path) as file:
        assert file.nodata == mark
        np.testing.assert_array_equal(file.read_masks(1) > 0, long_cube(dtype).valid[0])


@pytest.mark.parametrize(
    ("dtype", "mark"), [("int64", -(2.0**63)), ("int64", 1e17), ("uint64", 2.0**63)]
)
def test_no_data_that_gdal_would_read_as_another_number_is_refused(
    tmp_path: Path, dtype: str, mark: float
) -> None:
    with pytest.raises(FormatUnsupported, match=f"{int(mark)} as it is.*nodata"):
        write_cog(
            tmp_path / "a.tif", [long_cube(dtype)], GRID, dtype=np.dtype(dtype), bands=("a",),
            options=CogOptions(nodata=mark),
        )  # fmt: skip

    assert not list(tmp_path.iterdir())
