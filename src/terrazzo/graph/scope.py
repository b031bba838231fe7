"""What names mean at a place in a graph: nodes, parameters, and the values they are bound to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from terrazzo.graph.model import Callback, FrozenMap, Parameter, Ref, Value

if TYPE_CHECKING:
    from terrazzo.graph.document import At

_LEVELS_OF_A_CALLBACK = 4


class Bound(NamedTuple):
    """A value that stands for a parameter."""

    value: Value
    """The value; references are to nodes of the graph around the call."""
    size: int
    """Number of values in it, those in callbacks included."""
    depth: int
    """Levels of nesting."""
    refs: tuple[str, ...]
    """Nodes it refers to."""
    parameters: frozenset[str]
    """Names of its free parameters."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a process graph, in the document or put in place of a call, can refer to."""

    at: At
    """Where the graph is."""
    node: str = ""
    """Node that holds the graph; empty for the graph of the document."""
    prefix: str = ""
    """Begins the ids of its nodes: the call and a slash for user-defined processes."""
    bound: dict[str, Bound] = field(default_factory=dict)
    """Parameters that have a value."""
    barred: dict[str, str] = field(default_factory=dict)
    """Parameters whose value cannot be used here, with the reason."""
    free: frozenset[str] = frozenset()
    """Parameters that stay parameters."""
    any_free: bool = False
    """Whether names that nobody declared stay parameters, too."""
    stack: tuple[str, ...] = ()
    """User-defined processes that are being put in place."""
    depth: int = 0
    """Levels of nesting around it."""
    outer: Scope | None = None
    """For a callback: the scope of the graph around it."""
    names: dict[str, str] = field(default_factory=dict)
    """Id of each node in the finished graph, by the id in this document."""

    def callback(self, at: At, node: str, names: tuple[str, ...] | None, depth: int) -> Scope:
        """Return the scope inside a callback.

        Args:
            at: where the callback's graph is.
            node: node that has the callback as an argument.
            names: names that its caller provides; None where any may be used.
            depth: levels of nesting around it.
        """
        own = frozenset(names or ())
        barred = {name: reason for name, reason in self.barred.items() if name not in own}
        bound: dict[str, Bound] = {}
        for name, value in self.bound.items():
            if name in own:
                continue
            if value.refs:
                barred[name] = f"the result of node {value.refs[0]!r}"
            elif value.parameters & own:
                # Its name would suddenly mean the parameter of this callback instead.
                barred[name] = f"the outer parameter {min(value.parameters & own)!r}"
            else:
                bound[name] = value
        return Scope(
            at=at,
            node=node,
            bound=bound,
            barred=barred,
            free=self.free | own,
            any_free=self.any_free or names is None,
            stack=self.stack,
            depth=depth,
            outer=self,
        )


def bind(value: Value) -> Bound:
    """Measure a value, so that putting it in place a thousand times costs nothing to check."""
    size = deepest = 0
    refs: dict[str, None] = {}
    parameters: set[str] = set()
    waiting: list[tuple[Value, int, bool]] = [(value, 0, True)]
    while waiting:
        entry, depth, ours = waiting.pop()
        size += 1
        deepest = max(deepest, depth)
        if isinstance(entry, tuple):
            waiting.extend((inner, depth + 1, ours) for inner in entry)
        elif isinstance(entry, FrozenMap):
            waiting.extend((inner, depth + 1, ours) for inner in entry.values())
        elif isinstance(entry, Callback):
            if ours:
                parameters.update(set(entry.graph.parameters).difference(entry.parameters))
            inner_depth = depth + _LEVELS_OF_A_CALLBACK
            waiting.extend((node.arguments, inner_depth, False) for node in entry.graph)
        elif ours and isinstance(entry, Ref):
            refs[entry.node] = None
        elif ours and isinstance(entry, Parameter):
            parameters.add(entry.name)
    return Bound(value, size, deepest, tuple(refs), frozenset(parameters))
