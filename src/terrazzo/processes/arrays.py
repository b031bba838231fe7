"""Arrays: take entries out, look for them, join, build, transform and fill.

An array is one list for all pixels (plain scalars) or a stack with one array per pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Label, Number, Pixels, Stack, all_valid
from terrazzo.cube.pixels import known_everywhere
from terrazzo.errors import (
    ArgumentInvalid,
    ArrayElementNotAvailable,
    ArrayElementParameterConflict,
    ArrayElementParameterMissing,
    ArrayLabelConflict,
    ArrayNotLabeled,
    LabelExists,
)
from terrazzo.geo.times import parse_time
from terrazzo.processes.comparison import equal
from terrazzo.processes.convert import (
    as_stack,
    checked_length,
    entries_of,
    entry_of,
    float_dtype,
    index_dtype,
    is_list,
    numeric,
    result_of,
    scalar,
    stack_of,
)
from terrazzo.processes.kernels import where
from terrazzo.processes.logic import if_, or_, where_true
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Anything, Callback, Context, Numbers, Schema
from terrazzo.processes.series import interpolated

if TYPE_CHECKING:
    from terrazzo.cube import Mask, Values

_ANY: dict[str, Any] = {"description": "Any data type."}
_ARRAYS = ("arrays",)
_REDUCER = ("arrays", "reducer")
_LABELS: list[dict[str, Any]] = [{"type": "number"}, {"type": "string"}]


def _entry_callback(returns: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "subtype": "process-graph",
        "parameters": [
            {"name": "x", "description": "An entry.", "schema": _ANY},
            {
                "name": "index",
                "description": "Its position, from 0.",
                "schema": {"type": "integer", "minimum": 0},
            },
            {
                "name": "label",
                "description": "Its label; null in an array without labels.",
                "schema": [*_LABELS, {"type": "null"}],
                "default": None,
                "optional": True,
            },
            {
                "name": "context",
                "description": "What the caller passes on.",
                "schema": _ANY,
                "optional": True,
                "default": None,
            },
        ],
        "returns": {"schema": returns},
    }


Flag = Annotated[bool, Schema({"type": "boolean"})]
AnyArray = Annotated[Stack, Schema({"type": "array", "items": _ANY})]
Joined = Annotated[Stack | Pixels, Schema({"type": "array", "items": _ANY})]
Untyped = Annotated[Stack, Schema({"type": "array"})]
LabelArray = Annotated[Stack, Schema({"type": "array", "items": {"type": ["number", "string"]}})]
Position = Annotated[
    int | None, Schema({"type": "integer", "minimum": 0}, checked={"type": "integer"})
]
LabelOrNone = Annotated[Label | None, Schema(_LABELS)]
NewLabel = Annotated[Label | None, Schema([*_LABELS, {"type": "null"}])]
Sought = Annotated[Any, Schema({"type": ["number", "boolean", "string", "null"]}, checked=_ANY)]
Truth = Annotated[Number, Schema({"type": "boolean"})]
Found = Annotated[Number, Schema([{"type": "null"}, {"type": "integer", "minimum": 0}])]
Times = Annotated[int, Schema({"type": "integer", "minimum": 1})]
Transform = Annotated[Callback, Schema(_entry_callback(_ANY))]
Condition = Annotated[Callback, Schema(_entry_callback({"type": "boolean"}))]


@process("array_element", Role.SCALAR, categories=_REDUCER)
def array_element(
    data: AnyArray,
    index: Position = None,
    label: LabelOrNone = None,
    return_nodata: Flag = False,
) -> Anything:
    """Entry of an array at a position or with a label, data[index].

    Args:
        data: (n, ...) values of any kind.
        index: position, from 0.
        label: label, instead of `index`.
        return_nodata: whether an entry that is not there is no-data rather than an error.

    Returns:
        The entry, in the dtype of `data`.

    Raises:
        ArrayElementNotAvailable: there is no such position or label.
        ArrayElementParameterMissing: neither `index` nor `label` is given.
        ArrayElementParameterConflict: both are given.
        ArrayNotLabeled: `label` is given and the array has none.

    Source:
        openEO process `array_element` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    if index is None and label is None:
        raise ArrayElementParameterMissing("`array_element` needs `index` or `label`.")
    if index is not None and label is not None:
        raise ArrayElementParameterConflict("Give `index` or `label`, not both.")
    if label is not None and stack.labels is None:
        raise ArrayNotLabeled(f"The array has no labels, so none is {label!r}. Use `index`.")
    names: tuple[Any, ...] = stack.labels or ()
    position = _position(index) if label is None else _index_of(names, label)
    if 0 <= position < len(stack):
        return entry_of(stack, position)
    if not return_nodata:
        known = f"labels {', '.join(map(str, names[:20]))}" if label is not None else "entries"
        wanted = f"index {index}" if label is None else f"label {label!r}"
        raise ArrayElementNotAvailable(
            f"The array has no {wanted}: it has {len(stack)} {known}. `return_nodata` gives "
            "no-data instead."
        )
    return _missing(stack)


