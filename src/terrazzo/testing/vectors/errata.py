"""Errata: official vectors that contradict the specification, and what mends them, as data.

A change is a list of operations on the JSON of a vector: `add`, `remove`, `replace`, `move` and
`copy` are those of JSON Patch (RFC 6902); others change everything below a path at once:

    rename_key    says `to` wherever an object has the key `from`
    replace_text  says `to` wherever a string has `from` in it
    invert        says true for false and 1 for 0, and the other way round; of a value that is
                  not there, the opposite of `default`
    wrap          puts the value into an object, under `key`
    key_by        makes an object of a list of objects, by what each has under `key`
    blank         says `value` in a block of nested lists: `within` is [first, end) of each level

An operation that changes nothing does not apply, unless it is `optional`.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from terrazzo.testing.vectors.files import Vector

    Operation = Mapping[str, Any]


class ChangeInapplicable(Exception):
    """An operation does not fit the vector that it is to mend."""


@dataclass(frozen=True, slots=True)
class Erratum:
    """One vector that is wrong."""

    process: str
    """Id of the process."""
    index: int
    """Position of the vector in the official file."""
    reason: str
    """What it contradicts, and how."""
    change: tuple[Operation, ...]
    """What mends it; nothing where it cannot be mended."""
    seen: bool
    """Whether the vector was at hand when this was written. Otherwise what mends it is a guess
    from its description, so that the vector may also pass as it is, and failing is excused."""


@cache
def errata() -> Mapping[tuple[str, int], Erratum]:
    """Return the errata of the official vectors, by process and position."""
    text = resources.files(__package__).joinpath("errata.json").read_text("utf-8")
    return {
        (entry["process"], entry["index"]): Erratum(
            entry["process"],
            entry["index"],
            entry["reason"],
            tuple(entry.get("change", ())),
            entry.get("seen", True),
        )
        for entry in json.loads(text)
    }


def corrected(vector: Vector, change: Sequence[Operation]) -> Vector:
    """Return a vector with operations carried out; the given one stays as it is.

    Raises:
        ChangeInapplicable: an operation names a place that the vector does not have, or changes
            nothing there.
    """
    holder: dict[str, Any] = {"": copy.deepcopy(dict(vector))}
    for operation in change:
        try:
            _apply(holder, operation)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            if not operation.get("optional"):
                message = f"{dict(operation)!r:.200} does not apply: {error!r}"
                raise ChangeInapplicable(message) from error
    mended: Vector = holder[""]
    return mended


def _apply(holder: dict[str, Any], operation: Operation) -> None:
    """Carry out an operation in place; the document itself is the holder's only member."""
    kind, path = operation["op"], _keys(operation["path"])
    if kind == "add":
        _insert(holder, path, copy.deepcopy(operation["value"]))
    elif kind == "remove":
        _take(holder, path)
    elif kind == "replace":
        _at(holder, path)
        _set(holder, path, copy.deepcopy(operation["value"]))
    elif kind == "move":
        _insert(holder, path, _take(holder, _keys(operation["from"])))
    elif kind == "copy":
        _insert(holder, path, copy.deepcopy(_at(holder, _keys(operation["from"]))))
    else:
        _set(holder, path, _BELOW[kind](holder, path, operation))


def _keys(pointer: str) -> list[str]:
    """Return the keys of a JSON pointer (RFC 6901), the empty one of the document first."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")]


def _at(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _set(holder: Any, keys: Sequence[str], value: Any) -> None:
    parent = _at(holder, keys[:-1])
    parent[int(keys[-1]) if isinstance(parent, list) else keys[-1]] = value


def _insert(holder: Any, keys: Sequence[str], value: Any) -> None:
    parent, last = _at(holder, keys[:-1]), keys[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        parent[last] = value


def _take(holder: Any, keys: Sequence[str]) -> Any:
    parent = _at(holder, keys[:-1])
    return parent.pop(int(keys[-1]) if isinstance(parent, list) else keys[-1])


def _renamed(holder: Any, path: Sequence[str], operation: Operation) -> Any:
    old, new = operation["from"], operation["to"]

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(entry) for entry in value]
        if isinstance(value, dict):
            return {new if key == old else key: renamed(entry) for key, entry in value.items()}
        return value

    return _changed(_at(holder, path), renamed)


def _rewritten(holder: Any, path: Sequence[str], operation: Operation) -> Any:
    old, new = operation["from"], operation["to"]
    return _changed(
        _at(holder, path),
        _leaves(lambda leaf: leaf.replace(old, new) if isinstance(leaf, str) else leaf),
    )


def _inverted(holder: Any, path: Sequence[str], operation: Operation) -> Any:
    value = _at(holder, path[:-1]).get(path[-1], operation.get("default"))
    opposite = {0: 1, 1: 0}
    return _changed(
        value, _leaves(lambda leaf: type(leaf)(opposite[leaf]) if leaf in opposite else leaf)
    )


def _wrapped(holder: Any, path: Sequence[str], operation: Operation) -> Any:
    return {operation["key"]: _at(holder, path)}


def _keyed(holder: Any, path: Sequence[str], operation: Operation) -> Any:
    return {entry[operation["key"]]: entry for entry in _at(holder, path)}


def _blanked(holder: Any, path: Sequence[str], operation: Operation) -> Any:
    def blanked(value: Any, within: Sequence[tuple[int, int]]) -> Any:
        if not within:
            return operation["value"]
        first, end = within[0]
        if end > len(value):
            raise IndexError(f"{end} is beyond a list of {len(value)}")
        inside = [blanked(entry, within[1:]) for entry in value[first:end]]
        return [*value[:first], *inside, *value[end:]]

    return _changed(_at(holder, path), lambda value: blanked(value, operation["within"]))


_BELOW: Mapping[str, Callable[[Any, Sequence[str], Operation], Any]] = {
    "rename_key": _renamed,
    "replace_text": _rewritten,
    "invert": _inverted,
    "wrap": _wrapped,
    "key_by": _keyed,
    "blank": _blanked,
}


def _leaves(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the change of every scalar in a value."""

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(entry) for entry in value]
        if isinstance(value, dict):
            return {key: changed(entry) for key, entry in value.items()}
        return change(value)

    return changed


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    made = change(value)
    if json.dumps(made) == json.dumps(value):
        raise ValueError("it changes nothing")
    return made
