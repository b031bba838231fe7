"""Code of a user on the pixels of one polygon at a time, in place of statistics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from terrazzo import logs
from terrazzo.cube import Stack
from terrazzo.drivers.extraction.statistics import Rows
from terrazzo.drivers.extraction.statistics.rows import label_columns
from terrazzo.processes.udf import run_on_polygon
from terrazzo.processes.zonal import pixel_axes, polygon_stack
from terrazzo.processes.zones import Entries, split
from terrazzo.sandbox import sandbox_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from terrazzo.cube import Cube, Mask, Values
    from terrazzo.drivers.extraction.weights import Weights
    from terrazzo.drivers.job import Workspace
    from terrazzo.sandbox import Sandbox

    CodePart = tuple[Entries, Values, Mask]

_AT_ONCE = 2
"""Polygons whose code runs at a time."""


@dataclass(frozen=True, slots=True)
class ParcelCode:
    """A UDF that reduces the pixels of a polygon."""

    text: str
    """Python; its axes are those of the cube, but `data`, the pixels, in place of x and y."""
    context: Any = field(default_factory=dict)
    """JSON values that are passed on to it."""


@dataclass(eq=False)
class CodeReduction:
    """Makes the rows of one scene by code of a user; made by `of`."""

    code: ParcelCode
    sandbox: Sandbox
    """Where it runs."""
    probe: Cube
    """The cube of the scene without pixels."""
    weights: Weights
    """Of the pixels whose centres are in polygons."""
    returned: Cube
    """What the code returns for a polygon without a pixel: its labels."""
    _pending: list[CodePart] = field(default_factory=list, init=False)

    @classmethod
    def of(cls, code: ParcelCode, workspace: Workspace, probe: Cube, weights: Weights) -> Self:
        """Begin a scene, once the code is known to fit.

        Args:
            code: of the user.
            workspace: whose code it is, and how it is run.
            probe: the cube of the scene without pixels.
            weights: of the pixels whose centres are in polygons.

        Raises:
            UdfFailed, UdfInvalid, UdfRefused: it cannot be run, or returns what does not fit;
                before a pixel is read.
        """
        axes = pixel_axes(probe)
        shape = (0, *([len(axis.labels) for axis in axes[1:]] or [1]))
        nothing = Stack(np.zeros(shape, probe.dtype), np.zeros(shape, np.bool_), axes=axes)
        sandbox = sandbox_of(workspace.udf, workspace.owner)
        returned = run_on_polygon(sandbox, code.text, code.context, nothing)
        return cls(code, sandbox, probe, weights, returned)

    @property
    def told(self) -> Mapping[str, Any]:
        """What the columns of its rows are."""
        return {"labels": list(label_columns(self.returned)), "statistics": ["value"]}

    def bytes_of(self, ahead: int) -> int:
        """Return the most bytes that are held while `ahead` cells wait to be taken."""
        peaks = self.weights.peaks
        size = int(np.prod([len(axis.labels) for axis in pixel_axes(self.probe)[1:]]))
        pixel = 32 + size * (self.probe.dtype.itemsize + 1)
        return (ahead * peaks.pixels + 3 * peaks.pending_pixels) * pixel

    def part(self, number: int, cube: Cube) -> CodePart:
        """Return the pixels of a cell that are under polygons."""
        found = self.weights.runs(number).pixels
        window = self.weights.cells[number]
        polygon, row, col = (a.astype(np.int64) for a in (found.polygon, found.row, found.col))
        entries = Entries(polygon, row, col, found.weight)
        index = (..., entries.row - window.row, entries.col - window.col)
        size = len(entries.row)
        values = cube.values[index].reshape(-1, size).T
        valid = cube.valid[index].reshape(-1, size).T
        return entries, np.ascontiguousarray(values), np.ascontiguousarray(valid)

    def take(self, number: int, part: CodePart) -> Rows | None:
        """Take the pixels of a cell, in order; return the rows of the polygons whole now."""
        self._pending.append(part)
        finished = self.weights.last == number
        if not finished.any():
            return None
        done, self._pending = split(self._pending, finished)
        axes = pixel_axes(self.probe)
        stacks = [polygon_stack(done, n, axes) for n in range(len(done.polygons))]
        cubes = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for cube, told in pool.map(self._heard, stacks):
                logs.retell(told)
                cubes.append(cube)
        size, count = cubes[0].values.size, len(cubes)
        at = pa.array(np.tile(np.arange(size), count))
        columns = {name: one.take(at) for name, one in label_columns(cubes[0]).items()}
        values = np.stack([cube.values for cube in cubes]).ravel()
        valid = np.stack([cube.valid for cube in cubes]).ravel()
        columns["value"] = pa.array(values, mask=~valid)
        return Rows(np.repeat(done.polygons, size).astype(np.int32), columns)

    def _heard(self, stack: Stack) -> tuple[Cube, tuple[logs.Entry, ...]]:
        with logs.collected() as log:
            cube = run_on_polygon(self.sandbox, self.code.text, self.code.context, stack)
        return cube, log.all()
