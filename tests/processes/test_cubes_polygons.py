"""Polygons one by one: pixel centres, masks, overlaps, and independence of the block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes.cubes import (
    EXTENT,
    GRID,
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    infer,
    time,
)

from terrazzo.cube import Cube, Dimension, Geometries, Kind, Pixels
from terrazzo.engine import evaluate as engine_evaluate
from terrazzo.engine import infer as engine_infer
from terrazzo.engine import make_plan
from terrazzo.errors import ArgumentInvalid, DataCubePropertiesImmutable, GeometriesOverlap
from terrazzo.geo.crs import transformer
from terrazzo.geo.grid import Window
from terrazzo.graph import parse
from terrazzo.processes import PROCESSES, SPECS
from terrazzo.processes.registry import Place
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import callback, collections

LEFT, TOP = GRID.left, GRID.top
TWO = (
    shapely.Polygon([(LEFT + 81, TOP - 48), (LEFT + 382, TOP - 57), (LEFT + 207, TOP - 279)]),
    shapely.box(LEFT + 300, TOP - 320, LEFT + 500, TOP - 205),
)


def vector(*shapes: Any, crs: str = "EPSG:32633") -> Cube:
    labels = tuple(range(len(shapes)))
    return Cube(
        np.zeros(len(shapes)),
        np.zeros(len(shapes), bool),
        (Dimension("geometry", Kind.GEOMETRY, labels),),
        geometries=Geometries(tuple(shapes), crs, ({},) * len(shapes)),
    )


def from_mean(data: Cube, context: Any = None) -> Cube:
    """Subtract the mean of the whole sub-cube: a result that shows what the sub-cube was."""
    values = np.where(data.valid, data.values, 0).astype(np.float64)
    total = values.sum(axis=(-2, -1), keepdims=True)
    count = data.valid.sum(axis=(-2, -1), keepdims=True)
    return data.same_pixels(values - total / np.maximum(count, 1) + (context or 0), data.valid)


def holds(shape: Any, window: Window) -> np.ndarray:
    x, y = np.meshgrid(GRID.xs(window), GRID.ys(window))
    points = shapely.points(x.ravel(), y.ravel())
    return shapely.intersects(shape, points).reshape(x.shape)


def by_hand(data: Cube, shapes: tuple[Any, ...], context: float = 0) -> tuple[Any, Any]:
    """Compute `from_mean` polygon by polygon on the whole cube."""
    out, known = np.zeros(data.values.shape), np.zeros(data.values.shape, bool)
    for shape in shapes:
        mine = holds(shape, data.window)
        for index in np.ndindex(data.values.shape[:-2]):
            valid = data.valid[index] & mine
            if valid.any():
                mean = data.values[index][valid].astype(float).mean()
                out[index][valid] = data.values[index][valid] - mean + context
                known[index] |= valid
    return out, known


def test_each_polygon_is_computed_from_its_own_pixels() -> None:
    data = cube(time(), bands())

    result = assert_blocks_agree(
        "apply_polygon", data=data, geometries=vector(*TWO), process=from_mean, context=5
    )

    values, valid = by_hand(data, TWO, 5)
    np.testing.assert_array_equal(result.valid, valid)
    np.testing.assert_allclose(result.values[valid], values[valid], rtol=1e-9, atol=1e-9)
    assert result.dimensions == data.dimensions


@settings(max_examples=25)
@given(rows=st.integers(1, 4), cols=st.integers(1, 4), edge=st.integers(2, 20), crs=st.booleans())
def test_any_number_of_polygons_does_not_depend_on_the_block(
    rows: int, cols: int, edge: int, crs: bool
) -> None:
    high, wide = 400 / rows, 500 / cols
    shapes = tuple(
        shapely.Point(LEFT + (c + 0.5) * wide, TOP - (r + 0.5) * high).buffer(min(high, wide) / 2.1)
        for r in range(rows)
        for c in range(cols)
    )
    given_ones, name = shapes, "EPSG:32633"
    if crs:
        there = transformer("EPSG:32633", "EPSG:4326").transform
        back = transformer("EPSG:4326", "EPSG:32633").transform
        given_ones = tuple(shapely.transform(s, there, interleaved=False) for s in shapes)
        shapes = tuple(shapely.transform(s, back, interleaved=False) for s in given_ones)
        name = "EPSG:4326"
    data = cube(time())

    result = assert_blocks_agree(
        "apply_polygon",
        (edge,),
        data=data,
        geometries=vector(*given_ones, crs=name),
        process=from_mean,
    )

    values, valid = by_hand(data, shapes)
    np.testing.assert_array_equal(result.valid, valid)
    np.testing.assert_allclose(result.values[valid], values[valid], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("mask_value", "value", "dtype"),
    [(None, None, "uint8"), (7, 7, "uint8"), (-1, -1, "int16"), (0.5, 0.5, "float32")],
)
def test_the_process_gets_the_pixels_of_the_bounding_box_and_the_mask_value(
    mask_value: Any, value: Any, dtype: str
) -> None:
    data, seen = cube(time(), dtype="uint8"), []

    def look(data: Cube, context: Any = None) -> Cube:
        seen.append((data, context))
        return data

    PROCESSES["apply_polygon"].function(
        data=data,
        geometries=vector(TWO[0], shapely.Polygon()),
        process=look,
        mask_value=mask_value,
        context="c",
        place=Place(EXTENT, EXTENT),
    )

    (part, context), inside = seen[0], holds(TWO[0], Window(4, 8, 24, 31))
    assert len(seen) == 1
    assert context == "c"
    assert part.window == Window(4, 8, 24, 31)
    assert part.dtype == dtype
    own = data.crop(part.window)
    np.testing.assert_array_equal(part.valid[:, inside], own.valid[:, inside])
    assert part.valid[:, ~inside].all() == (mask_value is not None)
    if value is not None:
        assert (part.values[:, ~inside] == value).all()


@pytest.mark.parametrize(("mask_value", "dtype"), [(7, "uint8"), (-1, "int16")])
def test_pixels_of_no_polygon_get_the_mask_value(mask_value: float, dtype: str) -> None:
    data = cube(time(), dtype="uint8")

    result = assert_blocks_agree(
        "apply_polygon",
        data=data,
        geometries=vector(*TWO),
        process=lambda data, **_: data,
        mask_value=mask_value,
    )

    inside = holds(TWO[0], EXTENT) | holds(TWO[1], EXTENT)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.valid, data.valid | ~inside)
    np.testing.assert_array_equal(
        result.values[result.valid],
        np.where(inside, data.values.astype(int), mask_value)[result.valid],
    )


def test_a_polygon_that_reaches_beyond_the_cube_has_the_pixels_there_are() -> None:
    windows = []

    def look(data: Cube, context: Any = None) -> Cube:
        del context
        windows.append(data.window)
        return data

    far = shapely.box(LEFT - 900, TOP - 120, LEFT + 100, TOP + 900)
    beside = shapely.box(LEFT - 900, TOP + 100, LEFT - 100, TOP + 900)

    PROCESSES["apply_polygon"].function(
        data=cube(time()),
        geometries=vector(far, beside),
        process=look,
        place=Place(EXTENT, EXTENT),
    )

    assert windows == [Window(3, 5, 9, 5)]


def test_polygons_that_share_a_pixel_are_refused_and_those_that_touch_are_not() -> None:
    edge = LEFT + 200.0  # between two columns of centres
    left, right = (
        shapely.box(LEFT, TOP - 400, edge, TOP),
        shapely.box(edge, TOP - 400, LEFT + 500, TOP),
    )
    over = shapely.box(edge - 6, TOP - 400, LEFT + 500, TOP)
    sliver = shapely.box(edge - 4, TOP - 400, LEFT + 500, TOP)
    arguments: dict[str, Any] = {"data": cube(time()), "process": from_mean}

    for touching in (right, sliver):
        assert_blocks_agree("apply_polygon", geometries=vector(left, touching), **arguments)
    with pytest.raises(GeometriesOverlap, match="0 and 1 both hold the pixel at x=500195"):
        infer("apply_polygon", geometries=vector(left, over), **arguments)


def test_a_centre_on_a_common_edge_is_shared() -> None:
    x = LEFT + 205.0
    left, right = shapely.box(LEFT, TOP - 400, x, TOP), shapely.box(x, TOP - 400, LEFT + 500, TOP)

    with pytest.raises(GeometriesOverlap):
        infer("apply_polygon", data=cube(), geometries=vector(left, right), process=from_mean)


def test_on_another_grid_the_first_polygon_has_a_pixel_that_both_hold() -> None:
    data = cube(invalid=0.0)
    shapes = (
        shapely.box(LEFT, TOP - 400, LEFT + 205, TOP),
        shapely.box(LEFT, TOP - 400, LEFT + 500, TOP),
    )

    def number(data: Cube, context: Any = None) -> Pixels:
        del context
        return Pixels(np.full(data.values.shape, data.window.width), data.valid)

    result = PROCESSES["apply_polygon"].function(
        data=data, geometries=vector(*shapes), process=number, place=Place(EXTENT, EXTENT)
    )

    first = holds(shapes[0], EXTENT)
    widths = [int(np.ceil(w / 10)) - EXTENT.col for w in (205, 420)]
    np.testing.assert_array_equal(result.values, np.where(first, *widths))


def test_labels_may_change_inside_and_stay_what_they_are_outside() -> None:
    data = cube(time(), bands())

    def renamed(data: Cube, context: Any = None) -> Cube:
        del context
        axis = data.axis("bands")
        dimension = replace(data.dimension("bands"), labels=("a", "b", "c"))
        return replace(data, dimensions=data.with_dimension(axis, dimension))

    result = assert_blocks_agree(
        "apply_polygon", data=data, geometries=vector(TWO[1]), process=renamed
    )

    assert result.dimensions == data.dimensions
    inside = holds(TWO[1], result.window)
    assert_same(result, data.same_pixels(data.values, data.valid & inside))


@pytest.mark.parametrize(
    ("error", "changed"),
    [
        (DataCubePropertiesImmutable, {"process": lambda data, **_: data.take("t", [0])}),
        (DataCubePropertiesImmutable, {"process": lambda **_: 1.0}),
        (ArgumentInvalid, {"geometries": vector(shapely.Point(LEFT, TOP))}),
        (ArgumentInvalid, {"geometries": vector(shapely.Polygon())}),
        (ArgumentInvalid, {"mask_value": "none"}),
        (ArgumentInvalid, {"geometries": None}),
    ],
)
def test_errors(error: type[Exception], changed: dict[str, Any]) -> None:
    arguments = {"data": cube(time()), "process": from_mean, "geometries": vector(*TWO)}

    with pytest.raises(error):
        infer("apply_polygon", **(arguments | changed))


def test_statistics_of_a_polygon_are_computed_inside_of_its_callback() -> None:
    parameter = {"from_parameter": "data"}
    reduce = {"data": parameter, "reducer": callback("mean", data=parameter)}
    subtract = callback("subtract", x={"from_parameter": "x"}, y={"from_parameter": "y"})
    merge = {"cube1": parameter, "cube2": {"from_node": "mean"}, "overlap_resolver": subtract}
    process = {
        "mean": {"process_id": "reduce_spatial", "arguments": reduce},
        "difference": {"process_id": "merge_cubes", "arguments": merge, "result": True},
    }
    corner = {
        "type": "Polygon",
        "coordinates": [
            [[500_033, 4_999_971], [500_413, 4_999_780], [500_102, 4_999_590], [500_033, 4_999_971]]
        ],
    }
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    load = {"id": "fine", "spatial_extent": None, "temporal_extent": None}
    graph = {
        "load": {"process_id": "load_collection", "arguments": load},
        "shapes": {"process_id": "load_geojson", "arguments": {"data": {**corner, "crs": crs}}},
        "end": {
            "process_id": "apply_polygon",
            "arguments": {
                "data": {"from_node": "load"},
                "geometries": {"from_node": "shapes"},
                "process": {"process_graph": process},
            },
            "result": True,
        },
    }
    plan = make_plan(engine_infer(parse(graph, specs=SPECS), collections()))

    result = engine_evaluate(plan, plan.window)

    source = collections().sources["fine"]
    loaded = source.read(source.grid, source.grid.window, {}, "near")
    x, y = np.meshgrid(source.grid.xs(plan.window), source.grid.ys(plan.window))
    inside = shapely.intersects_xy(shapely.geometry.shape(corner), x, y)
    for index in np.ndindex(result.values.shape[:2]):
        valid = loaded.valid[index] & inside
        numbers = loaded.values[index][valid].astype(float)
        np.testing.assert_array_equal(result.valid[index], valid)
        np.testing.assert_allclose(
            result.values[index][valid], numbers - numbers.mean(), rtol=1e-5, atol=1e-3
        )
    for window in plan.window.blocks(23):
        assert_same_pixels(engine_evaluate(plan, window), result.crop(window))


def test_polygons_that_share_a_pixel_are_refused_inside_of_a_callback_too() -> None:
    shapes = (
        shapely.box(500_020, 4_999_800, 500_150, 4_999_980),
        shapely.box(500_100, 4_999_750, 500_250, 4_999_950),
    )
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        for shape in shapes
    ]
    polygons = {
        "data": {"from_parameter": "data"},
        "geometries": {"type": "FeatureCollection", "features": features, "crs": crs},
        "process": callback("apply_kernel", data={"from_parameter": "data"}, kernel=[[1]]),
    }
    chunks = {
        "data": {"from_node": "load"},
        "process": callback("apply_polygon", **polygons),
        "size": [{"dimension": name, "value": 32, "unit": "px"} for name in ("x", "y")],
    }
    load = {"id": "fine", "spatial_extent": None, "temporal_extent": None}
    graph = {
        "load": {"process_id": "load_collection", "arguments": load},
        "end": {"process_id": "apply_neighborhood", "arguments": chunks, "result": True},
    }
    plan = make_plan(engine_infer(parse(graph, specs=SPECS), collections()))

    with pytest.raises(GeometriesOverlap, match="Polygons 0 and 1"):
        engine_evaluate(plan, plan.window)
