"""Three-valued logic: no-data stays where the outcome depends on what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Mask, Number, Pixels, Stack, Values, all_valid
from terrazzo.cube.pixels import known_everywhere
from terrazzo.errors import ArgumentInvalid
from terrazzo.processes.convert import (
    as_array,
    as_stack,
    common_dtype,
    entries_of,
    is_list,
    pixel_shape,
    result_of,
    scalar,
    spread,
    stack_of,
)
from terrazzo.processes.kernels import where
from terrazzo.processes.operands import all_of
from terrazzo.processes.registry import UNKNOWN, Role, Rules, process
from terrazzo.processes.schemas import Anything, BooleanOrNull, Booleans, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from terrazzo.processes.registry import NeedsRule

_LOGIC = ("logic",)
_REDUCER = ("logic", "reducer")

Flag = Annotated[bool, Schema({"type": "boolean"})]


def _until(decisive: bool) -> NeedsRule:
    """Return a rule that needs operands, or entries of an array, up to the one that decides."""

    def rule(arguments: Mapping[str, Any], value_of: Callable[[Any], Any]) -> tuple[Any, ...]:
        given = dict(arguments)
        parts = (given.pop("data"),) if "data" in given else (given.pop("x"), given.pop("y"))
        if isinstance(parts[0], tuple):
            parts = parts[0]
        always = tuple(given.values())
        for number, part in enumerate(parts, 1):
            value = value_of(part)
            if value is UNKNOWN or value is decisive:
                return (*always, *parts[:number])
        return (*always, *parts)

    return rule


def _one_branch(arguments: Mapping[str, Any], value_of: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Need one branch of `if` where the condition is the same for all pixels."""
    condition = arguments["value"]
    value = value_of(condition)
    if value is UNKNOWN:
        return (condition,)
    if isinstance(value, bool) or value is None:
        return (condition, arguments.get("accept" if value is True else "reject"))
    return tuple(arguments.values())


@process("and", Role.SCALAR, categories=_LOGIC, rules=Rules(needs=_until(decisive=False)))
def and_(x: BooleanOrNull, y: BooleanOrNull) -> BooleanOrNull:
    """Whether both values are true, min(x, y).

    Args:
        x: boolean; of numbers per pixel all but 0 are true.
        y: boolean; not computed if `x` is false for all pixels.

    Returns:
        A boolean; false as soon as one is, else no-data where one is.

    Source:
        openEO process `and` 2.0.0-rc.2; Kleene's logic K3.
    """
    if isinstance(x, Pixels) and isinstance(y, Pixels) and _one_mask(x, y):
        return Pixels(as_array(_truth(x) & _truth(y)), x.valid)
    (a, not_a), (b, not_b) = _sure(x), _sure(y)
    return _decided(a & b, not_a | not_b, x, y)


@process("or", Role.SCALAR, categories=_LOGIC, rules=Rules(needs=_until(decisive=True)))
def or_(x: BooleanOrNull, y: BooleanOrNull) -> BooleanOrNull:
    """Whether one value or both are true, max(x, y).

    Args:
        x: boolean; of numbers per pixel all but 0 are true.
        y: boolean; not computed if `x` is true for all pixels.

    Returns:
        A boolean; true as soon as one is, else no-data where one is.

    Source:
        openEO process `or` 2.0.0-rc.2; Kleene's logic K3.
    """
    if isinstance(x, Pixels) and isinstance(y, Pixels) and _one_mask(x, y):
        return Pixels(as_array(_truth(x) | _truth(y)), x.valid)
    (a, not_a), (b, not_b) = _sure(x), _sure(y)
    return _decided(a | b, not_a & not_b, x, y)


