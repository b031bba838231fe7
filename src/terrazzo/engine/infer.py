"""Inference: bind every argument once and find out what every node gives, reading no pixel.

The metadata of a node is what its own function returns for cubes without pixels. A node is
*free* when it can be computed on any grid that somebody asks for (everything that goes back to
sources alone); it is *fixed* when the graph itself chose a grid (`resample_spatial`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from terrazzo import logs
from terrazzo.cube import Cube, empty_cube
from terrazzo.cube.warp import warp
from terrazzo.engine.bound import NO_PIXELS, Bound, Inference, Input, Known, Opener, Pending
from terrazzo.engine.callbacks import (
    CompiledCallback,
    Program,
    checked_call,
    metered,
    plain,
    prepared,
)
from terrazzo.engine.grids import extent_on, extents_on, resampled_grid, union_on
from terrazzo.engine.kinds import fitted, is_open, unboxed
from terrazzo.engine.lazy import needed, pruned
from terrazzo.engine.udfs import guessing, running_in, sandbox_for
from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty, TerrazzoError
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.graph import Callback, Graph, Parameter, Ref
from terrazzo.processes import PROCESSES, Role
from terrazzo.processes.geometries import stamp_of
from terrazzo.processes.load import FileRequest
from terrazzo.processes.registry import UNKNOWN, same_grid
from terrazzo.spans import span

if TYPE_CHECKING:
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.graph import Node
    from terrazzo.processes import Process
    from terrazzo.processes.stage import Finding


def infer(graph: Graph, opener: Opener) -> Inference:
    """Bind all arguments of a graph and infer what each node gives.

    Nodes that only a branch not taken by `if` needs are not looked at. What follows a stage is
    settled by `settle`.

    Raises:
        ArgumentInvalid: a process refuses an argument; the message names the node.
        CollectionNotFound, NoDataAvailable: a source cannot be opened.
    """
    with span("plan"):
        nodes = _bound_nodes(graph, opener, {}, {})
        return Inference(graph, MappingProxyType(nodes), opener)


def mistakes(graph: Graph, opener: Opener) -> tuple[tuple[str, TerrazzoError], ...]:
    """Return everything that `infer` would refuse, by node, and not the first of it alone.

    What needs a node that is refused is not looked at.
    """
    failed: dict[str, TerrazzoError | None] = {}
    with span("plan"):
        _bound_nodes(graph, opener, {}, {}, failed)
    return tuple((name, error) for name, error in failed.items() if error is not None)


def settle(inference: Inference, found: Mapping[str, Finding]) -> Inference:
    """Return the inference with what stages have found, by node, besides those known before.

    Raises:
        ArgumentInvalid: a process refuses what was found.
    """
    found = {**inference.found, **found}
    kept = {name: bound for name, bound in inference.nodes.items() if bound.settled}
    with span("plan"):
        nodes = _bound_nodes(inference.graph, inference.opener, kept, found)
        return Inference(inference.graph, MappingProxyType(nodes), inference.opener, found)


def _bound_nodes(
    graph: Graph,
    opener: Opener,
    kept: Mapping[str, Bound],
    found: Mapping[str, Finding],
    failed: dict[str, TerrazzoError | None] | None = None,
) -> dict[str, Bound]:
    """Bind the nodes that are needed; those that cannot be are put into `failed`, if there is one.

    Of a node that only needs one that cannot be bound, nothing is said (None).
    """
    nodes: dict[str, Bound] = dict(kept)
    waiting = [graph.result, *(sink for sink in graph.sinks if sink != graph.result)][::-1]
    while waiting:
        node = graph[waiting[-1]]
        if node.id in nodes or (failed and node.id in failed):
            waiting.pop()
            continue
        missing = [ref for ref in needs(node, nodes) if ref not in nodes]
        if failed and not failed.keys().isdisjoint(missing):
            failed[node.id] = None
            continue
        if missing:
            waiting.extend(missing[::-1])
            continue
        try:
            with logs.inside(node.id, node.process_id), running_in(opener):
                nodes[node.id] = _bind(node, nodes, opener, found.get(node.id, {}))
        except TerrazzoError as error:
            if failed is None:
                raise
            failed[node.id] = error
        waiting.pop()
    return nodes


def needs(node: Node, nodes: Mapping[str, Bound]) -> tuple[str, ...]:
    """Return the nodes that a node needs, as far as that is known: `if` takes one branch."""

    def value_of(part: Any) -> Any:
        if not isinstance(part, Ref):
            return part
        bound = nodes.get(part.node)
        return unboxed(bound.result) if bound is not None and bound.settled else UNKNOWN

    return needed(PROCESSES[node.process_id], node.arguments, value_of)


def _branch(node: Node, nodes: Mapping[str, Bound]) -> Any:
    value = node.arguments.get("value")
    if isinstance(value, Ref):
        value = unboxed(nodes[value.node].result)
    if isinstance(value, Cube):
        raise ArgumentInvalid(
            f"Node {node.id!r} (if): `value` is a data cube. Conditions outside of callbacks are "
            "one boolean; use `if` inside `apply`, or `mask`, to choose pixel by pixel."
        )
    checked_call(PROCESSES["if"], node.id, lambda: fitted(PROCESSES["if"], "value", value))
    return node.arguments.get("accept" if value is True else "reject")


def _bind(node: Node, nodes: Mapping[str, Bound], opener: Opener, found: Finding) -> Bound:
    process = PROCESSES[node.process_id]
    if _undecided(node, process, nodes):
        return Bound(node.id, process, {}, Pending.PENDING, settled=False)
    if node.process_id == "if":
        branch = _branch(node, nodes)
        if isinstance(branch, Ref):
            return _passed_on(node.id, process, {}, nodes[branch.node])
        return Bound(node.id, process, {}, _known(branch, nodes))

    kept = needs(node, nodes)

    def bound() -> Bound:
        arguments = {
            process.python_names.get(name, name): _argument(
                process, name, value if kept == node.refs else pruned(value, kept), nodes
            )
            for name, value in node.arguments.items()
        }
        for name, make in process.rules.once.items():
            if name in arguments and not isinstance(arguments[name], Input):
                arguments[name] = make(arguments[name])
        arguments |= sandbox_for(process)
        return _run(node.id, process, arguments, nodes, opener, found)

    if all(nodes[name].settled for name in kept):
        return checked_call(process, node.id, bound)
    with logs.collected(), guessing():  # what is said of a guess is of no use
        made = checked_call(process, node.id, bound)
    if not isinstance(made.result, Cube):
        return Bound(node.id, process, {}, Pending.PENDING, settled=False)
    return replace(made, settled=False)


def _undecided(node: Node, process: Process, nodes: Mapping[str, Bound]) -> bool:
    """Tell whether what a stage will find decides more than the values of a node's result."""
    unsettled = [name for name in needs(node, nodes) if not nodes[name].settled]
    if node.process_id == "if":
        value = node.arguments.get("value")
        return isinstance(value, Ref) and value.node in unsettled
    cubes = {
        value.node
        for name, value in node.arguments.items()
        if isinstance(value, Ref) and Cube in process.kinds.get(name, {Cube})
    }
    if process.role is Role.STAGE:  # without a raster it does at once what values decide
        cubes = {name for name in cubes if nodes[name].grid is not None}
    return any(name not in cubes or nodes[name].result is Pending.PENDING for name in unsettled)


