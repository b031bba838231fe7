"""Reducers: one number for an array, or one per pixel for a stack, along axis 0.

Sums run in float64 from the first entry to the last, pixel by pixel (see `stacks`), so that
the result of a pixel does not depend on the block it is computed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Number, Pixels, Stack, all_valid
from terrazzo.cube.pixels import known_everywhere
from terrazzo.errors import (
    ArgumentInvalid,
    AscendingProbabilitiesRequired,
    QuantilesParameterConflict,
    QuantilesParameterMissing,
)
from terrazzo.processes.comparison import is_valid
from terrazzo.processes.convert import (
    as_array,
    as_stack,
    checked_length,
    entries_of,
    index_dtype,
    numeric,
    result_of,
)
from terrazzo.processes.logic import where_true
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Callback, Context, NumberOrNull, Numbers, Schema
from terrazzo.processes.stacks import reduce_stack

if TYPE_CHECKING:
    from terrazzo.cube import Mask, Values

_STATISTICS = ("math > statistics", "reducer")
_BOTH = ("math", "math > statistics", "reducer")
_ANY: dict[str, Any] = {"description": "Any data type."}
_TWO = {"type": "array", "minItems": 2, "maxItems": 2}

Flag = Annotated[bool, Schema({"type": "boolean"})]
AnyArray = Annotated[Stack, Schema({"type": "array", "items": _ANY})]
Extremes = Annotated[
    Stack,
    Schema([_TWO | {"items": {"type": "number"}}, _TWO | {"items": {"type": "null"}}]),
]
Amount = Annotated[Number, Schema({"type": "number"})]
Probabilities = Annotated[
    list[float] | int | None,
    Schema(
        [
            {
                "type": "array",
                "uniqueItems": True,
                "items": {"type": "number", "minimum": 0, "maximum": 1},
            },
            {"type": "integer", "minimum": 2},
        ]
    ),
]
Intervals = Annotated[int | None, Schema({"type": "integer", "minimum": 2})]
CountCondition = Annotated[
    Callback | bool | None,
    Schema(
        [
            {
                "type": "object",
                "subtype": "process-graph",
                "parameters": [
                    {"name": "x", "description": "An entry.", "schema": _ANY},
                    {
                        "name": "context",
                        "description": "What the caller passes on.",
                        "schema": _ANY,
                        "optional": True,
                        "default": None,
                    },
                ],
                "returns": {"schema": {"type": "boolean"}},
            },
            {"type": "boolean", "const": True},
            {"type": "null"},
        ]
    ),
]


@process("sum", Role.SCALAR, categories=("math", "reducer"))
def sum_(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Sum of an array, x1 + x2 + ... + xn.

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The sum in the unit of `data`; no-data if there is nothing to add. float32 for pixels
        that fit it, added in float64.

    Source:
        openEO process `sum` 2.0.0-rc.2.
    """
    return _reduced("sum", as_stack(data), ignore_nodata=ignore_nodata)


