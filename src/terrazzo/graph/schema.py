"""Checks arguments against the part of JSON Schema that process descriptions use.

References and parameters fit everywhere, for their value is not known yet. Keywords outside this
part (and `format`) are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from terrazzo.graph.digest import canonical
from terrazzo.graph.document import show
from terrazzo.graph.model import Callback, FrozenMap, Parameter, Ref, Value
from terrazzo.graph.spec import alternatives, is_callback

Keys = tuple[str | int, ...]
Schema = Mapping[str, object]

_DEEPEST_SCHEMA = 20
_WORDS_OF_TYPES = frozenset({"type", "subtype", "format", "title", "description", "examples"})
"""Keywords that together say no more of a scalar than its type."""


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Value) -> bool:
    # JSON Schema counts 2.0 as an integer.
    return isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0


_TYPES: Mapping[str, tuple[str, Callable[[Value], bool]]] = {
    "null": ("null", lambda value: value is None),
    "boolean": ("a boolean", lambda value: isinstance(value, bool)),
    "string": ("a string", lambda value: isinstance(value, str)),
    "number": ("a number", _is_number),
    "integer": ("an integer", _is_integer),
    "array": ("an array", lambda value: isinstance(value, tuple)),
    "object": ("an object", lambda value: isinstance(value, FrozenMap)),
}


class Mismatch(NamedTuple):
    """One way in which a value does not fit."""

    keys: Keys
    """Where, from the value inwards."""
    reason: str
    """What would fit, and what is there: the end of a sentence that begins with the name."""


def mismatches(value: Value, schema: object, *, trusted: bool = True) -> list[Mismatch]:
    """Return everything in which a value does not fit a schema.

    Args:
        value: an argument.
        schema: JSON Schema, or a list of them of which one must match.
        trusted: whether the schema is ours; patterns that users write may take for ever, and
            are not run.
    """
    return list(_check(value, schema, (), trusted))


def _check(value: Value, schema: object, keys: Keys, trusted: bool) -> Iterator[Mismatch]:
    """Yield the mismatches with the alternative that comes nearest."""
    if isinstance(value, Parameter) or len(keys) > _DEEPEST_SCHEMA:
        return
    options = alternatives(schema)
    if isinstance(value, Ref):
        if all(map(is_callback, options)):
            yield Mismatch(keys, f"must be {_CALLBACK}, not the result of node {value.node!r}.")
        return
    fitting = [option for option in options if _fits_type(value, option)]
    if not fitting:
        wanted = " or ".join(dict.fromkeys(map(_describe, options)))
        yield Mismatch(keys, f"must be {wanted}, not {_name(value)}.")
        return
    found: list[Mismatch] | None = None
    for option in fitting:
        inside = list(_check_inside(value, option, keys, trusted))
        if not inside:
            return
        if found is None or len(inside) < len(found):
            found = inside
    yield from found or ()


def _fits_type(value: Value, schema: Schema) -> bool:
    """Return whether a value is of the kind that a schema is about at all."""
    if isinstance(value, Callback):
        return is_callback(schema) or "type" not in schema
    if is_callback(schema):
        return False
    # A literal is GeoJSON or a data cube only if it says so; else every object would pass.
    if schema.get("subtype") in ("geojson", "datacube") and isinstance(value, FrozenMap):
        return "type" in value
    named = schema.get("type")
    types = named if isinstance(named, list | tuple) else (named,)
    checks = [_TYPES[name][1] for name in types if isinstance(name, str) and name in _TYPES]
    return not checks or any(check(value) for check in checks)


def _check_inside(value: Value, schema: Schema, keys: Keys, trusted: bool) -> Iterator[Mismatch]:
    """Yield the mismatches of a value of the right type."""
    constants = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(constants, list | tuple) and not any(_same(value, one) for one in constants):
        wanted = ", ".join(map(show, constants))
        only = f"one of {wanted}" if len(constants) > 1 else wanted
        yield Mismatch(keys, f"must be {only}, not {_name(value)}.")
    elif isinstance(value, FrozenMap):
        yield from _check_object(value, schema, keys, trusted)
    elif isinstance(value, tuple):
        yield from _check_array(value, schema, keys, trusted)
    elif isinstance(value, str):
        pattern = schema.get("pattern")
        if trusted and isinstance(pattern, str) and re.search(pattern, value) is None:
            yield Mismatch(keys, f"must match the pattern {pattern}, which {show(value)} does not.")
    elif isinstance(value, int | float):
        low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
        if low is not None and value < low:
            yield Mismatch(keys, f"must be at least {low}, not {show(value)}.")
        if high is not None and value > high:
            yield Mismatch(keys, f"must be at most {high}, not {show(value)}.")


def _check_object(
    value: FrozenMap, schema: Schema, keys: Keys, trusted: bool
) -> Iterator[Mismatch]:
    """Yield the mismatches of an object's members."""
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(required, list | tuple):
        for key in required:
            if isinstance(key, str) and key not in value:
                yield Mismatch(keys, f"lacks {key!r}; it needs {', '.join(map(str, required))}.")
    known = properties if isinstance(properties, Mapping) else {}
    rest = schema.get("additionalProperties")
    for key, inner in value.items():
        if key in known:
            yield from _check(inner, known[key], (*keys, key), trusted)
        elif rest is False:
            yield Mismatch((*keys, key), f"is not known here; known are {', '.join(known)}.")
        elif isinstance(rest, Mapping):
            yield from _check(inner, rest, (*keys, key), trusted)


