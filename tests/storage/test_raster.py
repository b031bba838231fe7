from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from tests.storage.files import SINUSOIDAL, field, fresh_reader, write_tif

from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.grid import Grid, Window
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.gate import Gate
from terrazzo.storage.raster import default_reader, describe, read_window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from terrazzo.storage.gate import AssetName


def named(path: Path) -> AssetName:
    return Gate((path.parent,)).open_name(str(path), item=path.stem, asset="image")


LAYOUTS = {
    "tiled": {},
    "strips": {"tiled": False, "blockysize": 3},
    "one strip": {"tiled": False, "blockysize": 300},
    "pixel-interleaved": {"interleave": "pixel"},
    "band-interleaved": {"interleave": "band"},
    "big tiles": {"blockxsize": 512, "blockysize": 512},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25)
@given(data=st.data())
def test_windows_equal_rasterio(layout: str, data: st.DataObject, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"{layout}.tif"
    pixels = np.stack([field(201, 147, seed) for seed in range(3)])
    if not path.exists():
        write_tif(path, pixels, nodata=5000, **LAYOUTS[layout])
    row, col = data.draw(st.integers(0, 200)), data.draw(st.integers(0, 146))
    window = Window(
        row, col, data.draw(st.integers(1, 201 - row)), data.draw(st.integers(1, 147 - col))
    )
    bands = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))

    values, valid = fresh_reader().read_window(named(path), 0, bands, window)

    area = ((window.row, window.row_stop), (window.col, window.col_stop))
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(values, file.read(bands, window=area))
        np.testing.assert_array_equal(valid, file.read_masks(bands, window=area) > 0)


def test_overviews_equal_rasterio_and_keep_the_extent(tmp_path: Path):
    path = write_tif(tmp_path / "odd.tif", field(333, 251), overviews=(2, 4, 8))
    asset, reader = named(path), fresh_reader()

    info = reader.describe(asset)

    assert info.overviews == (2, 4, 8)
    for level, size in enumerate(info.overview_sizes, 1):
        grid = reader.level_grid(asset, level)
        values, _ = reader.read_window(asset, level, [1], grid.window)
        with rasterio.open(path, overview_level=level - 1) as file:
            assert (grid.height, grid.width) == size == file.shape
            np.testing.assert_array_equal(values, file.read())
        assert grid.bounds == pytest.approx(info.grid.bounds)


def test_shared_files_equal_rasterio(shared: Path):
    paths = [*shared.glob("data/*/*.tif"), *shared.glob("data/*/*.jp2")]
    paths = [path for path in paths if "gcps" not in path.name]
    assert len(paths) > 20

    reader = fresh_reader()
    for path in paths:
        asset = named(path)
        info = reader.describe(asset)
        bands = range(1, len(info.dtypes) + 1)
        window = Window(info.grid.height // 3, info.grid.width // 4, 60, 41)
        window = window.intersection(info.grid.window)
        values, valid = reader.read_window(asset, 0, bands, window)
        area = ((window.row, window.row_stop), (window.col, window.col_stop))
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(values, file.read(window=area), err_msg=path.name)
            np.testing.assert_array_equal(
                valid, file.read_masks(window=area) > 0, err_msg=path.name
            )
            assert info.dtypes == file.dtypes


@pytest.mark.parametrize("layout", ["tiled", "strips"])
def test_a_file_whose_rows_go_north_is_turned(tmp_path: Path, layout: str):
    pixels = field(130, 90)
    pixels[100:, :20] = 0
    options = {**LAYOUTS[layout], "nodata": 0}
    usual = write_tif(tmp_path / "usual.tif", pixels, overviews=(2,), **options)
    transform = Affine(10, 0, 500_000, 0, 10, 5_000_000 - 1300)
    turned = write_tif(tmp_path / "turned.tif", pixels[::-1], transform=transform, **options)
    reader = fresh_reader()

    info = reader.describe(named(turned))

    assert info.flipped_y
    assert info.grid == reader.describe(named(usual)).grid
    for window in (info.grid.window, Window(3, 5, 100, 70), Window(129, 0, 1, 90)):
        found = reader.read_window(named(turned), 0, [1], window)
        wanted = reader.read_window(named(usual), 0, [1], window)
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])


