"""Reduction of all pixels to one value for every date and band."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.cube import Cube, Dimension, Kind, Mask, Pixels, Stack, Values
from terrazzo.cube.tally import Tally
from terrazzo.errors import ArgumentInvalid, PlanTooLarge
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.grid import Window
from terrazzo.processes.cube_schemas import ZonalReducer
from terrazzo.processes.folds import Fold, fold_of
from terrazzo.processes.registry import Labels, Role, process
from terrazzo.processes.schemas import AnyCube, Callback, Context, RasterCube
from terrazzo.processes.stage import Finding, Pass, found_cube

SCRATCH = 48
"""Bytes that a reducer may take for each value beside the values: copies in float64, masks."""
SHARE = 2
"""The values that are gathered may take one part in this many of the memory; blocks the rest."""
PIXELS = Dimension("data", Kind.OTHER, ())
"""The axis of the pixels that a reducer gets: it has no labels, and any length."""
MANY = 1 << 16
"""More entries than fit uint16: by so many a count says which type it needs."""


@dataclass(eq=False)
class _Folding:
    """`reduce_spatial` with a reducer that folds: one tally per label."""

    fold: Fold
    extent: Window
    result: Cube
    tallies: list[Tally]
    labels: Labels = field(default_factory=dict)
    needs: int = 0

    def passes(self, memory_bytes: int) -> Iterator[Pass]:
        """Walk over the blocks once."""
        del memory_bytes
        yield self

    def windows(self, edge: int) -> Sequence[Window]:
        """Return all blocks."""
        return Blocks(self.extent, edge)

    def part(self, number: int, cube: Cube) -> list[Tally]:
        """Say of each label's pixels what the result needs."""
        del number
        return [self.fold.tally(*pixels) for pixels in _slices(cube)]

    def add(self, number: int, part: list[Tally]) -> None:
        """Merge what is said of a block with the rest."""
        del number
        self.tallies = [one.merged(more) for one, more in zip(self.tallies, part, strict=True)]

    def finish(self) -> Finding:
        """Return the cube without space."""
        made = [self.fold.result(tally, self.result.dtype) for tally in self.tallies]
        shape = self.result.values.shape
        values = np.array([value for value, _ in made], self.result.dtype)
        valid = np.array([there for _, there in made], np.bool_)
        return found_cube(values.reshape(shape), valid.reshape(shape))


@dataclass(eq=False)
class _Gathering:
    """`reduce_spatial` with any other reducer: all pixels of some labels are held together."""

    reducer: Callback
    context: Any
    extent: Window
    data: Cube
    values: Values
    valid: Mask

    def passes(self, memory_bytes: int) -> Iterator[Pass]:
        """Yield as many labels at a time as there is memory for.

        Raises:
            PlanTooLarge: there is none for a single one.
        """
        pixel_bytes = self.data.dtype.itemsize + 1
        free = memory_bytes // SHARE - self.extent.pixels * SCRATCH
        most = free // max(self.extent.pixels * pixel_bytes, 1)
        if most < 1:
            need = SHARE * self.extent.pixels * (SCRATCH + pixel_bytes)
            raise PlanTooLarge(
                f"`reduce_spatial` must hold all {self.extent.pixels:,} pixels of a label at once "
                f"for its reducer and needs {need / 1e9:.3g} GB; {memory_bytes / 1e9:.3g} GB are "
                "allowed. Allow more with --memory, choose a smaller extent, or reduce with a "
                "single sum, mean, variance, sd, min, max or count, which need no memory."
            )
        dimensions = [d for d in self.data.dimensions if d.kind is not Kind.SPATIAL]
        for box in _boxes([len(d.labels) for d in dimensions], most):
            labels = {d.name: run for d, run in zip(dimensions, box, strict=True)}
            whole = all(len(labels[d.name]) == len(d.labels) for d in dimensions)
            gathered = _Gathered(self.extent, {} if whole else labels, box, self.data.dtype)
            yield gathered
            self._reduce(gathered)

    def _reduce(self, gathered: "_Gathered") -> None:
        """Call the reducer with the pixels of each label, in row order."""
        for place, position in enumerate(np.ndindex(*(len(run) for run in gathered.box))):
            stack = Stack(
                gathered.values[place].reshape(-1, 1), gathered.valid[place].reshape(-1, 1)
            )
            result = self.reducer(data=stack, context=self.context)
            at = tuple(run[index] for run, index in zip(gathered.box, position, strict=True))
            self.values[at], self.valid[at] = one_value(result)

    def finish(self) -> Finding:
        """Return the cube without space."""
        return found_cube(self.values, self.valid)


