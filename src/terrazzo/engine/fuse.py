"""Fuses steps that work pixel by pixel, so that only what comes in and goes out has full size.

Which steps those are is found out by running their own functions on traced arrays: what cannot
be recorded stays a step of its own. A fused group takes stored numbers straight from the files
where it can. It gives the same bits as its steps one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Never

import numpy as np
from typing_extensions import override

from terrazzo import logs
from terrazzo.cube import Cube, Kind
from terrazzo.cube.source import PlaneSource
from terrazzo.cube.tape import Tape, Untraceable
from terrazzo.cube.traced import Traced, nodes_of
from terrazzo.engine import operations
from terrazzo.engine.program import Result
from terrazzo.engine.recording import Fused, Recording
from terrazzo.engine.steps import NEAREST, arguments_of, chosen, conform, passes_on, with_labels
from terrazzo.engine.tables import byte_places
from terrazzo.errors import TerrazzoError
from terrazzo.geo.extent import SpatialExtent
from terrazzo.geo.grid import Window
from terrazzo.processes import Role
from terrazzo.processes.registry import same_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.engine.steps import Step
    from terrazzo.geo.grid import Grid

MOST_PLANES = 20_000
"""Planes of one group: more would take longer to compile than they save."""


def fused(steps: Sequence[Step]) -> tuple[Fused, ...]:
    """Find the groups of a plan's steps that can be fused; a matter of steps, not of grids."""
    consumers: list[list[int]] = [[] for _ in steps]
    for number, step in enumerate(steps):
        for needed in step.inputs.values():
            consumers[needed].append(number)
    taken: set[int] = set()
    groups = []
    for last in range(len(steps) - 1, -1, -1):
        if last in taken or not _works_per_pixel(steps[last]):
            continue
        members = _members(steps, consumers, last, taken)
        group = _group(steps, consumers, members)
        if group is not None:
            groups.append(group)
            taken.update(group.steps)
    return tuple(groups[::-1])


def _works_per_pixel(step: Step) -> bool:
    """Tell whether a step might be recorded: no neighbours, no place, nothing but its cubes."""
    process = step.bound.process
    return bool(
        not step.reads
        and not step.warps
        and process.role is Role.CUBE
        and (not process.place or process.rules.joins)
        and process.rules.window is same_window
        and step.inputs
        and step.grid is not None
        and step.probe.dtype.kind in "biuf"
    )


_WIDE = frozenset({"<u4", "<i4", "<f8"})
"""Types that float32 does not hold exactly."""


def _members(
    steps: Sequence[Step], consumers: Sequence[Sequence[int]], last: int, taken: set[int]
) -> list[int]:
    """Return the steps below `last` that only the group needs, in order."""
    members = {last}
    for number in range(last - 1, -1, -1):
        inside = consumers[number] and all(user in members for user in consumers[number])
        if inside and number not in taken and _works_per_pixel(steps[number]):
            members.add(number)
    return sorted(members)


def _group(
    steps: Sequence[Step], consumers: Sequence[Sequence[int]], members: list[int]
) -> Fused | None:
    """Record a group; without its first steps while they cannot be recorded."""
    while members:
        outside = sorted({n for m in members for n in steps[m].inputs.values() if n not in members})
        recording, extents, failed = _recorded(steps, members, outside)
        if recording is not None:
            stored = frozenset(
                number
                for number in outside
                if steps[number].reads
                and steps[number].method == NEAREST
                and isinstance(steps[number].bound.source, PlaneSource)
                and all(user in members for user in consumers[number])
            )
            joins = any(steps[m].bound.process.rules.joins for m in members)
            return Fused(tuple(members), tuple(outside), stored, extents, recording, joins=joins)
        members = _without(steps, members, failed)
    return None


def _without(steps: Sequence[Step], members: list[int], failed: int) -> list[int]:
    """Return the members that do not need the failed one's result inside the group.

    The failed step and all that only leads to it go; they are looked at again on their own.
    """
    if failed == members[-1]:
        return []
    kept = {members[-1]}
    for number in reversed(members[:-1]):
        users = [m for m in members if number in steps[m].inputs.values()]
        if number != failed and all(user in kept for user in users):
            kept.add(number)
    return sorted(kept)


