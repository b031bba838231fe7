"""Inference: bind every argument once and find out what every node gives, reading no pixel.

The metadata of a node is what its own function returns for cubes without pixels. A node is
*free* when it can be computed on any grid that somebody asks for (everything that goes back to
sources alone); it is *fixed* when the graph itself chose a grid (`resample_spatial`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from terrazzo.cube import Cube, empty_cube
from terrazzo.cube.warp import warp
from terrazzo.engine.callbacks import (
    CompiledCallback,
    Program,
    checked_call,
    metered,
    plain,
    prepared,
)
from terrazzo.engine.grids import extent_on, resampled_grid, union_on
from terrazzo.engine.kinds import fitted, is_open
from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty
from terrazzo.geo.grid import Window
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.graph import Callback, Graph, Parameter, Ref
from terrazzo.graph.model import leaves
from terrazzo.processes import PROCESSES, Role
from terrazzo.spans import span

if TYPE_CHECKING:
    from terrazzo.cube import Source
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.geo.grid import Grid
    from terrazzo.graph import Node
    from terrazzo.processes import Process
    from terrazzo.processes.load import LoadRequest

NO_PIXELS = Window(0, 0, 0, 0)


class Opener(Protocol):
    """Turns what `load_collection` and `load_stac` ask for into a source."""

    def open(self, request: LoadRequest) -> Source:
        """Open a source with the items that the request selects; reads no pixel."""


@dataclass(frozen=True, slots=True)
class Input:
    """An argument that is the cube of another node."""

    node: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A node with its arguments bound and its result known but for the pixels."""

    id: str
    process: Process
    arguments: Mapping[str, Any]
    """By Python parameter name; `Input` where a cube comes in."""
    result: Any
    """A cube without pixels on the native grid, or the value of a scalar node."""
    extent: Window = NO_PIXELS
    """Pixels of the native grid that there are."""
    free: bool = True
    """Whether it can be computed on any grid."""
    source: Source | None = None
    """Where pixels come from, at a leaf."""
    crop: SpatialExtent | None = None
    """At a leaf: the extent outside of which there is no data."""
    alias: str = ""
    """Id of the node whose cube this is, where the node changes no pixel."""
    unchanged: bool = False
    """Whether its pixels are those of a source, which may then be resampled as they are read."""
    needs_whole: bool = False
    """Whether blocks must be merged before later nodes can run (`aggregate_spatial`)."""
    callback_bytes: float = 0.0
    """What its callbacks hold at most, bytes per pixel, all labels."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Ids of the nodes whose cubes come in, by parameter name."""
        return {k: v.node for k, v in self.arguments.items() if isinstance(v, Input)}

    @property
    def grid(self) -> Grid | None:
        """The native grid; None for scalars and cubes without space."""
        return self.result.grid if isinstance(self.result, Cube) else None


