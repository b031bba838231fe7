"""Makes a process's openEO description from its signature, annotations and docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from terrazzo.cube import Stack
from terrazzo.graph.spec import ParameterSpec, ProcessSpec
from terrazzo.processes.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Description:
    """What a process's signature, annotations and docstring say."""

    spec: ProcessSpec
    place: str
    """Name of the parameter that takes a `Place`; empty for none."""
    python_names: Mapping[str, str]
    """Python parameter names where they differ from openEO's."""
    stacks: frozenset[str]
    """openEO names of the parameters that take a `Stack`."""


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
    parameters, place, python_names, stacks = [], "", {}, set()
    for parameter in inspect.signature(function).parameters.values():
        if getattr(hints.get(parameter.name), "__name__", "") == "Place":
            place = parameter.name
            continue
        label = parameter.name.rstrip("_")  # `return_` would be written for a Python keyword
        if parameter.name not in told:
            raise TypeError(f"Process {name!r}: the docstring does not describe {label!r}.")
        if label != parameter.name:
            python_names[label] = parameter.name
        if _takes_stack(hints.get(parameter.name)):
            stacks.add(label)
        optional = parameter.default is not inspect.Parameter.empty
        parameters.append(
            ParameterSpec(
                name=label,
                description=told[parameter.name],
                schema=_schema(name, label, hints.get(parameter.name)),
                optional=optional,
                default=parameter.default if optional else None,
            )
        )
    head, _, rest = sections[""].partition("\n\n")
    spec = ProcessSpec(
        id=name,
        summary=" ".join(head.split()).rstrip("."),
        description=" ".join(head.split()) + ("\n\n" + rest.strip() if rest.strip() else ""),
        categories=categories,
        parameters=tuple(parameters),
        returns={
            "description": " ".join(sections.get("Returns", "").split()),
            "schema": _schema(name, "return value", hints.get("return")),
        },
        exceptions={
            code: {"message": text} for code, text in _entries(sections.get("Raises", "")).items()
        },
        experimental=experimental,
    )
    return Description(spec, place, python_names, frozenset(stacks))


def _takes_stack(hint: Any) -> bool:
    kinds = get_args(getattr(hint, "__origin__", hint)) or (getattr(hint, "__origin__", hint),)
    return Stack in kinds


def _schema(process: str, what: str, hint: Any) -> Any:
    for entry in getattr(hint, "__metadata__", ()):
        if isinstance(entry, Schema):
            return entry.json
    raise TypeError(f"Process {process!r}: {what!r} is not annotated with an openEO schema.")


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
