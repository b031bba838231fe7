"""Exact tallies: any order, any division into parts, against fractions and fsum."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from terrazzo.cube.tally import DEPTH, Tally, exact_squares, exact_sum

finite = st.floats(allow_nan=False, allow_infinity=False)
narrow = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays(np.float64, st.integers(0, 40), elements=finite))
def test_sums_of_doubles_are_exact(numbers):
    assert Fraction(exact_sum(numbers), 1 << DEPTH) == sum(map(Fraction, numbers.tolist()))


@given(arrays(np.float64, st.integers(0, 40), elements=finite))
def test_sums_of_squares_are_exact(numbers):
    squares = [Fraction(number) ** 2 for number in numbers.tolist()]

    assert Fraction(exact_squares(numbers), 1 << 2 * DEPTH) == sum(squares)


@given(arrays(np.float32, st.integers(0, 40), elements=narrow))
def test_sums_of_singles_are_exact(numbers):
    exact = list(map(Fraction, numbers.tolist()))
    assert Fraction(exact_sum(numbers), 1 << DEPTH) == sum(exact)
    assert Fraction(exact_squares(numbers), 1 << 2 * DEPTH) == sum(n**2 for n in exact)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "int32", "int64", "uint64"])
def test_sums_of_whole_numbers_are_exact(dtype: str):
    high = 1 if dtype == "bool" else min(np.iinfo(dtype).max, 2**53)
    numbers = np.array([high, 1, high, 0], dtype)

    assert exact_sum(numbers) == (2 * high + 1) << DEPTH
    assert exact_squares(numbers) == (2 * high**2 + 1) << 2 * DEPTH


def test_sums_of_more_numbers_than_are_added_at_a_time_are_exact():
    numbers = np.full((1 << 22) + 3, 0.1)

    assert Fraction(exact_sum(numbers), 1 << DEPTH) == numbers.size * Fraction(0.1)


@given(
    arrays(np.float64, st.integers(1, 30), elements=st.floats()),
    st.data(),
)
def test_parts_in_any_order_say_what_the_whole_says(numbers, data):
    valid = data.draw(arrays(np.bool_, numbers.shape))
    cuts = sorted(data.draw(st.lists(st.integers(0, numbers.size), max_size=4)))
    parts = np.split(np.arange(numbers.size), cuts)
    asked = {"extremes": True, "sums": True, "squares": True}

    merged = Tally()
    for part in data.draw(st.permutations(parts)):
        merged = merged.merged(Tally.of(numbers[part], valid[part], **asked))

    assert merged == Tally.of(numbers, valid, **asked)


@given(arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e100, 1e100)))
def test_statistics_are_rounded_once(numbers):
    tally = Tally.of(
        numbers, np.ones(numbers.shape, np.bool_), extremes=True, sums=True, squares=True
    )
    exact = list(map(Fraction, numbers.tolist()))

    assert tally.sum() == math.fsum(numbers)
    assert tally.mean() == float(sum(exact) / len(exact))
    assert tally.variance() == float(statistics.variance(exact))
    assert (tally.least(), tally.greatest()) == (numbers.min(), numbers.max())


@pytest.mark.parametrize(
    "odd", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf], [np.nan, np.inf]]
)
def test_nan_and_infinity_are_what_numpy_makes_of_them(odd: list[float]):
    numbers = np.array([1.0, *odd, 2.0])
    tally = Tally.of(numbers, np.ones(numbers.shape, np.bool_), extremes=True, sums=True)

    with np.errstate(invalid="ignore"):
        expected = [numbers.sum(), numbers.mean(), numbers.min(), numbers.max()]

    np.testing.assert_array_equal(
        [tally.sum(), tally.mean(), tally.least(), tally.greatest()], expected
    )


def test_a_sum_beyond_float64_is_infinite():
    numbers = np.array([1.7e308, 1.7e308])
    tally = Tally.of(numbers, np.ones(2, np.bool_), sums=True)

    assert tally.sum() == math.inf
    assert tally.mean() == 1.7e308
