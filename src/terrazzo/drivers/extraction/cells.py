"""The pixels under polygons in one cell, as kernels take them: the same for every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from terrazzo.geo.jit import frozen
from terrazzo.geo.spots import spots_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.geo.grid import Window
    from terrazzo.geo.runs import Runs

    Longs = NDArray[np.int64]
    Lines = tuple[
        Longs,
        Longs,
        Longs,
        NDArray[np.uint8],
        NDArray[np.uint8],
        NDArray[np.uint16],
        NDArray[np.float64],
    ]
    """First row and column of each fragment's square in the window, where the fragments' runs
    start, and row, column, length and weight of the runs."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """The fragments of a cell, and which of them make whole polygons."""

    runs: Runs
    """Its pixels."""
    lines: Lines
    """The same, counted from the corner of the cell."""
    whole: Longs
    """Fragments of polygons that have no other ones elsewhere."""
    starts: Longs
    """Where in `whole` the fragments of each such polygon begin, and how many there are."""
    late: Longs
    """Fragments of the others."""
    spots: Longs
    """(spot, 4) first row, first column, height and width of the places with pixels."""

    @classmethod
    def of(cls, runs: Runs, window: Window, fragments: NDArray[np.int32]) -> Self:
        """Sort the fragments of a cell.

        Args:
            runs: its pixels.
            window: the cell.
            fragments: (polygon,) how many each has in all cells.
        """
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
        first = starts_of(runs.polygon)
        counts = np.diff(first)
        complete = np.repeat(counts == fragments[runs.polygon[first[:-1]]], counts)
        whole = np.flatnonzero(complete)
        starts = starts_of(runs.polygon[whole])
        return cls(runs, lines, whole, starts, np.flatnonzero(~complete), spots_of(runs, window))

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        arrays: list[NDArray[Any]] = [*self.lines, self.whole, self.starts, self.late, self.spots]
        arrays += [self.runs.polygon, self.runs.square]
        return sum(array.nbytes for array in arrays)


def starts_of(polygon: NDArray[np.int32]) -> Longs:
    """Return where each polygon's fragments begin, and how many there are."""
    new = np.ones(len(polygon) + 1, np.bool_)
    new[1:-1] = polygon[1:] != polygon[:-1]
    return np.flatnonzero(new) if len(polygon) else np.zeros(1, np.int64)
