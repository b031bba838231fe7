"""A plan for a grid that is new to a graph is made of what the graph's other plans know."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terrazzo.engine import evaluate, infer, make_plan, plan
from terrazzo.errors import SpatialExtentEmpty
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.tiling import web_mercator
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import LEFT, TOP, collections, graphs

FINE = Grid.of(32633, LEFT, TOP, 10.0, 60, 70)
GRIDS = (
    FINE,
    replace(FINE, height=30),
    Grid.of(32633, LEFT - 35.0, TOP + 45.0, 20.0, 34, 40),
    Grid.of(32633, LEFT + 3, TOP, 15.0, 40, 40),
    Grid.of(4326, 14.9, 45.2, 0.0001, 1000, 2000),
    *(web_mercator(64).grid(zoom) for zoom in (0, 12, 15)),
)


def inferred(graph):
    return infer(parse(graph, specs=SPECS), collections())


def told(made):
    """Return all that a plan says, as values that can be compared."""
    steps = [
        (
            step.name,
            step.grid,
            step.extent,
            [(d.name, d.kind, d.labels) for d in step.probe.dimensions],
            (step.probe.dtype, step.probe.grid, step.probe.window, step.probe.values.shape),
            (dict(step.wanted), dict(step.inputs), {k: dict(v) for k, v in step.asked.items()}),
            (step.method, step.warps),
        )
        for step in made.steps
    ]
    return made.digest, made.node, made.grid, made.window, made.last_use, steps


def planned(inference, grid):
    try:
        return told(make_plan(inference, grid))
    except SpatialExtentEmpty as error:
        return str(error)


@given(
    graph=graphs(), more=st.lists(st.sampled_from(GRIDS), min_size=2, max_size=5), data=st.data()
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_does_not_depend_on_the_plans_made_before_it(graph, more, data):
    used = inferred(graph)
    own = sorted(used.grids, key=str)
    grids = [data.draw(st.sampled_from((grid, *own))) for grid in more]

    for grid in grids:
        assert planned(used, grid) == planned(inferred(graph), grid)


@given(graph=graphs(steps=4), zoom=st.integers(13, 16))
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_pixels_do_not_depend_on_the_plans_made_before(graph, zoom):
    used, matrix = inferred(graph), web_mercator(64)
    make_plan(used)
    make_plan(used, matrix.grid(zoom + 1))

    one = make_plan(used, matrix.grid(zoom))
    other = make_plan(inferred(graph), matrix.grid(zoom))
    window = Window(one.window.row, one.window.col, 20, 30)

    assert_same_pixels(evaluate(one, window), evaluate(other, window))


def test_grids_that_are_no_nodes_own_share_one_walk_over_the_graph():
    load = {"id": "fine", "spatial_extent": None, "temporal_extent": None}
    nodes = {"n0": {"process_id": "load_collection", "arguments": load}}
    for number in range(1, 50):
        arguments = {"data": {"from_node": f"n{number - 1}"}, "bands": ["red"]}
        nodes[f"n{number}"] = {"process_id": "filter_bands", "arguments": arguments}
    nodes["n49"]["result"] = True
    inference = inferred(nodes)
    make_plan(inference)
    make_plan(inference, web_mercator(256).grid(14))

    with (
        mock.patch.object(plan, "_label_demand", side_effect=AssertionError("walked again")),
        mock.patch.object(plan, "extent_on", wraps=plan.extent_on) as extent_on,
    ):
        plans = [make_plan(inference, web_mercator(256).grid(zoom)) for zoom in range(10, 18)]
        make_plan(inference)

    assert extent_on.call_count <= len(plans)
    assert len({made.steps[-1].grid for made in plans}) == len(plans)
    assert len(inference.known) == 2
