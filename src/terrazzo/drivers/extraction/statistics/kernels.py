"""Compiled loops over runs of pixels; sums are per fragment, in row order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Longs = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Values = NDArray[Any]

    from terrazzo.drivers.extraction.cells import Lines

COUNT, TOTAL, SPREAD, LOW, HIGH = range(5)
"""Places of sum of weights, weighted sum, weighted sum of squared deviations, and extremes."""
MOMENTS = 5
CANCELLED = 1e-6
"""Share of the sum of squares below which a difference of sums is not exact enough."""
AHEAD = 128
"""How many runs before its own turn the memory is asked for a run."""


def _prefetch(typing: Any, array: Any, label: Any, row: Any, col: Any) -> Any:
    """Have a number of an array (label, row, column) brought from memory, and do not wait."""
    del typing
    pointer: Any = vars(cgutils)["get_item_pointer"]  # without types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        numbers = context.make_array(kind)(context, builder, arguments[0])
        at = [
            context.cast(builder, argument, given, types.intp)
            for argument, given in zip(arguments[1:], signature.args[1:], strict=True)
        ]
        place = pointer(context, builder, kind, numbers, at, wraparound=False, boundscheck=False)
        anything, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = ir.FunctionType(ir.VoidType(), [anything, word, word, word])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [anything], function)
        # To be read, into all caches, and it is data.
        builder.call(ask, [builder.bitcast(place, anything), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, label, row, col), generate


_fetch: Final[Any] = intrinsic(_prefetch)


@jit
def _asked(
    lines: Lines,
    values: Values,
    valid: Mask,
    masked: bool,
    label: int,
    fragment: int,
    run: int,
    until: int,
) -> tuple[int, int]:
    """Ask the memory for the pixels of runs up to one; return the next run, after its fragment.

    The rows of a polygon lie pages apart, which no processor foresees: to wait for each of them
    would take longer than the sums.
    """
    top, left, starts, row, col, _, _ = lines
    while run < until and run < row.size:
        if run == starts[fragment + 1]:
            fragment += 1
            continue
        y, x = np.uint64(top[fragment] + row[run]), np.uint64(left[fragment] + col[run])
        _fetch(values, label, y, x)
        if masked:
            _fetch(valid, label, y, x)
        run += 1
    return fragment, run


@jit
def moments(lines: Lines, values: Values, valid: Mask, masked: bool, extremes: bool) -> Floats:
    """Return (fragment, label, moment) of the valid pixels of each fragment.

    A valid NaN makes all but the count NaN. Without a valid pixel, and where they are not asked
    for, the extremes are inf and -inf.

    Args:
        lines: runs of pixels.
        values: (label, row, column) of the window.
        valid: the same shape; not looked at unless `masked`.
        masked: whether some pixel may be not valid.
        extremes: whether the extremes are wanted.
    """
    top, left, starts, row, col, length, weight = lines
    out = np.empty((top.size, values.shape[0], MOMENTS))
    for label in range(values.shape[0]):
        coming, asked = 0, starts[0]
        for fragment in range(top.size):
            # Deviations from a value of the fragment: one pass, and next to nothing cancels.
            origin = _first(lines, values, valid, masked, label, fragment)
            count = total = first = second = 0.0
            low, high = np.inf, -np.inf
            for run in range(starts[fragment], starts[fragment + 1]):
                coming, asked = _asked(
                    lines, values, valid, masked, label, coming, asked, run + AHEAD
                )
                y = np.uint64(top[fragment] + row[run])
                x = np.uint64(left[fragment] + col[run])
                share = weight[run]
                for c in range(x, x + np.uint64(length[run])):
                    # Chosen, not jumped over: a mask of speckles cannot be foreseen.
                    there = not masked or valid[label, y, c]
                    value = float(values[label, y, c])
                    value = value if there else origin
                    part = share if there else 0.0
                    away = value - origin
                    count += part
                    total += part * value
                    first += part * away
                    second += part * away * away
                    if extremes:
                        least, most = value if there else np.inf, value if there else -np.inf
                        low = least if least < low else low  # noqa: FURB136 - faster than min
                        high = most if most > high else high  # noqa: FURB136
            spread = second - first * first / count if count > 0.0 else 0.0
            if spread < CANCELLED * second:
                spread = _spread(lines, values, valid, masked, label, fragment, total / count)
            if np.isnan(total) and _poisoned(lines, values, valid, masked, label, fragment):
                low = high = np.nan
            out[fragment, label, COUNT], out[fragment, label, TOTAL] = count, total
            out[fragment, label, SPREAD] = spread
            out[fragment, label, LOW], out[fragment, label, HIGH] = low, high
    return out


@jit
def _poisoned(
    lines: Lines, values: Values, valid: Mask, masked: bool, label: int, fragment: int
) -> bool:
    """Tell whether a valid pixel of a fragment is NaN; the sum is NaN for inf and -inf too."""
    top, left, starts, row, col, length, _ = lines
    for run in range(starts[fragment], starts[fragment + 1]):
        y, x = top[fragment] + row[run], left[fragment] + col[run]
        for c in range(x, x + length[run]):
            if (not masked or valid[label, y, c]) and np.isnan(float(values[label, y, c])):
                return True
    return False


@jit
def _first(
    lines: Lines, values: Values, valid: Mask, masked: bool, label: int, fragment: int
) -> float:
    """Return the first valid value of a fragment; 0 if there is none, or it is not finite.

    Deviations from infinity would be NaN.
    """
    top, left, starts, row, col, length, _ = lines
    for run in range(starts[fragment], starts[fragment + 1]):
        y, x = top[fragment] + row[run], left[fragment] + col[run]
        for c in range(x, x + length[run]):
            if not masked or valid[label, y, c]:
                value = float(values[label, y, c])
                return value if np.isfinite(value) else 0.0
    return 0.0


@jit
def _spread(
    lines: Lines,
    values: Values,
    valid: Mask,
    masked: bool,
    label: int,
    fragment: int,
    mean: float,
) -> float:
    """Return the weighted sum of squared deviations from the mean."""
    top, left, starts, row, col, length, weight = lines
    spread = 0.0
    for run in range(starts[fragment], starts[fragment + 1]):
        y, x = top[fragment] + row[run], left[fragment] + col[run]
        for c in range(x, x + length[run]):
            if not masked or valid[label, y, c]:
                spread += weight[run] * (float(values[label, y, c]) - mean) ** 2
    return spread


@jit
def fold(parts: Floats, starts: Longs) -> Floats:
    """Return (polygon, label, moment): the moments of some fragments after each other as one.

    Args:
        parts: (fragment, label, moment) by polygon.
        starts: (polygon + 1,) where the fragments of each polygon begin.

    Source:
        Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for computing
        sample variances, STAN-CS-79-773.
    """
    out = parts[starts[:-1]]
    for polygon in range(out.shape[0]):
        for fragment in range(starts[polygon] + 1, starts[polygon + 1]):
            for label in range(out.shape[1]):
                one, other = out[polygon, label], parts[fragment, label]
                if other[COUNT] == 0.0:
                    continue
                if one[COUNT] == 0.0:
                    one[:] = other
                    continue
                both = one[COUNT] + other[COUNT]
                apart = other[TOTAL] / other[COUNT] - one[TOTAL] / one[COUNT]
                one[SPREAD] += other[SPREAD] + apart * apart * (one[COUNT] * other[COUNT] / both)
                one[COUNT] = both
                one[TOTAL] += other[TOTAL]
                poisoned = np.isnan(one[LOW]) or np.isnan(other[LOW])
                one[LOW] = np.nan if poisoned else min(one[LOW], other[LOW])
                one[HIGH] = np.nan if poisoned else max(one[HIGH], other[HIGH])
    return out


@jit
def classed(lines: Lines, values: Values, valid: Mask, masked: bool, classes: Floats) -> Floats:
    """Return (fragment, label, class): the sum of weights of the valid pixels of each class.

    Args:
        lines: runs of pixels.
        values: (label, row, column) of the window.
        valid: the same shape; not looked at unless `masked`.
        masked: whether some pixel may be not valid.
        classes: values.
    """
    top, left, starts, row, col, length, weight = lines
    out = np.zeros((top.size, values.shape[0], classes.size))
    for label in range(values.shape[0]):
        coming, asked = 0, starts[0]
        for fragment in range(top.size):
            for run in range(starts[fragment], starts[fragment + 1]):
                coming, asked = _asked(
                    lines, values, valid, masked, label, coming, asked, run + AHEAD
                )
                y, x = top[fragment] + row[run], left[fragment] + col[run]
                for c in range(x, x + length[run]):
                    if masked and not valid[label, y, c]:
                        continue
                    value = float(values[label, y, c])
                    for number in range(classes.size):
                        if value == classes[number]:
                            out[fragment, label, number] += weight[run]
    return out


@jit
def binned(lines: Lines, values: Values, valid: Mask, masked: bool, edges: Floats) -> Floats:
    """Return (fragment, label, bin): the sum of weights of the valid pixels in each bin.

    Args:
        lines: runs of pixels.
        values: (label, row, column) of the window.
        valid: the same shape; not looked at unless `masked`.
        masked: whether some pixel may be not valid.
        edges: of the bins, at equal distances; each has its lower one, the last also its upper.
    """
    top, left, starts, row, col, length, weight = lines
    bins = edges.size - 1
    scale = bins / (edges[bins] - edges[0])
    out = np.zeros((top.size, values.shape[0], bins))
    for label in range(values.shape[0]):
        coming, asked = 0, starts[0]
        for fragment in range(top.size):
            for run in range(starts[fragment], starts[fragment + 1]):
                coming, asked = _asked(
                    lines, values, valid, masked, label, coming, asked, run + AHEAD
                )
                y, x = top[fragment] + row[run], left[fragment] + col[run]
                for c in range(x, x + length[run]):
                    if masked and not valid[label, y, c]:
                        continue
                    value = float(values[label, y, c])
                    if not edges[0] <= value <= edges[bins]:
                        continue
                    place = min(int((value - edges[0]) * scale), bins - 1)
                    if value < edges[place]:
                        place -= 1
                    elif place < bins - 1 and value >= edges[place + 1]:
                        place += 1
                    out[fragment, label, place] += weight[run]
    return out


@jit
def added(parts: Floats, starts: Longs) -> Floats:
    """Return (polygon, label, place): the sums over the fragments of each polygon, in order."""
    out = parts[starts[:-1]]
    for polygon in range(out.shape[0]):
        for fragment in range(starts[polygon] + 1, starts[polygon + 1]):
            out[polygon] += parts[fragment]
    return out


@jit
def gather(
    lines: Lines, values: Values, valid: Mask, masked: bool, fragments: Longs
) -> tuple[Longs, Floats, Floats, Mask]:
    """Return where the pixels of some fragments begin, and their weights, values and validity.

    Args:
        lines: runs of pixels.
        values: (label, row, column) of the window.
        valid: the same shape; not looked at unless `masked`.
        masked: whether some pixel may be not valid.
        fragments: positions of those that are wanted.

    Returns:
        (fragment + 1,), (pixel,), (label, pixel) and (label, pixel).
    """
    top, left, starts, row, col, length, weight = lines
    first = np.zeros(fragments.size + 1, np.int64)
    for number in range(fragments.size):
        fragment = fragments[number]
        runs = slice(starts[fragment], starts[fragment + 1])
        first[number + 1] = first[number] + length[runs].sum()
    size, labels = first[-1], values.shape[0]
    weights = np.empty(size)
    found, there = np.empty((labels, size)), np.ones((labels, size), np.bool_)
    at = 0
    for fragment in fragments:
        for run in range(starts[fragment], starts[fragment + 1]):
            y, x = top[fragment] + row[run], left[fragment] + col[run]
            for c in range(x, x + length[run]):
                weights[at] = weight[run]
                for label in range(labels):
                    found[label, at] = values[label, y, c]
                    if masked:
                        there[label, at] = valid[label, y, c]
                at += 1
    return first, weights, found, there


@jit
def quantiles(
    starts: Longs, weights: Floats, values: Floats, valid: Mask, shares: Floats
) -> Floats:
    """Return (polygon, label, share) weighted quantiles of the valid pixels.

    The i-th value by size, from 0, lies at (i w_i + (n - 1) sum of the weights before it); between
    them it is linear. The quantile p is at p (n - 1) sum of all weights. NaN where there is no
    valid pixel or a NaN. As exactextract has it, which takes equal values for one before; with
    weights of 1 as NumPy has it.
    """
    labels = values.shape[0]
    out = np.full((starts.size - 1, labels, shares.size), np.nan)
    for polygon in range(starts.size - 1):
        span = slice(starts[polygon], starts[polygon + 1])
        for label in range(labels):
            inside = valid[label, span]
            column = values[label, span][inside]
            if column.size == 0 or np.isnan(column).any():
                continue
            order = np.argsort(column, kind="mergesort")
            column, weight = column[order], weights[span][inside][order]
            for number in range(shares.size):
                out[polygon, label, number] = _quantile(column, weight, shares[number])
    return out


@jit
def _quantile(values: Floats, weights: Floats, share: float) -> float:
    """Return the quantile of sorted values."""
    steps = values.size - 1
    target = share * steps * weights.sum()
    before, last_place, last = 0.0, 0.0, values[0]
    for index in range(values.size):
        place = index * weights[index] + steps * before
        if place >= target:
            # Between two infinities there is no line.
            if index == 0 or place in (last_place, target) or values[index] == last:
                return float(values[index])
            part = (target - last_place) / (place - last_place)
            return float(last + part * (values[index] - last))
        before += weights[index]
        last_place, last = place, values[index]
    return float(values[-1])


@jit
def classes(
    starts: Longs, weights: Floats, values: Floats, valid: Mask
) -> tuple[Longs, Floats, Floats]:
    """Return every value that the valid pixels of a polygon have, and the sum of its weights.

    NaN is none.

    Returns:
        (polygon x label + 1,) where those of each polygon and label begin, ascending values, and
        weights.
    """
    labels = values.shape[0]
    first = np.zeros((starts.size - 1) * labels + 1, np.int64)
    found, sums, count = np.empty(valid.sum()), np.empty(valid.sum()), 0
    for polygon in range(starts.size - 1):
        span = slice(starts[polygon], starts[polygon + 1])
        for label in range(labels):
            inside = valid[label, span] & ~np.isnan(values[label, span])
            column, weight = values[label, span][inside], weights[span][inside]
            begin = count
            for index in np.argsort(column, kind="mergesort"):
                if count > begin and found[count - 1] == column[index]:
                    sums[count - 1] += weight[index]
                else:
                    found[count], sums[count] = column[index], weight[index]
                    count += 1
            first[polygon * labels + label + 1] = count
    return first, found[:count].copy(), sums[:count].copy()
