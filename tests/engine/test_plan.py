"""The planner: what is read, on which grid, with which labels, and what it costs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from terrazzo.engine import check_memory, cost, evaluate, infer, labels_read, make_plan
from terrazzo.engine.explain import explain, explain_text
from terrazzo.errors import (
    ArgumentInvalid,
    CollectionNotFound,
    DimensionNotAvailable,
    GraphInvalid,
    PlanTooLarge,
    SpatialExtentEmpty,
)
from terrazzo.geo.extent import spatial_extent
from terrazzo.geo.grid import Grid, Window
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import LEFT, TIMES, TOP, callback, collections

LOAD = {
    "process_id": "load_collection",
    "arguments": {"id": "fine", "spatial_extent": None, "temporal_extent": None},
}


def planned(graph, opener=None, grid=None, **options):
    return make_plan(infer(parse(graph, specs=SPECS), opener or collections()), grid, **options)


def node(process_id, result=False, /, **arguments):
    made = {"process_id": process_id, "arguments": arguments}
    return {**made, "result": True} if result else made


def ref(name):
    return {"from_node": name}


def test_only_the_bands_and_dates_that_are_needed_are_read():
    opener = collections()
    graph = {
        "load": LOAD,
        "when": node("filter_temporal", data=ref("load"), extent=["2020-01-20", "2020-02-01"]),
        "which": node("filter_bands", True, data=ref("when"), bands=["nir"]),
    }

    plan = planned(graph, opener)
    evaluate(plan, Window(3, 4, 5, 6))

    (window, labels), *others = opener.sources["fine"].reads
    assert not others
    assert window == Window(3, 4, 5, 6)
    assert labels == {"t": (1,), "bands": (1,)}


def test_a_kernel_reads_its_halo_and_no_more_and_none_beyond_the_extent():
    opener = collections()
    kernel = [[1.0] * 5] * 3
    graph = {"load": LOAD, "k": node("apply_kernel", True, data=ref("load"), kernel=kernel)}

    plan = planned(graph, opener)
    evaluate(plan, Window(10, 10, 4, 4))
    evaluate(plan, Window(0, 0, 4, 4))

    assert [window for window, _ in opener.sources["fine"].reads] == [
        Window(9, 8, 6, 8),
        Window(0, 0, 5, 6),
    ]


def test_a_halo_counts_in_pixels_of_the_grid_of_its_own_node():
    opener = collections()
    graph = {
        "load": LOAD,
        "coarse": node("resample_spatial", data=ref("load"), resolution=20, method="near"),
        "k": node("apply_kernel", True, data=ref("coarse"), kernel=[[1.0] * 3] * 3),
    }

    plan = planned(graph, opener)
    evaluate(plan, Window(5, 5, 2, 2))

    assert plan.grid.pixel_x == 20
    assert opener.sources["fine"].reads[0][0] == Window(4, 4, 4, 4)


def test_a_free_graph_follows_the_tile_and_a_fixed_one_keeps_its_grid():
    tile = Grid.of(32633, LEFT, TOP, 40.0, 15, 18)
    free = {"load": {**LOAD, "result": True}}
    fixed = {"load": LOAD, "r": node("resample_spatial", True, data=ref("load"), resolution=20)}

    free_plan, fixed_plan = planned(free, grid=tile), planned(fixed, grid=tile)

    assert [step.grid for step in free_plan.steps] == [tile]
    assert [step.grid.pixel_x for step in fixed_plan.steps] == [20, 20, 40]
    assert fixed_plan.steps[-1].warps


def test_maths_before_an_explicit_resampling_runs_on_the_source_pixels():
    scaled = callback("multiply", x={"from_parameter": "x"}, y=2)
    graph = {
        "load": LOAD,
        "double": node("apply", data=ref("load"), process=scaled),
        "r": node("resample_spatial", True, data=ref("double"), resolution=20, method="average"),
    }

    plan = planned(graph)

    assert [step.grid.pixel_x for step in plan.steps][:2] == [10, 10]
    assert plan.grid.pixel_x == 20


def test_equal_nodes_are_computed_once_and_every_step_has_one_read():
    opener = collections()
    graph = {
        "a": LOAD,
        "b": LOAD,
        "m": node(
            "merge_cubes",
            True,
            cube1=ref("a"),
            cube2=ref("b"),
            overlap_resolver=callback(
                "max", data=[{"from_parameter": "x"}, {"from_parameter": "y"}]
            ),
        ),
    }

    evaluate(planned(graph, opener), Window(0, 0, 8, 8))

    assert len(opener.sources["fine"].reads) == 1


def test_the_branch_that_if_does_not_take_is_not_even_opened():
    missing = {**LOAD, "arguments": {**LOAD["arguments"], "id": "no-such-collection"}}
    graph = {
        "small": node("lt", x=1, y=2),
        "yes": LOAD,
        "no": missing,
        "choice": node("if", True, value=ref("small"), accept=ref("yes"), reject=ref("no")),
    }

    plan = planned(graph)

    assert plan.node == "yes"
    with pytest.raises(CollectionNotFound, match="fine"):
        planned({**graph, "small": node("lt", x=3, y=2)})


def test_scalars_outside_of_callbacks_are_computed_before_the_run():
    graph = {
        "sum": node("add", x=1, y=2),
        "load": LOAD,
        "r": node("resample_spatial", True, data=ref("load"), resolution={"from_node": "sum"}),
    }

    assert planned(graph).grid.pixel_x == 3


def test_errors_of_processes_name_their_node_and_what_there_is():
    graph = {"load": LOAD, "pick": node("drop_dimension", True, data=ref("load"), name="time")}

    with pytest.raises(DimensionNotAvailable, match=r"'pick' \(drop_dimension\).*t, bands, y, x"):
        planned(graph)


def test_a_block_that_cannot_fit_is_refused_before_any_read_with_the_size_that_would():
    opener = collections()
    graph = {"load": {**LOAD, "result": True}}
    plan = planned(graph, opener)

    with pytest.raises(PlanTooLarge, match=r"--block (\d+)") as refused:
        check_memory(plan, 60, 20_000)

    fitting = int(str(refused.value).split("--block ")[1].split()[0])
    assert check_memory(plan, fitting, 20_000).memory_bytes <= 20_000
    assert opener.sources["fine"].reads == []


def test_projected_memory_bounds_what_is_really_held():
    graph = {
        "load": LOAD,
        "median": node(
            "reduce_dimension",
            True,
            data=ref("load"),
            dimension="t",
            reducer=callback("median", data={"from_parameter": "data"}),
        ),
    }
    plan = planned(graph)
    window = plan.window

    values = len(TIMES) * 2 * window.pixels
    result = 2 * window.pixels

    needed = cost(plan, window).memory_bytes
    assert needed >= values * (2 + 1) + result * (4 + 1)
    assert needed < 6 * values * (2 + 1)


def test_an_extent_outside_of_the_data_is_told_before_any_read():
    far = spatial_extent({"west": 100, "east": 101, "south": 10, "north": 11})

    with pytest.raises(SpatialExtentEmpty, match="holds no pixel"):
        planned({"load": {**LOAD, "result": True}}, within=far)


def test_a_node_that_leaves_no_pixel_is_named_when_its_pixels_are_wanted():
    far = {"west": 100, "east": 101, "south": 10, "north": 11}
    graph = {
        "load": LOAD,
        "cut": node("filter_bbox", data=ref("load"), extent=far),
        "both": node("merge_cubes", cube1=ref("cut"), cube2=ref("load")),
        "again": node("filter_bands", True, data=ref("cut"), bands=["red"]),
    }
    inference = infer(parse(graph, specs=SPECS), collections())

    assert inference.cube("again").extent.is_empty
    with pytest.raises(SpatialExtentEmpty, match=r"'cut' \(filter_bbox\) leaves no pixel"):
        make_plan(inference)
    assert make_plan(inference, node="both").window == inference.cube("load").extent


def test_pixels_outside_of_the_extent_are_no_data():
    plan = planned({"load": {**LOAD, "result": True}})

    cube = evaluate(plan, Window(-5, -5, 8, 8))

    assert cube.valid[..., :5, :].sum() == 0
    assert cube.valid[..., :, :5].sum() == 0
    assert cube.valid[..., 5:, 5:].sum() > 0


def test_a_plan_is_safe_to_use_from_many_threads():
    graph = {
        "load": LOAD,
        "k": node("apply_kernel", data=ref("load"), kernel=[[1.0] * 3] * 3),
        "month": node(
            "aggregate_temporal_period",
            True,
            data=ref("k"),
            period="month",
            reducer=callback("mean", data={"from_parameter": "data"}),
        ),
    }
    plan = planned(graph)
    windows = list(plan.window.blocks(16))

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda window: evaluate(plan, window), windows * 3))

    for window, cube in zip(windows * 3, together, strict=True):
        assert_same_pixels(cube, evaluate(plan, window))


def test_a_callback_called_twice_gives_its_own_result_each_time():
    # Engines that cache the first result give three equal months here.
    graph = {
        "load": LOAD,
        "month": node(
            "aggregate_temporal_period",
            True,
            data=ref("load"),
            period="month",
            reducer=callback("max", data={"from_parameter": "data"}),
        ),
    }
    cube = evaluate(planned(graph), Window(0, 0, 20, 20))

    assert [str(label) for label in cube.dimension("t").labels] == ["2020-01", "2020-02", "2020-03"]
    both = cube.valid[0] & cube.valid[2]
    assert not np.array_equal(cube.values[0][both], cube.values[2][both])


@pytest.mark.parametrize(
    ("process", "arguments"),
    [
        ("aggregate_temporal_period", {"period": "month"}),
        ("aggregate_temporal_period", {"period": "week"}),
        (
            "aggregate_temporal",
            {"intervals": [["2020-01-01", "2020-03-01"], ["2020-02-01", None], ["1999", "2000"]]},
        ),
    ],
)
def test_a_period_reads_its_own_dates_and_those_beside_it_at_most(process, arguments):
    counted = callback("count", data={"from_parameter": "data"}, condition=True)
    held = node(process, True, data=ref("load"), reducer=counted, **arguments)
    graph = {"load": LOAD, "held": held}
    whole = planned(graph)
    inference = infer(parse(graph, specs=SPECS), collections())
    count = len(whole.probe.dimension("t").labels)
    choices = [{"t": (number,)} for number in range(count)]

    read = [one["load"]["t"] for one in labels_read(inference, choices)]

    pixels = evaluate(whole, whole.window)
    for number, dates in enumerate(read):
        plan = make_plan(inference, labels=choices[number])
        assert_same_pixels(evaluate(plan, plan.window), pixels.take("t", (number,)))
        there = pixels.values[number].max()
        assert len(dates) == (there or (2 if process == "aggregate_temporal_period" else 0))


def test_explain_says_what_runs_and_is_json():
    graph = {
        "load": LOAD,
        "k": node("apply_kernel", True, data=ref("load"), kernel=[[1.0] * 3] * 3),
    }
    plan = planned(graph)

    told = json.loads(json.dumps(explain(plan, block=16)))
    text = explain_text(plan, block=16)

    assert [step["process"] for step in told["steps"]] == ["load_collection", "apply_kernel"]
    assert told["block"]["read_pixels"] == 18 * 18 * 3 * 2
    assert told["grid"]["pixel"] == [10.0, 10.0]
    assert "load: load_collection" in text
    assert "18 x 18 pixels" in text


def test_explain_marks_the_steps_that_are_computed_in_one_pass():
    graph = {
        "load": LOAD,
        "ndvi": node("ndvi", data=ref("load")),
        "smooth": node("apply_kernel", data=ref("ndvi"), kernel=[[1.0] * 3] * 3),
        "mean": node(
            "reduce_dimension",
            True,
            data=ref("smooth"),
            dimension="t",
            reducer=callback("mean", data={"from_parameter": "data"}),
        ),
    }
    plan = planned(graph)

    told = {step["node"]: step["fused"] for step in explain(plan, block=16)["steps"]}
    text = explain_text(plan, block=16).splitlines()

    assert told == {"load": None, "ndvi": 1, "smooth": None, "mean": 2}
    assert [line.split()[-1] for line in text if "[fused" in line] == ["1]", "2]"]


def test_a_graph_of_ten_thousand_nodes_is_planned():
    graph = {"n0": LOAD}
    for number in range(1, 10_000):
        graph[f"n{number}"] = node("filter_bands", data=ref(f"n{number - 1}"), bands=["nir", "red"])
    graph["n9999"]["result"] = True

    plan = planned(graph)
    cube = evaluate(plan, Window(0, 0, 2, 2))

    assert len(plan.steps) <= 10_000
    assert cube.dimension("bands").labels == ("nir", "red")


def test_a_graph_that_gives_no_raster_has_no_plan():
    with pytest.raises(ArgumentInvalid, match="single value"):
        planned({"sum": node("add", True, x=1, y=2)})


def test_an_invalid_graph_tells_all_its_problems_at_once():
    graph = {
        "a": node("lod_collection", id="fine"),
        "b": node("ndvi", True, data=ref("missing"), nirr="x"),
    }

    with pytest.raises(GraphInvalid) as told:
        planned(graph)

    codes = {problem.code for problem in told.value.problems}
    assert {"ProcessUnsupported", "ProcessParameterUnsupported"} <= codes
    assert len(told.value.problems) >= 3


def test_merging_cubes_of_different_extents_resolves_only_where_both_have_pixels():
    opener = collections()
    difference = callback("subtract", x={"from_parameter": "x"}, y={"from_parameter": "y"})
    west = {"west": LEFT, "east": LEFT + 300, "south": TOP - 600, "north": TOP, "crs": 32633}
    graph = {
        "all": LOAD,
        "west": node("filter_bbox", data=ref("all"), extent=west),
        "m": node(
            "merge_cubes", True, cube1=ref("all"), cube2=ref("west"), overlap_resolver=difference
        ),
    }
    alone = planned({"all": {**LOAD, "result": True}}, opener)

    plan = planned(graph, opener)
    merged, whole = evaluate(plan, plan.window), evaluate(alone, alone.window)

    np.testing.assert_array_equal(merged.valid, whole.valid)
    assert not merged.values[..., :30][merged.valid[..., :30]].any()
    east = whole.valid[..., 30:]
    np.testing.assert_array_equal(merged.values[..., 30:][east], whole.values[..., 30:][east])
