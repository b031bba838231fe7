"""Turns the JSON of one argument into an immutable value, names resolved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from terrazzo.graph.document import MAX_DEPTH, MAX_VALUES, At, too_deep, too_many_values
from terrazzo.graph.model import Callback, FrozenMap, Graph, Parameter, Ref, Value
from terrazzo.graph.scope import Bound, Scope
from terrazzo.graph.spec import callback_parameters, inner_schema

if TYPE_CHECKING:
    from terrazzo.graph.document import Report

_SCALARS = frozenset({type(None), bool, int, float, str})
_LEVELS_OF_A_NODE = 3
HOLE = Parameter("")
"""Stands where a problem was reported; fits everywhere, so that one mistake is told once."""


class TooLarge(Exception):
    """The graph has grown out of bounds; nothing more is read. Never leaves the parser."""

    def __init__(self, message: str, at: At) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


@dataclass(slots=True)
class Draft:
    """A node while the graph is being read."""

    id: str
    """Id in the finished graph."""
    at: At
    """Where it is."""
    scope: Scope
    """What its arguments can refer to."""
    process_id: str = ""
    """Process that it calls."""
    arguments: FrozenMap = field(default_factory=FrozenMap)
    """Arguments; references are to ids of drafts."""
    refs: list[tuple[str, At]] = field(default_factory=list)
    """Drafts it refers to, and where."""
    alias: str | None = None
    """For a call of a user-defined process: the draft whose result it gives."""


class _Argument(NamedTuple):
    """The argument that is being read."""

    draft: Draft
    at: At
    schema: object

    def callback_parameters(self, at: At) -> tuple[str, ...] | None:
        """Return the names that a callback at some place in the argument may use."""
        schema = self.schema
        for key in at.keys()[len(self.at.keys()) :]:
            schema = inner_schema(schema, key)
        return callback_parameters(schema)


class Reader(ABC):
    """Reads arguments; counts values, so that no document grows without bounds."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._values = 0

    @abstractmethod
    def build(self, raw: Mapping[str, Any], scope: Scope) -> Graph | None:
        """Build the graph of a callback; None where there are problems."""

    def read(self, raw: object, at: At, draft: Draft, schema: object) -> Value:
        """Read an argument.

        Args:
            raw: its JSON.
            at: where it is.
            draft: the node it belongs to.
            schema: schema of the parameter, which names the parameters of callbacks.
        """
        return self._read(raw, at, _Argument(draft, at, schema), draft.scope.depth)

    def literal(
        self, raw: object, at: At, schema: object, *, stack: tuple[str, ...] = (), depth: int = 0
    ) -> Value:
        """Read a value from outside any graph: supplied with it, or a default.

        Args:
            raw: its JSON.
            at: where it is.
            schema: schema of the parameter.
            stack: user-defined processes that are being put in place.
            depth: levels of nesting around it.
        """
        return self.read(raw, at, Draft("", at, Scope(at, stack=stack, depth=depth)), schema)

    def _read(self, raw: object, at: At, argument: _Argument, depth: int) -> Value:
        if isinstance(raw, Mapping):
            if "from_node" in raw:
                return self._from_node(raw, at, argument)
            if "from_parameter" in raw:
                return self._from_parameter(raw, at, argument, depth)
            graph = raw.get("process_graph")
            if isinstance(graph, Mapping):
                return self._callback(graph, at, argument, depth)
            self._count(len(raw), depth + 1, at)
            return FrozenMap(
                {
                    str.__str__(key): self._read(inner, At(at, key), argument, depth + 1)
                    for key, inner in raw.items()
                    if isinstance(key, str)
                }
            )
        if isinstance(raw, list | tuple):
            self._count(len(raw), depth + 1, at)
            return tuple(
                inner
                if type(inner) in _SCALARS
                else self._read(inner, At(at, index), argument, depth + 1)
                for index, inner in enumerate(raw)
            )
        return _plain(raw)

    def _from_node(self, raw: Mapping[str, Any], at: At, argument: _Argument) -> Value:
        draft, target = argument.draft, raw["from_node"]
        names = draft.scope.names
        if not isinstance(target, str) or len(raw) > 1:
            message = 'A reference is {"from_node": "id"} and nothing else.'
            self.report.add("ProcessGraphInvalid", message, at, draft.id)
            return HOLE
        if target in names:
            draft.refs.append((names[target], at))
            return Ref(names[target])
        outer = draft.scope.outer
        while outer is not None and target not in outer.names:
            outer = outer.outer
        if outer is not None:
            message = (
                f"A callback cannot reach node {target!r} outside of it. Hand it over as "
                "`context`, or compute it inside."
            )
        else:
            message = f"There is no node {target!r} here.{self.report.near(target, tuple(names))}"
        self.report.add("ProcessGraphInvalid", message, At(at, "from_node"), draft.id)
        return HOLE

    def _from_parameter(
        self, raw: Mapping[str, Any], at: At, argument: _Argument, depth: int
    ) -> Value:
        draft, name = argument.draft, raw["from_parameter"]
        scope = draft.scope
        if not isinstance(name, str) or len(raw) > 1:
            message = 'A parameter is {"from_parameter": "name"} and nothing else.'
            self.report.add("ProcessGraphInvalid", message, at, draft.id)
            return HOLE
        if name in scope.bound:
            return self._substitute(scope.bound[name], at, argument, depth)
        if name in scope.barred:
            message = (
                f"Parameter {name!r} is {scope.barred[name]}, which a callback cannot reach. "
                "Hand it over as `context`."
            )
            self.report.add("ProcessParameterInvalid", message, at, draft.id)
        elif name not in scope.free and not scope.any_free:
            names = sorted({*scope.bound, *scope.free})
            message = (
                f"There is no parameter {name!r} here.{self.report.near(name, names)} "
                f"There are: {', '.join(names) or 'none'}. Declare it in `parameters`, or supply "
                "a value."
            )
            self.report.add("ProcessGraphInvalid", message, At(at, "from_parameter"), draft.id)
        return Parameter(name)

    def _substitute(self, bound: Bound, at: At, argument: _Argument, depth: int) -> Value:
        """Put the value of a parameter in its place."""
        self._count(bound.size, depth + bound.depth, at)
        argument.draft.refs.extend((ref, at) for ref in bound.refs)
        value = bound.value
        if isinstance(value, Callback):
            names = argument.callback_parameters(at)
            if names is not None and names != value.parameters:
                return self._adapt(value, names, at, argument.draft)
        return value

    def _adapt(self, callback: Callback, names: tuple[str, ...], at: At, draft: Draft) -> Callback:
        """Hand a callback on to a process that provides other parameters than were declared."""
        missing = set(callback.graph.parameters) & set(callback.parameters) - set(names)
        if missing:
            message = (
                f"The callback uses {', '.join(map(repr, sorted(missing)))}, but process "
                f"{draft.process_id!r} provides only {', '.join(names)}."
            )
            self.report.add("ProcessParameterInvalid", message, at, draft.id)
        captured = set(callback.graph.parameters) & set(names) - set(callback.parameters)
        if captured:
            message = (
                f"The callback means an outer {min(captured)!r}, but process "
                f"{draft.process_id!r} provides one of its own. Rename the outer parameter."
            )
            self.report.add("ProcessParameterInvalid", message, at, draft.id)
        return Callback(callback.graph, names)

    def _callback(self, raw: Mapping[str, Any], at: At, argument: _Argument, depth: int) -> Value:
        """Build the graph of a callback."""
        inner_depth = depth + _LEVELS_OF_A_NODE
        self._count(len(raw), inner_depth, at)
        names = argument.callback_parameters(at)
        outer = argument.draft.scope
        place = At(at, "process_graph")
        scope = outer.callback(place, argument.draft.id, names, inner_depth)
        graph = self.build(raw, scope)
        if graph is None:
            return HOLE
        if names is None:
            outside = outer.free.union(*(bound.parameters for bound in outer.bound.values()))
            names = tuple(name for name in graph.parameters if name not in outside)
        return Callback(graph, names)

    def _count(self, values: int, depth: int, at: At) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise TooLarge(too_many_values(), at)
        if depth > MAX_DEPTH:
            raise TooLarge(too_deep(), at)


def _plain(raw: object) -> Value:
    """Return a scalar as its built-in type; what is none was reported before."""
    match raw:
        case None | bool():
            return raw
        case str():
            return str.__str__(raw)
        case int():
            return int(raw)
        case float():
            return float(raw)
        case _:
            return None
