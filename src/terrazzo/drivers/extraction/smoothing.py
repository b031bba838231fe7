"""Smooth profiles: observations of irregular dates put on days, and a curve through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa

from terrazzo.drivers.extraction.dense import Dense
from terrazzo.errors import ArgumentInvalid
from terrazzo.series import savitzky_golay, whittaker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.drivers.extraction.dense import Floats

    Method = Literal["whittaker", "savitzky-golay"]

METHODS: Final = ("whittaker", "savitzky-golay")
_NUMBERS: Final = 1 << 21
"""Days of series that are smoothed at once: 16 MB."""


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How profiles are smoothed."""

    method: Method
    """`whittaker` or `savitzky-golay`."""
    statistics: tuple[str, ...]
    """What is smoothed."""
    smoothness: float
    """Of Whittaker: weight of the second differences of days."""
    window: int
    """Of Savitzky and Golay: days, an odd number."""
    degree: int
    """Of Savitzky and Golay: of the polynomial."""
    every: int
    """Days between the dates of what comes out."""
    weight: str
    """Of Whittaker: the statistic by which observations are weighted; empty for all alike."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The statistics that are read."""
        return tuple(dict.fromkeys([*self.statistics, *([self.weight] if self.weight else [])]))

    def check(self) -> None:
        """Refuse what makes no sense, without a profile.

        Raises:
            ArgumentInvalid: of a method, window, degree, smoothness or step.
        """
        if self.method not in METHODS or self.every < 1:
            raise ArgumentInvalid(
                f"method={self.method!r}, every={self.every}: methods are {', '.join(METHODS)}, "
                "and dates are one day apart or more."
            )
        nothing = np.zeros((1, 1))
        self._curves(nothing, nothing)

    def _curves(self, values: Floats, weights: Floats) -> Floats:
        if self.method == "whittaker":
            return whittaker(values, self.smoothness, weights)
        return savitzky_golay(values, self.window, self.degree)

    def curves(self, values: Floats, weights: Floats, days: NDArray[np.int64]) -> Floats:
        """Return the curves through series at regular dates, from the first day on.

        Args:
            values: (series, date) observations, NaN where there is none.
            weights: (series, date).
            days: (date,) their days, ascending and distinct.
        """
        span = int(days[-1] - days[0]) + 1 if len(days) else 0
        out = np.empty((len(values), len(range(0, span, self.every))))
        step = max(_NUMBERS // max(span, 1), 1)
        for start in range(0, len(values), step):
            part = slice(start, start + step)
            daily = np.full((len(values[part]), span), np.nan)
            given = np.zeros_like(daily)
            daily[:, days - days[0]], given[:, days - days[0]] = values[part], weights[part]
            out[part] = self._curves(daily, given)[:, :: self.every]
        return out


def smoothed(found: Dense, how: Smoothing) -> Dense:
    """Return daily arrays with a curve through every series.

    Args:
        found: with days as its second axis, and all of `how.columns`.
        how: to smooth.
    """
    days = found.axes["t"].cast(pa.int32()).to_numpy().astype(np.int64)
    given = found.arrays[how.weight] if how.weight else None
    out = {}
    for name in how.statistics:
        series = np.moveaxis(found.arrays[name], 1, -1)
        weights = np.ones_like(series) if given is None else np.moveaxis(given, 1, -1)
        flat = (-1, len(days))
        curves = how.curves(series.reshape(flat), weights.reshape(flat), days)
        out[name] = np.moveaxis(curves.reshape(*series.shape[:-1], curves.shape[-1]), -1, 1)
    last = int(days[-1]) + 1 if len(days) else 0
    dates = np.arange(int(days[0]) if len(days) else 0, last, how.every, dtype=np.int32)
    return Dense({**found.axes, "t": pa.array(dates).cast(pa.date32())}, out)
