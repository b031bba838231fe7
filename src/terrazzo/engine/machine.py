"""The machine that fused programs run on: one compiled kernel for every graph.

A program (see `program`) is a list of operations on registers. A register holds a piece of a row
of pixels, short enough that all registers stay in the processor's cache: pixels are loaded from
the stored numbers of files, go through the whole graph, and only results are written. Nothing is
compiled per graph, so that the first tile of a new graph is as fast as the next.

Registers are numbers (float32, or float64 for all where one needs it) and truths (uint8); sums
are float64. Every operation is what NumPy does with arrays of the same type, to the bit.

Source: the virtual machine of numexpr (Cooke, McLeod, Alted); Batcher's merge exchange sort.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.engine import operations as op
from terrazzo.engine.memory import carray, fetch, pointer, turn_over
from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Codes = NDArray[np.int32]
    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]
    Bytes = NDArray[np.uint8]
    Numbers = NDArray[Any]
    Banks = tuple[Numbers, Bytes, Floats, Singles, Numbers]
    Results = tuple[Numbers, Bytes, Bytes]


@jit
def _locate(load: Ints, y: int, x: int, width: int, at: Ints, rows: int, n: int) -> None:
    """Find where the pixels of a piece are among the stored numbers, -1 = nowhere."""
    stride, across = load[op.STRIDE], load[op.ACROSS]
    if load[op.MODE] == op.SEPARABLE:
        columns = carray(pointer(load[op.COLUMNS]), width, np.int32)[x : x + n]
        for r in range(rows):
            row, here = carray(pointer(load[op.ROWS]), y + rows, np.int32)[y + r], at[r * n :]
            for j in range(n):
                here[j] = row * stride + columns[j] if row >= 0 and columns[j] >= 0 else -1
        return
    begin, size = y * width + x, rows * n
    index = carray(pointer(load[op.INDEX]), begin + size, np.int32)[begin : begin + size]
    if stride == across:
        for j in range(size):
            at[j] = index[j]
    else:
        for j in range(size):
            at[j] = index[j] // across * stride + index[j] % across if index[j] >= 0 else -1


@jit
def _load(
    load: Ints, mark: float, y: int, x: int, at: Ints, out: Any, truth: Bytes, rows: int, n: int
) -> None:
    """Load stored numbers of some rows, and whether they are valid."""
    mode, size = load[op.MODE], rows * n
    if mode == op.MISSING:
        out[:size] = 0
        truth[:size] = 0
        return
    scattered = mode != op.DIRECT
    for r in range(rows):
        begin, here = (y + r) * load[op.STRIDE] + x, slice(r * n, r * n + n)
        fetch(load[op.ADDRESS], load[op.TYPE], begin, at[here], scattered, out[here], n)
        if load[op.VALID]:
            fetch(load[op.VALID], 1, begin, at[here], scattered, truth[here], n)
    if scattered and not load[op.VALID]:
        for j in range(size):
            truth[j] = at[j] >= 0
    plain = not scattered and not load[op.VALID]
    if load[op.NODATA] == op.A_NUMBER:
        number = out.dtype.type(mark)
        for j in range(size):
            truth[j] = (out[j] != number) & (plain | (truth[j] != 0))
    elif load[op.NODATA] == op.A_NAN:
        for j in range(size):
            truth[j] = (out[j] == out[j]) & (plain | (truth[j] != 0))
    elif plain:
        truth[:size] = 1
    if load[op.CROP]:
        for r in range(rows):
            start, part = (y + r) * load[op.CROP_STRIDE] + x, truth[r * n : r * n + n]
            crop = carray(pointer(load[op.CROP]), start + n, np.uint8)[start : start + n]
            for j in range(n):
                part[j] &= crop[j]


@jit
def _read(source: Any, mark: Any, scale: Any, offset: Any, out: Any, truth: Any) -> None:
    """Load stored numbers, judge and scale them in one pass."""
    for j in range(source.size):
        number = np.float32(source[j])
        truth[j] = number != mark
        out[j] = number * scale + offset


@jit
def _load_in_place(
    load: Ints, facts: Floats, y: int, x: int, out: Any, truth: Bytes, rows: int, n: int
) -> bool:
    """Load what most files hold, small integers in place; return whether that is what they are."""
    kind, scaled = load[op.TYPE], load[op.SCALED]
    usual = load[op.MODE] == op.DIRECT and not load[op.VALID] and not load[op.CROP]
    if not usual or kind not in (1, 3, 4) or scaled == op.IN_FLOAT64:
        return False
    mark = np.float32(facts[0] if load[op.NODATA] == op.A_NUMBER else np.nan)
    scale = np.float32(1.0 if scaled == op.PLAIN else facts[1])
    offset = np.float32(0.0 if scaled == op.PLAIN else facts[2])
    place = pointer(load[op.ADDRESS])
    for r in range(rows):
        begin, here = (y + r) * load[op.STRIDE] + x, slice(r * n, r * n + n)
        end, part, mask = begin + n, out[here], truth[here]
        if kind == 1:
            _read(carray(place, end, np.uint8)[begin:end], mark, scale, offset, part, mask)
        elif kind == 3:
            _read(carray(place, end, np.uint16)[begin:end], mark, scale, offset, part, mask)
        else:
            _read(carray(place, end, np.int16)[begin:end], mark, scale, offset, part, mask)
    return True


@jit
def _scale(kind: int, facts: Floats, numbers: Numbers, n: int) -> None:
    """Turn stored numbers into physical values, in the type in which they are computed."""
    if kind == op.IN_FLOAT32:
        scale, offset = np.float32(facts[1]), np.float32(facts[2])
        for j in range(n):
            numbers[j] = np.float32(numbers[j]) * scale + offset
    elif kind == op.IN_FLOAT64:
        for j in range(n):
            numbers[j] = numbers[j] * facts[1] + facts[2]


@jit
def _maths(code: int, a: Numbers, b: Numbers, out: Numbers, n: int) -> None:
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
def _compare(code: int, a: Numbers, b: Numbers, out: Bytes, n: int) -> None:
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
def _logic(code: int, a: Bytes, b: Bytes, out: Bytes, n: int) -> None:
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
def _choose(question: Bytes, yes: Any, no: Any, out: Any, n: int) -> None:
    for j in range(n):
        out[j] = yes[j] if question[j] else no[j]


@jit
def _look_up(table: Bytes, byte: Bytes, valid: Bytes, out: Bytes, n: int) -> None:
    """Take truths out of a table by byte, from its second half where the byte is valid."""
    for j in range(n):
        out[j] = table[np.uint64(byte[j]) + (np.uint64(valid[j]) << np.uint64(8))]


@jit
def _fold(kind: int, sums: Floats, count: Singles, x: Numbers, valid: Bytes, n: int) -> None:
    """Add one entry to what is folded, as `terrazzo.processes.stacks` does."""
    one, other = sums[0], sums[1]
    for j in range(n):
        count[j] += valid[j]
    if kind in (op.SUM, op.MEAN):
        for j in range(n):
            one[j] = one[j] + x[j] if valid[j] else one[j]
    elif kind == op.PRODUCT:
        for j in range(n):
            one[j] = one[j] * x[j] if valid[j] else one[j]
    elif kind in (op.VARIANCE, op.SD):
        for j in range(n):
            before = x[j] - one[j]
            mean = one[j] + np.divide(before, np.float64(count[j]))
            squares = other[j] + before * (x[j] - mean)
            one[j] = mean if valid[j] else one[j]
            other[j] = squares if valid[j] else other[j]
    elif kind == op.MIN:
        for j in range(n):
            here = x[j] < one[j] or count[j] == 1.0 or x[j] != x[j]
            one[j] = x[j] if valid[j] and here else one[j]
    elif kind == op.MAX:
        for j in range(n):
            here = x[j] > one[j] or count[j] == 1.0 or x[j] != x[j]
            one[j] = x[j] if valid[j] and here else one[j]


@jit
def _finish(kind: int, sums: Floats, count: Singles, out: Numbers, n: int) -> None:
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
def _push(x: Numbers, valid: Bytes, row: Numbers, count: Singles, nans: Singles, n: int) -> None:
    """Put one entry on the stack of those to be sorted; no-data and NaN go to its end."""
    top = row.dtype.type(np.inf)
    for j in range(n):
        bad = x[j] != x[j]
        row[j] = top if bad | (valid[j] == 0) else x[j]
        count[j] += np.float32(valid[j])
        nans[j] += np.float32(valid[j] & bad)


@jit
def _sort(stack: Numbers, steps: Ints, n: int) -> None:
    """Sort every pixel's entries by compare-exchange of rows."""
    for step in range(steps.shape[0]):
        low, high = stack[steps[step, 0]], stack[steps[step, 1]]
        for j in range(n):
            a, b = low[j], high[j]
            swap = b < a
            low[j] = b if swap else a
            high[j] = a if swap else b


