"""Comparisons of numbers, booleans and texts: strict types, no-data in, no-data out."""

from __future__ import annotations

import operator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Number, Pixels, all_valid
from terrazzo.cube.pixels import known_everywhere
from terrazzo.processes.convert import as_array, pixel_shape, scalar
from terrazzo.processes.logic import and_, not_
from terrazzo.processes.operands import EXACT_INTEGERS, all_of, elementwise, nothing
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Anything, BooleanOrNull, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPARISON = ("comparison",)
_TEXTS = ("texts", "comparison")

Comparable = Annotated[
    Pixels | float | int | bool | str | None,
    Schema({"type": ["number", "boolean", "string", "null"]}),
]
Bound = Annotated[Number, Schema({"type": "number"})]
Flag = Annotated[bool, Schema({"type": "boolean"})]
Truth = Annotated[Number, Schema({"type": "boolean"})]
Delta = Annotated[float | None, Schema({"type": ["number", "null"], "minimumExclusive": 0})]


@process("eq", Role.SCALAR, categories=_TEXTS)
def eq(
    x: Comparable, y: Comparable, delta: Delta = None, case_sensitive: Flag = True
) -> BooleanOrNull:
    """Whether two values are equal, x = y or |x - y| <= delta.

    Args:
        x: number, boolean or text; no-data passes.
        y: value to compare with; another type is never equal, so that 1, "1" and true differ.
        delta: largest difference at which two numbers count as equal, above 0; none by default.
        case_sensitive: whether "a" and "A" differ.

    Returns:
        A boolean; no-data where `x` or `y` is. NaN equals nothing.

    Source:
        openEO process `eq` 2.0.0-rc.2; IEEE 754.
    """
    return equal(x, y, delta, case_sensitive=case_sensitive)


@process("neq", Role.SCALAR, categories=_TEXTS)
def neq(
    x: Comparable, y: Comparable, delta: Delta = None, case_sensitive: Flag = True
) -> BooleanOrNull:
    """Whether two values differ, not x = y or |x - y| > delta.

    Args:
        x: number, boolean or text; no-data passes.
        y: value to compare with; another type always differs.
        delta: largest difference at which two numbers still count as equal, above 0; none by
            default.
        case_sensitive: whether "a" and "A" differ.

    Returns:
        A boolean; no-data where `x` or `y` is. NaN differs from everything.

    Source:
        openEO process `neq` 2.0.0-rc.2; IEEE 754.
    """
    return not_(equal(x, y, delta, case_sensitive=case_sensitive))


@process("gt", Role.SCALAR, categories=_COMPARISON)
def gt(x: Comparable, y: Comparable) -> BooleanOrNull:
    """Whether one number is greater than another, x > y.

    Args:
        x: number; false for booleans and text, no-data passes.
        y: number to compare with, in the unit of `x`.

    Returns:
        A boolean; no-data where `x` or `y` is, false for NaN.

    Source:
        openEO process `gt` 2.0.0-rc.2; IEEE 754.
    """
    return _ordered(operator.gt, x, y)


@process("gte", Role.SCALAR, categories=_COMPARISON)
def gte(x: Comparable, y: Comparable) -> BooleanOrNull:
    """Whether one value is greater than another or equal, x >= y.

    Args:
        x: number; booleans and text can only be equal, no-data passes.
        y: value to compare with, in the unit of `x`.

    Returns:
        A boolean; no-data where `x` or `y` is, false for NaN.

    Source:
        openEO process `gte` 2.0.0-rc.2; IEEE 754.
    """
    if kind_of(x) == kind_of(y) == "number":
        return _ordered(operator.ge, x, y)
    return equal(x, y)


