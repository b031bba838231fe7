"""Weights on disk: cell by cell the same as at once, found again, whole or not at all."""

from __future__ import annotations

import pickle
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pytest
import shapely

from terrazzo.drivers.extraction import placed, polygons
from terrazzo.drivers.extraction import weights as weighing
from terrazzo.drivers.extraction.weights import FOLDER, Weights
from terrazzo.errors import ArgumentInvalid, OutputFailed
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.runs import HOW, runs_of
from terrazzo.geo.shapes import mended

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.geo.runs import How, Runs

GRID = Grid.of(32632, 500_000.0, 5_000_000.0, 10.0, 1300, 1500)
WINDOW = Window(100, 50, 1100, 1400)


def fields(count: int = 60, seed: int = 1) -> list[shapely.Geometry]:
    """Stars of all sizes, some over many cells, some outside, beside points and lines."""
    random = np.random.default_rng(seed)
    found: list[shapely.Geometry] = []
    for number in range(count):
        x, y = random.uniform((499_000, 4_986_000), (516_000, 5_001_000))
        turns = np.linspace(0, 2 * np.pi, 9, endpoint=False)
        radii = random.uniform(5, 4000 if number % 10 == 0 else 200, 9)
        ring = np.stack([x + radii * np.cos(turns), y + radii * np.sin(turns)], axis=1)
        found.append(shapely.Polygon(ring))
    return [*found, shapely.Point(503_333, 4_995_555), found[10].exterior]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("block", [256, 512, 2048])
def test_cells_hold_what_is_there_at_once(tmp_path: Path, how, block: int) -> None:
    shapes = fields()

    weights = Weights.of(tmp_path, shapes, GRID, WINDOW, how=how, block=block, around=3)

    parts = [weights.runs(number).pixels for number in range(len(weights.cells))]
    whole = runs_of(mended(shapes)[0], GRID, WINDOW, how, around=3).pixels
    columns = ("polygon", "row", "col", "weight")
    mine = np.stack([np.concatenate([getattr(p, name) for p in parts]) for name in columns])
    theirs = np.stack([getattr(whole, name).astype(float) for name in columns])
    order = np.lexsort((mine[2], mine[1], mine[0]))
    expected = np.lexsort((theirs[2], theirs[1], theirs[0]))
    np.testing.assert_array_equal(mine[:, order], theirs[:, expected])


