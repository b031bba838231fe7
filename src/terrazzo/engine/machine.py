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
from terrazzo.engine.loading import load_in_place, load_numbers, locate, scale
from terrazzo.engine.loops import (
    add_one,
    choose,
    clamp,
    compare,
    finish,
    fold,
    logic,
    look_up,
    maths,
    pick,
    push,
    sort_rows,
)
from terrazzo.engine.memory import carray, pointer, turn_over, unowned, view
from terrazzo.geo.jit import jit
from terrazzo.processes import functions, series

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Codes = NDArray[np.int32]
    Floats = NDArray[np.float64]
    Counts = NDArray[np.uint16]
    Bytes = NDArray[np.uint8]
    Numbers = NDArray[Any]
    Registers = tuple[Numbers, Bytes, Floats, Counts, Numbers, Ints, Ints, Ints]
    Goal = tuple[int, int, int, int]
    Results = tuple[Numbers, Bytes, Bytes]


@jit
def _carry(carried: Ints, registers: Registers, begin: int, n: int, saving: bool) -> None:
    """Keep registers in memory between two parts of a program, or take them back."""
    numbers, truths, sums, counts, stack, _, number_at, truth_at = registers
    for k in range(carried.shape[0]):
        bank, row, stop = carried[k, 0], carried[k, 1], begin + n
        memory = pointer(carried[k, 2])
        if bank == op.TRUTHS:
            truth = truths[row]
            if saving:
                truth = view(truth_at[row], n, truths)
            turn_over(truth, carray(memory, stop, np.uint8)[begin:stop], n, saving)
            truth_at[row] = truths[row].ctypes.data if not saving else truth_at[row]
        elif bank == op.SUMS:
            turn_over(sums[row], carray(memory, stop, np.float64)[begin:stop], n, saving)
        elif bank == op.COUNTS:
            turn_over(counts[row], carray(memory, stop, np.uint16)[begin:stop], n, saving)
        elif bank == op.STACK:
            turn_over(stack[row], carray(memory, stop, numbers.dtype)[begin:stop], n, saving)
        else:
            number = numbers[row]
            if saving:
                number = view(number_at[row], n, numbers)
            turn_over(number, carray(memory, stop, numbers.dtype)[begin:stop], n, saving)
            number_at[row] = numbers[row].ctypes.data if not saving else number_at[row]


@jit
def _reduce(operation: Codes, registers: Registers, steps: Ints, shares: Floats, n: int) -> None:
    """Carry out an operation of a reduction; `sums` has two rows for each of `counts`."""
    code, out, group, a, b, more, _, _ = operation
    numbers, truths, sums, counts, stack, _, number_at, truth_at = registers
    own, count, nans = sums[2 * group : 2 * group + 2], counts[2 * group], counts[2 * group + 1]
    if code == op.START:
        own[0, :n] = 1.0 if more == op.PRODUCT else 0.0
        own[1, :n] = 0.0
        count[:n] = 0
        nans[:n] = 0
    elif code == op.FOLD:
        if not out:
            add_one(count, view(truth_at[b], n, truths), n)
        fold(more, own, count, view(number_at[a], n, numbers), view(truth_at[b], n, truths), n)
    elif code == op.FINISH:
        finish(more, own, count, view(number_at[out], n, numbers), n)
    elif code == op.COUNT:
        found = view(number_at[out], n, numbers)
        for j in range(n):
            found[j] = count[j]
    elif code == op.PUSH:
        x, valid = view(number_at[a], n, numbers), view(truth_at[b], n, truths)
        push(x, valid, stack[more], count, nans, n)
    elif code == op.SORT:
        sort_rows(stack[more:], steps[a:b], n)
    elif code == op.PICK:
        pick(stack[more:], shares[a], count, nans, view(number_at[out], n, numbers), n)


