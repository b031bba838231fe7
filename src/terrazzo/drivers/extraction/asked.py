"""What is made of the pixels under polygons: statistics, samples, or what a user's code returns."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from terrazzo.drivers.extraction.code import CodeReduction, ParcelCode
from terrazzo.drivers.extraction.samples import Samples, Sampling
from terrazzo.drivers.extraction.statistics import DEFAULT, Reduction, check_statistics
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.cube import Cube
    from terrazzo.drivers.extraction.placed import Placed
    from terrazzo.drivers.extraction.statistics import Rows
    from terrazzo.drivers.extraction.weights import Weights
    from terrazzo.drivers.job import Workspace
    from terrazzo.engine import Plan
    from terrazzo.geo.runs import How


class Reducing(Protocol):
    """Makes the rows of one scene, cell by cell."""

    @property
    def told(self) -> Mapping[str, Any]:
        """What the columns of its rows are: names of `labels` and of `statistics`."""

    def bytes_of(self, ahead: int) -> int:
        """Return the most bytes that are held while `ahead` cells wait to be taken."""

    def part(self, number: int, cube: Cube) -> Any:
        """Reduce a cell that has just been computed; many threads may do so at once."""

    def take(self, number: int, part: Any) -> Rows | None:
        """Take the part of a cell, in the order of the cells; return the rows that are whole."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is made of the pixels; may be sent to other processes."""

    statistics: tuple[str, ...] = DEFAULT
    """Which statistics."""
    code: ParcelCode | None = None
    """Reduces the pixels of a polygon, all dates and bands of them, in place of statistics."""
    sampling: Sampling | None = None
    """Which pixels become rows themselves, in place of statistics."""
    how: How = "exact"
    """What a pixel weighs."""
    around: int = 1
    """Edge of the square of pixels that a point has."""
    buffer_m: float = 0.0
    """By how much polygons are grown first, metres; negative shrinks."""

    @classmethod
    def of(
        cls,
        statistics: Sequence[str],
        code: ParcelCode | None,
        sampling: Sampling | None,
        *,
        how: How,
        around: int,
        buffer_m: float,
    ) -> Asked:
        """Check what is asked for.

        Raises:
            ArgumentInvalid: it contradicts itself, a statistic is not known, or the buffer is no
                number of metres.
        """
        if not math.isfinite(buffer_m):
            raise ArgumentInvalid(
                f"A buffer of {buffer_m} metres cannot be made. Give a finite number, for example "
                "--buffer -10."
            )
        if code is not None and sampling is not None:
            raise ArgumentInvalid("Code and samples exclude each other. Leave one of them out.")
        names = check_statistics(statistics)
        if code is not None:
            how = "centre"  # as `aggregate_spatial` has it
        return cls(names, code, sampling, how, around, buffer_m)

    def begin(self, plan: Plan, weights: Weights, placed: Placed, workspace: Workspace) -> Reducing:
        """Begin a scene.

        Raises:
            UdfFailed, UdfInvalid, UdfRefused: the code cannot be run, or returns what does not fit.
        """
        if self.code is not None:
            return CodeReduction.of(self.code, workspace, plan.probe, weights)
        if self.sampling is not None:
            classes = placed.polygons.attribute(self.sampling.per) if self.sampling.per else None
            return Samples.of(self.sampling, plan.probe, plan.grid, weights, classes)
        return Reduction(self.statistics, plan.probe, weights)

    def told(self) -> dict[str, Any]:
        """Return it as JSON values: what decides the numbers."""
        told = asdict(self)
        if self.code is not None or self.sampling is not None:
            del told["statistics"]
        return told
