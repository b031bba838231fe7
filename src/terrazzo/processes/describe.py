"""Makes a process's openEO description from its signature, annotations and docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from terrazzo.cube import Cube, Pixels, Stack
from terrazzo.graph.spec import ParameterSpec, ProcessSpec
from terrazzo.processes.schemas import Schema
from terrazzo.processes.words import worded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Description:
    """What a process's signature, annotations and docstring say."""

    spec: ProcessSpec
    place: str
    """Name of the parameter that takes a `Place`; empty for none."""
    sandbox: str
    """Name of the parameter that takes a `Sandbox`; empty for none."""
    python_names: Mapping[str, str]
    """Python parameter names where they differ from openEO's."""
    stacks: frozenset[str]
    """openEO names of the parameters that take a `Stack`."""
    kinds: Mapping[str, frozenset[type]]
    """By openEO name: which of `COMPUTED` a parameter takes, and `object` if it takes JSON
    values; a parameter that takes anything is left out."""


COMPUTED = (Pixels, Stack, Cube)
"""What values are while they are computed; everything else is plain JSON, or a callback."""

_RANGE = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_SECTIONS = ("Args", "Returns", "Raises", "Source", "Example")
_HEADING = re.compile(rf"^({'|'.join(_SECTIONS)}):\s*$")
_ENTRY = re.compile(r"^\s{4}(\w+):\s*(.*)$")


def describe(
    name: str,
    function: Callable[..., Any],
    categories: tuple[str, ...],
    *,
    experimental: bool,
) -> Description:
    """Return the description and what the caller must know of the signature.

    Raises:
        TypeError: an argument or the return value has no schema, or the docstring lacks one of
            them: a mistake of whoever writes the process, found when it is imported.
    """
    sections = _sections(inspect.getdoc(function) or "")
    hints = get_type_hints(function, include_extras=True)
    told = _entries(sections.get("Args", ""))
    parameters, inner, python_names, kinds = [], {"Place": "", "Sandbox": ""}, {}, {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        given = {getattr(kind, "__name__", "") for kind in (hint, *get_args(hint))} & inner.keys()
        if given:
            inner[given.pop()] = parameter.name
            continue
        label = parameter.name.rstrip("_")  # `return_` would be written for a Python keyword
        if parameter.name not in told:
            raise TypeError(f"Process {name!r}: the docstring does not describe {label!r}.")
        if label != parameter.name:
            python_names[label] = parameter.name
        taken = _kinds(hints.get(parameter.name))
        if Any not in taken:
            kinds[label] = frozenset(kind if kind in COMPUTED else object for kind in taken)
        optional = parameter.default is not inspect.Parameter.empty
        parameters.append(
            ParameterSpec(
                name=label,
                description=told[parameter.name],
                schema=worded(name, label, _schema(name, label, hints.get(parameter.name)).json),
                optional=optional,
                default=parameter.default if optional else None,
                checked=_checked(_schema(name, label, hints.get(parameter.name)), taken),
            )
        )
    head, _, rest = sections[""].partition("\n\n")
    returned = hints.get("return")
    spec = ProcessSpec(
        id=name,
        summary=" ".join(head.split()).rstrip("."),
        description=" ".join(head.split()) + ("\n\n" + rest.strip() if rest.strip() else ""),
        categories=categories,
        parameters=tuple(parameters),
        returns={
            "description": " ".join(sections.get("Returns", "").split()),
            "schema": worded(name, "returns", _schema(name, "return value", returned).json),
        },
        exceptions={
            code: {"message": text} for code, text in _entries(sections.get("Raises", "")).items()
        },
        experimental=experimental,
    )
    stacks = frozenset(label for label, taken in kinds.items() if Stack in taken)
    return Description(spec, inner["Place"], inner["Sandbox"], python_names, stacks, kinds)


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return the types of an annotation, its alternatives one by one."""
    bare = getattr(hint, "__origin__", hint) if hasattr(hint, "__metadata__") else hint
    return get_args(bare) if get_origin(bare) in {Union, UnionType} else (bare,)


def _schema(process: str, what: str, hint: Any) -> Schema:
    for entry in getattr(hint, "__metadata__", ()):
        if isinstance(entry, Schema):
            return entry
    raise TypeError(f"Process {process!r}: {what!r} is not annotated with an openEO schema.")


def _checked(schema: Schema, taken: tuple[Any, ...]) -> Any:
    """Return what arguments must match where that is less than the schema.

    Of numbers that may be pixels it is no range: no pixel is looked at before the process is
    called, and maths makes NaN of those outside.
    """
    if schema.checked is not None or Pixels not in taken:
        return schema.checked
    if isinstance(schema.json, list):
        return [_without_range(option) for option in schema.json]
    return _without_range(schema.json)


def _without_range(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {keyword: value for keyword, value in schema.items() if keyword not in _RANGE}


def _sections(text: str) -> dict[str, str]:
    found: dict[str, list[str]] = {"": []}
    current = ""
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading:
            current = heading.group(1)
            found[current] = []
        else:
            found[current].append(line)
    return {name: "\n".join(lines).rstrip() for name, lines in found.items()}


def _entries(text: str) -> dict[str, str]:
    entries: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        entry = _ENTRY.match(line)
        if entry:
            current = entries.setdefault(entry.group(1), [])
            current.append(entry.group(2))
        elif line.strip():
            current.append(line.strip())
    return {name: " ".join(lines) for name, lines in entries.items()}