@jit
def _arrange(operation: Codes, registers: Registers, steps: Ints, shares: Floats, n: int) -> None:
    """Carry out an operation on entries that are kept: `length` rows, and as many of marks."""
    code, out, length, a, b, more, _, _ = operation
    numbers, truths, _, _, stack, _, number_at, truth_at = registers
    base = more >> 2 if code in (op.PUSH_RANKED, op.SORT_RANKED) else more
    top, half = stack.dtype.type(np.inf), base + length
    if code in (op.PUSH_RANKED, op.PUSH_GAP):
        x, valid = view(number_at[a], n, numbers), view(truth_at[b], n, truths)
        key, place = stack[base + out], stack[half + out]
        if code == op.PUSH_RANKED:
            ends = (top, -top) if more & 1 else (-top, top)
            series.put(out, length, x, valid, ends, more & 2 != 0, key, place, n)
        else:
            series.open_gap(x, valid, key, place, n)
    elif code == op.SORT_RANKED:
        keys, places = stack[base:half], stack[half : half + length]
        series.sort(keys, places, steps[a:b], more & 1 != 0, n)
    elif code == op.FILL:
        rows, gaps = stack[base:half], stack[half : half + length]
        series.fill(rows, gaps, shares[a : a + length], n)
    elif code in (op.PICK_THERE, op.PICK_KNOWN):
        truth, place = view(truth_at[out], n, truths), stack[half + a]
        if code == op.PICK_THERE:
            series.there_of(place, length, truth, n)
        else:
            series.known_of(place, truth, n)
    else:
        number, row, place = view(number_at[out], n, numbers), stack[base + a], stack[half + a]
        if code == op.PICK_RANKED:
            series.value_of(row, place, length, stack.dtype.type(np.nan), number, n)
        elif code == op.PICK_POSITION:
            series.position_of(place, length, number, n)
        else:
            turn_over(row, number, n, True)


@jit
def _load(
    operation: Codes,
    registers: Registers,
    tables: tuple[Ints, Floats],
    located: int,
    place: tuple[int, int, int, int, int],
) -> int:
    """Load a plane; return which lookup the places of pixels are of."""
    code, out, a, b, _, _, _, _ = operation
    numbers, truths, _, _, _, at, number_at, truth_at = registers
    load, facts = tables[0][a], tables[1][a]
    y, x, width, rows, wide = place
    n = rows * wide
    truth = view(truth_at[b], n, truths)
    if code == op.LOAD:
        number = view(number_at[out], n, numbers)
        if load_in_place(load, facts, y, x, number, truth, rows, wide):
            return located
    if load[op.LOOKUP] and load[op.LOOKUP] != located:
        locate(load, y, x, width, at, rows, wide)
        located = load[op.LOOKUP]
    if code == op.LOAD:
        load_numbers(load, facts[0], y, x, at, number, truth, rows, wide)
        scale(load[op.SCALED], facts, number, n)
    else:
        load_numbers(load, facts[0], y, x, at, view(truth_at[out], n, truths), truth, rows, wide)
    return located


@jit
def _put(address: int, goal: Any, n: int) -> None:
    """Copy numbers to where they belong, unless they are there already."""
    if goal.ctypes.data != address:
        turn_over(view(address, n, goal), goal, n, True)


@jit
def _store(
    operation: Codes, registers: Registers, results: Results, y: int, x: int, rows: int, n: int
) -> None:
    """Write some rows of a result, and where it is valid; nothing that is there already."""
    _, out, a, b, is_truth, masked, _, _ = operation
    numbers, _, _, _, _, _, number_at, truth_at = registers
    values, bytes_of, valid = results
    for r in range(rows):
        there, begin = slice(x, x + n), r * n
        if is_truth:
            _put(truth_at[a] + begin, bytes_of[out, y + r, there], n)
        else:
            _put(number_at[a] + begin * numbers.itemsize, values[out, y + r, there], n)
        if masked:
            _put(truth_at[b] + begin, valid[out, y + r, there], n)


@jit
def _shape(result: Any) -> Goal:
    """Return what `_place` must know of a result."""
    return result.ctypes.data, result.shape[1], result.shape[2], result.itemsize


@jit
def _place(plane: int, y: int, x: int, of: Goal) -> int:
    """Return where a pixel of a result is: of an address, rows, columns and bytes of a number."""
    address, height, width, size = of
    return address + ((plane * height + y) * width + x) * size


