"""Removal of labels that hold no data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Mask
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.grid import Grid, Window
from terrazzo.processes.labels import kept_labels
from terrazzo.processes.registry import Labels, Place, Role, Rules, process
from terrazzo.processes.schemas import AnyCube
from terrazzo.processes.stage import Finding, Pass

ROWS, COLS = "rows", "cols"
"""What is found along the axes of space; along others it has the name of the dimension and `=`
before it."""


@dataclass(eq=False)
class _Search:
    """`trim_cube` of one run: which rows, columns and labels hold data."""

    extent: Window
    there: dict[str, Mask]
    """By axis: True where any pixel of a row, column or label is valid."""
    labels: Labels = field(default_factory=dict)
    needs: int = 0

    def passes(self, memory_bytes: int) -> Iterator[Pass]:
        """Walk over the blocks once."""
        del memory_bytes
        yield self

    def windows(self, edge: int) -> Sequence[Window]:
        """Return all blocks."""
        return Blocks(self.extent, edge)

    def part(self, number: int, cube: Cube) -> tuple[Window, dict[str, Mask]]:
        """Return what holds data in a block."""
        del number
        if cube.window is None:
            raise TypeError("A block has pixels.")
        return cube.window, _holding(cube)

    def add(self, number: int, part: tuple[Window, dict[str, Mask]]) -> None:
        """Join what is found in a block with the rest."""
        del number
        window, there = part
        rows, cols = self.extent.slices(window)
        for name, holds in there.items():
            span = {ROWS: rows, COLS: cols}.get(name, slice(None))
            self.there[name][span] |= holds

    def finish(self) -> Finding:
        """Return which rows, columns and labels hold data."""
        return self.there


def _search(data: Cube, extent: Window, result: Cube, arguments: Mapping[str, Any]) -> _Search:
    del result, arguments
    there = {name: np.zeros(size, np.bool_) for name, size in _sizes(data, extent).items()}
    return _Search(extent, there)


def _sizes(data: Cube, extent: Window) -> dict[str, int]:
    sizes = {_key(d.name): len(d.labels) for d in data.dimensions if d.kind is not Kind.SPATIAL}
    return {**sizes, ROWS: extent.height, COLS: extent.width}


def _key(dimension: str) -> str:
    return f"={dimension}"


def _holding(cube: Cube) -> dict[str, Mask]:
    """Return, by axis, which rows, columns and labels of a cube hold data."""
    found: dict[str, Mask] = {}
    for axis, dimension in enumerate(cube.dimensions):
        others = tuple(a for a in range(cube.values.ndim) if a != axis)
        last = cube.values.ndim - 1
        spatial = {last - 1: ROWS, last: COLS} if cube.grid is not None else {}
        name = spatial.get(axis, _key(dimension.name))
        found[name] = np.asarray(cube.valid.any(axis=others))
    return found


def _kept(holds: Mask, dimension: Dimension) -> tuple[int, ...]:
    """Return the positions of the labels that stay."""
    places = np.flatnonzero(holds)
    numbers = all(isinstance(label, int | float) for label in dimension.labels)
    ordered = dimension.kind is Kind.TEMPORAL or (dimension.kind is Kind.OTHER and numbers)
    if ordered and places.size:  # no gap comes into what has distances
        return tuple(range(int(places[0]), int(places[-1]) + 1))
    return tuple(places.tolist())


def _cropped(grid: Grid, place: Place, arguments: Mapping[str, Any]) -> tuple[Grid, Window]:
    """Keep the smallest window that holds all data."""
    del arguments
    if not place.found:
        return grid, place.extent
    rows, cols = (np.flatnonzero(place.found[name]) for name in (ROWS, COLS))
    extent = place.extent
    if not rows.size or not cols.size:
        return grid, Window(extent.row, extent.col, 0, 0)
    row, col = int(rows[0]), int(cols[0])
    height, width = int(rows[-1]) + 1 - row, int(cols[-1]) + 1 - col
    return grid, Window(extent.row + row, extent.col + col, height, width)


@process(
    "trim_cube",
    Role.STAGE,
    categories=("cubes",),
    rules=Rules(labels=kept_labels, grid=_cropped),
    stage=_search,
)
def trim_cube(data: AnyCube, *, place: Place | None = None) -> AnyCube:
    """Remove labels that hold nothing but no-data.

    Of `x` and `y`, time, and dimensions whose labels are numbers only labels at the two ends are
    removed; of bands, geometries and other categories those in the middle too. NaN is data.

    Args:
        data: any cube.
        place: what was found in all pixels; None for a cube that is whole.

    Returns:
        The cube with fewer labels, or without any where it holds no data.

    Source:
        openEO process `trim_cube` 2.0.0-rc.2.
    """
    raster = data.grid is not None
    if raster and place is not None:
        there: Mapping[str, Mask] = place.found
    else:
        there = _holding(data)
    for dimension in data.dimensions:
        holds = there.get(_key(dimension.name))
        if holds is not None and len(holds) == len(dimension.labels):
            data = data.take(dimension.name, _kept(holds, dimension))
    if not raster or place is not None or data.window is None or data.grid is None:
        return data
    _, window = _cropped(data.grid, Place(data.window, data.window, found=there), {})
    return data.crop(window)
