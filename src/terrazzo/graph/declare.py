"""Reads what users declare: the parameters of a process, and user-defined processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from terrazzo.graph.document import At, clean, show
from terrazzo.graph.spec import ParameterSpec

if TYPE_CHECKING:
    from terrazzo.graph.document import Report


class Definition(NamedTuple):
    """A user-defined process, ready to be put in place of a call."""

    graph: Mapping[str, Any]
    """Its nodes, unchecked."""
    parameters: tuple[ParameterSpec, ...]
    """Its parameters."""
    at: At
    """The root of its document; problems inside are reported at the call."""


def declared_parameters(raw: object, at: At, report: Report) -> tuple[ParameterSpec, ...]:
    """Read the `parameters` of a process that a user wrote.

    Args:
        raw: the array of parameter objects; None for none.
        at: where it is.
        report: takes the problems.
    """
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        message = f"`parameters` is an array of parameter objects, not {show(raw)}."
        report.add("ProcessInvalid", message, at)
        return ()
    found: dict[str, ParameterSpec] = {}
    for index, entry in enumerate(raw):
        place = At(at, index)
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(name, str):
            message = "A parameter is an object with a name and a schema; give it a name."
            report.add("ProcessInvalid", message, place)
        elif name in found:
            report.add("ProcessInvalid", f"Parameter {name!r} is declared twice.", place)
        else:
            found[name] = ParameterSpec(
                name=name,
                description=str(entry.get("description", "")),
                schema=entry.get("schema", {}),
                optional=entry.get("optional") is True,
                default=entry.get("default"),
            )
    return tuple(found.values())


def define(process: str, raw: object, call: At, node: str, report: Report) -> Definition | None:
    """Read a user-defined process.

    Args:
        process: its id.
        raw: its document.
        call: where it is called.
        node: id of the calling node.
        report: takes the problems.

    Returns:
        The definition, or None where it has no process graph.
    """
    graph = raw.get("process_graph") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or not isinstance(graph, Mapping) or not graph:
        message = f"The user-defined process {process!r} has no process graph. Store it again."
        report.add("ProcessInvalid", message, call, node)
        return None
    root = At(via=(process, call))
    if not clean({"process_graph": graph, "parameters": raw.get("parameters")}, root, report):
        return None
    parameters = declared_parameters(raw.get("parameters"), At(root, "parameters"), report)
    return Definition(graph, parameters, root)
