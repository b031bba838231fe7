"""Reduces the pixels of a scene under polygons, cell by cell, to rows of a table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from terrazzo.drivers.extraction.statistics import kernels
from terrazzo.drivers.extraction.statistics.columns import Columns
from terrazzo.drivers.extraction.statistics.names import Wanted
from terrazzo.drivers.extraction.statistics.part import Part, Pixels, starts_of
from terrazzo.drivers.extraction.statistics.rows import Rows, joined, label_columns
from terrazzo.geo.jit import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Cube
    from terrazzo.drivers.extraction.weights import Weights
    from terrazzo.geo.grid import Window
    from terrazzo.geo.runs import Runs

    Under = tuple[kernels.Lines, NDArray[Any], NDArray[np.bool_], bool]
    """What kernels take: runs, values and validity of a window, and whether it is looked at."""


class Reduction:
    """Makes the rows of one scene: statistics per polygon and label.

    What is a sum is summed up per lattice square and merged in the order of the squares; what
    needs all values keeps the pixels of polygons that are not whole yet, and no others.
    """

    def __init__(self, names: Sequence[str], probe: Cube, weights: Weights) -> None:
        """Begin a scene.

        Args:
            names: which statistics.
            probe: the cube of the scene without pixels: dimensions, labels and type.
            weights: of all polygons on the scene's grid.

        Raises:
            ArgumentInvalid: a statistic that is not known.
        """
        self._wanted = Wanted.of(names)
        self._weights = weights
        self._labels = label_columns(probe)
        self._size = int(np.prod(probe.values.shape[:-2], dtype=np.int64))
        self._made = Columns(self._wanted, probe.dtype)
        self._pending: Part | None = None

    @property
    def columns(self) -> tuple[pa.Field, ...]:
        """Names and types of the columns that the rows have: labels, then statistics."""
        labels = [pa.field(name, column.type) for name, column in self._labels.items()]
        return (*labels, *self._made.fields)

    @property
    def told(self) -> Mapping[str, Any]:
        """What the columns of its rows are, by name."""
        numbers = [one.name for one in self._made.fields]
        return {"labels": list(self._labels), "statistics": numbers}

    def bytes_of(self, ahead: int) -> int:
        """Return the most bytes that are held while `ahead` cells wait to be taken."""
        peaks = self._weights.peaks
        fragment = 20 + self._size * (kernels.MOMENTS + self._wanted.places) * 8
        pixel = 8 + 9 * self._size if self._wanted.pixels else 0
        # Pixels of polygons that are whole are held only while a cell is reduced; sorting copies.
        cell = peaks.fragments * fragment + 3 * peaks.pixels * pixel
        return ahead * cell + peaks.pending_fragments * fragment + peaks.pending_pixels * pixel

    def part(self, number: int, cube: Cube) -> Part:
        """Reduce a cell that has just been computed; many threads may do so at once.

        Args:
            number: of the cell in `Weights.cells`.
            cube: its pixels.
        """
        runs = self._weights.runs(number)
        under = _under(runs, self._weights.cells[number], cube)
        part = Part(
            runs.polygon,
            runs.square,
            kernels.moments(*under, self._wanted.extremes),
            self._tallies(under),
            np.full(len(runs.polygon), None),
        )
        starts = starts_of(part.polygon)
        counts = np.diff(starts)
        whole = np.repeat(counts == self._weights.fragments[part.polygon[starts[:-1]]], counts)
        rows = self._rows(part.chosen(whole), self._pixels(under, whole)) if whole.any() else None
        late = part.chosen(~whole)
        pixels = self._pixels(under, ~whole)
        return replace(late, pixels=late.pixels if pixels is None else pixels.apart(), rows=rows)

    def take(self, number: int, part: Part) -> Rows | None:
        """Take the part of a cell, in the order of the cells; return the polygons whole now."""
        if not len(part.polygon):
            return part.rows
        held = part if self._pending is None else self._pending.followed_by(part)
        whole = self._weights.last[held.polygon] == number
        self._pending = held.chosen(~whole)
        if not whole.any():
            return part.rows
        late = held.chosen(whole)
        pixels = Pixels.joined(late.pixels.tolist()) if self._wanted.pixels else None
        rows = self._rows(late, pixels)
        return rows if part.rows is None else joined(part.rows, rows)

    def _tallies(self, under: Under) -> NDArray[np.float64]:
        wanted = self._wanted
        found = [kernels.binned(*under, bins.edges) for bins in wanted.bins.values()]
        if wanted.classes:
            classes = np.array([*wanted.classes.values()], np.float64)
            found.insert(0, kernels.classed(*under, classes))
        fragments = len(under[0][0])
        return np.concatenate([*found, np.zeros((fragments, self._size, 0))], axis=2)

    def _pixels(self, under: Under, fragments: NDArray[np.bool_]) -> Pixels | None:
        if not self._wanted.pixels:
            return None
        return Pixels(*kernels.gather(*under, np.flatnonzero(fragments)))

    def _rows(self, part: Part, pixels: Pixels | None) -> Rows:
        """Return the rows of polygons with all their fragments, in the order of the squares."""
        starts = starts_of(part.polygon)
        polygons = part.polygon[starts[:-1]]
        label = pa.array(np.tile(np.arange(self._size), len(polygons)))
        if pixels is not None:
            pixels = replace(pixels, starts=pixels.starts[starts])
        statistics = self._made.of(
            kernels.fold(part.moments, starts),
            self._weights.total[polygons],
            kernels.added(part.tallies, starts),
            pixels,
        )
        labels = {name: column.take(label) for name, column in self._labels.items()}
        return Rows(np.repeat(polygons, self._size), {**labels, **statistics})


def _under(runs: Runs, window: Window, cube: Cube) -> Under:
    """Return what kernels take."""
    shape = (-1, *cube.values.shape[-2:])
    values = cube.values.view(np.uint8) if cube.dtype == np.bool_ else cube.values
    masked = not _all_valid(cube.valid)
    valid = cube.valid.reshape(shape) if masked else np.ones((1, 1, 1), np.bool_)
    rows, cols = runs.corners
    lines = (
        rows - window.row,
        cols - window.col,
        runs.starts,
        frozen(runs.row),
        frozen(runs.col),
        frozen(runs.length),
        frozen(runs.weight),
    )
    return lines, frozen(values.reshape(shape)), frozen(valid), masked


def _all_valid(valid: NDArray[Any]) -> bool:
    """Tell whether a mask is one value, spread, and true."""
    steps = [step for step, size in zip(valid.strides, valid.shape, strict=True) if size > 1]
    return not any(steps) and valid.size > 0 and bool(valid.flat[0])