@process("first", Role.SCALAR, categories=_REDUCER)
def first(data: AnyArray, ignore_nodata: Flag = True) -> Anything:
    """First entry of an array, data[0].

    Args:
        data: (n, ...) values of any kind.
        ignore_nodata: whether to take the first entry that is not no-data.

    Returns:
        The entry, in the dtype of `data`; no-data if there is none.

    Source:
        openEO process `first` 2.0.0-rc.2.
    """
    return _foremost(as_stack(data), 1, ignore_nodata=ignore_nodata)


@process("last", Role.SCALAR, categories=_REDUCER)
def last(data: AnyArray, ignore_nodata: Flag = True) -> Anything:
    """Last entry of an array, data[n - 1].

    Args:
        data: (n, ...) values of any kind.
        ignore_nodata: whether to take the last entry that is not no-data.

    Returns:
        The entry, in the dtype of `data`; no-data if there is none.

    Source:
        openEO process `last` 2.0.0-rc.2.
    """
    return _foremost(as_stack(data), -1, ignore_nodata=ignore_nodata)


@process("array_append", Role.SCALAR, categories=_ARRAYS)
def array_append(data: AnyArray, value: Anything, label: NewLabel = None) -> AnyArray:
    """Array with one entry more, data[0], ..., data[n - 1], value.

    Args:
        data: (n, ...) values of any kind.
        value: the new entry.
        label: its label in an array with labels; by default its position.

    Returns:
        (n + 1, ...) in the dtype that holds all entries.

    Raises:
        LabelExists: another entry has this label.
        ArrayNotLabeled: `label` is given and the array has none.

    Source:
        openEO process `array_append` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    if stack.labels is None:
        if label is not None:
            raise ArrayNotLabeled(f"The array has no labels: leave out label={label!r}.")
        return stack_of([*entries_of(stack), value])
    name = len(stack) if label is None else label
    if name in stack.labels:
        raise LabelExists(f"The array already has an entry with label {name!r}. Name another.")
    return stack_of([*entries_of(stack), value], (*stack.labels, name))


@process("array_concat", Role.SCALAR, categories=_ARRAYS)
def array_concat(array1: Joined, array2: Joined) -> AnyArray:
    """Two arrays one after the other, array1[0], ..., array2[0], ...

    A number that was computed for each pixel counts as an array of one: clients write so.

    Args:
        array1: (n, ...) values of any kind.
        array2: (m, ...) values of any kind.

    Returns:
        (n + m, ...) in the dtype that holds all entries; with labels if both arrays have them.

    Raises:
        ArrayLabelConflict: a label is in both arrays.

    Source:
        openEO process `array_concat` 2.0.0-rc.2.
    """
    head, tail = (
        stack_of([array]) if isinstance(array, Pixels) else as_stack(array)
        for array in (array1, array2)
    )
    labels: tuple[Label, ...] | None = None
    if head.labels is not None and tail.labels is not None:
        shared = [label for label in head.labels if label in tail.labels]
        if shared:
            raise ArrayLabelConflict(
                f"Both arrays have {', '.join(map(repr, shared[:20]))}. Labels must differ."
            )
        labels = (*head.labels, *tail.labels)
    return stack_of([*entries_of(head), *entries_of(tail)], labels)


@process("array_contains", Role.SCALAR, categories=("arrays", "comparison", "reducer"))
def array_contains(data: AnyArray, value: Sought) -> Truth:
    """Whether an entry of an array equals a value, any(x = value).

    Args:
        data: (n, ...) values of any kind.
        value: what to look for, compared as `eq` does; no-data is never found.

    Returns:
        A boolean, never no-data.

    Source:
        openEO process `array_contains` 2.0.0-rc.2.
    """
    found: Number = False
    for entry in entries_of(as_stack(data)):
        found = or_(found, if_(equal(entry, value), accept=True, reject=False))
    if isinstance(found, bool) and not is_list(as_stack(data)):
        shape = as_stack(data).values.shape[1:]
        return Pixels(np.full(shape, found), all_valid(shape))
    return found


@process("array_create", Role.SCALAR, categories=_ARRAYS)
def array_create(data: AnyArray = (), repeat: Times = 1) -> AnyArray:  # type: ignore[assignment]
    """Array made of another, repeat times data[0], ..., data[n - 1].

    Args:
        data: (n, ...) values of any kind; none by default.
        repeat: how many times the entries follow each other.

    Returns:
        (repeat * n, ...) without labels.

    Raises:
        ProcessParameterInvalid: `repeat` is less than 1, or the array would be too long.

    Source:
        openEO process `array_create` 2.0.0-rc.2.
    """
    if repeat < 1:
        raise ArgumentInvalid(f"repeat={repeat} is too few: an array is repeated once or more.")
    stack = as_stack(data)
    checked_length(repeat * len(stack))
    if repeat == 1:
        return Stack(stack.values, stack.valid, exact=stack.exact)
    values, valid = (np.concatenate([part] * repeat) for part in (stack.values, stack.valid))
    return Stack(values, valid, exact=stack.exact)


@process("array_find", Role.SCALAR, categories=_REDUCER)
def array_find(data: AnyArray, value: Anything, reverse: Flag = False) -> Found:
    """Position of the first entry that equals a value, min {i: data[i] = value}.

    Args:
        data: (n, ...) values of any kind.
        value: what to look for, compared as `eq` does; no-data is never found.
        reverse: whether to take the last such entry.

    Returns:
        0..n - 1, or no-data if there is none; uint16 for pixels with up to 65535 entries.

    Source:
        openEO process `array_find` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    hits = [equal(entry, value) for entry in entries_of(stack)]
    order = range(len(hits))[:: 1 if reverse else -1]  # the last one found is kept
    if is_list(stack) and not any(isinstance(hit, Pixels) for hit in hits):
        return next((index for index in reversed(order) if hits[index] is True), None)
    shape = next((hit.shape for hit in hits if isinstance(hit, Pixels)), stack.values.shape[1:])
    position: Values = np.zeros(shape, index_dtype(len(hits)))
    found: Mask = np.zeros(shape, np.bool_)
    for index in order:
        hit = hits[index]
        if isinstance(hit, Pixels):
            here = where_true(hit)
            position, found = where(here, position.dtype.type(index), position), found | here
    return Pixels(position, found)


