"""Process descriptions: what a process is called, takes and returns, in openEO's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a process."""

    name: str
    """Name, as used in `arguments`."""
    description: str
    """CommonMark text."""
    schema: Any
    """JSON Schema, or a list of them of which one must match."""
    optional: bool = False
    """Whether the argument may be left out."""
    default: Any = None
    """What an argument that is left out stands for."""
    deprecated: bool = False
    """Whether new graphs should no longer use it."""
    experimental: bool = False
    """Whether it may change without notice."""
    checked: Any = None
    """Schema that arguments must match where that is less than `schema`, because the process
    itself says what becomes of the others; None where it is all of it."""

    @property
    def accepted(self) -> Any:
        """What arguments must match before the process is called."""
        return self.schema if self.checked is None else self.checked

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as an openEO parameter object."""
        document: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "schema": self.schema,
        }
        if self.optional:
            document |= {"optional": True, "default": self.default}
        return document | _flags(self.deprecated, self.experimental)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ParameterSpec:
        """Read an openEO parameter object."""
        return cls(
            name=document["name"],
            description=document.get("description", ""),
            schema=document.get("schema", {}),
            optional=document.get("optional", False),
            default=document.get("default"),
            deprecated=document.get("deprecated", False),
            experimental=document.get("experimental", False),
        )


@dataclass(frozen=True)
class ProcessSpec:
    """The description of one process, as `GET /processes` lists it."""

    id: str
    """Process id, for example `reduce_dimension`."""
    summary: str
    """One line of plain text."""
    description: str
    """CommonMark text."""
    categories: tuple[str, ...]
    """Groups in which clients list it."""
    parameters: tuple[ParameterSpec, ...]
    """Parameters in the order of a call with positional arguments."""
    returns: dict[str, Any]
    """Description and schema of the return value."""
    exceptions: dict[str, Any] = field(default_factory=dict)
    """Error name to error object."""
    experimental: bool = False
    """Whether it may change without notice."""
    links: tuple[Any, ...] = ()
    """Related documents."""
    examples: tuple[Any, ...] = ()
    """Calls with their results."""
    process_graph: dict[str, Any] | None = None
    """The same process in terms of others, where there is such a graph."""
    deprecated: bool = False
    """Whether new graphs should no longer use it."""

    @cached_property
    def by_name(self) -> Mapping[str, ParameterSpec]:
        """The parameters by their name."""
        return {parameter.name: parameter for parameter in self.parameters}

    def to_json(self) -> dict[str, Any]:
        """Return the process as an openEO process description."""
        document: dict[str, Any] = {
            "id": self.id,
            "summary": self.summary,
            "description": self.description,
            "categories": list(self.categories),
            "parameters": [parameter.to_json() for parameter in self.parameters],
            "returns": self.returns,
        }
        rest = {
            "exceptions": self.exceptions,
            "examples": list(self.examples),
            "links": list(self.links),
            "process_graph": self.process_graph,
        }
        document |= {name: value for name, value in rest.items() if value}
        return document | _flags(self.deprecated, self.experimental)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ProcessSpec:
        """Read an openEO process description."""
        return cls(
            id=document["id"],
            summary=document.get("summary", ""),
            description=document.get("description", ""),
            categories=tuple(document.get("categories", ())),
            parameters=tuple(map(ParameterSpec.from_json, document.get("parameters", ()))),
            returns=document.get("returns", {"schema": {}}),
            exceptions=document.get("exceptions", {}),
            experimental=document.get("experimental", False),
            links=tuple(document.get("links", ())),
            examples=tuple(document.get("examples", ())),
            process_graph=document.get("process_graph"),
            deprecated=document.get("deprecated", False),
        )


def _flags(deprecated: bool, experimental: bool) -> dict[str, Any]:
    """Return the flags that are set; openEO leaves out those that are not."""
    flags = {"deprecated": deprecated, "experimental": experimental}
    return {name: True for name, value in flags.items() if value}


def alternatives(schema: object) -> tuple[Mapping[str, Any], ...]:
    """Return the schemas of which one must match; openEO writes them as a list or `anyOf`.

    Args:
        schema: JSON Schema or list of them. Anything else counts as "any value", because
            descriptions of user-defined processes are written by users.

    Returns:
        Schemas without `anyOf` and `oneOf` at their top; one empty schema for "any value".
    """
    found: list[Mapping[str, Any]] = []
    waiting = [schema]
    while waiting:
        entry = waiting.pop(0)
        if isinstance(entry, list | tuple):
            waiting[:0] = entry
        elif isinstance(entry, Mapping):
            nested = entry.get("anyOf", entry.get("oneOf"))
            if isinstance(nested, list | tuple) and nested:
                waiting[:0] = nested
            else:
                found.append(entry)
    return tuple(found) or ({},)


def callback_parameters(schema: object) -> tuple[str, ...] | None:
    """Return the names a callback may use, or None where the schema does not say.

    Args:
        schema: schema of the argument that holds the callback.
    """
    for entry in alternatives(schema):
        declared = entry.get("parameters")
        if is_callback(entry) and isinstance(declared, list | tuple):
            return tuple(
                parameter["name"]
                for parameter in declared
                if isinstance(parameter, Mapping) and isinstance(parameter.get("name"), str)
            )
    return None


def is_callback(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema asks for a callback, `{"process_graph": {...}}`."""
    return schema.get("subtype") == "process-graph"


def inner_schema(schema: object, key: str | int) -> object:
    """Return the schema of a member of an object or of an element of an array.

    Args:
        schema: schema of the object or array.
        key: name of the member, or index of the element.

    Returns:
        A list of the schemas that the alternatives give for it; empty means any value.
    """
    inner: list[object] = []
    for entry in alternatives(schema):
        properties = entry.get("properties")
        if isinstance(key, int):
            inner.append(entry.get("items"))
        elif isinstance(properties, Mapping) and key in properties:
            inner.append(properties[key])
        else:
            inner.append(entry.get("additionalProperties"))
    return [schema for schema in inner if isinstance(schema, Mapping | list | tuple)]
