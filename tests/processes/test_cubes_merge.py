"""Merging cubes: disjoint, equal and partly equal labels, and dimensions that one cube lacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.processes.cubes import (
    EXTENT,
    TIMES,
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    infer,
    other,
    padded,
    time,
)

from terrazzo.cube import Cube, Dimension, Geometries, Kind, Pixels
from terrazzo.errors import (
    ArgumentInvalid,
    IncompatibleDataCubes,
    IncompatibleGeometryTypes,
    OverlapUnresolved,
)
from terrazzo.geo.grid import Window
from terrazzo.processes import PROCESSES


def minus(x: Pixels, y: Pixels, context: Any = None) -> Pixels:
    """Subtract: not commutative, so that cubes in the wrong order show."""
    return Pixels(x.values - y.values - (context or 0), x.valid & y.valid)


def shifted(data: Cube, by: float) -> Cube:
    return data.same_pixels((data.values + by).astype(data.dtype), data.valid)


def by_label(data: Cube, labels: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return values and validity of one image, or None where the cube lacks a label."""
    index: list[int] = []
    for dimension in data.dimensions[:-2]:
        if labels[dimension.name] not in dimension.labels:
            return None
        index.append(dimension.labels.index(labels[dimension.name]))
    return data.values[tuple(index)], data.valid[tuple(index)]


def assert_merged(result: Cube, first: Cube, second: Cube) -> None:
    """Compare image by image with what the labels say must be there."""
    for index in np.ndindex(result.values.shape[:-2]):
        labels = {d.name: d.labels[i] for d, i in zip(result.dimensions, index, strict=False)}
        one, two = by_label(first, labels), by_label(second, labels)
        if one and two:
            values, valid = one[0] - two[0], one[1] & two[1]
        else:
            values, valid = one or two or (np.zeros(()), np.zeros((), bool))
        valid = np.broadcast_to(valid, result.valid[index].shape)
        np.testing.assert_array_equal(result.valid[index], valid)
        expected = np.broadcast_to(values, valid.shape)[valid]
        np.testing.assert_array_equal(result.values[index][valid], expected.astype(result.dtype))


def test_disjoint_bands_need_no_resolver_and_keep_their_order() -> None:
    first, second = cube(time(), bands(("z", "b"))), cube(time(), bands(("c", "a")))

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second)

    assert result.dimension("bands").labels == ("z", "b", "c", "a")
    assert_merged(result, first, second)


def test_merge_can_be_undone_by_filters() -> None:
    first, second = cube(time(), bands(("a", "b"))), cube(time(), bands(("c",)))

    merged = evaluate("merge_cubes", cube1=first, cube2=second)

    filtered = PROCESSES["filter_bands"].function(data=merged, bands=["a", "b"])
    assert_same(filtered, first)


def test_dates_are_put_in_order() -> None:
    first, second = cube(time((TIMES[1],)), bands()), cube(time((TIMES[2], TIMES[0])), bands())

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second)

    assert result.dimension("t").labels == TIMES
    assert_merged(result, first, second)


def test_equal_labels_need_a_resolver() -> None:
    first = cube(time(), bands())
    second = shifted(cube(time(), bands(), invalid=0.5), 7)

    result = assert_blocks_agree(
        "merge_cubes", cube1=first, cube2=second, overlap_resolver=minus, context=1
    )

    both = first.valid & second.valid
    np.testing.assert_array_equal(result.valid, both)
    expected = xr.DataArray(first.values) - xr.DataArray(second.values) - 1
    np.testing.assert_array_equal(result.values[both], expected.values[both])
    with pytest.raises(OverlapUnresolved, match="red"):
        infer("merge_cubes", cube1=first, cube2=second)


def test_only_labels_of_both_are_resolved() -> None:
    first, second = cube(time(), bands(("a", "b"))), cube(time(), bands(("b", "c")))

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second, overlap_resolver=minus)

    assert result.dimension("bands").labels == ("a", "b", "c")
    assert_merged(result, first, second)
    with pytest.raises(OverlapUnresolved, match="b"):
        infer("merge_cubes", cube1=first, cube2=second)


