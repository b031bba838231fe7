"""Arrays of pixels that stay arrays: running sums, order, and gaps filled.

As in `stacks`, a stack is read where it lies, entry by entry, a few hundred pixels at a time, and
one pixel's result is one sequence of operations, whatever lies around it.

`terrazzo.engine.machine` calls `sort` and `fill` too, and its cache on disk watches its own file
only: touch that one where something here changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.pixels import is_all_valid
from terrazzo.cube.traced import Traced
from terrazzo.geo.jit import frozen, jit
from terrazzo.processes.stacks import BLOCK, KINDS, between, end_of, exchanges, rows_of, taken_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.cube import Mask, Values

RUNNING = ("sum", "product", "min", "max")
"""What entries can be combined to, one after the other."""
_SUM, _PRODUCT, _MIN, _MAX = (KINDS.index(kind) for kind in RUNNING)


def run_along(
    kind: str, values: Values | Traced, valid: Mask, dtype: np.dtype[Any]
) -> Values | Traced:
    """Combine every pixel's valid entries from the first to each.

    Args:
        kind: of `RUNNING`. Sums and products are made in float64; extremes are NaN from the
            first NaN on.
        values: (label, ...) numbers.
        valid: like `values`.
        dtype: of the result; for extremes that of `values`.

    Returns:
        (label, ...); where there is no valid entry so far, arbitrary.
    """
    if isinstance(values, Traced):
        return values.running(kind, valid, dtype)
    out = np.zeros(values.shape, dtype)
    if not out.size:
        return out
    ordered = kind in {"min", "max"}
    masked = not is_all_valid(valid)
    numbers, mask, run = rows_of(taken_as(values, ordered=ordered), valid if masked else None)
    state = numbers[0].dtype if ordered else np.dtype(np.float64)
    start = end_of(state, largest=kind == "min") if ordered else state.type(kind == "product")
    found = out if dtype.kind == "f" or ordered else out.astype(np.float64)
    if ordered:
        found = np.empty(values.shape, state)
    accumulate(
        KINDS.index(kind), *numbers, *mask, masked, start, found.reshape(len(values), -1, run)
    )
    return found.astype(dtype, copy=False)


def arranged(
    values: Values | Traced, valid: Mask, dtype: np.dtype[Any], *, ascending: bool, first: bool
) -> tuple[Any, Any, Any]:
    """Sort every pixel's entries: numbers, NaN behind them, no-data at one end.

    Args:
        values: (label, ...) numbers.
        valid: like `values`.
        dtype: of positions, an unsigned integer.
        ascending: whether the smallest number comes first; equal ones keep their order.
        first: whether no-data comes first, rather than last.

    Returns:
        (label, ...) the numbers in the dtype of `values`, 0 for no-data; the positions that
        they had; and where they are valid.

    Source:
        Batcher's merge exchange, with positions to make it stable.
    """
    if isinstance(values, Traced):
        return values.arranged(valid, dtype, ascending=ascending, first=first)
    shape, length = values.shape, len(values)
    places, there = np.zeros(shape, dtype), np.zeros(shape, np.bool_)
    if not places.size:
        return np.zeros(shape, values.dtype), places, there
    masked = not is_all_valid(valid)
    # Wide integers keep their type: float64 does not hold them all.
    wide = values.dtype.kind in "iu" and values.dtype.itemsize == 8  # noqa: PLR2004 - bytes
    numbers, mask, run = rows_of(taken_as(values, ordered=wide), valid if masked else None)
    kind = numbers[0].dtype
    found = np.empty(shape, kind)
    ends = [end_of(kind, largest=largest) for largest in (ascending, not ascending)]
    nan = kind.type(np.nan if kind.kind == "f" else 0)
    pixels = (length, -1, run)
    arrange(
        *numbers,
        *mask,
        masked,
        exchanges(length),
        (ascending, first),
        (ends[0], ends[1], nan),
        (found.reshape(pixels), places.reshape(pixels), there.reshape(pixels)),
    )
    return found.astype(values.dtype, copy=False), places, there


def taken(values: Values | Traced, positions: Any) -> Any:
    """Return entries of every pixel, values[positions], positions that differ from pixel to pixel.

    Args:
        values: (label, ...), at least one label.
        positions: (place, ...) below the number of labels.

    Returns:
        (place, ...) in the dtype of `values`.
    """
    if isinstance(values, Traced):
        return values.taken(positions)
    return np.take_along_axis(values, positions.astype(np.intp), 0)


def interpolated(
    values: Values | Traced, valid: Mask, positions: Sequence[float]
) -> tuple[Any, Any]:
    """Fill the gaps inside every pixel's series on the line between their ends.

    Args:
        values: (label, ...) floats; NaN and what is not valid are gaps.
        valid: like `values`.
        positions: one per label, ascending: places on the line.

    Returns:
        (label, ...) in the dtype of `values`, and where they are valid. Gaps at both ends stay
        what they are; what is not valid is 0.
    """
    if isinstance(values, Traced):
        return values.interpolated(valid, tuple(positions))
    out, there = np.zeros(values.shape, values.dtype), np.zeros(values.shape, np.bool_)
    if not out.size:
        return out, there
    masked = not is_all_valid(valid)
    numbers, mask, run = rows_of(values, valid if masked else None)
    pixels = (len(values), -1, run)
    line = frozen(np.array(positions, np.float64))
    interpolate(*numbers, *mask, masked, line, out.reshape(pixels), there.reshape(pixels))
    return out, there


@jit
def _combine(kind: int, known: Any, x: Any) -> None:
    """Add one entry of a row of pixels to what those before have come to."""
    if kind == _SUM:
        for j in range(x.size):
            known[j] += x[j]
    elif kind == _PRODUCT:
        for j in range(x.size):
            known[j] *= x[j]
    elif kind == _MIN:
        for j in range(x.size):
            known[j] = x[j] if (x[j] < known[j]) | (x[j] != x[j]) else known[j]
    else:
        for j in range(x.size):
            known[j] = x[j] if (x[j] > known[j]) | (x[j] != x[j]) else known[j]


@jit
def _combine_valid(kind: int, known: Any, x: Any, valid: Any) -> None:
    """Add one entry as `_combine` does, where it is valid; nothing branches."""
    if kind == _SUM:
        for j in range(x.size):
            before, there = known[j], valid[j]
            after = before + x[j]
            known[j] = after if there else before
    elif kind == _PRODUCT:
        for j in range(x.size):
            before, there = known[j], valid[j]
            after = before * x[j]
            known[j] = after if there else before
    elif kind == _MIN:
        for j in range(x.size):
            before, value, there = known[j], x[j], valid[j]
            beyond = (value < before) | (value != value)  # noqa: PLR0124 - NaN
            known[j] = value if there & beyond else before
    else:
        for j in range(x.size):
            before, value, there = known[j], x[j], valid[j]
            beyond = (value > before) | (value != value)  # noqa: PLR0124 - NaN
            known[j] = value if there & beyond else before


@jit
def accumulate(
    kind: int,
    values: Any,
    places: Any,
    valid: Any,
    valid_places: Any,
    masked: bool,
    start_value: Any,
    out: Any,
) -> None:
    """Write what the valid entries of every pixel have come to, at each of them.

    Args:
        kind: position in `terrazzo.processes.stacks.KINDS`.
        values: vector of numbers.
        places: (row, label) where in `values` the pixels of a row begin.
        valid: vector of truth values.
        valid_places: like `places`.
        masked: whether there is something in `valid`.
        start_value: what there is before the first entry, in the type of the state.
        out: (label, row, pixel), written.
    """
    known = np.full(BLOCK, start_value)
    for row in range(out.shape[1]):
        for start in range(0, out.shape[2], BLOCK):
            size = min(BLOCK, out.shape[2] - start)
            known[:] = start_value
            for t in range(out.shape[0]):
                at = places[row, t] + start
                x = values[at : at + size]
                if masked:
                    mask_at = valid_places[row, t] + start
                    _combine_valid(kind, known, x, valid[mask_at : mask_at + size])
                else:
                    _combine(kind, known, x)
                found = out[t, row, start : start + size]
                for j in range(size):
                    found[j] = known[j]


@jit
def put(
    number: int,
    length: int,
    x: Any,
    valid: Any,
    ends: Any,
    first: bool,
    key: Any,
    place: Any,
    n: int,
) -> None:
    """Put one entry of a row of pixels among those to be sorted.

    Its place is its number in one of four blocks of `length`: no-data that comes first, numbers,
    NaN, no-data that comes last. Where keys are equal, places decide.

    Args:
        number: of the entry.
        length: how many entries there are.
        x: its numbers.
        valid: where they are valid.
        ends: keys of what comes last and first.
        first: whether no-data comes first.
        key: what it is sorted by, written.
        place: written.
        n: how many pixels.
    """
    last, foremost = ends[0], ends[1]
    missing = number if first else number + 3 * length
    instead = foremost if first else last
    for j in range(n):
        value, there = x[j], valid[j] != 0
        bad = value != value  # noqa: PLR0124 - NaN
        kept = last if bad else value
        key[j] = kept if there else instead
        known = number + 2 * length if bad else number + length
        place[j] = known if there else missing


@jit
def sort(keys: Any, places: Any, steps: Any, ascending: bool, n: int) -> None:
    """Sort `n` pixels' entries by compare-exchange of rows, places among equal keys."""
    for step in range(steps.shape[0]):
        low, high = keys[steps[step, 0], :n], keys[steps[step, 1], :n]
        here, there = places[steps[step, 0], :n], places[steps[step, 1], :n]
        for j in range(n):
            a, b, p, q = low[j], high[j], here[j], there[j]
            beyond = b < a if ascending else b > a
            swap = beyond | ((a == b) & (q < p))
            low[j] = b if swap else a
            high[j] = a if swap else b
            here[j] = q if swap else p
            there[j] = p if swap else q


