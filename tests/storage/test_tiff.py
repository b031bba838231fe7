"""Tiles that are inflated without GDAL hold the numbers that GDAL reads."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.transform import Affine

from terrazzo.geo.grid import Window
from terrazzo.storage.tiff import tiff_levels

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def stamp(path):
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def write(path, values, overviews=(), **options):
    """Write (band, y, x) with GDAL."""
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": "EPSG:32633",
        "transform": Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 32,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **(profile | options)) as file:
        file.write(values)
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(list(overviews), Resampling.nearest)
    return path


def tiles(level):
    height, width = level.tile
    whole = Window(0, 0, *level.shape)
    for row in range(0, level.shape[0], height):
        for col in range(0, level.shape[1], width):
            yield Window(row, col, height, width).intersection(whole)


def assert_like_gdal(path, number):
    """Compare every tile of a level with what GDAL reads."""
    level = tiff_levels(str(path), stamp(path))[number]
    options = {"overview_level": number - 1} if number else {}
    with rasterio.open(path, **options) as file:
        assert (file.height, file.width) == level.shape
        for area in tiles(level):
            where = ((area.row, area.row_stop), (area.col, area.col_stop))
            for band in file.indexes:
                np.testing.assert_array_equal(
                    level.decode(band, area), file.read(band, window=where)
                )


@given(
    dtype=st.sampled_from(DTYPES),
    predictor=st.sampled_from([1, 2, 3]),
    compress=st.sampled_from(["deflate", None]),
    bands=st.integers(1, 3),
    bigtiff=st.sampled_from(["YES", "NO"]),
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_every_tile_is_what_gdal_reads(
    tmp_path_factory, dtype, predictor, compress, bands, bigtiff, size, seed
):
    kind = np.dtype(dtype).kind
    predictor = 1 if (predictor == 3) != (kind == "f") or compress is None else predictor
    numbers = np.random.default_rng(seed).integers(-100, 100, (bands, *size)) * 1.5
    path = write(
        tmp_path_factory.mktemp("tiff") / "one.tif",
        numbers.astype(dtype) if kind != "u" else np.abs(numbers).astype(dtype),
        predictor=predictor,
        compress=compress,
        interleave="band",
        BIGTIFF=bigtiff,
    )

    assert_like_gdal(path, 0)


def test_overviews_are_found_in_the_order_of_gdal(tmp_path):
    values = np.random.default_rng(1).integers(0, 9000, (1, 300, 410)).astype(np.uint16)
    path = write(tmp_path / "levels.tif", values, (2, 4, 8), predictor=2)

    for number in range(4):
        assert_like_gdal(path, number)


def test_masks_are_no_overviews(tmp_path):
    values = np.random.default_rng(1).integers(0, 9000, (1, 200, 210)).astype(np.uint16)
    path = tmp_path / "masked.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(path, values)
        with rasterio.open(path, "r+") as file:
            file.write_mask(values[0] > 4000)
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], Resampling.nearest)

    for number in range(3):
        assert_like_gdal(path, number)


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "lzw"},
        {"compress": "zstd"},
        {"interleave": "pixel"},
        {"tiled": False, "blockxsize": None, "blockysize": None},
        {"ENDIANNESS": "BIG"},
        {"NBITS": 12},
    ],
    ids=str,
)
def test_what_is_unusual_is_left_to_gdal(tmp_path, options):
    values = np.ones((2, 100, 100), np.uint16)
    path = write(tmp_path / "odd.tif", values, **({"interleave": "band"} | options))

    assert not any(tiff_levels(str(path), stamp(path)))


def test_overviews_beside_the_file_are_left_to_gdal(tmp_path):
    path = write(tmp_path / "beside.tif", np.ones((1, 300, 300), np.uint16))
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2], Resampling.nearest)

    assert (tmp_path / "beside.tif.ovr").exists()
    assert len(tiff_levels(str(path), stamp(path))) == 1


def test_tiles_that_are_not_there_are_left_to_gdal(tmp_path):
    path = tmp_path / "sparse.tif"
    values = np.zeros((1, 64, 128), np.uint16)
    values[:, :, :64] = 7
    write(path, values, SPARSE_OK=True)

    level = tiff_levels(str(path), stamp(path))[0]
    found = [level.decode(1, area) is None for area in tiles(level)]
    assert True in found
    assert False in found


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "other"])
def test_what_cannot_be_read_is_left_to_gdal(tmp_path, damage):
    random = np.random.default_rng(4).integers(0, 60_000, (1, 64, 64)).astype(np.uint16)
    path = write(tmp_path / "bad.tif", random, blockxsize=64, blockysize=64)
    level = tiff_levels(str(path), stamp(path))[0]
    content = bytearray(path.read_bytes())

    if damage == "gone":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(bytes(content) + b"more")
    else:
        start, count = int(level.offsets[0]), int(level.counts[0])
        if damage == "cut":
            del content[start + count // 2 :]
        else:
            content[start : start + count] = bytes(count)
        path.write_bytes(bytes(content))
        level = tiff_levels(str(path), stamp(path))[0] if damage == "other" else level

    assert level.decode(1, next(tiles(level))) is None


def test_a_tile_that_claims_to_be_small_is_not_inflated_further(tmp_path):
    big = write(
        tmp_path / "big.tif", np.zeros((1, 512, 512), np.uint16), blockxsize=512, blockysize=512
    )
    level = tiff_levels(str(big), stamp(big))[0]

    small = type(level)(
        level.path,
        level.stamp,
        (16, 16),
        (16, 16),
        level.dtype,
        1,
        level.offsets,
        level.counts,
        level.inflated,
        level.predictor,
    )
    found = small.decode(1, Window(0, 0, 16, 16))

    assert found is None or found.nbytes == 512
