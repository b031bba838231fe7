"""Smooth curves through series with gaps: Whittaker's and Savitzky and Golay's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.jit import frozen, jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEAST = 2
"""Observations that make a curve; fewer leave a series empty."""


def whittaker(values: Floats, smoothness: float, weights: Floats | None = None) -> Floats:
    """Smooth series: min sum w (y - z)^2 + smoothness sum (z[i] - 2 z[i+1] + z[i+2])^2.

    Args:
        values: (series, step) y at equal steps; NaN where nothing was observed.
        smoothness: weight of the second differences, > 0; with steps of a day 100 follows weeks
            and 10000 seasons.
        weights: (series, step) w, >= 0; 1 for all if None. NaN counts as 0.

    Returns:
        (series, step) z; gaps are filled from the first observation to the last, and NaN is
        outside of them and where there are fewer than two.

    Raises:
        ArgumentInvalid: `smoothness` is not above 0, or the shapes differ.

    Source:
        Whittaker 1923, Proc. Edinburgh Math. Soc. 41, 63-75; Eilers 2003, Anal. Chem. 75,
        3631-3636.
    """
    if not (smoothness > 0 and np.isfinite(smoothness)):
        raise ArgumentInvalid(f"smoothness={smoothness}: give a number above 0, such as 1000.")
    series = _checked(values)
    given = np.ones_like(series) if weights is None else _checked(weights)
    if given.shape != series.shape:
        raise ArgumentInvalid(f"There are {given.shape} weights for {series.shape} values.")
    there = np.isfinite(series) & (given > 0)
    return _whittaker(
        frozen(np.where(there, series, 0.0)), frozen(np.where(there, given, 0.0)), float(smoothness)
    )


def savitzky_golay(values: Floats, window: int, degree: int = 2) -> Floats:
    """Smooth series by the polynomial that fits best around each step, in a moving window.

    Args:
        values: (series, step) numbers at equal steps; NaN where nothing was observed, which is
            filled first, linearly between the observations around it.
        window: steps of the window, odd; a series that is shorter has a window of its length.
        degree: of the polynomial, below `window`.

    Returns:
        (series, step), filled from the first observation to the last, NaN outside of them and
        where there are fewer than two.

    Raises:
        ArgumentInvalid: the window is even or not longer than the degree, or the degree below 0.

    Source:
        Savitzky and Golay 1964, Anal. Chem. 36, 1627-1639.
    """
    from scipy.signal import savgol_filter  # noqa: PLC0415 - takes a second, and only this needs it

    if window % 2 == 0 or not 0 <= degree < window:
        raise ArgumentInvalid(
            f"window={window} and degree={degree}: the window is an odd number of steps above the "
            "degree, for example window=11 and degree=2."
        )
    series = _checked(values)
    out = np.full_like(series, np.nan)
    for number, one in enumerate(series):
        at = np.flatnonzero(np.isfinite(one))
        if len(at) < _LEAST:
            continue
        steps = np.arange(at[0], at[-1] + 1)
        filled = np.interp(steps, at, one[at])
        width = min(window, len(filled) - 1 + len(filled) % 2)
        fits = width > degree
        out[number, steps] = savgol_filter(filled, width, degree) if fits else filled
    return out


def _checked(values: Floats) -> Floats:
    """Return (series, step) numbers.

    Raises:
        ArgumentInvalid: they have another shape.
    """
    found = np.asarray(values, np.float64)
    if found.ndim != 2:  # noqa: PLR2004 - series and steps
        raise ArgumentInvalid(
            f"Series are arrays of (series, step), not of shape {found.shape}. Write values[None] "
            "for a single one."
        )
    return found


@jit
def _whittaker(values: Floats, weights: Floats, smoothness: float) -> Floats:
    out = np.full(values.shape, np.nan)
    for number in range(values.shape[0]):
        there = np.flatnonzero(weights[number])
        if there.size < _LEAST:
            continue
        first, stop = there[0], there[-1] + 1
        out[number, first:stop] = _solved(
            values[number, first:stop], weights[number, first:stop], smoothness
        )
    return out


@jit
def _solved(y: Floats, w: Floats, smoothness: float) -> Floats:
    """Solve (W + smoothness D'D) z = W y, D being second differences, by L diag L' of 5 bands.

    Source:
        Golub and Van Loan, Matrix Computations, 4.3.6. All bands have two zeros before the first
        row and behind the last one.
    """
    n = y.size
    diagonal, near, far, z = np.ones(n + 4), np.zeros(n + 4), np.zeros(n + 4), np.zeros(n + 4)
    for i in range(n):
        # Differences that begin here, in the row above, and two rows above.
        here, above, before = 1.0 * (i < n - 2), 1.0 * (0 < i < n - 1), 1.0 * (i > 1)
        k, one, two = i + 2, i + 1, i
        pivot = w[i] + smoothness * (here + 4.0 * above + before)
        pivot -= near[one] ** 2 * diagonal[one] + far[two] ** 2 * diagonal[two]
        beside = -2.0 * smoothness * (here + above) - near[one] * far[one] * diagonal[one]
        diagonal[k], near[k], far[k] = pivot, beside / pivot, smoothness * here / pivot
        z[k] = w[i] * y[i] - near[one] * z[one] - far[two] * z[two]
    for k in range(n + 1, 1, -1):
        z[k] = z[k] / diagonal[k] - near[k] * z[k + 1] - far[k] * z[k + 2]
    return z[2 : n + 2]
