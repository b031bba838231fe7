"""What traced arrays write on: every plane of pixels that is to be computed, once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    DType = np.dtype[Any]

EXACT_IN_FLOAT32 = 2**24
"""Whole numbers up to here are exact in float32."""

GATHERED = frozenset({"reduce", "count", "running", "arranged", "filled"})
"""Operations on all entries of a stack."""


class Untraceable(Exception):
    """What is asked of a traced array cannot be recorded."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One plane of pixels that is to be computed."""

    op: str
    """`plane`, `valid`, `constant`, or what is done with the inputs."""
    dtype: np.dtype[Any]
    """The type that NumPy would give the plane."""
    inputs: tuple[Node, ...] = ()
    """What it is computed of."""
    value: Any = None
    """Number of a constant; (input, position) of a plane; parameters of a reduction."""
    bound: float = math.inf
    """No number of an integer plane is farther from 0, as far as is known."""

    @property
    def is_constant(self) -> bool:
        """Whether it is the same for all pixels."""
        return self.op == "constant"


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """All nodes of one recording: what is equal is one node."""

    _nodes: dict[tuple[Any, ...], Node] = field(default_factory=dict)

    def node(
        self,
        op: str,
        dtype: DType,
        inputs: tuple[Node, ...] = (),
        value: Any = None,
        bound: float = math.inf,
    ) -> Node:
        """Return the node of an operation."""
        key = (op, dtype.str, tuple(map(id, inputs)), value)
        found = self._nodes.get(key)
        if found is None:
            if bound == math.inf and dtype.kind in "iu":
                info = np.iinfo(dtype)
                bound = float(max(abs(info.min), info.max))
            found = self._nodes[key] = Node(op, dtype, inputs, value, bound)
        return found

    def constant(self, number: Any, dtype: DType) -> Node:
        """Return the node of a number that is the same for all pixels.

        Raises:
            Untraceable: the number does not fit the type.
        """
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(number).astype(dtype)[()]
        except (OverflowError, TypeError, ValueError) as error:
            raise Untraceable(str(error)) from None
        if dtype.kind in "iu" and value != number:
            raise Untraceable(f"{number} is no {dtype}.")
        bound = abs(float(value)) if dtype.kind in "iu" else math.inf
        # The sign of zero and the bits of NaN make no equal constants.
        return self.node("constant", dtype, (), value.tobytes(), bound)

    def cast(self, node: Node, dtype: DType) -> Node:
        """Return a node in another type, where that loses nothing.

        Raises:
            Untraceable: it might lose something.
        """
        if node.dtype == dtype:
            return node
        if node.is_constant:
            return self.constant(number_of(node), dtype)
        if dtype.kind == "b":
            return self.node("truth", dtype, (node,))
        if node.dtype.kind == "b":
            return self.node("number", dtype, (node,), bound=1.0)
        safe = np.can_cast(node.dtype, dtype) or (
            dtype.kind == "f" and node.dtype.kind in "iu" and node.bound <= EXACT_IN_FLOAT32
        )
        if not safe and dtype.kind in "iu" and node.dtype.kind in "iu":
            safe = node.bound <= np.iinfo(dtype).max and node.dtype.kind == "u"
        if not safe:
            raise Untraceable(f"{node.dtype} to {dtype} may lose something.")
        bound = node.bound if dtype.kind in "iu" else math.inf
        return self.node("cast", dtype, (node,), bound=bound)


def number_of(node: Node) -> Any:
    """Return the number of a constant, in its own type."""
    return np.frombuffer(node.value, node.dtype)[0]
