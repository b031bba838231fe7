"""Compiles callbacks, once per plan, into closures over pixels.

A compiled callback keeps its program (which function, with which arguments) and nothing else:
every call has its own results, so one callback serves many threads and many calls.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from terrazzo import logs
from terrazzo.cube import Cube, Pixels, Stack
from terrazzo.engine.inline import called
from terrazzo.engine.kinds import fitted, is_open
from terrazzo.engine.lazy import needed, pruned
from terrazzo.engine.udfs import sandbox_for
from terrazzo.errors import TerrazzoError
from terrazzo.graph import Callback, Parameter, Ref
from terrazzo.processes import PROCESSES
from terrazzo.processes.convert import stack_of
from terrazzo.processes.registry import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from terrazzo.graph import Graph, Node
    from terrazzo.processes import Process
    from terrazzo.sandbox import Sandbox

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Argument:
    """One argument of a node of a callback."""

    name: str
    """In openEO's words."""
    python_name: str
    """As the function has it."""
    value: Any
    """Literal, Ref, Parameter, or the `Program` of an inner callback."""
    open: bool
    """Whether the value is known only when the callback runs, and is checked then."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One node of a callback: what to call with which arguments."""

    node: str
    process: Process
    arguments: tuple[_Argument, ...]
    refs: tuple[str, ...]
    """Nodes that its arguments refer to."""
    sandbox: Mapping[str, Sandbox]
    """Where it runs code of users, by parameter; empty for all that run none."""


@dataclass(frozen=True, slots=True)
class Program:
    """A callback's graph, compiled once: what to call."""

    calls: Mapping[str, _Call]
    """By node."""
    result: str
    """The node whose result is that of the callback."""
    sinks: tuple[str, ...]
    """Nodes that nobody refers to, and the result."""
    uses: Mapping[str, int]
    """How many calls refer to a node."""
    digest: str
    """Of the graph."""

    @property
    def opaque(self) -> bool:
        """Whether code of users runs in it, which may look at all that it is given."""
        inner = (a.value for call in self.calls.values() for a in call.arguments)
        return any(call.sandbox for call in self.calls.values()) or any(
            value.opaque for value in inner if isinstance(value, Program)
        )

    @classmethod
    def of(cls, graph: Graph) -> Program:
        """Compile a graph and the callbacks inside it."""
        sinks = tuple(dict.fromkeys((*graph.sinks, graph.result)))
        return cls(
            {node.id: _compiled(node) for node in graph},
            graph.result,
            sinks,
            Counter((graph.result, *(ref for node in graph for ref in node.refs))),
            graph.digest,
        )


