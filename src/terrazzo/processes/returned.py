"""What callbacks return, brought into the shape that cubes are made of."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Pixels, Stack, all_valid
from terrazzo.cube.pixels import compute_dtype, known_everywhere
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence


def as_pixels(result: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Pixels:
    """Return a callback's number per pixel; a plain number or None is repeated at no cost.

    Args:
        result: pixels, a Python or NumPy number or truth value, or None for no-data.
        shape: shape of the pixels.
        dtype: type of the cube that the callback worked on; a plain number gets the type in
            which that is computed.

    Raises:
        ArgumentInvalid: the callback returned an array per pixel, or no number.
    """
    if isinstance(result, Pixels):
        if result.shape == shape:
            return result
        return Pixels(np.broadcast_to(result.values, shape), np.broadcast_to(result.valid, shape))
    if result is None:
        nothing = np.broadcast_to(np.zeros((), compute_dtype(dtype)), shape)
        return Pixels(nothing, np.broadcast_to(np.False_, shape))
    if isinstance(result, bool | np.bool_):
        return Pixels(np.broadcast_to(np.bool_(result), shape), all_valid(shape))
    if isinstance(result, numbers.Real):
        with np.errstate(over="ignore"):
            one = np.asarray(result, compute_dtype(dtype))
        return Pixels(np.broadcast_to(one, shape), all_valid(shape))
    what = f"an array of {len(result)}" if isinstance(result, Stack) else type(result).__name__
    raise ArgumentInvalid(
        f"The callback must return one number per pixel, and it returns {what}. End it with a "
        "reducer such as `mean` or `array_element`, or use `apply_dimension` to keep arrays."
    )


def as_stack(result: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Stack:
    """Return a callback's array per pixel; one number is an array of one.

    Args:
        result: a stack, or what `as_pixels` takes.
        shape: shape of the pixels, without the axis of the array.
        dtype: as for `as_pixels`.

    Raises:
        ArgumentInvalid: the callback returned neither, or an array without an element.
    """
    if not isinstance(result, Stack):
        pixels = as_pixels(result, shape, dtype)
        return Stack(pixels.values[np.newaxis], pixels.valid[np.newaxis])
    if len(result) == 0:
        raise ArgumentInvalid("The callback returns an empty array; it must have an element.")
    if result.values.shape[1:] == shape:
        return result
    whole = (len(result), *shape)
    spread = (len(result), *(1,) * (len(whole) - result.values.ndim), *result.values.shape[1:])
    return Stack(
        np.broadcast_to(result.values.reshape(spread), whole),
        np.broadcast_to(result.valid.reshape(spread), whole),
        result.labels,
    )


def stacked(parts: Sequence[Pixels], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Stack:
    """Return pixels one upon the other, in the smallest type that holds them all.

    `shape` and `dtype` serve where there are none.
    """
    if not parts:
        return Stack(np.zeros((0, *shape), compute_dtype(dtype)), np.zeros((0, *shape), np.bool_))
    values = np.stack([part.values for part in parts])
    if all(known_everywhere(part.valid) for part in parts):
        return Stack(values, all_valid(values.shape))
    return Stack(values, np.stack([part.valid for part in parts]))


@dataclass(eq=False)
class Mosaic:
    """Pixels put together piece by piece, so that only one piece is held at a time."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """Of a mosaic without pieces; else it is the smallest type that holds them all."""
    _made: Pixels | None = None

    def put(self, place: tuple[Any, ...], piece: Pixels, where: Any = True) -> None:
        """Put pixels, of one piece or some of them, at a place of the whole: slices of it."""
        held = self._made
        if held is None:
            held = Pixels(np.zeros(self.shape, piece.dtype), np.zeros(self.shape, np.bool_))
        dtype = np.result_type(held.dtype, piece.dtype)
        if dtype != held.dtype:
            held = Pixels(held.values.astype(dtype), held.valid)
        np.copyto(held.values[place], piece.values, where=where)
        np.copyto(held.valid[place], piece.valid, where=where)
        self._made = held

    def whole(self) -> Pixels:
        """Return all pixels; no-data where no piece was put."""
        if self._made is None:
            return Pixels(np.zeros(self.shape, self.dtype), np.zeros(self.shape, np.bool_))
        return self._made


def is_true(result: Any) -> bool:
    """Return a callback's answer to a question asked once: no-data means no.

    Raises:
        ArgumentInvalid: the answer differs from pixel to pixel.
    """
    if isinstance(result, Pixels):
        if result.values.size != 1:
            raise ArgumentInvalid("A condition on a label must not depend on pixels.")
        return bool(result.valid.item() and result.values.item())
    return bool(result)
