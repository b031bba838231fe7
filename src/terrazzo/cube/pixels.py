"""What callbacks compute with: a number per pixel, and an array per pixel.

No-data is not NaN (openEO keeps them apart: `max([1, NaN, 3])` is NaN, `max([1, nodata, 3])`
is 3), so values travel with a validity mask. A number that is the same for all pixels stays a
plain Python scalar (None = no-data): NumPy then keeps the dtype of the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from terrazzo.cube.dimension import Dimension, Label

Values = np.ndarray[Any, np.dtype[Any]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """One value per pixel: openEO's `x` in a callback."""

    values: Values
    """Any shape; what stands where `valid` is False is arbitrary but finite in cost."""
    valid: Mask
    """Same shape; True = valid. May be a read-only broadcast view: never write into it."""
    axes: tuple[Dimension, ...] = ()
    """What the axes are, where that is known: one per axis, or none."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """An array per pixel along axis 0: openEO's `data` in a callback, with labels."""

    values: Values
    """(label, ...) values; the axes after the first are the pixels."""
    valid: Mask
    """Same shape; True = valid. May be a read-only broadcast view: never write into it."""
    labels: tuple[Label, ...] | None = None
    """One label per entry of axis 0; None for an array without labels."""
    exact: bool = False
    """Whether the numbers are an openEO array (computed in float64) rather than a raster."""
    axes: tuple[Dimension, ...] = ()
    """What the axes are, where that is known: one per axis, or none."""

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __iter__(self) -> Iterator[Pixels]:
        for index in range(len(self)):
            yield self.at(index)

    def at(self, index: int) -> Pixels:
        """Return one entry as pixels."""
        return Pixels(self.values[index], self.valid[index])


class Known(Protocol):
    """A mask that is not computed yet (`terrazzo.cube.traced`)."""

    @property
    def everywhere(self) -> bool:
        """Whether it is sure to be True for every pixel."""


Number = Pixels | float | int | bool | None
"""A callback's number: per pixel, or one for all; None = no-data."""


def all_valid(shape: tuple[int, ...]) -> Mask:
    """Return a mask of True that takes no memory."""
    return np.broadcast_to(np.True_, shape)


def known_everywhere(valid: Mask | Known) -> bool:
    """Tell, without a look at every pixel, whether a mask is sure to be True everywhere."""
    if isinstance(valid, (np.ndarray, np.generic)):
        return valid.size > 0 and not any(valid.strides) and bool(valid.flat[0])
    return valid.everywhere


def is_all_valid(valid: Mask | Known) -> bool:
    """Tell whether every entry is valid, at no cost for masks made by `all_valid`."""
    if known_everywhere(valid):
        return True
    return isinstance(valid, (np.ndarray, np.generic)) and bool(valid.all())


def compute_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the floating type in which numbers of `dtype` are computed.

    Rasters compute in float32 unless their numbers need more: integers up to 16 bit and
    booleans fit float32 exactly, wider integers and float64 take float64.
    """
    if dtype.kind == "f":
        return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)  # noqa: PLR2004 - bytes
    if dtype.kind in "iub" and dtype.itemsize <= 2:  # noqa: PLR2004 - bytes
        return np.dtype(np.float32)
    return np.dtype(np.float64)


def as_float(values: NDArray[Any]) -> NDArray[Any]:
    """Return values in the type they are computed in; no copy where they are already."""
    return values.astype(compute_dtype(values.dtype), copy=False)
