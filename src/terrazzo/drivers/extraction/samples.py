"""Training samples: pixels under polygons, all of them or a random few, with their coordinates.

Which pixels are taken is decided by a number that belongs to a pixel of a polygon, made of the
seed, the polygon and the pixel's place on the map: the smallest ones are taken. So the same
pixels are taken on every date and in every block, executor and run, and no list of them is kept:
only the largest number that is still taken, per polygon or class.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from terrazzo.cube import Kind
from terrazzo.drivers.extraction.statistics import Rows
from terrazzo.drivers.extraction.statistics.rows import label_columns
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, transformer
from terrazzo.storage.vectors.stored import free_name
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Dimension
    from terrazzo.drivers.extraction.weights import Weights
    from terrazzo.geo.grid import Grid
    from terrazzo.geo.runs import Pixels

    Numbers = NDArray[np.uint64]

ALL: Final = "all"
PLACE: Final = ("x", "y", "lon", "lat", "weight")
"""Columns of a sample besides its polygon, class and bands."""
_FIXED: Final = ("id", "t", "item", "date")
_ALL: Final = np.iinfo(np.uint64).max


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which pixels under polygons become rows."""

    count: int | None = None
    """How many of each polygon, or of each class; None is all."""
    per: str = ""
    """The attribute of the polygons whose values are the classes; empty counts per polygon."""
    seed: int = 0
    """Another one takes other pixels."""

    @classmethod
    def named(cls, pixels: str, *, per: str = "", seed: int = 0) -> Sampling:
        """Make one of the words of a command: `all`, or a number of pixels.

        Raises:
            ArgumentInvalid: it is neither.
        """
        if pixels == ALL:
            return cls(None, per, seed)
        if not (pixels.isascii() and pixels.isdigit() and int(pixels) > 0):
            raise ArgumentInvalid(
                f"--pixels {pixels!r}: give {ALL}, or how many pixels at random of each polygon "
                "(with --per COLUMN: of each class), for example --pixels 10."
            )
        return cls(int(pixels), per, seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The samples of a cell."""

    pixels: Pixels
    values: Any
    """(pixel, label, band)"""
    valid: NDArray[np.bool_]
    """(pixel, label, band)"""

    def only(self, mask: NDArray[np.bool_]) -> _Part:
        """Return some pixels."""
        return _Part(_only(self.pixels, mask), self.values[mask], self.valid[mask])


@dataclass(eq=False)
class Samples:
    """Makes rows of pixels: one per pixel and label, with the bands side by side."""

    sampling: Sampling
    """Which pixels."""
    grid: Grid
    """That they are counted on."""
    weights: Weights
    """The pixels under the polygons."""
    labelled: Mapping[str, pa.Array]
    """Columns of the labels of all dimensions but space and bands: each one makes a row."""
    count: int
    """How many rows and bands a pixel has at most, multiplied."""
    bands: Dimension | None
    """The dimension of bands."""
    band_axis: int
    """Where it stands among the dimensions that are not space."""
    dtype: Any
    """Of the values."""
    classes: Any
    """Arrow array of the class of each polygon; None without classes."""
    groups: NDArray[np.int64]
    """(polygon,) its group: itself, or its class."""
    limits: Numbers
    """(group,) the largest number that is taken."""
    _pending: list[_Part] = field(default_factory=list, init=False)

    @classmethod
    def of(
        cls, sampling: Sampling, probe: Cube, grid: Grid, weights: Weights, classes: Any
    ) -> Samples:
        """Choose the pixels; the choice is kept beside the weights, for all images of the grid.

        Args:
            sampling: which pixels.
            probe: a cube as blocks give it.
            grid: of the plan.
            weights: the pixels under the polygons on that grid.
            classes: Arrow array of the polygons' classes; None without `sampling.per`.

        Raises:
            OutputFailed: the choice cannot be kept.
        """
        groups = np.arange(len(weights.fragments))
        if classes is not None:
            coded = classes.dictionary_encode(null_encoding="encode")
            groups = coded.indices.to_numpy().astype(np.int64)
        limits = np.full(int(groups.max(initial=-1)) + 1, _ALL, np.uint64)
        if sampling.count is not None:
            limits = _kept_limits(sampling, grid, weights, groups)
        bands = next((one for one in probe.dimensions if one.kind is Kind.BANDS), None)
        one = probe if bands is None else probe.take(bands.name, [0])
        labelled = {
            name: column
            for name, column in label_columns(one).items()
            if bands is None or name != bands.name
        }
        axis = -1 if bands is None else probe.axis(bands.name)
        count = int(np.prod(probe.values.shape[:-2], dtype=np.int64))
        return cls(
            sampling, grid, weights, labelled, count, bands, axis, probe.dtype, classes, groups,
            limits,
        )  # fmt: skip

    @property
    def columns(self) -> tuple[pa.Field, ...]:
        """Names and types of the columns: labels, class, place, bands."""
        value = pa.from_numpy_dtype(self.dtype)
        named = [] if self.classes is None else [pa.field(self._class, self.classes.type)]
        place = [pa.field(name, pa.float64()) for name in PLACE]
        labels = [pa.field(name, column.type) for name, column in self.labelled.items()]
        return (*labels, *named, *place, *(pa.field(name, value) for name in self._names))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the columns that are labels."""
        return tuple(self.labelled)

    @property
    def told(self) -> dict[str, tuple[str, ...]]:
        """What readers are told of the columns."""
        found = tuple(one.name for one in self.columns if one.name not in self.labelled)
        return {"labels": self.labels, "statistics": found, "samples": self._names}

    def bytes_of(self, ahead: int) -> int:
        """Return the most bytes that are held while `ahead` cells wait to be taken."""
        peaks = self.weights.peaks
        pixel = 20 + self.count * (int(self.dtype.itemsize) + 1)
        return (3 * peaks.pixels * ahead + peaks.pending_pixels) * pixel

    def part(self, number: int, cube: Cube) -> _Part:
        """Return the samples in a cell; many threads may ask at once.

        Args:
            number: of the cell.
            cube: its pixels.
        """
        pixels = self._chosen(self.weights.runs(number).pixels)
        window = self.weights.cells[number]
        row, col = pixels.row - window.row, pixels.col - window.col
        return _Part(
            pixels, self._aligned(cube.values, row, col), self._aligned(cube.valid, row, col)
        )

    def take(self, number: int, part: _Part) -> Rows | None:
        """Take a cell's samples, in the order of the cells; return those of whole polygons.

        Args:
            number: of the cell.
            part: what `part` returned.
        """
        self._pending.append(part)
        done = [self.weights.last[one.pixels.polygon] <= number for one in self._pending]
        whole = [one.only(mask) for one, mask in zip(self._pending, done, strict=True)]
        left = [one.only(~mask) for one, mask in zip(self._pending, done, strict=True)]
        self._pending = [one for one in left if len(one.pixels.polygon)]
        found = _joined([one for one in whole if len(one.pixels.polygon)])
        return None if found is None else self._rows(found)

    @property
    def _class(self) -> str:
        return free_name(self.sampling.per, [*_FIXED, *PLACE])

    @property
    def _names(self) -> tuple[str, ...]:
        """The columns of the bands."""
        taken = [*_FIXED, *PLACE, self._class, *self.labelled]
        labels = ["value"] if self.bands is None else [str(one) for one in self.bands.labels]
        found: list[str] = []
        for label in labels:
            others = [one for one in labels if one != label]
            found.append(free_name(label, [*taken, *others, *found]))
        return tuple(found)

    def _chosen(self, pixels: Pixels) -> Pixels:
        if self.sampling.count is None:
            return pixels
        numbers = _numbers(self.sampling.seed, self.grid, pixels)
        return _only(pixels, numbers <= self.limits[self.groups[pixels.polygon]])

    def _aligned(self, array: Any, row: NDArray[np.int32], col: NDArray[np.int32]) -> Any:
        """Return (pixel, label, band) of (..., y, x)."""
        found = array[..., row, col]
        if self.bands is None:
            found = found[..., np.newaxis]
        else:
            found = np.moveaxis(found, self.band_axis, -1)
        shape = (-1, len(row), found.shape[-1])
        return np.ascontiguousarray(found.reshape(shape).swapaxes(0, 1))

    def _rows(self, part: _Part) -> Rows:
        """Return samples as rows; those of which no band is valid are left out."""
        pixels, there = part.pixels, part.valid.any(axis=-1)
        pixel, label = np.nonzero(there)
        x = self.grid.left + (pixels.col + 0.5) * self.grid.pixel_x
        y = self.grid.top - (pixels.row + 0.5) * self.grid.pixel_y
        lon, lat = transformer(self.grid.crs, WGS84).transform(x, y)
        columns = {name: labels.take(pa.array(label)) for name, labels in self.labelled.items()}
        if self.classes is not None:
            columns[self._class] = self.classes.take(pa.array(pixels.polygon[pixel]))
        for name, numbers in zip(PLACE, (x, y, lon, lat, pixels.weight), strict=True):
            columns[name] = pa.array(numbers[pixel])
        for band, name in enumerate(self._names):
            mask = ~part.valid[pixel, label, band]
            columns[name] = pa.array(part.values[pixel, label, band], mask=mask)
        return Rows(pixels.polygon[pixel], columns)


def _only(pixels: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    return replace(
        pixels,
        polygon=pixels.polygon[mask],
        row=pixels.row[mask],
        col=pixels.col[mask],
        weight=pixels.weight[mask],
    )


def _joined(parts: Sequence[_Part]) -> _Part | None:
    """Return samples by polygon, row and column, however cells are cut; None if there are none."""
    if not parts:
        return None
    fields = ("polygon", "row", "col", "weight")
    polygon, row, col, weight = (
        np.concatenate([getattr(one.pixels, name) for one in parts]) for name in fields
    )
    order = np.lexsort((col, row, polygon))
    return _Part(
        replace(
            parts[0].pixels,
            polygon=polygon[order],
            row=row[order],
            col=col[order],
            weight=weight[order],
        ),
        np.concatenate([one.values for one in parts])[order],
        np.concatenate([one.valid for one in parts])[order],
    )


def _kept_limits(
    sampling: Sampling, grid: Grid, weights: Weights, groups: NDArray[np.int64]
) -> Numbers:
    """Return the limits of groups, which are computed once and kept beside the weights."""
    digest = hashlib.blake2b(repr((sampling, _origin(grid))).encode(), digest_size=16)
    digest.update(groups.tobytes())
    path = weights.path / f"samples-{digest.hexdigest()}.npy"
    if not path.exists():
        with whole_file(path) as part:
            np.save(part, _limits(sampling, grid, weights, groups))
    found: Numbers = np.load(path)
    return found


def _limits(sampling: Sampling, grid: Grid, weights: Weights, groups: NDArray[np.int64]) -> Numbers:
    """Return the largest number of each group that is among its `count` smallest."""
    limits = np.full(int(groups.max(initial=-1)) + 1, _ALL, np.uint64)
    last = np.full(len(limits), -1, np.int64)
    np.maximum.at(last, groups, weights.last)
    held, smallest = np.empty(0, np.int64), np.empty(0, np.uint64)
    count = sampling.count or 0
    for cell in range(len(weights.cells)):
        pixels = weights.runs(cell).pixels
        numbers = np.concatenate([smallest, _numbers(sampling.seed, grid, pixels)])
        group = np.concatenate([held, groups[pixels.polygon]])
        below = numbers <= limits[group]
        numbers, group = numbers[below], group[below]
        order = np.lexsort((numbers, group))
        numbers, group = numbers[order], group[order]
        first = np.flatnonzero(np.diff(group, prepend=-1))
        rank = np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group))))
        full = rank == count - 1
        limits[group[full]] = numbers[full]
        kept = (rank < count) & (last[group] > cell)
        held, smallest = group[kept], numbers[kept]
    return limits


def _origin(grid: Grid) -> tuple[int, int]:
    """Return row and column of a grid's corner in the lattice of its pixels, from the CRS' origin.

    A grid that grows as images come in has the same lattice, and so takes the same pixels.
    """
    return round(-grid.top / grid.pixel_y), round(grid.left / grid.pixel_x)


def _numbers(seed: int, grid: Grid, pixels: Pixels) -> Numbers:
    """Return a number between 0 and 2^64 for each pixel of each polygon, as if drawn at random.

    Source:
        Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators: the finalizer
        of SplitMix64.
    """
    row, col = _origin(grid)
    found = np.full(len(pixels.polygon), seed % (1 << 64), np.uint64)
    for part in (pixels.polygon, pixels.row + np.int64(row), pixels.col + np.int64(col)):
        found = _mixed(found + np.uint64(1), part.astype(np.int64).view(np.uint64))
    return found


def _mixed(state: Numbers, value: Numbers) -> Numbers:
    found = (state ^ (value * np.uint64(0x9E3779B97F4A7C15))) + np.uint64(0x9E3779B97F4A7C15)
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))
