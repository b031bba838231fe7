"""Arrays of pixels that stay arrays: what is computed fast equals what is computed simply."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes.test_fast_paths import DTYPES, FLOATS, LAYOUTS, stack_of

from terrazzo.cube.pixels import compute_dtype
from terrazzo.processes.series import RUNNING, arranged, interpolated, run_along, taken

POSITION = np.dtype(np.uint16)
STEPS = {
    "sum": lambda known, x: known + x,
    "product": lambda known, x: known * x,
    "min": lambda known, x: x if x < known or math.isnan(x) else known,
    "max": lambda known, x: x if x > known or math.isnan(x) else known,
}


@pytest.mark.parametrize("kind", RUNNING)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES + FLOATS),
    length=st.integers(1, 9),
    layout=st.sampled_from((*LAYOUTS, "all valid")),
)
def test_entries_are_combined_in_their_order(
    kind: str, seed: int, dtype: str, length: int, layout: str
) -> None:
    data = stack_of(seed, dtype, length, (3, 2, 5), layout)
    own = data.values.dtype
    kept = own if kind in {"min", "max"} else compute_dtype(own)

    found = run_along(kind, data.values, data.valid, kept)

    assert found.dtype == kept
    for place in np.ndindex(3, 2, 5):
        at = (slice(None), *place)
        entries, valid = data.values[at], data.valid[at]
        numbers = [float(x) if kept.kind == "f" else x for x in entries[valid]]
        expected = np.array(list(accumulate(numbers, STEPS[kind])), np.float64)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(found[at][valid], expected.astype(kept))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("ascending", [False, True])
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(DTYPES + FLOATS),
    length=st.integers(1, 11),
    layout=st.sampled_from((*LAYOUTS, "all valid")),
)
def test_sorting_is_stable_with_nan_behind_numbers_and_no_data_at_an_end(
    ascending: bool, first: bool, seed: int, dtype: str, length: int, layout: str
) -> None:
    data = stack_of(seed, dtype, length, (2, 7), layout)

    values, positions, there = arranged(
        data.values, data.valid, POSITION, ascending=ascending, first=first
    )

    assert (values.dtype, positions.dtype) == (data.values.dtype, POSITION)
    for place in np.ndindex(2, 7):
        at = (slice(None), *place)
        entries, valid = data.values[at].tolist(), data.valid[at]
        expected = sorted(range(length), key=lambda k: key(entries[k], valid[k], ascending, first))
        assert positions[at].tolist() == expected
        np.testing.assert_array_equal(there[at], valid[expected])
        np.testing.assert_array_equal(values[at][there[at]], data.values[at][expected][there[at]])


def key(entry: Any, valid: bool, ascending: bool, first: bool) -> tuple[int, Any]:
    """Return what decides the place of an entry."""
    if not valid:
        return (0 if first else 3, 0)
    if isinstance(entry, float) and math.isnan(entry):
        return (2, 0)
    return (1, entry if ascending else -int(entry) if isinstance(entry, bool) else -entry)


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(("float32", "float64")),
    length=st.integers(1, 9),
    layout=st.sampled_from((*LAYOUTS, "all valid")),
)
def test_gaps_are_filled_on_the_line_between_their_ends(
    seed: int, dtype: str, length: int, layout: str
) -> None:
    data = stack_of(seed, dtype, length, (3, 5), layout)
    line = np.cumsum(np.random.default_rng(seed).integers(1, 9, length)).astype(np.float64)

    values, valid = interpolated(data.values, data.valid, tuple(line))

    for place in np.ndindex(3, 5):
        at = (slice(None), *place)
        known = data.valid[at] & ~np.isnan(data.values[at])
        ends = np.flatnonzero(known)
        inside = np.zeros(length, np.bool_)
        if ends.size:
            inside[ends[0] : ends[-1]] = True
        np.testing.assert_array_equal(valid[at], data.valid[at] | (inside & ~known))
        np.testing.assert_array_equal(values[at][known], data.values[at][known])
        finite = known & np.isfinite(data.values[at])
        filled = inside & ~known
        if filled.any() and (finite == known).all():
            expected = np.interp(line[filled], line[known], data.values[at][known])
            np.testing.assert_allclose(values[at][filled], expected, rtol=1e-6, atol=1e-6)


def test_positions_may_differ_from_pixel_to_pixel() -> None:
    values = np.arange(12).reshape(3, 4)
    positions = np.array([[2, 1, 0, 2]], np.uint16)

    found = taken(values, positions)

    np.testing.assert_array_equal(found, [[8, 5, 2, 11]])
