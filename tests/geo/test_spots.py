"""Places that runs touch: all of their pixels, and none twice."""

from __future__ import annotations

import numpy as np
import shapely

from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.runs import runs_of
from terrazzo.geo.spots import spots_of, spots_within

GRID = Grid.of(32633, 500_000, 5_000_000, 10, 700, 600)
WINDOW = Window(37, 41, 503, 401)


def painted(spots: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How often each pixel lies in a spot."""
    found = np.zeros(shape, int)
    for row, col, height, width in spots:
        found[row : row + height, col : col + width] += 1
    return found


def fields() -> np.ndarray:
    rng = np.random.default_rng(5)
    x, y = 500_000 + 6000 * rng.random(40), 5_000_000 - 7000 * rng.random(40)
    return shapely.buffer(shapely.points(x, y), rng.uniform(3, 400, 40))


def test_spots_hold_all_pixels_and_overlap_nowhere() -> None:
    runs = runs_of(fields(), GRID, WINDOW)

    found = painted(spots_of(runs, WINDOW), (GRID.height, GRID.width))

    pixels = runs.pixels
    assert (found[pixels.row, pixels.col] == 1).all()
    assert found.max() == 1
    rows, cols = GRID.window.slices(WINDOW)
    assert found[rows, cols].sum() == found.sum() < WINDOW.pixels


def test_nothing_is_touched_by_no_runs() -> None:
    runs = runs_of(fields()[:0], GRID, WINDOW)

    assert spots_of(runs, WINDOW).shape == (0, 4)


def test_spots_within_a_window_are_counted_from_its_corner() -> None:
    spots = spots_of(runs_of(fields(), GRID, WINDOW), WINDOW)
    inner = Window(130, 95, 200, 210)

    found = spots_within(spots, inner.row, inner.col, inner.height, inner.width)

    rows, cols = GRID.window.slices(inner)
    whole = painted(spots, (GRID.height, GRID.width))
    np.testing.assert_array_equal(painted(found, (inner.height, inner.width)), whole[rows, cols])
