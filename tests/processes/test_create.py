"""Cubes made from nothing: without dimensions, and with those that were added."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.server.small import make_home

from terrazzo.cube import Cube
from terrazzo.drivers import batch
from terrazzo.drivers.job import Job, Workspace
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.engine.steps import arguments_of
from terrazzo.errors import ArgumentInvalid
from terrazzo.graph import parse
from terrazzo.processes import PROCESSES, SPECS
from terrazzo.testing.graphs import callback, collections

if TYPE_CHECKING:
    from pathlib import Path


def node(process: str, /, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments}


def ref(name: str) -> dict[str, str]:
    return {"from_node": name}


def dated(label: str) -> dict[str, Any]:
    return node("add_dimension", data=ref("new"), name="t", label=label, type="temporal")


NEW = {"new": node("create_data_cube")}
MERGED = {
    **NEW,
    "late": dated("2020-02-01"),
    "early": dated("2020-01-01"),
    "both": node("merge_cubes", cube1=ref("late"), cube2=ref("early")),
}


def known(nodes: dict[str, Any]) -> Any:
    """Return what the last node of a graph gives, which is known without pixels."""
    last = list(nodes)[-1]
    nodes = {**nodes, last: {**nodes[last], "result": True}}
    return infer(parse(nodes, specs=SPECS), collections()).cube(last).result


def test_a_new_cube_has_no_dimension_and_one_cell_without_data() -> None:
    cube = PROCESSES["create_data_cube"].function()

    assert cube.dimensions == ()
    assert cube.values.shape == ()
    assert not cube.valid
    assert cube.grid is None


def test_dimensions_are_added_and_cubes_are_joined_along_them() -> None:
    cube = known(MERGED)

    assert isinstance(cube, Cube)
    assert cube.dimension("t").labels == ("2020-01-01", "2020-02-01")
    assert not cube.valid.any()


def test_values_are_computed_before_the_run() -> None:
    filled = node(
        "apply", data=ref("both"), process=callback("is_nodata", x={"from_parameter": "x"})
    )

    cube = known({**MERGED, "filled": filled})

    np.testing.assert_array_equal(cube.valid, [True, True])
    np.testing.assert_array_equal(cube.values, [True, True])


def test_a_cube_without_pixels_is_no_map() -> None:
    graph = {"new": {**NEW["new"], "result": True}}

    with pytest.raises(ArgumentInvalid, match="not pixels on a map"):
        make_plan(infer(parse(graph, specs=SPECS), collections()))


@pytest.mark.parametrize("turned", [False, True])
def test_merged_with_a_raster_it_adds_its_labels_and_keeps_the_type(turned: bool) -> None:
    load = node("load_collection", id="fine", spatial_extent=None, temporal_extent=None)
    cubes = [ref("load"), ref("later")][:: -1 if turned else 1]
    graph = {
        **NEW,
        "load": load,
        "later": dated("2021-01-01T00:00:00Z"),
        "both": {**node("merge_cubes", cube1=cubes[0], cube2=cubes[1]), "result": True},
    }
    plan = make_plan(infer(parse(graph, specs=SPECS), collections()))

    cube = evaluate(plan, plan.window)

    assert cube.names == ("t", "bands", "y", "x")
    assert cube.dimension("t").labels[-1] == "2021-01-01T00:00:00Z"
    assert cube.dtype == np.uint16
    assert cube.valid[:-1].any()
    assert not cube.valid[-1].any()


def test_labels_of_a_constant_that_nobody_wants_are_left_out() -> None:
    load = node("load_collection", id="fine", spatial_extent=None, temporal_extent=None)
    period = ["2020-02-01", "2020-02-02"]
    merged = {
        "raster": node("merge_cubes", cube1=ref("load"), cube2=ref("both")),
        "end": {**node("filter_temporal", data=ref("raster"), extent=period), "result": True},
    }
    plan = make_plan(infer(parse({**MERGED, "load": load, **merged}, specs=SPECS), collections()))

    step = next(step for step in plan.steps if step.bound.id == "raster")
    cube = evaluate(plan, plan.window)

    assert arguments_of(step)["cube2"].dimension("t").labels == ("2020-02-01",)
    assert cube.dimension("t").labels == ("2020-02-01",)


@pytest.mark.parametrize(
    ("nodes", "rows"),
    [
        (NEW, [{"value": None}]),
        (MERGED, [{"t": t, "value": None} for t in ("2020-01-01", "2020-02-01")]),
    ],
)
def test_a_run_writes_it_as_a_table(nodes: dict[str, Any], rows: Any, tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    last = list(nodes)[-1]
    graph = {**nodes, last: {**nodes[last], "result": True}}

    made = batch.run(Job.of(graph), Workspace(tmp_path / "home"), tmp_path / "out")

    assert json.loads(made.assets[0].path.read_text()) == rows