@process("lt", Role.SCALAR, categories=_COMPARISON)
def lt(x: Comparable, y: Comparable) -> BooleanOrNull:
    """Whether one number is less than another, x < y.

    Args:
        x: number; false for booleans and text, no-data passes.
        y: number to compare with, in the unit of `x`.

    Returns:
        A boolean; no-data where `x` or `y` is, false for NaN.

    Source:
        openEO process `lt` 2.0.0-rc.2; IEEE 754.
    """
    return _ordered(operator.lt, x, y)


@process("lte", Role.SCALAR, categories=_COMPARISON)
def lte(x: Comparable, y: Comparable) -> BooleanOrNull:
    """Whether one value is less than another or equal, x <= y.

    Args:
        x: number; booleans and text can only be equal, no-data passes.
        y: value to compare with, in the unit of `x`.

    Returns:
        A boolean; no-data where `x` or `y` is, false for NaN.

    Source:
        openEO process `lte` 2.0.0-rc.2; IEEE 754.
    """
    if kind_of(x) == kind_of(y) == "number":
        return _ordered(operator.le, x, y)
    return equal(x, y)


@process("between", Role.SCALAR, categories=_COMPARISON)
def between(x: Anything, min: Bound, max: Bound, exclude_max: Flag = False) -> BooleanOrNull:
    """Whether a number lies between two others, min <= x <= max.

    Args:
        x: number; false for anything else, no-data passes.
        min: lower bound, in the unit of `x`.
        max: upper bound; below `min` nothing lies between them.
        exclude_max: whether the upper bound itself lies outside.

    Returns:
        A boolean; no-data where `x` is.

    Source:
        openEO process `between` 2.0.0-rc.2.
    """
    return and_(gte(x, min), lt(x, max) if exclude_max else lte(x, max))


@process("is_nan", Role.SCALAR, categories=("comparison", "math > constants"))
def is_nan(x: Anything) -> Truth:
    """Whether a value is not a number in the sense of IEEE 754, x != x.

    Args:
        x: any value; no-data is no NaN.

    Returns:
        A boolean, never no-data.

    Source:
        openEO process `is_nan` 2.0.0-rc.2; IEEE 754.
    """
    return _number_is(np.isnan, x)


@process("is_infinite", Role.SCALAR, categories=_COMPARISON, experimental=True)
def is_infinite(x: Anything) -> Truth:
    """Whether a value is an infinite number, |x| = infinity.

    Args:
        x: any value; neither no-data nor NaN is infinite.

    Returns:
        A boolean, never no-data.

    Source:
        openEO process `is_infinite` 2.0.0-rc.2; IEEE 754.
    """
    return _number_is(np.isinf, x)


@process("is_nodata", Role.SCALAR, categories=_COMPARISON)
def is_nodata(x: Anything) -> Truth:
    """Whether a value is missing, x = null.

    Args:
        x: any value; NaN is data unless the source says otherwise.

    Returns:
        A boolean, never no-data.

    Source:
        openEO process `is_nodata` 2.0.0-rc.2.
    """
    if isinstance(x, Pixels):
        everywhere = known_everywhere(x.valid)
        missing = np.zeros(x.shape, np.bool_) if everywhere else as_array(~x.valid)
        return Pixels(missing, all_valid(x.shape))
    return x is None


@process("is_valid", Role.SCALAR, categories=_COMPARISON)
def is_valid(x: Anything) -> Truth:
    """Whether a value can be worked with: |x| < infinity, or anything that is no number.

    Args:
        x: any value; no-data, NaN and infinity are not valid; arrays, texts and objects are.

    Returns:
        A boolean, never no-data.

    Source:
        openEO process `is_valid` 2.0.0-rc.2.
    """
    if isinstance(x, Pixels) or kind_of(x) == "number":
        return _number_is(np.isfinite, x)
    return x is not None


def kind_of(value: Any) -> str:
    """Return what a value is to a comparison: number, boolean, text, nothing or other."""
    if isinstance(value, Pixels):
        return "boolean" if value.dtype.kind == "b" else "number"
    if value is None:
        return "nothing"
    kinds = {bool: "boolean", int: "number", float: "number", str: "text"}
    return kinds.get(type(scalar(value)), "other")


