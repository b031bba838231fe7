"""Loops along the first axis of stacks: what reducers make of the entries of every pixel.

As in `kernels`, one pixel's result is one sequence of operations, whatever lies around it. A
stack is read where it lies, entry by entry, a few hundred pixels at a time: what is known of
these stays in the processor's cache.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from terrazzo.cube.pixels import compute_dtype, is_all_valid
from terrazzo.cube.traced import Traced
from terrazzo.geo.jit import frozen, jit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.cube import Mask, Values

BLOCK = 512
"""Pixels that are reduced together."""
SHORT = 64
"""Pixels; where fewer lie side by side, a stack is copied before it is reduced."""
KINDS = ("sum", "product", "mean", "variance", "sd", "min", "max")
"""What a stack can be folded to, entry by entry; kernels count them."""
_SUM, _PRODUCT, _MEAN, _VARIANCE, _SD, _MIN, _MAX = range(len(KINDS))
_TAKEN_AS = {"b1": "u1", "u1": "u1", "i1": "i2", "i2": "i2", "u2": "u2", "f2": "f4", "f4": "f4"}
"""dtype in which kernels take numbers; all others in float64, to have few compiled variants."""


def reduce_stack(
    kind: str, values: Values | Traced, valid: Mask, shares: Sequence[float] = ()
) -> tuple[Any, Any]:
    """Reduce a stack along its first axis: the valid entries of every pixel, in their order.

    Sums, products and means are made in float64 from the first entry to the last, variances with
    Welford's updates: see `_add` and `_finish` for what is done with an entry and at the end. A
    minimum, maximum or quantile (type 7) is NaN where an entry is.

    Args:
        kind: one of `KINDS`, or `quantiles`.
        values: (label, ...) numbers.
        valid: like `values`.
        shares: 0..1, for quantiles.

    Returns:
        (...) the result, for quantiles (share, ...): in the dtype of `values` for min and max,
        else in the one in which that is computed. And (...) the number of valid entries, int32;
        where it is 0 the result is arbitrary.

    Source:
        Welford 1962, Technometrics 4, 419-420; Hyndman and Fan 1996, The American Statistician
        50, 361-365.
    """
    ordered = kind in {"min", "max"}
    dtype = values.dtype if ordered else compute_dtype(values.dtype)
    shape, length = values.shape[1:], len(values)
    out = np.zeros((len(shares), *shape) if kind == "quantiles" else shape, dtype)
    if not length:
        return out, np.zeros(shape, np.int32)
    if isinstance(values, Traced):
        return values.reduced(kind, valid, tuple(shares))
    masked = bool(out.size) and not is_all_valid(valid)
    count = np.zeros(shape, np.int32) if masked else np.broadcast_to(np.int32(length), shape)
    if not out.size:
        return out, count
    numbers, mask, run = rows_of(taken_as(values, ordered=ordered), valid if masked else None)
    counts = count.reshape(-1, run) if masked else np.zeros((0, 0), np.int32)
    if kind == "quantiles":
        pixels = out.reshape(len(shares), -1, run)
        steps, at = exchanges(length), _positions(length, tuple(shares))
        top = end_of(numbers[0].dtype, largest=True)
        quantiles(*numbers, *mask, masked, steps, *at, top, pixels, counts)
        return out, count
    if ordered:
        found = np.empty((out.size // run, run), numbers[0].dtype)
        start = end_of(found.dtype, largest=kind == "min")
        extremes(kind == "max", *numbers, *mask, masked, start, found, counts)
        return found.reshape(shape).astype(dtype, copy=False), count
    fold(KINDS.index(kind), *numbers, *mask, masked, out.reshape(-1, run), counts)
    return out, count


def taken_as(values: Values, *, ordered: bool) -> Values:
    """Return values in a dtype that kernels take; those that are only compared keep their own."""
    name = values.dtype.str[1:]
    if name == "b1":
        return values.view(np.uint8)
    if ordered and name != "f2":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    return values.astype(_TAKEN_AS.get(name, "f8"), copy=False)


def end_of(dtype: np.dtype[Any], *, largest: bool) -> Any:
    """Return the largest or smallest number of a dtype, in it."""
    if dtype.kind == "f":
        return dtype.type(np.inf if largest else -np.inf)
    return dtype.type(np.iinfo(dtype).max if largest else np.iinfo(dtype).min)


Placed = tuple["Values", "Values"]
"""The memory of a stack as a vector, and the (row, label) places in it at which rows begin."""


def rows_of(values: Values, valid: Mask | None) -> tuple[Placed, Placed, int]:
    """Return values and mask as kernels take stacks, and how many pixels there are in a row.

    What is turned, or cut out of a larger array, need not be copied that way.
    """
    stacks = [_with_runs(stack) for stack in (values, valid) if stack is not None]
    axis = max(map(_first_together, stacks))
    found = [_placed(stack, axis) for stack in stacks]
    if valid is None:
        found.append((frozen(np.zeros(0, np.bool_)), np.zeros((0, 0), np.int64)))
    return found[0], found[1], math.prod(values.shape[axis:])


def _first_together(stack: Values) -> int:
    """Return the first axis from which on the pixels of an entry lie side by side."""
    together = stack.itemsize
    for axis in range(stack.ndim - 1, 0, -1):
        if stack.shape[axis] != 1 and stack.strides[axis] != together:
            return axis + 1
        together *= stack.shape[axis]
    return 1


def _with_runs(stack: Values) -> Values:
    """Return a stack in which enough pixels lie side by side; a copy where they do not."""
    run = math.prod(stack.shape[_first_together(stack) :])
    odd = any(stride < 0 or stride % stack.itemsize for stride in stack.strides)
    return np.ascontiguousarray(stack) if odd or run < min(SHORT, stack[0].size) else stack


def _placed(stack: Values, axis: int) -> Placed:
    """Return the memory of a stack and the (row, label) places of rows of the axes from `axis`."""
    steps = [stride // stack.itemsize for stride in stack.strides]
    places = np.zeros((), np.int64)
    for index in (*range(1, axis), 0):
        places = np.add.outer(places, np.arange(stack.shape[index]) * steps[index])
    span = 1 + sum((n - 1) * step for n, step in zip(stack.shape, steps, strict=True))
    memory = as_strided(stack, (span,), (stack.itemsize,), writeable=False)
    return memory, places.reshape(-1, len(stack))


@jit
def _add(kind: int, one: Any, other: Any, number: float, x: Any) -> None:
    """Add one entry of a stack, the `number`-th, to what is known of a row of pixels."""
    if kind in (_SUM, _MEAN):
        for j in range(x.size):
            one[j] += x[j]
    elif kind == _PRODUCT:
        for j in range(x.size):
            one[j] *= x[j]
    else:  # the mean so far, and the sum of squared distances from it
        for j in range(x.size):
            before = x[j] - one[j]
            one[j] += np.divide(before, number)
            other[j] += before * (x[j] - one[j])


@jit
def _add_valid(kind: int, one: Any, other: Any, count: Any, x: Any, valid: Any) -> None:
    """Add one entry as `_add` does, where it is valid; all is read, so that no loop branches."""
    for j in range(x.size):
        count[j] += valid[j]
    if kind in (_SUM, _MEAN):
        for j in range(x.size):
            before, there = one[j], valid[j]
            after = before + x[j]
            one[j] = after if there else before
    elif kind == _PRODUCT:
        for j in range(x.size):
            before, there = one[j], valid[j]
            after = before * x[j]
            one[j] = after if there else before
    else:
        for j in range(x.size):
            mean, squares, there = one[j], other[j], valid[j]
            before = x[j] - mean
            after = mean + np.divide(before, np.float64(count[j]))
            more = squares + before * (x[j] - after)
            one[j] = after if there else mean
            other[j] = more if there else squares


@jit
def _finish(kind: int, one: Any, other: Any, count: Any, out: Any) -> None:
    """Write what all entries of a row of pixels have come to."""
    if kind in (_SUM, _PRODUCT):
        for j in range(out.size):
            out[j] = one[j]
    elif kind == _MEAN:
        for j in range(out.size):
            out[j] = np.divide(one[j], np.float64(count[j]))
    elif kind == _VARIANCE:
        for j in range(out.size):
            out[j] = np.divide(other[j], count[j] - 1.0)
    else:
        for j in range(out.size):
            out[j] = np.sqrt(np.divide(other[j], count[j] - 1.0))


@jit
def fold(
    kind: int,
    values: Any,
    places: Any,
    valid: Any,
    valid_places: Any,
    masked: bool,
    out: Any,
    count: Any,
) -> None:
    """Write sums, products, means, variances or deviations of the valid entries of every pixel.

    Args:
        kind: position in `KINDS`.
        values: vector of numbers.
        places: (row, label) where in `values` the pixels of a row begin.
        valid: vector of truth values.
        valid_places: like `places`.
        masked: whether there is something in `valid`.
        out: (row, pixel), written.
        count: (row, pixel) number of valid entries, 0 at first, written if `masked`.
    """
    one, other = np.empty(BLOCK), np.empty(BLOCK)
    length = places.shape[1]
    whole = np.full(BLOCK, length, np.int32)
    for row in range(out.shape[0]):
        for start in range(0, out.shape[1], BLOCK):
            size = min(BLOCK, out.shape[1] - start)
            held = count[row, start : start + size] if masked else whole[:size]
            one[:] = 1.0 if kind == _PRODUCT else 0.0
            other[:] = 0.0
            for t in range(length):
                at = places[row, t] + start
                x = values[at : at + size]
                if masked:
                    mask_at = valid_places[row, t] + start
                    _add_valid(kind, one, other, held, x, valid[mask_at : mask_at + size])
                else:
                    _add(kind, one, other, t + 1.0, x)
            _finish(kind, one, other, held, out[row, start : start + size])


@jit
def _keep(largest: bool, out: Any, x: Any) -> None:
    """Keep one entry of a stack where it is beyond those before, or NaN."""
    for j in range(x.size):
        known, value = out[j], x[j]
        beyond = value > known if largest else value < known
        out[j] = value if beyond | (value != value) else known  # noqa: PLR0124 - NaN


@jit
def _keep_valid(largest: bool, out: Any, count: Any, x: Any, valid: Any) -> None:
    """Keep one entry as `_keep` does, where it is valid."""
    for j in range(x.size):
        count[j] += valid[j]
    for j in range(x.size):
        known, value, there = out[j], x[j], valid[j]
        beyond = value > known if largest else value < known
        out[j] = value if there & (beyond | (value != value)) else known  # noqa: PLR0124 - NaN


@jit
def extremes(
    largest: bool,
    values: Any,
    places: Any,
    valid: Any,
    valid_places: Any,
    masked: bool,
    start_value: Any,
    out: Any,
    count: Any,
) -> None:
    """Write the smallest or largest valid entry of every pixel; other arguments as `fold`.

    Args:
        largest: whether it is the largest.
        values: vector of numbers.
        places: (row, label) where in `values` the pixels of a row begin.
        valid: vector of truth values.
        valid_places: like `places`.
        masked: whether there is something in `valid`.
        start_value: number that is beyond no other, in the dtype of `values`.
        out: (row, pixel), written.
        count: (row, pixel) number of valid entries, 0 at first, written if `masked`.
    """
    for row in range(out.shape[0]):
        for start in range(0, out.shape[1], BLOCK):
            size = min(BLOCK, out.shape[1] - start)
            found = out[row, start : start + size]
            found[:] = start_value
            for t in range(places.shape[1]):
                at = places[row, t] + start
                x = values[at : at + size]
                if masked:
                    mask_at, held = valid_places[row, t] + start, count[row, start : start + size]
                    _keep_valid(largest, found, held, x, valid[mask_at : mask_at + size])
                else:
                    _keep(largest, found, x)


@cache
def exchanges(length: int) -> Values:
    """Return the compare-exchange steps that sort `length` entries, whatever their values.

    Returns:
        (steps, 2) positions, the smaller value goes to the first.

    Source:
        Batcher's merge exchange: Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
    """
    steps = []
    top = 1 << max(0, (length - 1).bit_length() - 1)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            steps += [(i, i + d) for i in range(length - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    table = np.array(steps, np.int64).reshape(-1, 2)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=64)
def _positions(length: int, shares: tuple[float, ...]) -> tuple[Values, Values, Values]:
    """Return where quantiles lie among sorted entries, by (share, number of valid entries).

    Returns:
        Positions of the entries below and above, and the share of the way from one to the other.
    """
    last = np.maximum(np.arange(length + 1) - 1, 0)
    positions = last * np.array(shares)[:, np.newaxis]
    below = positions.astype(np.int64)
    return frozen(below), frozen(np.minimum(below + 1, last)), frozen(positions - below)


@jit
def _exchange(low: Any, high: Any) -> None:
    for j in range(low.size):
        a = low[j]
        b = high[j]
        swap = b < a
        low[j] = b if swap else a
        high[j] = a if swap else b


@jit
def between(a: float, b: float, share: float) -> float:
    """Return the number that lies a share of the way from one to another."""
    infinite = np.isinf(a) | np.isinf(b)
    value = a * (1.0 - share) + b * share if infinite else a + (b - a) * share
    return a if (share == 0.0) | (a == b) else value


@jit
def _load(row: Any, x: Any, top: Any, has_nan: Any) -> None:
    """Copy one entry of a row of pixels; NaN is noted and goes behind everything else."""
    for j in range(x.size):
        value = x[j]
        bad = value != value  # noqa: PLR0124 - NaN
        has_nan[j] |= bad
        row[j] = top if bad else value


@jit
def _load_valid(row: Any, x: Any, valid: Any, top: Any, has_nan: Any, count: Any) -> None:
    """Copy one entry as `_load` does; what is not valid goes to the end too."""
    for j in range(x.size):
        count[j] += valid[j]
    for j in range(x.size):
        value, there = x[j], valid[j]
        bad = value != value  # noqa: PLR0124 - NaN
        has_nan[j] |= bad & there
        row[j] = value if there & (not bad) else top


@jit
def _gather(
    block: Any, count: Any, below: Any, above: Any, share: Any, pair: Any, shares: Any
) -> None:
    """Take the two entries between which a quantile lies out of sorted ones, for each pixel."""
    for j in range(count.size):
        found = count[j]
        pair[0, j] = block[below[found], j]
        pair[1, j] = block[above[found], j]
        shares[j] = share[found]


@jit
def _pick(low: Any, high: Any, share: Any, has_nan: Any, out: Any) -> None:
    """Write one quantile of a row of pixels: between two entries, NaN where NaN is."""
    for j in range(out.size):
        value, bad = between(np.float64(low[j]), np.float64(high[j]), share[j]), has_nan[j]
        out[j] = np.nan if bad else value


@jit
def quantiles(
    values: Any,
    places: Any,
    valid: Any,
    valid_places: Any,
    masked: bool,
    steps: Any,
    below: Any,
    above: Any,
    share: Any,
    top: Any,
    out: Any,
    count: Any,
) -> None:
    """Write quantiles of the valid entries of every pixel; other arguments as `fold`.

    Args:
        values: vector of numbers.
        places: (row, label), at least one label.
        valid: vector of truth values.
        valid_places: like `places`.
        masked: whether there is something in `valid`.
        steps: what `exchanges` returns for the number of labels.
        below: (quantile, number of valid entries) position among the sorted ones.
        above: the position next to it.
        share: of the way from one to the other.
        top: largest value of the dtype.
        out: (quantile, row, pixel), written.
        count: (row, pixel) number of valid entries, 0 at first, written if `masked`.
    """
    length = places.shape[1]
    block, has_nan = np.empty((length, BLOCK), values.dtype), np.empty(BLOCK, np.bool_)
    pair, part = np.empty((2, BLOCK), values.dtype), np.empty(BLOCK)
    whole = np.full(BLOCK, length, np.int32)
    for row in range(out.shape[1]):
        for start in range(0, out.shape[2], BLOCK):
            size = min(BLOCK, out.shape[2] - start)
            held = count[row, start : start + size] if masked else whole[:size]
            has_nan[:] = False
            for t in range(length):
                at = places[row, t] + start
                x = values[at : at + size]
                if masked:
                    mask_at = valid_places[row, t] + start
                    mask = valid[mask_at : mask_at + size]
                    _load_valid(block[t], x, mask, top, has_nan, held)
                else:
                    _load(block[t], x, top, has_nan)
            for step in range(steps.shape[0]):
                _exchange(block[steps[step, 0], :size], block[steps[step, 1], :size])
            complete = held.min() == length
            for i in range(out.shape[0]):
                found = out[i, row, start : start + size]
                if complete:
                    part[:] = share[i, length]
                    _pick(block[below[i, length]], block[above[i, length]], part, has_nan, found)
                else:
                    _gather(block, held, below[i], above[i], share[i], pair, part)
                    _pick(pair[0], pair[1], part, has_nan, found)