def test_nan_marks_no_data_only_where_declared(tmp_path: Path):
    pixels = np.array([[1, np.nan], [-9999, 4]], np.float32)
    expected = {
        "nan": (np.nan, [[True, False], [True, True]]),
        "number": (-9999, [[True, True], [False, True]]),
        "none": (None, [[True, True], [True, True]]),
    }

    for name, (nodata, valid) in expected.items():
        path = write_tif(tmp_path / f"{name}.tif", pixels, nodata=nodata, tiled=False)
        _, found = fresh_reader().read_window(named(path), 0, [1], Window(0, 0, 2, 2))
        np.testing.assert_array_equal(found[0], valid)


def test_a_mask_band_says_what_is_valid(tmp_path: Path):
    mask = np.random.default_rng(0).integers(0, 2, (150, 130)).astype(np.uint8) * 255
    path = write_tif(tmp_path / "mask.tif", field(150, 130), mask=mask, nodata=None, overviews=(2,))
    reader = fresh_reader()

    info = reader.describe(named(path))
    _, valid = reader.read_window(named(path), 0, [1], info.grid.window)
    _, half = reader.read_window(named(path), 1, [1], reader.level_grid(named(path), 1).window)

    assert info.has_mask
    np.testing.assert_array_equal(valid[0], mask > 0)
    with rasterio.open(path, overview_level=0) as file:
        np.testing.assert_array_equal(half[0], file.read_masks(1) > 0)


def test_alpha_says_what_is_valid(tmp_path: Path):
    pixels = np.stack([field(80, 80) // 40 for _ in range(4)]).astype(np.uint8)
    pixels[3] = np.where(np.arange(80) > 30, 255, 0)
    path = write_tif(tmp_path / "alpha.tif", pixels, photometric="rgb", alpha="yes")
    with rasterio.open(path) as file:
        assert file.colorinterp[3] is ColorInterp.alpha

    info = fresh_reader().describe(named(path))
    _, valid = fresh_reader().read_window(named(path), 0, [1, 2], Window(0, 0, 80, 80))

    assert info.alpha == 4
    np.testing.assert_array_equal(valid, np.broadcast_to(np.arange(80) > 30, (2, 80, 80)))


def test_a_crs_without_code_survives(tmp_path: Path, shared: Path):
    path = write_tif(tmp_path / "sinusoidal.tif", field(30, 30), crs=SINUSOIDAL)
    modis = next(shared.glob("data/sits_modis_sinop_jp2/*.jp2"))

    for image in (path, modis):
        crs = fresh_reader().describe(named(image)).grid.crs
        assert crs.startswith("PROJCRS")
        assert "Sinusoidal" in crs


def test_what_has_no_place_names_the_way_out(tmp_path: Path, shared: Path):
    rotated = Affine(9, 3, 500_000, 3, -9, 5_000_000)
    write_tif(tmp_path / "rotated.tif", field(30, 30), transform=rotated)
    gcps = [
        GroundControlPoint(r, c, 500_000 + c, 5_000_000 - r) for r, c in ((0, 0), (0, 9), (9, 0))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 9, "width": 9}
        with rasterio.open(tmp_path / "points.tif", "w", **profile) as file:
            file.gcps = (gcps, rasterio.CRS.from_epsg(32633))
    paths = [*tmp_path.glob("*.tif"), shared / "data/riotiler_cogs/cog_gcps.tif"]

    for path in paths:
        with pytest.raises(SourceUnreadable, match="gdalwarp") as refused:
            fresh_reader().describe(named(path))
        assert path.stem in str(refused.value)
        assert str(path.parent) not in str(refused.value)


def test_bad_files_are_named_by_item_and_never_by_path(tmp_path: Path):
    good = write_tif(tmp_path / "good.tif", field(300, 300)).read_bytes()
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "header.tif").write_bytes(good[:200])
    (tmp_path / "text.tif").write_text("no image at all")
    (tmp_path / "cut.tif").write_bytes(good[: len(good) // 2])

    for name in ("empty", "header", "text", "cut", "missing"):
        asset, reader = named(tmp_path / f"{name}.tif"), fresh_reader()
        with pytest.raises(SourceUnreadable) as refused:
            reader.read_window(asset, 0, [1], Window(0, 0, 300, 300))
        assert f"Item '{name}'" in str(refused.value)
        assert str(tmp_path) not in str(refused.value)
        assert refused.value.__cause__ is None


def test_broken_tiles_are_no_data_where_somebody_is_told(tmp_path: Path):
    pixels = field(256, 256)
    path = write_tif(tmp_path / "cut.tif", pixels)
    path.write_bytes(path.read_bytes()[:-4000])
    told: list[SourceUnreadable] = []

    values, valid = fresh_reader().read_window(
        named(path), 0, [1], Window(0, 0, 256, 256), on_bad=told.append
    )

    assert told
    tiles = valid[0].reshape(4, 64, 4, 64).swapaxes(1, 2).reshape(16, -1)
    assert {tuple(np.unique(tile)) for tile in tiles} == {(True,), (False,)}
    np.testing.assert_array_equal(values[0][valid[0]], pixels[valid[0]])


def test_windows_outside_and_unknown_bands_are_refused(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(30, 30))

    for bands, window in (([2], Window(0, 0, 1, 1)), ([1], Window(20, 0, 11, 1))):
        with pytest.raises(ArgumentInvalid):
            fresh_reader().read_window(named(path), 0, bands, window)


def test_a_replaced_file_is_read_again(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(100, 100, 1))
    reader, window = fresh_reader(), Window(0, 0, 100, 100)
    reader.read_window(named(path), 0, [1], window)
    write_tif(tmp_path / "b.tif", field(100, 100, 2))
    (tmp_path / "b.tif").replace(path)
    os.utime(path, ns=(1, 1))

    values, _ = reader.read_window(named(path), 0, [1], window)

    np.testing.assert_array_equal(values[0], field(100, 100, 2))


def test_each_tile_is_decoded_once(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(640, 640))
    reader, asset = fresh_reader(), named(path)
    windows = [Window(r, c, 200, 200) for r in range(0, 440, 40) for c in range(0, 440, 40)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda w: reader.read_window(asset, 0, [1], w), windows))

    counts = reader.cache.counts
    assert counts.tiles_decoded == 100
    assert counts.bytes_decoded == 640 * 640 * 2
    assert counts.pixels_requested == len(windows) * 200 * 200


def one(cache: BlockCache, key: object, tile: np.ndarray | Exception) -> np.ndarray | Exception:
    """Return a tile of a cache; the one that is given if it has to be decoded."""
    (found,) = cache.get([key], lambda missing, keep: [keep(at, tile) for at in missing])
    return found


def test_threads_that_ask_at_once_share_one_decoding():
    cache, calls = BlockCache(1000), []
    gate = threading.Barrier(4)

    def decode(missing: Sequence[int], keep: Callable[[int, np.ndarray], None]) -> None:
        calls.extend(missing)
        time.sleep(0.05)
        for position in missing:
            keep(position, np.ones(10, np.uint8))

    def ask(_: int) -> np.ndarray:
        gate.wait()
        return cache.get(["tile"], decode)[0]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))

    assert len(calls) == 1
    assert all(tile is found[0] for tile in found)
    assert not found[0].flags.writeable


