"""Footprints in a few bytes: where an item lies is decided as if its document were read."""

from __future__ import annotations

from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.catalog.footprints import kept_footprint, met, shape_of
from terrazzo.catalog.space import Region, check_bbox, footprint

longitudes = st.integers(-18, 36).map(lambda n: 10.0 * n)
latitudes = st.integers(-9, 9).map(lambda n: 10.0 * n)
points = st.tuples(longitudes, latitudes).map(list)
heights = st.lists(points, min_size=3, max_size=5).map(
    lambda found: [[*point, 5.0] for point in found]
)
rings = st.lists(points, min_size=3, max_size=5) | heights


def closed(ring: list[list[float]]) -> list[list[float]]:
    return [*ring, ring[0]]


@st.composite
def boxes(draw: st.DrawFn) -> list[float]:
    south, north = sorted((draw(latitudes), draw(latitudes)))
    return [draw(longitudes), south, draw(longitudes), north]


def outline(box: list[float]) -> dict[str, Any]:
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


geometries = st.one_of(
    st.none(),
    boxes().map(outline),
    rings.map(lambda ring: {"type": "Polygon", "coordinates": [closed(ring)]}),
    points.map(lambda point: {"type": "Point", "coordinates": point}),
    st.lists(rings, min_size=1, max_size=3).map(
        lambda parts: {"type": "MultiPolygon", "coordinates": [[closed(ring)] for ring in parts]}
    ),
    st.lists(points, min_size=2, max_size=4).map(
        lambda line: {"type": "LineString", "coordinates": line}
    ),
)
items = st.fixed_dictionaries({"bbox": boxes(), "geometry": geometries})
regions = st.one_of(
    boxes().map(Region.of_bbox),
    boxes().map(lambda box: Region.of_geometry(outline(box))),
    rings.map(lambda ring: Region.of_geometry({"type": "Polygon", "coordinates": [closed(ring)]})),
)


@given(found=st.lists(items, max_size=4), region=regions)
def test_what_is_kept_meets_a_region_where_the_item_does(
    found: list[dict[str, Any]], region: Region
):
    kept = [kept_footprint(item, check_bbox(item["bbox"], "Item"), "Item")[0] for item in found]

    assert met(region, kept) == [region.meets(item) for item in found]


@given(item=items, region=regions)
def test_boxes_propose_every_item_that_meets_a_region(item: dict[str, Any], region: Region):
    _, held = kept_footprint(item, check_bbox(item["bbox"], "Item"), "Item")

    assert 1 <= len(held) <= 2
    if region.meets(item):
        assert any(
            w <= east and e >= west and s <= north and n >= south
            for w, s, e, n in held
            for west, south, east, north in region.boxes
        )


@given(item=items)
def test_what_is_kept_is_the_footprint(item: dict[str, Any]):
    kept, _ = kept_footprint(item, check_bbox(item["bbox"], "Item"), "Item")

    mine, theirs = shape_of(kept), shapely.force_2d(footprint(item))
    if len(kept) == 32:
        assert (mine.bounds, mine.area) == (theirs.bounds, pytest.approx(theirs.area))
    else:
        assert mine.wkb == theirs.wkb


@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        (None, 32),
        (outline([1.0, 2.0, 3.0, 4.0]), 32),
        ({"type": "Polygon", "coordinates": [[[1, 2], [3, 2], [3, 5], [1, 2]]]}, 13 + 4 * 16),
    ],
)
def test_boxes_take_four_numbers_and_others_their_corners(geometry: Any, size: int):
    item = {"bbox": [1.0, 2.0, 3.0, 4.0], "geometry": geometry}

    kept, _ = kept_footprint(item, (1.0, 2.0, 3.0, 4.0), "Item")

    assert len(kept) == size
