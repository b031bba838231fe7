"""Files that are written while other threads use GDAL, whose cache of blocks is for all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from tests.storage.files import UTM33

from terrazzo.cube import Cube, Dimension, Kind, all_valid
from terrazzo.geo.grid import Grid
from terrazzo.storage.gate import Gate
from terrazzo.storage.handles import gdal_environment, open_dataset
from terrazzo.storage.writers.cog import CogOptions, write_cog
from terrazzo.storage.writers.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GRID = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, 1100, 1100)
DIMENSIONS = Dimension("y", Kind.SPATIAL), Dimension("x", Kind.SPATIAL)
OPTIONS = CogOptions(overviews="none", compression="none")


def parts(values: np.ndarray, edge: int) -> Iterator[Cube]:
    """Cut into blocks whose edges are not those of tiles."""
    for window in GRID.window.blocks(edge):
        part = values[GRID.window.slices(window)]
        yield Cube(part, all_valid(part.shape), DIMENSIONS, GRID, window)


def test_no_pixel_is_lost_while_other_threads_open_and_read_images(tmp_path: Path):
    values = np.arange(GRID.window.pixels, dtype=np.float32).reshape(1100, 1100) + 1
    image = write_cog(
        tmp_path / "read.tif", parts(values, 512), GRID, dtype=values.dtype, bands=("a",)
    )
    asset, done = Gate((tmp_path,)).open_name(str(image)), Event()

    def others() -> int:
        read = 0
        while not done.is_set() or not read:
            with open_dataset(asset) as dataset, gdal_environment():
                np.testing.assert_array_equal(dataset.read(1), values)
                read += 1
        return read

    def opening() -> None:
        while not done.is_set():
            with gdal_environment():
                pass

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(others), threads.submit(opening)]
        try:
            for number in range(10):
                path = write_cog(
                    tmp_path / f"{number}.tif", parts(values, 100), GRID, dtype=values.dtype,
                    bands=("a",), options=OPTIONS,
                )  # fmt: skip
                with rasterio.open(path) as file:
                    np.testing.assert_array_equal(file.read(1), values)
        finally:
            done.set()
        for one in running:
            one.result()


@pytest.mark.parametrize(("given", "expected"), [({}, "128"), ({"GDAL_CACHEMAX": "77"}, "77")])
def test_the_size_of_the_cache_is_said_once_and_may_be_given(given, expected):
    shown = "import os, terrazzo.storage; print(os.environ['GDAL_CACHEMAX'])"
    environment = {k: v for k, v in os.environ.items() if k != "GDAL_CACHEMAX"} | given
    found = subprocess.run(
        [sys.executable, "-c", shown], env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == expected


@pytest.mark.parametrize(("dtype", "nodata"), [("float64", float("nan")), ("int64", -(2**53) + 1)])
def test_what_nothing_was_written_to_is_no_data(tmp_path: Path, dtype: str, nodata: float):
    profile = {
        "dtype": dtype, "count": 2, "height": 70, "width": 90, "nodata": nodata,
        "crs": rasterio.CRS.from_string(UTM33).to_wkt(),
        "transform": rasterio.Affine(10 / 3, 0, 0.1, 0, -10 / 3, 0.7),
    }  # fmt: skip
    scratch = Scratch(tmp_path / "image.part", profile)
    expected = np.full((2, 70, 90), nodata, dtype)
    for rows, cols in (
        (slice(0, 20), slice(0, 30)), (slice(10, 50), slice(60, 90)), (slice(60, 70), slice(5, 6)),
    ):  # fmt: skip
        pixels = np.arange(expected[:, rows, cols].size).reshape(expected[:, rows, cols].shape)
        expected[:, rows, cols] = pixels
        scratch.write(pixels, rows, cols)
    scratch.fill()

    with scratch.opened() as file:
        np.testing.assert_array_equal(file.read(), expected)
        assert file.transform == profile["transform"]
        np.testing.assert_array_equal(file.nodata, nodata)
    scratch.remove()
    assert list(tmp_path.iterdir()) == []
