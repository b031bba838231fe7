"""Compiled loops under the scalar processes: every pixel by itself, whatever lies around it.

NumPy picks another code path for other shapes and strides: its reductions add in another order
and its vectorised functions differ in the last bit from their scalar remainder. Here one pixel's
result is one sequence of operations, so that a tile, a block and a single point agree bit for
bit. Arguments are flat, contiguous and, where they are only read, read-only views, which keeps
the compiled variants to one per dtype.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.cube import Values

BLOCK = 256
"""Pixels that are sorted together: the dates of a block stay in the processor's cache."""

Kernel = Any
"""A compiled function; numba has no types to tell."""


def flat(values: Values) -> Values:
    """Return values as a contiguous read-only vector; a copy only where they are strided."""
    vector = np.ascontiguousarray(values).reshape(-1).view()
    vector.flags.writeable = False
    return vector


def rows(values: Values) -> Values:
    """Return a stack as a contiguous read-only (label, pixel) matrix; a copy only if strided."""
    pixels = int(np.prod(values.shape[1:], dtype=np.int64))
    matrix = np.ascontiguousarray(values).reshape(values.shape[0], pixels).view()
    matrix.flags.writeable = False
    return matrix


def _unary(function: Callable[..., Any]) -> Callable[[Values], Values]:
    @njit(nogil=True, cache=True)
    def kernel(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    def run(x: Values) -> Values:
        vector = flat(x)
        out = np.empty(vector.shape, vector.dtype)
        if out.size:
            kernel(vector, out)
        return out.reshape(np.shape(x))

    return run


def _binary(function: Callable[..., Any]) -> Callable[[Values, Values], Values]:
    @njit(nogil=True, cache=True)
    def kernel(x: Any, y: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = function(x[i], y[i])

    def run(x: Values, y: Values) -> Values:
        left, right = np.broadcast_arrays(x, y)
        out = np.empty(left.size, left.dtype)
        if out.size:
            kernel(flat(left), flat(right), out)
        return out.reshape(left.shape)

    return run


exp = _unary(np.exp)
ln = _unary(np.log)
log2 = _unary(np.log2)
log10 = _unary(np.log10)
sin = _unary(np.sin)
cos = _unary(np.cos)
tan = _unary(np.tan)
arcsin = _unary(np.arcsin)
arccos = _unary(np.arccos)
arctan = _unary(np.arctan)
sinh = _unary(np.sinh)
cosh = _unary(np.cosh)
tanh = _unary(np.tanh)
arsinh = _unary(np.arcsinh)
arcosh = _unary(np.arccosh)
artanh = _unary(np.arctanh)
arctan2 = _binary(np.arctan2)
power = _binary(np.power)


@njit(nogil=True, cache=True)
def add_valid(total: Any, count: Any, x: Any, valid: Any) -> None:
    """Add one entry of a stack to the running sum and count of every pixel."""
    for i in range(x.size):
        if valid[i]:
            total[i] += x[i]
            count[i] += 1


@njit(nogil=True, cache=True)
def multiply_valid(total: Any, count: Any, x: Any, valid: Any) -> None:
    """Multiply the running product of every pixel by one entry of a stack."""
    for i in range(x.size):
        if valid[i]:
            total[i] *= x[i]
            count[i] += 1


@njit(nogil=True, cache=True)
def add_squares(total: Any, mean: Any, x: Any, valid: Any) -> None:
    """Add one entry's squared distance from the mean to the running sum of every pixel."""
    for i in range(x.size):
        if valid[i]:
            total[i] += (x[i] - mean[i]) * (x[i] - mean[i])


@njit(nogil=True, cache=True)
def keep_min(least: Any, count: Any, x: Any, valid: Any) -> None:
    """Lower the running minimum of every pixel; NaN stays once it is met."""
    for i in range(x.size):
        if valid[i]:
            value = x[i]
            if count[i] == 0 or value < least[i] or value != value:  # noqa: PLR0124 - NaN
                least[i] = value
            count[i] += 1


@njit(nogil=True, cache=True)
def keep_max(most: Any, count: Any, x: Any, valid: Any) -> None:
    """Raise the running maximum of every pixel; NaN stays once it is met."""
    for i in range(x.size):
        if valid[i]:
            value = x[i]
            if count[i] == 0 or value > most[i] or value != value:  # noqa: PLR0124 - NaN
                most[i] = value
            count[i] += 1


@njit(nogil=True, cache=True)
def convolve(padded: Any, turned: Any, out: Any) -> None:
    """Write the weighted sum of the neighbours of every pixel, in float64, in row order.

    Args:
        padded: (h + rows - 1, w + columns - 1) image with half a kernel around it.
        turned: (rows, columns) weights, turned by 180 degrees; those that are 0 are left out.
        out: (h, w), written.
    """
    total = np.empty(out.shape[1], np.float64)
    for y in range(out.shape[0]):
        total[:] = 0.0
        for j in range(turned.shape[0]):
            for i in range(turned.shape[1]):
                weight = turned[j, i]
                if weight != 0.0:
                    row = padded[y + j]
                    for x in range(total.size):
                        total[x] += weight * row[x + i]
        for x in range(total.size):
            out[y, x] = total[x]


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


@njit(nogil=True, cache=True)
def _exchange(low: Any, high: Any) -> None:
    for j in range(low.size):
        a = low[j]
        b = high[j]
        swap = b < a
        low[j] = b if swap else a
        high[j] = a if swap else b


@njit(nogil=True, cache=True)
def _between(a: float, b: float, share: float) -> float:
    if share == 0.0 or a == b:
        return a
    if np.isinf(a) or np.isinf(b):
        return a * (1.0 - share) + b * share
    return a + (b - a) * share


@njit(nogil=True, cache=True)
def _load(block: Any, values: Any, top: Any, has_nan: Any) -> None:
    """Copy the rows of some pixels; NaN is noted and sorted behind everything else."""
    for t in range(values.shape[0]):
        source = values[t]
        target = block[t]
        for j in range(source.size):
            value = source[j]
            if np.isnan(value):
                has_nan[j] = True
                value = top
            target[j] = value


@njit(nogil=True, cache=True)
def _load_valid(block: Any, values: Any, valid: Any, top: Any, has_nan: Any, count: Any) -> None:
    """Like `_load`; what is not valid goes to the end too and is taken off the count."""
    for t in range(values.shape[0]):
        source = values[t]
        mask = valid[t]
        target = block[t]
        for j in range(source.size):
            value = source[j]
            bad = np.isnan(value)
            has_nan[j] |= bad and mask[j]
            count[j] -= not mask[j]
            target[j] = value if mask[j] and not bad else top


@njit(nogil=True, cache=True)
def _pick(block: Any, has_nan: Any, count: Any, probability: float, out: Any) -> None:
    """Write one quantile of sorted pixels: 0 where nothing is valid, NaN where NaN is."""
    for j in range(out.size):
        found = count[j]
        position = max(found - 1, 0) * probability
        below = int(position)
        above = min(below + 1, max(found - 1, 0))
        value = _between(np.float64(block[below, j]), np.float64(block[above, j]), position - below)
        if has_nan[j]:
            value = np.nan
        out[j] = value if found else 0.0


@njit(nogil=True, cache=True)
def quantiles(
    values: Any,
    valid: Any,
    masked: bool,
    steps: Any,
    probabilities: Any,
    top: Any,
    out: Any,
    count: Any,
) -> None:
    """Write the quantiles (type 7) of the valid entries of every pixel.

    Args:
        values: (label, pixel), at least one label.
        valid: like `values`; anything two-dimensional if not `masked`.
        masked: whether to look at `valid`.
        steps: what `exchanges` returns for the number of labels.
        probabilities: 0..1.
        top: largest value of the dtype.
        out: (probability, pixel), written.
        count: (pixel,) number of valid entries, written.
    """
    length, pixels = values.shape
    block = np.empty((length, BLOCK), values.dtype)
    has_nan = np.zeros(BLOCK, np.bool_)
    count[:] = length
    for start in range(0, pixels, BLOCK):
        stop = min(start + BLOCK, pixels)
        has_nan[:] = False
        if masked:
            rows_valid = valid[:, start:stop]
            _load_valid(block, values[:, start:stop], rows_valid, top, has_nan, count[start:stop])
        else:
            _load(block, values[:, start:stop], top, has_nan)
        for step in range(steps.shape[0]):
            _exchange(block[steps[step, 0]], block[steps[step, 1]])
        for index in range(probabilities.size):
            _pick(block, has_nan, count[start:stop], probabilities[index], out[index, start:stop])


@njit(nogil=True, cache=True)
def interpolate(values: Any, valid: Any, positions: Any) -> None:
    """Fill the gaps inside every pixel's series, in place, on the line between their ends.

    Args:
        values: (label, pixel) floats; NaN and what is not valid are gaps.
        valid: like `values`; True where a gap was filled.
        positions: (label,) ascending places on the line.
    """
    length, pixels = values.shape
    for i in range(pixels):
        last = -1
        for t in range(length):
            if not valid[t, i] or np.isnan(values[t, i]):
                continue
            if last >= 0 and t - last > 1:
                a = np.float64(values[last, i])
                b = np.float64(values[t, i])
                for gap in range(last + 1, t):
                    share = (positions[gap] - positions[last]) / (positions[t] - positions[last])
                    values[gap, i] = _between(a, b, share)
                    valid[gap, i] = True
            last = t
