"""The operations of the machine on registers: one loop each, plain enough to become vectors.

`machine` calls these, and its cache on disk watches its own file only: touch that one where
something here changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.engine import operations as op
from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Counts = NDArray[np.uint16]
    Bytes = NDArray[np.uint8]
    Numbers = NDArray[Any]


@jit
def maths(code: int, a: Numbers, b: Numbers, out: Numbers, n: int) -> None:
    """Compute numbers of numbers."""
    if code == op.ADD:
        for j in range(n):
            out[j] = a[j] + b[j]
    elif code == op.SUBTRACT:
        for j in range(n):
            out[j] = a[j] - b[j]
    elif code == op.MULTIPLY:
        for j in range(n):
            out[j] = a[j] * b[j]
    elif code == op.DIVIDE:
        for j in range(n):
            out[j] = np.divide(a[j], b[j])
    elif code == op.NEGATIVE:
        for j in range(n):
            out[j] = -a[j]
    elif code == op.ABSOLUTE:
        for j in range(n):
            out[j] = abs(a[j])
    elif code == op.SQRT:
        for j in range(n):
            out[j] = np.sqrt(a[j])
    elif code == op.MINIMUM:
        for j in range(n):
            out[j] = a[j] if a[j] < b[j] or a[j] != a[j] else b[j]
    elif code == op.MAXIMUM:
        for j in range(n):
            out[j] = a[j] if a[j] > b[j] or a[j] != a[j] else b[j]
    else:
        _rounded(code, a, out, n)


@jit
def _rounded(code: int, a: Numbers, out: Numbers, n: int) -> None:
    if code == op.FLOOR:
        for j in range(n):
            out[j] = np.floor(a[j])
    elif code == op.CEIL:
        for j in range(n):
            out[j] = np.ceil(a[j])
    elif code == op.TRUNC:
        for j in range(n):
            out[j] = np.trunc(a[j])
    elif code == op.RINT:
        for j in range(n):
            out[j] = np.rint(a[j])
    elif code == op.SIGN:
        for j in range(n):
            out[j] = np.sign(a[j]) + a.dtype.type(0)  # which makes -0 into 0, as NumPy does


@jit
def compare(code: int, a: Numbers, b: Numbers, out: Bytes, n: int) -> None:
    """Ask two numbers which is greater, or one what it is."""
    if code == op.LESS:
        for j in range(n):
            out[j] = a[j] < b[j]
    elif code == op.LESS_EQUAL:
        for j in range(n):
            out[j] = a[j] <= b[j]
    elif code == op.GREATER:
        for j in range(n):
            out[j] = a[j] > b[j]
    elif code == op.GREATER_EQUAL:
        for j in range(n):
            out[j] = a[j] >= b[j]
    elif code == op.EQUAL:
        for j in range(n):
            out[j] = a[j] == b[j]
    elif code == op.NOT_EQUAL:
        for j in range(n):
            out[j] = a[j] != b[j]
    elif code == op.ISNAN:
        for j in range(n):
            out[j] = a[j] != a[j]
    elif code == op.ISFINITE:
        for j in range(n):
            out[j] = np.isfinite(a[j])
    elif code == op.ISINF:
        for j in range(n):
            out[j] = np.isinf(a[j])
    elif code == op.TRUTH:
        for j in range(n):
            out[j] = a[j] != 0


@jit
def logic(code: int, a: Bytes, b: Bytes, out: Bytes, n: int) -> None:
    """Compute truths of truths, which are 0 or 1."""
    if code == op.AND:
        for j in range(n):
            out[j] = a[j] & b[j]
    elif code == op.OR:
        for j in range(n):
            out[j] = a[j] | b[j]
    elif code == op.XOR:
        for j in range(n):
            out[j] = a[j] ^ b[j]
    elif code == op.NOT:
        for j in range(n):
            out[j] = a[j] ^ 1


@jit
def choose(question: Bytes, yes: Any, no: Any, out: Any, n: int) -> None:
    """Take one of two numbers, or truths."""
    for j in range(n):
        one, other = yes[j], no[j]  # both are read, so that the loop needs no branch
        out[j] = one if question[j] else other


@jit
def clamp(x: Numbers, low: Numbers, high: Numbers, out: Numbers, n: int) -> None:
    """Hold numbers between two others."""
    for j in range(n):
        value, least, most = x[j], low[j], high[j]
        held = min(value, most)
        out[j] = least if value < least else held


@jit
def look_up(table: Bytes, byte: Bytes, valid: Bytes, out: Bytes, n: int) -> None:
    """Take truths out of a table by byte, from its second half where the byte is valid."""
    for j in range(n):
        out[j] = table[np.uint64(byte[j]) + (np.uint64(valid[j]) << np.uint64(8))]


@jit
def add_one(count: Counts, valid: Bytes, n: int) -> None:
    """Count the entries that are valid."""
    for j in range(n):
        count[j] += valid[j]


@jit
def fold(kind: int, sums: Floats, count: Counts, x: Numbers, valid: Bytes, n: int) -> None:
    """Add one entry to what is folded, as `terrazzo.processes.stacks` does; nothing branches."""
    one, other = sums[0], sums[1]
    if kind in (op.SUM, op.MEAN):
        for j in range(n):
            before, there = one[j], valid[j]
            after = before + x[j]
            one[j] = after if there else before
    elif kind == op.PRODUCT:
        for j in range(n):
            before, there = one[j], valid[j]
            after = before * x[j]
            one[j] = after if there else before
    elif kind in (op.VARIANCE, op.SD):
        for j in range(n):
            mean, squares, there = one[j], other[j], valid[j]
            apart = x[j] - mean
            after = mean + np.divide(apart, np.float64(count[j]))
            more = squares + apart * (x[j] - after)
            one[j] = after if there else mean
            other[j] = more if there else squares
    elif kind == op.MIN:
        for j in range(n):
            before, value, there = one[j], x[j], valid[j]
            beyond = (value < before) | (count[j] == 1) | (value != value)  # noqa: PLR0124 - NaN
            one[j] = value if (there != 0) & beyond else before
    elif kind == op.MAX:
        for j in range(n):
            before, value, there = one[j], x[j], valid[j]
            beyond = (value > before) | (count[j] == 1) | (value != value)  # noqa: PLR0124 - NaN
            one[j] = value if (there != 0) & beyond else before


@jit
def finish(kind: int, sums: Floats, count: Counts, out: Numbers, n: int) -> None:
    """Write what was folded."""
    one, other = sums[0], sums[1]
    for j in range(n):
        value = one[j]
        if kind == op.MEAN:
            value = np.divide(value, np.float64(count[j]))
        elif kind in (op.VARIANCE, op.SD):
            value = np.divide(other[j], np.float64(count[j]) - 1.0)
            if kind == op.SD:
                value = np.sqrt(value)
        out[j] = value


@jit
def push(x: Numbers, valid: Bytes, row: Numbers, count: Counts, nans: Counts, n: int) -> None:
    """Put one entry on the stack of those to be sorted; no-data and NaN go to its end."""
    top = row.dtype.type(np.inf)
    for j in range(n):
        bad = x[j] != x[j]
        row[j] = top if bad | (valid[j] == 0) else x[j]
        count[j] += valid[j]
        nans[j] += valid[j] & bad


@jit
def sort_rows(stack: Numbers, steps: Ints, n: int) -> None:
    """Sort every pixel's entries by compare-exchange of rows."""
    for step in range(steps.shape[0]):
        low, high = stack[steps[step, 0]], stack[steps[step, 1]]
        for j in range(n):
            a, b = low[j], high[j]
            swap = b < a
            low[j] = b if swap else a
            high[j] = a if swap else b


@jit
def pick(stack: Numbers, share: float, count: Counts, nans: Counts, out: Numbers, n: int) -> None:
    """Write a quantile of sorted entries: 0 where nothing is valid, NaN where one is NaN."""
    for j in range(n):
        out[j] = np.nan if nans[j] else 0.0
    low, high = count[0], count[0]
    for j in range(n):
        low, high = min(low, count[j]), max(high, count[j])
    for found in range(max(low, 1), high + 1):
        position = (found - 1) * share
        below = int(position)
        part = position - below
        a, b = stack[below], stack[min(below + 1, found - 1)]
        for j in range(n):
            first, second = np.float64(a[j]), np.float64(b[j])
            value = first + (second - first) * part
            if np.isinf(first) or np.isinf(second):
                value = first * (1.0 - part) + second * part
            if part == 0.0 or first == second:
                value = first
            if count[j] == found and nans[j] == 0:
                out[j] = value
