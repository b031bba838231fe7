"""Checks arguments that only become known when other nodes have run.

Literals are checked against the schema of their parameter where a graph is parsed. What comes
out of another node or out of a parameter is checked here, at inference and in callbacks: is it a
number per pixel where one value for all is wanted, a cube where text is, text where a cube is?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Pixels, Stack
from terrazzo.errors import ArgumentInvalid
from terrazzo.graph import Parameter, Ref
from terrazzo.graph.model import FrozenMap
from terrazzo.graph.schema import mismatches
from terrazzo.processes import Role
from terrazzo.processes.convert import entries_of, is_list, scalar, stack_of

if TYPE_CHECKING:
    from terrazzo.processes import Process

_WORDS: Mapping[type, str] = {
    Pixels: "a number per pixel",
    Stack: "an array",
    Cube: "a data cube",
}


def is_open(value: Any) -> bool:
    """Tell whether a literal of a graph has references or parameters in it."""
    if isinstance(value, (Ref, Parameter)):
        return True
    if isinstance(value, tuple):
        return any(is_open(entry) for entry in value)
    return isinstance(value, Mapping) and any(is_open(entry) for entry in value.values())


def fitted(process: Process, name: str, value: Any) -> Any:
    """Return a value as a parameter takes it: an array of plain values as a list where need be.

    Args:
        process: what is to be called.
        name: the parameter, in openEO's words.
        value: pixels, a stack, a cube, or plain values.

    Raises:
        ArgumentInvalid: the parameter takes no such value; says what it takes and what it got.
    """
    taken = process.kinds.get(name)
    if taken is None or callable(value):
        return value
    if Cube not in taken:
        value = unboxed(value)
    if isinstance(value, Stack) and Stack not in taken and is_list(value):
        value = entries_of(value)
    kind = next((kind for kind in _WORDS if isinstance(value, kind)), object)
    if kind is not object and kind not in taken:
        raise ArgumentInvalid(
            f"`{name}` takes {_wanted(process, name, taken)}, and gets {_WORDS[kind]}."
            f"{_way_in(process) if kind is Cube else ''}"
        )
    if kind is object and taken == frozenset({Cube}):
        raise ArgumentInvalid(f"`{name}` takes a data cube (from_node), and gets {_shown(value)}.")
    if kind is not object:
        return value
    for keys, reason in mismatches(_frozen(value), process.spec.by_name[name].accepted):
        inside = "".join(f"[{key!r}]" for key in keys)
        raise ArgumentInvalid(f"`{name}`{inside} {reason}")
    return value


def unboxed(value: Any) -> Any:
    """Return a cube without dimensions as its value, and one with one dimension as an array.

    So what a stage has found can be computed with; any other value is returned as it is.
    """
    if not isinstance(value, Cube) or value.grid is not None or len(value.dimensions) > 1:
        return value
    if not value.dimensions:
        return scalar(value.values[()]) if value.valid[()] else None
    there = zip(value.values.tolist(), value.valid.tolist(), strict=True)
    labels = value.dimensions[0].labels
    return stack_of([number if valid else None for number, valid in there], labels or None)


def _way_in(process: Process) -> str:
    """Return how pixels of a cube get into a process that takes no cubes."""
    if process.role is not Role.SCALAR:
        return ""
    return (
        f" Call `{process.id}` in the callback of a process that takes cubes, such as `apply`, "
        "`reduce_dimension` or `apply_dimension`."
    )


def _wanted(process: Process, name: str, taken: frozenset[type]) -> str:
    words = [_WORDS[kind] for kind in _WORDS if kind in taken]
    if object in taken:
        words.append("one value for all pixels" if Cube not in taken else "a plain value")
    return " or ".join(words) or process.spec.by_name[name].description


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."  # noqa: PLR2004 - what fits a message


def _frozen(value: Any) -> Any:
    """Return a plain value as literals of graphs are kept."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(entry) for entry in value)
    if isinstance(value, Mapping):
        return FrozenMap({str(key): _frozen(entry) for key, entry in value.items()})
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return Parameter("")  # fits everywhere: callbacks, and pixels inside of arrays
