"""Remote files: few requests, many at a time, and ahead of their use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.storage.files import NOON, UTM33, field, fresh_reader, write_tif
from tests.storage.served import serving

from terrazzo.cube import PrefetchSource
from terrazzo.geo.grid import Grid, Window
from terrazzo.storage import fetching
from terrazzo.storage.gate import Gate
from terrazzo.storage.source import AssetBand, RasterSource, SceneItem
from terrazzo.storage.tiles import _rectangles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.storage.served import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    for day in range(4):
        pixels = np.random.default_rng(day).integers(1, 9999, (640, 640)).astype(np.uint16)
        write_tif(folder / f"{day}.tif", pixels)
    pixels = np.stack([field(200, 200, n) for n in range(3)])
    write_tif(folder / "three.tif", pixels, interleave="band")
    write_tif(folder / "together.tif", pixels, interleave="pixel")
    mask = np.tile(np.array([0, 255], np.uint8), (200, 100))
    write_tif(folder / "masked.tif", pixels[0], mask=mask, overviews=(2,))
    with serving(folder) as told:
        yield told


def source_of(
    server: Server, names: Sequence[str], bands: Sequence[str] = ("B",), *, remote: bool = True
) -> RasterSource:
    """Return images of the server, or the same from disk."""
    gate = Gate((server.folder,), (server.host,))
    items = []
    for day, name in enumerate(names):
        href = f"http://{server.host}/{name}.tif" if remote else str(server.folder / f"{name}.tif")
        asset = gate.open_name(href, item=name, asset="image")
        found = tuple(AssetBand(band, asset, i) for i, band in enumerate(bands, 1))
        time_of = NOON.replace(day=1 + day)
        items.append(SceneItem(name, time_of, found))
    return RasterSource.of(items, bands, reader=fresh_reader())


@pytest.mark.parametrize(
    ("name", "bands"),
    [("0", 1), ("three", 3), ("together", 3), ("masked", 1)],
)
def test_remote_pixels_are_those_of_the_file(server: Server, name: str, bands: int):
    names = [f"B{n}" for n in range(bands)]
    remote = source_of(server, [name], names)
    local = source_of(server, [name], names, remote=False)
    grid = Grid.of(UTM33, 500_000.0, 5_000_000.0, 13.0, 140, 140)

    for window in (Window(0, 0, 10, 10), Window(5, 7, 60, 90), grid.window):
        for method in ("near", "bilinear"):
            found = remote.read(grid, window, {}, method)
            wanted = local.read(grid, window, {}, method)
            np.testing.assert_array_equal(found.values, wanted.values)
            np.testing.assert_array_equal(found.valid, wanted.valid)


def test_neighbouring_tiles_come_in_few_requests(server: Server):
    source = source_of(server, ["0"])
    server.log()

    source.read(source.grid, Window(64, 64, 512, 512), {}, "near")

    assert source.reader.cache.counts.tiles_decoded == 64
    assert len(server.log().ranges) <= 8


def test_only_the_tiles_that_are_missing_are_fetched(server: Server):
    source = source_of(server, ["0"])
    source.read(source.grid, Window(0, 0, 320, 640), {}, "near")
    before = server.log().ranges

    source.read(source.grid, Window(0, 0, 384, 640), {}, "near")

    assert source.reader.cache.counts.tiles_decoded == 60
    fetched = server.log().ranges
    assert len(fetched) == 1
    assert fetched[0][1] > max(last for _, _, last in before)


def test_dates_are_fetched_side_by_side(server: Server):
    source = source_of(server, ["0", "1", "2", "3"])
    server.log(delay_s=0.05)

    cube = source.read(source.grid, Window(100, 100, 64, 64), {}, "near")
    reading = server.log(delay_s=0.05)
    planes = source.planes(source.grid, Window(300, 300, 64, 64), {})

    assert reading.most_busy >= 3
    assert server.log().most_busy >= 3
    assert cube.valid.all()
    assert len(planes) == 4


def settled() -> None:
    """Wait until nothing is read ahead any more."""
    for _ in range(fetching.AHEAD_AT_ONCE):
        assert fetching._slots.acquire(timeout=30)
    for _ in range(fetching.AHEAD_AT_ONCE):
        fetching._slots.release()


def test_what_is_read_ahead_is_not_fetched_again(server: Server):
    source = source_of(server, ["0", "1", "masked"])
    grid = source.grid
    assert isinstance(source, PrefetchSource)

    source.prefetch(grid, Window(0, 0, 128, 128), {}, "near")
    settled()
    server.log()
    decoded = source.reader.cache.counts.tiles_decoded
    cube = source.read(grid, Window(0, 0, 128, 128), {}, "near")

    assert server.log().ranges == []
    assert source.reader.cache.counts.tiles_decoded == decoded
    assert cube.values.any()


def test_reading_ahead_fills_a_share_of_the_cache_only(server: Server):
    source = source_of(server, ["0", "1", "2", "3"])
    small = fresh_reader(cache_bytes=2 * 640 * 640 * 2)
    source = replace(source, reader=small)

    source.prefetch(source.grid, source.extent, {}, "near")
    settled()

    assert small.cache.bytes_held <= small.cache.max_bytes / fetching.SHARE_AHEAD


def test_reading_ahead_never_raises_and_leaves_local_files_alone(server: Server):
    local = source_of(server, ["0"], remote=False)
    gone = replace(source_of(server, ["0"]), reader=fresh_reader())
    (group,) = gone.groups
    lost = replace(
        group[0].bands[0],
        header=None,
        asset=Gate((), (server.host,)).open_name(f"http://{server.host}/lost.tif"),
    )
    gone = replace(gone, groups=((replace(group[0], bands=(lost,)),),))

    for source in (local, gone):
        source.prefetch(source.grid, Window(0, 0, 64, 64), {}, "near")
        source.prefetch(source.grid, Window(0, 0, 0, 0), {}, "near")
    settled()

    assert local.reader.cache.bytes_held == 0
    assert gone.reader.cache.bytes_held == 0


def test_tiles_are_grouped_to_rectangles_without_gaps():
    random = np.random.default_rng(0)
    for _ in range(50):
        chosen = {(int(r), int(c)) for r, c in random.integers(0, 6, (random.integers(1, 30), 2))}
        tiles = [Window(r * 10, c * 20, 10, 20) for r, c in sorted(chosen)]

        areas = list(_rectangles(tiles))

        assert sorted((t.row, t.col) for _, inside in areas for t in inside) == sorted(
            (t.row, t.col) for t in tiles
        )
        for area, inside in areas:
            assert area.pixels == sum(tile.pixels for tile in inside)
            assert all(area.contains(tile) for tile in inside)


def test_a_whole_block_of_tiles_is_one_rectangle():
    tiles = [Window(r * 10, c * 20, 10, 20) for r in range(4) for c in range(5)]

    ((area, inside),) = _rectangles(tiles)

    assert area == Window(0, 0, 40, 100)
    assert len(inside) == 20