@process("not", Role.SCALAR, categories=_LOGIC)
def not_(x: BooleanOrNull) -> BooleanOrNull:
    """Opposite of a boolean, 1 - x.

    Args:
        x: boolean; of numbers per pixel all but 0 are true. No-data passes.

    Returns:
        A boolean; no-data where `x` is.

    Source:
        openEO process `not` 2.0.0-rc.2.
    """
    if isinstance(x, Pixels):
        return Pixels(as_array(~_truth(x)), x.valid)
    return None if x is None else not _boolean(x)


@process("xor", Role.SCALAR, categories=_LOGIC)
def xor(x: BooleanOrNull, y: BooleanOrNull) -> BooleanOrNull:
    """Whether exactly one of two values is true, |x - y|.

    Args:
        x: boolean; of numbers per pixel all but 0 are true.
        y: boolean.

    Returns:
        A boolean; no-data where `x` or `y` is.

    Source:
        openEO process `xor` 2.0.0-rc.2.
    """
    if isinstance(x, Pixels) and isinstance(y, Pixels) and _one_mask(x, y):
        return Pixels(as_array(_truth(x) ^ _truth(y)), x.valid)
    (a, not_a), (b, not_b) = _sure(x), _sure(y)
    return _decided(a & not_b | b & not_a, a & b | not_a & not_b, x, y)


@process("all", Role.SCALAR, categories=_REDUCER, rules=Rules(needs=_until(decisive=False)))
def all_(data: Booleans, ignore_nodata: Flag = True) -> BooleanOrNull:
    """Whether every value of an array is true, min(data).

    Args:
        data: (n, ...) booleans; of numbers all but 0 are true.
        ignore_nodata: whether no-data counts as true; else the outcome is no-data where it
            depends on what is missing.

    Returns:
        A boolean; true for an empty array.

    Source:
        openEO process `all` 2.0.0-rc.2; Kleene's logic K3.
    """
    return _folded(as_stack(data), decisive=False, ignore_nodata=ignore_nodata)


@process("any", Role.SCALAR, categories=_REDUCER, rules=Rules(needs=_until(decisive=True)))
def any_(data: Booleans, ignore_nodata: Flag = True) -> BooleanOrNull:
    """Whether at least one value of an array is true, max(data).

    Args:
        data: (n, ...) booleans; of numbers all but 0 are true.
        ignore_nodata: whether no-data counts as false; else the outcome is no-data where it
            depends on what is missing.

    Returns:
        A boolean; false for an empty array.

    Source:
        openEO process `any` 2.0.0-rc.2; Kleene's logic K3.
    """
    return _folded(as_stack(data), decisive=True, ignore_nodata=ignore_nodata)


@process(
    "if",
    Role.SCALAR,
    categories=("logic", "comparison", "masks"),
    rules=Rules(needs=_one_branch),
)
def if_(value: BooleanOrNull, accept: Anything, reject: Anything = None) -> Anything:
    """One of two values: value ? accept : reject.

    Args:
        value: boolean, or a boolean per pixel.
        accept: result where `value` is true. Of two branches, only that is computed which one
            boolean for all pixels chooses.
        reject: result where `value` is false or no-data; no-data by default.

    Returns:
        `accept` or `reject` as it is for one boolean. For a boolean per pixel, pixels in the
        dtype that holds both; arrays are chosen from entry by entry.

    Raises:
        ProcessParameterInvalid: `value` differs per pixel and a branch is text or an object, or
            the branches are arrays of different length.

    Source:
        openEO process `if` 2.0.0-rc.2.
    """
    if not isinstance(value, Pixels):
        return accept if value is not None and _boolean(value) else reject
    if isinstance(accept, (Stack, list, tuple)) or isinstance(reject, (Stack, list, tuple)):
        return _chosen_arrays(value, accept, reject)
    dtype = common_dtype((accept, reject))
    shape = pixel_shape((value, accept, reject))
    chosen = where_true(value)
    yes, no = spread(accept, shape, dtype), spread(reject, shape, dtype)
    if reject is None:
        return Pixels(yes.values, all_of(shape, chosen, yes.valid))
    if accept is None:
        return Pixels(no.values, all_of(shape, ~chosen, no.valid))
    valid = all_valid(shape)
    if not (known_everywhere(yes.valid) and known_everywhere(no.valid)):
        valid = chosen & yes.valid | ~chosen & no.valid
    return Pixels(where(chosen, yes.values, no.values), valid)


