"""Graphs as lazy xarray objects, for people who go on with xarray and Dask."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Kind
from terrazzo.drivers.arrays import ArrayNode, ArraySource, WithArrays, arrays_of
from terrazzo.drivers.executors import describe_run
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.own import own_workspace
from terrazzo.drivers.pool import ClusterUnusable, Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import evaluate, infer
from terrazzo.errors import ArgumentInvalid, PlanTooLarge
from terrazzo.geo.blocks import Blocks
from terrazzo.processes.labels import instant_of
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Dimension
    from terrazzo.engine import Plan

MOST_BLOCKS = 100_000
"""A Dask graph holds about a kilobyte of each task."""
_NARROW = 2
"""Bytes of integers that float32 holds without loss."""


def to_xarray(
    graph: str | Mapping[str, Any] | Job,
    workspace: Workspace | None = None,
    *,
    block: int = 1024,
    **where: Any,
) -> xr.DataArray:
    """Return the result of a graph as a lazy array: one Dask task per block, nothing is read yet.

    Args:
        graph: a process graph, JSON text or a mapping, whose result is a raster; or a job. Nodes
            that load arrays (`from_xarray`) may stand in a mapping, or alone.
        workspace: where its collections are; the one of the command line by default.
        block: edge of a chunk, pixels; it holds all dates and bands.
        where: `bbox` (west, south, east, north), `bbox_crs`, `resolution`, `crs`, `exact`,
            `skip_bad`, as `Job` has them.

    Returns:
        Dimensions as the graph names them, y downwards; dates are datetime64, periods (2021-05)
        text; x and y are pixel centres, and `spatial_ref` says in which CRS, as CF has it. No-data
        is NaN: integers are floats here (float32 up to 16 bits, else float64), booleans too.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable: the graph cannot be evaluated, or its
            result is no raster.
        PlanTooLarge: there are too many blocks for a graph of Dask.
        ClusterUnusable: Dask is not installed.
    """
    try:
        from dask.array.core import Array  # noqa: PLC0415 - optional, and slow to load
    except ImportError as error:
        raise ClusterUnusable("Dask is not installed. Run: pip install 'terrazzo[dask]'") from error
    import xarray  # noqa: PLC0415 - slow to load

    nodes = {"array": {**graph, "result": True}} if isinstance(graph, ArrayNode) else graph
    job = nodes if isinstance(nodes, Job) else Job.of(nodes, **where)
    workspace, arrays = workspace or own_workspace(os.environ), arrays_of(job)
    plan = _planned(job, workspace, block, arrays)
    work = _Work(job, workspace, block, _digest(plan, job, block), arrays)
    blocks = Blocks(plan.window, block)
    if len(blocks) > MOST_BLOCKS:
        raise PlanTooLarge(
            f"The array would have {len(blocks):,} blocks of {block} x {block} pixels, and a graph "
            f"of Dask has at most {MOST_BLOCKS:,} here. Choose a larger block or a smaller bbox, "
            "or run the graph (`terrazzo run`) and open what it makes."
        )
    probe, dtype = plan.probe, _dtype(plan.probe)
    rows, cols = len(blocks) // max(blocks.across, 1), blocks.across
    heights = tuple(blocks[row * cols].height for row in range(rows))
    widths = tuple(blocks[col].width for col in range(cols))
    sizes = {"y": heights, "x": widths}
    places = [sizes.get(_axis(one), (len(one.labels),)) for one in probe.dimensions]
    name = f"terrazzo-{work.digest}"
    order = [_axis(one) for one in probe.dimensions]
    tasks = {
        (name, *(row if axis == "y" else col if axis == "x" else 0 for axis in order)): (
            _computed, work, row * cols + col,
        )
        for row in range(rows)
        for col in range(cols)
    }  # fmt: skip
    lazy = Array(tasks, name, tuple(places), dtype=dtype)
    coordinates = {one.name: _labels(one, plan, arrays) for one in probe.dimensions}
    told = {"terrazzo_graph_digest": plan.digest, "grid_mapping": "spatial_ref"}
    array = xarray.DataArray(
        lazy, coordinates, [one.name for one in probe.dimensions], "result", told
    )
    return array.assign_coords(spatial_ref=xarray.Variable((), 0, _reference(plan)))


def _planned(job: Job, workspace: Workspace, block: int, arrays: Mapping[str, ArraySource]) -> Plan:
    """Plan a job whose result is a raster.

    Raises:
        ArgumentInvalid: its result is none.
    """
    if arrays:
        inference = infer(job.graph(), WithArrays(arrays, workspace.opener(skip_bad=job.skip_bad)))
    else:
        inference = job.infer(workspace)
    result = inference.graph.result
    means = Means(block, Pool("threads", 1), Progress())
    inference, _ = settled(job, inference, (result,), means)
    if inference.cube(result).grid is None:
        raise ArgumentInvalid(
            "The result of this graph is no raster, so there are no blocks of it. `terrazzo run` "
            "writes it."
        )
    return job.plan(inference)


def _digest(plan: Plan, job: Job, block: int) -> str:
    told = json.dumps(describe_run(plan, job, Blocks(plan.window, block)), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class _Work:
    """What a worker needs to compute the blocks."""

    job: Job
    workspace: Workspace
    block: int
    digest: str
    """Of all that decides the pixels, the images among it."""
    arrays: Mapping[str, ArraySource] = field(default_factory=dict, compare=False, repr=False)
    """Arrays of this process that the graph loads."""

    def plan(self) -> Plan:
        """Make the plan, once per process.

        Raises:
            ArgumentInvalid: it is not that of which the array was made.
        """
        with _opening:
            known = _plans.get(self)
            if known is None:
                known = _planned(self.job, self.workspace, self.block, self.arrays)
                if _digest(known, self.job, self.block) != self.digest:
                    raise ArgumentInvalid(
                        "The catalogue has changed since this array was made, or a worker sees "
                        "another one. Make the array anew with to_xarray."
                    )
                while len(_plans) >= _MOST_PLANS:
                    del _plans[next(iter(_plans))]
                _plans[self] = known
        return known


_opening = threading.Lock()
_plans: dict[_Work, Plan] = {}
_MOST_PLANS = 8


def _computed(work: _Work, number: int) -> NDArray[Any]:
    """Compute a block; NaN is where there is nothing."""
    plan = work.plan()
    cube = evaluate(plan, Blocks(plan.window, work.block)[number])
    return np.where(cube.valid, cube.values, np.nan).astype(_dtype(cube), copy=False)


def _dtype(cube: Cube) -> np.dtype[Any]:
    """Return the type of floats that holds the values."""
    if cube.dtype.kind == "f":
        return cube.dtype
    return np.dtype(np.float32 if cube.dtype.itemsize <= _NARROW else np.float64)


def _axis(dimension: Dimension) -> str:
    """Return x or y; or nothing for what is not cut into blocks."""
    return dimension.name if dimension.kind is Kind.SPATIAL else ""


def _labels(dimension: Dimension, plan: Plan, arrays: Mapping[str, ArraySource]) -> Any:
    if dimension.kind is Kind.SPATIAL:
        for array in arrays.values():
            if array.grid == plan.grid:  # to the last bit, so that xarray sees that they align
                return array.coordinates(dimension.name, plan.window)
        return (plan.grid.xs if dimension.name == "x" else plan.grid.ys)(plan.window)
    instants = [instant_of(label) for label in dimension.labels]
    if dimension.kind is Kind.TEMPORAL and None not in instants:
        return np.array([one.replace(tzinfo=None) for one in instants if one], "datetime64[ns]")
    return list(dimension.labels)  # seasons, weeks, months: periods, and no instants


def _reference(plan: Plan) -> dict[str, Any]:
    """Return the CRS as CF and GDAL have it."""
    from pyproj import CRS  # noqa: PLC0415 - slow to load

    grid = plan.grid
    x, y = grid.xs(plan.window)[0], grid.ys(plan.window)[0]
    corner = (x - grid.pixel_x / 2, grid.pixel_x, 0, y + grid.pixel_y / 2, 0, -grid.pixel_y)
    return {**CRS.from_user_input(grid.crs).to_cf(), "GeoTransform": " ".join(map(str, corner))}
