"""A pixel's result does not depend on the array it is computed in, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes.scalar_cases import CALLS, SCALAR, WITHOUT_PIXELS, Inputs, frozen

from terrazzo.cube import Pixels, Stack, all_valid

HEIGHT, WIDTH = 64, 65
DTYPES = ("uint8", "uint16", "int16", "int32", "float32", "float64")
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)


def random_stack(length: int, dtype: str, seed: int, masked: str) -> tuple[Any, Any]:
    """Return (length, HEIGHT, WIDTH) values with ties, specials and no-data."""
    rng = np.random.default_rng(seed)
    shape = (length, HEIGHT, WIDTH)
    if dtype.startswith("float"):
        values = rng.normal(0, 3, shape).astype(dtype)
        for special in SPECIAL:
            values[rng.random(shape) < 0.02] = special
        ties = rng.random(shape) < 0.2
        values[ties] = np.round(values[ties])
    else:
        values = rng.integers(0, 9, shape).astype(dtype)
        wide = rng.random(shape) < 0.3
        info = np.iinfo(dtype)
        values[wide] = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)[wide]
    if masked == "nowhere":
        return values, all_valid(shape)
    if masked == "whole entries":
        return values, np.broadcast_to(rng.random((length, 1, 1)) > 0.3, shape)
    return values, rng.random(shape) > 0.3


def bits(values: Any) -> Any:
    """Return the bits of values; all NaN are one."""
    values = np.asarray(values)
    if values.dtype.kind != "f":
        return values
    canonical = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return canonical.view(f"u{values.itemsize}")


def parts(result: Any, pixels: int) -> tuple[Any, Any]:
    """Return result as (entry, pixel) bits, 0 where not valid, and validity."""
    assert isinstance(result, (Pixels, Stack))
    assert result.values.shape == result.valid.shape
    assert result.valid.dtype == np.bool_
    flat = np.asarray(result.values).reshape(-1, pixels)
    valid = np.asarray(result.valid).reshape(-1, pixels)
    found = bits(flat)
    return np.where(valid, found, np.zeros((), found.dtype)), valid


def test_every_scalar_process_has_a_case() -> None:
    assert set(SCALAR) - WITHOUT_PIXELS == set(CALLS)


@pytest.mark.parametrize("name", sorted(CALLS))
@settings(max_examples=12)
@given(
    length=st.integers(1, 12),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
    masked=st.sampled_from(["nowhere", "whole entries", "pixels"]),
    start=st.integers(0, HEIGHT * WIDTH - 7),
)
def test_result_does_not_depend_on_window(
    name: str, length: int, dtype: str, seed: int, masked: str, start: int
) -> None:
    values, valid = random_stack(length, dtype, seed, masked)
    pixels = HEIGHT * WIDTH
    row, rows = values.reshape(length, pixels), np.asarray(valid).reshape(length, pixels)
    windows = {
        "one": (row[:, start : start + 1], rows[:, start : start + 1], slice(start, start + 1)),
        "seven": (row[:, start : start + 7], rows[:, start : start + 7], slice(start, start + 7)),
        "strided": (row[:, 1::3], rows[:, 1::3], slice(1, None, 3)),
        "transposed": (
            np.ascontiguousarray(row.T).T,
            np.ascontiguousarray(rows.T).T,
            slice(None),
        ),
    }
    for call in CALLS[name]:
        whole = call(Inputs(frozen(values, valid)))
        expected, expected_valid = parts(whole, pixels)
        for kind, (part, part_valid, where) in windows.items():
            result = call(Inputs(frozen(part, part_valid)))

            found, found_valid = parts(result, part.shape[1])

            assert result.values.dtype == whole.values.dtype, kind
            np.testing.assert_array_equal(found_valid, expected_valid[:, where], kind)
            np.testing.assert_array_equal(found, expected[:, where], kind)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(CALLS))
def test_no_pixels_have_the_same_form(name: str, dtype: str) -> None:
    values, valid = random_stack(4, dtype, 7, "pixels")
    for call in CALLS[name]:
        whole = call(Inputs(frozen(values, valid)))

        empty = call(Inputs(frozen(values[:, :0, :0], valid[:, :0, :0])))

        assert type(empty) is type(whole)
        assert empty.values.dtype == whole.values.dtype
        assert empty.values.shape == (*whole.values.shape[:-2], 0, 0)
        assert empty.valid.shape == empty.values.shape
        if isinstance(whole, Stack):
            assert empty.labels == whole.labels
            assert empty.exact == whole.exact
