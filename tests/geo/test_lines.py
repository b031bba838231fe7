"""Pixels of lines, against shapely: those whose square a line runs through."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.lines import line_pixels

GRID = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, 12, 15)
inside = st.tuples(
    st.integers(-40, 190).map(lambda n: 500_000 + n + 0.37),
    st.integers(-160, 40).map(lambda n: 5_000_000 + n + 0.41),
)


def crossed(line: shapely.Geometry) -> set[tuple[int, int]]:
    """Ask shapely about every pixel, off whose borders the test's lines turn."""
    return {
        (row, col)
        for row in range(GRID.height)
        for col in range(GRID.width)
        if shapely.intersects(line, shapely.box(*GRID.bounds_of(Window(row, col, 1, 1))))
    }


@given(st.lists(st.lists(inside, min_size=2, max_size=4), min_size=1, max_size=3))
def test_lines_have_the_pixels_that_they_run_through(courses):
    lines = [shapely.LineString(course) for course in courses]

    line, row, col = line_pixels(lines, GRID, GRID.window)

    for index, one in enumerate(lines):
        here = line == index
        assert set(zip(row[here].tolist(), col[here].tolist(), strict=True)) == crossed(one)


def test_a_line_of_several_parts_has_each_pixel_once():
    course = [(500_005.0, 4_999_995.0), (500_035.0, 4_999_995.0)]
    line = shapely.MultiLineString([course, course[::-1]])

    found = line_pixels([line], GRID, GRID.window)

    assert np.array(found).T.tolist() == [[0, 0, col] for col in range(4)]


@pytest.mark.parametrize("x", [500_030.0, 500_039.99])
def test_a_line_on_a_border_belongs_to_the_pixel_right_of_it(x: float):
    line = shapely.LineString([(x, 4_999_985.0), (x, 4_999_965.0)])

    _, row, col = line_pixels([line], GRID, GRID.window)

    assert set(col.tolist()) == {3}
    assert row.tolist() == [1, 2, 3]


def test_only_pixels_of_the_window_are_told():
    line = shapely.LineString([(400_000.0, 4_999_945.0), (600_000.0, 4_999_945.0)])

    _, row, col = line_pixels([line], GRID, Window(4, 3, 5, 2))

    assert (row.tolist(), col.tolist()) == ([5, 5], [3, 4])


def test_no_lines_have_no_pixels():
    assert all(found.size == 0 for found in line_pixels([], GRID, GRID.window))
