"""Places along a Hilbert curve: what is near on the curve is near on the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.geo.grid import Bounds

_BITS: Final = 16
"""Per axis; the curve runs through 65536 x 65536 cells."""


def hilbert_order(bounds: NDArray[np.float64], whole: Bounds) -> NDArray[np.int64]:
    """Return the positions of boxes in the order of their centres along the curve.

    Args:
        bounds: (n, 4) left, bottom, right, top; NaN where there is no place, which comes last.
        whole: what the curve fills.

    Source:
        Hilbert 1891; the code of a cell by turning the quadrants, bit by bit.
    """
    left, bottom, right, top = whole
    cells = (1 << _BITS) - 1
    placed = np.isfinite(bounds.sum(axis=1))
    middle = np.where(placed[:, None], (bounds[:, :2] + bounds[:, 2:]) / 2, (left, bottom))
    sides = np.array([right - left, top - bottom])
    steps = cells / np.where(sides > 0, sides, 1.0)
    x, y = np.clip((middle - (left, bottom)) * steps, 0, cells).astype(np.int64).T
    codes = np.where(placed, _codes(x, y), np.int64(1) << (2 * _BITS))
    return np.argsort(codes, kind="stable").astype(np.int64)


def _codes(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place along the curve of each cell."""
    found = np.zeros_like(x)
    side = 1 << (_BITS - 1)
    while side:
        right, upper = (x & side) > 0, (y & side) > 0
        found += side * side * ((3 * right) ^ upper)
        x, y = x & (side - 1), y & (side - 1)
        turned = ~upper & right
        x, y = np.where(turned, side - 1 - x, x), np.where(turned, side - 1 - y, y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
        side >>= 1
    return found