def test_tiles_asked_for_together_come_in_order_and_are_decoded_once():
    cache, calls = BlockCache(1000), []

    def decode(missing: Sequence[int], keep: Callable[[int, np.ndarray], None]) -> None:
        calls.append(tuple(missing))
        for position in reversed(missing):
            keep(position, np.full(3, position, np.uint8))

    first = cache.get(["a", "b", "a"], decode)
    second = cache.get(["c", "b", "a"], decode)

    assert [int(tile[0]) for tile in first] == [0, 1, 0]
    assert [int(tile[0]) for tile in second] == [0, 1, 0]
    assert calls == [(0, 1), (0,)]
    assert cache.counts.tiles_decoded == 3
    assert cache.missing(["a", "z"]) == [1]


def test_threads_that_want_the_same_tiles_share_the_work():
    """The second does not wait for what the first has not begun."""
    cache, made = BlockCache(1000), []
    first_begun, second_done = threading.Event(), threading.Event()
    keys = ["a", "b", "c"]

    def decode(missing: Sequence[int], keep: Callable[[int, np.ndarray], None]) -> None:
        (position,) = missing
        if position == 0:
            first_begun.set()
            assert second_done.wait(60)
        made.append((threading.current_thread().name, keys[position]))
        keep(position, np.full(3, position, np.uint8))
        if len(made) == 2:
            second_done.set()

    with ThreadPoolExecutor(1, "first") as one_thread, ThreadPoolExecutor(1, "second") as other:
        first = one_thread.submit(cache.get, keys, decode, together=False)
        assert first_begun.wait(60)
        second = other.submit(cache.get, keys, decode, together=False)

    assert made == [("second_0", "b"), ("second_0", "c"), ("first_0", "a")]
    for found in (first.result(), second.result()):
        assert [int(tile[0]) for tile in found] == [0, 1, 2]
    assert cache.counts.tiles_decoded == 3
    assert cache.counts.tiles_found == 3


