"""Terrazzo's engine over a collection in memory, in one thread: one window, planned once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contestants.series import (
    BANDS,
    DECAY,
    HIGH,
    LOW,
    SHARES,
    TASKS,
    THRESHOLD,
    TURN,
    Made,
)
from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.geo.grid import Grid
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.memory import CubeOpener

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.engine import Plan

    Task = Callable[[], dict[str, np.ndarray]]
    Graph = dict[str, dict[str, Any]]

DATA, X = {"from_parameter": "data"}, {"from_parameter": "x"}


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Plan every task; a plan serves all blocks of a run, so that it is no part of them."""
    made = Made.of(parameters)
    opener = CubeOpener({"one": _collection(made, BANDS[-1:]), "three": _collection(made, BANDS)})
    plans = {
        name: make_plan(infer(parse(graph, specs=SPECS), opener))
        for name, graph in zip(TASKS, graphs(made), strict=True)
    }
    return {name: partial(_run, plan) for name, plan in plans.items()}


def _run(plan: Plan) -> dict[str, np.ndarray]:
    cube = evaluate(plan, plan.window)
    squeezed = replace(cube, values=cube.values.squeeze(), valid=cube.valid.squeeze())
    return {"values": squeezed.values, "valid": squeezed.valid}


def _collection(made: Made, bands: tuple[str, ...]) -> Cube:
    values, valid = (
        np.stack([of[band] for band in bands], axis=1) for of in (made.values, made.valid)
    )
    times = tuple(f"{date(2023, 1, 1) + timedelta(day)}T00:00:00Z" for day in made.days)
    dimensions = (
        Dimension("t", Kind.TEMPORAL, times),
        Dimension("bands", Kind.BANDS, bands),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    height, width = values.shape[-2:]
    grid = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, height, width)
    return Cube(values, valid, dimensions, grid, grid.window)


def graphs(made: Made) -> tuple[Graph, ...]:
    """Return the graphs, in the order of the tasks."""
    return (
        _over("three", "bands", ndvi()),
        _over("three", "bands", evi()),
        _each(
            callback(
                "linear_scale_range", x=X, inputMin=LOW, inputMax=HIGH, outputMin=0, outputMax=255
            )
        ),
        _each(thresholded()),
        _over("one", "t", callback("mean", data=DATA)),
        _over("one", "t", callback("median", data=DATA)),
        _over("one", "t", amplitude()),
        _along(callback("quantiles", data=DATA, probabilities=list(SHARES))),
        _over("one", "t", callback("sd", data=DATA)),
        _along(callback("cumsum", data=DATA)),
        _each(chain(("log", {"x": X, "base": 10}), ("multiply", {"y": 10}))),
        _each(chain(("multiply", {"x": X, "y": DECAY}), ("exp", {}), x="p")),
        _over("one", "t", harmonic(made)),
        _over("one", "t", above()),
        _along(callback("array_interpolate_linear", data=DATA)),
    )


def _load(collection: str) -> dict[str, Any]:
    arguments = {"id": collection, "spatial_extent": None, "temporal_extent": None}
    return {"process_id": "load_collection", "arguments": arguments}


def _then(collection: str, process: str, /, **arguments: Any) -> Graph:
    node = {"process_id": process, "arguments": {"data": {"from_node": "load"}, **arguments}}
    return {"load": _load(collection), "last": {**node, "result": True}}


def _over(collection: str, dimension: str, reducer: Any) -> Graph:
    return _then(collection, "reduce_dimension", dimension=dimension, reducer=reducer)


def _along(process: Any) -> Graph:
    return _then("one", "apply_dimension", dimension="t", process=process)


def _each(process: Any) -> Graph:
    return _then("one", "apply", process=process)


def callback(process: str, /, **arguments: Any) -> Graph:
    """Return a callback of one node."""
    return chain((process, arguments))


def chain(*calls: tuple[str, dict[str, Any]], x: str = "x") -> Graph:
    """Return a callback of nodes, each of which takes the one before as `x`."""
    nodes: Graph = {}
    for number, (process, arguments) in enumerate(calls):
        before = {x: {"from_node": f"n{number - 1}"}} if number else {}
        nodes[f"n{number}"] = {"process_id": process, "arguments": {**before, **arguments}}
    nodes[f"n{len(calls) - 1}"]["result"] = True
    return _callback(nodes)


def _callback(nodes: Graph) -> Any:
    return {"process_graph": nodes}


def _node(process: str, /, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments}


def _of(node: str) -> dict[str, str]:
    return {"from_node": node}


def _bands() -> Graph:
    return {band: _node("array_element", data=DATA, label=band) for band in BANDS}


def ndvi() -> Any:
    """Return (nir - red) / (nir + red)."""
    last = _node("normalized_difference", x=_of("nir"), y=_of("red")) | {"result": True}
    return _callback({**_bands(), "last": last})


def evi() -> Any:
    """Return 2.5 (nir - red) / (nir + 6 red - 7.5 blue + 1)."""
    nodes = {
        **_bands(),
        "six": _node("multiply", x=_of("red"), y=6),
        "more": _node("add", x=_of("nir"), y=_of("six")),
        "seven": _node("multiply", x=_of("blue"), y=7.5),
        "less": _node("subtract", x=_of("more"), y=_of("seven")),
        "below": _node("add", x=_of("less"), y=1),
        "apart": _node("subtract", x=_of("nir"), y=_of("red")),
        "part": _node("multiply", x=_of("apart"), y=2.5),
        "last": _node("divide", x=_of("part"), y=_of("below")) | {"result": True},
    }
    return _callback(nodes)


def thresholded() -> Any:
    """Return x where it is above the threshold, else 0."""
    high = _node("gt", x=X, y=THRESHOLD)
    chosen = _node("if", value=_of("a"), accept=X, reject=0) | {"result": True}
    return _callback({"a": high, "b": chosen})


def amplitude() -> Any:
    """Return max - min."""
    high, low = _node("max", data=DATA), _node("min", data=DATA)
    last = _node("subtract", x=_of("a"), y=_of("b")) | {"result": True}
    return _callback({"a": high, "b": low, "c": last})


def harmonic(made: Made) -> Any:
    """Return the sum of x cos(w t); days are regular."""
    first, step = made.days[0], made.days[1] - made.days[0]
    each = {
        "a": _node("multiply", x={"from_parameter": "index"}, y=TURN * step),
        "b": _node("add", x=_of("a"), y=TURN * first),
        "c": _node("cos", x=_of("b")),
        "d": _node("multiply", x=X, y=_of("c")) | {"result": True},
    }
    products = _node("array_apply", data=DATA, process=_callback(each))
    return _callback({"a": products, "b": _node("sum", data=_of("a")) | {"result": True}})


def above() -> Any:
    """Return how many dates are above the threshold."""
    return callback("count", data=DATA, condition=callback("gt", x=X, y=THRESHOLD))