def _check_array(
    value: tuple[Value, ...], schema: Schema, keys: Keys, trusted: bool
) -> Iterator[Mismatch]:
    """Yield the mismatches of an array's length and elements."""
    least, most = _bound(schema, "minItems"), _bound(schema, "maxItems")
    if least is not None and len(value) < least:
        yield Mismatch(keys, f"must have at least {least} elements, not {len(value)}.")
    if most is not None and len(value) > most:
        yield Mismatch(keys, f"must have at most {most} elements, not {len(value)}.")
    if schema.get("uniqueItems") is True:
        first: dict[str, int] = {}
        for index, inner in enumerate(value):
            before = first.setdefault(canonical(inner), index)
            if before != index and not isinstance(inner, Ref | Parameter):
                yield Mismatch((*keys, index), f"repeats element {before}; each may occur once.")
    items = schema.get("items")
    if items:
        surely_fits = _test_of_scalars(items)
        for index, inner in enumerate(value):
            if not surely_fits(inner):
                yield from _check(inner, items, (*keys, index), trusted)


def _test_of_scalars(schema: object) -> Callable[[Value], bool]:
    """Return a quick test that holds for no value but those that fit: arrays can be long.

    It looks at types only, so it fails for everything where a schema asks for more than that.
    """
    checks: list[Callable[[Value], bool]] = []
    for option in alternatives(schema):
        named = option.get("type")
        types = named if isinstance(named, list | tuple) else (named,)
        if _WORDS_OF_TYPES.issuperset(option) and is_callback(option) is False:
            checks += [
                _TYPES[name][1]
                for name in types
                if isinstance(name, str) and name in _TYPES and name not in {"array", "object"}
            ]
    if len(checks) == 1:
        return checks[0]
    return lambda value: any(check(value) for check in checks)


def _describe(schema: Schema) -> str:
    """Return what a schema asks for, in words."""
    if is_callback(schema):
        return _CALLBACK
    named = schema.get("type")
    types = named if isinstance(named, list | tuple) else (named,)
    words = [_TYPES[name][0] for name in types if isinstance(name, str) and name in _TYPES]
    if schema.get("subtype") == "datacube":
        return "a data cube (from_node)"
    if schema.get("subtype") == "geojson":
        return "a GeoJSON object"
    return " or ".join(words) or "a value"


def _name(value: Value) -> str:
    """Return what a value is, in words."""
    if isinstance(value, Callback):
        return "a callback"
    return show(value) if isinstance(value, FrozenMap | tuple) or value is None else _typed(value)


def _typed(value: Value) -> str:
    """Return a scalar with its type."""
    if isinstance(value, bool):
        return f"the boolean {show(value)}"
    return f"the {'string' if isinstance(value, str) else 'number'} {show(value)}"


def _bound(schema: Schema, keyword: str) -> float | None:
    """Return a limit; those that are no numbers, in schemas of users, are not looked at."""
    limit = schema.get(keyword)
    return limit if isinstance(limit, int | float) else None


def _same(value: Value, constant: object) -> bool:
    """Return whether a value is a scalar constant; JSON keeps true and 1 apart, Python does not."""
    return isinstance(value, bool) is isinstance(constant, bool) and value == constant


_CALLBACK = 'a callback, {"process_graph": {...}}'