@jit
def _pick(
    stack: Numbers, share: float, count: Singles, nans: Singles, out: Numbers, n: int
) -> None:
    """Write a quantile of sorted entries: 0 where nothing is valid, NaN where one is NaN."""
    for j in range(n):
        out[j] = np.nan if nans[j] > 0 else 0.0
    low, high = count[0], count[0]
    for j in range(n):
        low, high = min(low, count[j]), max(high, count[j])
    for found in range(max(int(low), 1), int(high) + 1):
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


@jit
def _carry(carried: Ints, banks: Banks, begin: int, n: int, saving: bool) -> None:
    """Keep registers in memory between two parts of a program, or take them back."""
    numbers, truths, sums, counts, stack = banks
    for k in range(carried.shape[0]):
        bank, row, stop = carried[k, 0], carried[k, 1], begin + n
        memory = pointer(carried[k, 2])
        if bank == op.TRUTHS:
            turn_over(truths[row], carray(memory, stop, np.uint8)[begin:stop], n, saving)
        elif bank == op.SUMS:
            turn_over(sums[row], carray(memory, stop, np.float64)[begin:stop], n, saving)
        elif bank == op.COUNTS:
            turn_over(counts[row], carray(memory, stop, np.float32)[begin:stop], n, saving)
        else:
            number = numbers[row] if bank == op.NUMBERS else stack[row]
            turn_over(number, carray(memory, stop, numbers.dtype)[begin:stop], n, saving)


