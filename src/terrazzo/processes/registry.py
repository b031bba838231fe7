"""The registry of openEO processes: a function, its description, and rules for the planner.

A process is written as a plain function over cubes or pixels. Its openEO description is made
from signature, types and docstring; its *rules* say what it needs from its inputs so that the
planner can push a demand for a few pixels, bands and dates back to the files. Metadata needs no
rule: the planner runs the function itself on cubes without pixels and looks at what comes out,
so that metadata and result cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from typing_extensions import override

from terrazzo.geo.grid import Window
from terrazzo.processes.describe import describe

if TYPE_CHECKING:
    from terrazzo.cube import Cube
    from terrazzo.geo.extent import SpatialExtent
    from terrazzo.geo.grid import Grid
    from terrazzo.graph.spec import ProcessSpec
    from terrazzo.processes.stage import Finding, Stage

Labels = Mapping[str, tuple[int, ...]]
"""Positions of labels that are wanted, by dimension; a dimension not named is wanted whole."""

F = TypeVar("F", bound=Callable[..., Any])


class Role(StrEnum):
    """Who runs a process, and on what."""

    SCALAR = "scalar"
    """Callback maths: numbers, pixels and stacks in, the same out. Never sees a cube."""
    CUBE = "cube"
    """Cubes in, a cube out, block by block."""
    SOURCE = "source"
    """Opened by the engine; the function only checks and describes the arguments."""
    PLANNED = "planned"
    """Carried out by the planner (resampling, conditions, results); the function describes."""
    STAGE = "stage"
    """Needs the whole extent: blocks are mapped and merged before later nodes can run."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block lies: for processes whose result depends on it (declare `place: Place`)."""

    wanted: Window
    """The output pixels that are needed; the function may return more."""
    extent: Window
    """All pixels that the first input cube has on this grid."""
    extents: Mapping[str, Window] = field(default_factory=dict)
    """All pixels that each input cube has on this grid, by parameter; only those of rasters."""
    grid: Grid | None = None
    """The grid that the windows count on."""
    found: Finding = field(default_factory=dict)
    """What the process's own stage has found in all pixels; empty before it has run."""


class WindowRule(Protocol):
    """Says which input pixels an output window needs, in pixels of the node's own grid."""

    def __call__(
        self, wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str
    ) -> Window:
        """Return the window needed of the cube given as `argument`; the planner clips it."""


class LabelsRule(Protocol):
    """Says which labels of an input an output needs."""

    def __call__(
        self, wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
    ) -> Mapping[str, Labels]:
        """Return the labels needed, by argument name; positions count in the input's labels.

        `wanted` counts in the labels of `output`. Inputs that are not named are needed whole.
        """


def same_window(
    wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str
) -> Window:
    """Need exactly the pixels that are wanted: the rule of everything that works per pixel."""
    del extent, arguments, argument
    return wanted