@jit
def _choice(operation: Codes, registers: Registers, tables: Bytes, n: int) -> None:
    """Carry out what turns truths into numbers or numbers into truths."""
    code, out, a, b, c, _, _, _ = operation
    numbers, truths, _, _, _, _, number_at, truth_at = registers
    if code == op.WHERE:
        yes, no = view(number_at[b], n, numbers), view(number_at[c], n, numbers)
        choose(view(truth_at[a], n, truths), yes, no, view(number_at[out], n, numbers), n)
    elif code == op.CLAMP:
        low, high = view(number_at[b], n, numbers), view(number_at[c], n, numbers)
        clamp(view(number_at[a], n, numbers), low, high, view(number_at[out], n, numbers), n)
    elif code == op.WHERE_TRUTH:
        one, other = view(truth_at[b], n, truths), view(truth_at[c], n, truths)
        choose(view(truth_at[a], n, truths), one, other, view(truth_at[out], n, truths), n)
    elif code == op.NUMBER:
        turn_over(view(truth_at[a], n, truths), view(number_at[out], n, numbers), n, True)
    elif code == op.LOOK_UP:
        byte, valid = view(truth_at[a], n, truths), view(truth_at[b], n, truths)
        look_up(tables[c], byte, valid, view(truth_at[out], n, truths), n)
    else:
        one, other = view(number_at[a], n, numbers), view(number_at[b], n, numbers)
        compare(code, one, other, view(truth_at[out], n, truths), n)


@jit
def _ready(banks: Registers, constants: Floats) -> Registers:
    """Return registers without owners: counting users takes longer than the operations."""
    numbers, truths, number_at = unowned(banks[0]), unowned(banks[1]), unowned(banks[6])
    for k in range(constants.size):
        numbers[k, :] = constants[k]
    for k in range(number_at.size):
        number_at[k] = numbers.ctypes.data + k * numbers.shape[1] * numbers.itemsize
    sums, counts, stack = unowned(banks[2]), unowned(banks[3]), unowned(banks[4])
    at, truth_at = unowned(banks[5]), unowned(banks[7])
    return numbers, truths, sums, counts, stack, at, number_at, truth_at


@jit
def _take(operation: Codes, registers: Registers, load: Ints, y: int, x: int) -> None:
    """Make a register of stored numbers, where they lie; a mask that there is not, of ones."""
    _, out, _, b, _, _, _, kind = operation
    numbers, truths, _, _, _, _, number_at, truth_at = registers
    begin = y * load[op.STRIDE] + x
    truth_at[b] = truths[truths.shape[0] - 1].ctypes.data
    if load[op.VALID]:
        truth_at[b] = load[op.VALID] + begin
    if kind == op.NUMBERS:
        number_at[out] = load[op.ADDRESS] + begin * numbers.itemsize
    else:
        truth_at[out] = load[op.ADDRESS] + begin


@jit
def _is_there(
    operation: Codes, registers: Registers, y: int, x: int, goals: tuple[Goal, Goal, Goal]
) -> bool:
    """Tell whether a result and its mask were computed where they belong."""
    _, out, a, b, is_truth, masked, _, _ = operation
    value_at = registers[7][a] if is_truth else registers[6][a]
    there = value_at == _place(out, y, x, goals[1] if is_truth else goals[0])
    return there and (not masked or registers[7][b] == _place(out, y, x, goals[2]))


@jit
def _compute(
    operation: Codes, registers: Registers, known: tuple[Floats, Floats, Ints, Bytes], n: int
) -> None:
    """Carry out an operation on registers."""
    code, out, a, b, which, _, _, _ = operation
    numbers, truths, _, _, _, _, number_at, truth_at = registers
    if code <= op.MAXIMUM or code == op.FUNCTION:
        one, other = view(number_at[a], n, numbers), view(number_at[b], n, numbers)
        found = view(number_at[out], n, numbers)
        if code == op.FUNCTION:
            functions.apply(which, one, other, found, n)
        else:
            maths(code, one, other, found, n)
    elif code in (op.AND, op.OR, op.XOR, op.NOT):
        truth, second = view(truth_at[a], n, truths), view(truth_at[b], n, truths)
        logic(code, truth, second, view(truth_at[out], n, truths), n)
    elif code > op.FUNCTION:
        _arrange(operation, registers, known[2], known[1], n)
    elif code >= op.START:
        _reduce(operation, registers, known[2], known[1], n)
    else:
        _choice(operation, registers, known[3], n)


