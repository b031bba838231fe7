"""Numbers set aside for no data in integers of 64 bits, of which float64 holds not all.

Items, GDAL's API and rasterio keep no-data as float64, and rasterio writes it as text of 17 digits,
of which GDAL reads those before the exponent alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from terrazzo.cube import Mask, Values

MOST: Final = 2**53
"""Whole numbers up to here are in float64, and are written as they are."""
_LONG_BYTES: Final = 8


def is_long(dtype: np.dtype[Any]) -> bool:
    """Tell whether a type has whole numbers that float64 has not."""
    return dtype.kind in "iu" and dtype.itemsize == _LONG_BYTES


def is_kept(dtype: np.dtype[Any], mark: float) -> bool:
    """Tell whether a number that a type has stays the same wherever no-data is kept."""
    return not is_long(dtype) or abs(mark) <= MOST


def stand_in(dtype: np.dtype[Any]) -> int:
    """Return the number of 64 bits that stands for no data where the stated one is not kept."""
    return -MOST if dtype.kind == "i" else MOST


def with_stand_in(values: Values, bad: Mask) -> Values:
    """Give pixels the number of `stand_in`.

    Args:
        values: of 64 bits.
        bad: the pixels without data.

    Raises:
        ValueError: a pixel has that number as data.
    """
    mark = stand_in(values.dtype)
    if ((values == mark) & ~bad).any():
        raise ValueError(
            f"its no-data is beyond {MOST:,}, which float64 cannot hold exactly, and the number "
            f"that would stand for it, {mark}, is that of a pixel. Write the file with another "
            f"no-data first, one from {-MOST} to {MOST}"
        )
    return np.where(bad, values.dtype.type(mark), values)
