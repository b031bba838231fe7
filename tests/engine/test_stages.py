"""Stages: nodes that must see all pixels, before pixels that depend on them are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from tests.engine.staged import inferred, known, load, node, ref, result

from terrazzo.engine import check_memory, evaluate, make_plan, pending_stages
from terrazzo.errors import ArgumentInvalid, DimensionNotAvailable, PlanTooLarge
from terrazzo.geo.grid import Window
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import DATA, LEFT, TOP, callback, collections

if TYPE_CHECKING:
    from terrazzo.cube import Cube

X, Y = {"from_parameter": "x"}, {"from_parameter": "y"}
UTM = {"type": "name", "properties": {"name": "EPSG:32633"}}


def square(left: float, top: float, side: float) -> dict[str, Any]:
    """Return GeoJSON of a square in metres."""
    return {**shapely.geometry.mapping(shapely.box(left, top - side, left + side, top)), "crs": UTM}


def joined(first: str, second: str, process: str) -> dict[str, Any]:
    return node(
        "merge_cubes",
        cube1=ref(first),
        cube2=ref(second),
        overlap_resolver=callback(process, x=X, y=Y),
    )


def zscore() -> dict[str, Any]:
    return {
        "load": load(),
        "mean": node("reduce_spatial", data=ref("load"), reducer=callback("mean", data=DATA)),
        "sd": node("reduce_spatial", data=ref("load"), reducer=callback("sd", data=DATA)),
        "above": joined("load", "mean", "subtract"),
        "z": joined("above", "sd", "divide"),
    }


def whole() -> Cube:
    """Return all pixels of the collection `fine`."""
    return result({"load": load()})


def conditional(threshold: float) -> dict[str, Any]:
    """Return a graph that takes one branch or another by a mean of all pixels."""
    return {
        "load": load(),
        "mean": node("reduce_spatial", data=ref("load"), reducer=callback("mean", data=DATA)),
        "time": node(
            "reduce_dimension",
            data=ref("mean"),
            reducer=callback("max", data=DATA),
            dimension="t",
        ),
        "red": node("array_element", data=ref("time"), label="red"),
        "bright": node("gt", x=ref("red"), y=threshold),
        "plus": node("apply", data=ref("load"), process=callback("add", x=X, y=1)),
        "minus": node("apply", data=ref("load"), process=callback("subtract", x=X, y=1)),
        "if": node("if", value=ref("bright"), accept=ref("plus"), reject=ref("minus")),
    }


def test_pixels_are_computed_from_what_a_stage_found():
    cube = whole()
    numbers = np.where(cube.valid, cube.values.astype(np.float64), np.nan)
    mean = np.nanmean(numbers, axis=(2, 3), keepdims=True)
    sd = np.nanstd(numbers, axis=(2, 3), ddof=1, keepdims=True)

    z = result(zscore())

    np.testing.assert_array_equal(z.valid, cube.valid)
    np.testing.assert_allclose(z.values[z.valid], ((numbers - mean) / sd)[z.valid], atol=1e-6)


@pytest.mark.parametrize(("block", "workers"), [(7, 1), (16, 3), (1000, 1)])
def test_what_is_found_does_not_depend_on_blocks_and_workers(block: int, workers: int):
    expected = result(zscore(), block=64, workers=2)

    assert_same_pixels(result(zscore(), block=block, workers=workers), expected)


def test_a_tile_has_the_pixels_of_the_whole():
    inference = known(zscore())
    plan = make_plan(inference)
    cube = evaluate(plan, plan.window)
    window = Window(13, 20, 30, 17)

    assert_same_pixels(evaluate(plan, window), cube.crop(window))


def test_a_stage_looks_at_its_own_pixels_on_whichever_grid_the_result_is():
    coarse = collections().sources["coarse"].grid
    inference = known(zscore())
    native = inference.nodes["mean"].result

    pixels = evaluate(make_plan(inference, coarse), coarse.window)

    assert pixels.grid == coarse
    np.testing.assert_array_equal(known(zscore()).nodes["mean"].result.values, native.values)


def test_a_plan_before_its_stages_have_run_can_be_told_but_not_computed():
    inference = inferred(zscore())

    plan = make_plan(inference)

    assert pending_stages(inference, "z") == ("mean", "sd")
    assert plan.pending == ("mean", "sd")
    assert check_memory(plan, 64, 10**9).read_pixels > 0
    with pytest.raises(ArgumentInvalid, match="mean, sd"):
        evaluate(plan, plan.window)


def test_a_mistake_after_a_stage_is_found_before_it_runs():
    nodes = zscore() | {"only": node("drop_dimension", data=ref("z"), name="bandz")}

    with pytest.raises(DimensionNotAvailable, match="bandz"):
        inferred(nodes)


@pytest.mark.parametrize("threshold", [0.0, 2000.0])
def test_a_branch_is_taken_by_what_a_stage_found(threshold: float):
    cube = whole()
    nodes = conditional(threshold)

    taken = result(nodes)

    shift = 1 if threshold < cube.values[cube.valid].mean() else -1
    np.testing.assert_array_equal(taken.values[taken.valid], cube.values[cube.valid] + shift)
    assert ("minus" in known(nodes).nodes) is (shift < 0)
    assert ("plus" in known(nodes).nodes) is (shift > 0)


def test_nothing_is_known_of_a_branch_before_its_stage_has_run():
    inference = inferred(conditional(0.0))

    assert {"plus", "minus"}.isdisjoint(inference.nodes)
    assert pending_stages(inference, "if") == ("mean",)


def test_a_label_is_chosen_by_what_a_stage_found():
    cube = whole()
    means = [cube.values[0, b][cube.valid[0, b]].mean(dtype=np.float64) for b in range(2)]
    nodes = {
        "load": load(),
        "first": node("filter_temporal", data=ref("load"), extent=["2020-01-01", "2020-01-10"]),
        "mean": node("reduce_spatial", data=ref("first"), reducer=callback("mean", data=DATA)),
        "drop": node("drop_dimension", data=ref("mean"), name="t"),
        "order": node("order", data=ref("drop"), asc=False),
        "which": node("array_element", data=ref("order"), index=0),
        "name": node("array_element", data=["red", "nir"], index=ref("which")),
        "band": node("filter_bands", data=ref("load"), bands=[ref("name")]),
    }

    chosen = result(nodes)

    assert chosen.dimension("bands").labels == (("red", "nir")[int(np.argmax(means))],)


def test_polygons_of_a_vector_cube_made_of_pixels_mask_pixels():
    box = square(LEFT + 105, TOP - 105, 200)
    nodes = {
        "load": load(),
        "fields": node(
            "aggregate_spatial",
            data=ref("load"),
            geometries=box,
            reducer=callback("mean", data=DATA),
        ),
        "mask": node("mask_polygon", data=ref("load"), mask=ref("fields")),
    }
    direct = {"load": nodes["load"], "mask": node("mask_polygon", data=ref("load"), mask=box)}

    assert_same_pixels(result(nodes), result(direct))


def test_a_stage_after_a_stage_sees_its_result():
    nodes = zscore() | {
        "again": node("reduce_spatial", data=ref("z"), reducer=callback("mean", data=DATA))
    }

    means = result(nodes)

    assert means.names == ("t", "bands")
    assert np.abs(means.values).max() < 1e-6


def test_what_a_stage_found_is_the_context_of_callbacks():
    nodes = {
        "load": load(bands=["red"]),
        "mean": node("reduce_spatial", data=ref("load"), reducer=callback("max", data=DATA)),
        "over": node(
            "reduce_dimension", data=ref("mean"), reducer=callback("max", data=DATA), dimension="t"
        ),
        "less": node(
            "apply",
            data=ref("load"),
            process={
                "process_graph": {
                    "most": node("array_element", data={"from_parameter": "context"}, label="red"),
                    "less": {**node("subtract", x=X, y=ref("most")), "result": True},
                }
            },
            context=ref("over"),
        ),
    }
    cube = whole().take("bands", (0,))

    less = result(nodes)

    most = cube.values[cube.valid].max()
    np.testing.assert_array_equal(less.values[less.valid], cube.values[cube.valid] - most)


def test_bands_nobody_wants_are_not_read_for_pixels():
    opener = collections(dtype="float32")
    nodes = zscore() | {"one": node("filter_bands", data=ref("z"), bands=["nir"])}
    inference = known(nodes, opener)
    plan = make_plan(inference)
    opener.sources["fine"].reads.clear()

    one = evaluate(plan, Window(0, 0, 5, 5))

    assert one.dimension("bands").labels == ("nir",)
    assert [labels["bands"] for _, labels in opener.sources["fine"].reads] == [(1,)]
    assert_same_pixels(one, result(zscore()).take("bands", (1,)).crop(Window(0, 0, 5, 5)))


def test_a_stage_that_holds_too_much_is_refused_before_it_reads():
    opener = collections(dtype="float32")
    nodes = {
        "load": load(),
        "median": node("reduce_spatial", data=ref("load"), reducer=callback("median", data=DATA)),
    }

    with pytest.raises(PlanTooLarge, match="--memory"):
        result(nodes, opener, memory=60 * 70 * 40)

    assert opener.sources["fine"].reads == []
