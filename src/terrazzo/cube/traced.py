"""Arrays that remember what is computed of them: how maths is recorded, to be fused later.

A process is run once on `Traced` arrays instead of pixels. Their leading axes are real (dates,
bands), each entry is the expression of a whole plane of pixels, and y and x have length 1. NumPy
hands its functions over to them, so that the very code of a process says what is to be computed;
what cannot be recorded raises `Untraceable`, and is computed plane by plane as ever.

Source: the protocols `__array_ufunc__` (NEP 13) and `__array_function__` (NEP 18).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Never

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from typing_extensions import override

from terrazzo.cube.pixels import compute_dtype
from terrazzo.cube.tape import Node, Tape, Untraceable, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    DType = np.dtype[Any]

_ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "negative", "absolute", "sqrt"})
_ROUNDING = frozenset({"floor", "ceil", "trunc", "rint", "sign", "minimum", "maximum"})
_COMPARISON = frozenset({"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"})
_TESTS = frozenset({"isnan", "isfinite", "isinf"})
_LOGIC = {
    "bitwise_and": "and",
    "logical_and": "and",
    "bitwise_or": "or",
    "logical_or": "or",
    "bitwise_xor": "xor",
    "logical_xor": "xor",
    "not_equal": "xor",
    "invert": "not",
    "logical_not": "not",
}
"""What NumPy's functions of truth values are called here."""
_AS_IT_IS = frozenset({"minimum", "maximum"})
"""Functions that give one of their arguments, which integers survive."""