def _recorded(
    steps: Sequence[Step], members: list[int], outside: list[int]
) -> tuple[Recording | None, tuple[SpatialExtent, ...], int]:
    """Record the steps; return None and the step that failed where that cannot be done."""
    tape, extents = Tape(), _Extents()
    if any(steps[n].probe.dtype.str not in operations.TYPES for n in outside):
        return None, (), members[-1]
    cubes = {n: _input(tape, steps[n].probe, place) for place, n in enumerate(outside)}
    extents.first = len(outside)
    for number in members:
        try:
            cubes[number] = _run(tape, steps[number], steps, cubes, extents)
        except (
            Untraceable,
            TerrazzoError,
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ):
            return None, (), number
    kinds = [steps[n].probe.dtype for n in outside]
    wide = frozenset(place for place, kind in enumerate(kinds) if kind.str in _WIDE)
    last = cubes[members[-1]]
    values = nodes_of(tape, last.values, last.values.dtype).reshape(-1)
    valid = nodes_of(tape, last.valid, np.dtype(np.bool_)).reshape(-1)
    if not 0 < values.size <= MOST_PLANES:
        return None, (), members[-1]
    results = tuple(Result(one, other) for one, other in zip(values, valid, strict=True))
    try:
        planes = tuple(math.prod(steps[n].probe.values.shape[:-2]) for n in outside)
        recording = Recording(results, byte_places(results), wide, planes)
        recording.program  # noqa: B018 - compiled to see whether it can be
    except Untraceable:
        return None, (), members[-1]
    return recording, tuple(extents.known), -1


def _input(tape: Tape, probe: Cube, number: int) -> Cube:
    """Return the cube of an input as it will be, without pixels."""
    shape = probe.values.shape[:-2]
    truth = np.dtype(np.bool_)
    values: Any = Traced.planes(tape, "plane", number, shape, probe.dtype)
    valid: Any = Traced.planes(tape, "valid", number, shape, truth)
    return Cube(values, valid, probe.dimensions, _NOWHERE, Window(0, 0, 1, 1))


class _Nowhere:
    """The grid of a recording: a result that depends on where it is cannot be recorded."""

    def __getattr__(self, name: str) -> Never:
        raise Untraceable(f"The grid's {name}.")


_NOWHERE: Any = _Nowhere()


@dataclass(frozen=True)
class _RecordedExtent(SpatialExtent):
    """An extent whose mask comes in as one more plane."""

    plane: Any = None

    @override
    def mask(self, grid: Grid, window: Window) -> Any:
        return self.plane


@dataclass
class _Extents:
    """The extents whose masks a recording takes, beside its cubes."""

    first: int = 0
    """Number of the input that the first one is."""
    known: list[SpatialExtent] = field(default_factory=list)

    def recorded(self, tape: Tape, extent: SpatialExtent) -> SpatialExtent:
        """Return an extent whose mask is traced."""
        self.known.append(extent)
        number = self.first + len(self.known) - 1
        plane = Traced.planes(tape, "plane", number, (1,), np.dtype(np.bool_))[0]
        return _RecordedExtent(extent.bounds, extent.crs, extent.polygons, plane)


def _run(
    tape: Tape,
    step: Step,
    steps: Sequence[Step],
    cubes: Mapping[int, Cube],
    extents: _Extents,
) -> Cube:
    """Run a step's function on traced cubes, as `evaluate` runs it on pixels."""
    arguments = {
        name: extents.recorded(tape, value) if isinstance(value, SpatialExtent) else value
        for name, value in arguments_of(step).items()
    }
    for name, number in step.inputs.items():
        source = steps[number].bound.result
        arguments[name] = with_labels(cubes[number], chosen(source, step.asked.get(name, {})))
    with logs.collected() as log:
        made: Any = (
            arguments["data"] if passes_on(step) else step.bound.process.function(**arguments)
        )
    if log.entries:
        raise Untraceable("It has something to tell of every block.")
    cube = conform(step, made)
    if [d.kind for d in cube.dimensions][-2:] != [Kind.SPATIAL, Kind.SPATIAL]:
        raise Untraceable("No raster.")
    values: Any = Traced(tape, nodes_of(tape, cube.values, cube.dtype), cube.dtype)
    return cube.same_pixels(values, cube.valid)