def all_labels(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need every label of every input: the safe rule."""
    del wanted, output, inputs, arguments
    return {}


def same_labels(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need of `data` the labels that are wanted: for processes that keep all labels."""
    del output, arguments
    names = set(inputs["data"].names) if "data" in inputs else set()
    return {"data": {name: kept for name, kept in wanted.items() if name in names}}


class GridRule(Protocol):
    """Says on which grid the result of a process lies, and which of its pixels there are."""

    def __call__(
        self, grid: Grid, place: Place, arguments: Mapping[str, Any]
    ) -> tuple[Grid, Window]:
        """Return grid and extent; `grid` and `place.extent` are those of the first input."""


def same_grid(grid: Grid, place: Place, arguments: Mapping[str, Any]) -> tuple[Grid, Window]:
    """Keep grid and extent."""
    del arguments
    return grid, place.extent


class Unknown(Enum):
    """The value of an argument that is not computed yet."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


class NeedsRule(Protocol):
    """Says which parts of the arguments a process needs, as far as some are known."""

    def __call__(
        self, arguments: Mapping[str, Any], value_of: Callable[[Any], Any]
    ) -> tuple[Any, ...]:
        """Return arguments, or entries of them, that must be computed.

        It is asked again when they are. What it never returns is not computed, and the function
        gets no-data in its place. `value_of` gives the value of a part, `UNKNOWN` until it is
        computed.
        """


def no_crop(arguments: Mapping[str, Any]) -> SpatialExtent | None:
    """Keep the extent of the input."""
    del arguments
    return None


def no_programs() -> Mapping[str, str]:
    """Compute with nothing but Terrazzo."""
    return {}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the planner must know of a process beside its function."""

    window: WindowRule = same_window
    labels: LabelsRule = all_labels
    relays: bool = False
    """Whether pixel values pass unchanged (filters, renames): resampling may then move below."""
    crops: Callable[[Mapping[str, Any]], SpatialExtent | None] = no_crop
    """The extent, made from the arguments, to which the process crops its cube."""
    grid: GridRule = same_grid
    """The grid and extent that come out. Where the grid is another one than that of the input, it
    is fixed, and `window` counts in pixels of the input's grid."""
    once: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """What is made of an argument once per plan, where making it in every block would take long
    (a geometry out of GeoJSON); the function gets what was made."""
    needs: NeedsRule | None = None
    """Which arguments are needed, told by those that are known (`if`, `and`); None for all."""
    joins: bool = False
    """Whether the result covers what any input covers (merge), not only what `data` does."""
    borders: bool = False
    """Whether the function treats the border of the cube itself: it then gets no padding."""
    labels_of: frozenset[str] = frozenset()
    """Parameters whose cubes count for their labels only: they come without pixels, and none of
    them is read."""
    makes_all: bool = False
    """Whether the function makes all of its new labels, whichever are wanted."""
    native: bool = False
    """Whether it is computed on its input's own grid, and warped from there, whatever grid is asked
    for: slopes and catchments need true distances, and pixels that are not thinned out."""
    programs: Callable[[], Mapping[str, str]] = no_programs
    """Programs of others that it is computed with, here: their versions, by name. Results tell of
    them, and no run mixes what two versions have made."""
    scratch: float = 1.0
    """Temporary memory while it runs, in multiples of the bytes of its largest cube."""


@dataclass(frozen=True, slots=True)
class Process:
    """One openEO process."""

    spec: ProcessSpec
    function: Callable[..., Any]
    role: Role
    rules: Rules = field(default_factory=Rules)
    place: str = ""
    """Name of the parameter that takes a `Place`; empty for most."""

    python_names: Mapping[str, str] = field(default_factory=dict)
    """Python parameter names where they differ from openEO's (`lambda_` for `lambda`)."""
    stacks: frozenset[str] = frozenset()
    """openEO names of the parameters that take arrays as `Stack`."""
    kinds: Mapping[str, frozenset[type]] = field(default_factory=dict)
    """By openEO name: which of `describe.COMPUTED` a parameter takes, and `object` if it takes
    JSON values; a parameter that takes anything is left out."""
    stage: Stage | None = None
    """How all blocks are brought together, for `Role.STAGE`."""
    sandbox: str = ""
    """Name of the parameter that takes the `Sandbox` in which code of users runs; empty for all
    that run none."""

    @property
    def id(self) -> str:
        """Id of the process in openEO."""
        return self.spec.id

    @property
    def parameters(self) -> tuple[str, ...]:
        """Python names of the parameters, in the order of the signature."""
        return tuple(self.python_names.get(p.name, p.name) for p in self.spec.parameters)

    def takes_stack(self, parameter: str) -> bool:
        """Tell whether a parameter takes a `Stack`."""
        return parameter in self.stacks

    def nowhere(
        self,
        extent: Window,
        grid: Grid | None = None,
        found: Finding = MappingProxyType({}),
    ) -> Place:
        """Return the place of a block without pixels, for inference."""
        return Place(Window(extent.row, extent.col, 0, 0), extent, grid=grid, found=found)


_PROCESSES: dict[str, Process] = {}

PROCESSES: Mapping[str, Process] = MappingProxyType(_PROCESSES)
"""Every process by id; complete once `terrazzo.processes` is imported."""


class _Specs(Mapping[str, "ProcessSpec"]):
    """The descriptions of the registered processes, later ones too."""

    @override
    def __getitem__(self, name: str) -> ProcessSpec:
        return _PROCESSES[name].spec

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(_PROCESSES)

    @override
    def __len__(self) -> int:
        return len(_PROCESSES)


SPECS: Mapping[str, ProcessSpec] = _Specs()
"""The openEO description of every process, by id."""


def process(
    name: str,
    role: Role = Role.SCALAR,
    *,
    categories: tuple[str, ...] = (),
    rules: Rules | None = None,
    stage: Stage | None = None,
    experimental: bool = False,
) -> Callable[[F], F]:
    """Register a function as an openEO process under `name`; the function stays what it is.

    The summary, parameters, return value and exceptions of the openEO description come from
    its docstring (Google style) and its annotations (see `terrazzo.processes.schemas`). With
    `Role.STAGE`, `stage` says how its blocks are brought together.
    """

    def register(function: F) -> F:
        if name in _PROCESSES:
            raise ValueError(f"Process {name!r} is registered twice.")
        told = describe(name, function, categories, experimental=experimental)
        _PROCESSES[name] = Process(
            told.spec,
            function,
            role,
            rules or Rules(),
            told.place,
            told.python_names,
            told.stacks,
            told.kinds,
            stage,
            told.sandbox,
        )
        return function

    return register