def _chosen_arrays(value: Pixels, accept: Any, reject: Any) -> Stack:
    for branch in (accept, reject):
        if branch is not None and not isinstance(branch, (Stack, list, tuple)):
            raise ArgumentInvalid(
                "One branch of `if` is an array and the other is not. Where the condition differs "
                "per pixel both must be arrays of one length, or one of them null."
            )
    branches = [None if branch is None else as_stack(branch) for branch in (accept, reject)]
    lengths = {len(branch) for branch in branches if branch is not None}
    if len(lengths) != 1:
        raise ArgumentInvalid(
            f"The branches of `if` are arrays of {' and '.join(map(str, sorted(lengths)))} "
            "entries. Where the condition differs per pixel they must be of one length."
        )
    none = [None] * lengths.pop()
    yes, no = (none if branch is None else entries_of(branch) for branch in branches)
    labels = next(branch.labels for branch in branches if branch is not None)
    return stack_of([if_(value, a, b) for a, b in zip(yes, no, strict=True)], labels)


def _boolean(value: Any) -> bool:
    value = scalar(value)
    if not isinstance(value, (bool, int, float)):
        raise ArgumentInvalid(
            f"{value!r} is no boolean. Make one with a comparison, for example `gt` or `eq`."
        )
    return bool(value)


def where_true(x: Pixels) -> Mask:
    """Return where pixels are true; not where they are missing."""
    return _truth(x) if known_everywhere(x.valid) else _truth(x) & x.valid


def _truth(x: Pixels) -> Mask:
    return x.values.astype(np.bool_, copy=False)


def _one_mask(x: Pixels, y: Pixels) -> bool:
    """Tell whether two are sure to be missing at the same pixels."""
    everywhere = known_everywhere(x.valid) and known_everywhere(y.valid)
    return x.valid is y.valid or (everywhere and x.shape == y.shape)


def _sure(value: Any) -> tuple[Any, Any]:
    """Return whether a value is surely true, and whether it is surely false."""
    if isinstance(value, Pixels):
        true, false = _truth(value), ~_truth(value)
        known = known_everywhere(value.valid)
        return (true, false) if known else (true & value.valid, false & value.valid)
    there = value is not None
    yes = there and _boolean(value)
    return np.bool_(yes), np.bool_(there and not yes)


def _decided(true: Any, false: Any, *operands: Any) -> Number:
    """Return a truth value, missing where it is neither surely true nor surely false."""
    pixels = [operand for operand in operands if isinstance(operand, Pixels)]
    if not pixels:
        return bool(true) if true | false else None
    shape = pixel_shape(pixels)
    return Pixels(np.broadcast_to(true, shape), np.broadcast_to(true | false, shape))


def _folded(data: Stack, *, decisive: bool, ignore_nodata: bool) -> Number:
    """Return `decisive` where an entry is it, else its opposite."""
    shape = data.values.shape[1:]
    decided: Values = np.zeros(shape, np.bool_)
    complete: Mask = np.ones(shape, np.bool_)
    for index in range(len(data)):
        row, there = _row(data, index), data.valid[index, ...]
        found = row if decisive else ~row
        if not known_everywhere(there):
            found, complete = found & there, complete & there
        decided = decided | found
    values: Values = decided if decisive else ~decided
    valid = all_valid(shape) if ignore_nodata else decided | complete
    return result_of(data, values, valid)


def _row(data: Stack, index: int) -> Values:
    entry = data.values[index, ...]
    if is_list(data) and entry.dtype == np.object_ and data.valid[index]:
        return np.asarray(_boolean(entry[()]))
    return entry.astype(np.bool_, copy=False)
