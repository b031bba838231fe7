from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject
from rio_tiler.io import Reader
from tests.storage.files import NOON, SINUSOIDAL, UTM33, field, fresh_reader, scene, write_tif

from terrazzo.cube import Kind
from terrazzo.errors import BandNotFound, NoDataAvailable, SourceUnreadable
from terrazzo.geo.crs import crs_name, transformer
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.tiling import web_mercator
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.cube import Cube
    from terrazzo.storage.source import SceneItem

METHODS = ("near", "bilinear", "cubic", "average", "max", "mode")


def source_of(*items: SceneItem, bands: Sequence[str] = ("B",)) -> RasterSource:
    return RasterSource.of(items, bands, reader=fresh_reader())


def native(source: RasterSource, method: str = "near") -> Cube:
    return source.read(source.grid, source.extent, {}, method)


def mercator_of(grid: Grid, pixel: float, edge: int, offset: float = 0.0) -> Grid:
    """Return a Web Mercator grid of `edge` pixels around the middle of another grid."""
    left, bottom, right, top = grid.bounds
    x, y = transformer(grid.crs, "EPSG:3857").transform((left + right) / 2, (bottom + top) / 2)
    return Grid.of(
        "EPSG:3857", x - pixel * edge / 2 + offset, y + pixel * edge / 2, pixel, edge, edge
    )


def test_the_native_grid_gives_the_pixels_of_the_file(tmp_path: Path):
    pixels = np.stack([field(150, 130, seed) for seed in (1, 2)])
    pixels[0, :20] = 0
    path = write_tif(tmp_path / "a.tif", pixels, nodata=0, overviews=(2,))

    source = source_of(scene(path, ("B1", "B2")), bands=("B2", "B1"))
    cube = native(source, "cubic")

    assert cube.dtype == np.uint16
    assert source.probe.dtype == np.uint16
    assert source.probe.dimension("bands").labels == ("B2", "B1")
    assert [d.kind for d in cube.dimensions] == [
        Kind.TEMPORAL, Kind.BANDS, Kind.SPATIAL, Kind.SPATIAL,
    ]  # fmt: skip
    np.testing.assert_array_equal(cube.values[0, 0], pixels[1])
    np.testing.assert_array_equal(cube.valid[0, 1], pixels[0] > 0)


def test_labels_choose_by_position(tmp_path: Path):
    items = [
        scene(
            write_tif(tmp_path / f"{d}.tif", np.stack([field(40, 40, 2 * d + b) for b in (0, 1)])),
            ("B1", "B2"), day=d,
        )
        for d in range(3)
    ]  # fmt: skip
    source = source_of(*items, bands=("B1", "B2"))

    cube = source.read(source.grid, Window(3, 4, 5, 6), {"t": (2, 0), "bands": (1,)}, "near")

    assert cube.dimension("t").labels == ("2020-06-03T10:30:00Z", "2020-06-01T10:30:00Z")
    assert cube.dimension("bands").labels == ("B2",)
    np.testing.assert_array_equal(cube.values[0, 0], field(40, 40, 5)[3:8, 4:10])
    np.testing.assert_array_equal(cube.values[1, 0], field(40, 40, 1)[3:8, 4:10])
    empty = source.read(source.grid, Window(3, 4, 5, 6), {"t": (), "bands": (1,)}, "near")
    assert empty.values.shape == (0, 1, 5, 6)


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory) -> RasterSource:
    """Two scenes of one day in two UTM zones, with no-data, odd sizes and overviews."""
    folder = tmp_path_factory.mktemp("overlapping")
    one, two = field(333, 301, 1), field(333, 301, 2)
    one[:, 150:170] = 0
    two[40:60] = 0
    # 15 degrees east is 3 degrees from both central meridians: x = 736 km and 264 km.
    options = {"nodata": 0, "overviews": (2, 4, 8)}
    write_tif(folder / "a.tif", one, transform=Affine(10, 0, 734_500, 0, -10, 5_000_000), **options)
    write_tif(
        folder / "b.tif", two, crs="EPSG:32634",
        transform=Affine(10, 0, 263_000, 0, -10, 5_000_500), **options,
    )  # fmt: skip
    return source_of(scene(folder / "a.tif"), scene(folder / "b.tif"))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=12)