def _argument(process: Process, name: str, value: Any, nodes: Mapping[str, Bound]) -> Any:
    """Return an argument as the function takes it, `Input` in place of a raster.

    A cube without space is known: it is an argument like any other.
    """
    if isinstance(value, Ref) and isinstance(nodes[value.node].result, Cube):
        cube = nodes[value.node].result
        taken = fitted(process, name, cube)
        known = cube.grid is None or name in process.rules.labels_of
        return taken if known else Input(value.node)
    if is_open(value) or process.kinds.get(name) == frozenset({Cube}):
        return fitted(process, name, _known(value, nodes))
    if isinstance(value, (Callback, Mapping)):
        return _known(value, nodes)
    return plain(prepared(process, name, value))


def _known(value: Any, nodes: Mapping[str, Bound]) -> Any:
    """Return a literal with the values of other nodes in it."""
    if isinstance(value, Ref):
        result = unboxed(nodes[value.node].result)
        if isinstance(result, Cube):
            raise ArgumentInvalid(
                f"The data cube of node {value.node!r} cannot be part of an array or object. Join "
                "cubes with `merge_cubes`."
            )
        return result
    if isinstance(value, Parameter):
        raise ArgumentInvalid(f"Parameter {value.name!r} has no value. Pass it with the graph.")
    if isinstance(value, Callback):
        return CompiledCallback(Program.of(value.graph))
    if isinstance(value, tuple):
        return [_known(entry, nodes) for entry in value]
    if isinstance(value, Mapping):
        return {key: _known(entry, nodes) for key, entry in value.items()}
    return value


