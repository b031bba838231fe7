"""The engine against a second, naive interpreter: what is computed, not only that it agrees."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from tests.engine import naive

from terrazzo.cube import Kind
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.graphs import Ground, collections, graphs

MANY = int(os.environ.get("TERRAZZO_EXAMPLES", "60"))
BEYOND = 1e30
"""Products of products do not fit float32."""
KINDS = (
    "kernel",
    "scale",
    "mask",
    "merge",
    "reduce",
    "bands",
    "dates",
    "box",
    "intervals",
    "along",
    "maths",
    "index",
    "flat",
    "aligned",
    "anomaly",
    "static",
)


def uses(graph, processes):
    return any(process in repr(graph) for process in processes)


@given(graph=graphs(steps=4, kinds=KINDS, ground=Ground(("fine",))))
@settings(max_examples=MANY, suppress_health_check=[HealthCheck.too_slow])
def test_the_engine_computes_what_a_naive_interpreter_does(graph):
    assume(not uses(graph, ("'divide'", "'normalized_difference'")))

    cube = evaluate(plan := make_plan(infer(parse(graph, specs=SPECS), collections())), plan.window)
    told = naive.run(graph)

    window = plan.window
    held = (..., slice(window.row, window.row_stop), slice(window.col, window.col_stop))
    labelled = [d for d in cube.dimensions if d.kind is not Kind.SPATIAL]
    assert {d.name: list(d.labels) for d in labelled} == told.dims
    assert (window.row, window.row_stop, window.col, window.col_stop) == (*told.rows, *told.cols)
    valid = told.valid[held]
    np.testing.assert_array_equal(cube.valid, valid)
    largest = max(1.0, float(np.abs(told.values[told.valid]).max(initial=0)))
    assume(largest < BEYOND)
    np.testing.assert_allclose(
        cube.values[valid].astype(float), told.values[held][valid], rtol=1e-5, atol=1e-5 * largest
    )