def test_labels_that_differ_in_two_dimensions_leave_no_data() -> None:
    first = cube(time(TIMES[:2]), bands(("a",)), invalid=0.0)
    second = cube(time(TIMES[1:]), bands(("b",)), invalid=0.0)

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second)

    assert_merged(result, first, second)
    np.testing.assert_array_equal(
        result.valid[..., 0, 0], [[True, False], [True, True], [False, True]]
    )


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("lacks", [("t",), ("bands",), ("t", "bands")])
def test_a_cube_holds_for_all_labels_of_dimensions_that_it_lacks(
    lacks: tuple[str, ...], swapped: bool
) -> None:
    wide = cube(time(), bands())
    small = cube(*(d for d in wide.dimensions[:2] if d.name not in lacks))
    first, second = (small, wide) if swapped else (wide, small)

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second, overlap_resolver=minus)

    assert result.dimensions == wide.dimensions
    assert_merged(result, first, second)
    with pytest.raises(OverlapUnresolved):
        infer("merge_cubes", cube1=first, cube2=second)


def test_axes_of_the_other_cube_may_be_in_another_order() -> None:
    first, second = cube(time(), bands(("a",))), cube(bands(("b",)), time())

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second)

    assert result.names == first.names
    assert_merged(result, first, second)


def constant(*dimensions: Dimension) -> Cube:
    """Return a cube without space: the first pixel of a raster with these dimensions."""
    whole = cube(*dimensions)
    return Cube(whole.values[..., 0, 0], whole.valid[..., 0, 0], dimensions)


def arrays(data: Cube) -> xr.Dataset:
    """Return values, validity and presence by label, rows and columns counted on the grid."""
    coords: dict[str, Any] = {d.name: list(d.labels) for d in data.dimensions if d.labels}
    if data.window is not None:
        coords["y"] = range(data.window.row, data.window.row_stop)
        coords["x"] = range(data.window.col, data.window.col_stop)
    parts = {
        "values": data.values.astype(float),
        "valid": data.valid,
        "there": np.ones(data.values.shape, bool),
    }
    return xr.Dataset({k: (data.names, v) for k, v in parts.items()}, coords)


def merged_by_xarray(first: Cube, second: Cube) -> xr.Dataset:
    """Align both outside, and choose by where each one is: the specification in three lines."""
    filled = {"values": 0.0, "valid": False, "there": False}
    one, two = xr.align(arrays(first), arrays(second), join="outer", fill_value=filled)
    one, two = xr.broadcast(one, two)
    both = one.there & two.there
    only = xr.where(one.there, one, two)
    values = xr.where(both, one["values"] - two["values"], only["values"])
    valid = xr.where(both, one.valid & two.valid, only.valid)
    return xr.Dataset({"values": values, "valid": valid, "both": both})


POOL = {"t": TIMES, "bands": ("a", "b", "c"), "model": ("m", "n")}


@st.composite
def rasters_and_series(draw: st.DrawFn) -> tuple[Cube, Cube]:
    """Draw two cubes of which at least one is a raster, and which share a dimension."""

    def one(*, space: bool) -> Cube:
        names = draw(st.permutations(draw(st.sets(st.sampled_from(list(POOL))).map(sorted))))
        makers = {"t": time, "bands": bands, "model": other}
        dimensions = [
            replace(
                makers[name](draw(st.lists(st.sampled_from(POOL[name]), min_size=1, unique=True))),
                name=name,
            )
            for name in names
        ]
        if not space:
            return constant(*dimensions)
        corner = st.integers(0, 24), st.integers(0, 30)
        window = draw(st.builds(Window, *corner, st.integers(1, 16), st.integers(1, 20)))
        return cube(*dimensions, window=window)

    first, second = one(space=True), one(space=draw(st.integers(0, 3)) > 0)
    assume(second.dimensions == () or set(first.names) & set(second.names))
    return (first, second) if draw(st.booleans()) else (second, first)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(cubes=rasters_and_series(), edge=st.integers(5, 40), data=st.data())
