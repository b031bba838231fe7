"""Tiles that are boxes of a file: their names and places are the file's, their pixels a run's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from tests.drivers.scenes import job_of
from tests.drivers.test_tile_grids import at, brightest, read, tiffs

from terrazzo.cli import main
from terrazzo.drivers import batch
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.job import Job
from terrazzo.drivers.ordered import read_order
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.tiling.run import run
from terrazzo.drivers.tiling.squares import squares_of
from terrazzo.errors import ArgumentInvalid, AssetForbidden, RunDiffers

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry
    from tests.drivers.scenes import Scenes

LEFT, TOP = 598_000.0, 5_101_000.0
BOXES = {
    "vår-1": shapely.box(LEFT + 2000, TOP - 4000, LEFT + 5000, TOP - 2000),
    "b_2.x": shapely.box(LEFT + 4500, TOP - 3500, LEFT + 6500, TOP - 500),  # it overlaps the first
    "far": shapely.box(LEFT - 90_000, TOP, LEFT - 88_000, TOP + 2000),
}


def drawn(path: Path, boxes: dict[Any, BaseGeometry], column: str = "name") -> Path:
    table = geopandas.GeoDataFrame({column: list(boxes)}, geometry=list(boxes.values()), crs=32633)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path)
    return path


def on_boxes(scenes: Scenes, folder: Path, text: str, **options: Any):
    job = Job(job_of(brightest()).document, resolution=10.0)
    return run(job, scenes.workspace, folder, squares_of(text, 10.0), block=100, **options)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".shp", ".geojson"])
def test_a_named_box_has_the_pixels_of_a_run_at_its_place(
    scenes: Scenes, tmp_path: Path, suffix: str
):
    path = drawn(tmp_path / f"boxes{suffix}", BOXES)

    made = on_boxes(scenes, tmp_path / "tiles", f"own:{path}", assemble=True)

    (plain,) = batch.run(job_of(brightest()), scenes.workspace, tmp_path / "plain").assets
    tiles = [one for one in made.assets if one.path.parent.name != "assembled"]
    assert [one.path.parent.name for one in tiles] == ["vår-1", "b_2.x"]
    for one in made.assets:
        pixels, bounds = read(one.path)
        if one in tiles:
            assert tuple(bounds) == BOXES[one.path.parent.name].bounds
            np.testing.assert_array_equal(pixels, at(plain.path, bounds))
            assert np.isfinite(pixels).any()
    assert not (tmp_path / "tiles" / "tiles" / "far").exists()


def test_the_column_is_told_and_workers_find_the_file(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn(tmp_path / "a:b.gpkg", {7: BOXES["vår-1"], 8: BOXES["b_2.x"]}, "label")
    graph = tmp_path / "graph.json"
    graph.write_text(job_of(brightest()).document)
    monkeypatch.chdir(tmp_path)
    command = ["--home", str(scenes.workspace.home), "run", str(graph), "--resolution", "10",
               "--tiles", "own:a:b.gpkg:label", "--block", "100"]  # fmt: skip

    by_processes = [*command, "-o", "out", "--executor", "processes", "--workers", "2"]
    told = CliRunner().invoke(main, by_processes)
    written = [*command, "-o", "there", "--executor", "slurm", "--script-only"]
    script = CliRunner().invoke(main, written)

    assert told.exit_code == 0, told.output
    paths = [Path(json.loads(line)["path"]) for line in told.stdout.splitlines()]
    assert sorted(path.parent.name for path in paths) == ["7", "8"]
    assert script.exit_code == 0, script.output
    order = read_order(FolderDepot(tmp_path / "there"))
    assert order.by.told()["tiles"] == f"own:{tmp_path}/a:b.gpkg:label"
    monkeypatch.chdir("/")
    on_boxes(scenes, tmp_path / "again", order.by.told()["tiles"], pool=Pool("threads", 1))
    assert tiffs(tmp_path / "again") == tiffs(tmp_path / "out")


def test_boxes_that_were_moved_are_another_run_and_those_that_lie_elsewhere_are_not(
    scenes: Scenes, tmp_path: Path
):
    path = drawn(tmp_path / "boxes.gpkg", BOXES)
    on_boxes(scenes, tmp_path / "out", f"own:{path}")

    copy = drawn(tmp_path / "copy.parquet", BOXES)
    again = on_boxes(scenes, tmp_path / "out", f"own:{copy}")
    moved = {**BOXES, "far": shapely.box(LEFT, TOP, LEFT + 10, TOP + 10)}

    assert again.resumed == again.blocks == 2
    with pytest.raises(RunDiffers):
        on_boxes(scenes, tmp_path / "out", f"own:{drawn(tmp_path / 'moved.gpkg', moved)}")


CORNERS = [(LEFT, TOP), (LEFT + 100, TOP), (LEFT + 100, TOP - 100), (LEFT, TOP - 100)]
HOLE = [(LEFT + 20, TOP - 20), (LEFT + 50, TOP - 20), (LEFT + 50, TOP - 50)]


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ({"a": shapely.Polygon(CORNERS[:3])}, "no box"),
        ({"a": shapely.Polygon([*CORNERS[:3], (LEFT + 50, TOP - 50)])}, "no box"),
        ({"a": shapely.Polygon(CORNERS, [HOLE])}, "no box"),
        ({"a": shapely.box(LEFT, TOP, LEFT + 100, TOP + 105)}, "whole pixels"),
        ({"a": BOXES["far"], "b": shapely.box(LEFT + 3, TOP, LEFT + 103, TOP + 9)}, "whole pixels"),
        ({"a": shapely.Point(LEFT, TOP)}, "no box"),
        ({"../x": BOXES["far"]}, "cannot name a tile"),
        ({"/x": BOXES["far"]}, "cannot name a tile"),
        ({"..": BOXES["far"]}, "cannot name a tile"),
        ({"a b": BOXES["far"]}, "cannot name a tile"),
        ({"": BOXES["far"]}, "cannot name a tile"),
        ({None: BOXES["far"]}, "cannot name a tile"),
        ({float("nan"): BOXES["far"]}, "cannot name a tile"),
        ({"x" * 101: BOXES["far"]}, "cannot name a tile"),
        ({"\u5730" * 70: BOXES["far"]}, "cannot name a tile"),  # 210 bytes
        ({"Collection": BOXES["far"]}, "cannot name a tile"),
        ({"A": BOXES["far"], "a": BOXES["vår-1"]}, "cannot name a tile"),
    ],
)  # fmt: skip
def test_what_is_no_box_or_has_no_name_of_its_own_is_refused(
    tmp_path: Path, boxes: dict[Any, BaseGeometry], said: str
):
    path = drawn(tmp_path / "boxes.parquet", boxes)

    with pytest.raises(ArgumentInvalid, match=said):
        squares_of(f"own:{path}", 10.0)


def test_a_box_is_known_by_its_outline_and_not_by_its_points(tmp_path: Path):
    ring = shapely.segmentize(shapely.box(0, 0, 100, 200), 30)
    path = drawn(tmp_path / "boxes.parquet", {"a": shapely.MultiPolygon([ring])})

    grid = squares_of(f"own:{path}", 10.0)

    (tile,) = grid.tiles(grid.boxes[0].grid, grid.boxes[0].grid.window)
    assert (tile.grid.bounds, tile.grid.height, tile.grid.width) == ((0, 0, 100, 200), 20, 10)


def test_files_and_columns_that_are_not_there_are_told(tmp_path: Path):
    path = drawn(tmp_path / "boxes.gpkg", BOXES)
    (tmp_path / "boxes.txt").write_text("no boxes")

    for text, resolution, error, said in (
        (f"own:{path}", 0.0, ArgumentInvalid, "--resolution"),
        (f"own:{path}:label", 10.0, ArgumentInvalid, "label"),
        ("own:nowhere.gpkg", 10.0, ArgumentInvalid, "no file"),
        ("own:", 10.0, ArgumentInvalid, "no file"),
        (f"own:{tmp_path}/boxes.txt", 10.0, AssetForbidden, "txt"),
    ):
        with pytest.raises(error, match=said):
            squares_of(text, resolution)