@given(data=st.data())
def test_pixels_do_not_depend_on_the_window(
    overlapping: RasterSource, method: str, data: st.DataObject
):
    pixel = data.draw(st.sampled_from([7.0, 14.0, 31.0, 90.0]))
    grid = mercator_of(overlapping.grid, pixel, 60, offset=3.3)
    whole = overlapping.read(grid, grid.window, {}, method)
    row, col = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 59))
    rows, cols = ((0, row), (row, 60)), ((0, col), (col, 60))

    for top, bottom in rows:
        for left, right in cols:
            part = Window(top, left, bottom - top, right - left)
            if part.is_empty:
                continue
            cube = overlapping.read(grid, part, {}, method)
            wanted = whole.crop(part)
            np.testing.assert_array_equal(cube.valid, wanted.valid)
            np.testing.assert_array_equal(cube.values[cube.valid], wanted.values[wanted.valid])


def test_windows_may_reach_beyond_the_grid_and_the_data(overlapping: RasterSource):
    grid = overlapping.grid

    outside = overlapping.read(grid, Window(-50, -70, 20, 30), {}, "bilinear")
    across = overlapping.read(grid, Window(-5, -5, 30, 30), {}, "near")

    assert not outside.valid.any()
    inside = overlapping.read(grid, Window(0, 0, 25, 25), {}, "near")
    np.testing.assert_array_equal(across.valid[..., 5:, 5:], inside.valid)


def test_two_utm_zones_make_one_mosaic(overlapping: RasterSource):
    (both_items,) = overlapping.near(overlapping.grid, overlapping.extent, {})
    grid = mercator_of(overlapping.grid, 20.0, 300)
    alone = [source_of(item).read(grid, grid.window, {}, "near") for item in both_items]
    assert len(alone) == 2

    both = overlapping.read(grid, grid.window, {}, "near")

    np.testing.assert_array_equal(both.valid, alone[0].valid | alone[1].valid)
    expected = np.where(alone[0].valid, alone[0].values, alone[1].values)
    np.testing.assert_array_equal(both.values[both.valid], expected[both.valid])
    assert (alone[0].valid & alone[1].valid).any()
    assert (alone[1].valid & ~alone[0].valid).any()


def test_the_overview_just_finer_is_read(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(1024, 1024), overviews=(2, 4, 8))
    source = source_of(scene(path))
    grid = source.grid

    for factor, level in ((1.0, 1), (1.9, 1), (2.0, 2), (3.9, 2), (4.0, 4), (20.0, 8)):
        edge = int(1024 / factor)
        target = Grid.of(UTM33, grid.left, grid.top, 10.0 * factor, edge, edge)
        before = source.reader.cache.counts.pixels_requested
        source.read(target, target.window, {}, "near")
        read = source.reader.cache.counts.pixels_requested - before
        assert read == pytest.approx((edge * factor / level) ** 2, rel=0.05)


def test_methods_over_areas_read_the_full_resolution(tmp_path: Path):
    pixels = np.zeros((64, 64), np.uint8)
    pixels[13, 13] = 200
    path = write_tif(tmp_path / "a.tif", pixels, overviews=(2, 4, 8))
    source = source_of(scene(path))
    target = Grid.of(UTM33, source.grid.left, source.grid.top, 80.0, 8, 8)

    highest = source.read(target, target.window, {}, "max")

    assert highest.values[0, 0, 1, 1] == 200


@pytest.mark.parametrize("size", [(512, 512), (511, 509), (333, 251)])
def test_overviews_do_not_shift_pixels(tmp_path: Path, size: tuple[int, int]):
    """A ramp of map coordinates must read the same at every level, to a fraction of a pixel."""
    grid = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, *size)
    xs, ys = np.meshgrid(grid.xs(grid.window) - 500_000, 5_000_000 - grid.ys(grid.window))
    path = write_tif(
        tmp_path / "ramp.tif", np.stack([xs, ys]).astype(np.float32), overviews=(2, 4, 8),
    )  # fmt: skip
    source = source_of(scene(path, ("x", "y")), bands=("x", "y"))

    for pixel in (20.0, 40.0, 80.0):
        target = Grid.of(UTM33, 500_000.0 + 4 * pixel, 5_000_000.0 - 4 * pixel, pixel, 12, 9)
        cube = source.read(target, target.window, {}, "bilinear")
        wanted_x = target.xs(target.window) - 500_000
        wanted_y = 5_000_000 - target.ys(target.window)
        # The last overview column of an odd width is narrower than the others, and GDAL spreads
        # the difference: up to half a level's pixel over the width.
        slack = pixel * 0.5 * 2 * 12 / min(size) * 8 + 1e-2
        assert np.abs(cube.values[0, 0] - wanted_x).max() < max(slack, 1e-2)
        assert np.abs(cube.values[0, 1] - wanted_y[:, None]).max() < max(slack, 1e-2)