def test_merge_gives_what_outer_alignment_gives(
    cubes: tuple[Cube, Cube], edge: int, data: st.DataObject
) -> None:
    first, second = cubes
    arguments = {"cube1": first, "cube2": second, "overlap_resolver": minus}

    result = assert_blocks_agree("merge_cubes", (edge,), **arguments)

    expected = merged_by_xarray(first, second)
    where = {d.name: list(d.labels) for d in result.dimensions if d.labels}
    where["y"] = range(result.window.row, result.window.row_stop)
    where["x"] = range(result.window.col, result.window.col_stop)
    expected = expected.reindex(where, fill_value={"values": 0.0, "valid": False, "both": False})
    expected = expected.transpose(*result.names)
    np.testing.assert_array_equal(result.valid, expected.valid)
    np.testing.assert_array_equal(
        result.values[result.valid], expected["values"].values[result.valid].astype("f4")
    )
    if expected.both.any():
        with pytest.raises(OverlapUnresolved):
            infer("merge_cubes", cube1=first, cube2=second)
    else:
        plain = assert_blocks_agree("merge_cubes", (edge,), cube1=first, cube2=second)
        assert_same(plain, result)
    rasters_only = first.window is not None and second.window is not None
    chosen = {
        d.name: [data.draw(st.sampled_from(d.labels))] for d in result.dimensions[:-2] if d.labels
    }
    if rasters_only and chosen:
        part = evaluate("merge_cubes", None, chosen, **arguments)
        for name, labels in chosen.items():
            result = result.take(name, [result.dimension(name).index(labels[0])])
        assert_same(part, result)


def test_order_of_dimensions_is_that_of_the_cube_with_more_of_them() -> None:
    first = cube(time(), other(("m",), "model"))
    second = cube(bands(), time(), other(("n",), "model"))

    result = infer("merge_cubes", cube1=first, cube2=second)
    mutual = infer("merge_cubes", cube1=cube(time()), cube2=cube(bands()), overlap_resolver=minus)

    assert result.names == ("bands", "t", "model", "y", "x")
    assert mutual.names == ("t", "bands", "y", "x")


def test_cubes_that_lie_apart_need_no_resolver() -> None:
    first = cube(time(), window=Window(0, 0, 10, 12))
    second = cube(time(), window=Window(10, 3, 7, 30))

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second)

    assert result.window == Window(0, 0, 17, 33)
    whole = (padded(first, result.window), padded(second, result.window))
    np.testing.assert_array_equal(result.valid, whole[0].valid | whole[1].valid)
    with pytest.raises(OverlapUnresolved):
        infer("merge_cubes", cube1=first, cube2=cube(time(), window=Window(9, 3, 7, 30)))


def test_dates_are_equal_if_they_are_the_same_instant() -> None:
    first = cube(time(("2020-06-01", "2020-06-03T00:00:00Z")))
    second = cube(time(("2020-06-03T02:00:00+02:00", "2020-06-01T00:00:00Z")))
    turned = replace(
        second.take("t", [1, 0]), dimensions=(first.dimensions[0], *second.dimensions[1:])
    )

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second, overlap_resolver=minus)

    assert result.dimension("t").labels == first.dimension("t").labels
    assert_merged(result, first, turned)
    with pytest.raises(OverlapUnresolved, match="2020-06-01"):
        infer("merge_cubes", cube1=first, cube2=second)