def test_every_pixel_lies_in_its_cell_and_cells_in_blocks(tmp_path: Path) -> None:
    weights = Weights.of(tmp_path, fields(), GRID, WINDOW, block=256)

    for number, cell in enumerate(weights.cells):
        found = weights.runs(number)
        assert found.window == cell
        assert WINDOW.intersection(cell) == cell
        assert cell.row // 256 == (cell.row_stop - 1) // 256
        assert cell.col // 256 == (cell.col_stop - 1) // 256
    assert len({(c.row // 256, c.col // 256) for c in weights.cells}) == len(weights.cells)


def test_what_is_known_of_polygons_is_the_same_for_any_block(tmp_path: Path) -> None:
    shapes = fields()
    found = [Weights.of(tmp_path, shapes, GRID, WINDOW, block=b) for b in (256, 768, 2048)]

    whole = runs_of(mended(shapes)[0], GRID, WINDOW)
    squares = np.bincount(whole.polygon, minlength=len(shapes))
    pixels = np.bincount(whole.pixels.polygon, minlength=len(shapes))
    for weights in found:
        np.testing.assert_array_equal(weights.fragments, squares)
        np.testing.assert_array_equal(weights.pixels, pixels)
        assert weights.total.tobytes() == found[0].total.tobytes()
    sums = np.bincount(whole.pixels.polygon, whole.pixels.weight, minlength=len(shapes))
    box = shapely.box(*GRID.bounds_of(WINDOW))
    inside = shapely.contains(box, mended(shapes)[0])
    assert inside.any()
    np.testing.assert_allclose(found[0].total[inside], sums[inside], rtol=1e-12)


def test_the_total_is_that_of_the_whole_shape_though_part_lies_outside(tmp_path: Path) -> None:
    shapes = fields()

    weights = Weights.of(tmp_path, shapes, GRID, WINDOW, block=256)

    here = weights.fragments > 0
    box = shapely.box(*GRID.bounds_of(WINDOW))
    assert (here & ~shapely.contains(box, np.array(shapes))).any()
    geometries = mended(shapes)[0]
    areas = here & (shapely.get_dimensions(geometries) == 2)
    np.testing.assert_allclose(
        weights.total[areas], shapely.area(geometries[areas]) / 100.0, rtol=1e-7
    )
    assert not weights.total[~here].any()


@pytest.mark.parametrize(("how", "whole"), [("exact", 50.0), ("centre", 6.0), ("touched", 6.0)])
def test_a_line_that_leaves_the_grid_has_its_whole_length(tmp_path: Path, how, whole) -> None:
    left, top = GRID.left, GRID.top
    line = shapely.LineString([(left - 25, top - 45), (left + 25, top - 45)])

    weights = Weights.of(tmp_path, [line], GRID, GRID.window, how=how)

    assert weights.pixels.tolist() == [3]
    assert weights.total.tolist() == pytest.approx([whole])


def test_a_point_at_the_border_has_a_whole_square(tmp_path: Path) -> None:
    left, top = GRID.left, GRID.top
    corner, both = shapely.Point(left + 5, top - 5), [(left + 5, top - 500), (left + 15, top - 500)]

    weights = Weights.of(tmp_path, [corner, shapely.MultiPoint(both)], GRID, GRID.window, around=3)

    assert weights.pixels.tolist() == [4, 9]
    assert weights.total.tolist() == pytest.approx([9.0, 12.0])


def test_the_last_cell_of_a_polygon_is_the_last_that_holds_it(tmp_path: Path) -> None:
    weights = Weights.of(tmp_path, fields(), GRID, WINDOW, block=256)

    last = np.full(len(weights.fragments), -1)
    for number in range(len(weights.cells)):
        last[weights.runs(number).polygon] = number
    np.testing.assert_array_equal(weights.last, last)
    assert (weights.last == -1).any()


def test_peaks_are_what_is_unfinished_on_the_way(tmp_path: Path) -> None:
    weights = Weights.of(tmp_path, fields(), GRID, WINDOW, block=256)

    held: set[int] = set()
    most = 0
    for number in range(len(weights.cells)):
        held |= set(weights.runs(number).polygon.tolist())
        held = {p for p in held if weights.last[p] > number}
        most = max(most, sum(int(weights.pixels[p]) for p in held))
    cells = [len(weights.runs(number).pixels.row) for number in range(len(weights.cells))]
    assert weights.peaks.pending_pixels == most
    assert weights.peaks.pixels == max(cells)


def test_neighbours_on_the_way_are_neighbours_on_the_map(tmp_path: Path) -> None:
    grid = Grid.of(32632, 500_000.0, 5_000_000.0, 10.0, 2048, 2048)
    cover = shapely.box(*grid.bounds)

    weights = Weights.of(tmp_path, [cover], grid, grid.window, block=256)

    assert len(weights.cells) == 64
    steps = [
        abs(a.row - b.row) + abs(a.col - b.col)
        for a, b in zip(weights.cells, weights.cells[1:], strict=False)
    ]
    assert set(steps) == {256}


def test_the_same_weights_are_computed_once(tmp_path: Path, monkeypatch) -> None:
    shapes = fields()
    first = Weights.of(tmp_path, shapes, GRID, WINDOW)
    monkeypatch.setattr("terrazzo.drivers.extraction.weights.runs_of", None)

    again = Weights.of(tmp_path, shapes, GRID, WINDOW)

    assert again.path == first.path
    assert again.cells == first.cells


def test_weights_of_another_version_are_not_used_again(tmp_path: Path, monkeypatch) -> None:
    shapes = gpd.GeoSeries([shapely.box(500_100, 4_999_000, 500_900, 4_999_900)], crs=GRID.crs)
    shapes.to_file(tmp_path / "p.gpkg")
    kept = polygons.take_in(tmp_path / "p.gpkg", tmp_path)
    first = placed.Placed(tmp_path, kept, "stamp").weights(GRID, WINDOW)
    again = placed.Placed(tmp_path, kept, "stamp").weights(GRID, WINDOW)

    for module in (placed, weighing):
        monkeypatch.setattr(module, "VERSION", weighing.VERSION + 1)
    other = placed.Placed(tmp_path, kept, "stamp").weights(GRID, WINDOW)

    assert again.path == first.path
    assert other.path != first.path


@pytest.mark.parametrize(
    "change",
    [{"how": "centre"}, {"block": 512}, {"around": 3}, {"window": GRID.window}, {"shapes": 59}],
)
def test_other_weights_are_others(tmp_path: Path, change) -> None:
    given = {"window": WINDOW, "shapes": 60, "how": "exact", "block": 1024, "around": 1}

    paths = [
        Weights.of(
            tmp_path, fields(g["shapes"]), GRID, g["window"], how=g["how"], block=g["block"],
            around=g["around"],
        ).path
        for g in (given, given | change)
    ]  # fmt: skip

    assert paths[0] != paths[1]


def test_a_broken_run_leaves_nothing_that_is_taken_for_weights(tmp_path: Path, monkeypatch) -> None:
    calls: list[Window] = []

    def failing(shapes: np.ndarray, grid: Grid, window: Window, how: How, **given: int) -> Runs:
        calls.append(window)
        if len(calls) > 2:
            raise MemoryError
        return runs_of(shapes, grid, window, how, **given)

    with monkeypatch.context() as patched:
        patched.setattr("terrazzo.drivers.extraction.weights.runs_of", failing)
        with pytest.raises(MemoryError):
            Weights.of(tmp_path, fields(), GRID, WINDOW, block=256)

    assert list((tmp_path / FOLDER).iterdir()) == []
    assert len(Weights.of(tmp_path, fields(), GRID, WINDOW, block=256).cells) > 2


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    weights = Weights.of(tmp_path, fields(), GRID, WINDOW)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left = weights.path.with_name(f".{weights.path.name}.{platform.node()}.{ended.pid}.part")
    weights.path.rename(left)

    Weights.of(tmp_path, fields(), GRID, WINDOW)

    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [weights.path.name]


def test_other_processes_read_the_same_files(tmp_path: Path) -> None:
    weights = Weights.of(tmp_path, fields(), GRID, WINDOW)
    weights.runs(0)

    there = pickle.loads(pickle.dumps(weights))  # noqa: S301 - our own

    np.testing.assert_array_equal(there.runs(0).weight, weights.runs(0).weight)
    assert there.peaks == weights.peaks


def test_several_threads_compute_the_same(tmp_path: Path) -> None:
    one = Weights.of(tmp_path / "1", fields(), GRID, WINDOW, block=256)
    many = Weights.of(tmp_path / "3", fields(), GRID, WINDOW, block=256, workers=3)

    assert (one.path / "runs.arrow").read_bytes() == (many.path / "runs.arrow").read_bytes()


def test_no_polygon_on_the_grid_has_no_cells(tmp_path: Path) -> None:
    outside = [shapely.box(0, 0, 1, 1), None, shapely.Polygon()]

    weights = Weights.of(tmp_path, outside, GRID, GRID.window)

    assert weights.cells == ()
    assert weights.fragments.tolist() == [0, 0, 0]
    assert weights.last.tolist() == [-1, -1, -1]
    assert weights.total.tolist() == [0.0] * 3


def test_invalid_polygons_are_reported(tmp_path: Path) -> None:
    left, top = GRID.left, GRID.top
    tie = shapely.Polygon([(left, top), (left + 40, top - 40), (left + 40, top), (left, top - 40)])

    weights = Weights.of(tmp_path, [shapely.Point(left, top), tie], GRID, GRID.window)

    assert weights.repaired == (1,)
    assert weights.total.tolist() == [1.0, 8.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"how": "half"}, "exact, centre, touched, not by 'half'"),
        ({"around": 4}, "1, 3, 5, ... pixels around it, not 4"),
        ({"block": 1000}, "multiple of 256 pixels, not 1000"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, options, words: str) -> None:
    with pytest.raises(ArgumentInvalid, match=words):
        Weights.of(tmp_path, fields(), GRID, WINDOW, **options)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file in the way")

    with pytest.raises(OutputFailed):
        Weights.of(tmp_path, fields(), GRID, WINDOW)
