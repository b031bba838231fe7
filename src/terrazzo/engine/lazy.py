"""Which nodes a node needs: `if` takes one branch, `and` and `or` may know after one operand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terrazzo.graph import Callback, Ref, leaves
from terrazzo.graph.model import FrozenMap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from terrazzo.processes import Process


def needed(
    process: Process, arguments: Mapping[str, Any], value_of: Callable[[Any], Any]
) -> tuple[str, ...]:
    """Return the nodes that a call needs, each once, as far as that is known.

    Args:
        process: what is called.
        arguments: literals, and references to other nodes.
        value_of: gives the value of a part of the arguments; `UNKNOWN` until it is computed.
    """
    rule = process.rules.needs
    parts = tuple(arguments.values()) if rule is None else rule(arguments, value_of)
    refs = (leaf.node for part in parts for leaf in leaves(part) if isinstance(leaf, Ref))
    return tuple(dict.fromkeys(refs))


def pruned(value: Any, kept: Collection[str]) -> Any:
    """Return an argument with no-data in place of the nodes that are not needed."""
    if isinstance(value, Ref):
        return value if value.node in kept else None
    if isinstance(value, tuple):
        return tuple(pruned(entry, kept) for entry in value)
    if isinstance(value, Mapping) and not isinstance(value, Callback):
        return FrozenMap({key: pruned(entry, kept) for key, entry in value.items()})
    return value
