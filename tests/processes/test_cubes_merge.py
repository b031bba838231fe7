"""Merging cubes: disjoint, equal and partly equal labels, and dimensions that one cube lacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
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


@settings(max_examples=40)
@given(data=st.data())
def test_merge_gives_every_image_by_its_labels(data: st.DataObject) -> None:
    def subset(of: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(data.draw(st.lists(st.sampled_from(of), min_size=1, unique=True)))

    first = cube(time(subset(TIMES)), bands(subset(("a", "b", "c"))))
    second = cube(time(subset(TIMES)), bands(subset(("a", "b", "c"))))

    result = assert_blocks_agree(
        "merge_cubes", (16,), cube1=first, cube2=second, overlap_resolver=minus
    )

    assert_merged(result, first, second)
    chosen = {
        name: [data.draw(st.sampled_from(result.dimension(name).labels))] for name in ("t", "bands")
    }
    part = evaluate("merge_cubes", None, chosen, cube1=first, cube2=second, overlap_resolver=minus)
    for name, labels in chosen.items():
        result = result.take(name, [result.dimension(name).index(labels[0])])
    assert_same(part, result)


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


def test_merge_errors() -> None:
    with pytest.raises(IncompatibleDataCubes, match="other"):
        infer("merge_cubes", cube1=cube(time(), bands()), cube2=cube(time(), other(("a",))))
    with pytest.raises(IncompatibleDataCubes, match="type"):
        infer("merge_cubes", cube1=cube(time()), cube2=cube(Dimension("t", Kind.OTHER, TIMES)))
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
    with pytest.raises(IncompatibleDataCubes, match="CRS"):
        PROCESSES["merge_cubes"].function(cube1=vector((3,)), cube2=vector((2,), "EPSG:32633"))
    with pytest.raises(IncompatibleGeometryTypes, match="Point and Polygon"):
        PROCESSES["merge_cubes"].function(cube1=vector((3,)), cube2=vector((2,), buffer=1))


def test_rasters_without_labels_are_joined_pixel_by_pixel() -> None:
    first = cube(invalid=0.3)
    second = replace(first, values=first.values * 2)

    result = assert_blocks_agree("merge_cubes", cube1=first, cube2=second, overlap_resolver=minus)

    assert result.window == EXTENT
    np.testing.assert_array_equal(result.values[result.valid], -first.values[first.valid])
