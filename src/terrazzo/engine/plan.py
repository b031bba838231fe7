"""The planner: which steps, on which grids, with which labels, give a graph's pixels.

A plan is made for one grid. Walking backwards from the result, every node is asked for on the
grid that its consumer works on; a free node follows, a fixed one answers on its own grid and is
warped once. Labels that nobody wants are never read. What depends on a window, and only that,
is left to `demand`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from terrazzo.cube import Cube
from terrazzo.engine.grids import extent_on
from terrazzo.engine.infer import Bound, Inference, Input, without_pixels
from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty
from terrazzo.geo.grid import Grid, Window, geographic_bounds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.processes.registry import Labels

NEAREST = "near"
RESAMPLERS = frozenset({"resample_spatial", "resample_cube_spatial"})
"""Processes that a read or a warp below them carries out."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do per block: read a source, run a process, or warp onto another grid."""

    bound: Bound
    """The node."""
    grid: Grid | None
    """The grid of the step's pixels; None for cubes without space."""
    extent: Window
    """All pixels of that grid that there are."""
    probe: Cube
    """What the step gives, without pixels: dimensions with the labels that are wanted, dtype."""
    wanted: Labels
    """Positions of the wanted labels in the node's own result."""
    inputs: Mapping[str, int]
    """Steps whose cubes come in, by parameter name; empty for a read."""
    asked: Mapping[str, Labels] = field(default_factory=dict)
    """Positions of the labels that it gets of each input, in that node's own result: exactly
    what its rule asks for, whatever else other steps want of the same input."""
    method: str = NEAREST
    """How a read or a warp resamples."""
    warps: bool = False
    """Whether the step warps its one input (named `data`) instead of running the process."""

    @property
    def reads(self) -> bool:
        """Whether the step reads a source."""
        return self.bound.source is not None and not self.warps

    @property
    def name(self) -> str:
        """What people call the step."""
        return f"{self.bound.id}: warp" if self.warps else self.bound.id


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph on a grid: everything that can be known before the first pixel is read.

    Immutable and safe to use from many threads; `evaluate(plan, window)` computes.
    """

    digest: str
    """Digest of the graph."""
    node: str
    """The node whose pixels the plan gives."""
    steps: tuple[Step, ...]
    """In the order in which they run; the last one gives the result."""
    grid: Grid
    """The grid of the result."""
    window: Window
    """The pixels of the grid that there are and that are wanted."""
    last_use: tuple[int, ...] = field(repr=False)
    """For each step, the step after which its cube is no longer needed."""

    @property
    def bad_items(self) -> tuple[str, ...]:
        """Items that the sources could not read so far and left out (`skip_bad`)."""
        sources = [step.bound.source for step in self.steps if step.bound.source is not None]
        return tuple(sorted({name for source in sources for name in source.bad_items}))

    @property
    def probe(self) -> Cube:
        """The result without pixels: dimensions, labels, dtype."""
        return self.steps[-1].probe


@dataclass(frozen=True, slots=True)
class _Request:
    """A node asked for on a grid; equal requests are one step."""

    node: str
    grid: Grid | None
    method: str
    warps: bool = False


def make_plan(
    inference: Inference,
    grid: Grid | None = None,
    *,
    node: str = "",
    within: SpatialExtent | None = None,
) -> Plan:
    """Plan a graph on a grid; by default on the grid of its first source.

    Args:
        inference: the graph with its metadata.
        grid: the lattice of the result; for a tile the tile's, for batch usually None.
        node: the node whose pixels are wanted; by default the graph's result.
        within: compute only pixels whose centre may lie in this extent.

    Raises:
        ArgumentInvalid: the node gives no raster cube.
        SpatialExtentEmpty: the grid or extent holds none of its pixels.
    """
    wanted = inference.cube(node or inference.graph.result)
    if wanted.grid is None:
        kind = "a table" if isinstance(wanted.result, Cube) else "a single value"
        raise ArgumentInvalid(
            f"Node {wanted.id!r} ({wanted.process.id}) gives {kind}, not pixels on a map. Run the "
            "graph with `terrazzo run`, or choose another result node."
        )
    target = grid or wanted.grid
    steps = _steps(inference, _request(inference, wanted.id, target, NEAREST))
    window = steps[-1].extent
    if within is not None:
        window = window.intersection(within.window(target))
    if window.is_empty:
        raise SpatialExtentEmpty(
            "The extent that was asked for holds no pixel of the result, which covers "
            f"{_covered(wanted)}. Widen the extent or move it there."
        )
    return Plan(inference.graph.digest, wanted.id, steps, target, window, _last_use(steps))


def _covered(bound: Bound) -> str:
    """Say for people where a node has pixels."""
    if bound.grid is None:
        return "nothing"
    west, south, east, north = geographic_bounds(bound.grid, bound.extent)
    return f"west {west:.4f}, south {south:.4f}, east {east:.4f}, north {north:.4f} (degrees)"


def _request(inference: Inference, node: str, grid: Grid | None, method: str) -> _Request:
    """Ask for a node on a grid: free nodes follow, fixed ones answer through a warp."""
    bound = inference.cube(node)
    if bound.grid is None or grid is None:
        raise ArgumentInvalid(
            f"Node {bound.id!r} ({bound.process.id}) gives a table, known only when all pixels are "
            "aggregated, so that no pixel can be computed from it in the same graph. Save it, and "
            "use it in a second graph."
        )
    if bound.free or bound.grid == grid:
        return _Request(bound.id, grid, method if bound.unchanged else NEAREST)
    return _Request(bound.id, grid, method, warps=True)


def _inputs(inference: Inference, request: _Request) -> dict[str, _Request]:
    """Return what a step needs, by parameter name."""
    bound = inference.nodes[request.node]
    if request.warps:
        return {"data": _Request(bound.id, bound.grid, NEAREST)}
    if bound.source is not None:
        return {}
    if bound.process.id in RESAMPLERS:
        data = inference.cube(bound.inputs["data"])
        method = str(bound.arguments.get("method", NEAREST))
        strict = not bound.free or bound.grid == request.grid
        if data.free and strict and not data.unchanged and data.grid != request.grid:
            # The maths below works on the source's own pixels; its result is then warped.
            return {"data": _Request(data.id, request.grid, method, warps=True)}
        return {"data": _request(inference, data.id, request.grid, method)}
    asked = {}
    for name in bound.process.parameters:
        value = bound.arguments.get(name)
        if isinstance(value, Input):
            method = request.method if bound.process.rules.relays else NEAREST
            asked[name] = _request(inference, value.node, request.grid, method)
    return asked


def _steps(inference: Inference, result: _Request) -> tuple[Step, ...]:
    order: dict[_Request, dict[str, _Request]] = {}
    waiting = [result]
    while waiting:
        request = waiting[-1]
        if request in order:
            waiting.pop()
            continue
        inputs = _inputs(inference, request)
        missing = [needed for needed in inputs.values() if needed not in order]
        if missing:
            waiting.extend(missing[::-1])
            continue
        order[request] = inputs
        waiting.pop()
    numbers = {request: number for number, request in enumerate(order)}
    wanted, asked = _label_demand(inference, order)
    return tuple(
        replace(
            _step(inference, request, wanted[request]),
            inputs={name: numbers[needed] for name, needed in inputs.items()},
            asked=asked[request],
        )
        for request, inputs in order.items()
    )


def _step(inference: Inference, request: _Request, wanted: Labels) -> Step:
    bound = inference.nodes[request.node]
    extent = Window(0, 0, 0, 0)
    if request.grid is not None and bound.grid is not None:
        extent = extent_on(bound.grid, bound.extent, request.grid)
    probe = chosen(without_pixels(bound.result, request.grid), wanted)
    return Step(
        bound, request.grid, extent, probe, wanted, {}, method=request.method, warps=request.warps
    )


def chosen(cube: Cube, labels: Labels) -> Cube:
    """Return the cube with the labels at these positions only."""
    for name, positions in labels.items():
        cube = cube.take(name, positions)
    return cube


def _label_demand(
    inference: Inference, order: Mapping[_Request, Mapping[str, _Request]]
) -> tuple[dict[_Request, Labels], dict[_Request, Mapping[str, Labels]]]:
    """Walk backwards: what is wanted of every step by all, and what each asks of its inputs."""
    demands: dict[_Request, list[Labels]] = {request: [] for request in order}
    wanted: dict[_Request, Labels] = {}
    asked: dict[_Request, Mapping[str, Labels]] = {}
    for request in reversed(list(order)):
        bound = inference.nodes[request.node]
        inputs = order[request]
        wanted[request] = _joined(demands[request])
        if request.warps or bound.process.id in RESAMPLERS:
            asked[request] = {name: wanted[request] for name in inputs if name == "data"}
        else:
            probes = {name: inference.nodes[needed.node].result for name, needed in inputs.items()}
            asked[request] = bound.process.rules.labels(
                wanted[request], bound.result, probes, bound.arguments
            )
        for name, needed in inputs.items():
            demands[needed].append(asked[request].get(name, {}))
    return wanted, asked


def _joined(demands: list[Labels]) -> Labels:
    if not demands:
        return {}
    shared = set(demands[0]).intersection(*demands[1:])
    return {
        name: tuple(sorted(set().union(*(demand[name] for demand in demands)))) for name in shared
    }


def _last_use(steps: tuple[Step, ...]) -> tuple[int, ...]:
    last = list(range(len(steps)))
    for number, step in enumerate(steps):
        for needed in step.inputs.values():
            last[needed] = number
    last[-1] = len(steps)
    return tuple(last)


def stage_plan(inference: Inference, node: str, grid: Grid | None = None) -> Plan:
    """Plan the raster that a stage (`aggregate_spatial`) reduces."""
    bound = inference.nodes[node]
    return make_plan(inference, grid, node=bound.inputs["data"])


def with_window(plan: Plan, window: Window) -> Plan:
    """Return the plan for a part of its pixels."""
    return replace(plan, window=plan.window.intersection(window))


def arguments_of(step: Step) -> dict[str, Any]:
    """Return the arguments of a step that are not cubes."""
    return {k: v for k, v in step.bound.arguments.items() if not isinstance(v, Input)}