def test_no_data_does_not_bleed_out_of_overviews(tmp_path: Path):
    pixels = np.full((256, 256), 1000, np.uint16)
    pixels[:, 100:] = 0
    path = write_tif(tmp_path / "a.tif", pixels, nodata=0, overviews=(2, 4))
    source = source_of(scene(path))

    for method in ("near", "bilinear", "cubic", "average"):
        grid = mercator_of(source.grid, 45.0, 80)
        cube = source.read(grid, grid.window, {}, method)
        assert set(np.unique(cube.values[cube.valid])) == {1000}


def test_each_item_has_its_own_scale_and_offset(tmp_path: Path):
    reflectance = field(60, 60, 3)
    old = write_tif(tmp_path / "old.tif", reflectance, nodata=0)
    new = write_tif(tmp_path / "new.tif", reflectance + np.uint16(1000), nodata=0)
    source = source_of(
        scene(old, day=0, scale=0.0001), scene(new, day=1, scale=0.0001, offset=-0.1)
    )

    cube = native(source)

    assert cube.dtype == np.float32
    assert source.probe.dtype == np.float32
    np.testing.assert_array_equal(
        cube.values[0, 0], reflectance.astype(np.float32) * np.float32(0.0001)
    )
    np.testing.assert_allclose(cube.values[0], cube.values[1], atol=2e-7)


def test_bands_of_different_types_and_sizes_share_a_cube(tmp_path: Path):
    fine = scene(write_tif(tmp_path / "fine.tif", field(100, 100)), ("B04",))
    classes = (field(50, 50) % 12).astype(np.uint8)
    coarse = scene(
        write_tif(
            tmp_path / "scl.tif", classes, transform=Affine(20, 0, 500_000, 0, -20, 5_000_000)
        ),
        ("SCL",),
    )
    item = replace(fine, bands=(*coarse.bands, *fine.bands))

    source = source_of(item, bands=("B04", "SCL"))
    cube = native(source)

    assert source.grid.pixel_x == 10
    assert cube.dtype == np.uint16
    np.testing.assert_array_equal(cube.values[0, 1], classes.repeat(2, 0).repeat(2, 1))


def test_a_band_that_an_item_lacks_is_no_data(tmp_path: Path):
    one = scene(write_tif(tmp_path / "a.tif", np.stack([field(30, 30)] * 2)), ("B1", "B2"), day=0)
    two = scene(write_tif(tmp_path / "b.tif", field(30, 30)), ("B1",), day=1)

    cube = native(source_of(one, two, bands=("B1", "B2")))

    assert cube.valid[:, 0].all()
    assert cube.valid[0, 1].all()
    assert not cube.valid[1, 1].any()
    with pytest.raises(BandNotFound, match="B1"):
        source_of(one, two, bands=("B9",))
    with pytest.raises(NoDataAvailable):
        source_of()


def test_given_no_data_wins_over_the_files(tmp_path: Path):
    pixels = field(40, 40)
    pixels[:5], pixels[5:9] = 7, 0
    path = write_tif(tmp_path / "a.tif", pixels, nodata=0)

    cube = native(source_of(scene(path, nodata=7)))

    np.testing.assert_array_equal(cube.valid[0, 0], pixels != 7)


def test_items_of_one_solar_day_are_one_label(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(20, 20))
    evening = datetime(2020, 6, 1, 23, 50, tzinfo=UTC)
    chatham = (178.0, -45.0, 179.0, -44.0)
    items = [
        scene(path, name="b", time=evening, bbox=chatham),
        scene(path, name="a", time=evening + timedelta(minutes=20), bbox=chatham),
        scene(path, name="d", time=NOON, bbox=(10.0, 40.0, 11.0, 41.0)),
        scene(path, name="c", time=NOON, bbox=(10.0, 40.0, 11.0, 41.0)),
    ]

    source = source_of(*items)

    assert [source.items_of({"t": (at,)}) for at in range(2)] == [("c", "d"), ("b", "a")]
    assert tuple(source.items) == ("c", "d", "b", "a")


def test_equal_instants_on_both_sides_of_the_antimeridian_are_one_label(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(20, 20))
    noon = datetime(2020, 6, 1, 12, 0, tzinfo=UTC)
    items = [
        scene(path, name="east", time=noon, bbox=(178.0, 0.0, 179.0, 1.0)),
        scene(path, name="west", time=noon, bbox=(-179.0, 0.0, -178.0, 1.0)),
    ]

    source = source_of(*items)

    assert source.items_of({"t": (0,)}) == tuple(source.items) == ("east", "west")


