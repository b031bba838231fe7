"""Elementary functions are accurate, and the same bits wherever a number stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo.processes import functions, kernels

NUMPY = {
    **{name: getattr(np, name) for name in ("exp", "log2", "log10", "sin", "cos", "tan", "power")},
    **{name: getattr(np, name) for name in ("arcsin", "arccos", "arctan", "arctan2", "remainder")},
    **{name: getattr(np, name) for name in ("sinh", "cosh", "tanh")},
    "ln": np.log,
    "arsinh": np.arcsinh,
    "arcosh": np.arccosh,
    "artanh": np.arctanh,
}
OWN = ("exp", "ln", "log2", "log10", "sin", "cos", "tan", "power", "remainder")
"""Those that are computed here for float32."""
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -3.0, np.inf, -np.inf, np.nan, 1e-45, 1e-38]
SPECIAL += [3.4e38, -3.4e38, 1e10, 2.0**18, 2.0**18 + 1, 88.7, -103.9, 100.0, 1000.0, np.pi]


def operands(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of float32: of any bits, of usual sizes, and all pairs of special ones."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, (2, 40_000), dtype=np.uint64).astype(np.uint32).view(np.float32)
    usual = rng.uniform(-30, 30, (2, 40_000)).astype(np.float32)
    whole = rng.integers(-9, 10, (2, 10_000)).astype(np.float32)
    grid = np.stack([m.reshape(-1) for m in np.meshgrid(*[np.float32(SPECIAL)] * 2)])
    x, y = np.concatenate([bits, usual, whole, grid], axis=1)
    return x, y


def called(name: str, x: Any, y: Any) -> Any:
    function = getattr(kernels, name)
    return function(x, y) if name in functions.OF_TWO else function(x)


def exactly(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute in float64, and round once."""
    with np.errstate(all="ignore"):
        wide = (x.astype(np.float64), y.astype(np.float64))
        found = NUMPY[name](*(wide if name in functions.OF_TWO else wide[:1]))
        return found.astype(np.float32)


def test_every_function_is_compared() -> None:
    assert set(NUMPY) == set(functions.NAMES)


@pytest.mark.parametrize("name", functions.NAMES)
def test_float32_is_within_a_unit_of_the_nearest_number(name: str) -> None:
    x, y = operands(1)

    found = called(name, x, y)

    expected = exactly(name, x, y)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(expected[known]))
    apart = np.abs(found[known].view(np.int32).astype(np.int64) - expected[known].view(np.int32))
    assert apart.max() <= (1 if name in OWN else 3)
    if name in OWN:
        assert (apart == 0).mean() > 0.998


@pytest.mark.parametrize("name", functions.NAMES)
def test_float64_is_as_exact_as_numpy(name: str) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-0.99, 0.99, 2000), rng.uniform(-3, 3, 2000)

    found = called(name, x, y)

    with np.errstate(all="ignore"):
        expected = NUMPY[name](*((x, y) if name in functions.OF_TWO else (x,)))
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", functions.NAMES)
@settings(max_examples=25)
@given(start=st.integers(0, 70), length=st.integers(0, 90), step=st.sampled_from((1, 2, -1)))
def test_bits_do_not_depend_on_where_a_number_stands(
    name: str, dtype: str, start: int, length: int, step: int
) -> None:
    x, y = (side[-300:].astype(dtype) for side in operands(3))
    part = slice(start, start + length)

    found = called(name, x[part][::step], y[part][::step])

    assert found.tobytes() == called(name, x, y)[part][::step].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_of_ten_and_squares_are_exact(dtype: str) -> None:
    exponents = np.arange(-20, 21).astype(dtype)
    whole = np.arange(-300, 300).astype(dtype)

    logarithms = kernels.log10((10.0 ** exponents.astype(np.float64)).astype(dtype))
    squares = kernels.power(whole, whole.dtype.type(2))

    np.testing.assert_array_equal(logarithms, exponents)
    np.testing.assert_array_equal(squares, whole * whole)
    np.testing.assert_array_equal(kernels.log2(whole.dtype.type(2) ** exponents), exponents)