@jit
def _reduce(operation: Codes, banks: Banks, steps: Ints, shares: Floats, n: int) -> None:
    """Carry out an operation of a reduction; `sums` has two rows for each of `counts`."""
    code, out, group, a, b, more = operation
    numbers, truths, sums, counts, stack = banks
    own, count, nans = sums[2 * group : 2 * group + 2], counts[2 * group], counts[2 * group + 1]
    if code == op.START:
        own[0, :n] = 1.0 if more == op.PRODUCT else 0.0
        own[1, :n] = 0.0
        count[:n] = 0.0
        nans[:n] = 0.0
    elif code == op.FOLD:
        _fold(more, own, count, numbers[a], truths[b], n)
    elif code == op.FINISH:
        _finish(more, own, count, numbers[out], n)
    elif code == op.COUNT:
        for j in range(n):
            numbers[out, j] = count[j]
    elif code == op.PUSH:
        _push(numbers[a], truths[b], stack[more], count, nans, n)
    elif code == op.SORT:
        _sort(stack[more:], steps[a:b], n)
    elif code == op.PICK:
        _pick(stack[more:], shares[a], count, nans, numbers[out], n)


@jit
def _store(
    operation: Codes, banks: Banks, results: Results, y: int, x: int, rows: int, n: int
) -> None:
    """Write some rows of a result, and where it is valid."""
    _, out, a, b, is_truth, masked = operation
    values, truths, valid = results
    for r in range(rows):
        here, there = slice(r * n, r * n + n), slice(x, x + n)
        if is_truth:
            turn_over(banks[1][a][here], truths[out, y + r, there], n, True)
        else:
            turn_over(banks[0][a][here], values[out, y + r, there], n, True)
        if masked:
            turn_over(banks[1][b][here], valid[out, y + r, there], n, True)


