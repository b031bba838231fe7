"""Each internal tile is decoded once per run where memory allows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.storage.files import UTM33, field, fresh_reader, scene, write_tif

from terrazzo.geo.grid import Grid
from terrazzo.spans import recorded
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from pathlib import Path

EDGE, TILE, DATES, BLOCK, HALO = 640, 64, 3, 256, 5
TILES = (EDGE // TILE) ** 2
TILE_BYTES = TILE * TILE * 2
ROW_OF_BLOCKS = (BLOCK // TILE + 2) * (EDGE // TILE) * DATES * TILE_BYTES
"""What a row of blocks with its halo touches, all dates: a run needs so much of the cache."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("decoding")
    for day in range(DATES):
        write_tif(made / f"{day}.tif", field(EDGE, EDGE, day), nodata=0, overviews=(2,))
    return made


def source_of(folder: Path, cache_bytes: int) -> RasterSource:
    items = [scene(folder / f"{day}.tif", day=day) for day in range(DATES)]
    return RasterSource.of(items, ("B",), reader=fresh_reader(cache_bytes=cache_bytes))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("planes", [False, True])
def test_a_run_decodes_each_tile_once(folder: Path, workers: int, planes: bool):
    source = source_of(folder, ROW_OF_BLOCKS + ROW_OF_BLOCKS // 2)
    blocks = [block.grown(HALO, HALO) for block in source.extent.blocks(BLOCK)]

    with ThreadPoolExecutor(workers) as pool:
        if planes:
            list(pool.map(lambda block: source.planes(source.grid, block, {}), blocks))
        else:
            list(pool.map(lambda block: source.read(source.grid, block, {}, "near"), blocks))

    counts = source.reader.cache.counts
    assert counts.tiles_decoded == DATES * TILES
    assert counts.bytes_decoded == DATES * EDGE * EDGE * 2
    assert source.reader.cache.bytes_held <= source.reader.cache.max_bytes


def test_a_run_whose_rows_do_not_fit_decodes_halos_again_and_gives_the_same(folder: Path):
    small, large = source_of(folder, ROW_OF_BLOCKS // 8), source_of(folder, 10 * ROW_OF_BLOCKS)

    for block in large.extent.blocks(BLOCK):
        window = block.grown(HALO, HALO)
        found = small.read(small.grid, window, {}, "near")
        wanted = large.read(large.grid, window, {}, "near")
        np.testing.assert_array_equal(found.values, wanted.values)
        np.testing.assert_array_equal(found.valid, wanted.valid)

    assert large.reader.cache.counts.tiles_decoded == DATES * TILES
    assert small.reader.cache.counts.tiles_decoded > DATES * TILES


def test_images_smaller_than_a_tile_are_inflated_without_gdal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pixels = field(50, 90, 1)
    options = {"blockxsize": 128, "blockysize": 128, "nodata": 0, "predictor": 2}
    source = RasterSource.of(
        [scene(write_tif(tmp_path / "small.tif", pixels, **options))], ("B",), reader=fresh_reader()
    )

    def refuse(*_: object) -> None:
        raise AssertionError("GDAL decoded a tile")

    monkeypatch.setattr("terrazzo.storage.tiles._decode", refuse)
    found = source.read(source.grid, source.extent, {}, "near")

    np.testing.assert_array_equal(np.squeeze(found.values), np.squeeze(pixels))
    assert source.reader.cache.counts.bytes_decoded == pixels.nbytes


def test_neighbouring_tiles_of_another_projection_decode_each_tile_once(folder: Path):
    source = source_of(folder, 10 * ROW_OF_BLOCKS)
    left, bottom, right, top = source.grid.to_bounds(source.extent, "EPSG:3857")
    grid = Grid.of_bounds("EPSG:3857", (left, bottom, right, top), 14.5)

    for method in ("near", "bilinear"):
        for tile in grid.window.blocks(128):
            source.read(grid, tile, {}, method)

    assert source.reader.cache.counts.tiles_decoded <= DATES * TILES


def test_spans_tell_what_was_opened_decoded_and_put_together(folder: Path):
    with recorded() as seen:
        source = source_of(folder, 10 * ROW_OF_BLOCKS)
        source.read(source.grid, source.extent, {}, "near")

    assert {"open", "decode", "assemble", "warp"} <= set(seen.spent)
    assert seen.counts["tiles_decoded"] == DATES * TILES
    assert seen.counts["bytes_decoded"] == DATES * EDGE * EDGE * 2
    assert seen.counts["pixels_decoded"] == DATES * EDGE * EDGE
    assert seen.counts["pixels_requested"] == DATES * EDGE * EDGE


def test_a_price_is_the_same_however_often_it_is_asked(folder: Path):
    source = source_of(folder, ROW_OF_BLOCKS)
    grid = Grid.of(UTM33, 500_000.0, 5_000_000.0, 20.0, 320, 320)

    for window in source.extent.blocks(100):
        for labels in ({}, {"t": (1,)}, {"t": (0, 2), "bands": (0,)}):
            first = source.cost(grid, window, labels, "near"), source.version(grid, window, labels)
            again = source.cost(grid, window, labels, "near"), source.version(grid, window, labels)
            fresh = source_of(folder, ROW_OF_BLOCKS)
            assert first == again
            assert first[0] == fresh.cost(grid, window, labels, "near")
            assert first[1] == fresh.version(grid, window, labels)
            assert first[0].items <= len(labels.get("t", range(DATES)))
