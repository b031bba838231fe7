"""Masks by another cube and by polygons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from tests.processes.cubes import (
    EXTENT,
    GRID,
    TIMES,
    assert_blocks_agree,
    assert_same,
    bands,
    cube,
    evaluate,
    infer,
    time,
)

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.errors import ArgumentInvalid, IncompatibleDataCubes
from terrazzo.processes import PROCESSES

POLYGON = {
    "type": "Polygon",
    "coordinates": [
        [[500_081, 5_399_952], [500_382, 5_399_943], [500_207, 5_399_721], [500_081, 5_399_952]]
    ],
    "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
}


def clouds(*dimensions: Dimension, dtype: str = "bool", invalid: float = 0.2) -> Cube:
    base = cube(*dimensions, invalid=invalid)
    return base.same_pixels(np.where(base.values > 110, 1, 0).astype(dtype), base.valid)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32"])
@pytest.mark.parametrize("lacks", [(), ("t",), ("bands",), ("t", "bands")])
def test_mask_holds_for_all_labels_of_dimensions_that_it_lacks(
    lacks: tuple[str, ...], dtype: str
) -> None:
    data = cube(time(), bands())
    dimensions = [d for d in data.dimensions[:2] if d.name not in lacks]
    mask = clouds(*dimensions, dtype=dtype)

    result = assert_blocks_agree("mask", data=data, mask=mask)

    hidden = mask.valid & (mask.values == 1)
    for axis, name in enumerate(("t", "bands")):
        if name in lacks:
            hidden = np.expand_dims(hidden, axis)
    expected = data.valid & ~np.broadcast_to(hidden, data.valid.shape)
    np.testing.assert_array_equal(result.valid, expected)
    np.testing.assert_array_equal(result.values[expected], data.values[expected])


def test_mask_finds_its_labels_by_name_and_its_axes_too() -> None:
    data = cube(time(), bands())
    mask = clouds(time(), bands())
    turned = mask.take("t", [2, 0, 1])
    turned = Cube(
        turned.values.swapaxes(0, 1),
        turned.valid.swapaxes(0, 1),
        (turned.dimensions[1], turned.dimensions[0], *turned.dimensions[2:]),
        turned.grid,
        turned.window,
    )

    result = assert_blocks_agree("mask", data=data, mask=turned)
    one = evaluate("mask", None, {"t": TIMES[1:2]}, data=data, mask=turned)

    assert_same(result, evaluate("mask", data=data, mask=mask))
    assert_same(one, result.take("t", [1]))


@pytest.mark.parametrize(
    ("dtype", "replacement", "expected"),
    [
        ("uint8", 7, "uint8"),
        ("uint8", 300, "uint16"),
        ("uint8", -1, "int16"),
        ("uint8", 0.5, "float32"),
        ("uint8", True, "uint8"),
        ("float32", 0.1, "float32"),
        ("bool", False, "bool"),
    ],
)
def test_replacement_is_a_valid_value(dtype: str, replacement: Any, expected: str) -> None:
    data, mask = cube(time(), dtype=dtype), clouds()

    result = assert_blocks_agree("mask", data=data, mask=mask, replacement=replacement)

    hidden = np.broadcast_to(mask.valid & mask.values, data.values.shape)
    assert result.dtype == expected
    np.testing.assert_array_equal(result.valid, data.valid | hidden)
    np.testing.assert_array_equal(result.values[hidden], np.array(replacement, expected))


def test_mask_errors() -> None:
    data = cube(time())
    with pytest.raises(IncompatibleDataCubes, match="bands"):
        infer("mask", data=data, mask=clouds(time(), bands()))
    with pytest.raises(IncompatibleDataCubes, match="2020-06-05"):
        infer("mask", data=data, mask=clouds(time(TIMES[:2])))
    with pytest.raises(IncompatibleDataCubes, match="other"):
        infer("mask", data=data, mask=clouds(Dimension("t", Kind.OTHER, TIMES)))
    with pytest.raises(ArgumentInvalid, match="text"):
        infer("mask", data=data, mask=clouds(), replacement="cloud")


@pytest.mark.parametrize("inside", [False, True])
def test_mask_polygon_goes_by_the_centre_of_the_pixel(inside: bool) -> None:
    data = cube(time(), bands())

    result = assert_blocks_agree("mask_polygon", data=data, mask=POLYGON, inside=inside)

    polygon = shapely.Polygon(POLYGON["coordinates"][0])
    x, y = np.meshgrid(GRID.xs(EXTENT), GRID.ys(EXTENT))
    held = np.array(
        [polygon.intersects(shapely.Point(*p)) for p in zip(x.flat, y.flat, strict=True)]
    ).reshape(x.shape)
    assert result.window == EXTENT
    np.testing.assert_array_equal(result.valid, data.valid & (held != inside))


def test_a_centre_on_the_edge_of_a_polygon_is_inside() -> None:
    data = cube(invalid=0.0)
    (west, east), (south, north) = GRID.xs(EXTENT)[[3, 7]], GRID.ys(EXTENT)[[9, 4]]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    square = {"type": "Polygon", "coordinates": [ring], "crs": POLYGON["crs"]}

    kept = assert_blocks_agree("mask_polygon", data=data, mask=square)
    hidden = assert_blocks_agree("mask_polygon", data=data, mask=square, inside=True)

    rows, cols = np.nonzero(kept.valid)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (4, 9, 3, 7)
    np.testing.assert_array_equal(hidden.valid, ~kept.valid)


def test_mask_polygon_leaves_no_data_alone() -> None:
    data = cube(time(), dtype="uint8")

    result = assert_blocks_agree("mask_polygon", data=data, mask=POLYGON, replacement=3)

    hidden = ~evaluate(
        "mask_polygon", data=replace(data, valid=data.valid | True), mask=POLYGON
    ).valid
    np.testing.assert_array_equal(result.valid, data.valid)
    np.testing.assert_array_equal(result.values[hidden & data.valid], 3)


def test_masks_need_pixels() -> None:
    vector = Cube(np.zeros(1), np.ones(1, bool), (Dimension("geometry", Kind.GEOMETRY, (0,)),))

    with pytest.raises(ArgumentInvalid, match="grid"):
        PROCESSES["mask_polygon"].function(data=vector, mask=POLYGON)