@process("array_labels", Role.SCALAR, categories=_ARRAYS)
def array_labels(data: Untyped) -> LabelArray:
    """Labels of an array, or its positions 0, 1, ..., n - 1 if it has none.

    Args:
        data: (n, ...) values of any kind.

    Returns:
        (n,) texts or numbers.

    Source:
        openEO process `array_labels` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    return stack_of(list(range(len(stack)) if stack.labels is None else stack.labels))


@process("array_apply", Role.SCALAR, categories=_ARRAYS)
def array_apply(data: AnyArray, process: Transform, context: Context = None) -> AnyArray:
    """Array with a callback run on each entry, process(data[0]), ..., process(data[n - 1]).

    Args:
        data: (n, ...) values of any kind.
        process: callback to a value; gets `x`, `index`, `label` and `context`.
        context: passed to the callback.

    Returns:
        (n, ...) in the dtype that holds all results; with the labels of `data`.

    Source:
        openEO process `array_apply` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    results = _called(stack, process, context)
    if results or is_list(stack):
        return stack_of(results, stack.labels)
    return stack


@process("array_filter", Role.SCALAR, categories=("arrays", "filter"))
def array_filter(data: AnyArray, condition: Condition, context: Context = None) -> AnyArray:
    """Array of the entries that meet a condition, {data[i]: condition(data[i])}.

    Args:
        data: (n, ...) values of any kind.
        condition: callback to a boolean; gets `x`, `index`, `label` and `context`.
        context: passed to the callback.

    Returns:
        The entries for which the callback is true, with their labels. Where it differs per
        pixel, arrays stay as long as they are and the other entries become no-data, because all
        pixels of a cube have the same labels.

    Source:
        openEO process `array_filter` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    verdicts = _called(stack, condition, context)
    if any(isinstance(verdict, Pixels) for verdict in verdicts):
        entries = zip(verdicts, entries_of(stack), strict=True)
        kept = [if_(verdict, entry) for verdict, entry in entries]
        return stack_of(kept, stack.labels)
    chosen = [index for index, verdict in enumerate(verdicts) if scalar(verdict) is True]
    labels = None if stack.labels is None else tuple(stack.labels[index] for index in chosen)
    return Stack(stack.values[chosen], stack.valid[chosen], labels, exact=stack.exact)


@process(
    "array_interpolate_linear",
    Role.SCALAR,
    categories=("arrays", "math", "math > interpolation"),
)
def array_interpolate_linear(data: Numbers) -> Numbers:
    """Array with its gaps filled, a + (b - a) * (t - ta) / (tb - ta).

    Args:
        data: (n, ...) numbers; no-data and NaN are gaps. The place of an entry on the line is
            its label if the labels are ascending numbers or times, else its position.

    Returns:
        (n, ...) in the unit of `data`; gaps before the first and after the last number stay.

    Source:
        openEO process `array_interpolate_linear` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    numbers = numeric(stack).astype(float_dtype(stack), copy=False)
    values, valid = interpolated(numbers, stack.valid, tuple(_places(stack)))
    return Stack(values, valid, stack.labels, exact=stack.exact)