def test_equal_timestamps_are_read_in_the_order_of_ids(tmp_path: Path):
    for name, value in (("b", 20), ("a", 10), ("c", 30)):
        pixels = np.full((20, 20), value, np.uint8)
        if name == "a":
            pixels[:, :5] = 0
        write_tif(tmp_path / f"{name}.tif", pixels, nodata=0)

    source = source_of(*(scene(tmp_path / f"{name}.tif") for name in "cba"))
    cube = native(source)

    assert cube.dimension("t").labels == ("2020-06-01T10:30:00Z",)
    np.testing.assert_array_equal(np.unique(cube.values[..., :5]), [20])
    np.testing.assert_array_equal(np.unique(cube.values[..., 5:]), [10])


def test_a_sinusoidal_source_is_read_on_a_mercator_tile(tmp_path: Path):
    grid = Grid.of(crs_name(SINUSOIDAL), 1_100_000.0, 5_100_000.0, 100.0, 300, 300)
    xs, _ = np.meshgrid(grid.xs(grid.window) - grid.left, grid.ys(grid.window))
    path = write_tif(
        tmp_path / "sinu.tif", xs.astype(np.float32), crs=SINUSOIDAL,
        transform=Affine(100, 0, grid.left, 0, -100, grid.top),
    )  # fmt: skip
    source = source_of(scene(path))
    target = mercator_of(grid, 90.0, 64)

    cube = source.read(target, target.window, {}, "bilinear")

    tx, ty = np.meshgrid(target.xs(target.window), target.ys(target.window))
    wanted = transformer("EPSG:3857", grid.crs).transform(tx, ty)[0] - grid.left
    assert cube.valid.all()
    np.testing.assert_allclose(cube.values[0, 0], wanted, atol=0.5)


def test_unread_items_are_told_once_and_are_no_data(tmp_path: Path):
    good = write_tif(tmp_path / "good.tif", field(128, 128, 1))
    bad = write_tif(tmp_path / "bad.tif", field(128, 128, 2))
    items = [scene(good, day=0), scene(bad, day=1)]
    whole = source_of(*items)
    bad.write_bytes(bad.read_bytes()[:-3000])
    told: list[SourceUnreadable] = []
    lenient = RasterSource.of(items, ["B"], reader=fresh_reader(), on_bad=told.append)

    with pytest.raises(SourceUnreadable, match="'bad'"):
        native(whole)
    once = native(lenient)
    parts = [lenient.read(lenient.grid, window, {}, "near") for window in lenient.extent.blocks(50)]

    assert [error.item for error in told] == ["bad"]
    assert [error.item for error in lenient.bad] == ["bad"]
    assert once.valid[0].all()
    assert not once.valid[1].all()
    for part in parts:
        np.testing.assert_array_equal(part.valid, once.crop(part.window).valid)


def test_a_file_that_is_gone_is_told_and_no_data(tmp_path: Path):
    good = scene(write_tif(tmp_path / "good.tif", field(50, 50, 1)), day=0)
    gone = scene(tmp_path / "gone.tif", day=1)
    told: list[SourceUnreadable] = []

    source = RasterSource.of([good, gone], ["B"], reader=fresh_reader(), on_bad=told.append)
    cube = native(source)

    assert [error.item for error in told] == ["gone"]
    assert not cube.valid[1].any()


def test_items_beside_the_window_are_not_opened(tmp_path: Path):
    near = scene(write_tif(tmp_path / "near.tif", field(50, 50)), day=0)
    far = write_tif(
        tmp_path / "far.tif", field(50, 50), transform=Affine(10, 0, 600_000, 0, -10, 5_000_000)
    )
    source = source_of(near, scene(far, day=1))
    far.unlink()
    window = Window(0, 0, 50, 50)

    for grid in (source.grid, mercator_of(source.grid.crop(window), 20.0, 30)):
        cost = source.cost(grid, window, {}, "near")
        cube = source.read(grid, window, {}, "near")

        assert cost.items == 1
        assert cube.valid[0].any()
        assert not cube.valid[1].any()


