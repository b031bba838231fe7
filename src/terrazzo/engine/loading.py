"""How the machine loads stored numbers: found, judged and scaled.

`machine` calls these, and its cache on disk watches its own file only: touch that one where
something here changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.engine import operations as op
from terrazzo.engine.memory import carray, fetch, pointer
from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Bytes = NDArray[np.uint8]
    Numbers = NDArray[Any]


@jit
def locate(load: Ints, y: int, x: int, width: int, at: Ints, rows: int, n: int) -> None:
    """Find where the pixels of a piece are among the stored numbers, -1 = nowhere."""
    stride, across = load[op.STRIDE], load[op.ACROSS]
    if load[op.MODE] == op.SEPARABLE:
        columns = carray(pointer(load[op.COLUMNS]), width, np.int32)[x : x + n]
        for r in range(rows):
            row, here = carray(pointer(load[op.ROWS]), y + rows, np.int32)[y + r], at[r * n :]
            for j in range(n):
                here[j] = row * stride + columns[j] if row >= 0 and columns[j] >= 0 else -1
        return
    for r in range(rows):
        begin, here = (y + r) * width + x, at[r * n :]
        index = carray(pointer(load[op.INDEX]), begin + n, np.int32)[begin : begin + n]
        if stride == across:
            for j in range(n):
                here[j] = index[j]
        else:
            for j in range(n):
                place = index[j] // across * stride + index[j] % across
                here[j] = place if index[j] >= 0 else -1


@jit
def load_numbers(
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
def load_in_place(
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
def scale(kind: int, facts: Floats, numbers: Numbers, n: int) -> None:
    """Turn stored numbers into physical values, in the type in which they are computed."""
    if kind == op.IN_FLOAT32:
        scale, offset = np.float32(facts[1]), np.float32(facts[2])
        for j in range(n):
            numbers[j] = np.float32(numbers[j]) * scale + offset
    elif kind == op.IN_FLOAT64:
        for j in range(n):
            numbers[j] = numbers[j] * facts[1] + facts[2]