@dataclass(frozen=True, slots=True)
class Inference:
    """A graph of which everything but the pixels is known."""

    graph: Graph
    nodes: Mapping[str, Bound]
    """Every node that the result needs, in the order in which they can run."""
    grids: frozenset[Grid] = field(init=False, repr=False, compare=False)
    """The native grids of all nodes: plans for any other grid differ in nothing but the grid."""
    known: dict[tuple[str, Grid | None], tuple[Grid, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What plans of a node have in common, kept by the planner: one entry per node and native
    grid at most, never changed."""

    def __post_init__(self) -> None:
        grids = {bound.grid for bound in self.nodes.values()}
        object.__setattr__(self, "grids", frozenset(grid for grid in grids if grid is not None))

    def cube(self, node: str) -> Bound:
        """Return the node whose pixels a node gives (itself, unless it passes them on)."""
        bound = self.nodes[node]
        return self.nodes[bound.alias] if bound.alias else bound


def infer(graph: Graph, opener: Opener) -> Inference:
    """Bind all arguments of a graph and infer what each node gives.

    Nodes that only a branch not taken by `if` needs are not looked at.

    Raises:
        ArgumentInvalid: a process refuses an argument; the message names the node.
        CollectionNotFound, NoDataAvailable: a source cannot be opened.
    """
    with span("plan"):
        return Inference(graph, MappingProxyType(_bound_nodes(graph, opener)))


def _bound_nodes(graph: Graph, opener: Opener) -> dict[str, Bound]:
    nodes: dict[str, Bound] = {}
    waiting = [graph.result, *(sink for sink in graph.sinks if sink != graph.result)][::-1]
    while waiting:
        node = graph[waiting[-1]]
        if node.id in nodes:
            waiting.pop()
            continue
        missing = [ref for ref in _needs(node, nodes) if ref not in nodes]
        if missing:
            waiting.extend(missing[::-1])
            continue
        nodes[node.id] = _bind(node, nodes, opener)
        waiting.pop()
    return nodes


def _needs(node: Node, nodes: Mapping[str, Bound]) -> tuple[str, ...]:
    if node.process_id != "if":
        return tuple(node.refs)
    value = node.arguments.get("value")
    if isinstance(value, Ref) and value.node not in nodes:
        return (value.node,)
    return tuple(leaf.node for leaf in leaves(_branch(node, nodes)) if isinstance(leaf, Ref))


def _branch(node: Node, nodes: Mapping[str, Bound]) -> Any:
    value = node.arguments.get("value")
    if isinstance(value, Ref):
        value = nodes[value.node].result
    if isinstance(value, Cube):
        raise ArgumentInvalid(
            f"Node {node.id!r} (if): `value` is a data cube. Conditions outside of callbacks are "
            "one boolean; use `if` inside `apply`, or `mask`, to choose pixel by pixel."
        )
    checked_call(PROCESSES["if"], node.id, lambda: fitted(PROCESSES["if"], "value", value))
    return node.arguments.get("accept" if value is True else "reject")


def _bind(node: Node, nodes: Mapping[str, Bound], opener: Opener) -> Bound:
    process = PROCESSES[node.process_id]
    if node.process_id == "if":
        branch = _branch(node, nodes)
        if isinstance(branch, Ref):
            return _passed_on(node.id, process, {}, nodes[branch.node])
        return Bound(node.id, process, {}, _known(branch, nodes))

    def bound() -> Bound:
        arguments = {
            process.python_names.get(name, name): _argument(process, name, value, nodes)
            for name, value in node.arguments.items()
        }
        for name, make in process.rules.once.items():
            if name in arguments and not isinstance(arguments[name], Input):
                arguments[name] = make(arguments[name])
        return _run(node.id, process, arguments, nodes, opener)

    return checked_call(process, node.id, bound)


def _argument(process: Process, name: str, value: Any, nodes: Mapping[str, Bound]) -> Any:
    """Return an argument as the function takes it, `Input` in place of a cube."""
    if isinstance(value, Ref) and isinstance(nodes[value.node].result, Cube):
        cube = nodes[value.node].result
        fitted(process, name, cube)
        # Geometries are known without pixels; as such they are an argument like GeoJSON.
        shapes_only = cube.geometries is not None and object in process.kinds.get(name, ())
        return cube if shapes_only else Input(value.node)
    if is_open(value) or process.kinds.get(name) == frozenset({Cube}):
        return fitted(process, name, _known(value, nodes))
    if isinstance(value, (Callback, Mapping)):
        return _known(value, nodes)
    return plain(prepared(process, name, value))


def _known(value: Any, nodes: Mapping[str, Bound]) -> Any:
    """Return a literal with the values of other nodes in it."""
    if isinstance(value, Ref):
        result = nodes[value.node].result
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
) -> Bound:
    cubes = {
        key: nodes[arguments[key].node]
        for key in process.parameters
        if isinstance(arguments.get(key), Input)
    }
    if process.role is Role.SOURCE:
        return _leaf(name, process, arguments, opener)
    if not cubes:
        value = process.function(**arguments)
        if isinstance(value, Cube) and value.grid is not None:
            raise ArgumentInvalid("A raster cube cannot be made from nothing. Load a collection.")
        return Bound(name, process, arguments, value)
    probes = _on_one_grid({key: bound.result for key, bound in cubes.items()})
    first = next(iter(cubes.values()))
    given = {**arguments, **probes}
    if process.place:
        given[process.place] = process.nowhere(first.extent)
    with metered() as meter:
        result = process.function(**given)
    if process.role is Role.PLANNED:
        return _planned(name, process, arguments, cubes)
    if not isinstance(result, Cube):
        return Bound(name, process, arguments, result)
    return Bound(
        name,
        process,
        arguments,
        result,
        extent=_extent(process, arguments, cubes),
        free=first.free,
        unchanged=process.rules.relays and len(cubes) == 1 and first.unchanged,
        needs_whole=process.role is Role.STAGE,
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
    source = opener.open(request)
    grid, extent = source.probe.grid, source.extent
    if grid is not None and request.spatial is not None:
        extent = extent.intersection(request.spatial.window(grid))
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


def _extent(process: Process, arguments: Mapping[str, Any], cubes: Mapping[str, Bound]) -> Window:
    bounds = list(cubes.values())
    grid = bounds[0].grid
    extent = bounds[0].extent
    if grid is None:
        return NO_PIXELS
    if process.rules.joins:
        extent = union_on(grid, [(b.grid, b.extent) for b in bounds if b.grid is not None])
    crop = process.rules.crops(arguments)
    if crop is not None:
        extent = extent.intersection(crop.window(grid))
        if extent.is_empty:
            raise SpatialExtentEmpty(_beside(crop, grid, bounds[0].extent, "the cube"))
    return extent


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
    return Bound(
        name, process, arguments, probe, extent_on(data.grid, data.extent, grid), free=False
    )


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