@pytest.mark.parametrize(
    ("one", "two", "ordered"),
    [
        (("2020-03", "2020-01"), ("2020-02",), ("2020-01", "2020-02", "2020-03")),
        (
            ("2019-son", "2019-djf"),
            ("2020-mam", "2019-jja", "2019-mam"),
            ("2019-mam", "2019-jja", "2019-son", "2019-djf", "2020-mam"),
        ),
        (("2020-mjjaso",), ("2019-ndjfma",), ("2019-ndjfma", "2020-mjjaso")),
        (("2020-001", "2019-365"), ("2020-002",), ("2019-365", "2020-001", "2020-002")),
    ],
)
def test_names_of_periods_are_put_in_order(
    one: tuple[str, ...], two: tuple[str, ...], ordered: tuple[str, ...]
) -> None:
    result = infer("merge_cubes", cube1=cube(time(one)), cube2=cube(time(two)))

    assert result.dimension("t").labels == ordered


def test_cubes_without_space_or_dimensions_are_merged_as_well() -> None:
    function = PROCESSES["merge_cubes"].function
    nothing = Cube(np.array(7.0), np.array(True), ())
    series, model = constant(time()), constant(other(("m", "n"), "model"))

    spread = function(cube1=series, cube2=nothing, overlap_resolver=minus)
    two = function(cube1=nothing, cube2=nothing, overlap_resolver=minus)

    np.testing.assert_array_equal(spread.valid, series.valid)
    np.testing.assert_array_equal(
        spread.values[spread.valid], series.values[series.valid].astype(float) - 7
    )
    assert two.values == 0
    assert two.dimensions == ()
    with pytest.raises(IncompatibleDataCubes, match="share"):
        function(cube1=series, cube2=model, overlap_resolver=minus)


def test_bands_that_nobody_wants_are_not_read() -> None:
    first, second = cube(time(), bands(("a", "b"))), cube(time(), bands(("c",)))
    output = infer("merge_cubes", cube1=first, cube2=second)

    needed = PROCESSES["merge_cubes"].rules.labels(
        {"bands": (1,)}, output, {"cube1": first, "cube2": second}, {}
    )

    assert needed["cube1"] == {"t": (0, 1, 2), "bands": (1,)}
    assert needed["cube2"] == {"t": (0, 1, 2), "bands": ()}


def test_cubes_of_different_places_cover_what_either_covers() -> None:
    first = cube(time(), bands(("a",)), window=Window(3, 5, 12, 20))
    second = cube(time(), bands(("b",)), window=Window(10, 15, 22, 27))

    result = evaluate("merge_cubes", cube1=first, cube2=second)

    assert result.window == Window(3, 5, 29, 37)
    assert_merged(result, padded(first, result.window), padded(second, result.window))


@pytest.mark.parametrize(
    ("one", "two", "joined"),
    [("uint8", "int16", "int16"), ("uint16", "float32", "float32"), ("bool", "uint8", "uint8")],
)
def test_type_holds_both_cubes_whatever_is_wanted(one: str, two: str, joined: str) -> None:
    first, second = cube(time(), bands(("a",)), dtype=one), cube(time(), bands(("b",)), dtype=two)

    part = evaluate("merge_cubes", None, {"bands": ["a"]}, cube1=first, cube2=second)

    assert part.dtype == joined
    assert infer("merge_cubes", cube1=first, cube2=second).dtype == joined


def test_truth_values_may_resolve_equal_labels_only() -> None:
    def less(x: Pixels, y: Pixels, context: Any = None) -> Pixels:
        del context
        return Pixels(x.values < y.values, x.valid & y.valid)

    first = cube(time(), bands())
    arguments = {"cube1": first, "cube2": shifted(first, 1), "overlap_resolver": less}

    assert assert_blocks_agree("merge_cubes", **arguments).dtype == bool
    assert evaluate("merge_cubes", None, {"bands": ["nir"]}, **arguments).dtype == bool
    with pytest.raises(ArgumentInvalid, match="truth values"):
        infer("merge_cubes", **{**arguments, "cube2": cube(time(), bands(("red", "swir")))})