class CompiledCallback:
    """A callback as a function: called by keyword, re-entrant, without shared state."""

    def __init__(self, program: Program, outer: Mapping[str, Any] | None = None) -> None:
        self._program = program
        self._outer = dict(outer or {})

    @property
    def opaque(self) -> bool:
        """Whether code of users runs in it, which may look at all that it is given."""
        return self._program.opaque

    @property
    def digest(self) -> str:
        """Digest of all that decides what it gives for its arguments; empty where more does."""
        return "" if self.opaque or self._outer else self._program.digest

    def single(self, parameter: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return the only process that is called, with a parameter as `data`, and its literals.

        None for a callback of several nodes, or one whose other arguments are not literals.
        """
        if len(self._program.calls) != 1:
            return None
        call = self._program.calls[self._program.result]
        given = {argument.name: argument for argument in call.arguments}
        data = given.pop("data", None)
        if data is None or data.value != Parameter(parameter):
            return None
        if any(each.open or isinstance(each.value, Program) for each in given.values()):
            return None
        return call.process.id, {name: each.value for name, each in given.items()}

    def __call__(self, **arguments: Any) -> Any:
        """Run the callback; arguments are its parameters (`x`, `data`, `context` ...)."""
        scope = {**self._outer, **arguments}
        results: dict[str, Any] = {}
        done: set[str] = set()
        left = dict(self._program.uses)
        waiting = list(self._program.sinks)
        while waiting:
            call = self._program.calls[waiting[-1]]
            if call.node in done:
                waiting.pop()
                continue
            kept = _needed(call, results, scope)
            missing = [node for node in kept if node not in done]
            if missing:
                waiting.extend(missing[::-1])
                continue
            run = partial(_run, call, kept, results, scope)
            results[call.node] = checked_call(call.process, call.node, run)
            done.add(call.node)
            for node in call.refs:
                left[node] -= 1
            for node in (*call.refs, call.node):
                if not left.get(node):
                    results.pop(node, None)
        return results[self._program.result]


def _needed(call: _Call, results: Mapping[str, Any], scope: Mapping[str, Any]) -> tuple[str, ...]:
    if call.process.rules.needs is None:
        return call.refs

    def value_of(part: Any) -> Any:
        if isinstance(part, Ref) and part.node not in results:
            return UNKNOWN
        return _value(part, results, scope) if isinstance(part, (Ref, Parameter)) else part

    return needed(call.process, {a.name: a.value for a in call.arguments}, value_of)


def _run(
    call: _Call, kept: Collection[str], results: Mapping[str, Any], scope: Mapping[str, Any]
) -> Any:
    values: dict[str, Any] = dict(call.sandbox)
    for argument in call.arguments:
        given = argument.value if call.refs == kept else pruned(argument.value, kept)
        value = _value(given, results, scope)
        if argument.open:
            value = fitted(call.process, argument.name, value)
        values[argument.python_name] = value
    if logs.listening():
        with logs.inside(call.node, call.process.id):
            result = called(call.process, values)
    else:
        result = called(call.process, values)
    meter = _METER.get()
    if meter is not None:
        made = [values[a.python_name] for a in call.arguments if isinstance(a.value, tuple)]
        largest = max(map(cell_bytes, (result, *values.values())))
        alive = sum(map(cell_bytes, (*results.values(), *made, result)))
        meter.peak = max(meter.peak, alive + call.process.rules.scratch * largest)
    return result


@dataclass(slots=True)
class Meter:
    """What callbacks hold while they run, told by running them on cubes without pixels."""

    peak: float = 0.0
    """Bytes per pixel of the cube: all labels, values and masks."""


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure the callbacks that run inside; for inference, where arrays have no pixels."""
    meter = Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def cell_bytes(value: Any) -> int:
    """Return the bytes that an array without pixels would take for each pixel, 0 if it has none.

    Its last two axes are those of the pixels. What is one number for all takes nothing.
    """
    if not isinstance(value, (Pixels, Stack, Cube)) or value.values.ndim < 2:  # noqa: PLR2004 - y, x
        return 0
    count: int = math.prod(value.values.shape[:-2])
    return count * (value.values.dtype.itemsize + 1)


def _compiled(node: Node) -> _Call:
    process = PROCESSES[node.process_id]
    arguments = tuple(
        _Argument(
            name,
            process.python_names.get(name, name),
            prepared(process, name, value),
            open=is_open(value) or isinstance(value, Mapping),
        )
        for name, value in node.arguments.items()
    )
    return _Call(node.id, process, arguments, node.refs, sandbox_for(process))


def prepared(process: Process, name: str, value: Any) -> Any:
    """Return a literal as the function takes it: constant arrays as stacks, callbacks compiled."""
    if isinstance(value, Callback):
        return Program.of(value.graph)
    if process.takes_stack(name) and isinstance(value, tuple) and not is_open(value):
        return stack_of(plain(value))
    return value


def plain(value: Any) -> Any:
    """Return a graph literal as ordinary lists and dicts."""
    if isinstance(value, tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return value


def _value(value: Any, results: Mapping[str, Any], scope: Mapping[str, Any]) -> Any:
    if isinstance(value, Ref):
        return results[value.node]
    if isinstance(value, Parameter):
        return scope[value.name]
    if isinstance(value, (Program, Callback)):  # the latter inside of an array or object
        program = value if isinstance(value, Program) else Program.of(value.graph)
        return CompiledCallback(program, scope)
    if isinstance(value, tuple):
        entries = [_value(entry, results, scope) for entry in value]
        return stack_of(entries) if any(isinstance(e, Pixels) for e in entries) else entries
    if isinstance(value, Mapping):
        return {key: _value(entry, results, scope) for key, entry in value.items()}
    return value


def checked_call(process: Process, node: str, function: Callable[[], R]) -> R:
    """Run a function and say in its errors which node and process they are of."""
    try:
        return function()
    except TerrazzoError as error:
        error.node = node  # type: ignore[attr-defined] # the outermost one is told last
        error.args = (f"Node {node!r} ({process.id}): {error.args[0]}", *error.args[1:])
        raise