@jit
def value_of(keys: Any, places: Any, length: int, nan: Any, out: Any, n: int) -> None:
    """Write an entry of `n` pixels that were sorted; 0 where it is no-data."""
    zero = out.dtype.type(0)
    for j in range(n):
        place, value = places[j], keys[j]
        kept = nan if (place >= 2 * length) & (place < 3 * length) else value
        out[j] = kept if (place >= length) & (place < 3 * length) else zero


@jit
def position_of(places: Any, length: int, out: Any, n: int) -> None:
    """Write the position that a sorted entry of `n` pixels had."""
    for j in range(n):
        place = places[j]
        place = place - 2 * length if place >= 2 * length else place
        out[j] = place - length if place >= length else place


@jit
def there_of(places: Any, length: int, out: Any, n: int) -> None:
    """Write whether a sorted entry of `n` pixels is valid."""
    for j in range(n):
        out[j] = (places[j] >= length) & (places[j] < 3 * length)


@jit
def arrange(
    values: Any,
    places: Any,
    valid: Any,
    valid_places: Any,
    masked: bool,
    steps: Any,
    order: tuple[bool, bool],
    ends: Any,
    out: Any,
) -> None:
    """Sort the entries of every pixel; other arguments as `accumulate`.

    Args:
        values: vector of numbers.
        places: (row, label), at least one label.
        valid: vector of truth values.
        valid_places: like `places`.
        masked: whether there is something in `valid`.
        steps: what `exchanges` returns for the number of labels.
        order: whether the smallest comes first, and whether no-data does.
        ends: keys of what comes last and first, and NaN, in the dtype of `values`.
        out: (label, row, pixel) numbers, positions and what is valid, written.
    """
    length = places.shape[1]
    keys, ranks = np.empty((length, BLOCK), values.dtype), np.empty((length, BLOCK), np.int32)
    whole = np.ones(BLOCK, np.bool_)
    found, positions, there = out
    for row in range(found.shape[1]):
        for start in range(0, found.shape[2], BLOCK):
            size = min(BLOCK, found.shape[2] - start)
            for t in range(length):
                at = places[row, t] + start
                x, mask = values[at : at + size], whole[:size]
                if masked:
                    mask_at = valid_places[row, t] + start
                    mask = valid[mask_at : mask_at + size]
                put(t, length, x, mask, ends, order[1], keys[t], ranks[t], size)
            sort(keys, ranks, steps, order[0], size)
            stop = start + size
            for t in range(length):
                value_of(keys[t], ranks[t], length, ends[2], found[t, row, start:stop], size)
                position_of(ranks[t], length, positions[t, row, start:stop], size)
                there_of(ranks[t], length, there[t, row, start:stop], size)


