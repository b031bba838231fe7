"""Comparison of cubes: equal to the bit where both are valid, and valid at the same places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from terrazzo.cube import Cube


def assert_same_pixels(actual: Cube, expected: Cube) -> None:
    """Fail unless both cubes have the same dimensions, validity, dtype and valid values.

    Raises:
        AssertionError: they differ; says in what and where first.
    """
    if actual.dimensions != expected.dimensions:
        raise AssertionError(f"dimensions differ: {actual.dimensions} / {expected.dimensions}")
    if actual.dtype != expected.dtype:
        raise AssertionError(f"dtypes differ: {actual.dtype} / {expected.dtype}")
    np.testing.assert_array_equal(actual.valid, expected.valid, err_msg="validity differs")
    np.testing.assert_array_equal(
        actual.values[actual.valid], expected.values[expected.valid], err_msg="values differ"
    )
