"""Code of a user on the pixels of one polygon at a time, for `extract`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo import logs
from terrazzo.cube import Stack
from terrazzo.drivers.zonal import label_rows
from terrazzo.processes.udf import run_on_polygon
from terrazzo.processes.zonal import pixel_axes, polygon_stack
from terrazzo.sandbox import sandbox_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Cube
    from terrazzo.drivers.job import Workspace
    from terrazzo.engine import Plan
    from terrazzo.processes.zones import PolygonPixels
    from terrazzo.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class ParcelCode:
    """A UDF that reduces the pixels of a polygon."""

    text: str
    """Python; its axes are those of the cube, but `data`, the pixels, in place of x and y."""
    context: Any = field(default_factory=dict)
    """JSON values that are passed on to it."""


def coded_rows(
    code: ParcelCode, workspace: Workspace, plan: Plan, ids: Sequence[Any], workers: int
) -> Callable[[PolygonPixels], dict[str, NDArray[Any]]]:
    """Return what makes the rows of finished polygons by code, once it is known to fit.

    Args:
        code: of the user.
        workspace: whose code it is, and how it is run.
        plan: the raster whose pixels it gets.
        ids: one per polygon.
        workers: polygons that are computed at a time.

    Raises:
        UdfFailed, UdfInvalid, UdfRefused: it cannot be run, or returns what does not fit; before
            a pixel is read.
    """
    made = _ParcelRows(code, sandbox_of(workspace.udf, workspace.owner), plan, ids, workers)
    made.check()
    return made.of


@dataclass(frozen=True, slots=True)
class _ParcelRows:
    """Makes the rows of polygons by code."""

    code: ParcelCode
    sandbox: Sandbox
    """Where it runs."""
    plan: Plan
    """The raster whose pixels it gets."""
    ids: Sequence[Any]
    """One per polygon."""
    workers: int
    """Polygons that are computed at a time."""

    def check(self) -> None:
        """Find out what the code returns, without a pixel."""
        axes = pixel_axes(self.plan.probe)
        shape = (0, *([len(axis.labels) for axis in axes[1:]] or [1]))
        nothing = np.zeros(shape, self.plan.probe.dtype), np.zeros(shape, np.bool_)
        self._called(Stack(*nothing, axes=axes))

    def of(self, pixels: PolygonPixels) -> dict[str, NDArray[Any]]:
        """Return the rows of finished polygons: every label of every polygon."""
        axes = pixel_axes(self.plan.probe)
        stacks = [polygon_stack(pixels, n, axes) for n in range(len(pixels.polygons))]
        cubes = []
        with ThreadPoolExecutor(self.workers) as pool:
            for cube, told in pool.map(self._heard, stacks):
                logs.retell(told)
                cubes.append(cube)
        size, count = cubes[0].values.size, len(cubes)
        ids = np.array([self.ids[i] for i in pixels.polygons])
        rows = {"_polygon": np.repeat(pixels.polygons, size), "id": np.repeat(ids, size)}
        for name, column in label_rows(cubes[0]).items():
            rows[name] = np.tile(np.array(column), count)
        rows["value"] = np.stack([cube.values for cube in cubes]).ravel()
        return rows

    def _heard(self, stack: Stack) -> tuple[Cube, tuple[logs.Entry, ...]]:
        with logs.collected() as log:
            cube = self._called(stack)
        return cube, log.all()

    def _called(self, stack: Stack) -> Cube:
        return run_on_polygon(self.sandbox, self.code.text, self.code.context, stack)
