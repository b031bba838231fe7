"""What is said of very many numbers, exactly: counts, extremes, sums; merged in any order.

Sums are kept as whole numbers of arbitrary length, so that no order of adding and no division
into blocks can change a bit of what is made of them. They are rounded once, at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.cube.pixels import Mask, Values

DEPTH = 1074
"""Every float64 is a whole multiple of 2 to the minus this."""
_HALF, _FULL = 26, 53
"""Bits of a half and of a whole mantissa of float64."""
_CHUNK = 1 << 16
"""Numbers that are added at a time: their halves add up exactly in float64."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What is said of numbers that may be no-data, NaN or infinite."""

    size: int = 0
    """All of them."""
    count: int = 0
    """Those that are not no-data."""
    nan: int = 0
    """NaN among these."""
    above: int = 0
    """Positive infinities."""
    below: int = 0
    """Negative infinities."""
    low: float | None = None
    """Least finite number; None where there is none, or nobody asked."""
    high: float | None = None
    """Greatest finite number."""
    total: int = 0
    """Sum of the finite numbers, in units of 2 to the -1074."""
    squares: int = 0
    """Sum of their squares, in units of 2 to the -2148."""

    @classmethod
    def of(
        cls,
        values: Values,
        valid: Mask,
        *,
        extremes: bool = False,
        sums: bool = False,
        squares: bool = False,
    ) -> Tally:
        """Count numbers, and say of the finite ones what is asked for.

        Args:
            values: numbers or booleans of any shape.
            valid: same shape, True = valid.
            extremes: whether `low` and `high` are wanted.
            sums: whether `total` is wanted.
            squares: whether `squares` are wanted.
        """
        there = values[valid]
        nan = above = below = 0
        finite = there
        if there.dtype.kind == "f":
            nan = int(np.isnan(there).sum())
            above, below = int(np.isposinf(there).sum()), int(np.isneginf(there).sum())
            if nan or above or below:
                finite = there[np.isfinite(there)]
        some = extremes and finite.size > 0
        return cls(
            values.size,
            there.size,
            nan,
            above,
            below,
            finite.min().item() if some else None,
            finite.max().item() if some else None,
            exact_sum(finite) if sums else 0,
            exact_squares(finite) if squares else 0,
        )

    @property
    def finite(self) -> int:
        """How many numbers are finite."""
        return self.count - self.nan - self.above - self.below

    def merged(self, other: Tally) -> Tally:
        """Return what is said of both."""
        return Tally(
            self.size + other.size,
            self.count + other.count,
            self.nan + other.nan,
            self.above + other.above,
            self.below + other.below,
            _extreme(min, self.low, other.low),
            _extreme(max, self.high, other.high),
            self.total + other.total,
            self.squares + other.squares,
        )

    def least(self) -> float:
        """Return the minimum, NaN if one is; there must be a number."""
        if self.nan:
            return math.nan
        if self.below:
            return -math.inf
        return math.inf if self.low is None else self.low

    def greatest(self) -> float:
        """Return the maximum, NaN if one is; there must be a number."""
        if self.nan:
            return math.nan
        if self.above:
            return math.inf
        return -math.inf if self.high is None else self.high

    def sum(self) -> float:
        """Return the sum, rounded once."""
        odd = self._odd()
        return rounded(Fraction(self.total, 1 << DEPTH)) if odd is None else odd

    def mean(self) -> float:
        """Return the mean, rounded once; there must be a number."""
        odd = self._odd()
        return rounded(Fraction(self.total, self.count << DEPTH)) if odd is None else odd

    def variance(self) -> float:
        """Return the sample variance, rounded once; NaN of one number."""
        if self.finite != self.count or self.count < 2:  # noqa: PLR2004 - n - 1 divides
            return math.nan
        spread = self.count * self.squares - self.total * self.total
        return rounded(Fraction(spread, (self.count * (self.count - 1)) << 2 * DEPTH))

    def _odd(self) -> float | None:
        """Return a sum that is not finite; None where it is."""
        if self.nan or (self.above and self.below):
            return math.nan
        if self.above:
            return math.inf
        return -math.inf if self.below else None


def rounded(number: Fraction) -> float:
    """Return the nearest float64; infinity beyond the largest."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def exact_sum(numbers: Values) -> int:
    """Return the sum of finite numbers, in units of 2 to the -1074.

    Whole numbers of 64 bit are taken as the nearest float64, as they are computed with.
    """
    if numbers.dtype.kind in "iub" and numbers.dtype.itemsize <= 4:  # noqa: PLR2004 - bytes
        return int(numbers.sum(dtype=np.int64)) << DEPTH
    total = 0
    for start in range(0, numbers.size, _CHUNK):
        whole, exponent = _parts(numbers[start : start + _CHUNK])
        total += _added(whole, exponent - _FULL, DEPTH)
    return total


def exact_squares(numbers: Values) -> int:
    """Return the sum of the squares of finite numbers, in units of 2 to the -2148."""
    if numbers.dtype.kind in "iub" and numbers.dtype.itemsize <= 2:  # noqa: PLR2004 - bytes
        return int(np.square(numbers.astype(np.int64)).sum()) << 2 * DEPTH
    if numbers.dtype == np.float32:  # of 24 bits: float64 holds the squares
        return exact_sum(np.square(numbers.astype(np.float64))) << DEPTH
    total = 0
    for start in range(0, numbers.size, _CHUNK):
        whole, exponent = _parts(numbers[start : start + _CHUNK])
        high, low = whole >> _HALF, whole & ((1 << _HALF) - 1)
        place = 2 * (exponent - _FULL)
        total += _added(high * high, place + 2 * _HALF, 2 * DEPTH)
        total += _added(high * low, place + _HALF + 1, 2 * DEPTH)
        total += _added(low * low, place, 2 * DEPTH)
    return total


def _parts(numbers: Values) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return float64 numbers as whole mantissas of 53 bit and exponents of their first bit."""
    mantissa, exponent = np.frexp(numbers.astype(np.float64))
    return np.ldexp(mantissa, _FULL).astype(np.int64), exponent


def _added(whole: NDArray[np.int64], exponent: NDArray[Any], depth: int) -> int:
    """Return the sum of whole * 2 ** exponent, in units of 2 to the -depth."""
    if not whole.size:
        return 0
    first = int(exponent.min())
    place = exponent - first
    high = np.bincount(place, whole >> _HALF)
    low = np.bincount(place, whole & ((1 << _HALF) - 1))
    total = 0
    for offset, (upper, lower) in enumerate(zip(high.tolist(), low.tolist(), strict=True)):
        total += ((int(upper) << _HALF) + int(lower)) << offset
    shift = first + depth
    return total << shift if shift >= 0 else total >> -shift


def _extreme(choose: Any, one: float | None, other: float | None) -> float | None:
    known = [number for number in (one, other) if number is not None]
    return choose(known) if known else None
