"""What a plan says that a block takes is what it takes, within a stated factor."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from tests.robustness.valid import DATA, HALF, VALID, X, chain, inferred, node, ref, steps

from terrazzo import logs
from terrazzo.engine import cost, evaluate, infer, make_plan
from terrazzo.engine.explain import explain
from terrazzo.geo.grid import Grid, Window
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.graphs import LEFT, TOP, callback
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource

UNDER = 1.15
"""Measured memory may be this many times what the plan says ..."""
OVER = 4.0
"""... and what the plan says this many times the measured memory."""
FIXED = 500_000
"""Bytes that are no arrays."""
TIMES = tuple(f"2020-01-{day:02d}T10:00:00Z" for day in range(1, 11))
BLOCK = 192
LITTLE = {"small chunks": 48}
"""Edges of blocks of graphs that would take long."""


NO_BLOCKS = {"zonal", "points", "load", "filters"}
"""Graphs that give a table, or hardly a pixel."""


class Flat(SyntheticSource):
    """Reads at no cost but that of the result, as a real source does in its accounts."""

    def read(self, grid, window, labels, method):
        del method
        probe = self.probe
        for name, positions in labels.items():
            probe = probe.take(name, positions)
        shape = (*probe.values.shape[:2], window.height, window.width)
        values, valid = np.ones(shape, self.dtype), np.ones(shape, np.bool_)
        values[..., ::2, :], valid[..., ::5] = 7, False
        return replace(probe, values=values, valid=valid, grid=grid, window=window)


def opener(dtype, edge=600):
    fine = Grid.of(32633, LEFT, TOP, 10.0, edge, edge)
    coarse = Grid.of(32633, LEFT - 35, TOP + 45, 20.0, edge // 2 + 40, edge // 2 + 40)
    return SyntheticOpener(
        {
            name: Flat(grid, TIMES, dtype=dtype)
            for name, grid in (("fine", fine), ("coarse", coarse))
        }
    )


def sums(count):
    """Return a callback that holds many numbers per pixel at a time."""
    parts = {f"a{i}": node("add", x=X, y=i) for i in range(count)}
    return steps(**parts, all=node("sum", data=[ref(name) for name in parts]))


def chained(count):
    """Return a callback that holds one number per pixel at a time."""
    parts = {"a0": node("add", x=X, y=0)}
    for i in range(1, count):
        parts[f"a{i}"] = node("multiply", x=ref(f"a{i - 1}"), y=1.5)
    return steps(**parts)


def reduced(process_id):
    reducer = callback(process_id, data=DATA)
    return chain(node("reduce_dimension", dimension="t", reducer=reducer))


def strips(count):
    """Return polygons from corner to corner, each of which has nearly all pixels around it."""
    edges = np.linspace(0, 600, 2 * count + 1).tolist()
    corners = [
        [[LEFT + a, TOP], [LEFT + b, TOP], [LEFT + 1900, TOP - 1900 + a], [LEFT + a, TOP]]
        for a, b in zip(edges[::2], edges[1::2], strict=False)
    ]
    features = [
        {"type": "Feature", "properties": {}, "geometry": polygon}
        for polygon in ({"type": "Polygon", "coordinates": [ring]} for ring in corners)
    ]
    name = {"type": "name", "properties": {"name": "EPSG:32633"}}
    return {"type": "FeatureCollection", "features": features, "crs": name}


GRAPHS = {
    "many polygons": chain(
        node(
            "apply_polygon",
            geometries=ref("here"),
            process=callback("apply_kernel", data=DATA, kernel=[[1, 2, 1]]),
        ),
        here=node("load_geojson", data=strips(12)),
    ),
    **{name: graph for name, graph in VALID.items() if name not in NO_BLOCKS},
    **{f"reduce to {name}": reduced(name) for name in ("median", "mean", "sd", "min", "first")},
    "many numbers at a time": chain(node("apply", process=sums(8))),
    "a long chain": chain(node("apply", process=chained(20))),
    "sort": chain(
        node("apply_dimension", dimension="t", process=callback("sort", data=DATA)),
    ),
    "warped maths": chain(
        node("apply", process=HALF),
        node("resample_spatial", projection=3035, resolution=20, method="average"),
    ),
}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "one by one"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_a_block_takes_the_memory_that_the_plan_says(name, dtype, fused):
    plan = make_plan(inferred(GRAPHS[name], opener(dtype), memory=1_000_000_000, block=BLOCK))
    if not fused:
        plan = replace(plan, fused=())
    window = plan.window
    edge = LITTLE.get(name, BLOCK)
    window = Window(window.row, window.col, min(window.height, edge), min(window.width, edge))
    with logs.collected():
        evaluate(plan, window)  # compiles kernels

        told = cost(plan, window).memory_bytes
        tracemalloc.start()
        evaluate(plan, window)
        _, used = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert used <= UNDER * told + FIXED
    assert told <= OVER * used + FIXED


@pytest.mark.usefixtures("alone")
def test_explaining_a_large_warp_takes_little_memory():
    warped = chain(
        node("apply", process=HALF),
        node("resample_spatial", projection=3035, resolution=10, method="bilinear"),
    )
    plan = make_plan(infer(parse(warped, specs=SPECS), opener("uint16", edge=10_980)))

    tracemalloc.start()
    told = explain(plan)
    _, used = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert told["whole"]["result_bytes"] > 10_980**2
    assert used < 300e6
