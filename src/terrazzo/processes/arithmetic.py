"""Arithmetic on numbers: openEO's `math` group but trigonometry."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np

from terrazzo.cube import Number, Pixels
from terrazzo.errors import (
    MinMaxSwapped,
)
from terrazzo.processes import kernels
from terrazzo.processes.kernels import where
from terrazzo.processes.operands import all_of, elementwise
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Anything, NumberOrNull, Schema

_MATH = ("math",)
_EXPONENTIAL = "math > exponential & logarithmic"
_ROUNDING = "math > rounding"
_LARGEST_EXPONENT = 308
"""Ten to this power still is a float64."""

JustNumber = Annotated[Number, Schema({"type": "number"})]
Band = Annotated[Number, Schema({"type": "number"}, checked={"type": ["number", "null"]})]
Whole = Annotated[Number, Schema({"type": ["integer", "null"]})]
Digits = Annotated[int, Schema({"type": "integer"})]
Positive = Annotated[Number, Schema({"type": ["number", "null"], "minimum": 0})]
AboveZero = Annotated[Number, Schema({"type": ["number", "null"], "minimumExclusive": 0})]
Sign = Annotated[Number, Schema({"type": ["number", "null"], "enum": [-1, 0, 1, None]})]
Unspecified = Annotated[float, Schema({"description": "No JSON Schema says NaN."})]
Ratio = Annotated[Number, Schema({"type": "number", "minimum": -1, "maximum": 1})]


@process("add", Role.SCALAR, categories=_MATH)
def add(x: NumberOrNull, y: NumberOrNull) -> NumberOrNull:
    """Sum of two numbers, x + y.

    Args:
        x: first summand; no-data passes.
        y: second summand, in the unit of `x`; no-data passes.

    Returns:
        x + y, in float32 for pixels that fit it (no wrap-around), else float64.

    Source:
        openEO process `add` 2.0.0-rc.2; IEEE 754.
    """
    return elementwise(np.add, x, y)


@process("subtract", Role.SCALAR, categories=_MATH)
def subtract(x: NumberOrNull, y: NumberOrNull) -> NumberOrNull:
    """Difference of two numbers, x - y.

    Args:
        x: what is subtracted from; no-data passes.
        y: what is subtracted, in the unit of `x`; no-data passes.

    Returns:
        x - y, in float32 for pixels that fit it (no wrap-around), else float64.

    Source:
        openEO process `subtract` 2.0.0-rc.2; IEEE 754.
    """
    return elementwise(np.subtract, x, y)


@process("multiply", Role.SCALAR, categories=_MATH)
def multiply(x: NumberOrNull, y: NumberOrNull) -> NumberOrNull:
    """Product of two numbers, x * y.

    Args:
        x: first factor; no-data passes.
        y: second factor; no-data passes.

    Returns:
        x * y, in float32 for pixels that fit it (no wrap-around), else float64.

    Source:
        openEO process `multiply` 2.0.0-rc.2; IEEE 754.
    """
    return elementwise(np.multiply, x, y)


@process("divide", Role.SCALAR, categories=_MATH)
def divide(x: NumberOrNull, y: NumberOrNull) -> NumberOrNull:
    """Quotient of two numbers, x / y.

    Args:
        x: dividend; no-data passes.
        y: divisor; no-data passes.

    Returns:
        x / y; by zero it is infinite with the sign of `x`, and NaN for 0 / 0.

    Source:
        openEO process `divide` 2.0.0-rc.2; IEEE 754.
    """
    return elementwise(np.divide, x, y)


@process("mod", Role.SCALAR, categories=_MATH)
def mod(x: NumberOrNull, y: NumberOrNull) -> NumberOrNull:
    """Remainder with the sign of the divisor, x - y * floor(x / y).

    Args:
        x: dividend; no-data passes.
        y: divisor; no-data passes.

    Returns:
        The remainder, between 0 and `y`. For y = 0 infinite with the sign of `x`, NaN for 0.

    Source:
        openEO process `mod` 2.0.0-rc.2.
    """
    return elementwise(_remainder, x, y)


def _remainder(x: Any, y: Any) -> Any:
    return where(y == 0, np.divide(x, np.abs(y)), kernels.remainder(x, y))


@process("power", Role.SCALAR, categories=("math", _EXPONENTIAL))
def power(base: NumberOrNull, p: NumberOrNull) -> NumberOrNull:
    """Base raised to an exponent, base ** p.

    Args:
        base: any number; no-data passes.
        p: exponent; no-data passes.

    Returns:
        base ** p; NaN for a negative base and a broken exponent.

    Source:
        openEO process `power` 2.0.0-rc.2.
    """
    return elementwise(kernels.power, base, p)


@process("absolute", Role.SCALAR, categories=_MATH)
def absolute(x: NumberOrNull) -> Positive:
    """Magnitude of a number, |x|.

    Args:
        x: any number; no-data passes.

    Returns:
        `x` without its sign.

    Source:
        openEO process `absolute` 2.0.0-rc.2.
    """
    return elementwise(np.abs, x)


@process("sgn", Role.SCALAR, categories=_MATH)
def sgn(x: NumberOrNull) -> Sign:
    """Sign of a number, -1, 0 or 1.

    Args:
        x: any number; no-data passes.

    Returns:
        -1 below zero, 1 above, 0 at zero, NaN for NaN.

    Source:
        openEO process `sgn` 2.0.0-rc.2.
    """
    return elementwise(np.sign, x, integral=True)


@process("sqrt", Role.SCALAR, categories=("math", _EXPONENTIAL))
def sqrt(x: NumberOrNull) -> NumberOrNull:
    """Square root, x ** 0.5.

    Args:
        x: 0 or more; no-data passes.

    Returns:
        The root that is not negative; NaN for a negative `x`.

    Source:
        openEO process `sqrt` 2.0.0-rc.2; IEEE 754.
    """
    return elementwise(np.sqrt, x)


@process("exp", Role.SCALAR, categories=(_EXPONENTIAL,))
def exp(p: NumberOrNull) -> AboveZero:
    """Exponential function, e ** p.

    Args:
        p: exponent; no-data passes.

    Returns:
        e ** p, above 0; infinite where it is too large for the type.

    Source:
        openEO process `exp` 2.0.0-rc.2.
    """
    return elementwise(kernels.exp, p)


@process("ln", Role.SCALAR, categories=(_EXPONENTIAL,))
def ln(x: Positive) -> NumberOrNull:
    """Natural logarithm, the p of which e ** p = x.

    Args:
        x: 0 or more; no-data passes.

    Returns:
        The logarithm; -infinity for 0, NaN below.

    Source:
        openEO process `ln` 2.0.0-rc.2.
    """
    return elementwise(kernels.ln, x)


@process("log", Role.SCALAR, categories=(_EXPONENTIAL,))
def log(x: Positive, base: NumberOrNull) -> NumberOrNull:
    """Logarithm to any base, ln(x) / ln(base).

    Args:
        x: 0 or more; no-data passes.
        base: above 0; no-data passes. Bases 2 and 10 have their own, more exact functions.

    Returns:
        The p of which base ** p = x; -infinity for x = 0, NaN below.

    Source:
        openEO process `log` 2.0.0-rc.2.
    """
    exact = {2: kernels.log2, 10: kernels.log10}
    if isinstance(base, (int, float)) and base in exact:
        return elementwise(exact[int(base)], x)
    return elementwise(_logarithm, x, base)


def _logarithm(x: Any, base: Any) -> Any:
    return kernels.ln(x) / kernels.ln(base)


@process("ceil", Role.SCALAR, categories=(_ROUNDING,))
def ceil(x: NumberOrNull) -> Whole:
    """Whole number at or above a number, min {n >= x}.

    Args:
        x: any number; no-data passes.

    Returns:
        A whole number; infinity and NaN stay.

    Source:
        openEO process `ceil` 2.0.0-rc.2.
    """
    return elementwise(np.ceil, x, integral=True)


@process("floor", Role.SCALAR, categories=(_ROUNDING,))
def floor(x: NumberOrNull) -> Whole:
    """Whole number at or below a number, max {n <= x}.

    Args:
        x: any number; no-data passes.

    Returns:
        A whole number; infinity and NaN stay.

    Source:
        openEO process `floor` 2.0.0-rc.2.
    """
    return elementwise(np.floor, x, integral=True)


@process("int", Role.SCALAR, categories=("math", _ROUNDING))
def int_(x: NumberOrNull) -> Whole:
    """Whole part of a number, sgn(x) * floor(|x|).

    Args:
        x: any number; no-data passes.

    Returns:
        A whole number; infinity stays, NaN has no whole part and becomes no-data.

    Source:
        openEO process `int` 2.0.0-rc.2 and its test vectors.
    """
    whole = elementwise(np.trunc, x, integral=True)
    if isinstance(whole, Pixels):
        # Integers hold no NaN.
        fractional = isinstance(x, Pixels) and x.dtype.kind == "f"
        there = (whole.valid, ~np.isnan(whole.values)) if fractional else (whole.valid,)
        return Pixels(whole.values, all_of(whole.shape, *there))
    return None if isinstance(whole, float) and math.isnan(whole) else whole


@process("round", Role.SCALAR, categories=(_ROUNDING,))
def round_(x: NumberOrNull, p: Digits = 0) -> NumberOrNull:
    """Number rounded to p decimal places, rint(x * 10 ** p) / 10 ** p.

    Args:
        x: any number; no-data passes.
        p: places after the decimal point; -2 rounds to hundreds.

    Returns:
        The nearest number with so many places; halfway between two, the even one.

    Source:
        openEO process `round` 2.0.0-rc.2; IEEE 754, round half to even.
    """
    places = int(p)
    if places > _LARGEST_EXPONENT:
        return elementwise(np.positive, x)

    def rounded(values: Any) -> Any:
        scale = values.dtype.type(10.0 ** min(abs(places), _LARGEST_EXPONENT))
        finer = places >= 0
        result = np.rint(values * scale) / scale if finer else np.rint(values / scale) * scale
        return where(np.isfinite(result), result, values)

    return elementwise(rounded, x, integral=places <= 0)


@process("clip", Role.SCALAR, categories=_MATH)
def clip(x: NumberOrNull, min: JustNumber, max: JustNumber) -> NumberOrNull:
    """Number held between two bounds, min(max(x, lower), upper).

    Args:
        x: any number; no-data passes.
        min: lower bound, in the unit of `x`.
        max: upper bound, in the unit of `x`.

    Returns:
        `x`, or the bound that it lies beyond; NaN if one of the three is, or if bounds that
        differ per pixel are swapped.

    Raises:
        MinMaxSwapped: `min` is larger than `max`.

    Source:
        openEO process `clip` 2.0.0-rc.2.
    """
    if isinstance(min, (int, float)) and isinstance(max, (int, float)) and min > max:
        raise MinMaxSwapped(f"min={min} is larger than max={max}. Swap them.")
    return elementwise(_clipped, x, min, max)


def _clipped(x: Any, lower: Any, upper: Any) -> Any:
    # Not np.clip: which zero it returns of -0.0 and 0.0 depends on the place in the array.
    held = where(x < lower, lower, where(x > upper, upper, x))
    ordered = lower <= upper
    if isinstance(ordered, np.bool_) and ordered:
        return held
    return where(ordered, held, held.dtype.type(np.nan))


@process("linear_scale_range", Role.SCALAR, categories=_MATH)
def linear_scale_range(
    x: NumberOrNull,
    inputMin: JustNumber,  # noqa: N803 - openEO's name
    inputMax: JustNumber,  # noqa: N803
    outputMin: JustNumber = 0,  # noqa: N803
    outputMax: JustNumber = 1,  # noqa: N803
) -> NumberOrNull:
    """Number moved from one range to another, (x - i0) / (i1 - i0) * (o1 - o0) + o0.

    Args:
        x: any number, held within the input range first; no-data passes.
        inputMin: i0, the end of the input range that becomes `outputMin`.
        inputMax: i1, the end of the input range that becomes `outputMax`.
        outputMin: o0.
        outputMax: o1; may be below `outputMin`.

    Returns:
        A number within the output range; NaN if the input range is empty.

    Source:
        openEO process `linear_scale_range` 2.0.0-rc.2.
    """
    return elementwise(_scaled, x, inputMin, inputMax, outputMin, outputMax)


def _scaled(x: Any, in0: Any, in1: Any, out0: Any, out1: Any) -> Any:
    swapped = in0 > in1
    held = _clipped(x, where(swapped, in1, in0), where(swapped, in0, in1))
    return (held - in0) / (in1 - in0) * (out1 - out0) + out0


@process("normalized_difference", Role.SCALAR, categories=("math > indices", "vegetation indices"))
def normalized_difference(x: Band, y: Band) -> Ratio:
    """Normalised difference of two bands, (x - y) / (x + y).

    Args:
        x: first band, 0 or more; near infrared for NDVI. No-data passes.
        y: second band, in the unit of `x`; red for NDVI. No-data passes.

    Returns:
        -1..1, unitless; NaN where both are 0 or one is infinite.

    Source:
        openEO process `normalized_difference` 2.0.0-rc.2.
    """
    return elementwise(_normalized, x, y)


def _normalized(x: Any, y: Any) -> Any:
    return (x - y) / (x + y)


@process("e", Role.SCALAR, categories=("math > constants", _EXPONENTIAL))
def e() -> JustNumber:
    """Euler's number, e = 2.718281828...

    Returns:
        e in float64.

    Source:
        openEO process `e` 2.0.0-rc.2.
    """
    return math.e


@process("pi", Role.SCALAR, categories=("math > constants", "math > trigonometric"))
def pi() -> JustNumber:
    """Circumference of a circle over its diameter, pi = 3.141592653...

    Returns:
        pi in float64.

    Source:
        openEO process `pi` 2.0.0-rc.2.
    """
    return math.pi


@process("nan", Role.SCALAR, categories=("math > constants",), experimental=True)
def nan() -> Unspecified:
    """Not a number, the result of computations that have none, 0 / 0.

    Returns:
        NaN in float64. It is a value, other than no-data.

    Source:
        openEO process `nan` 2.0.0-rc.2; IEEE 754.
    """
    return math.nan


@process("constant", Role.SCALAR, categories=("math > constants",))
def constant(x: Anything) -> Anything:
    """Any value, named so that several places can use it, result = x.

    Args:
        x: any JSON value.

    Returns:
        `x`.

    Source:
        openEO process `constant` 2.0.0-rc.2.
    """
    return x
