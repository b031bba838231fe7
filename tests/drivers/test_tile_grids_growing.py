"""Tiles of collections to which images are added, or from which they are taken, meanwhile."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.drivers.scenes import (
    COLLECTION,
    CRS,
    LEFT,
    TOP,
    Scenes,
    asset_of,
    callback,
    load,
    node,
    ref,
    register,
    write_cog,
)
from tests.drivers.test_tile_grids import at, brightest, on_grid, read, tiffs

from terrazzo.catalog import BandInfo, make_item
from terrazzo.drivers import batch
from terrazzo.drivers.described import checksum
from terrazzo.drivers.executors import Made
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.tiling import published
from terrazzo.drivers.tiling.work import Tilewise
from terrazzo.errors import RunIncomplete
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = "EPSG:32633,600000,5100000,64,10"
"""Squares that images of `small` fill."""


def yearly() -> dict[str, Any]:
    """Return the maximum of a band in each year."""
    return {
        "load": load(["B08"]),
        "top": node(
            "aggregate_temporal_period", True, data=ref("load"), period="year",
            reducer=callback("max"),
        ),
    }  # fmt: skip


def small(scenes: Scenes, *places: tuple[int, int, str]) -> None:
    """Add images that fill a square of SMALL, by its row down, its column and a date."""
    with scenes.workspace.catalog() as catalog:
        for row, col, date in places:
            name = f"{date}_{row}_{col}"
            grid = Grid.of(CRS, LEFT + 640 * col, TOP - 640 * row, 10.0, 64, 64)
            pixels = np.random.default_rng(len(name) + row + 7 * col + int(date[:4])).integers(
                1, 5000, (64, 64)
            )
            path = write_cog(scenes.folder / f"{name}_B08.tif", pixels.astype(np.uint16), grid)
            catalog.put_items([
                make_item(
                    name, COLLECTION, bbox=list(grid.to_bounds(grid.window, "EPSG:4326")),
                    datetime=f"{date}T10:00:00Z",
                    assets={"B08": asset_of(path, (BandInfo("B08"),), grid)},
                )
            ])  # fmt: skip


@pytest.fixture
def growing(tmp_path: Path) -> Scenes:
    """A collection without images that a test adds to, by `small`."""
    home = tmp_path / "growing"
    return Scenes(register(home, COLLECTION, {}, Grid.of(CRS, LEFT, TOP, 10.0, 64, 64)), home)


def test_workers_that_find_other_tiles_refuse_to_make_any(
    growing: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small(growing, (0, 0, "2020-05-12"), (0, 1, "2020-05-12"))
    sent = Tilewise.sent

    def late(work: Tilewise) -> Any:
        small(growing, (0, -1, "2020-05-12"))  # the run has its tiles, and no worker is there yet
        return sent(work)

    with monkeypatch.context() as patched:
        patched.setattr(Tilewise, "sent", late)
        with pytest.raises(RunIncomplete, match="other tiles"):
            on_grid(growing, tmp_path / "out", brightest(), SMALL, pool=Pool("processes", 1))

    made = on_grid(growing, tmp_path / "out", brightest(), SMALL, pool=Pool("processes", 1))
    names = {asset.path.parent.name for asset in made.assets}
    assert names == {"W001S001", "E000S001", "E001S001"}


def test_a_tile_whose_results_have_gone_is_told(
    growing: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small(growing, (0, 0, "2020-05-12"))
    monkeypatch.setattr(Tilewise, "make", lambda *_: Made(1))

    with pytest.raises(RunIncomplete, match="E000S001"):
        on_grid(growing, tmp_path, brightest(), SMALL)


def test_tiles_are_made_anew_when_the_collection_grows_or_shrinks(growing: Scenes, tmp_path: Path):
    small(growing, (0, 0, "2020-05-12"), (0, 1, "2020-05-12"))
    first = on_grid(growing, tmp_path / "out", yearly(), SMALL)
    small(growing, (0, 1, "2021-05-12"))

    grown = on_grid(growing, tmp_path / "out", yearly(), SMALL)

    on_grid(growing, tmp_path / "grown", yearly(), SMALL)
    assert len(grown.assets) > len(first.assets)
    assert tiffs(tmp_path / "out") == tiffs(tmp_path / "grown")
    with growing.workspace.catalog() as catalog:
        catalog.delete_items(COLLECTION, ["2021-05-12_0_1"])
    shrunk = on_grid(growing, tmp_path / "out", yearly(), SMALL)
    on_grid(growing, tmp_path / "shrunk", yearly(), SMALL)
    assert len(shrunk.assets) == len(first.assets)
    assert tiffs(tmp_path / "out") == tiffs(tmp_path / "shrunk")


def test_a_run_stopped_inside_a_tile_goes_on_after_an_image_was_added_far_away(
    growing: Scenes, tmp_path: Path
):
    small(growing, (0, 0, "2020-05-12"))
    image = growing.folder / "2020-05-12_0_0_B08.tif"
    content = image.read_bytes()
    image.write_bytes(content[:-4000] + b"\xff" * 4000)
    with pytest.raises(RunIncomplete):
        on_grid(growing, tmp_path / "out", brightest(), SMALL)
    assert (tmp_path / "out" / "tiles" / "E000S001" / "run.json").exists()
    image.write_bytes(content)
    small(growing, (9, 9, "2020-05-12"))

    on_grid(growing, tmp_path / "out", brightest(), SMALL)

    on_grid(growing, tmp_path / "calm", brightest(), SMALL)
    assert tiffs(tmp_path / "out") == tiffs(tmp_path / "calm")


def assembled(scenes: Scenes, folder: Path) -> int:
    """Assemble squares; return when the one file of the first year was written, after a check."""
    on_grid(scenes, folder, yearly(), SMALL, assemble=True)
    path = folder / "assembled" / "EPSG32633_result_2020.tif"
    pixels, bounds = read(path)
    tiles = list(folder.glob("tiles/*/result_2020.tif"))
    assert np.isfinite(pixels).sum() == 64 * 64 * len(tiles)
    for tile in tiles:
        inside, edges = read(tile)
        np.testing.assert_array_equal(inside, at(path, edges))
        assert bounds.left <= edges.left < edges.right <= bounds.right
    told = json.loads((folder / "stac" / "collection.json").read_text())["assets"][path.name]
    assert told["file:size"] == path.stat().st_size
    assert told["file:checksum"] == checksum(path)
    return path.stat().st_mtime_ns


def test_what_is_assembled_stays_while_its_tiles_do(growing: Scenes, tmp_path: Path):
    small(growing, (0, 0, "2020-05-12"), (0, 1, "2020-05-12"), (0, 2, "2020-05-12"))
    first = assembled(growing, tmp_path / "out")
    os.utime(growing.folder / "2020-05-12_0_0_B08.tif", (1, 1))

    remade = assembled(growing, tmp_path / "out")  # a tile of it, of the same pixels

    assert remade == first
    grid = Grid.of(CRS, LEFT + 640, TOP, 10.0, 64, 64)
    write_cog(growing.folder / "2020-05-12_0_1_B08.tif", np.full((64, 64), 7000, np.uint16), grid)
    changed = assembled(growing, tmp_path / "out")
    assert changed > first
    with growing.workspace.catalog() as catalog:
        catalog.delete_items(COLLECTION, ["2020-05-12_0_1"])
    fewer = assembled(growing, tmp_path / "out")  # in the same frame
    assert fewer > changed
    small(growing, (1, 1, "2020-05-12"))
    assert assembled(growing, tmp_path / "out") > fewer


def without(folder: Path) -> None:
    (folder / "EPSG32633_result_2020.tif").unlink()


def of_nothing(folder: Path) -> None:
    (folder / ".EPSG32633_result_2020.json").write_text("[]")


def without_note(folder: Path) -> None:
    (folder / ".EPSG32633_result_2020.json").unlink()


def cut_short(folder: Path) -> None:
    os.truncate(folder / "EPSG32633_result_2020.tif", 100)


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_tile_that_is_not_described_yet_when_it_is_killed_is_not_what_it_was(
    growing: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its file is another one already: nobody may take what was told of the former for true."""
    small(growing, (0, 0, "2020-05-12"), (0, 1, "2020-05-12"))
    first = assembled(growing, tmp_path / "out")
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 64, 64)
    write_cog(growing.folder / "2020-05-12_0_0_B08.tif", np.full((64, 64), 7000, np.uint16), grid)
    with monkeypatch.context() as patch:
        patch.setattr(batch, "describe", killed)
        with pytest.raises(KeyboardInterrupt):
            assembled(growing, tmp_path / "out")

    assert assembled(growing, tmp_path / "out") > first
    assembled(growing, tmp_path / "fresh")

    name = "assembled/EPSG32633_result_2020.tif"
    ours, fresh = (read(tmp_path / folder / name)[0] for folder in ("out", "fresh"))
    np.testing.assert_array_equal(ours, fresh)