class Traced(NDArrayOperatorsMixin):
    """An array of planes that are yet to be computed; (..., 1, 1)."""

    __slots__ = ("_nodes", "dtype", "tape")

    def __init__(self, tape: Tape, nodes: NDArray[np.object_], dtype: DType) -> None:
        self.tape, self._nodes, self.dtype = tape, nodes, dtype

    @classmethod
    def planes(cls, tape: Tape, op: str, number: int, shape: Sequence[int], dtype: DType) -> Traced:
        """Return the planes of an input: `plane` for its values, `valid` for their validity."""
        count = math.prod(shape)
        nodes = np.empty(count, np.object_)
        for position in range(count):
            nodes[position] = tape.node(op, dtype, (), (number, position))
        return cls(tape, nodes.reshape((*shape, 1, 1)), dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Leading axes, then 1 and 1 for y and x."""
        return tuple(self._nodes.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._nodes.ndim

    @property
    def size(self) -> int:
        """Number of planes."""
        return self._nodes.size

    @property
    def nodes(self) -> list[Node]:
        """All planes, in the order of the axes."""
        return list(self._nodes.reshape(-1))

    @property
    def everywhere(self) -> bool:
        """Whether every plane is known to be true for every pixel."""
        return all(node.is_constant and bool(number_of(node)) for node in self.nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, key: Any) -> Traced:
        found = self._nodes[key]
        if not isinstance(found, np.ndarray):
            raise Untraceable("A single plane without its axes.")
        return self._like(found)

    def __bool__(self) -> Never:
        raise Untraceable("A decision that depends on pixels.")

    def __array__(self, *_: Any, **__: Any) -> Never:
        raise Untraceable("A traced array has no pixels.")

    def astype(self, dtype: Any, **_: Any) -> Traced:
        """Return the planes in another type."""
        wanted = np.dtype(dtype)
        return self if wanted == self.dtype else self._mapped(wanted, self.tape.cast)

    def reshape(self, *shape: Any) -> Traced:
        """Return the planes on other leading axes."""
        return self._like(self._nodes.reshape(*shape))

    def transpose(self, *axes: Any) -> Traced:
        """Return the planes with the leading axes in another order."""
        return self._like(self._nodes.transpose(*axes))

    def squeeze(self, axis: Any) -> Traced:
        """Return the planes without an axis of length 1."""
        return self._like(self._nodes.squeeze(axis))

    def reduced(self, kind: str, valid: Any, shares: Sequence[float]) -> tuple[Traced, Traced]:
        """Reduce over the first axis; see `terrazzo.processes.stacks.reduce_stack`."""
        if self.dtype.kind == "b":  # reductions take numbers
            folded, valids = self.astype(np.uint8).reduced(kind, valid, shares)
            return (folded.astype(self.dtype) if kind in {"min", "max"} else folded), valids
        kept = self.dtype if kind in {"min", "max"} else compute_dtype(self.dtype)
        results = np.empty((max(len(shares), 1), *self.shape[1:]), np.object_)
        counts = np.empty(self.shape[1:], np.object_)
        whole = np.dtype(np.int32)
        for place, inputs in self._series(valid):
            for number, share in enumerate(shares or (math.nan,)):
                told = (kind, float(share)) if shares else (kind, None)
                results[number, *place] = self.tape.node("reduce", kept, inputs, told)
            some = self.tape.node("count", whole, inputs, (kind, None), float(len(self)))
            counts[place] = some
        found = self._like(results if shares else results[0], kept)
        return found, self._like(counts, whole)

    def running(self, kind: str, valid: Any, dtype: DType) -> Traced:
        """Combine entries along the first axis; see `terrazzo.processes.series.run_along`."""
        if self.dtype.kind == "b":
            kept = np.dtype(np.uint8) if dtype.kind == "b" else dtype
            return self.astype(np.uint8).running(kind, valid, kept).astype(dtype)
        nodes = np.empty(self.shape, np.object_)
        for place, entries in self._series(valid):
            for index in range(len(self)):
                nodes[index, *place] = self.tape.node("running", dtype, entries, (kind, index))
        return self._like(nodes, dtype)

    def arranged(
        self, valid: Any, dtype: DType, *, ascending: bool, first: bool
    ) -> tuple[Traced, Traced, Traced]:
        """Sort along the first axis; see `terrazzo.processes.series.arranged`."""
        if self.dtype.kind == "b":
            whole = self.astype(np.uint8)
            found, at, there = whole.arranged(valid, dtype, ascending=ascending, first=first)
            return found.astype(self.dtype), at, there
        told, truth = (bool(ascending), bool(first)), np.dtype(np.bool_)
        last = float(len(self) - 1)
        bounds = {"ranked": max(map(_bound, self.nodes)), "position": last, "there": math.inf}
        types = (self.dtype, dtype, truth)
        results = [np.empty(self.shape, np.object_) for _ in types]
        for place, entries in self._series(valid):
            for index in range(len(self)):
                for nodes, kind, (name, bound) in zip(results, types, bounds.items(), strict=True):
                    node = self.tape.node("arranged", kind, entries, (name, index, *told), bound)
                    nodes[index, *place] = node
        values, positions, there = map(self._like, results, types)
        return values, positions, there

    def interpolated(self, valid: Any, positions: tuple[float, ...]) -> tuple[Traced, Traced]:
        """Fill gaps along the first axis; see `terrazzo.processes.series.interpolated`."""
        values, known = np.empty(self.shape, np.object_), np.empty(self.shape, np.object_)
        truth = np.dtype(np.bool_)
        for place, entries in self._series(valid):
            for index in range(len(self)):
                of = [(name, index, positions) for name in ("filled", "known")]
                values[index, *place] = self.tape.node("filled", self.dtype, entries, of[0])
                known[index, *place] = self.tape.node("filled", truth, entries, of[1])
        return self._like(values), self._like(known, truth)

    def taken(self, positions: Any) -> Traced:
        """Take entries along the first axis at positions that differ from pixel to pixel."""
        if positions.dtype.kind not in "iu":
            raise Untraceable("Positions that are no integers.")
        wanted = nodes_of(self.tape, positions, positions.dtype)
        truth = np.dtype(np.bool_)
        nodes = np.empty(np.broadcast_shapes(wanted.shape, (1, *self.shape[1:])), np.object_)
        for place in np.ndindex(*nodes.shape):
            position: Any = wanted[place]
            entries = self._nodes[:, *place[1:]]
            found = entries[0]
            for index, entry in enumerate(entries[1:], 1):
                number = self.tape.constant(index, positions.dtype)
                here = computed(self.tape, np.equal, truth, (position, number))
                found = _chosen(self.tape, here, entry, found)
            nodes[place] = found
        return self._like(nodes)

    def _series(self, valid: Any) -> Iterator[tuple[tuple[int, ...], tuple[Node, ...]]]:
        """Yield the entries along the first axis, then their validity, place by place."""
        masks = np.broadcast_to(nodes_of(self.tape, valid, np.dtype(np.bool_)), self.shape)
        for place in np.ndindex(*self.shape[1:]):
            yield place, (*self._nodes[:, *place], *masks[:, *place])

    def _like(self, nodes: NDArray[np.object_], dtype: DType | None = None) -> Traced:
        return Traced(self.tape, nodes, dtype or self.dtype)

    def _mapped(self, dtype: DType, function: Callable[[Node, DType], Node]) -> Traced:
        nodes = np.empty(self.size, np.object_)
        for place, node in enumerate(self.nodes):
            nodes[place] = function(node, dtype)
        return self._like(nodes.reshape(self.shape), dtype)

    @override
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options or ufunc.nout != 1:
            raise Untraceable(f"{ufunc.__name__}.{method} with {', '.join(options) or 'axes'}.")
        types = ufunc.resolve_dtypes((*(_type_of(value) for value in inputs), None))
        arrays = [
            nodes_of(self.tape, value, kind) for value, kind in zip(inputs, types, strict=False)
        ]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        spread = [np.broadcast_to(array, shape).reshape(-1) for array in arrays]
        nodes = np.empty(math.prod(shape), np.object_)
        for place, entries in enumerate(zip(*spread, strict=True)):
            nodes[place] = computed(self.tape, ufunc, types[-1], entries)
        return Traced(self.tape, nodes.reshape(shape), types[-1])

    def __array_function__(
        self, function: Any, _: Any, inputs: Sequence[Any], options: dict[str, Any]
    ) -> Any:
        recorded = _FUNCTIONS.get(function)
        if recorded is None:
            raise Untraceable(f"numpy.{function.__name__}.")
        return recorded(self.tape, *inputs, **options)


def elementary(name: str, *operands: Any) -> Traced:
    """Record a function of `terrazzo.processes.functions`.

    Raises:
        Untraceable: the operands are no floats of one type.
    """
    traced = next(operand for operand in operands if isinstance(operand, Traced))
    tape, dtype = traced.tape, _common(operands)
    if dtype.kind != "f" or any(operand.dtype != dtype for operand in operands):
        raise Untraceable(f"{name} of {', '.join(str(operand.dtype) for operand in operands)}.")
    arrays = [nodes_of(tape, operand, dtype) for operand in operands]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    nodes = np.empty(math.prod(shape), np.object_)
    spread = (np.broadcast_to(array, shape).reshape(-1) for array in arrays)
    for place, entries in enumerate(zip(*spread, strict=True)):
        nodes[place] = tape.node("function", dtype, entries, name)
    return Traced(tape, nodes.reshape(shape), dtype)


def computed(tape: Tape, ufunc: Any, dtype: DType, inputs: tuple[Node, ...]) -> Node:
    """Return the node of a NumPy function, worked out at once where that is possible.

    Raises:
        Untraceable: the function is not among those that can be fused.
    """
    name = ufunc.__name__
    if all(node.is_constant for node in inputs):
        with np.errstate(all="ignore"):
            return tape.constant(ufunc(*(number_of(node) for node in inputs)), dtype)
    kinds = {node.dtype.kind for node in inputs}
    whole = kinds <= set("iu")
    if kinds == {"b"} and name in {*_LOGIC, "equal"}:
        found = _logical(tape, _LOGIC.get(name, "xor"), inputs)
        return _logical(tape, "not", (found,)) if name == "equal" else found
    if whole and name in _TESTS:
        return tape.constant(name == "isfinite", dtype)
    asks = name in _COMPARISON | _TESTS and "b" not in kinds
    if asks or (kinds == {"f"} and name in _ARITHMETIC | _ROUNDING):
        return tape.node(name, dtype, inputs)
    bounds = [node.bound for node in inputs]
    if whole and name in _AS_IT_IS:
        return tape.node(name, dtype, inputs, bound=max(bounds))
    if whole and name == "add" and sum(bounds) <= np.iinfo(dtype).max:
        return tape.node(name, dtype, inputs, bound=sum(bounds))
    raise Untraceable(f"{name} of {', '.join(str(node.dtype) for node in inputs)}.")


def _logical(tape: Tape, name: str, inputs: tuple[Node, ...]) -> Node:
    """Return the node of a truth function, without what constants decide."""
    truth = np.dtype(np.bool_)
    if name == "not":
        (node,) = inputs
        return node.inputs[0] if node.op == "not" else tape.node("not", truth, inputs)
    one, other = inputs
    if other.is_constant:
        one, other = other, one
    if name in {"and", "or"}:
        for whole, part in ((one, other), (other, one)):
            if whole is part or (whole.op == name and any(part is n for n in whole.inputs)):
                return whole
    if not one.is_constant:
        return tape.node(name, truth, inputs)
    sure = bool(number_of(one))
    if name == "xor":
        return _logical(tape, "not", (other,)) if sure else other
    return other if sure == (name == "and") else one


def nodes_of(tape: Tape, value: Any, dtype: DType) -> NDArray[np.object_]:
    """Return anything that NumPy computes with as an array of nodes, (..., 1, 1) or ().

    Raises:
        Untraceable: it has pixels, or it does not fit the type.
    """
    if isinstance(value, Traced):
        return value.astype(dtype)._nodes  # noqa: SLF001 - its own class
    array = np.asarray(value)
    if array.ndim and (array.ndim < 2 or array.shape[-2:] != (1, 1)):  # noqa: PLR2004 - y, x
        raise Untraceable(f"An array of shape {array.shape} among traced ones.")
    nodes = np.empty(array.size, np.object_)
    for place, number in enumerate(array.reshape(-1)):
        nodes[place] = tape.constant(number, dtype)
    return nodes.reshape(array.shape)


def _type_of(value: Any) -> Any:
    """Return what NumPy decides types by: dtypes, and Python's own types for bare numbers."""
    if isinstance(value, (Traced, np.ndarray, np.generic)):
        return value.dtype
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    return type(value)


def _bound(node: Node) -> float:
    return node.bound


def _common(values: Sequence[Any]) -> DType:
    known = [v.dtype if isinstance(v, Traced) else v for v in values]
    return np.result_type(*known)


def _where(tape: Tape, condition: Any, yes: Any, no: Any) -> Traced:
    dtype = _common((yes, no))
    parts = [nodes_of(tape, condition, np.dtype(np.bool_))]
    parts += [nodes_of(tape, branch, dtype) for branch in (yes, no)]
    shape = np.broadcast_shapes(*(part.shape for part in parts))
    nodes = np.empty(math.prod(shape), np.object_)
    entries = zip(*(np.broadcast_to(part, shape).reshape(-1) for part in parts), strict=True)
    for place, (question, one, other) in enumerate(entries):
        nodes[place] = _chosen(tape, question, one, other)
    return Traced(tape, nodes.reshape(shape), dtype)


def _chosen(tape: Tape, question: Node, one: Node, other: Node) -> Node:
    if question.is_constant:
        return one if number_of(question) else other
    if one is other:
        return one
    held = _held(question, one, other)
    if held is not None:
        return tape.node("clamp", one.dtype, held, bound=max(one.bound, other.bound))
    return tape.node("where", one.dtype, (question, one, other), bound=max(one.bound, other.bound))


def _held(question: Node, one: Node, other: Node) -> tuple[Node, Node, Node] | None:
    """Return a number and its bounds if it is held between them, which takes one operation."""
    if question.op != "less" or other.op != "where":
        return None
    above, most, x = other.inputs
    held = above.op == "greater" and above.inputs == (x, most) and question.inputs == (x, one)
    return (x, one, most) if held else None


def _joined(function: Callable[..., Any]) -> Callable[..., Traced]:
    """Return `stack` or `concatenate` of arrays of which some are traced."""

    def run(tape: Tape, parts: Sequence[Any], axis: int = 0) -> Traced:
        dtype = _common(parts)
        arrays = [nodes_of(tape, part, dtype) for part in parts]
        return Traced(tape, function(arrays, axis=axis), dtype)

    return run


def _rearranged(function: Callable[..., Any]) -> Callable[..., Traced]:
    """Return a function that only moves planes about."""

    def run(tape: Tape, array: Traced, *arguments: Any, **options: Any) -> Traced:
        return Traced(tape, function(array._nodes, *arguments, **options), array.dtype)  # noqa: SLF001

    return run


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.stack: _joined(np.stack),
    np.concatenate: _joined(np.concatenate),
    np.shape: lambda _, array: array.shape,
    np.ndim: lambda _, array: array.ndim,
    np.result_type: lambda _, *values: _common(values),
    **{
        function: _rearranged(function)
        for function in (
            np.moveaxis,
            np.broadcast_to,
            np.expand_dims,
            np.squeeze,
            np.transpose,
            np.reshape,
            np.swapaxes,
        )
    },
}
"""What NumPy's functions do with traced arrays."""
