"""Merkle digests: two nodes have one digest exactly when they compute the same.

A node's digest is made of its process and its arguments, references replaced by the digests of
what they refer to. Names of nodes, order of keys, descriptions, white space, 1 against 1.0 and
arguments that repeat a default do not change it. A graph's digest (`Graph.digest`) is made of the
digest of its result and of those of its other sinks.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

from terrazzo.graph.model import Callback, FrozenMap, Parameter, Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from terrazzo.graph.model import Value


def canonical(value: Value, name: Callable[[str], str] = str) -> str:  # noqa: PLR0911 - one return per kind of value
    """Write a value so that equal values, and only those, give equal text.

    Args:
        value: an argument; nesting is bounded by the parser.
        name: what stands for a node, given its id; called once per reference, objects in
            the order of their sorted keys.

    Returns:
        ASCII text: JSON, with `@digest`, `$"parameter"` and `&digest` for what JSON has not.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number(value)
        case str():
            return json.dumps(value)
        case tuple():
            return f"[{','.join([canonical(inner, name) for inner in value])}]"
        case FrozenMap():
            members = [f"{json.dumps(key)}:{canonical(value[key], name)}" for key in sorted(value)]
            return f"{{{','.join(members)}}}"
        case Ref():
            return f"@{name(value.node)}"
        case Parameter():
            return f"${json.dumps(value.name)}"
        case Callback():
            return f"&{value.graph.digest}"


def node_digest(
    process_id: str,
    arguments: FrozenMap,
    *,
    defaults: Mapping[str, str],
    name: Callable[[str], str],
) -> str:
    """Return the digest of a process call, in hex.

    Args:
        process_id: predefined process.
        arguments: arguments as given.
        defaults: default of each optional parameter as `canonical` text; an argument that
            repeats it counts as left out.
        name: digest of a node, given its id.
    """
    parts = [json.dumps(process_id)]
    for key in sorted(arguments):
        text = canonical(arguments[key], name)
        if defaults.get(key) != text:
            parts.append(f"{json.dumps(key)}:{text}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _number(value: float) -> str:
    """Write a number; integral floats as integers, but -0.0 divides unlike 0 and stays."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and not (value == 0 and math.copysign(1, value) < 0):
        return str(int(value))
    return repr(value)
