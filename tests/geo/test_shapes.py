"""Shapes as pixels are found under them."""

from __future__ import annotations

import shapely

from terrazzo.geo.shapes import highest, mended


def test_areas_of_a_collection_that_overlap_count_once() -> None:
    overlapping = shapely.GeometryCollection(
        [shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2), shapely.Point(9, 9)]
    )

    (shape,), repaired = mended([overlapping])

    assert repaired == ()
    assert shape.is_valid
    assert shape.equals(shapely.box(0, 0, 3, 2))


def test_nothing_is_left_of_lines_where_areas_are_wanted() -> None:
    line = shapely.LineString([(0, 0), (1, 1)])

    assert highest(line).equals(line)
    assert highest(line, areas=True).is_empty
