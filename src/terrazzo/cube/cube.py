"""The Cube: labelled pixels of one window, values and validity kept apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.dimension import Dimension, Kind
from terrazzo.cube.pixels import Mask, Stack, Values, all_valid
from terrazzo.errors import DimensionMissing, DimensionNotAvailable, TooManyDimensions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.geo.grid import Grid, Window


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """Labelled pixels of one window of a grid, or of geometries, or of neither.

    The axes follow `dimensions`. In a raster the last two are always y and x, and
    `grid.window` says which pixels they are; before them come time and bands, in that order
    unless the user made it otherwise, and further dimensions.
    """

    values: Values
    """(time, band, y, x) as a rule: one axis per dimension; what is not valid is arbitrary."""
    valid: Mask
    """Same shape; True = valid. May be a read-only broadcast view: never write into it."""
    dimensions: tuple[Dimension, ...]
    grid: Grid | None = None
    """The lattice of the pixels; None for a cube without space."""
    window: Window | None = None
    """The pixels of `grid` that the last two axes hold; None for a cube without space."""
    geometries: Geometries | None = None
    """What the labels of the geometry dimension stand for; None for other cubes."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions in axis order."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    @property
    def has_all_labels(self) -> bool:
        """Whether no label can be missing: true for metadata, and for cubes without space.

        A block holds only the labels that somebody wants, so a label that is unknown there is
        no mistake of the user; in the cube without pixels on which metadata are inferred it is.
        """
        return self.window is None or self.window.is_empty

    def axis(self, name: str) -> int:
        """Return the axis of a dimension.

        Raises:
            DimensionNotAvailable: the cube has no dimension of that name.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise DimensionNotAvailable(name, self.names) from None

    def dimension(self, name: str) -> Dimension:
        """Return a dimension by name.

        Raises:
            DimensionNotAvailable: the cube has no dimension of that name.
        """
        return self.dimensions[self.axis(name)]

    def only(self, kind: Kind) -> Dimension:
        """Return the one dimension of a kind.

        Raises:
            DimensionMissing: there is none.
            TooManyDimensions: there are several.
        """
        found = [dimension for dimension in self.dimensions if dimension.kind is kind]
        if not found:
            raise DimensionMissing(
                f"This needs a dimension of type {kind.value!r}; the cube has "
                f"{', '.join(f'{d.name} ({d.kind.value})' for d in self.dimensions) or 'none'}."
            )
        if len(found) > 1:
            raise TooManyDimensions(
                f"There are several dimensions of type {kind.value!r}: "
                f"{', '.join(d.name for d in found)}. Name one with `dimension`."
            )
        return found[0]

    def has(self, kind: Kind) -> bool:
        """Tell whether there is a dimension of a kind."""
        return any(dimension.kind is kind for dimension in self.dimensions)

    def take(self, name: str, indices: Sequence[int]) -> Cube:
        """Return the cube with only these positions of a labelled dimension, in this order.

        Of a geometry dimension the geometries are taken too.
        """
        axis, dimension = self.axis(name), self.dimension(name)
        chosen = tuple(indices)
        if chosen == tuple(range(len(dimension.labels))):
            return self
        labels = tuple(dimension.labels[index] for index in chosen)
        key: Any = slice(chosen[0], chosen[-1] + 1) if _is_run(chosen) else list(chosen)
        selection = (slice(None),) * axis + (key,)
        held = self.geometries
        return replace(
            self,
            values=self.values[selection],
            valid=self.valid[selection],
            dimensions=self.with_dimension(axis, replace(dimension, labels=labels)),
            geometries=held.take(chosen) if held and dimension.kind is Kind.GEOMETRY else held,
        )

    def with_dimension(self, axis: int, dimension: Dimension) -> tuple[Dimension, ...]:
        """Return the dimensions with the one at `axis` replaced."""
        return (*self.dimensions[:axis], dimension, *self.dimensions[axis + 1 :])

    def stack(self, name: str) -> Stack:
        """Return the cube as an array per pixel along a dimension (a view: axis 0 is that one)."""
        axis, dimension = self.axis(name), self.dimension(name)
        return Stack(
            np.moveaxis(self.values, axis, 0),
            np.moveaxis(self.valid, axis, 0),
            dimension.labels or None,
            axes=(dimension, *self.dimensions[:axis], *self.dimensions[axis + 1 :]),
        )

    def crop(self, window: Window) -> Cube:
        """Return the pixels of a smaller window (a view); the window must lie inside."""
        if self.window is None or window == self.window:
            return self
        rows, cols = self.window.slices(window)
        return replace(
            self,
            values=self.values[..., rows, cols],
            valid=self.valid[..., rows, cols],
            window=window,
        )

    def same_pixels(self, values: Values, valid: Mask) -> Cube:
        """Return a cube of the same dimensions and place with other values."""
        return replace(self, values=values, valid=valid)

    @property
    def nbytes(self) -> int:
        """Bytes that values and mask hold; a broadcast mask counts nothing."""
        return self.values.nbytes + (self.valid.nbytes if any(self.valid.strides) else 0)


@dataclass(frozen=True, slots=True, eq=False)
class Geometries:
    """The geometries of a vector cube: one per label of its geometry dimension."""

    shapes: tuple[Any, ...]
    """shapely geometries, in `crs`."""
    crs: str
    """Canonical CRS name."""
    properties: tuple[Mapping[str, Any], ...]
    """One mapping of attributes per geometry; JSON values."""
    bare: bool = False
    """Whether nothing but the geometries was loaded: the cube has no values yet."""

    def take(self, indices: Sequence[int]) -> Geometries:
        """Return only these geometries, in this order."""
        return replace(
            self,
            shapes=tuple(self.shapes[index] for index in indices),
            properties=tuple(self.properties[index] for index in indices),
        )


def empty_cube(
    dimensions: Sequence[Dimension],
    dtype: np.dtype[Any],
    grid: Grid | None = None,
    window: Window | None = None,
) -> Cube:
    """Return a cube without a valid pixel; with an empty window it serves metadata inference.

    The values are zeros, the mask is False everywhere.
    """
    spatial = iter((window.height, window.width) if window is not None else ())
    shape = tuple(
        next(spatial) if dimension.kind is Kind.SPATIAL else len(dimension.labels)
        for dimension in dimensions
    )
    values = np.zeros(shape, dtype)
    valid = ~all_valid(shape) if values.size else np.zeros(shape, np.bool_)
    return Cube(values, valid, tuple(dimensions), grid, window)


def _is_run(indices: tuple[int, ...]) -> bool:
    return bool(indices) and indices == tuple(range(indices[0], indices[0] + len(indices)))
