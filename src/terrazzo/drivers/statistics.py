"""Statistics of the pixels under polygons, weighted by the share of each pixel that is covered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from terrazzo.processes.zones import PolygonPixels

STATISTICS = (
    "count",
    "valid_share",
    "sum",
    "mean",
    "variance",
    "sd",
    "min",
    "max",
    "median",
)
"""What can be asked for; `count` is the covered area of valid pixels, in pixels."""

DEFAULT = ("count", "valid_share", "mean", "sd", "min", "max")


def check_statistics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as asked for.

    Raises:
        ArgumentInvalid: one is unknown, or there is none.
    """
    unknown = [name for name in names if name not in STATISTICS]
    if unknown or not names:
        raise ArgumentInvalid(
            f"Unknown statistics: {', '.join(unknown) or 'none given'}. "
            f"There are {', '.join(STATISTICS)}."
        )
    return tuple(dict.fromkeys(names))


def polygon_statistics(
    pixels: PolygonPixels, names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return (polygon, label) statistics: sums of w x and the like over valid pixels.

    mean = sum(w x) / sum(w); variance = sum(w (x - mean)^2) / sum(w) (of the population);
    count = sum(w); valid_share = sum(w) / sum of all weights; min and max ignore weights;
    median = the value at which the running sum of weights, less half the value's own weight,
    passes half of all weight, linearly interpolated (as exactextract has it). NaN where no
    pixel is valid; a valid NaN makes everything but the count NaN.

    Args:
        pixels: the pixels of some polygons.
        names: which statistics, out of `STATISTICS`.
    """
    values = pixels.values.astype(np.float64, copy=False)
    moments = _moments(pixels.starts, pixels.weights, values, pixels.valid)
    count, total, mean, variance, low, high, covered = np.moveaxis(moments, -1, 0)
    known = {
        "count": count,
        "sum": total,
        "mean": mean,
        "variance": variance,
        "sd": np.sqrt(variance),
        "min": low,
        "max": high,
        "valid_share": count / covered,
    }
    if "median" in names:
        known["median"] = _medians(pixels.starts, pixels.weights, values, pixels.valid)
    return {name: known[name] for name in names}


@jit
def _moments(
    starts: NDArray[np.int64],
    weights: NDArray[np.float64],
    values: NDArray[np.float64],
    valid: NDArray[np.bool_],
) -> NDArray[np.float64]:
    labels = values.shape[1]
    out = np.full((len(starts) - 1, labels, 7), np.nan)
    for polygon in range(len(starts) - 1):
        for label in range(labels):
            count = total = covered = 0.0
            low, high, poisoned = np.inf, -np.inf, False
            for pixel in range(starts[polygon], starts[polygon + 1]):
                covered += weights[pixel]
                if valid[pixel, label]:
                    value = values[pixel, label]
                    count += weights[pixel]
                    total += weights[pixel] * value
                    low, high = min(low, value), max(high, value)
                    poisoned = poisoned or value != value  # noqa: PLR0124 - NaN
            out[polygon, label, 0], out[polygon, label, 6] = count, covered
            if count == 0.0 or poisoned:
                continue
            mean = total / count
            spread = 0.0
            for pixel in range(starts[polygon], starts[polygon + 1]):
                if valid[pixel, label]:
                    spread += weights[pixel] * (values[pixel, label] - mean) ** 2
            out[polygon, label, 1], out[polygon, label, 2] = total, mean
            out[polygon, label, 3] = spread / count
            out[polygon, label, 4], out[polygon, label, 5] = low, high
    return out


@jit
def _medians(
    starts: NDArray[np.int64],
    weights: NDArray[np.float64],
    values: NDArray[np.float64],
    valid: NDArray[np.bool_],
) -> NDArray[np.float64]:
    labels = values.shape[1]
    out = np.full((len(starts) - 1, labels), np.nan)
    for polygon in range(len(starts) - 1):
        span = slice(starts[polygon], starts[polygon + 1])
        for label in range(labels):
            inside = valid[span, label]
            column = values[span, label][inside]
            if len(column) == 0 or np.isnan(column).any():
                continue
            order = np.argsort(column, kind="mergesort")
            column, weight = column[order], weights[span][inside][order]
            out[polygon, label] = _weighted_median(column, weight)
    return out


@jit
def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    if len(values) == 1:
        return float(values[0])
    n = len(values)
    # exactextract's weighted quantile: s_i = (i-1) w_i + (n-1) * sum of weights before i
    before = 0.0
    target = 0.5 * (n - 1) * weights.sum()
    previous_s, previous = 0.0, values[0]
    for index in range(n):
        s = index * weights[index] + (n - 1) * before
        if s >= target:
            if index == 0 or s == previous_s:
                return float(values[index])
            share = (target - previous_s) / (s - previous_s)
            return float(previous + share * (values[index] - previous))
        before += weights[index]
        previous_s, previous = s, values[index]
    return float(values[n - 1])
