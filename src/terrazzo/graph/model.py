"""The graph as an immutable value: nodes, references, callbacks.

Everything here can be hashed, pickled and shared between threads. Nothing recurses over the
depth of a graph; nesting of values and callbacks is bounded where graphs are parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, TypeAlias

from typing_extensions import override


class FrozenMap(Mapping[str, "Value"]):
    """A JSON object that cannot be changed; unlike `MappingProxyType` it hashes and pickles."""

    __slots__ = ("_items",)
    _items: dict[str, Value]

    def __init__(self, items: Mapping[str, Value] | Iterable[tuple[str, Value]] = ()) -> None:
        object.__setattr__(self, "_items", dict(items))

    @override
    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    @override
    def __len__(self) -> int:
        return len(self._items)

    @override
    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    @override
    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = f"A FrozenMap cannot be changed; {name!r} was to be set."
        raise AttributeError(message)

    @override
    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"

    @override
    def __reduce__(self) -> tuple[type[FrozenMap], tuple[dict[str, Value]]]:
        return FrozenMap, (self._items,)


@dataclass(frozen=True, slots=True)
class Ref:
    """The result of another node, `{"from_node": ...}`."""

    node: str
    """Id of that node in the same graph."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that is given when the graph runs, `{"from_parameter": ...}`."""

    name: str
    """Name of the parameter of the enclosing callback, or of the whole graph."""


@dataclass(frozen=True, slots=True)
class Callback:
    """A graph as an argument, `{"process_graph": {...}}`, called once per pixel, label, ..."""

    graph: Graph
    """What to compute; refers to its own nodes only, and to outer parameters."""
    parameters: tuple[str, ...]
    """Names that the calling process provides; other free parameters come from outside."""


Leaf: TypeAlias = Ref | Parameter | Callback
Value: TypeAlias = bool | int | float | str | Leaf | tuple["Value", ...] | FrozenMap | None
"""An argument: JSON with tuples for arrays and `FrozenMap` for objects, or what fills it in."""


@dataclass(frozen=True, eq=False)
class Node:
    """One process call. Equal when id and digest are."""

    id: str
    """Name within its graph; nodes from user-defined processes are `call/inner`."""
    process_id: str
    """Predefined process that is called."""
    namespace: str | None
    """None: the predefined processes of this platform."""
    arguments: FrozenMap
    """Arguments by parameter name, as given; those left out are not in here."""
    digest: str
    """Hex SHA-256 of what the node computes, whatever it and its inputs are called."""

    @cached_property
    def refs(self) -> tuple[str, ...]:
        """Ids of the nodes it depends on directly, each once, in order of first use."""
        used = (leaf.node for leaf in leaves(self.arguments) if isinstance(leaf, Ref))
        return tuple(dict.fromkeys(used))

    @cached_property
    def parameters(self) -> frozenset[str]:
        """Names of the free parameters in its arguments, callbacks included."""
        return free_parameters(self.arguments)

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Node):
            return NotImplemented
        return (self.id, self.digest) == (other.id, other.digest)

    @override
    def __hash__(self) -> int:
        return hash((self.id, self.digest))


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """A directed acyclic graph of process calls. Equal when the digest is."""

    nodes: tuple[Node, ...]
    """Nodes in topological order: inputs come before what uses them."""
    result: str
    """Id of the node whose result is the graph's."""
    sinks: tuple[str, ...]
    """Ids of all nodes that no other node uses; the result is among them unless it is used."""

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of the result node's digest and the sorted digests of the other sinks."""
        others = sorted(self[sink].digest for sink in self.sinks if sink != self.result)
        return hashlib.sha256(" ".join([self[self.result].digest, *others]).encode()).hexdigest()

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the free parameters, sorted; for the graph of a callback also its own."""
        return tuple(sorted(frozenset[str]().union(*(node.parameters for node in self.nodes))))

    @cached_property
    def _by_id(self) -> dict[str, Node]:
        return {node.id: node for node in self.nodes}

    def __getitem__(self, node_id: str) -> Node:
        return self._by_id[node_id]

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._by_id

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @override
    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Graph) else NotImplemented

    @override
    def __hash__(self) -> int:
        return hash(self.digest)

    @override
    def __repr__(self) -> str:
        return f"Graph({len(self)} nodes, result={self.result!r}, digest={self.digest[:12]!r})"

    def to_json(self) -> dict[str, Any]:
        """Return the openEO process graph, `{id: node}`; parsing it gives the same digest."""
        document: dict[str, Any] = {}
        for node in self.nodes:
            entry: dict[str, Any] = {"process_id": node.process_id}
            if node.namespace is not None:
                entry["namespace"] = node.namespace
            entry["arguments"] = to_json(node.arguments)
            if node.id == self.result:
                entry["result"] = True
            document[node.id] = entry
        return document


def leaves(value: Value) -> Iterator[Leaf]:
    """Yield the references, parameters and callbacks in a value, in the order they are written."""
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, FrozenMap):
            waiting.extend(reversed(tuple(entry.values())))
        elif isinstance(entry, tuple):
            waiting.extend(reversed(entry))
        elif isinstance(entry, Ref | Parameter | Callback):
            yield entry


def free_parameters(value: Value) -> frozenset[str]:
    """Return the names of the parameters that a value needs from outside."""
    names: set[str] = set()
    for leaf in leaves(value):
        if isinstance(leaf, Parameter):
            names.add(leaf.name)
        elif isinstance(leaf, Callback):
            names.update(set(leaf.graph.parameters).difference(leaf.parameters))
    return frozenset(names)


def to_json(value: Value) -> Any:
    """Return a value as plain JSON, with `from_node`, `from_parameter` and `process_graph`."""
    match value:
        case FrozenMap():
            return {key: to_json(inner) for key, inner in value.items()}
        case tuple():
            return [to_json(inner) for inner in value]
        case Ref():
            return {"from_node": value.node}
        case Parameter():
            return {"from_parameter": value.name}
        case Callback():
            return {"process_graph": value.graph.to_json()}
        case _:
            return value


def rename_refs(value: Value, names: Mapping[str, str]) -> Value:
    """Return a value that refers to other nodes.

    Args:
        value: value with references; callbacks are left alone, they have nodes of their own.
        names: id to refer to instead, for every id that is referred to.
    """
    match value:
        case Ref():
            return Ref(names[value.node])
        case FrozenMap():
            return FrozenMap({key: rename_refs(inner, names) for key, inner in value.items()})
        case tuple():
            return tuple(rename_refs(inner, names) for inner in value)
        case _:
            return value