def _run(
    name: str,
    process: Process,
    arguments: Mapping[str, Any],
    nodes: Mapping[str, Bound],
    opener: Opener,
    found: Finding,
) -> Bound:
    cubes = {
        key: nodes[arguments[key].node]
        for key in process.parameters
        if isinstance(arguments.get(key), Input)
    }
    if process.role is Role.SOURCE:
        return _leaf(name, process, arguments, opener)
    if not cubes:
        nowhere = {process.place: process.nowhere(NO_PIXELS)} if process.place else {}
        value = process.function(**arguments, **nowhere)
        if isinstance(value, Cube) and value.grid is not None:
            raise ArgumentInvalid("A raster cube cannot be made from nothing. Load a collection.")
        return Bound(name, process, arguments, value)
    probes = _on_one_grid({key: bound.result for key, bound in cubes.items()})
    first = next(iter(cubes.values()))
    given = {**arguments, **probes}
    if process.place:
        extents = extents_on(first.grid, {k: (b.grid, b.extent) for k, b in cubes.items()})
        place = process.nowhere(first.extent, first.grid, found)
        given[process.place] = replace(place, extents=extents)
    with logs.collected(), metered() as meter:  # no pixel is looked at: nothing to tell
        result = process.function(**given)
    if process.role is Role.PLANNED:
        return _planned(name, process, arguments, cubes)
    if not isinstance(result, Cube):
        return Bound(name, process, arguments, result)
    stage = process.role is Role.STAGE
    if result.grid is None and found:
        result = replace(result, values=found["values"], valid=found["valid"])
    grid, extent = _place(process, arguments, cubes, found)
    return Bound(
        name,
        process,
        arguments,
        result,
        extent=extent if result.grid is not None else NO_PIXELS,
        free=first.free and grid == first.grid and not process.rules.native,
        unchanged=process.rules.relays and len(cubes) == 1 and first.unchanged,
        settled=not stage or bool(found),
        found=found,
        callback_bytes=meter.peak,
    )


def _planned(
    name: str, process: Process, arguments: Mapping[str, Any], cubes: Mapping[str, Bound]
) -> Bound:
    data = cubes["data"]
    if process.id == "resample_spatial":
        return _resampled(name, process, arguments, data)
    if process.id == "resample_cube_spatial":
        return _onto(name, process, arguments, data, cubes["target"])
    return _passed_on(name, process, arguments, data)


def _leaf(name: str, process: Process, arguments: Mapping[str, Any], opener: Opener) -> Bound:
    request = process.function(**arguments)
    if isinstance(request, FileRequest):
        loaded = opener.load(request)
        return Bound(name, process, arguments, loaded, stamp=stamp_of(loaded))
    source = opener.open(request)
    if isinstance(source, Known):
        stamp = stamp_of(source.cube)
        return Bound(name, process, arguments, source.cube, stamp=stamp, loaded=source.items)
    grid, extent = source.probe.grid, source.extent
    if grid is not None and request.spatial is not None:
        extent = request.spatial.exact_window(grid, extent)
        if extent.is_empty:
            name_of = repr(request.collection or request.url)
            raise SpatialExtentEmpty(_beside(request.spatial, grid, source.extent, name_of))
    return Bound(
        name,
        process,
        arguments,
        source.probe,
        extent=extent,
        source=source,
        crop=request.spatial,
        unchanged=True,
    )


