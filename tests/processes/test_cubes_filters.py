"""Filters and changes of dimensions and labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from tests.processes.cubes import (
    BANDS,
    EXTENT,
    GRID,
    TIMES,
    X,
    Y,
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    infer,
    other,
    time,
)

from terrazzo.cube import BandFacts, Cube, Dimension, Geometries, Kind
from terrazzo.errors import (
    ArgumentInvalid,
    BandFilterParameterMissing,
    DimensionExists,
    DimensionLabelCountMismatch,
    DimensionMissing,
    DimensionNotAvailable,
    LabelExists,
    LabelMismatch,
    LabelNotAvailable,
    LabelsNotEnumerated,
    SpatialExtentEmpty,
    TemporalExtentEmpty,
)
from terrazzo.geo.grid import Window, transform_bounds
from terrazzo.processes import PROCESSES
from terrazzo.processes.registry import Place

BOX = {"west": 500_100, "south": 5_399_800, "east": 500_250, "north": 5_399_930, "crs": 32633}
TRIANGLE = {
    "type": "Polygon",
    "coordinates": [
        [[500_081, 5_399_952], [500_382, 5_399_943], [500_207, 5_399_721], [500_081, 5_399_952]]
    ],
    "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
}


def test_filter_bbox_keeps_pixels_whose_centre_is_inside() -> None:
    data = cube(time(), bands())

    result = evaluate("filter_bbox", data=data, extent=BOX)

    xs, ys = GRID.xs(EXTENT), GRID.ys(EXTENT)
    cols = np.flatnonzero((xs >= BOX["west"]) & (xs <= BOX["east"]))
    rows = np.flatnonzero((ys >= BOX["south"]) & (ys <= BOX["north"]))
    part = (..., slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    np.testing.assert_array_equal(result.values[result.valid], data.values[part][result.valid])
    np.testing.assert_array_equal(result.valid, data.valid[part])
    assert result.dimensions == data.dimensions


def test_filter_bbox_in_degrees_does_not_depend_on_the_block() -> None:
    # Edges of a box in degrees cut the rows of a UTM grid obliquely.
    west, south, east, north = transform_bounds(
        (500_100, 5_399_800, 500_250, 5_399_930), "EPSG:32633", "EPSG:4326"
    )
    box = {"west": west, "south": south, "east": east, "north": north}

    whole = assert_blocks_agree("filter_bbox", data=cube(time(), invalid=0.0), extent=box)

    assert 3 * 15 * 13 <= whole.valid.sum() < whole.valid.size


def test_filter_bbox_does_not_copy_a_cube_that_is_all_inside() -> None:
    data = cube(time())

    result = PROCESSES["filter_bbox"].function(
        data=data, extent={**BOX, "west": 0, "east": 9e5, "south": 0, "north": 6e6}
    )

    assert result is data


def test_filter_bbox_refuses_an_empty_box() -> None:
    with pytest.raises(SpatialExtentEmpty):
        infer("filter_bbox", data=cube(time()), extent={**BOX, "north": BOX["south"]})


@pytest.mark.parametrize("crs", [4326, 3857])
def test_filter_bbox_keeps_geometries_that_are_within(crs: int) -> None:
    # The third lies on the edge: it is covered, and not within in the sense of Simple Features.
    shapes = (
        shapely.box(0, 0, 1, 1),
        shapely.box(0, 0, 5, 5),
        shapely.Point(3, 2),
        shapely.Point(2, 2),
        shapely.Point(),
    )
    data = Cube(
        np.arange(5.0),
        np.ones(5, bool),
        (Dimension("geometry", Kind.GEOMETRY, tuple(range(len(shapes)))),),
        geometries=Geometries(shapes, "EPSG:4326", ({},) * 5),
    )
    west, south, east, north = transform_bounds((-1, -1, 3, 3), "EPSG:4326", f"EPSG:{crs}")
    box = {"west": west, "south": south, "east": east, "north": north, "crs": crs}

    result = PROCESSES["filter_bbox"].function(data=data, extent=box)

    assert result.dimensions[0].labels == ((0, 3) if crs == 4326 else result.dimensions[0].labels)
    assert {0, 3} <= set(result.dimensions[0].labels) <= {0, 2, 3}
    assert len(result.geometries.shapes) == len(result.dimensions[0].labels)


def test_filter_spatial_masks_outside_of_the_polygons_and_crops_to_them() -> None:
    data = cube(time(), bands())

    result = assert_blocks_agree("filter_spatial", data=data, geometries=TRIANGLE)

    polygon = shapely.Polygon(TRIANGLE["coordinates"][0])
    x, y = np.meshgrid(GRID.xs(result.window), GRID.ys(result.window))
    inside = np.array(
        [polygon.intersects(shapely.Point(*point)) for point in zip(x.flat, y.flat, strict=True)]
    ).reshape(x.shape)
    np.testing.assert_array_equal(result.valid, data.crop(result.window).valid & inside)
    assert result.window.pixels < EXTENT.pixels


def test_filter_spatial_takes_a_vector_cube() -> None:
    data = cube(time())
    polygon = shapely.Polygon(TRIANGLE["coordinates"][0])
    vector = Cube(
        np.zeros(1),
        np.ones(1, bool),
        (Dimension("geometry", Kind.GEOMETRY, (0,)),),
        geometries=Geometries((polygon,), "EPSG:32633", ({},)),
    )

    result = PROCESSES["filter_spatial"].function(data=data, geometries=vector)

    assert_same(result, PROCESSES["filter_spatial"].function(data=data, geometries=TRIANGLE))


@pytest.mark.parametrize(
    ("extent", "kept"),
    [
        (["2020-06-01T00:00:00Z", "2020-06-03T00:00:00Z"], TIMES[:1]),
        (["2020-06-03", None], TIMES[1:]),
        ([None, "2020-06-05T12:00:00Z"], TIMES[:2]),
        (["2020-06-05", "2020-06-06"], TIMES[2:]),
        (["2021-01-01", None], ()),
    ],
)
def test_filter_temporal_is_half_open(extent: list[str | None], kept: tuple[str, ...]) -> None:
    data = cube(time(), bands())

    result = evaluate("filter_temporal", data=data, extent=extent)

    assert result.dimension("t").labels == kept
    positions = [TIMES.index(label) for label in kept]
    np.testing.assert_array_equal(result.valid, data.valid[positions])


def test_filter_temporal_filters_the_dimension_that_is_named() -> None:
    data = cube(time(), time(("2020-06-01T00:00:00Z", "2021-06-01T00:00:00Z"), "t2"))

    one = evaluate("filter_temporal", data=data, extent=["2021-01-01", None], dimension="t2")
    both = evaluate("filter_temporal", data=data, extent=["2020-06-02", None])

    assert [len(d.labels) for d in one.dimensions[:2]] == [3, 1]
    assert [len(d.labels) for d in both.dimensions[:2]] == [2, 1]


def test_filter_temporal_reads_only_dates_inside() -> None:
    data = cube(time(), bands())
    extent = ["2020-06-03", None]
    output = infer("filter_temporal", data=data, extent=extent)

    needed = PROCESSES["filter_temporal"].rules.labels(
        {"t": (1,)}, output, {"data": data}, {"extent": extent}
    )

    assert needed == {"data": {"t": (2,), "bands": (0, 1, 2)}}


def test_filter_temporal_errors() -> None:
    with pytest.raises(TemporalExtentEmpty):
        infer("filter_temporal", data=cube(time()), extent=["2020-06-03", "2020-06-03"])
    with pytest.raises(ArgumentInvalid, match="neither start nor end"):
        infer("filter_temporal", data=cube(time()), extent=[None, None])
    with pytest.raises(DimensionNotAvailable):
        infer("filter_temporal", data=cube(time()), extent=["2020", None], dimension="time")
    with pytest.raises(DimensionNotAvailable):
        infer("filter_temporal", data=cube(bands()), extent=["2020", None])


def test_filter_bands_orders_bands_as_named_and_reads_no_other() -> None:
    data = cube(time(), bands())
    output = infer("filter_bands", data=data, bands=["blue", "red", "blue"])

    result = evaluate("filter_bands", data=data, bands=["blue", "red", "blue"])
    one = evaluate("filter_bands", None, {"bands": ["blue"]}, data=data, bands=["blue", "red"])
    needed = PROCESSES["filter_bands"].rules.labels({}, output, {"data": data}, {})

    assert result.dimension("bands").labels == ("blue", "red")
    np.testing.assert_array_equal(result.valid, data.valid[:, [2, 0]])
    assert_same(one, result.take("bands", [0]))
    assert needed["data"]["bands"] == (0, 2)


def test_filter_bands_errors() -> None:
    with pytest.raises(BandFilterParameterMissing):
        infer("filter_bands", data=cube(bands()))
    with pytest.raises(DimensionMissing):
        infer("filter_bands", data=cube(time()), bands=["red"])
    with pytest.raises(ArgumentInvalid, match="wavelengths"):
        infer("filter_bands", data=cube(bands()), wavelengths=[[0.5, 0.4]])


SENTINEL = {
    "B02": BandFacts("blue", 0.49),
    "B05": BandFacts("rededge", 0.704),
    "B06": BandFacts("rededge", 0.74),
    "B08": BandFacts("nir", 0.842),
    "nir": BandFacts("swir16"),
}


@pytest.mark.parametrize(
    ("asked", "ranges", "kept"),
    [
        (["B08", "B02"], [], ("B08", "B02")),
        (["rededge", "blue"], [], ("B05", "B06", "B02")),
        (["nir"], [], ("nir",)),
        (["swir16", "nir"], [], ("nir",)),
        (["B06", "rededge"], [], ("B06", "B05")),
        (["foo"], [], ()),
        (["foo", "blue"], [], ("B02",)),
        ([], [[0.7, 0.8], [0.4, 0.49]], ("B05", "B06", "B02")),
        ([], [[0.74, 0.74]], ("B06",)),
        (["B08"], [[0.4, 0.9]], ("B08", "B02", "B05", "B06")),
    ],
)
def test_filter_bands_by_name_common_name_and_wavelength(
    asked: list[str], ranges: list[list[float]], kept: tuple[str, ...]
) -> None:
    data = cube(time(), replace(bands(tuple(SENTINEL)), facts=SENTINEL))
    arguments = {"data": data, "bands": asked, "wavelengths": ranges}

    result = evaluate("filter_bands", **arguments)

    assert result.dimension("bands").labels == kept
    positions = [list(SENTINEL).index(name) for name in kept]
    np.testing.assert_array_equal(result.valid, data.valid[:, positions])
    if kept:
        last = evaluate("filter_bands", None, {"bands": kept[-1:]}, **arguments)
        assert_same(last, result.take("bands", [len(kept) - 1]))


def test_what_is_known_of_bands_goes_with_them_when_they_are_renamed() -> None:
    data = cube(time(), replace(bands(tuple(SENTINEL)), facts=SENTINEL))

    named = infer("rename_labels", data=data, dimension="bands", target=["x"], source=["B08"])
    added = infer("merge_cubes", cube1=cube(time(), bands(("a",))), cube2=named)

    found = infer("filter_bands", data=added, wavelengths=[[0.8, 0.9]])
    assert found.dimension("bands").labels == ("x",)


@pytest.mark.parametrize(
    ("geometry", "marked"),
    [
        ({"type": "Point", "coordinates": [500_101, 5_399_949]}, [(5, 10)]),
        (
            {"type": "LineString", "coordinates": [[500_105, 5_399_945], [500_125, 5_399_935]]},
            [(5, 10), (5, 11), (6, 11), (6, 12)],
        ),
    ],
)
def test_filter_spatial_keeps_the_pixels_nearest_to_points_and_lines(
    geometry: dict[str, Any], marked: list[tuple[int, int]]
) -> None:
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    data = cube(time(), invalid=0.0)

    result = assert_blocks_agree("filter_spatial", data=data, geometries={**geometry, "crs": crs})

    rows, cols = np.nonzero(result.valid[0])
    found = set(zip(rows + result.window.row, cols + result.window.col, strict=True))
    assert found == set(marked)
    height, width = (max(m[axis] for m in marked) - min(m[axis] for m in marked) for axis in (0, 1))
    assert (result.window.height, result.window.width) == (height + 1, width + 1)


def test_filter_labels_asks_the_condition_with_label_and_context() -> None:
    asked = []

    def condition(value: str, context: str) -> bool:
        asked.append(context)
        return value > "2020-06-02"

    result = infer(
        "filter_labels", data=cube(time()), condition=condition, dimension="t", context="c"
    )

    assert result.dimension("t").labels == TIMES[1:]
    assert asked == ["c"] * 3
    with pytest.raises(ArgumentInvalid, match="spatial"):
        infer("filter_labels", data=cube(time()), condition=condition, dimension="x")
    with pytest.raises(DimensionNotAvailable):
        infer("filter_labels", data=cube(time()), condition=condition, dimension="time")


def test_filter_labels_of_geometries_takes_the_geometries_too() -> None:
    shapes = tuple(shapely.Point(n, n) for n in range(4))
    data = Cube(
        np.arange(4.0),
        np.ones(4, bool),
        (Dimension("geometry", Kind.GEOMETRY, ("a", "b", "c", "d")),),
        geometries=Geometries(shapes, "EPSG:4326", tuple({"n": n} for n in range(4))),
    )

    result = PROCESSES["filter_labels"].function(
        data=data,
        condition=lambda value, context: value in context,
        dimension="geometry",
        context="db",
    )

    assert result.dimensions[0].labels == ("b", "d")
    assert result.geometries.shapes == (shapes[1], shapes[3])
    assert [known["n"] for known in result.geometries.properties] == [1, 3]


def test_drop_dimension_needs_one_label() -> None:
    data = cube(time(TIMES[:1]), bands())

    result = evaluate("drop_dimension", data=data, name="t")

    np.testing.assert_array_equal(result.valid, data.valid[0])
    assert result.names == ("bands", "y", "x")
    with pytest.raises(DimensionLabelCountMismatch):
        infer("drop_dimension", data=data, name="bands")
    with pytest.raises(DimensionLabelCountMismatch):
        infer("drop_dimension", data=data, name="x")
    with pytest.raises(DimensionNotAvailable):
        infer("drop_dimension", data=data, name="time")


def test_rename_dimension_also_renames_space() -> None:
    data = cube(time(), bands())

    result = evaluate(
        "rename_dimension", None, {"when": TIMES[1:2]}, data=data, source="t", target="when"
    )
    east = infer("rename_dimension", data=data, source="x", target="lon")

    np.testing.assert_array_equal(result.valid, data.valid[1:2])
    assert result.names == ("when", "bands", "y", "x")
    assert east.dimensions[-1] == replace(X, name="lon")
    with pytest.raises(DimensionExists):
        infer("rename_dimension", data=data, source="t", target="bands")
    with pytest.raises(DimensionNotAvailable):
        infer("rename_dimension", data=data, source="time", target="when")


def test_rename_labels_reads_only_what_is_wanted() -> None:
    data = cube(time(), bands())
    arguments = {
        "data": data,
        "dimension": "bands",
        "target": ["B8", "B4"],
        "source": ["nir", "red"],
    }

    result = evaluate("rename_labels", **arguments)
    one = evaluate("rename_labels", None, {"bands": ["B8"]}, **arguments)

    assert result.dimension("bands").labels == ("B4", "B8", "blue")
    assert_same(one, result.take("bands", [1]))


def test_rename_labels_by_position() -> None:
    data = cube(time(), other((0, 1, 2)))

    result = evaluate(
        "rename_labels", None, {"other": ["b"]}, data=data, dimension="other", target=["a", "b"]
    )

    assert_same(result, replace(data.take("other", [1]), dimensions=(time(), other(("b",)), Y, X)))


@pytest.mark.parametrize(
    ("error", "target", "source"),
    [
        (LabelsNotEnumerated, ["a", "b", "c"], []),
        (LabelMismatch, ["a"], ["red", "nir"]),
        (LabelNotAvailable, ["a"], ["green"]),
        (LabelExists, ["blue"], ["red"]),
    ],
)
def test_rename_labels_errors(error: type[Exception], target: list[str], source: list[str]) -> None:
    with pytest.raises(error):
        infer("rename_labels", data=cube(bands()), dimension="bands", target=target, source=source)


def test_rename_labels_refuses_more_targets_than_numbered_labels() -> None:
    with pytest.raises(LabelMismatch):
        infer("rename_labels", data=cube(other((0, 1))), dimension="other", target=["a", "b", "c"])


@pytest.mark.parametrize("kind", ["other", "bands", "temporal"])
def test_add_dimension_has_one_label(kind: str) -> None:
    data = cube(bands())

    result = evaluate("add_dimension", data=data, name="new", label="2020-01-01", type=kind)

    assert result.dimensions[0] == Dimension("new", Kind(kind), ("2020-01-01",))
    np.testing.assert_array_equal(result.valid, data.valid[np.newaxis])


def test_a_spatial_dimension_gets_the_first_free_axis() -> None:
    data = cube(bands())

    high = evaluate("add_dimension", data=data, name="z", label=2.5, type="spatial")
    named = evaluate("rename_dimension", data=high, source="z", target="height")

    assert high.dimensions[0] == Dimension("z", Kind.OTHER, (2.5,), axis="z")
    assert [d.type for d in named.dimensions] == ["spatial", "bands", "spatial", "spatial"]
    assert named.dimensions[0].axis == "z"
    with pytest.raises(DimensionExists, match="x, y and z"):
        infer("add_dimension", data=high, name="deep", label=1, type="spatial")


def test_add_dimension_errors() -> None:
    with pytest.raises(DimensionExists):
        infer("add_dimension", data=cube(bands()), name="bands", label="a")
    with pytest.raises(ArgumentInvalid, match="not one of"):
        infer("add_dimension", data=cube(bands()), name="z", label=1, type="depth")


def test_dimension_labels_gives_the_coordinates_of_all_pixels() -> None:
    function = PROCESSES["dimension_labels"].function
    place = Place(Window(0, 0, 0, 0), EXTENT)
    data = cube(bands())

    assert function(data=data, dimension="bands", place=place) == BANDS
    assert function(data=data, dimension="x", place=place) == tuple(GRID.xs(EXTENT))
    assert function(data=data, dimension="y", place=place) == tuple(GRID.ys(EXTENT))
    with pytest.raises(DimensionNotAvailable):
        function(data=data, dimension="t", place=place)
