"""Reducers: one number for an array, or one per pixel for a stack, along axis 0.

Sums run in float64 from the first entry to the last, pixel by pixel (see `kernels`), so that
the result of a pixel does not depend on the block it is computed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Number, Pixels, Stack
from terrazzo.cube.pixels import is_all_valid
from terrazzo.errors import (
    ArgumentInvalid,
    AscendingProbabilitiesRequired,
    QuantilesParameterConflict,
    QuantilesParameterMissing,
)
from terrazzo.processes import kernels
from terrazzo.processes.comparison import is_valid
from terrazzo.processes.convert import (
    as_stack,
    checked_length,
    entries_of,
    float_dtype,
    index_dtype,
    numeric,
    result_of,
)
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Callback, Context, NumberOrNull, Numbers, Schema

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
    total, count = _accumulated(as_stack(data), kernels.add_valid, 0.0)
    return _reduced(as_stack(data), total, count, ignore_nodata=ignore_nodata)


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
    total, count = _accumulated(as_stack(data), kernels.multiply_valid, 1.0)
    return _reduced(as_stack(data), total, count, ignore_nodata=ignore_nodata)


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
    total, count = _accumulated(as_stack(data), kernels.add_valid, 0.0)
    return _reduced(as_stack(data), _shared(total, count), count, ignore_nodata=ignore_nodata)


@process("variance", Role.SCALAR, categories=_STATISTICS)
def variance(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Sample variance, ((x1 - mean) ** 2 + ... + (xn - mean) ** 2) / (n - 1).

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The variance in the squared unit of `data`; NaN for a single value, no-data for none.

    Source:
        openEO process `variance` 2.0.0-rc.2; two-pass algorithm.
    """
    squares, count = _squares(as_stack(data))
    return _reduced(as_stack(data), _shared(squares, count - 1), count, ignore_nodata=ignore_nodata)


@process("sd", Role.SCALAR, categories=_STATISTICS)
def sd(data: Numbers, ignore_nodata: Flag = True) -> NumberOrNull:
    """Sample standard deviation, sqrt(variance).

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is left out; else one makes the result no-data.

    Returns:
        The deviation in the unit of `data`; NaN for a single value, no-data for none.

    Source:
        openEO process `sd` 2.0.0-rc.2; two-pass algorithm.
    """
    squares, count = _squares(as_stack(data))
    spread = np.sqrt(_shared(squares, count - 1))
    return _reduced(as_stack(data), spread, count, ignore_nodata=ignore_nodata)


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
    return _extreme(as_stack(data), kernels.keep_min, ignore_nodata=ignore_nodata)


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
    return _extreme(as_stack(data), kernels.keep_max, ignore_nodata=ignore_nodata)


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
    ends = [
        _folded(stack, kernel, stack.values.dtype)
        for kernel in (kernels.keep_min, kernels.keep_max)
    ]
    valid = _enough(stack, ends[0][1], ignore_nodata=ignore_nodata)
    values = np.stack([end for end, _ in ends])
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
    values, count = _quantiles(stack, np.array([0.5]))
    return _reduced(stack, values[0], count, ignore_nodata=ignore_nodata)


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
    values, count = _quantiles(stack, shares)
    valid = _enough(stack, count, ignore_nodata=ignore_nodata)
    cast = values.astype(float_dtype(stack), copy=False)
    return Stack(cast, np.broadcast_to(valid, cast.shape), exact=stack.exact)


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
        total += dtype.type(len(stack))
    elif condition is None or callable(condition):
        for entry in entries_of(stack):
            met = condition(x=entry, context=context) if callable(condition) else is_valid(entry)
            total += met.values & met.valid if isinstance(met, Pixels) else met is True
    else:
        raise ArgumentInvalid(
            f"condition={condition!r} counts nothing. Give a callback, true for all entries, or "
            "nothing for the valid ones."
        )
    return result_of(stack, total, np.ones(shape, np.bool_))


