"""Turns JSON arrays and callback results into stacks and back, and finds common dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Pixels, Stack, all_valid
from terrazzo.cube.pixels import compute_dtype, known_everywhere
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.cube import Label, Mask, Number, Values


LONGEST_ARRAY = 100_000
"""Entries of an array that a process makes of a number; 274 years of days."""


def stack_of(entries: Sequence[Any], labels: Sequence[Label] | None = None) -> Stack:
    """Return an array as a stack.

    Args:
        entries: JSON values, None = no-data; or numbers per pixel among numbers for all.
        labels: one per entry.

    Returns:
        Values (n,), exact: float64 for numbers, bool for booleans, object for anything else; or
        (n, ...) in the dtype that holds all entries if one of them is `Pixels`.

    Raises:
        ProcessParameterInvalid: pixels stand beside text or other things that are no numbers.
    """
    named = None if labels is None else tuple(labels)
    plain = [scalar(entry) for entry in entries]
    if any(isinstance(entry, Pixels) for entry in plain):
        return _over_pixels(plain, named)
    valid = np.array([entry is not None for entry in plain], np.bool_)
    kinds = {type(entry) for entry in plain if entry is not None}
    values: Values
    if kinds <= {int, float}:
        values = np.array([0.0 if entry is None else float(entry) for entry in plain], np.float64)
    elif kinds == {bool}:
        values = np.array([bool(entry) for entry in plain], np.bool_)
    else:
        values = np.empty(len(plain), np.object_)
        for index, entry in enumerate(plain):
            values[index] = entry
    return Stack(values, valid, named, exact=True)


def checked_length(length: int) -> int:
    """Return the length that an array is to have.

    Raises:
        ProcessParameterInvalid: it is longer than any array needs to be.
    """
    if length > LONGEST_ARRAY:
        raise ArgumentInvalid(
            f"An array of {length:,} entries is too long: at most {LONGEST_ARRAY:,} are made."
        )
    return length


def as_stack(data: Stack | Sequence[Any]) -> Stack:
    """Return an array as a stack, whether it is one or still a JSON list."""
    return data if isinstance(data, Stack) else stack_of(data)


def to_json(result: Any) -> Any:
    """Return a scalar result as JSON: None for no-data, lists for stacks, NaN stays NaN.

    Raises:
        TypeError: the result has pixels.
    """
    if isinstance(result, Stack):
        if result.values.ndim != 1:
            raise TypeError(f"A stack of shape {result.values.shape} has pixels: it is no JSON.")
        return [to_json(entry) for entry in entries_of(result)]
    if isinstance(result, Pixels):
        if result.values.ndim:
            raise TypeError(f"Pixels of shape {result.shape} are no JSON.")
        return scalar(result.values[()]) if result.valid[()] else None
    if isinstance(result, (list, tuple)):
        return [to_json(entry) for entry in result]
    return scalar(result)


def scalar(value: Any) -> Any:
    """Return a NumPy scalar as the Python number that it is; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def as_array(value: Any) -> Any:
    """Return what NumPy made of arrays without axes as an array again; anything else as it is."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def is_list(data: Stack) -> bool:
    """Tell whether a stack is one array for all pixels, so that its entries are plain scalars."""
    return data.exact and data.values.ndim == 1


def entry_of(data: Stack, index: int) -> Any:
    """Return one entry: a plain scalar (None = no-data) of a list, else pixels."""
    if is_list(data):
        return scalar(data.values[index]) if data.valid[index] else None
    return Pixels(data.values[index, ...], data.valid[index, ...])


def entries_of(data: Stack) -> list[Any]:
    """Return all entries: plain scalars of a list, else pixels."""
    return [entry_of(data, index) for index in range(len(data))]


def numeric(data: Stack) -> Values:
    """Return the values of an array of numbers.

    Raises:
        ProcessParameterInvalid: an entry is text, an array or an object.
    """
    if data.values.dtype == np.object_:
        odd = next(entry for entry in data.values.tolist() if type(entry) not in {int, float})
        raise ArgumentInvalid(
            f"This needs an array of numbers (null for no-data); it holds {odd!r}."
        )
    return data.values


def float_dtype(data: Stack) -> np.dtype[Any]:
    """Return the type that numbers computed from a stack have: float64 for lists."""
    return np.dtype(np.float64) if data.exact else compute_dtype(data.values.dtype)


def index_dtype(length: int) -> np.dtype[Any]:
    """Return the type of counts and positions in arrays of this length: uint16 if it can."""
    return np.dtype(np.uint16 if length <= np.iinfo(np.uint16).max else np.uint32)


def result_of(data: Stack, values: Values, valid: Mask) -> Number:
    """Return what a reduction of a stack made: a plain scalar for a list, else pixels."""
    if not is_list(data):
        return Pixels(values, valid)
    number: Number = scalar(values[()]) if bool(valid) else None
    return number


def common_dtype(entries: Sequence[Any]) -> np.dtype[Any]:
    """Return the dtype that holds pixels and numbers alike.

    Pixels keep their dtype where the numbers for all pixels fit: float32 takes any number,
    uint16 takes 7, but with -1 it becomes int32 and with 0.5 float32.

    Raises:
        ProcessParameterInvalid: an entry is no number, boolean or no-data.
    """
    numbers = [entry for entry in entries if entry is not None]
    dtypes = [entry.dtype for entry in numbers if isinstance(entry, Pixels)]
    scalars = [entry for entry in numbers if not isinstance(entry, Pixels)]
    for entry in scalars:
        if not isinstance(entry, (bool, int, float)):
            raise ArgumentInvalid(f"{entry!r} cannot stand among numbers per pixel.")
    found = np.result_type(*dtypes) if dtypes else None
    if found is not None and found.kind == "f":
        return found
    for whole in (entry for entry in scalars if isinstance(entry, int)):
        needed = np.min_scalar_type(whole)
        if found is None or (needed != np.bool_ and not np.can_cast(needed, found)):
            found = needed if found is None else np.result_type(found, needed)
    if any(isinstance(entry, float) for entry in scalars) or found is None or found.kind == "O":
        return np.dtype(np.float32) if found is None else compute_dtype(found)
    return found


def spread(entry: Number, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Pixels:
    """Return a number as pixels of a shape and dtype; a number for all takes no memory."""
    if isinstance(entry, Pixels):
        values = np.broadcast_to(entry.values.astype(dtype, copy=False), shape)
        return Pixels(values, np.broadcast_to(entry.valid, shape))
    with np.errstate(all="ignore"):
        value = np.asarray(0 if entry is None else entry).astype(dtype)
    valid = all_valid(shape) if entry is not None else np.broadcast_to(np.False_, shape)
    return Pixels(np.broadcast_to(value, shape), valid)


def pixel_shape(entries: Sequence[Any]) -> tuple[int, ...]:
    """Return the shape that the pixels among the entries have together."""
    return np.broadcast_shapes(*(entry.shape for entry in entries if isinstance(entry, Pixels)))


def _over_pixels(entries: Sequence[Any], labels: tuple[Label, ...] | None) -> Stack:
    dtype, shape = common_dtype(entries), pixel_shape(entries)
    pixels = [spread(entry, shape, dtype) for entry in entries]
    masks = [entry.valid for entry in pixels]
    whole = all(map(known_everywhere, masks))
    valid = all_valid((len(entries), *shape)) if whole else np.stack(masks)
    return Stack(np.stack([entry.values for entry in pixels]), valid, labels)