@dataclass(eq=False)
class _Gathered:
    """All pixels of some labels."""

    extent: Window
    labels: Labels
    box: tuple[tuple[int, ...], ...]
    """Positions of the labels, by dimension."""
    dtype: np.dtype[Any]
    values: Values = field(init=False)
    """(label, y, x)"""
    valid: Mask = field(init=False)

    def __post_init__(self) -> None:
        count = math.prod(len(run) for run in self.box)
        self.values = np.zeros((count, self.extent.height, self.extent.width), self.dtype)
        self.valid = np.zeros(self.values.shape, np.bool_)

    @property
    def needs(self) -> int:
        """Bytes that are held."""
        return self.values.nbytes + self.valid.nbytes + self.extent.pixels * SCRATCH

    def windows(self, edge: int) -> Sequence[Window]:
        """Return all blocks."""
        return Blocks(self.extent, edge)

    def part(self, number: int, cube: Cube) -> None:
        """Put the pixels of a block in their place; no two blocks share one."""
        del number
        if cube.window is None:
            raise TypeError("A block has pixels.")
        rows, cols = self.extent.slices(cube.window)
        shape = (len(self.values), cube.window.height, cube.window.width)
        self.values[:, rows, cols] = cube.values.reshape(shape)
        self.valid[:, rows, cols] = cube.valid.reshape(shape)

    def add(self, number: int, part: None) -> None:
        """Do nothing: the pixels are in their place."""


def _reduction(
    data: Cube, extent: Window, result: Cube, arguments: Mapping[str, Any]
) -> _Folding | _Gathering:
    fold = fold_of(arguments["reducer"])
    if fold is not None:
        return _Folding(fold, extent, result, [Tally()] * result.values.size)
    reducer, context = arguments["reducer"], arguments.get("context")
    shape = result.values.shape
    values, valid = np.zeros(shape, result.dtype), np.zeros(shape, np.bool_)
    return _Gathering(reducer, context, extent, data, values, valid)


@process(
    "reduce_spatial",
    Role.STAGE,
    categories=("aggregate", "cubes", "reducer"),
    stage=_reduction,
    experimental=True,
)
def reduce_spatial(data: RasterCube, reducer: ZonalReducer, context: Context = None) -> AnyCube:
    """Collapse all pixels to one value, for every date and band.

    All pixels count that the graph selects, those outside of a bounding box that only the run is
    confined to as well, at the resolution of `data`.

    Args:
        data: (..., y, x) raster.
        reducer: called with all values of a label as `data`, in row order. A single `sum`,
            `mean`, `variance`, `sd`, `min`, `max` or `count` is exact, rounded once, and needs no
            memory.
        context: passed on to `reducer`.

    Returns:
        (...) cube without `x` and `y`, all other dimensions as they are.

    Source:
        openEO process `reduce_spatial`, proposal of 2.0.0-rc.2.
    """
    if data.grid is None:
        raise ArgumentInvalid("`reduce_spatial` needs a raster cube; this one has no grid.")
    dimensions: tuple[Dimension, ...] = tuple(
        d for d in data.dimensions if d.kind is not Kind.SPATIAL
    )
    dtype = reduced_dtype(reducer, data.dtype, context)
    shape = tuple(len(d.labels) for d in dimensions)
    values, valid = np.zeros(shape, dtype), np.zeros(shape, np.bool_)
    return replace(data, values=values, valid=valid, dimensions=dimensions, grid=None, window=None)


def reduced_dtype(
    reducer: Callback, dtype: np.dtype[Any], context: Any, axes: tuple[Dimension, ...] = ()
) -> np.dtype[Any]:
    """Return the type of what a reducer makes of numbers of a type, however many there are.

    `axes` are what the axes of its numbers are, the first one that of the pixels.
    """

    def made(count: int) -> np.dtype[Any]:
        shape = (count, *[0] * max(len(axes) - 1, 1))
        nothing = Stack(np.zeros(shape, dtype), np.zeros(shape, np.bool_), axes=axes)
        result = reducer(data=nothing, context=context)
        if isinstance(result, Pixels):
            return result.dtype
        if isinstance(result, Stack | Cube | str):
            raise ArgumentInvalid(
                "`reducer` must return one value for all that it gets, and returns an array or "
                "text. End it with a reducer such as `mean` or `array_element`."
            )
        return np.dtype(np.bool_ if isinstance(result, bool) else np.float64)

    few = made(0)
    return few if few.kind not in "iu" else np.result_type(few, made(MANY))


def one_value(result: Any) -> tuple[Any, Any]:
    """Return what a reducer gives for one label, and whether it is there."""
    if isinstance(result, Pixels):
        return result.values.reshape(()), result.valid.reshape(())
    return (0, False) if result is None else (result, True)


def _slices(cube: Cube) -> Iterator[tuple[NDArray[Any], Mask]]:
    """Yield the pixels of each label."""
    shape = (-1, *cube.values.shape[-2:])
    return zip(cube.values.reshape(shape), cube.valid.reshape(shape), strict=True)


def _boxes(lengths: Sequence[int], most: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Cut the labels of all dimensions into boxes of at most `most`, in order."""
    if math.prod(lengths) <= most:
        yield tuple(tuple(range(length)) for length in lengths)
        return
    inner = math.prod(lengths[1:])
    if inner > most:
        for position in range(lengths[0]):
            for box in _boxes(lengths[1:], most):
                yield ((position,), *box)
        return
    step = most // inner
    rest = tuple(tuple(range(length)) for length in lengths[1:])
    for start in range(0, lengths[0], step):
        yield (tuple(range(start, min(start + step, lengths[0]))), *rest)
