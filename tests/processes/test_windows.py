"""Aggregation over windows: against xarray's `coarsen`, on any window of any grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.staged import inferred, load, node, ref, result

from terrazzo.engine import evaluate, make_plan
from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty
from terrazzo.geo.grid import Grid, Window
from terrazzo.processes import PROCESSES
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import DATA, LEFT, TOP, callback

if TYPE_CHECKING:
    from terrazzo.cube import Cube, Stack

ALIGNS = ("lower-left", "upper-left", "lower-right", "upper-right")


def windows(reducer: str = "mean", **arguments: Any) -> dict[str, Any]:
    aggregate = node(
        "aggregate_spatial_window",
        data=ref("load"),
        reducer=callback(reducer, data=DATA),
        **arguments,
    )
    return {"load": load(), "windows": aggregate}


def coarsened(size: tuple[int, int], boundary: str, align: str) -> xr.DataArray:
    """Aggregate with xarray, which pads and trims at the far end: turned round where it must."""
    cube = result({"load": load()})
    values = np.where(cube.valid, cube.values.astype(np.float64), np.nan)
    data = xr.DataArray(
        values,
        dims=("t", "bands", "y", "x"),
        coords={"y": cube.grid.ys(cube.window), "x": cube.grid.xs(cube.window)},
    )
    turned = {
        d: slice(None, None, -1)
        for d, far in (("y", align.startswith("lower")), ("x", align.endswith("right")))
        if far
    }
    made = (
        data.isel(turned).coarsen(x=size[0], y=size[1], boundary=boundary, coord_func="min").mean()
    )
    return made.isel(turned)


@pytest.mark.parametrize("align", ALIGNS)
@pytest.mark.parametrize("boundary", ["pad", "trim"])
@pytest.mark.parametrize("size", [(8, 7), (1, 4), (10, 10), (33, 64)])
def test_windows_are_what_xarray_coarsens(size: tuple[int, int], boundary: str, align: str):
    arguments = {"size": list(size), "boundary": boundary, "align": align}
    if boundary == "trim" and size[1] > 60:
        with pytest.raises(SpatialExtentEmpty, match="windows"):
            result(windows(**arguments))
        return
    expected = coarsened(size, boundary, align)

    cube = result(windows(**arguments))

    np.testing.assert_allclose(
        np.where(cube.valid, cube.values, np.nan), expected.values, rtol=1e-6
    )


def test_labels_are_the_centres_of_the_windows():
    cube = result(windows(size=[4, 6]))

    assert (cube.grid.pixel_x, cube.grid.pixel_y) == (40, 60)
    assert cube.grid.xs(cube.window)[:2].tolist() == [LEFT + 20, LEFT + 60]
    assert cube.grid.ys(cube.window)[:2].tolist() == [TOP - 30, TOP - 90]
    assert cube.values.shape[-2:] == (10, 18)


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    align=st.sampled_from(ALIGNS),
    boundary=st.sampled_from(("pad", "trim")),
    data=st.data(),
)
def test_any_part_is_what_the_whole_is(size, align: str, boundary: str, data):
    nodes = windows("median", size=list(size), align=align, boundary=boundary)
    plan = make_plan(inferred(nodes))
    whole = evaluate(plan, plan.window)
    row = data.draw(st.integers(0, plan.window.height - 1))
    col = data.draw(st.integers(0, plan.window.width - 1))
    part = Window(row, col, data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))
    part = part.intersection(plan.window)

    assert_same_pixels(evaluate(plan, part), whole.crop(part))


def test_only_the_pixels_of_the_windows_are_read():
    inference = inferred(windows(size=[8, 7]))
    plan = make_plan(inference)
    source = inference.nodes["load"].source
    source.reads.clear()

    evaluate(plan, Window(2, 3, 2, 1))

    assert [window for window, _ in source.reads] == [Window(14, 24, 14, 8)]


def test_a_tile_warps_the_windows_and_not_the_pixels():
    inference = inferred(windows(size=[8, 7]))
    fine = Grid.of(32633, LEFT, TOP, 10.0, 60, 70)
    whole = evaluate(make_plan(inference), make_plan(inference).window)

    tile = evaluate(make_plan(inference, fine), fine.window)

    rows, cols = np.arange(60) // 7, np.arange(70) // 8
    np.testing.assert_array_equal(tile.values, whole.values[..., rows[:, None], cols])


def test_what_follows_works_on_the_windows():
    nodes = windows(size=[8, 7]) | {
        "smooth": node("apply_kernel", data=ref("windows"), kernel=[[1, 2, 1]] * 3)
    }
    whole = result(nodes)
    window = Window(2, 3, 4, 2)

    assert whole.grid.pixel_x == 80
    assert_same_pixels(result(nodes, window=window), whole.crop(window))


def test_padding_is_no_data():
    cube = result(windows("count", size=[64, 64]))

    inside = result({"load": load()}).valid
    expected = [
        [inside[..., r : r + 64, c : c + 64].sum(axis=(-1, -2)) for c in (0, 64)] for r in (0,)
    ]
    np.testing.assert_array_equal(cube.values, np.moveaxis(np.array(expected), (0, 1), (2, 3)))


@pytest.mark.parametrize("align", ALIGNS)
def test_a_cube_that_is_whole_needs_no_place(align: str):
    cube: Cube = result({"load": load()})
    arguments = {"size": [8, 7], "align": align}

    def mean(data: Stack, context: object) -> object:
        assert context is None
        return PROCESSES["mean"].function(data)

    made = PROCESSES["aggregate_spatial_window"].function(data=cube, reducer=mean, **arguments)

    assert_same_pixels(made, result(windows(**arguments)))


@pytest.mark.parametrize("size", [[0, 3], [2], [2.5, 3], "2,3"])
def test_a_size_that_is_none_is_refused(size: Any):
    cube = result({"load": load()})

    with pytest.raises(ArgumentInvalid, match="size"):
        PROCESSES["aggregate_spatial_window"].function(data=cube, reducer=len, size=size)