def test_an_error_in_shared_work_reaches_who_waits_for_that_tile_alone():
    cache, begun, go_on = BlockCache(1000), threading.Event(), threading.Event()

    def fail(*_: object) -> None:
        begun.set()
        assert go_on.wait(60)
        raise OSError("broken")

    def decode(missing: Sequence[int], keep: Callable[[int, np.ndarray], None]) -> None:
        keep(missing[0], np.ones(1, np.uint8))
        go_on.set()

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(cache.get, ["a", "b"], fail, together=False)
        assert begun.wait(60)
        waiting = pool.submit(cache.get, ["a", "b"], decode, together=False)

    for one_of_them in (failing, waiting):
        with pytest.raises(OSError, match="broken"):
            one_of_them.result()
    assert cache.missing(["a", "b"]) == [0]


def test_a_cache_that_is_resized_keeps_the_latest():
    cache = BlockCache(100)

    cache.resize(200)
    for number in range(3):
        one(cache, number, np.zeros(80, np.uint8))
    assert cache.bytes_held == 160
    cache.resize(90)

    assert cache.bytes_held == 80
    assert cache.missing([0, 1, 2]) == [0, 1]


def test_an_error_reaches_everyone_and_is_not_kept():
    cache = BlockCache(1000)

    def fail(*_: object) -> None:
        raise OSError("broken")

    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            cache.get(["tile", "other"], fail)
    assert isinstance(one(cache, "tile", ValueError("this one only")), ValueError)

    assert one(cache, "tile", np.ones(1)).sum() == 1
    assert cache.counts.tiles_decoded == 1


@given(sizes=st.lists(st.integers(1, 60), max_size=40))
def test_the_cache_keeps_its_bound_and_the_latest(sizes: list[int]):
    cache = BlockCache(100)

    for number, size in enumerate(sizes):
        one(cache, number, np.zeros(size, np.uint8))
        assert cache.bytes_held <= 100

    if sizes:
        before = cache.counts.tiles_decoded
        one(cache, len(sizes) - 1, np.zeros(1, np.uint8))
        assert cache.counts.tiles_decoded == before


def test_the_pool_keeps_its_bound(tmp_path: Path):
    paths = [write_tif(tmp_path / f"{n}.tif", field(30, 30, n)) for n in range(8)]
    reader = fresh_reader(cache_bytes=0, handles=3)

    for _ in range(2):
        for number, path in enumerate(paths):
            values, _ = reader.read_window(named(path), 0, [1], Window(0, 0, 30, 30))
            np.testing.assert_array_equal(values[0], field(30, 30, number))

    assert reader.handles.idle == 3


def _read_in_child(path: Path, queue: multiprocessing.Queue) -> None:
    values, _ = read_window(named(path), 0, [1], Window(0, 0, 100, 100))
    queue.put(int(values.astype(np.int64).sum()))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_opens_its_own(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(100, 100))
    describe(named(path))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    default_reader().cache._lock.acquire()
    child = context.Process(target=_read_in_child, args=(path, queue))

    child.start()
    default_reader().cache._lock.release()

    assert queue.get(timeout=120) == field(100, 100).astype(np.int64).sum()
    child.join(120)
    values, _ = read_window(named(path), 0, [1], Window(0, 0, 100, 100))
    np.testing.assert_array_equal(values[0], field(100, 100))


def test_a_pickled_reader_is_the_other_process_own():
    assert pickle.loads(pickle.dumps(fresh_reader())) is default_reader()  # noqa: S301 - ours


def test_describe_tells_what_the_file_declares(shared: Path):
    info = describe(named(shared / "data/riotiler_cogs/cog_scale.tif"))

    assert info.scales == (0.0001, 0.001)
    assert info.offsets == (1000.0, 2000.0)
    assert info.nodata == (0.0, 0.0)
    assert isinstance(info.grid, Grid)
    assert info.interleaved