@jit
def run(
    program: Codes,
    known: tuple[Floats, Floats, Ints, Bytes],
    loads: Ints,
    facts: Floats,
    carried: tuple[Ints, Ints],
    results: Results,
    window: tuple[int, int, int, int],
    banks: Banks,
) -> None:
    """Run a program, or a part of one, over all rows of a window.

    Args:
        program: (operations, 6) code, output register, and up to four operands.
        known: (k,) numbers of the first registers, which never change; probabilities of quantiles;
            (n, 2) compare-exchange steps of all sorts; (tables, 512) truths by byte, then by
            byte where it is valid.
        loads: (planes, LOAD_FACTS) where the stored numbers are.
        facts: (planes, 3) no-data number, scale, offset.
        carried: (n, 3) bank, register and address of the plane that it is taken from before the
            part, and those that it is kept in after it.
        results: (planes, y, x) numbers in the registers' type, or truths; and what is valid.
        window: first row and column in the results, height, width.
        banks: registers: (n, piece) numbers and truths, (2 g, piece) sums and counts of g
            reductions, (labels, piece) what is sorted.
    """
    constants, shares, steps, tables = known
    row, column, height, width = window
    numbers, truths = banks[0], banks[1]
    at = np.zeros(numbers.shape[1], np.int64)
    for k in range(constants.size):
        numbers[k, :] = constants[k]
    piece = numbers.shape[1]
    lines = max(piece // max(width, 1), 1)
    for y in range(0, height, lines):
        for x in range(0, width, piece):
            rows, wide = min(lines, height - y), min(piece, width - x)
            n = rows * wide
            _carry(carried[0], banks, y * width + x, n, False)
            located = -1
            for k in range(program.shape[0]):
                operation = program[k]
                code, out, a, b = operation[0], operation[1], operation[2], operation[3]
                if code in (op.LOAD, op.LOAD_BYTES):
                    load, mark = loads[a], facts[a, 0]
                    if code == op.LOAD and _load_in_place(
                        load, facts[a], y, x, numbers[out], truths[b], rows, wide
                    ):
                        continue
                    if load[op.LOOKUP] and load[op.LOOKUP] != located:
                        _locate(load, y, x, width, at, rows, wide)
                        located = load[op.LOOKUP]
                    if code == op.LOAD:
                        _load(load, mark, y, x, at, numbers[out], truths[b], rows, wide)
                        _scale(load[op.SCALED], facts[a], numbers[out], n)
                    else:
                        _load(load, mark, y, x, at, truths[out], truths[b], rows, wide)
                elif code == op.STORE:
                    _store(operation, banks, results, row + y, column + x, rows, wide)
                elif code <= op.MAXIMUM:
                    _maths(code, numbers[a], numbers[b], numbers[out], n)
                elif code in (op.AND, op.OR, op.XOR, op.NOT):
                    _logic(code, truths[a], truths[b], truths[out], n)
                elif code >= op.START:
                    _reduce(operation, banks, steps, shares, n)
                elif code == op.WHERE:
                    _choose(truths[a], numbers[b], numbers[operation[4]], numbers[out], n)
                elif code == op.WHERE_TRUTH:
                    _choose(truths[a], truths[b], truths[operation[4]], truths[out], n)
                elif code == op.NUMBER:
                    turn_over(truths[a], numbers[out], n, True)
                elif code == op.LOOK_UP:
                    _look_up(tables[operation[4]], truths[a], truths[b], truths[out], n)
                else:
                    _compare(code, numbers[a], numbers[b], truths[out], n)
            _carry(carried[1], banks, y * width + x, n, True)
