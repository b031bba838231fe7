"""NumPy as somebody writes it by hand who knows it: float32, masks beside values.

*Plain* is an expression of whole arrays, without a temporary that is easily avoided. *Tuned* has
dates computed one after the other, so that temporaries stay in the cache, and memory used again
with `out`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contestants.series import DECAY, HIGH, LOW, SHARES, TASKS, THRESHOLD, TURN, Made

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Task = Callable[[], Mapping[str, np.ndarray]]
    Result = tuple[np.ndarray, np.ndarray]


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Return the tasks, done in a way: `plain` or, where that differs, `tuned`."""
    made = Made.of(parameters)
    chosen = PLAIN if parameters["way"] == "plain" else {**PLAIN, **TUNED}
    return {name: partial(_run, chosen[name], made) for name in TASKS}


def _run(function: Callable[[Made], Result], made: Made) -> dict[str, np.ndarray]:
    with np.errstate(all="ignore"):
        values, valid = function(made)
    return {"values": values, "valid": valid}


def tuned_ndvi(made: Made) -> Result:
    """Compute date by date, with one temporary."""
    nir, red = made.values["nir"], made.values["red"]
    out, total = np.empty_like(nir), np.empty_like(nir[0])
    for date in range(len(nir)):
        np.subtract(nir[date], red[date], out=out[date])
        np.add(nir[date], red[date], out=total)
        np.divide(out[date], total, out=out[date])
    return out, made.valid["nir"] & made.valid["red"]


def tuned_evi(made: Made) -> Result:
    """Compute date by date, with two temporaries."""
    blue, red, nir = (made.values[band] for band in ("blue", "red", "nir"))
    out, below, part = np.empty_like(nir), np.empty_like(nir[0]), np.empty_like(nir[0])
    for date in range(len(nir)):
        np.multiply(red[date], 6, out=below)
        below += nir[date]
        np.multiply(blue[date], 7.5, out=part)
        below -= part
        below += 1
        np.subtract(nir[date], red[date], out=out[date])
        out[date] *= 2.5
        out[date] /= below
    valid = made.valid["nir"] & made.valid["red"]
    valid &= made.valid["blue"]
    return out, valid


def tuned_scaled(made: Made) -> Result:
    """Clip, then scale in place."""
    out = np.clip(made.values["nir"], np.float32(LOW), np.float32(HIGH))
    out -= np.float32(LOW)
    out *= np.float32(255 / (HIGH - LOW))
    return out, made.valid["nir"]


def thresholded(made: Made) -> Result:
    """Choose; what is no-data is not above."""
    nir = made.values["nir"]
    high = nir > np.float32(THRESHOLD)
    high &= made.valid["nir"]
    return np.where(high, nir, np.float32(0)), np.broadcast_to(np.True_, nir.shape)


def tuned_mean(made: Made) -> Result:
    """Add what is valid date by date, then divide."""
    nir, valid = made.values["nir"], made.valid["nir"]
    total, part = np.zeros_like(nir[0]), np.empty_like(nir[0])
    for date in range(len(nir)):
        np.multiply(nir[date], valid[date], out=part)
        total += part
    count = valid.sum(axis=0, dtype=np.uint8)
    total /= count
    return total, count > 0


def _sorted(made: Made) -> Result:
    """Sort with no-data last; count what is valid."""
    valid = made.valid["nir"]
    entries = np.where(valid, made.values["nir"], np.float32(np.inf))
    entries.sort(axis=0)
    return entries, valid.sum(axis=0, dtype=np.intp)


def median(made: Made) -> Result:
    """Sort, and take the mean of the two in the middle."""
    entries, count = _sorted(made)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    out = np.take_along_axis(entries, low[None], 0)[0]
    out += np.take_along_axis(entries, np.minimum(high, len(entries) - 1)[None], 0)[0]
    out *= np.float32(0.5)
    return out, count > 0


def tuned_amplitude(made: Made) -> Result:
    """Take the extremes of what is valid."""
    nir, valid = made.values["nir"], made.valid["nir"]
    low, high = np.full_like(nir[0], np.inf), np.full_like(nir[0], -np.inf)
    for date in range(len(nir)):
        np.minimum(low, np.where(valid[date], nir[date], np.float32(np.inf)), out=low)
        np.maximum(high, np.where(valid[date], nir[date], np.float32(-np.inf)), out=high)
    high -= low
    return high, valid.any(axis=0)


def quantiles(made: Made) -> Result:
    """Sort once, then go from one entry to the next for each quantile."""
    entries, count = _sorted(made)
    last = np.maximum(count - 1, 0)
    out = np.empty((len(SHARES), *count.shape), np.float32)
    for number, share in enumerate(SHARES):
        position = last * share
        below = position.astype(np.intp)
        position -= below
        a = np.take_along_axis(entries, below[None], 0)[0]
        b = np.take_along_axis(entries, np.minimum(below + 1, last)[None], 0)[0]
        b -= a
        np.multiply(b, position, out=out[number], casting="same_kind")
        out[number] += a
    return out, np.broadcast_to(count > 0, out.shape)


def tuned_deviation(made: Made) -> Result:
    """Take the mean away, then add squares."""
    nir, valid = made.values["nir"], made.valid["nir"]
    centre, _ = tuned_mean(made)
    total, part = np.zeros_like(centre), np.empty_like(centre)
    for date in range(len(nir)):
        np.subtract(nir[date], centre, out=part)
        part *= part
        part *= valid[date]
        total += part
    count = valid.sum(axis=0, dtype=np.uint8)
    total /= count - np.float32(1)
    np.sqrt(total, out=total)
    return total, count > 0


