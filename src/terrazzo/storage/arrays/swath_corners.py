"""Corners of the pixels of a swath, where a file states them (CF 7.1: `bounds` of coordinates).

They say how far each pixel reaches, better than the places of its neighbours do: pixels of
scanners overlap, and some lie apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CORNERS: Final = 4
_LONGEST: Final = 3.0
"""A pixel that its corners make that many times as long as its neighbours do has none."""


def by_corners(halves: Floats, vectors: Floats, corners: Floats) -> Floats:
    """Return how far pixels reach, to the middles of the edges between their corners.

    Args:
        halves: (rows, cols, 4, 3) how far they would reach by their neighbours, see
            `geo.swath.half_steps`; NaN for pixels without footprint, which keep none.
        vectors: (rows, cols, 3) of their centres.
        corners: (rows, cols, 4, 3), one after the other around a pixel. A pixel that lacks one, or
            whose corners are not around it, reaches as far as by its neighbours.
    """
    edges = (corners + np.roll(corners, -1, axis=2)) / 2 - vectors[:, :, None]
    with np.errstate(invalid="ignore"):
        ahead = np.argmax(np.nan_to_num((edges * halves[:, :, :1]).sum(-1), nan=-1.0), axis=2)
        order = (ahead[..., None] + np.array([0, 2, 1, 3])) % CORNERS
        turned = np.take_along_axis(edges, order[..., None], axis=2)
        aside = (turned[:, :, 2] * halves[:, :, 2]).sum(-1) < 0
        turned[aside] = turned[aside][:, [0, 1, 3, 2]]
        length = np.sqrt((turned**2).sum(-1))
        usual = np.sqrt((halves**2).sum(-1))
        along = (turned * halves).sum(-1)
        good = (along > 0).all(-1) & (length <= _LONGEST * usual).all(-1)
    return np.where(good[..., None, None], turned, halves)
