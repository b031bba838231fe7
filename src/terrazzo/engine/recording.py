"""What fused steps compute, apart from any pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from terrazzo.engine.compiler import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from terrazzo.engine.program import Place, Program, Result
    from terrazzo.geo.extent import SpatialExtent


@dataclass(frozen=True, eq=False)
class Recording:
    """What a group computes: the expression of every plane of its result."""

    results: tuple[Result, ...]
    """One per plane, in the order of the result's leading axes."""
    tabular: frozenset[Place]
    """Planes of which truths could be looked up in tables, should their numbers be bytes."""
    wide: frozenset[int] = frozenset()
    """Inputs whose numbers float32 does not hold exactly."""
    _programs: dict[frozenset[Place], Program] = field(default_factory=dict, repr=False)
    _not_bytes: set[Place] = field(default_factory=set, repr=False)

    @property
    def program(self) -> Program:
        """The program, compiled once for the planes that are bytes as far as is known."""
        bytes_of = self.tabular - self._not_bytes
        found = self._programs.get(bytes_of)
        if found is None:
            found = self._programs[bytes_of] = compiled(self.results, bytes_of, self.wide)
        return found

    def no_bytes(self, places: Iterable[Place]) -> None:
        """Learn that planes are no bytes; `program` is another one from now on."""
        self._not_bytes.update(places)


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Steps of a plan that are one."""

    steps: tuple[int, ...]
    """Their numbers, in order; the last one gives the result."""
    inputs: tuple[int, ...]
    """Numbers of the steps whose cubes come in, by number of the input."""
    stored: frozenset[int]
    """Those of them whose stored numbers are taken from their source, without a cube."""
    extents: tuple[SpatialExtent, ...]
    """Extents whose masks come in as further inputs, one plane each."""
    recording: Recording
    joins: bool
    """Whether it must be computed step by step where an input ends inside the window."""

    @property
    def inside(self) -> tuple[int, ...]:
        """Numbers of the steps of which no cube is made."""
        return (*self.steps[:-1], *self.stored)
