"""What fused steps compute, apart from any pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.cube.tape import Tape
from terrazzo.engine.compiler import compiled
from terrazzo.engine.program import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from terrazzo.engine.program import Place, Program
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
    planes: tuple[int, ...] = ()
    """Planes that each cube that comes in has."""
    _programs: dict[tuple[frozenset[Place], bool], Program] = field(
        default_factory=dict, repr=False
    )
    _not_bytes: set[Place] = field(default_factory=set, repr=False)

    @property
    def program(self) -> Program:
        """The program, compiled once for the planes that are bytes as far as is known."""
        return self._program(masked=True)

    @property
    def values(self) -> Program:
        """The program without masks, for where these are known (`passes_on`)."""
        return self._program(masked=False)

    @cached_property
    def passes_on(self) -> int | None:
        """The input whose masks, all in their order, are those of the result; None if none."""
        masks = [result.valid for result in self.results]
        if any(mask.op != "valid" for mask in masks):
            return None
        number = masks[0].value[0]
        if self.planes[number : number + 1] != (len(masks),):  # others of it are not wanted
            return None
        places = [(number, position) for position in range(len(masks))]
        return number if [mask.value for mask in masks] == places else None

    def _program(self, *, masked: bool) -> Program:
        bytes_of = self.tabular - self._not_bytes
        found = self._programs.get((bytes_of, masked))
        if found is None:
            results = self.results
            if not masked:
                sure = Tape().constant(True, np.dtype(np.bool_))
                results = tuple(Result(result.value, sure) for result in results)
            found = compiled(results, bytes_of, self.wide)
            self._programs[bytes_of, masked] = found
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