def test_truth_values_stand_only_where_both_cubes_have_pixels() -> None:
    def less(x: Pixels, y: Pixels, context: Any = None) -> Pixels:
        del context
        return Pixels(x.values < y.values, x.valid & y.valid)

    first = cube(time(), window=Window(0, 0, 9, 9), invalid=0.0)
    second = shifted(cube(time(), window=Window(4, 4, 9, 9), invalid=0.0), 1)

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second, overlap_resolver=less)

    both = np.zeros((13, 13), bool)
    both[4:9, 4:9] = True
    np.testing.assert_array_equal(result.valid, np.broadcast_to(both, result.valid.shape))
    assert result.values[result.valid].all()


def test_merge_errors() -> None:
    when = replace(time(), name="when")
    with pytest.raises(IncompatibleDataCubes, match="type"):
        infer("merge_cubes", cube1=cube(time()), cube2=cube(Dimension("t", Kind.OTHER, TIMES)))
    with pytest.raises(IncompatibleDataCubes, match="rename_dimension"):
        infer("merge_cubes", cube1=cube(time()), cube2=cube(when), overlap_resolver=minus)
    with pytest.raises(IncompatibleDataCubes, match="raster"):
        infer("merge_cubes", cube1=cube(time()), cube2=vector((0,)))


def vector(labels: tuple[int, ...], crs: str = "EPSG:4326", buffer: float = 0) -> Cube:
    return Cube(
        np.array(labels, float),
        np.ones(len(labels), bool),
        (Dimension("geometry", Kind.GEOMETRY, labels),),
        geometries=Geometries(
            tuple(
                shapely.Point(n, n).buffer(buffer) if buffer else shapely.Point(n, n)
                for n in labels
            ),
            crs,
            tuple({"n": n} for n in labels),
        ),
    )


def test_vector_cubes_keep_the_geometries_of_both() -> None:
    result = PROCESSES["merge_cubes"].function(cube1=vector((3, 1)), cube2=vector((2,)))

    assert result.dimensions[0].labels == (3, 1, 2)
    assert [shape.x for shape in result.geometries.shapes] == [3, 1, 2]
    assert [p["n"] for p in result.geometries.properties] == [3, 1, 2]
    np.testing.assert_array_equal(result.values, [3, 1, 2])
    with pytest.raises(IncompatibleDataCubes, match="reproject"):
        PROCESSES["merge_cubes"].function(cube1=vector((3,)), cube2=vector((2,), "EPSG:32633"))
    with pytest.raises(IncompatibleGeometryTypes, match="Point and Polygon"):
        PROCESSES["merge_cubes"].function(cube1=vector((3,)), cube2=vector((2,), buffer=1))


def test_geometries_are_matched_by_what_they_are_not_by_their_labels() -> None:
    function = PROCESSES["merge_cubes"].function
    first, second = vector((5, 6, 7)), vector((7, 5, 8))
    first = replace(first, dimensions=(replace(first.dimensions[0], labels=(0, 1, 2)),))
    second = replace(second, dimensions=(replace(second.dimensions[0], labels=(0, 1, 2)),))

    result = function(cube1=first, cube2=second, overlap_resolver=minus)

    assert [shape.x for shape in result.geometries.shapes] == [5, 6, 7, 8]
    np.testing.assert_array_equal(result.values, [0, 6, 0, 8])
    with pytest.raises(OverlapUnresolved):
        function(cube1=first, cube2=second)


def test_attributes_of_one_geometry_are_put_together() -> None:
    first, second = vector((1,)), vector((1, 2))
    added = replace(second.geometries, properties=({"n": 9, "of": "two"}, {"of": "two"}))

    result = PROCESSES["merge_cubes"].function(
        cube1=first, cube2=replace(second, geometries=added), overlap_resolver=minus
    )

    assert result.geometries.properties == ({"n": 1, "of": "two"}, {"of": "two"})


def test_rasters_without_labels_are_joined_pixel_by_pixel() -> None:
    first = cube(invalid=0.3)
    second = replace(first, values=first.values * 2)

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second, overlap_resolver=minus)

    assert result.window == EXTENT
    np.testing.assert_array_equal(result.values[result.valid], -first.values[first.valid])
