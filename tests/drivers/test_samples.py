"""Pixels as training samples: which are taken does not depend on how the work is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyproj import Transformer
from scipy import stats

from terrazzo.cube import Cube, Dimension, Kind, empty_cube
from terrazzo.drivers.extraction.samples import Samples, Sampling
from terrazzo.drivers.extraction.weights import Weights
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid, Window

if TYPE_CHECKING:
    from pathlib import Path

GRID = Grid.of(32633, 500_000, 5_000_000, 10, 600, 700)
BANDS = ("B04", "B08")
DATES = ("2024-05-15T00:00:00Z", "2024-06-15T00:00:00Z")


def pixels_of(grid: Grid, dates: tuple[str, ...] = DATES[:1]) -> Cube:
    """Return a cube whose every seventh pixel is no-data, and B04 alone of every fifth."""
    dimensions = (
        Dimension("t", Kind.TEMPORAL, dates),
        Dimension("bands", Kind.BANDS, BANDS),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    row, col = np.indices((grid.height, grid.width))
    plane = (row * 1000 + col).astype(np.float32)
    values = np.stack([np.stack([plane + t, -plane - t]) for t in range(len(dates))])
    valid = np.broadcast_to((row + col) % 7 > 0, values.shape).copy()
    valid[:, 0] &= (row + 2 * col) % 5 > 0
    return Cube(values, valid, dimensions, grid, grid.window)


def fields(count: int = 12, edge: float = 400.0, step: float = 450.0) -> list[Any]:
    """Return tilted squares in rows, some across the borders of blocks."""
    turned = [shapely.box(0, 0, edge, edge), shapely.Point(edge / 2, edge / 2).buffer(edge / 2)]
    return [
        shapely.transform(
            turned[n % 2],
            lambda at, n=n: at - (-500_013 - step * (n % 6) * 2, step * 2 * (n // 6) - 4_999_100),
        )
        for n in range(count)
    ]


def sampled(
    sampling: Sampling,
    folder: Path,
    *,
    block: int = 256,
    grid: Grid = GRID,
    dates: tuple[str, ...] = DATES[:1],
    classes: Any = None,
    shapes: list[Any] | None = None,
) -> pa.Table:
    """Return the samples of a scene, in the order of polygons."""
    cube = pixels_of(grid, dates)
    shapes = fields() if shapes is None else shapes
    weights = Weights.of(folder, shapes, grid, grid.window, how="centre", block=block)
    probe = empty_cube(cube.dimensions, cube.dtype, grid, Window(0, 0, 0, 0))
    samples = Samples.of(sampling, probe, grid, weights, classes)
    parts = []
    for number, window in enumerate(weights.cells):
        rows = samples.take(number, samples.part(number, cube.crop(window)))
        if rows is not None:
            assert [field.name for field in samples.columns] == list(rows.columns)
            parts.append(pa.table({"polygon": rows.polygon, **rows.columns}))
    table = pa.concat_tables(parts)
    assert [field.type for field in samples.columns] == table.schema.types[1:]
    order = np.argsort(table["polygon"].to_numpy(), kind="stable")
    return table.take(pa.array(order))


def places(table: pa.Table) -> set[tuple[int, float, float]]:
    columns = (table[name].to_pylist() for name in ("polygon", "x", "y"))
    return set(zip(*columns, strict=True))


def test_all_pixels_are_those_whose_centres_lie_in_the_polygons(tmp_path: Path) -> None:
    shapes = fields()
    row, col = np.indices((GRID.height, GRID.width))
    x, y = GRID.left + (col + 0.5) * 10, GRID.top - (row + 0.5) * 10
    seen = (row + col) % 7 > 0  # where one band at least is valid

    table = sampled(Sampling(), tmp_path)

    assert places(table) == {
        (number, *place)
        for number, shape in enumerate(shapes)
        for place in zip(
            *(a[shapely.intersects_xy(shape, x, y) & seen].tolist() for a in (x, y)), strict=True
        )
    }


def test_a_sample_has_values_place_and_nulls_of_its_pixel(tmp_path: Path) -> None:
    table = sampled(Sampling(), tmp_path)

    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    row, col = np.rint((GRID.top - y) / 10 - 0.5), np.rint((x - GRID.left) / 10 - 0.5)
    np.testing.assert_array_equal(table["B08"].to_numpy(), -(row * 1000 + col))
    hidden = table["B04"].is_null().to_numpy()
    np.testing.assert_array_equal(hidden, (row + 2 * col) % 5 == 0)
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose(table["lon"].to_numpy(), lon)
    np.testing.assert_allclose(table["lat"].to_numpy(), lat)
    assert set(table["weight"].to_pylist()) == {1.0}


@pytest.mark.parametrize("count", [None, 5])
def test_samples_do_not_depend_on_blocks(tmp_path: Path, count: int | None) -> None:
    small, large = (
        sampled(Sampling(count, seed=3), tmp_path / str(block), block=block)
        for block in (256, 1024)
    )

    assert small.equals(large)


def test_so_many_pixels_are_taken_of_each_polygon(tmp_path: Path) -> None:
    whole = places(sampled(Sampling(), tmp_path))
    tiny = [*fields(11), shapely.box(506_000, 4_998_000, 506_020, 4_998_020)]

    table = sampled(Sampling(9), tmp_path, shapes=tiny)

    # What is no-data here was taken, too: another date may show it.
    counts = np.bincount(table["polygon"].to_numpy(), minlength=12)
    assert (counts[:11] <= 9).all()
    assert counts[:11].sum() > 11 * 9 * 0.6
    assert counts[11] <= 4
    assert {one for one in places(table) if one[0] < 11} <= whole


def test_so_many_pixels_are_taken_of_each_class(tmp_path: Path) -> None:
    crops = pa.array(["rye", "oats", None] * 4)

    table = sampled(Sampling(50, "crop", 1), tmp_path, classes=crops)

    taken = table["crop"].to_pylist()
    pairs = list(zip(table["polygon"].to_pylist(), taken, strict=True))
    for crop in ("rye", "oats", None):
        mine = {n for n, name in enumerate(crops.to_pylist()) if name == crop}
        polygons = {polygon for polygon, name in pairs if name == crop}
        assert polygons <= mine
        assert len(polygons) > 1
        assert 50 * 0.6 < taken.count(crop) <= 50


def test_a_seed_takes_the_same_pixels_again_and_another_takes_others(tmp_path: Path) -> None:
    first = places(sampled(Sampling(9, seed=1), tmp_path / "a"))
    again = places(sampled(Sampling(9, seed=1), tmp_path / "b"))
    other = places(sampled(Sampling(9, seed=2), tmp_path / "a"))

    assert first == again
    assert len(first & other) < len(first) / 4


def test_the_same_pixels_are_taken_where_the_grid_has_grown(tmp_path: Path) -> None:
    grown = Grid.of(32633, 500_000 - 2_560, 5_000_000 + 1_230, 10, 800, 1000)
    sampling = Sampling(9, seed=5)

    before = places(sampled(sampling, tmp_path / "a"))
    after = places(sampled(sampling, tmp_path / "b", grid=grown))

    # Which are no-data is a matter of rows and columns; those that are seen in both are the same.
    assert len(before | after) <= 9 * 12
    assert len(before & after) > 9 * 12 / 2


def test_every_date_is_a_row_of_the_same_pixels(tmp_path: Path) -> None:
    table = sampled(Sampling(4), tmp_path, dates=DATES)

    first, second = (table.filter(pa.compute.equal(table["t"], date)) for date in DATES)
    assert places(first) == places(second)
    assert len(first) == len(second) > 12
    np.testing.assert_array_equal(second["B08"].to_numpy(), first["B08"].to_numpy() - 1)


def test_bands_whose_names_are_taken_get_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "BANDS", ("x", "x_"))

    table = sampled(Sampling(2, seed=-(2**70)), tmp_path)

    assert table.column_names == ["polygon", "x", "y", "lon", "lat", "weight", "x__", "x_"]


def test_pixels_are_drawn_evenly(tmp_path: Path) -> None:
    square = [shapely.box(500_000, 4_999_000, 501_000, 5_000_000)]
    weights = Weights.of(tmp_path, square, GRID, GRID.window, how="centre", block=256)
    taken = np.zeros((100, 100))

    for seed in range(60):
        probe = empty_cube(pixels_of(GRID).dimensions, np.dtype("f4"), GRID, Window(0, 0, 0, 0))
        samples = Samples.of(Sampling(100, seed=seed), probe, GRID, weights, None)
        pixels = samples._chosen(weights.runs(0).pixels)
        assert len(pixels.row) == 100
        np.add.at(taken, (pixels.row, pixels.col), 1)

    quarters = taken.reshape(10, 10, 10, 10).sum(axis=(1, 3)).ravel()
    assert stats.chisquare(quarters).pvalue > 0.001
    times = np.array([(taken == n).sum() for n in range(4)] + [(taken > 3).sum()])
    expected = stats.binom.pmf(range(4), 60, 100 / taken.size)
    assert (
        stats.chisquare(times, taken.size * np.append(expected, 1 - expected.sum())).pvalue > 0.001
    )


@pytest.mark.parametrize("words", ["some", "0", "-3", "1.5", ""])
def test_words_that_are_no_number_of_pixels_are_refused(words: str) -> None:
    with pytest.raises(ArgumentInvalid, match="--pixels"):
        Sampling.named(words)


def test_words_of_the_command_are_understood() -> None:
    assert Sampling.named("all", per="crop") == Sampling(None, "crop")
    assert Sampling.named("25", seed=7) == Sampling(25, "", 7)