@process("product", Role.SCALAR, categories=("math", "reducer"))
def product(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Product of an array, x1 * x2 * ... * xn.

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The product; no-data if there is nothing to multiply. float32 for pixels that fit it,
        multiplied in float64.

    Source:
        openEO process `product` 2.0.0-rc.2.
    """
    return _reduced("product", as_stack(data), ignore_nodata=ignore_nodata)


@process("mean", Role.SCALAR, categories=_STATISTICS)
def mean(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Arithmetic mean, (x1 + x2 + ... + xn) / n.

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The mean in the unit of `data`; no-data for an array without data.

    Source:
        openEO process `mean` 2.0.0-rc.2.
    """
    return _reduced("mean", as_stack(data), ignore_nodata=ignore_nodata)


@process("variance", Role.SCALAR, categories=_STATISTICS)
def variance(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Sample variance, ((x1 - mean) ** 2 + ... + (xn - mean) ** 2) / (n - 1).

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The variance in the squared unit of `data`; NaN for a single value, no-data for none.

    Source:
        openEO process `variance` 2.0.0-rc.2; Welford 1962, Technometrics 4, 419-420.
    """
    return _reduced("variance", as_stack(data), ignore_nodata=ignore_nodata)


@process("sd", Role.SCALAR, categories=_STATISTICS)
def sd(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Sample standard deviation, sqrt(variance).

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The deviation in the unit of `data`; NaN for a single value, no-data for none.

    Source:
        openEO process `sd` 2.0.0-rc.2; Welford 1962, Technometrics 4, 419-420.
    """
    return _reduced("sd", as_stack(data), ignore_nodata=ignore_nodata)


@process("min", Role.SCALAR, categories=_BOTH)
def min_(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Smallest value of an array, x1 if x1 <= xi for all i.

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The value in the dtype of `data`; NaN if one is NaN, no-data for an array without data.

    Source:
        openEO process `min` 2.0.0-rc.2.
    """
    return _reduced("min", as_stack(data), ignore_nodata=ignore_nodata)


@process("max", Role.SCALAR, categories=_BOTH)
def max_(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Largest value of an array, x1 if x1 >= xi for all i.

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The value in the dtype of `data`; NaN if one is NaN, no-data for an array without data.

    Source:
        openEO process `max` 2.0.0-rc.2.
    """
    return _reduced("max", as_stack(data), ignore_nodata=ignore_nodata)


@process("extrema", Role.SCALAR, categories=("math > statistics",))
def extrema(data: Numbers, ignore_nodata: Flag = True) -> Extremes:
    """Smallest and largest value of an array, [min(data), max(data)].

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes both results no-data.

    Returns:
        (2, ...) in the dtype of `data`; no-data twice for an array without data.

    Source:
        openEO process `extrema` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    (least, count), (most, _) = (
        reduce_stack(kind, numeric(stack), stack.valid) for kind in ("min", "max")
    )
    valid = _enough(stack, count, ignore_nodata=ignore_nodata)
    values = np.stack([least, most])
    return Stack(values, np.broadcast_to(valid, values.shape), exact=stack.exact)


@process("median", Role.SCALAR, categories=_STATISTICS)
def median(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Middle value of an array, (x[(n - 1) / 2 rounded down] + x[rounded up]) / 2 once sorted.

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The median in the unit of `data`; NaN if a value is, no-data for an array without data.

    Source:
        openEO process `median` 2.0.0-rc.2; Hyndman and Fan 1996, type 7, probability 0.5.
    """
    stack = as_stack(data)
    values, count = reduce_stack("quantiles", _numbers(stack), stack.valid, (0.5,))
    return result_of(stack, values[0], _enough(stack, count, ignore_nodata=ignore_nodata))


@process("quantiles", Role.SCALAR, categories=("math > statistics",))
def quantiles(
    data: Numbers,
    probabilities: Probabilities = None,
    q: Intervals = None,
    ignore_nodata: Flag = True,
) -> Numbers:
    """Values below which given shares of an array lie, x[p * (n - 1)] once sorted.

    Args:
        data: (n, ...) numbers.
        probabilities: ascending shares, 0..1; or the number of equal shares to cut into.
        q: number of equal shares, the older way to say so.
        ignore_nodata: whether no-data is left out; else one makes all results no-data.

    Returns:
        (probabilities, ...) or (shares - 1, ...) in the unit of `data`, between two values on
        the line between them; NaN if a value is, no-data for an array without data.

    Raises:
        QuantilesParameterMissing: neither `probabilities` nor `q` is given.
        QuantilesParameterConflict: both are given.
        AscendingProbabilitiesRequired: `probabilities` does not ascend.

    Source:
        openEO process `quantiles` 2.0.0-rc.2; Hyndman and Fan 1996, The American Statistician
        50, 361-365, type 7.
    """
    stack = as_stack(data)
    shares = _shares(probabilities, q)
    values, count = reduce_stack("quantiles", _numbers(stack), stack.valid, shares)
    valid = _enough(stack, count, ignore_nodata=ignore_nodata)
    return Stack(values, np.broadcast_to(valid, values.shape), exact=stack.exact)


@process("count", Role.SCALAR, categories=("arrays", "math > statistics", "reducer"))
def count(data: AnyArray, condition: CountCondition = None, context: Context = None) -> Amount:
    """Number of entries of an array that meet a condition, sum of (condition(x) ? 1 : 0).

    Args:
        data: (n, ...) values of any kind.
        condition: callback to a boolean; true counts all entries; by default those count that
            are neither no-data, NaN nor infinite.
        context: passed to the callback.

    Returns:
        0..n, never no-data; uint16 for pixels with up to 65535 entries.

    Raises:
        ProcessParameterInvalid: `condition` is false.

    Source:
        openEO process `count` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    dtype, shape = index_dtype(len(stack)), stack.values.shape[1:]
    total: Values = np.zeros(shape, dtype)
    if condition is True:
        total = np.full(shape, len(stack), dtype)
    elif condition is None or callable(condition):
        for entry in entries_of(stack):
            met = condition(x=entry, context=context) if callable(condition) else is_valid(entry)
            if isinstance(met, Pixels):
                total = total + where_true(met)
            elif met is True:
                total = total + dtype.type(1)
    else:
        raise ArgumentInvalid(
            f"condition={condition!r} counts nothing. Give a callback, true for all entries, or "
            "nothing for the valid ones."
        )
    return result_of(stack, total, all_valid(shape))


def _numbers(data: Stack) -> Values:
    """Return the numbers of a stack; those of a list in float64, in which they are computed."""
    numbers = numeric(data)
    return numbers.astype(np.float64, copy=False) if data.exact else numbers


def _reduced(kind: str, data: Stack, *, ignore_nodata: bool) -> Number:
    numbers = numeric(data) if kind in {"min", "max"} else _numbers(data)
    values, number = reduce_stack(kind, numbers, data.valid)
    return result_of(data, values, _enough(data, number, ignore_nodata=ignore_nodata))


def _enough(data: Stack, number: Values, *, ignore_nodata: bool) -> Mask:
    """Return where there are entries enough: one, or all of them."""
    length = len(data)
    if length and known_everywhere(data.valid):
        return all_valid(number.shape)
    enough: Mask = as_array(number > 0 if ignore_nodata or not length else number == length)
    return enough


def _shares(probabilities: Any, q: Any) -> tuple[float, ...]:
    if probabilities is None and q is None:
        raise QuantilesParameterMissing(
            "`quantiles` needs `probabilities`: shares such as [0.25, 0.5, 0.75], or their number."
        )
    if probabilities is not None and q is not None:
        raise QuantilesParameterConflict("Give `probabilities` or `q`, not both.")
    given: Any = q if probabilities is None else probabilities
    if isinstance(given, (int, float)):
        if given < 2 or given != int(given):  # noqa: PLR2004 - one share has no borders
            raise ArgumentInvalid(f"{given!r} shares cannot be cut: give a whole number from 2.")
        checked_length(int(given))
        return tuple(part / int(given) for part in range(1, int(given)))
    entries = entries_of(as_stack(given))
    if any(type(p) not in {int, float} or not 0 <= p <= 1 for p in entries):
        raise ArgumentInvalid(f"probabilities={entries} are not all numbers from 0 to 1.")
    if sorted(entries) != entries:
        raise AscendingProbabilitiesRequired(f"probabilities={entries} do not ascend. Sort them.")
    return tuple(map(float, entries))
