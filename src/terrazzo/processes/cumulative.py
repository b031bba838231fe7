"""Running sums, products and extremes along an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Stack
from terrazzo.processes.convert import as_stack, float_dtype, numeric
from terrazzo.processes.kernels import where
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Numbers, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.cube import Mask, Values

_CUMULATIVE = ("math > cumulative",)

Flag = Annotated[bool, Schema({"type": "boolean"})]


@process("cumsum", Role.SCALAR, categories=_CUMULATIVE, experimental=True)
def cumsum(data: Numbers, ignore_nodata: Flag = True) -> Numbers:
    """Running sums, x1, x1 + x2, ..., x1 + ... + xn.

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is passed over; else nothing follows the first one.

    Returns:
        (n, ...) in the unit of `data`, with its labels; no-data where `data` has it.

    Source:
        openEO process `cumsum` 2.0.0-rc.2.
    """
    return _running(as_stack(data), np.add, 0.0, ignore_nodata=ignore_nodata)


@process("cumproduct", Role.SCALAR, categories=_CUMULATIVE, experimental=True)
def cumproduct(data: Numbers, ignore_nodata: Flag = True) -> Numbers:
    """Running products, x1, x1 * x2, ..., x1 * ... * xn.

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is passed over; else nothing follows the first one.

    Returns:
        (n, ...) with the labels of `data`; no-data where `data` has it.

    Source:
        openEO process `cumproduct` 2.0.0-rc.2.
    """
    return _running(as_stack(data), np.multiply, 1.0, ignore_nodata=ignore_nodata)


@process("cummin", Role.SCALAR, categories=_CUMULATIVE, experimental=True)
def cummin(data: Numbers, ignore_nodata: Flag = True) -> Numbers:
    """Running minima, x1, min(x1, x2), ..., min(x1, ..., xn).

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is passed over; else nothing follows the first one.

    Returns:
        (n, ...) in the dtype of `data`, with its labels; no-data where `data` has it, NaN from
        the first NaN on.

    Source:
        openEO process `cummin` 2.0.0-rc.2.
    """
    return _running(as_stack(data), _lower, None, ignore_nodata=ignore_nodata)


@process("cummax", Role.SCALAR, categories=_CUMULATIVE, experimental=True)
def cummax(data: Numbers, ignore_nodata: Flag = True) -> Numbers:
    """Running maxima, x1, max(x1, x2), ..., max(x1, ..., xn).

    Args:
        data: (n, ...) numbers.
        ignore_nodata: whether no-data is passed over; else nothing follows the first one.

    Returns:
        (n, ...) in the dtype of `data`, with its labels; no-data where `data` has it, NaN from
        the first NaN on.

    Source:
        openEO process `cummax` 2.0.0-rc.2.
    """
    return _running(as_stack(data), _higher, None, ignore_nodata=ignore_nodata)


# Not np.minimum and np.maximum: which zero they return of -0.0 and 0.0 depends on the place.
def _lower(known: Any, x: Any) -> Any:
    return where((x < known) | (x != x), x, known)  # noqa: PLR0124 - NaN


def _higher(known: Any, x: Any) -> Any:
    return where((x > known) | (x != x), x, known)  # noqa: PLR0124 - NaN


def _running(
    data: Stack, combine: Callable[[Any, Any], Any], start: float | None, *, ignore_nodata: bool
) -> Stack:
    """Combine entries in order; sums in float64, extremes (without `start`) in their dtype."""
    numbers, shape = numeric(data), data.values.shape[1:]
    dtype = numbers.dtype if start is None else np.dtype(np.float64)
    kept = numbers.dtype if start is None else float_dtype(data)
    total: Values = np.full(shape, 0 if start is None else start, dtype)
    begun: Mask = np.full(shape, start is not None, np.bool_)
    unbroken: Mask = np.ones(shape, np.bool_)
    values, valid = [], []
    with np.errstate(all="ignore"):
        for index in range(len(data)):
            entry = numbers[index, ...].astype(dtype, copy=False)
            there = data.valid[index, ...]
            unbroken = unbroken & there
            more = combine(total, entry)
            if start is None:
                more = where(begun, more, entry)
            total = where(there, more, total)
            begun = begun | there
            values.append(total.astype(kept, copy=False))
            valid.append(there if ignore_nodata else unbroken)
    if not values:
        return Stack(np.zeros(numbers.shape, kept), data.valid, data.labels, exact=data.exact)
    return Stack(np.stack(values), np.stack(valid), data.labels, exact=data.exact)