@jit
def open_gap(x: Any, valid: Any, row: Any, gap: Any, n: int) -> None:
    """Put one entry of `n` pixels among those to be filled: 1 for no-data, 2 for NaN, else 0."""
    zero = row.dtype.type(0)
    for j in range(n):
        value, there = x[j], valid[j] != 0
        bad = 2 if value != value else 0  # noqa: PLR0124 - NaN
        row[j] = value if there else zero
        gap[j] = bad if there else 1


@jit
def _unless(gap: Any, x: Any, before: Any, out: Any) -> None:
    """Write numbers, or where they are gaps what was known before."""
    for j in range(gap.size):
        out[j] = before[j] if gap[j] != 0 else np.float64(x[j])


@jit
def _on_line(gap: Any, a: Any, b: Any, share: Any, row: Any) -> None:
    """Write the numbers between two others into gaps, and mark these as none."""
    for j in range(row.size):
        filled = (gap[j] != 0) & (share[j] == share[j])
        row[j] = between(a[j], b[j], share[j]) if filled else row[j]
        gap[j] = 0 if filled else gap[j]


@jit
def fill(rows: Any, gaps: Any, positions: Any, n: int) -> None:
    """Fill the gaps inside the series of `n` pixels, in place, and mark them as none.

    Every loop is over few arrays: of many, the compiler would not prove that they lie apart.
    """
    length = rows.shape[0]
    after, after_place = np.empty((length + 1, BLOCK)), np.empty((length + 1, BLOCK))
    before, before_place, here = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    after[length], after_place[length] = 0.0, np.nan
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        size = stop - start
        for t in range(length - 1, -1, -1):
            gap = gaps[t, start:stop]
            here[:] = positions[t]
            _unless(gap, rows[t, start:stop], after[t + 1], after[t])
            _unless(gap, here, after_place[t + 1], after_place[t])
        before[:] = 0.0
        before_place[:] = np.nan
        for t in range(length):
            gap = gaps[t, start:stop]
            here[:] = positions[t]
            _unless(gap, rows[t, start:stop], before, before)
            _unless(gap, here, before_place, before_place)
            end = after_place[t]
            for j in range(size):
                here[j] = np.divide(here[j] - before_place[j], end[j] - before_place[j])
            _on_line(gap, before, after[t], here, rows[t, start:stop])