@pytest.mark.parametrize(
    "lose", [without, of_nothing, without_note, cut_short], ids=lambda one: one.__name__
)
def test_what_is_not_there_or_not_known_is_assembled_anew(
    growing: Scenes, tmp_path: Path, lose: Callable[[Path], None]
):
    small(growing, (0, 0, "2020-05-12"), (0, 1, "2020-05-12"))
    first = assembled(growing, tmp_path / "out")
    lose(tmp_path / "out" / "assembled")

    assert assembled(growing, tmp_path / "out") > first


def of_years(folder: Path) -> dict[str, set[str]]:
    """Return the files of mosaics of a run, by their year; fails where STAC names others."""
    found = {
        path.relative_to(folder).as_posix()
        for below in ("tiles", "assembled")
        for path in folder.glob(f"{below}/*EPSG32633_result_*")
    }
    told = json.loads((folder / "stac" / "collection.json").read_text())["assets"]
    named = {asset["href"].removeprefix("../") for asset in told.values()}
    assert named <= found
    return {year: {name for name in found if year in name} for year in ("2020", "2021")}


def two_years(scenes: Scenes) -> None:
    small(scenes, (0, 0, "2020-05-12"), (0, 1, "2020-05-12"), (0, 1, "2021-05-12"))


def one_year_less(scenes: Scenes) -> None:
    with scenes.workspace.catalog() as catalog:
        catalog.delete_items(COLLECTION, ["2021-05-12_0_1"])


