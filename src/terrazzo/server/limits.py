"""What one request may ask for, checked before any pixel is read.

Sizes come from the graph's inference and its plan, which know them without opening a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terrazzo.cube import Cube, Kind
from terrazzo.drivers.batch import output_nodes
from terrazzo.drivers.results import check_files
from terrazzo.drivers.stages import stage_plans
from terrazzo.engine import cost
from terrazzo.engine.bound import Pending
from terrazzo.engine.demand import size_text
from terrazzo.graph import Callback, FrozenMap
from terrazzo.server.web.faults import TooComplex, check_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Job
    from terrazzo.engine import Bound, Inference, Plan
    from terrazzo.graph import Graph, Node
    from terrazzo.server.settings import Limits

_AS_A_JOB = (
    "Narrow its extents, bands or dates, resample it to larger pixels, or run it as a job "
    "(POST /jobs)."
)
_SPLIT = "Resample it to larger pixels, or split it into several jobs."


def check_graph(graph: Graph, limits: Limits) -> None:
    """Refuse a graph with too many nodes once user-defined processes are put in place.

    Raises:
        TooComplex: it has more than the operator allows, those in callbacks included.
    """
    check_nodes(sum(1 for _ in all_nodes(graph)), limits.nodes)


def all_nodes(graph: Graph) -> Iterator[Node]:
    """Yield the nodes of a graph and of the callbacks in it, however deep."""
    graphs = [graph]
    while graphs:
        for node in graphs.pop():
            yield node
            values: list[Any] = [node.arguments]
            while values:
                value = values.pop()
                if isinstance(value, Callback):
                    graphs.append(value.graph)
                elif isinstance(value, FrozenMap):
                    values.extend(value.values())
                elif isinstance(value, tuple):
                    values.extend(value)


def check_result(job: Job, inference: Inference, limits: Limits) -> int:
    """Refuse a result that is too large to be computed while somebody waits.

    Returns:
        Its pixels, of all bands and dates; 0 for what has none.

    Raises:
        TooComplex: it has more pixels, or reads more bytes, than the operator allows.
        SpatialExtentEmpty: the graph leaves no pixel.
        FormatArgumentInvalid: a result would be more than one file.
    """
    check_files(inference, output_nodes(inference))
    pixels = _pixels(job, inference, limits.pixels, _AS_A_JOB)
    read = sum(cost(plan, plan.window).read_bytes for plan in _plans(job, inference))
    if read > limits.input_bytes:
        raise TooComplex(
            f"The graph reads {size_text(read)} of images, and a synchronous result may read "
            f"{size_text(limits.input_bytes)}. {_AS_A_JOB}"
        )
    return pixels


def check_job(job: Job, inference: Inference, limits: Limits) -> int:
    """Refuse a job whose result would be too large.

    Returns:
        Its pixels, of all bands and dates; 0 for what has none.

    Raises:
        TooComplex: it has more pixels than the operator allows.
        SpatialExtentEmpty: the graph leaves no pixel.
        FormatArgumentInvalid: a result would be more than one file.
    """
    check_files(inference, output_nodes(inference))
    return _pixels(job, inference, limits.job_pixels, _SPLIT)


def _pixels(job: Job, inference: Inference, most: int, advice: str) -> int:
    """Return the pixels of all rasters that a job makes."""
    total = 0
    for node in output_nodes(inference):
        bound = inference.nodes[node]
        if bound.grid is None or bound.result is Pending.PENDING:
            continue
        count = bound.extent.pixels
        if job.bbox is not None or job.resolution or job.crs:
            count = job.plan(inference, node).window.pixels
        total += count * _planes(bound)
    if total > most:
        raise TooComplex(
            f"The result has {total:,} pixels (of all bands and dates), and may have {most:,}. "
            f"{advice}"
        )
    return total


def _planes(bound: Bound) -> int:
    """Return how many images of the result's size there are: bands times dates."""
    planes = 1
    if isinstance(bound.result, Cube):
        for dimension in bound.result.dimensions:
            if dimension.kind is not Kind.SPATIAL:
                planes *= max(len(dimension.labels), 1)
    return planes


def _plans(job: Job, inference: Inference) -> list[Plan]:
    """Return everything that is read for a job: its rasters, and what its stages look at."""
    plans: list[Plan] = []
    for node in output_nodes(inference):
        if inference.nodes[node].grid is not None:
            plans.append(job.plan(inference, node))
        plans += stage_plans(job, inference, node).values()
    return plans