def tuned_running(made: Made) -> Result:
    """Add what is valid, one date after the other."""
    nir, valid = made.values["nir"], made.valid["nir"]
    out = nir * valid
    for date in range(1, len(out)):
        out[date] += out[date - 1]
    return out, valid


def tuned_decibels(made: Made) -> Result:
    """Multiply in place."""
    out = np.log10(made.values["nir"])
    out *= 10
    return out, made.valid["nir"]


def tuned_decay(made: Made) -> Result:
    """Compute in place."""
    out = made.values["nir"] * np.float32(DECAY)
    np.exp(out, out=out)
    return out, made.valid["nir"]


def tuned_harmonic(made: Made) -> Result:
    """Add products of what is valid with a number per date."""
    nir, valid = made.values["nir"], made.valid["nir"]
    total, part = np.zeros_like(nir[0]), np.empty_like(nir[0])
    for date, day in enumerate(made.days):
        np.multiply(nir[date], np.float32(np.cos(TURN * day)), out=part)
        part *= valid[date]
        total += part
    return total, valid.any(axis=0)


def tuned_above(made: Made) -> Result:
    """Count where both are true."""
    found = made.values["nir"] > np.float32(THRESHOLD)
    found &= made.valid["nir"]
    return found.sum(axis=0, dtype=np.uint8), np.broadcast_to(np.True_, found.shape[1:])


def filled(made: Made) -> Result:
    """Carry the last valid number forward and the next one back, with their days."""
    nir, valid = made.values["nir"], made.valid["nir"]
    after, after_day = np.empty_like(nir), np.empty_like(nir)
    value, day = np.zeros_like(nir[0]), np.full_like(nir[0], np.nan)
    for date in range(len(nir) - 1, -1, -1):
        np.copyto(value, nir[date], where=valid[date])
        np.copyto(day, np.float32(made.days[date]), where=valid[date])
        after[date], after_day[date] = value, day
    day[:] = np.nan
    for date in range(len(nir)):
        np.copyto(value, nir[date], where=valid[date])
        np.copyto(day, np.float32(made.days[date]), where=valid[date])
        share = after_day[date]
        share -= day
        np.divide(np.float32(made.days[date]) - day, share, out=share)
        line = after[date]
        line -= value
        line *= share
        line += value
        np.copyto(line, nir[date], where=valid[date])
    known = np.isnan(after)
    np.logical_not(known, out=known)
    return after, known


def ndvi(made: Made) -> Result:
    """Divide in place."""
    nir, red = made.values["nir"], made.values["red"]
    out = nir - red
    out /= nir + red
    return out, made.valid["nir"] & made.valid["red"]


def evi(made: Made) -> Result:
    """Compute as the formula says; NumPy itself uses temporaries again."""
    blue, red, nir = (made.values[band] for band in ("blue", "red", "nir"))
    out = 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)
    return out, made.valid["nir"] & made.valid["red"] & made.valid["blue"]


def scaled(made: Made) -> Result:
    """Scale to 0..1, clip, and scale to what is wanted."""
    share = (made.values["nir"] - LOW) / (HIGH - LOW)
    return np.clip(share, 0, 1) * 255, made.valid["nir"]


def mean(made: Made) -> Result:
    """Take the mean where it is valid."""
    valid = made.valid["nir"]
    return made.values["nir"].mean(axis=0, where=valid), valid.any(axis=0)


def amplitude(made: Made) -> Result:
    """Take the extremes where it is valid."""
    nir, valid = made.values["nir"], made.valid["nir"]
    high = nir.max(axis=0, where=valid, initial=-np.inf)
    return high - nir.min(axis=0, where=valid, initial=np.inf), valid.any(axis=0)


def deviation(made: Made) -> Result:
    """Take the standard deviation where it is valid."""
    valid = made.valid["nir"]
    return made.values["nir"].std(axis=0, ddof=1, where=valid), valid.any(axis=0)


def running(made: Made) -> Result:
    """Add 0 for no-data."""
    valid = made.valid["nir"]
    return np.cumsum(made.values["nir"] * valid, axis=0), valid


def decibels(made: Made) -> Result:
    """Compute as the formula says."""
    return 10 * np.log10(made.values["nir"]), made.valid["nir"]


def decay(made: Made) -> Result:
    """Compute as the formula says."""
    return np.exp(made.values["nir"] * np.float32(DECAY)), made.valid["nir"]


def harmonic(made: Made) -> Result:
    """Multiply by a number per date, and add what is valid."""
    nir, valid = made.values["nir"], made.valid["nir"]
    waves = np.cos(TURN * np.array(made.days)).astype(np.float32)[:, None, None]
    return (nir * waves).sum(axis=0, where=valid), valid.any(axis=0)


def above(made: Made) -> Result:
    """Count where both are true."""
    found = (made.values["nir"] > np.float32(THRESHOLD)) & made.valid["nir"]
    return np.count_nonzero(found, axis=0), np.broadcast_to(np.True_, found.shape[1:])


_PLAIN = (
    *(ndvi, evi, scaled, thresholded, mean, median, amplitude, quantiles, deviation, running),
    *(decibels, decay, harmonic, above, filled),
)
PLAIN = dict(zip(TASKS, _PLAIN, strict=True))
TUNED = {
    name: tuned
    for name, plain in PLAIN.items()
    if (tuned := globals().get(f"tuned_{plain.__name__}")) is not None
}
