"""What depends on one plane of bytes alone (a scene classification) becomes a table of truths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.tape import GATHERED, Node, number_of
from terrazzo.processes import functions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from terrazzo.engine.program import Place, Result


def all_nodes(roots: Iterable[Node]) -> list[Node]:
    """Return every node below the roots once, inputs before what is computed of them."""
    order: list[Node] = []
    seen: set[int] = set()
    waiting = [(node, False) for node in roots]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting.extend((needed, False) for needed in node.inputs if id(needed) not in seen)
    return order


def byte_places(results: Sequence[Result]) -> frozenset[Place]:
    """Return the planes of which some truth depends alone, so that it could be a table of bytes."""
    order = all_nodes(node for result in results for node in (result.value, result.valid))
    every = frozenset(
        node.value for node in order if node.op == "plane" and node.dtype.itemsize == 1
    )
    return frozenset(byte_tables(order, every).values())


def byte_tables(order: Sequence[Node], bytes_of: frozenset[Place]) -> dict[int, Place]:
    """Return truths that depend on one plane of bytes alone, by id of the node."""
    depends: dict[int, Place | None] = {}
    constant = (-1, -1)
    found: dict[int, Place] = {}
    for node in order:
        if node.op == "constant":
            depends[id(node)] = constant
            continue
        if node.op in {"plane", "valid"}:
            depends[id(node)] = node.value if node.value in bytes_of else None
            continue
        places = {depends[id(needed)] for needed in node.inputs} - {constant}
        one = next(iter(places)) if len(places) == 1 else None
        depends[id(node)] = None if node.op in GATHERED else one
        if node.dtype.kind == "b" and one is not None and depends[id(node)] is not None:
            found[id(node)] = one
    return found


def tabulated(node: Node) -> NDArray[np.uint8]:
    """Return (512,) truths of a node for every byte, first where it is not valid."""
    with np.errstate(all="ignore"):
        values: dict[int, Any] = {}
        numbers = np.tile(np.arange(256), 2)
        valid = np.repeat([False, True], 256)
        for one in all_nodes([node]):
            if one.op == "plane":
                values[id(one)] = numbers.astype(one.dtype)
            elif one.op == "valid":
                values[id(one)] = valid
            elif one.op == "constant":
                values[id(one)] = np.full(512, number_of(one))
            else:
                values[id(one)] = applied(one, [values[id(needed)] for needed in one.inputs])
        return np.asarray(values[id(node)], np.uint8)


_NUMPY = {"and": "logical_and", "or": "logical_or", "xor": "logical_xor", "not": "logical_not"}


def applied(node: Node, inputs: Sequence[Any]) -> Any:
    """Compute a node that is no leaf and no reduction with NumPy."""
    if node.op in {"cast", "number", "truth"}:
        return inputs[0].astype(node.dtype)
    if node.op == "clamp":
        x, low, high = inputs
        return np.where(x < low, low, np.where(x > high, high, x))
    if node.op == "function":
        return functions.of(node.value, *inputs)
    return getattr(np, _NUMPY.get(node.op, node.op))(*inputs)
