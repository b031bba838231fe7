"""The planner: which steps, on which grids, with which labels, give a graph's pixels.

A plan is made for one grid. Walking backwards from the result, every node is asked for on the
grid that its consumer works on; a free node follows, a fixed one answers on its own grid and is
warped once. Labels that nobody wants are never read. What depends on a window, and only that,
is left to `demand`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from terrazzo.cube import Cube, ExactSource
from terrazzo.engine.fuse import fused
from terrazzo.engine.grids import extent_on
from terrazzo.engine.infer import Bound, Inference, Input, without_pixels
from terrazzo.engine.steps import NEAREST, RESAMPLERS, Step, chosen
from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty
from terrazzo.geo.grid import Grid, Window, geographic_bounds
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.engine.recording import Fused
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.processes.registry import Labels


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
    fused: tuple[Fused, ...] = field(default=(), repr=False)
    """Groups of steps that are computed as one; without them a plan gives the same pixels."""
    exact: bool = False
    """Whether every pixel is projected, instead of interpolating within 0.1 pixel."""

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
    exact: bool = False,
) -> Plan:
    """Plan a graph on a grid; by default on the grid of its first source.

    Args:
        inference: the graph with its metadata.
        grid: the lattice of the result; for a tile the tile's, for batch usually None.
        node: the node whose pixels are wanted; by default the graph's result.
        within: compute only pixels whose centre may lie in this extent.
        exact: between two CRS, project every pixel instead of interpolating within 0.1 pixel.

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
    with span("plan"):
        steps, groups = _steps_on(inference, wanted.id, target)
        if exact:
            steps = _exactly(steps)
    window = steps[-1].extent
    if within is not None:
        window = window.intersection(within.window(target))
    if window.is_empty:
        raise SpatialExtentEmpty(
            "The extent that was asked for holds no pixel of the result, which covers "
            f"{_covered(wanted)}. Widen the extent or move it there."
        )
    digest, last_use = inference.graph.digest, _last_use(steps, groups)
    return Plan(digest, wanted.id, steps, target, window, last_use, groups, exact)


def _exactly(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return steps whose sources project every pixel; plans share those given, which stay."""
    return tuple(
        replace(step, bound=replace(step.bound, source=source.exactly()))
        if isinstance(source := step.bound.source, ExactSource)
        else step
        for step in steps
    )


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


def _steps_on(
    inference: Inference, node: str, target: Grid
) -> tuple[tuple[Step, ...], tuple[Fused, ...]]:
    """Return the steps that give a node on a grid, and which of them are fused.

    Which steps there are depends on the grid only by whether it is some node's own one, so that
    they are worked out once for all others.
    """
    own = target if target in inference.grids else None
    if (node, own) not in inference.known:
        steps = _steps(inference, _request(inference, node, target, NEAREST))
        inference.known[node, own] = target, (steps, fused(steps))
    known, (steps, groups) = inference.known[node, own]
    return (steps if known == target else _moved(steps, known, target)), groups


def _moved(steps: tuple[Step, ...], grid: Grid, target: Grid) -> tuple[Step, ...]:
    """Return the steps with another grid in place of the one that they were made for."""
    extents: dict[tuple[Grid | None, Window], Window] = {}
    moved = []
    for step in steps:
        if step.grid != grid:
            moved.append(step)
            continue
        place = step.bound.grid, step.bound.extent
        if place not in extents:
            extents[place] = _extent(step.bound, target)
        probe = replace(step.probe, grid=target)
        moved.append(replace(step, grid=target, extent=extents[place], probe=probe))
    return tuple(moved)


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
    extent = _extent(bound, request.grid)
    probe = chosen(without_pixels(bound.result, request.grid), wanted)
    return Step(
        bound, request.grid, extent, probe, wanted, {}, method=request.method, warps=request.warps
    )


def _extent(bound: Bound, grid: Grid | None) -> Window:
    """Return the pixels of a grid that a node has."""
    if grid is None or bound.grid is None:
        return Window(0, 0, 0, 0)
    return extent_on(bound.grid, bound.extent, grid)


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


def _last_use(steps: tuple[Step, ...], groups: tuple[Fused, ...]) -> tuple[int, ...]:
    last = list(range(len(steps)))
    for number, step in enumerate(steps):
        for needed in step.inputs.values():
            last[needed] = number
    for group in groups:
        for needed in group.inputs:
            last[needed] = max(last[needed], group.steps[-1])
    last[-1] = len(steps)
    return tuple(last)


def stage_plan(inference: Inference, node: str, grid: Grid | None = None) -> Plan:
    """Plan the raster that a stage (`aggregate_spatial`) reduces."""
    bound = inference.nodes[node]
    return make_plan(inference, grid, node=bound.inputs["data"])


def with_window(plan: Plan, window: Window) -> Plan:
    """Return the plan for a part of its pixels."""
    return replace(plan, window=plan.window.intersection(window))
