"""Compiles callbacks, once per plan, into closures over pixels.

A compiled callback keeps its program (which function, with which arguments) and nothing else:
every call has its own results, so one callback serves many threads and many calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from terrazzo.cube import Pixels
from terrazzo.errors import ArgumentInvalid
from terrazzo.graph import Callback, Graph, Parameter, Ref
from terrazzo.processes import PROCESSES
from terrazzo.processes.convert import stack_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.processes import Process

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Call:
    """One node of a callback: what to call with which arguments."""

    node: str
    process: Process
    arguments: tuple[tuple[str, Any], ...]
    """(parameter name in Python, literal | Ref | Parameter | Callback) pairs."""


class CompiledCallback:
    """A callback as a function: called by keyword, re-entrant, without shared state."""

    def __init__(self, graph: Graph, outer: Mapping[str, Any] | None = None) -> None:
        self._calls = tuple(_compile(graph))
        self._result = graph.result
        self._outer = dict(outer or {})

    def __call__(self, **arguments: Any) -> Any:
        """Run the callback; arguments are its parameters (`x`, `data`, `context` ...)."""
        scope = {**self._outer, **arguments}
        results: dict[str, Any] = {}
        for call in self._calls:
            values = {name: _value(value, results, scope) for name, value in call.arguments}
            results[call.node] = call.process.function(**values)
        return results[self._result]


def _compile(graph: Graph) -> list[_Call]:
    calls = []
    for node in graph:
        process = PROCESSES[node.process_id]
        arguments = tuple(
            (process.python_names.get(name, name), prepared(process, name, value))
            for name, value in node.arguments.items()
        )
        calls.append(_Call(node.id, process, arguments))
    return calls


def prepared(process: Process, name: str, value: Any) -> Any:
    """Return an argument as the function takes it: constant arrays become stacks at once."""
    if process.takes_stack(name) and isinstance(value, tuple) and not _is_open(value):
        return stack_of(plain(value))
    return value


def plain(value: Any) -> Any:
    """Return a graph literal as ordinary lists and dicts."""
    if isinstance(value, tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return value


def _is_open(value: Any) -> bool:
    if isinstance(value, (Ref, Parameter)):
        return True
    if isinstance(value, tuple):
        return any(_is_open(entry) for entry in value)
    return isinstance(value, Mapping) and any(_is_open(entry) for entry in value.values())


def _value(value: Any, results: Mapping[str, Any], scope: Mapping[str, Any]) -> Any:
    if isinstance(value, Ref):
        return results[value.node]
    if isinstance(value, Parameter):
        return scope[value.name]
    if isinstance(value, Callback):
        return CompiledCallback(value.graph, scope)
    if isinstance(value, tuple):
        entries = [_value(entry, results, scope) for entry in value]
        return stack_of(entries) if any(isinstance(e, Pixels) for e in entries) else entries
    if isinstance(value, Mapping):
        return {key: _value(entry, results, scope) for key, entry in value.items()}
    return value


def checked_call(process: Process, node: str, function: Callable[[], R]) -> R:
    """Run a function at inference and say in its errors which node and process they are of."""
    try:
        return function()
    except ArgumentInvalid as error:
        if not getattr(error, "node", ""):
            error.node = node  # type: ignore[attr-defined] # told once, by the innermost node
            error.args = (f"Node {node!r} ({process.id}): {error.args[0]}", *error.args[1:])
        raise