@jit
def known_of(gap: Any, out: Any, n: int) -> None:
    """Write whether an entry of `n` pixels is valid, after gaps were filled."""
    for j in range(n):
        out[j] = gap[j] != 1


@jit
def interpolate(
    values: Any,
    places: Any,
    valid: Any,
    valid_places: Any,
    masked: bool,
    positions: Any,
    out: Any,
    there: Any,
) -> None:
    """Fill the gaps of every pixel; other arguments as `accumulate`.

    Args:
        values: vector of floats.
        places: (row, label) where in `values` the pixels of a row begin.
        valid: vector of truth values.
        valid_places: like `places`.
        masked: whether there is something in `valid`.
        positions: (label,) ascending places on the line.
        out: (label, row, pixel), written.
        there: like `out`; what is valid, written.
    """
    length = places.shape[1]
    rows, gaps = np.empty((length, BLOCK), values.dtype), np.empty((length, BLOCK), values.dtype)
    whole = np.ones(BLOCK, np.bool_)
    for row in range(out.shape[1]):
        for start in range(0, out.shape[2], BLOCK):
            size = min(BLOCK, out.shape[2] - start)
            for t in range(length):
                at = places[row, t] + start
                x, mask = values[at : at + size], whole[:size]
                if masked:
                    mask_at = valid_places[row, t] + start
                    mask = valid[mask_at : mask_at + size]
                open_gap(x, mask, rows[t], gaps[t], size)
            fill(rows, gaps, positions, size)
            stop = start + size
            for t in range(length):
                out[t, row, start:stop] = rows[t, :size]
                known_of(gaps[t], there[t, row, start:stop], size)