def test_cost_opens_nothing_and_is_about_what_is_read(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", np.stack([field(600, 600)] * 3), overviews=(2, 4))
    source = source_of(scene(path, ("B1", "B2", "B3")), bands=("B1", "B3"))
    path.rename(tmp_path / "moved.tif")

    for pixel in (10.0, 25.0, 50.0):
        grid = mercator_of(source.grid, pixel, 100)
        cost = source.cost(grid, grid.window, {"bands": (1,)}, "bilinear")
        (tmp_path / "moved.tif").rename(path)
        before = source.reader.cache.counts.pixels_requested
        source.read(grid, grid.window, {"bands": (1,)}, "bilinear")
        read = source.reader.cache.counts.pixels_requested - before
        path.rename(tmp_path / "moved.tif")

        assert cost.items == 1
        assert cost.bytes == cost.pixels * 2
        assert cost.pixels == pytest.approx(read, rel=0.25)


def test_little_more_is_read_than_needed(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(1200, 1200), overviews=(2, 4))
    source = source_of(scene(path))

    for method in ("near", "bilinear", "cubic"):
        ratio = 1 / np.cos(np.radians(45.1))
        grid = mercator_of(source.grid, 10.0 * ratio, 256)
        before = source.reader.cache.counts.pixels_requested
        cube = source.read(grid, grid.window, {}, method)
        read = source.reader.cache.counts.pixels_requested - before

        assert cube.valid.all()
        assert read <= 1.5 * 256 * 256


def test_threads_give_the_same_pixels(overlapping: RasterSource):
    grid = mercator_of(overlapping.grid, 30.0, 100)
    alone = overlapping.read(grid, grid.window, {}, "cubic")

    with ThreadPoolExecutor(4) as pool:
        source = replace(overlapping, run=pool.map)
        cubes = list(pool.map(
            lambda _: overlapping.read(grid, grid.window, {}, "cubic"), range(8)
        ))  # fmt: skip
        cubes.append(source.read(grid, grid.window, {}, "cubic"))

    for cube in cubes:
        np.testing.assert_array_equal(cube.values, alone.values)


def test_a_source_can_be_sent_to_another_process(overlapping: RasterSource):
    sent = pickle.loads(pickle.dumps(overlapping))  # noqa: S301 - ours

    np.testing.assert_array_equal(native(sent).values, native(overlapping).values)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_tiles_agree_with_rio_tiler(shared: Path):
    path = shared / "data/localtileserver_cogs/landsat.tif"
    source = source_of(scene(path, ("B1", "B2", "B3")), bands=("B1", "B2", "B3"))
    levels, zoom = web_mercator(256), 12
    grid = levels.grid(zoom)
    window = grid.window_of(source.grid.to_bounds(source.extent, "EPSG:3857"))
    x, y = (window.col + window.width // 2) // 256, (window.row + window.height // 2) // 256

    cube = source.read(grid, levels.window(zoom, x, y), {}, "near")
    with Reader(str(path)) as reader:
        theirs = reader.tile(x, y, zoom, indexes=(1, 2, 3), resampling_method="nearest")

    # rio-tiler resamples twice, so that half a pixel of difference is no surprise.
    assert cube.valid.all()
    assert theirs.data.shape == cube.values[0].shape
    near = np.abs(cube.values[0].astype(int) - theirs.data)
    assert near.mean() < 0.03 * cube.values.mean()


def test_tiles_equal_an_exact_warp(shared: Path):
    path = shared / "data/localtileserver_cogs/landsat.tif"
    source = source_of(scene(path, ("B1",)), bands=("B1",))
    grid = mercator_of(source.grid, 38.2, 256)
    wanted = np.zeros((256, 256), np.uint8)
    with rasterio.open(path) as file:
        reproject(
            rasterio.band(file, 1), wanted, dst_crs="EPSG:3857", tolerance=0.0,
            dst_transform=Affine(38.2, 0, grid.left, 0, -38.2, grid.top),
            resampling=Resampling.nearest,
        )  # fmt: skip

    cube = source.read(grid, grid.window, {}, "near")

    assert (cube.values[0, 0] == wanted).mean() > 0.999


def test_average_overviews_need_no_special_case(tmp_path: Path):
    path = write_tif(
        tmp_path / "a.tif", field(512, 512), overviews=(2, 4), resampling=Resampling.nearest
    )
    source = source_of(scene(path))
    target = Grid.of(UTM33, source.grid.left, source.grid.top, 40.0, 128, 128)

    cube = source.read(target, target.window, {}, "near")
    level, _ = source.reader.read_window(
        source.near(source.grid, source.extent, {})[0][0].bands[0].asset,
        2,
        [1],
        Window(0, 0, 128, 128),
    )

    np.testing.assert_array_equal(cube.values[0], level)
