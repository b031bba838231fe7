"""Reduces the pixels of a scene under polygons, cell by cell, to rows of a table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from terrazzo.drivers.extraction.cells import starts_of
from terrazzo.drivers.extraction.statistics import kernels
from terrazzo.drivers.extraction.statistics.columns import Columns
from terrazzo.drivers.extraction.statistics.names import Wanted
from terrazzo.drivers.extraction.statistics.part import Part, Pixels
from terrazzo.drivers.extraction.statistics.rows import Rows, label_columns
from terrazzo.drivers.extraction.statistics.sums import Classes, Sums
from terrazzo.geo.jit import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Cube
    from terrazzo.drivers.extraction.cells import Cell, Lines
    from terrazzo.drivers.extraction.weights import Weights

    Longs = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Under = tuple[Lines, NDArray[Any], NDArray[np.bool_], bool]
    """What kernels take: runs, values and validity of a window, and whether it is looked at."""

ROWS_AT_ONCE = 16_384
"""Rows that are made at a time: what is done per cell costs more than the rows of a cell."""
FRAGMENTS_AT_ONCE = 4096
"""Fragments that wait to be merged with others of their polygons."""


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
        self._shares = np.array([*self._wanted.shares.values()], np.float64)
        self._pending: list[Part] = []
        self._whole: list[Sums] = []

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
        row = (kernels.MOMENTS + self._wanted.places + len(self._shares)) * 8
        fragment = 20 + self._size * row
        pixel = 8 + 9 * self._size if self._wanted.pixels else 0
        # Pixels of polygons that are whole are held only while a cell is reduced; sorting copies.
        cell = peaks.fragments * fragment + 3 * peaks.pixels * pixel
        held = peaks.pending_fragments * fragment + peaks.pending_pixels * pixel
        waiting = min(peaks.pending_fragments, FRAGMENTS_AT_ONCE) * fragment + ROWS_AT_ONCE * row
        return ahead * cell + held + waiting

    def part(self, number: int, cube: Cube) -> Part:
        """Reduce a cell that has just been computed; many threads may do so at once.

        Args:
            number: of the cell in `Weights.cells`.
            cube: its pixels.
        """
        cell = self._weights.cell(number)
        under = _under(cell, cube)
        moments = kernels.moments(*under, self._wanted.extremes)
        tallies = self._tallies(under)
        late, polygon = cell.late, cell.runs.polygon
        pixels = self._pixels(under, late)
        return Part(
            polygon[late],
            cell.runs.square[late],
            moments[late],
            tallies[late],
            np.full(len(late), None) if pixels is None else pixels.apart(),
            self._sums(
                polygon[cell.whole],
                cell.starts,
                (moments[cell.whole], tallies[cell.whole]),
                self._pixels(under, cell.whole),
            ),
        )

    def take(self, number: int, part: Part) -> Rows | None:
        """Take the part of a cell, in the order of the cells; return rows of whole polygons.

        Rows come many at a time; the last cell brings all that are left.
        """
        last = number == len(self._weights.cells) - 1
        if part.whole is not None and len(part.whole.polygon):
            self._whole.append(part.whole)
        if len(part.polygon):
            self._pending.append(part)
        waiting = sum(len(one.polygon) for one in self._pending[1:])
        if self._pending and (last or self._wanted.pixels or waiting >= FRAGMENTS_AT_ONCE):
            self._merge(number)
        rows = self._size * sum(len(one.polygon) for one in self._whole)
        if not rows or not (last or rows >= ROWS_AT_ONCE):
            return None
        whole, self._whole = Sums.joined(self._whole), []
        return self._rows(whole)

    def _merge(self, number: int) -> None:
        """Sum up the polygons that have no fragments beyond a cell."""
        held = self._pending[0] if len(self._pending) == 1 else Part.joined(self._pending)
        whole = self._weights.last[held.polygon] <= number
        self._pending = [] if whole.all() else [held.chosen(~whole)]
        if whole.any():
            done = held.chosen(whole)
            pixels = Pixels.joined(done.pixels.tolist()) if self._wanted.pixels else None
            sums = done.moments, done.tallies
            self._whole.append(self._sums(done.polygon, starts_of(done.polygon), sums, pixels))

    def _tallies(self, under: Under) -> Floats:
        wanted = self._wanted
        fragments = len(under[0][0])
        if not wanted.places:
            return np.zeros((fragments, self._size, 0))
        found = [kernels.binned(*under, bins.edges) for bins in wanted.bins.values()]
        if wanted.classes:
            classes = np.array([*wanted.classes.values()], np.float64)
            found.insert(0, kernels.classed(*under, classes))
        return np.concatenate(found, axis=2)

    def _pixels(self, under: Under, fragments: Longs) -> Pixels | None:
        if not self._wanted.pixels:
            return None
        return Pixels(*kernels.gather(*under, fragments))

    def _sums(
        self,
        polygon: NDArray[np.int32],
        starts: Longs,
        sums: tuple[Floats, Floats],
        pixels: Pixels | None,
    ) -> Sums:
        """Return the sums of polygons with all their fragments, in the order of the squares."""
        moments, tallies = kernels.fold(sums[0], starts), sums[1]
        tallies = kernels.added(tallies, starts) if self._wanted.places else tallies[starts[:-1]]
        polygons = polygon[starts[:-1]]
        if pixels is None:
            nothing = np.zeros((len(polygons), self._size, 0))
            return Sums(polygons, moments, tallies, nothing, None)
        pixels = replace(pixels, starts=pixels.starts[starts])
        under = pixels.starts, pixels.weights, pixels.values, pixels.valid
        classes = None
        if self._wanted.by_class:
            first, values, weights = kernels.classes(*under)
            nan = pixels.valid & np.isnan(pixels.values)
            poisoned = np.zeros((len(polygons), self._size), np.bool_)
            if len(polygons):
                poisoned = np.logical_or.reduceat(nan, pixels.starts[:-1], axis=1).T
            classes = Classes(np.diff(first), values, weights, poisoned)
        return Sums(polygons, moments, tallies, kernels.quantiles(*under, self._shares), classes)

    def _rows(self, whole: Sums) -> Rows:
        """Return the rows of polygons."""
        label = pa.array(np.tile(np.arange(self._size), len(whole.polygon)))
        statistics = self._made.of(whole, self._weights.total[whole.polygon])
        labels = {name: column.take(label) for name, column in self._labels.items()}
        return Rows(np.repeat(whole.polygon, self._size), {**labels, **statistics})


def _under(cell: Cell, cube: Cube) -> Under:
    """Return what kernels take."""
    shape = (-1, *cube.values.shape[-2:])
    values = cube.values.view(np.uint8) if cube.dtype == np.bool_ else cube.values
    masked = not _all_valid(cube.valid)
    valid = cube.valid.reshape(shape) if masked else np.ones((1, 1, 1), np.bool_)
    return cell.lines, frozen(values.reshape(shape)), frozen(valid), masked


def _all_valid(valid: NDArray[Any]) -> bool:
    """Tell whether a mask is one value, spread, and true."""
    steps = [step for step, size in zip(valid.strides, valid.shape, strict=True) if size > 1]
    return not any(steps) and valid.size > 0 and bool(valid.flat[0])
