"""Positions of the pixels of a swath between its tie points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.interpolate import make_interp_spline

from terrazzo.geo.swath import unit_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class TiePositions:
    """Positions interpolated between tie points, smoothly, through splines of unit vectors."""

    def __init__(
        self,
        longitudes: Floats,
        latitudes: Floats,
        at: tuple[Floats, Floats],
        shape: tuple[int, int],
    ) -> None:
        """Take tie points.

        Args:
            longitudes: (rows, cols) of the tie points, degrees.
            latitudes: likewise.
            at: rows and columns of the swath that the tie points are at, rising.
            shape: rows and columns of the swath. What lies outside the tie points has no position.
        """
        self._at, self._shape = at, shape
        vectors = unit_vectors(longitudes, latitudes)
        self._smooth = bool(np.isfinite(vectors).all())
        self._along = _Line(at[0], vectors, 0, smooth=self._smooth)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels."""
        return self._shape

    def read(self, first: int, stop: int) -> tuple[Floats, Floats]:
        """Return longitudes and latitudes of some rows, degrees."""
        along = self._along.at(np.arange(first, stop, dtype=np.float64))
        across = _Line(self._at[1], along, 1, smooth=self._smooth)
        found = across.at(np.arange(self._shape[1], dtype=np.float64))
        x, y, z = found[..., 0], found[..., 1], found[..., 2]
        return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))

    def corners(self, first: int, stop: int) -> Floats | None:
        """Return none: tie points have no corners."""


_CUBIC: Final = 3


class _Line:
    """Values interpolated along an axis: by a cubic spline, or straight where some are missing."""

    def __init__(self, known: Floats, values: Floats, axis: int, *, smooth: bool) -> None:
        self._ends, self._axis = (known[0], known[-1]), axis
        degree = _CUBIC if smooth and len(known) > _CUBIC else 1
        there = np.isfinite(values)
        filled = np.where(there, values, 0.0)
        self._values = make_interp_spline(known, filled, k=degree, axis=axis)
        self._missing = None
        if not there.all():
            self._missing = make_interp_spline(known, (~there).astype(float), k=1, axis=axis)

    def at(self, wanted: Floats) -> Floats:
        """Return values; NaN beyond the ends and beside missing ones."""
        found = np.asarray(self._values(wanted), dtype=np.float64)
        if self._missing is not None:
            found[np.asarray(self._missing(wanted)) > 0] = np.nan
        outside = (wanted < self._ends[0]) | (wanted > self._ends[1])
        found[(slice(None),) * self._axis + (outside,)] = np.nan
        return found
