"""Applies maths to numbers: plain scalars in float64, pixels in the type they are computed in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Pixels, all_valid
from terrazzo.cube.pixels import compute_dtype, known_everywhere
from terrazzo.errors import ArgumentInvalid
from terrazzo.processes.convert import as_array, pixel_shape, scalar

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.cube import Mask, Number

EXACT_INTEGERS = 2**53
"""Integers up to here are exact in float64."""


def elementwise(function: Callable[..., Any], *operands: Number, integral: bool = False) -> Number:
    """Apply a function of floats pixel by pixel; no-data in any operand makes no-data.

    Args:
        function: takes and returns arrays of one dtype; must treat each element by itself.
        operands: numbers; booleans count as 0 and 1.
        integral: whether the results are whole numbers, so that a plain one is an `int`. It is
            one also if all operands are, because labels and positions are made that way.

    Returns:
        A plain scalar if all operands are, computed in float64; else pixels, in float32 unless
        the pixels among the operands need float64.

    Raises:
        ProcessParameterInvalid: an operand is no number.
    """
    for operand in operands:
        _check_number(operand)
    pixels = [operand for operand in operands if isinstance(operand, Pixels)]
    if not pixels:
        return _of_scalars(function, operands, integral=integral)
    dtype = np.result_type(*(compute_dtype(entry.dtype) for entry in pixels))
    shape = pixel_shape(pixels)
    if any(operand is None for operand in operands):
        return nothing(shape, dtype)
    with np.errstate(all="ignore"):
        arrays = [
            operand.values.astype(dtype, copy=False)
            if isinstance(operand, Pixels)
            else dtype.type(operand)
            for operand in operands
        ]
        values = function(*arrays)
    return Pixels(values, all_of(shape, *(entry.valid for entry in pixels)))


def nothing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Pixels:
    """Return pixels of which none is valid."""
    return Pixels(np.zeros(shape, dtype), np.zeros(shape, np.bool_))


def all_of(shape: tuple[int, ...], *masks: Mask) -> Mask:
    """Return where all masks are True; those that are True everywhere at no cost are left out."""
    kept: list[Mask] = []
    for mask in masks:
        if not known_everywhere(mask) and not any(mask is known for known in kept):
            kept.append(mask)
    if not kept:
        return all_valid(shape)
    result = kept[0]
    for mask in kept[1:]:
        result = as_array(result & mask)
    return result if result.shape == shape else np.broadcast_to(result, shape)


def _check_number(operand: Any) -> None:
    if operand is not None and not isinstance(operand, (Pixels, int, float, np.number, np.bool_)):
        raise ArgumentInvalid(
            f"{operand!r} is no number. Numbers, null and pixels are; take an entry out of an "
            "array with `array_element` or reduce it, for example with `mean`."
        )


def _of_scalars(
    function: Callable[..., Any], operands: tuple[Number, ...], *, integral: bool
) -> Number:
    if any(operand is None for operand in operands):
        return None
    plain = [scalar(operand) for operand in operands]
    with np.errstate(all="ignore"):
        result = float(function(*(np.full(1, entry, np.float64) for entry in plain))[0])
    whole = integral or all(type(entry) is int for entry in plain)
    if whole and math.isfinite(result) and result.is_integer() and abs(result) < EXACT_INTEGERS:
        return int(result)
    return result
