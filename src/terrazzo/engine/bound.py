"""What is known of a graph before a pixel is: nodes with their arguments bound."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from terrazzo.cube import Cube
from terrazzo.geo.grid import Window
from terrazzo.processes import Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.cube import Source
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.geo.grid import Grid
    from terrazzo.graph import Graph
    from terrazzo.processes import Process
    from terrazzo.processes.load import FileRequest, LoadRequest
    from terrazzo.processes.stage import Finding

Chosen = tuple[tuple[str, tuple[int, ...]], ...]
"""Positions of labels by dimension; empty is all of them."""
NO_PIXELS = Window(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Known:
    """A cube that is known before any pixel is: geometries of a collection."""

    cube: Cube
    """The geometries, and values if attributes were asked for."""
    items: tuple[str, ...]
    """Ids of the items that it was made of."""


class Opener(Protocol):
    """Turns what `load_collection` and `load_stac` ask for into a source, and loads files."""

    def open(self, request: LoadRequest) -> Source | Known:
        """Open a source with the items that the request selects; reads no pixel.

        Items that hold geometries are loaded.
        """

    def load(self, request: FileRequest) -> Cube:
        """Load a file of geometries, which are known before any pixel is."""


@dataclass(frozen=True, slots=True)
class Input:
    """An argument that is the cube of another node."""

    node: str


class Pending(Enum):
    """The result of a node of which not even metadata are known before a stage has run."""

    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Bound:
    """A node with its arguments bound and its result known but for the pixels."""

    id: str
    process: Process
    arguments: Mapping[str, Any]
    """By Python parameter name; `Input` where a raster comes in."""
    result: Any
    """A cube without pixels on the native grid; a cube without space; a value; or `Pending`."""
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
    settled: bool = True
    """Whether no stage must run before the result is known, or a raster can be computed. Until
    then a cube has the right dimensions, if no value decides them, and no data."""
    found: Finding = field(default_factory=dict)
    """What its own stage has found."""
    callback_bytes: float = 0.0
    """What its callbacks hold at most, bytes per pixel, all labels."""
    stamp: str = ""
    """A digest of the file that it was loaded from, which may be another one next time."""
    loaded: tuple[str, ...] = ()
    """Ids of the items whose geometries it has."""

    @property
    def items(self) -> Sequence[str]:
        """Ids of the items that it reads, or has loaded."""
        return self.loaded if self.source is None else self.source.items

    @property
    def needs_whole(self) -> bool:
        """Whether it is a stage that has not run: all blocks must be brought together first."""
        return self.process.role is Role.STAGE and bool(self.inputs) and not self.found

    @property
    def inputs(self) -> Mapping[str, str]:
        """Ids of the nodes whose rasters come in, by parameter name."""
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
    opener: Opener = field(repr=False, compare=False)
    """What opens sources, for nodes that are bound after a stage has run."""
    found: Mapping[str, Finding] = field(default_factory=dict)
    """What the stages that have run have found, by node."""
    known: dict[tuple[str, Grid | None, Chosen], tuple[Grid, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What plans of a node and of a choice of its labels have in common, kept by the planner: an
    entry for each native grid at most, never changed, and few choices of labels."""

    def __post_init__(self) -> None:
        grids = {bound.grid for bound in self.nodes.values()}
        object.__setattr__(self, "grids", frozenset(grid for grid in grids if grid is not None))

    @property
    def stamp(self) -> str:
        """A digest of the files that were loaded and of what stages have found; empty without any.

        It is the same when they are.
        """
        files = sorted((name, bound.stamp) for name, bound in self.nodes.items() if bound.stamp)
        digest = hashlib.sha256(repr(files).encode())
        for node, found in sorted(self.found.items()):
            for name, array in sorted(found.items()):
                told = f"{node} {name} {array.dtype.str} {array.shape}"
                digest.update(told.encode())
                plain = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
                digest.update(plain)
        return digest.hexdigest() if self.found or files else ""

    def cube(self, node: str) -> Bound:
        """Return the node whose pixels a node gives (itself, unless it passes them on)."""
        bound = self.nodes[node]
        return self.nodes[bound.alias] if bound.alias else bound
