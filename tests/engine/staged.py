"""Graphs with stages over synthetic collections, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.progress import Progress
from terrazzo.testing.graphs import collections

if TYPE_CHECKING:
    from terrazzo.cube import Cube
    from terrazzo.engine import Inference, Opener
    from terrazzo.geo.grid import Grid, Window

MEMORY = 1_000_000_000


def node(process: str, /, **arguments: Any) -> dict[str, Any]:
    """Return a node of a graph."""
    return {"process_id": process, "arguments": arguments}


def ref(name: str) -> dict[str, str]:
    """Refer to a node."""
    return {"from_node": name}


def load(name: str = "fine", **arguments: Any) -> dict[str, Any]:
    """Load a synthetic collection, whole unless arguments say otherwise."""
    return node(
        "load_collection",
        **{"id": name, "spatial_extent": None, "temporal_extent": None} | arguments,
    )


def inferred(nodes: dict[str, Any], opener: Opener | None = None) -> Inference:
    """Infer a graph whose last node is the result."""
    last = next(reversed(nodes))
    document = {name: {**one, "result": name == last} for name, one in nodes.items()}
    return infer(parse(document, specs=SPECS), opener or collections(dtype="float32"))


def known(
    nodes: dict[str, Any],
    opener: Opener | None = None,
    *,
    block: int = 64,
    workers: int = 2,
    memory: int = MEMORY,
) -> Inference:
    """Infer a graph and carry out its stages."""
    inference = inferred(nodes, opener)
    means = Means(block, Pool("threads", workers, memory), Progress())
    return settled(Job(""), inference, (inference.graph.result,), means)[0]


def result(
    nodes: dict[str, Any],
    opener: Opener | None = None,
    *,
    grid: Grid | None = None,
    window: Window | None = None,
    **means: int,
) -> Cube:
    """Compute a graph: its value, or its pixels."""
    inference = known(nodes, opener, **means)
    bound = inference.cube(inference.graph.result)
    if bound.grid is None:
        return bound.result
    plan = make_plan(inference, grid)
    return evaluate(plan, window or plan.window)
