"""What a job takes and gives, as far as it is known before a pixel is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely

from terrazzo.cube import Cube, Kind
from terrazzo.drivers.batch import output_nodes
from terrazzo.drivers.stages import stage_plans
from terrazzo.drivers.watching.speeds import Outlook, expected_seconds, like
from terrazzo.drivers.watching.status import Expected
from terrazzo.engine import cost
from terrazzo.engine.bound import Pending
from terrazzo.engine.demand import central_block, cube_bytes
from terrazzo.processes.convert import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.job import Job
    from terrazzo.engine import Inference, Plan

_BYTES_PER_VALUE = 24
"""Of a number as text, with all its digits."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job takes and gives."""

    pixels: int
    """Pixels of its rasters, all dates and bands."""
    result_bytes: int | None
    """Upper limit of what its files have; None where a stage must run before it is known."""
    read_pixels: int
    """Pixels that are read, all files, bands and dates, for stages too."""
    read_bytes: int
    """Bytes of those pixels once decoded."""
    memory_bytes: int
    """What the block in the middle takes."""
    blocks: int
    """Blocks of all rasters."""


def estimate(job: Job, inference: Inference, *, block: int = 1024) -> Estimate:
    """Return what a job takes; reads nothing.

    Args:
        job: where the graph is run.
        inference: the graph.
        block: edge of a block, pixels.
    """
    sizes: list[int | None] = []
    pixels = blocks = 0
    plans: list[Plan] = []
    for node in output_nodes(inference):
        bound = inference.cube(node)
        if bound.grid is None:
            sizes.append(_value_bytes(bound.result))
        else:
            plan = job.plan(inference, node)
            plans.append(plan)
            pixels += plan.window.pixels * _layers(plan.probe)
            sizes.append(cube_bytes(plan.probe, plan.window))
        plans += stage_plans(job, inference, node).values()
    costs = [cost(plan, plan.window) for plan in plans]
    for plan in plans:
        blocks += -(-plan.window.height // block) * -(-plan.window.width // block)
    known = [size for size in sizes if size is not None]
    return Estimate(
        pixels,
        sum(known) if len(known) == len(sizes) else None,
        sum(one.read_pixels for one in costs),
        sum(one.read_bytes for one in costs),
        max((cost(one, central_block(one, block)).memory_bytes for one in plans), default=0),
        blocks,
    )


def outlook(
    job: Job, inference: Inference, home: Path, block: int, executor: str, workers: int
) -> Outlook:
    """Return what a run is expected to take, and how long, as earlier runs tell; reads no pixel.

    Args:
        job: where the graph is run.
        inference: the graph.
        home: folder that remembers how fast runs were.
        block: edge of a block, pixels.
        executor: who computes.
        workers: how many.
    """
    plain, kind = estimate(job, inference, block=block), like(job.document + job.processes)
    least, most, runs, alike = expected_seconds(home, kind, plain.read_pixels, executor, workers)
    expected = Expected(
        plain.blocks, plain.read_bytes, plain.result_bytes, plain.memory_bytes, least, most, runs,
        alike,
    )  # fmt: skip
    return Outlook(expected, kind, plain.read_pixels)


def _layers(probe: Cube) -> int:
    return math.prod(len(d.labels) for d in probe.dimensions if d.kind is not Kind.SPATIAL)


def _value_bytes(result: object) -> int | None:
    if result is Pending.PENDING:
        return None
    if isinstance(result, Cube):
        held = result.geometries
        points = 0 if held is None else int(shapely.get_num_coordinates(list(held.shapes)).sum())
        return (_layers(result) + 2 * points) * _BYTES_PER_VALUE
    return len(str(to_json(result)).encode())
