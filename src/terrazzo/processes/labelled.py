"""Arrays with labels: make them, find a label, change a part."""

from __future__ import annotations

from typing import Annotated, Any

from terrazzo.cube import Label, Stack
from terrazzo.errors import (
    ArgumentInvalid,
    ArrayElementNotAvailable,
    ArrayLabelConflict,
    ArrayLengthMismatch,
)
from terrazzo.processes.convert import as_stack, entries_of, stack_of
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Anything, Schema

_ANY: dict[str, Any] = {"description": "Any data type."}

AnyArray = Annotated[Stack, Schema({"type": "array", "items": _ANY})]
Labelled = Annotated[Stack, Schema({"type": "array", "subtype": "labeled-array", "items": _ANY})]
UniqueLabels = Annotated[
    Stack,
    Schema({"type": "array", "uniqueItems": True, "items": {"type": ["number", "string"]}}),
]
Sought = Annotated[Label, Schema([{"type": "number"}, {"type": "string"}])]
Found = Annotated[int | None, Schema([{"type": "null"}, {"type": "integer", "minimum": 0}])]
Index = Annotated[int, Schema({"type": "integer", "minimum": 0})]


@process("array_create_labeled", Role.SCALAR, categories=("arrays",), experimental=True)
def array_create_labeled(data: Anything, labels: UniqueLabels) -> Labelled:
    """Array with labels, {labels[0]: data[0], ..., labels[n - 1]: data[n - 1]}.

    Args:
        data: (n, ...) values of any kind; labels that it has are replaced.
        labels: (n,) texts or numbers, all different.

    Returns:
        (n, ...) in the dtype of `data`, with `labels`.

    Raises:
        ArrayLengthMismatch: there are more values than labels, or fewer.
        ProcessParameterInvalid: `data` is no array, or a label is there twice or is no text or
            number.

    Source:
        openEO process `array_create_labeled` 2.0.0-rc.2.
    """
    if not isinstance(data, (Stack, list, tuple)):
        raise ArgumentInvalid(f"{data!r} is no array, so it has no entries to label.")
    stack, names = as_stack(data), entries_of(as_stack(labels))
    for name in names:
        if not isinstance(name, (str, int, float)) or isinstance(name, bool):
            raise ArgumentInvalid(f"{name!r} is no label. Texts and numbers are.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentInvalid(f"Label {twice!r} is there more than once. Labels must differ.")
    if len(names) != len(stack):
        raise ArrayLengthMismatch(
            f"There are {len(stack)} values and {len(names)} labels. Give one label for each value."
        )
    plain = tuple(int(name) if _is_whole(name) else name for name in names)
    return Stack(stack.values, stack.valid, plain, exact=stack.exact)


@process("array_find_label", Role.SCALAR, categories=("arrays", "reducer"), experimental=True)
def array_find_label(data: AnyArray, label: Sought) -> Found:
    """Position of the entry with a label, i if labels[i] = label.

    Args:
        data: (n, ...) values of any kind.
        label: what to look for; the text "1" is not the number 1.

    Returns:
        0..n - 1, one for all pixels; no-data if no entry has the label, or the array has none.

    Source:
        openEO process `array_find_label` 2.0.0-rc.2.
    """
    labels = as_stack(data).labels or ()
    return labels.index(label) if label in labels else None


@process("array_modify", Role.SCALAR, categories=("arrays",), experimental=True)
def array_modify(data: AnyArray, values: AnyArray, index: Index, length: Index = 0) -> AnyArray:
    """Array with a part replaced, data[:index] + values + data[index + length:].

    Args:
        data: (n, ...) values of any kind.
        values: (m, ...) the entries to insert; none to remove only.
        index: position of the entry before which they are inserted, 0..n.
        length: how many entries are removed from there on; those that are there, if there are
            fewer.

    Returns:
        The entries in the dtype that holds all of them; with labels if both arrays have them, or
        if one has and the other is empty.

    Raises:
        ArrayElementNotAvailable: `index` is larger than n.
        ArrayLabelConflict: a label is in both arrays.

    Source:
        openEO process `array_modify` 2.0.0-rc.2.
    """
    stack, more = as_stack(data), as_stack(values)
    start, stop = int(index), int(index) + int(length)
    if not 0 <= start <= len(stack):
        raise ArrayElementNotAvailable(
            f"index={start} is not in the array: it has {len(stack)} entries, so that 0 to "
            f"{len(stack)} are."
        )
    labels = _labels_of_both(stack, more)
    named = None if labels is None else (*labels[0][:start], *labels[1], *labels[0][stop:])
    kept = entries_of(stack)
    entries = [*kept[:start], *entries_of(more), *kept[stop:]]
    if not entries:
        return Stack(stack.values[:0], stack.valid[:0], named, exact=stack.exact)
    return stack_of(entries, named)


def _is_whole(label: Label) -> bool:
    return isinstance(label, float) and label.is_integer()


def _labels_of_both(
    data: Stack, values: Stack
) -> tuple[tuple[Label, ...], tuple[Label, ...]] | None:
    """Return the labels of two arrays if there are enough to label both."""
    if (data.labels is None and len(data)) or (values.labels is None and len(values)):
        return None
    if data.labels is None and values.labels is None:
        return None
    old, new = data.labels or (), values.labels or ()
    shared = [label for label in old if label in new]
    if shared:
        raise ArrayLabelConflict(
            f"Both arrays have {', '.join(map(repr, shared[:20]))}. Labels must differ."
        )
    return old, new