THEIRS = (
    "tiles/EPSG32633_result_2019.vrt", "tiles/EPSG32633_result_2019.gti.gpkg", "tiles/mine.vrt",
    "assembled/EPSG32633_result_2019.tif", "assembled/mine.tif",
)  # fmt: skip
"""Files of somebody else, some of them called as those of mosaics would be."""


def test_mosaics_of_a_year_without_tiles_are_deleted_and_nothing_of_others(
    growing: Scenes, tmp_path: Path
):
    two_years(growing)
    for name in THEIRS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"of somebody else")
    on_grid(growing, tmp_path, yearly(), SMALL, assemble=True)
    before = of_years(tmp_path)
    one_year_less(growing)

    on_grid(growing, tmp_path, yearly(), SMALL)  # what is assembled of 2020 may stay

    assert len(before["2020"]) == len(before["2021"]) == 4
    assert of_years(tmp_path) == {"2020": before["2020"], "2021": set()}
    assert {(tmp_path / name).read_bytes() for name in THEIRS} == {b"of somebody else"}


@pytest.mark.parametrize("at", ["_write_collection", "_write_items"])
def test_mosaics_that_a_killed_run_had_written_are_known_for_our_own(
    growing: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
):
    two_years(growing)
    with monkeypatch.context() as patch:
        patch.setattr(published, "_write_collection", killed)
        with pytest.raises(KeyboardInterrupt):
            on_grid(growing, tmp_path, yearly(), SMALL, assemble=True)
    assert (tmp_path / "assembled" / "EPSG32633_result_2021.tif").exists()
    one_year_less(growing)
    with monkeypatch.context() as patch:
        patch.setattr(published, at, killed)
        with pytest.raises(KeyboardInterrupt):
            on_grid(growing, tmp_path, yearly(), SMALL)

    on_grid(growing, tmp_path, yearly(), SMALL)

    assert of_years(tmp_path)["2021"] == set()


@pytest.mark.parametrize(
    "content", [b"no JSON", b"7", b'["EPSG32633_result_2021"]', b'{"../../precious": true}']
)
def test_a_note_of_mosaics_that_is_none_deletes_nothing(
    growing: Scenes, tmp_path: Path, content: bytes
):
    two_years(growing)
    precious = tmp_path / "precious.vrt"
    precious.write_bytes(b"of somebody else")
    on_grid(growing, tmp_path / "out", yearly(), SMALL)
    (tmp_path / "out" / "tiles" / ".mosaics.json").write_bytes(content)

    on_grid(growing, tmp_path / "out", yearly(), SMALL)

    assert precious.read_bytes() == b"of somebody else"
    one_year_less(growing)
    on_grid(growing, tmp_path / "out", yearly(), SMALL)
    assert of_years(tmp_path / "out")["2021"] == set()


def test_a_tile_names_the_images_that_it_may_be_made_of(growing: Scenes, tmp_path: Path):
    small(growing, (0, 0, "2020-05-12"), (0, 2, "2020-05-12"), (0, 2, "2021-05-12"))

    on_grid(growing, tmp_path, yearly(), SMALL)

    left, right = ["2020-05-12_0_0"], ["2020-05-12_0_2", "2021-05-12_0_2"]
    assert named_in(tmp_path) == {
        "E000S001": left, "E001S001": left + right, "E002S001": right, "collection": left + right,
    }  # fmt: skip


def named_in(folder: Path) -> dict[str, list[str]]:
    """Return the images that the items of each tile name, and the collection."""
    found = {}
    for path in (folder / "stac").glob("*.json"):
        told = json.loads(path.read_text())
        told = told.get("properties", told)
        name = next(
            (one for one in ("E000S001", "E001S001", "E002S001") if one in path.name), path.stem
        )
        images = told["terrazzo:sources"]["load"]
        assert found.setdefault(name, images) == images
    return found


def test_what_stages_find_is_made_of_all_images(growing: Scenes, tmp_path: Path):
    small(growing, (0, 0, "2020-05-12"), (0, 1, "2020-05-12"))
    nodes = yearly()
    del nodes["top"]["result"]
    nodes["trimmed"] = node("trim_cube", True, data=ref("top"))

    on_grid(growing, tmp_path, nodes, SMALL)

    assert named_in(tmp_path) == {
        name: ["2020-05-12_0_0", "2020-05-12_0_1"]
        for name in ("E000S001", "E001S001", "collection")
    }