def _position(index: Any) -> int:
    number = scalar(index)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or number != int(number):
        raise ArgumentInvalid(f"index={index!r} is no position: give a whole number from 0.")
    return int(number)


def _index_of(labels: tuple[Any, ...], label: Any) -> int:
    return labels.index(label) if label in labels else -1


def _missing(data: Stack) -> Any:
    shape = data.values.shape[1:]
    return result_of(data, np.zeros(shape, data.values.dtype), np.zeros(shape, np.bool_))


def _foremost(data: Stack, step: int, *, ignore_nodata: bool) -> Any:
    order = range(len(data))[::step]
    if not order:
        return _missing(data)
    if not ignore_nodata:
        return entry_of(data, order[0])
    if is_list(data):
        return next((entry_of(data, index) for index in order if data.valid[index]), None)
    values, found = data.values[order[-1], ...], data.valid[order[-1], ...]
    for index in reversed(order[:-1]):
        here, value = data.valid[index, ...], data.values[index, ...]
        if known_everywhere(here):
            values, found = value, here
            continue
        values = where(here, value, values)
        found = found if known_everywhere(found) else here | found
    return Pixels(values, found)


def _called(data: Stack, callback: Callback, context: Any) -> list[Any]:
    labels = data.labels or (None,) * len(data)
    return [
        callback(x=entry, index=index, label=label, context=context)
        for index, (entry, label) in enumerate(zip(entries_of(data), labels, strict=True))
    ]


def _places(data: Stack) -> Values:
    """Return where entries lie on a line: their labels if these are ascending, else positions."""
    labels = data.labels or ()
    positions = np.arange(len(data), dtype=np.float64)
    try:
        if all(isinstance(label, (int, float)) for label in labels):
            places = np.array(labels, np.float64)
        else:
            places = np.array([parse_time(str(label)).timestamp() for label in labels], np.float64)
    except ArgumentInvalid:
        return positions
    ascending = places.size == positions.size and bool((np.diff(places) > 0).all())
    return places if ascending else positions
