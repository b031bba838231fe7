"""Running sums, products and extremes along an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Stack
from terrazzo.cube.pixels import known_everywhere
from terrazzo.processes.convert import as_stack, float_dtype, numeric
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Numbers, Schema
from terrazzo.processes.series import run_along

if TYPE_CHECKING:
    from terrazzo.cube import Mask

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
    return _running(as_stack(data), "sum", ignore_nodata=ignore_nodata)


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
    return _running(as_stack(data), "product", ignore_nodata=ignore_nodata)


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
    return _running(as_stack(data), "min", ignore_nodata=ignore_nodata)


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
    return _running(as_stack(data), "max", ignore_nodata=ignore_nodata)


def _running(data: Stack, kind: str, *, ignore_nodata: bool) -> Stack:
    """Combine entries in order; sums and products are rounded from float64, extremes kept."""
    numbers = numeric(data)
    dtype = numbers.dtype if kind in {"min", "max"} else float_dtype(data)
    values: Any = run_along(kind, numbers, data.valid, dtype)
    valid = data.valid if ignore_nodata else _unbroken(data.valid)
    return Stack(values, valid, data.labels, exact=data.exact)


def _unbroken(valid: Mask) -> Mask:
    """Return where an entry and all before it are valid."""
    if known_everywhere(valid) or not len(valid):
        return valid
    masks = [valid[0, ...]]
    for index in range(1, len(valid)):
        masks.append(masks[-1] & valid[index, ...])
    return np.stack(masks)
