"""Steps: the things that are done for every block of a plan, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from terrazzo.cube import Kind
from terrazzo.engine.bound import Input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.cube import Cube
    from terrazzo.engine.bound import Bound
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.processes.registry import Labels

NEAREST = "near"
RESAMPLERS = frozenset({"resample_spatial", "resample_cube_spatial"})
"""Processes that a read or a warp below them carries out."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do per block: read a source, run a process, or warp onto another grid."""

    bound: Bound
    """The node."""
    grid: Grid | None
    """The grid of the step's pixels; None for cubes without space."""
    extent: Window
    """All pixels of that grid that there are."""
    probe: Cube
    """What the step gives, without pixels: dimensions with the labels that are wanted, dtype."""
    wanted: Labels
    """Positions of the wanted labels in the node's own result."""
    inputs: Mapping[str, int]
    """Steps whose cubes come in, by parameter name; empty for a read."""
    asked: Mapping[str, Labels] = field(default_factory=dict)
    """Positions of the labels that it gets of each input, in that node's own result: exactly
    what its rule asks for, whatever else other steps want of the same input."""
    method: str = NEAREST
    """How a read or a warp resamples."""
    warps: bool = False
    """Whether the step warps its one input (named `data`) instead of running the process."""

    @property
    def reads(self) -> bool:
        """Whether the step reads a source."""
        return self.bound.source is not None and not self.warps

    @property
    def name(self) -> str:
        """What people call the step."""
        return f"{self.bound.id}: warp" if self.warps else self.bound.id


def passes_on(step: Step) -> bool:
    """Tell whether a step gives its `data` as it is: the read or warp below it has done all."""
    return step.bound.process.id in RESAMPLERS


def chosen(cube: Cube, labels: Labels) -> Cube:
    """Return the cube with the labels at these positions only."""
    for name, positions in labels.items():
        cube = cube.take(name, positions)
    return cube


def with_labels(cube: Cube, probe: Cube) -> Cube:
    """Return the cube with exactly the labels of a cube without pixels."""
    for dimension in probe.dimensions:
        if dimension.kind is Kind.SPATIAL:
            continue
        have = cube.dimension(dimension.name)
        if have.labels != dimension.labels:
            positions = {label: index for index, label in enumerate(have.labels)}
            cube = cube.take(dimension.name, [positions[label] for label in dimension.labels])
    return cube


def conform(step: Step, cube: Cube) -> Cube:
    """Give exactly the labels and the dtype that the plan promised."""
    cube = with_labels(cube, step.probe)
    if cube.dtype != step.probe.dtype:
        cube = cube.same_pixels(cube.values.astype(step.probe.dtype), cube.valid)
    return cube


def arguments_of(step: Step) -> dict[str, Any]:
    """Return the arguments of a step that are no rasters."""
    return {k: v for k, v in step.bound.arguments.items() if not isinstance(v, Input)}