@jit
def _steps(spots: Ints, piece: int) -> Ints:
    """Return first row and column, rows and columns of what fits into registers, row by row."""
    count = 0
    for k in range(spots.shape[0]):
        height, width = spots[k, 2], spots[k, 3]
        lines = max(piece // max(width, 1), 1)
        count += -(-height // lines) * -(-width // piece)
    steps, at = np.empty((count, 4), np.int64), 0
    for k in range(spots.shape[0]):
        top, left, height, width = spots[k]
        lines = max(piece // max(width, 1), 1)
        for y in range(0, height, lines):
            for x in range(0, width, piece):
                steps[at, 0], steps[at, 1] = top + y, left + x
                steps[at, 2], steps[at, 3] = min(lines, height - y), min(piece, width - x)
                at += 1
    return steps


@jit
def run(
    program: Codes,
    known: tuple[Floats, Floats, Ints, Bytes],
    loads: Ints,
    facts: Floats,
    carried: tuple[Ints, Ints],
    results: Results,
    window: tuple[int, int, int, int],
    spots: Ints,
    banks: Registers,
) -> None:
    """Run a program, or a part of one, over places of a window.

    Args:
        program: (operations, 8) code, output register, up to four operands, which plane of a result
            or of its mask the output is (see the compiler), 0 for none, and the output's bank.
        known: (k,) numbers of the first registers, which never change; probabilities of quantiles;
            (n, 2) compare-exchange steps of all sorts; (tables, 512) truths by byte, then by
            byte where it is valid.
        loads: (planes, LOAD_FACTS) where the stored numbers are.
        facts: (planes, 3) no-data number, scale, offset.
        carried: (n, 3) bank, register and address of the plane that it is taken from before the
            part, and those that it is kept in after it.
        results: (planes, y, x) numbers in the registers' type, or truths; and what is valid.
        window: first row and column in the results, height, width.
        spots: (n, 4) first row and column in the window, height, width of the places that are
            computed; none overlaps another.
        banks: registers: (n, piece) numbers and truths, (2 g, piece) sums and counts of g
            reductions, (labels, piece) what is sorted; (piece,) places of stored numbers; (n,)
            where a number and a truth is now: in its register, among what comes in or goes out.
    """
    constants, shares = unowned(known[0]), unowned(known[1])
    told = (constants, shares, unowned(known[2]), unowned(known[3]))
    codes, planes = unowned(program), (unowned(loads), unowned(facts))
    before, after = unowned(carried[0]), unowned(carried[1])
    out_of = (unowned(results[0]), unowned(results[1]), unowned(results[2]))
    registers = _ready(banks, constants)
    numbers, truths, number_at, truth_at = registers[0], registers[1], registers[6], registers[7]
    row, column, _, width = window
    piece, first_number, first_truth = numbers.shape[1], numbers.ctypes.data, truths.ctypes.data
    number_step = piece * numbers.itemsize
    goals = (_shape(out_of[0]), _shape(out_of[1]), _shape(out_of[2]))
    value_of = goals[1] if out_of[1].size > out_of[0].size else goals[0]
    steps, done = _steps(spots, piece), 0
    for step in range(steps.shape[0]):
        y, x, rows, wide = steps[step]
        n, located = rows * wide, -1
        # Several rows are where they belong only if nothing lies between them.
        apart = rows > 1 and wide != width
        together = rows == 1 or (not apart and value_of[2] == width)
        _carry(before, registers, done, n, False)
        for k in range(codes.shape[0]):
            operation = codes[k]
            code, out, a, b = operation[0], operation[1], operation[2], operation[3]
            goal = 0
            if operation[6] and together:
                of = value_of if operation[6] & 1 else goals[2]
                goal = _place((operation[6] - 1) >> 1, row + y, column + x, of)
            if operation[7] == op.NUMBERS:
                number_at[out] = goal or first_number + out * number_step
            elif operation[7] == op.TRUTHS:
                truth_at[out] = goal or first_truth + out * piece
            if code in (op.LOAD, op.LOAD_BYTES):
                truth_at[b] = first_truth + b * piece
                if planes[0][a, op.IN_PLACE] and not apart:
                    _take(operation, registers, planes[0][a], y, x)
                else:
                    place = (y, x, width, rows, wide)
                    located = _load(operation, registers, planes, located, place)
            elif code == op.STORE:
                there = _is_there(operation, registers, row + y, column + x, goals)
                if not (there and together):
                    _store(operation, registers, out_of, row + y, column + x, rows, wide)
            else:
                _compute(operation, registers, told, n)
        _carry(after, registers, done, n, True)
        done += n
