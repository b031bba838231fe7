"""The planner: which steps, on which grids, with which labels, give a graph's pixels.

A plan is made for one grid. Walking backwards from the result, every node is asked for on the
grid that its consumer works on; a free node follows, a fixed one answers on its own grid and is
warped once. Labels that nobody wants are never read. What depends on a window, and only that,
is left to `demand`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from terrazzo.cube import Cube, ExactSource
from terrazzo.engine.bound import Bound, Inference, Pending
from terrazzo.engine.callbacks import CompiledCallback
from terrazzo.engine.fuse import fused
from terrazzo.engine.grids import extent_on
from terrazzo.engine.infer import needs, without_pixels
from terrazzo.engine.steps import NEAREST, RESAMPLERS, Step, chosen
from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty
from terrazzo.geo.grid import Grid, Window, geographic_bounds
from terrazzo.processes.registry import all_labels, same_grid, same_window
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from terrazzo.engine.recording import Fused
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.processes.registry import Labels

MOST_KNOWN = 64
"""Choices of labels for which steps are kept: the dates and bands that a map shows."""


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
    stamp: str = ""
    """Digest of what stages below it have found; empty where there is none."""
    pending: tuple[str, ...] = ()
    """Stages that must run before a pixel can be computed; such a plan only tells and counts."""

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
    labels: Labels = MappingProxyType({}),
    exact: bool = False,
) -> Plan:
    """Plan a graph on a grid; by default on the grid of its first source.

    Args:
        inference: the graph with its metadata.
        grid: the lattice of the result; for a tile the tile's, for batch usually None.
        node: the node whose pixels are wanted; by default the graph's result.
        within: compute only pixels whose centre may lie in this extent.
        labels: compute only these, by dimension; positions in the node's result.
        exact: between two CRS, project every pixel instead of interpolating within 0.1 pixel.

    Raises:
        ArgumentInvalid: the node gives no raster cube.
        SpatialExtentEmpty: the grid or extent holds none of its pixels.
    """
    wanted = inference.cube(node or inference.graph.result)
    pending = pending_stages(inference, wanted.id)
    if wanted.grid is None:
        kind = "a table" if isinstance(wanted.result, Cube) else "a single value"
        if wanted.result is Pending.PENDING:
            kind = f"what is known only when {', '.join(pending)} has been computed"
        raise ArgumentInvalid(
            f"Node {wanted.id!r} ({wanted.process.id}) gives {kind}, not pixels on a map. Run the "
            "graph with `terrazzo run`, or choose another result node."
        )
    check_extent(inference, wanted.id)
    target = grid or wanted.grid
    with span("plan"):
        steps, groups = _steps_on(inference, wanted.id, target, labels)
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
    stamp = inference.stamp
    return Plan(
        digest, wanted.id, steps, target, window, last_use, groups, exact, stamp, tuple(pending)
    )


def check_extent(inference: Inference, node: str = "") -> None:
    """Check that the graph leaves pixels of a node; by default of its result.

    Raises:
        SpatialExtentEmpty: there is none; names the node that left none.
    """
    bound = inference.cube(node or inference.graph.result)
    while bound.inputs and bound.grid is not None and bound.extent.is_empty:
        below = [inference.cube(name) for name in bound.inputs.values()]
        empty = [one for one in below if one.extent.is_empty]
        if not empty:
            raise SpatialExtentEmpty(
                f"Node {bound.id!r} ({bound.process.id}) leaves no pixel of its cube, which covers "
                f"{_covered(below[0])}. Widen its extent or move it there."
            )
        bound = empty[0]


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
    grid = request.grid
    if bound.process.rules.grid is not same_grid and not bound.free:
        grid = inference.cube(next(iter(bound.inputs.values()))).grid
    strict = not bound.free or bound.grid == request.grid
    for name, node in bound.inputs.items():
        other = inference.cube(node)
        if strict and other.free and other.grid != grid and not _is_per_pixel(inference, node):
            # What looks at neighbours looks at its own; as openEO has it, its result is aligned.
            asked[name] = _Request(other.id, grid, NEAREST, warps=True)
            continue
        method = request.method if bound.process.rules.relays else NEAREST
        asked[name] = _request(inference, node, grid, method)
    return asked


def _is_per_pixel(inference: Inference, node: str) -> bool:
    """Tell whether a node's pixels on another grid are the nearest of those on its own."""
    waiting = [node]
    seen: set[str] = set()
    while waiting:
        bound = inference.cube(waiting.pop())
        if bound.id in seen or bound.source is not None:
            continue
        seen.add(bound.id)
        process, rules = bound.process, bound.process.rules
        placed = process.place and not rules.joins
        if process.id in RESAMPLERS or placed or rules.window is not same_window:
            return False
        waiting.extend(bound.inputs.values())
    return True


def _steps_on(
    inference: Inference, node: str, target: Grid, labels: Labels
) -> tuple[tuple[Step, ...], tuple[Fused, ...]]:
    """Return the steps that give a node on a grid, and which of them are fused.

    Which steps there are depends on the grid only by whether it is some node's own one, so that
    they are worked out once for all others.
    """
    own = target if target in inference.grids else None
    key = node, own, tuple(sorted(labels.items()))
    made = inference.known.get(key)
    if made is None:
        steps = _steps(inference, _request(inference, node, target, NEAREST), labels)
        made = inference.known[key] = target, (steps, fused(steps))
        _forget_some(inference)
    known, (steps, groups) = made
    return (steps if known == target else _moved(steps, known, target)), groups