def equal(x: Any, y: Any, delta: float | None = None, *, case_sensitive: bool = True) -> Number:
    """Return whether two values are of one kind and equal; no-data if one of them is."""
    if any(isinstance(one, Pixels) and one.dtype.kind == "O" for one in (x, y)):
        return _one_by_one(partial(equal, delta=delta, case_sensitive=case_sensitive), x, y)
    kind = kind_of(x)
    if kind != kind_of(y):
        return _compared(None, x, y)
    if kind == "number" and delta is not None and delta > 0:
        return _ordered(operator.le, elementwise(_distance, x, y), delta)
    if kind == "text" and not case_sensitive:
        return bool(x.casefold() == y.casefold())
    return _compared(None if kind == "other" else operator.eq, x, y)


def _one_by_one(compare: Callable[[Any, Any], Any], x: Any, y: Any) -> Pixels:
    """Compare values of which each has a type of its own, as texts of vector cubes have."""
    shape = pixel_shape([operand for operand in (x, y) if isinstance(operand, Pixels)])
    sides = []
    for operand in (x, y):
        entries = np.empty(shape, np.object_)
        if isinstance(operand, Pixels):
            entries[...] = operand.values
            entries[~np.broadcast_to(operand.valid, shape)] = None
        else:
            entries.fill(operand)
        sides.append(entries.ravel())
    found = [compare(left, right) for left, right in zip(*sides, strict=True)]
    valid = np.array([one is not None for one in found], np.bool_).reshape(shape)
    return Pixels(np.array([bool(one) for one in found], np.bool_).reshape(shape), valid)


def _distance(x: Any, y: Any) -> Any:
    return np.abs(x - y)


def _ordered(compare: Callable[[Any, Any], Any], x: Any, y: Any) -> Number:
    numbers = kind_of(x) == kind_of(y) == "number"
    return _compared(compare if numbers else None, x, y)


def _compared(compare: Callable[[Any, Any], Any] | None, x: Any, y: Any) -> Number:
    """Compare where both have data; None stands for a comparison that is false everywhere."""
    pixels = [operand for operand in (x, y) if isinstance(operand, Pixels)]
    missing = x is None or y is None
    if not pixels:
        return None if missing else bool(compare is not None and compare(scalar(x), scalar(y)))
    shape = pixel_shape(pixels)
    if missing:
        return nothing(shape, np.dtype(np.bool_))
    valid = all_of(shape, *(entry.valid for entry in pixels))
    if compare is None:
        return Pixels(np.zeros(shape, np.bool_), valid)
    integers = all(entry.dtype.kind in "iu" for entry in pixels)
    left, right = (
        operand.values if isinstance(operand, Pixels) else _plain(operand, integers=integers)
        for operand in (x, y)
    )
    with np.errstate(all="ignore"):
        return Pixels(as_array(compare(left, right)), valid)


def _plain(number: Any, *, integers: bool) -> Any:
    """Return a number as it is compared: a whole one as integer if the pixels are integers.

    NumPy then compares in the type of the pixels. Beyond 2 ** 53 pixels that do not fit float64
    would be told apart that are equal to the float.
    """
    number = scalar(number)
    whole = integers and isinstance(number, float) and number.is_integer()
    return int(number) if whole and abs(number) < EXACT_INTEGERS else number


def _number_is(test: Callable[[Any], Any], x: Any) -> Number:
    if isinstance(x, Pixels):
        if x.dtype.kind != "f":
            found = x.valid if test is np.isfinite else np.zeros(x.shape, np.bool_)
            return Pixels(found, all_valid(x.shape))
        found = test(x.values)
        kept = found if known_everywhere(x.valid) else found & x.valid
        return Pixels(as_array(kept), all_valid(x.shape))
    return kind_of(x) == "number" and bool(test(float(x)))