def _folded(data: Stack, kernel: Any, dtype: np.dtype[Any], start: float = 0) -> tuple[Any, Any]:
    """Run a kernel over the entries; return its accumulator and the number of valid entries."""
    values, shape = numeric(data), data.values.shape[1:]
    pixels = int(np.prod(shape, dtype=np.int64))
    total, number = np.full(pixels, start, dtype), np.zeros(pixels, np.int32)
    for index in range(len(data) if pixels else 0):
        entry = values[index, ...].astype(dtype, copy=False)
        kernel(total, number, kernels.flat(entry), kernels.flat(data.valid[index, ...]))
    return total.reshape(shape), number.reshape(shape)


def _accumulated(data: Stack, kernel: Any, start: float) -> tuple[Values, Values]:
    return _folded(data, kernel, np.dtype(np.float64), start)


def _squares(data: Stack) -> tuple[Values, Values]:
    total, number = _accumulated(data, kernels.add_valid, 0.0)
    centre = kernels.flat(_shared(total, number))
    squares = np.zeros(centre.size)
    for index in range(len(data) if centre.size else 0):
        entry = kernels.flat(data.values[index, ...].astype(np.float64, copy=False))
        kernels.add_squares(squares, centre, entry, kernels.flat(data.valid[index, ...]))
    return squares.reshape(total.shape), number


def _shared(total: Values, number: Values) -> Values:
    with np.errstate(all="ignore"):
        shared: Values = np.divide(total, number)
    return shared


def _enough(data: Stack, number: Values, *, ignore_nodata: bool) -> Mask:
    """Return where there are entries enough: one, or all of them."""
    enough: Mask = np.asarray(number > 0 if ignore_nodata else (number == len(data)) & (number > 0))
    return enough


def _reduced(data: Stack, values: Values, number: Values, *, ignore_nodata: bool) -> Number:
    with np.errstate(all="ignore"):
        cast = np.asarray(values, float_dtype(data))
    return result_of(data, cast, _enough(data, number, ignore_nodata=ignore_nodata))


def _extreme(data: Stack, kernel: Any, *, ignore_nodata: bool) -> Number:
    values, number = _folded(data, kernel, data.values.dtype)
    return result_of(data, values, _enough(data, number, ignore_nodata=ignore_nodata))


_SORTED_AS = {"u1": "u1", "b1": "u1", "i1": "i2", "i2": "i2", "u2": "u2", "f4": "f4", "f2": "f4"}
"""dtype in which values are sorted; all others are in float64, to have few compiled variants."""


def _quantiles(data: Stack, shares: Values) -> tuple[Values, Values]:
    """Return (share, ...) quantiles of the valid entries and their number."""
    shape = data.values.shape[1:]
    numbers = numeric(data)
    dtype = np.dtype(_SORTED_AS.get(numbers.dtype.str[1:], "f8"))
    matrix = kernels.rows(numbers.astype(dtype, copy=False))
    pixels = matrix.shape[1]
    out = np.zeros((shares.size, pixels), float_dtype(data))
    number = np.zeros(pixels, np.int32)
    if matrix.size:
        masked = not is_all_valid(data.valid)
        mask = kernels.rows(data.valid if masked else np.ones((1, 1), np.bool_))
        top = dtype.type(np.inf) if dtype.kind == "f" else np.iinfo(dtype).max
        steps = kernels.exchanges(len(data))
        kernels.quantiles(matrix, mask, masked, steps, shares, dtype.type(top), out, number)
    return out.reshape(shares.size, *shape), number.reshape(shape)


def _shares(probabilities: Any, q: Any) -> Values:
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
        return np.arange(1, int(given)) / int(given)
    entries = entries_of(as_stack(given))
    if any(type(p) not in {int, float} or not 0 <= p <= 1 for p in entries):
        raise ArgumentInvalid(f"probabilities={entries} are not all numbers from 0 to 1.")
    if sorted(entries) != entries:
        raise AscendingProbabilitiesRequired(f"probabilities={entries} do not ascend. Sort them.")
    return np.array(entries, np.float64)