def _forget_some(inference: Inference) -> None:
    """Let go of what was kept first for some labels; all labels together stay known."""
    labelled = [key for key in tuple(inference.known) if key[2]]
    for key in labelled[: max(0, len(labelled) - MOST_KNOWN)]:
        inference.known.pop(key, None)


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


def labels_read(
    inference: Inference, choices: Iterable[Labels], *, node: str = "", grid: Grid | None = None
) -> Iterator[dict[str, Labels]]:
    """Yield, for each choice of labels of a node, which labels of its sources a plan would read.

    Args:
        inference: the graph with its metadata.
        choices: labels of the node's result, as `make_plan` takes them.
        node: by default the graph's result; must be a raster.
        grid: on which it would be planned; by default its own.
    """
    wanted = inference.cube(node or inference.graph.result)
    order = _ordered(inference, _request(inference, wanted.id, grid or wanted.grid, NEAREST))
    for labels in choices:
        needed, _ = _label_demand(inference, order, labels)
        read: dict[str, list[Labels]] = {}
        for request, chosen_labels in needed.items():
            if inference.nodes[request.node].source is not None and not request.warps:
                read.setdefault(request.node, []).append(chosen_labels)
        yield {name: _joined(demands) for name, demands in read.items()}


def _steps(inference: Inference, result: _Request, labels: Labels) -> tuple[Step, ...]:
    order = _ordered(inference, result)
    numbers = {request: number for number, request in enumerate(order)}
    wanted, asked = _label_demand(inference, order, labels)
    return tuple(
        replace(
            _step(inference, request, wanted[request], asked[request]),
            inputs={name: numbers[needed] for name, needed in inputs.items()},
            asked=asked[request],
        )
        for request, inputs in order.items()
    )


def _ordered(inference: Inference, result: _Request) -> dict[_Request, dict[str, _Request]]:
    """Return everything that a request needs, in an order in which it can run, with its inputs."""
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
    return order


def _step(
    inference: Inference, request: _Request, wanted: Labels, asked: Mapping[str, Labels]
) -> Step:
    bound = inference.nodes[request.node]
    known = {name: chosen(cube, asked.get(name, {})) for name, cube in _known(bound).items()}
    if known:
        bound = replace(bound, arguments={**bound.arguments, **known})
    extent = _extent(bound, request.grid)
    probe = chosen(without_pixels(bound.result, request.grid), wanted)
    return Step(
        bound, request.grid, extent, probe, wanted, {}, method=request.method, warps=request.warps
    )


def _known(bound: Bound) -> dict[str, Cube]:
    """Return the arguments of a node that are cubes without space, which need no step."""
    return {
        name: value
        for name, value in bound.arguments.items()
        if isinstance(value, Cube) and name not in bound.process.rules.labels_of
    }


def _extent(bound: Bound, grid: Grid | None) -> Window:
    """Return the pixels of a grid that a node has."""
    if grid is None or bound.grid is None:
        return Window(0, 0, 0, 0)
    return extent_on(bound.grid, bound.extent, grid)


def _label_demand(
    inference: Inference, order: dict[_Request, dict[str, _Request]], labels: Labels
) -> tuple[dict[_Request, Labels], dict[_Request, Mapping[str, Labels]]]:
    """Walk backwards: what is wanted of every step by all, and what each asks of its inputs."""
    demands: dict[_Request, list[Labels]] = {request: [] for request in order}
    demands[next(reversed(order))] = [labels]
    wanted: dict[_Request, Labels] = {}
    asked: dict[_Request, Mapping[str, Labels]] = {}
    for request in reversed(list(order)):
        bound = inference.nodes[request.node]
        inputs = order[request]
        wanted[request] = _joined(demands[request])
        if request.warps or bound.process.id in RESAMPLERS:
            asked[request] = {name: wanted[request] for name in inputs if name == "data"}
        else:
            probes = _known(bound) | {k: inference.nodes[v.node].result for k, v in inputs.items()}
            rule = all_labels if _is_opaque(bound) else bound.process.rules.labels
            asked[request] = rule(wanted[request], bound.result, probes, bound.arguments)
        for name, needed in inputs.items():
            demands[needed].append(asked[request].get(name, {}))
    return wanted, asked


def _is_opaque(bound: Bound) -> bool:
    """Tell whether code of users sees the labels, so that none may be left out."""
    callbacks = (v for v in bound.arguments.values() if isinstance(v, CompiledCallback))
    return any(callback.opaque for callback in callbacks)


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


def pending_stages(inference: Inference, node: str) -> tuple[str, ...]:
    """Return the stages that have not run and that a node needs, in an order in which they can."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        bound = inference.nodes[waiting.pop()]
        if bound.settled or bound.id in seen:
            continue
        seen.add(bound.id)
        if bound.needs_whole:
            found.add(bound.id)
        waiting.extend(needs(inference.graph[bound.id], inference.nodes))
    return tuple(name for name in inference.nodes if name in found)


def with_window(plan: Plan, window: Window) -> Plan:
    """Return the plan for a part of its pixels."""
    return replace(plan, window=plan.window.intersection(window))