def _beside(asked: SpatialExtent, grid: Grid, extent: Window, what: str) -> str:
    there = tuple(round(edge, 6) for edge in grid.to_bounds(extent, asked.crs))
    return (
        f"The spatial extent {asked.bounds} holds no pixel of {what}, which covers {there} (west, "
        f"south, east, north of {asked.crs[:40]}). Widen the extent or move it there."
    )


def _on_one_grid(probes: Mapping[str, Cube]) -> Mapping[str, Cube]:
    grids = [probe.grid for probe in probes.values() if probe.grid is not None]
    return {
        name: replace(probe, grid=grids[0], window=NO_PIXELS) if probe.grid is not None else probe
        for name, probe in probes.items()
    }


def _place(
    process: Process,
    arguments: Mapping[str, Any],
    cubes: Mapping[str, Bound],
    found: Finding,
) -> tuple[Grid, Window]:
    """Return the grid of a result and the pixels of it that there are."""
    bounds = list(cubes.values())
    grid, extent = bounds[0].grid, bounds[0].extent
    if grid is None:
        raise TypeError("Only rasters come in.")
    if process.rules.joins:
        extent = union_on(grid, [(b.grid, b.extent) for b in bounds if b.grid is not None])
    crop = process.rules.crops(arguments)
    if crop is not None:
        extent = crop.exact_window(grid, extent)
    if process.rules.grid is same_grid:
        return grid, extent
    return process.rules.grid(grid, process.nowhere(extent, grid, found), arguments)


def _passed_on(name: str, process: Process, arguments: Mapping[str, Any], bound: Bound) -> Bound:
    return replace(
        bound,
        id=name,
        process=process,
        arguments=arguments,
        source=None,
        alias=bound.alias or bound.id,
    )


def _resampled(name: str, process: Process, arguments: Mapping[str, Any], data: Bound) -> Bound:
    if data.grid is None:
        raise ArgumentInvalid("Only raster cubes can be resampled in space.")
    grid = resampled_grid(
        data.grid,
        data.extent,
        resolution=arguments.get("resolution", 0),
        projection=arguments.get("projection"),
        align=arguments.get("align", "upper-left"),
    )
    if grid == data.grid:
        return _passed_on(name, process, arguments, data)
    _check_method(data.result, grid, str(arguments.get("method", "near")))
    probe = replace(data.result, grid=grid, window=NO_PIXELS)
    extent = extent_on(data.grid, data.extent, grid).intersection(grid.window)
    return Bound(name, process, arguments, probe, extent, free=False)


def _onto(
    name: str, process: Process, arguments: Mapping[str, Any], data: Bound, target: Bound
) -> Bound:
    if data.grid is None or target.grid is None:
        raise ArgumentInvalid("Only raster cubes can be resampled in space.")
    _check_method(data.result, target.grid, str(arguments.get("method", "near")))
    probe = replace(data.result, grid=target.grid, window=NO_PIXELS)
    extent = extent_on(data.grid, data.extent, target.grid)
    return Bound(name, process, arguments, probe, extent, free=target.free)


def _check_method(cube: Cube, grid: Grid, method: str) -> None:
    """Refuse a method that the cube's type does not know, by warping no pixels with it."""
    if cube.grid is not None and cube.window is not None:
        nothing = PixelMap.between(grid, NO_PIXELS, cube.grid)
        warp(cube.values, cube.valid, NO_PIXELS, nothing, method)


def without_pixels(cube: Cube, grid: Grid | None) -> Cube:
    """Return the cube's metadata on another grid."""
    return empty_cube(cube.dimensions, cube.dtype, grid, NO_PIXELS if grid is not None else None)
