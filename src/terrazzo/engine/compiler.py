"""Compiles what was traced into a program for the machine.

Registers are given out as late and taken back as early as possible, so that there are few and
all of them stay in the cache. What depends on one plane of bytes alone (a scene classification)
becomes a table of 256 truths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.traced import EXACT_IN_FLOAT32, Node, Untraceable, number_of
from terrazzo.engine import operations
from terrazzo.engine.program import Cut, Program
from terrazzo.processes.stacks import exchanges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from terrazzo.engine.program import Place, Result

_LOADS = (operations.LOAD, operations.LOAD_BYTES)


def compiled(
    results: Sequence[Result],
    bytes_of: frozenset[Place] = frozenset(),
    wide: frozenset[int] = frozenset(),
) -> Program:
    """Compile the nodes of results into a program that stores them in this order.

    Args:
        results: value and validity of every plane of the result.
        bytes_of: planes whose stored numbers are unscaled bytes.
        wide: inputs whose numbers float32 does not hold exactly.

    Raises:
        Untraceable: float32 and float64 would have to be computed side by side.
    """
    return _Compiler(results, bytes_of, wide).program()


def _code(name: str) -> int:
    """Return the number of an operation, which is called as NumPy calls the function."""
    return int(vars(operations)[name.upper()])


def _dtype(nodes: Iterable[Node], wide_inputs: frozenset[int]) -> np.dtype[Any]:
    """Return the type in which every node is computed exactly as NumPy would."""
    wide, rounded = False, False
    for node in nodes:
        kind, size = node.dtype.kind, node.dtype.itemsize
        # Whether a number is no-data is asked of the number as it is stored.
        wide = wide or (node.op == "valid" and node.value[0] in wide_inputs)
        if kind not in "biuf":
            raise Untraceable(f"Values of type {node.dtype}.")
        wide = wide or (kind == "f" and size == 8)  # noqa: PLR2004 - bytes
        wide = wide or (kind in "iu" and size > 2 and node.bound > EXACT_IN_FLOAT32)  # noqa: PLR2004
        if kind in "iu" and size == 8:  # noqa: PLR2004 - bytes
            raise Untraceable("64 bit integers.")
        made = node.op not in {"plane", "constant", "cast", "where"}
        rounded = rounded or (kind == "f" and size < 8 and made)  # noqa: PLR2004 - bytes
    if wide and rounded:
        raise Untraceable("float32 beside float64.")
    return np.dtype(np.float64 if wide else np.float32)


def _all_nodes(roots: Iterable[Node]) -> list[Node]:
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
    order = _all_nodes(node for result in results for node in (result.value, result.valid))
    every = frozenset(node.value for node in order if node.op == "plane")
    return frozenset(_byte_tables(order, every).values())


def _byte_tables(order: Sequence[Node], bytes_of: frozenset[Place]) -> dict[int, Place]:
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
        depends[id(node)] = None if node.op in {"reduce", "count"} else one
        if node.dtype.kind == "b" and one is not None and depends[id(node)] is not None:
            found[id(node)] = one
    return found


def tabulated(node: Node) -> NDArray[np.uint8]:
    """Return (512,) truths of a node for every byte, first where it is not valid."""
    with np.errstate(all="ignore"):
        values: dict[int, Any] = {}
        numbers = np.tile(np.arange(256), 2)
        valid = np.repeat([False, True], 256)
        for one in _all_nodes([node]):
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
    return getattr(np, _NUMPY.get(node.op, node.op))(*inputs)


@dataclass(slots=True)
class _Bank:
    """Registers of one kind."""

    count: int = 0
    """How many there are."""
    free: list[int] = field(default_factory=list)
    """Those that are not in use."""

    def take(self) -> int:
        """Return a register that is not in use."""
        if self.free:
            return self.free.pop()
        self.count += 1
        return self.count - 1


class _Compiler:
    """Walks from the results down to the planes, and emits operations on the way back."""

    def __init__(
        self, results: Sequence[Result], bytes_of: frozenset[Place], wide: frozenset[int]
    ) -> None:
        self._results = results
        roots = [node for result in results for node in (result.value, result.valid)]
        order = _all_nodes(roots)
        self._dtype = _dtype(order, wide)
        self._tables = _byte_tables(order, bytes_of)
        self._numbers, self._truths = _Bank(), _Bank()
        self._operations: list[tuple[int, ...]] = []
        self._places: list[Place] = []
        self._shares: list[float] = []
        self._steps: list[NDArray[np.int64]] = []
        self._table_rows: list[NDArray[np.uint8]] = []
        self._groups: dict[Any, tuple[int, int]] = {}
        self._depth = 0
        self._cuts: list[Cut] = []
        self._open: dict[Any, list[tuple[int, int]]] = {}
        self._left: dict[Any, int] = {}
        self._constants: dict[int, int] = {}
        for node in order:
            if node.op == "constant" and node.dtype.kind != "b":
                self._constants[id(node)] = self._numbers.take()
        self._constant_nodes = [n for n in order if id(n) in self._constants]
        self._register: dict[int, int] = {}
        for node in order:
            if node.op in {"reduce", "count"}:
                self._left[self._key(node)] = self._left.get(self._key(node), 0) + 1
        self._uses = self._count_uses(roots)

    def program(self) -> Program:
        """Emit everything and return it."""
        masked = not all(result.is_valid_everywhere for result in self._results)
        for number, result in enumerate(self._results):
            self._need(result.value, result.valid)
            value, valid = self._at(result.value), self._at(result.valid)
            is_truth = int(result.value.dtype.kind == "b")
            self._emit(operations.STORE, number, value, valid, is_truth, int(masked))
            self._done(result.value)
            self._done(result.valid)
        steps = self._steps or [np.zeros((0, 2), np.int64)]
        tables = self._table_rows or [np.zeros(512, np.uint8)]
        return Program(
            np.array(self._operations, np.int32),
            tuple(self._places),
            np.array([float(number_of(n)) for n in self._constant_nodes], np.float64),
            np.array(self._shares, np.float64),
            np.concatenate(steps),
            np.stack(tables),
            (self._numbers.count, self._truths.count, len(self._groups), self._depth),
            self._dtype,
            np.flatnonzero([one[0] in _LOADS for one in self._operations]),
            tuple(self._cuts),
            masked,
        )

    def _count_uses(self, roots: Sequence[Node]) -> dict[int, int]:
        """Count how often the register of every node is read."""
        uses: dict[int, int] = {}
        seen: set[Any] = set()
        waiting = list(roots)
        for node in roots:
            uses[id(node)] = uses.get(id(node), 0) + 1
        while waiting:
            node = waiting.pop()
            if id(node) in seen or id(node) in self._tables:
                continue
            seen.add(id(node))
            if node.op in {"reduce", "count"}:
                if self._key(node) in seen:
                    continue
                seen.add(self._key(node))
            for needed in node.inputs:
                uses[id(needed)] = uses.get(id(needed), 0) + 1
                waiting.append(needed)
        return uses

    def _emit(
        self, code: int, out: int = 0, a: int = 0, b: int = 0, c: int = 0, more: int = 0
    ) -> None:
        self._operations.append((code, out, a, b, c, more))

    def _at(self, node: Node) -> int:
        found = self._constants.get(id(node))
        return self._register[id(node)] if found is None else found

    def _bank(self, node: Node) -> _Bank:
        return self._truths if node.dtype.kind == "b" else self._numbers

    def _done(self, node: Node) -> None:
        """Give the register back when nobody reads it any more."""
        if id(node) in self._constants:
            return
        self._uses[id(node)] -= 1
        if self._uses[id(node)] == 0:
            self._bank(node).free.append(self._register[id(node)])

    def _need(self, *nodes: Node) -> None:
        """Emit what has to be computed before these nodes can be read, and them."""
        waiting = [(node, 0) for node in nodes[::-1]]
        while waiting:
            node, position = waiting.pop()
            if id(node) in self._register or id(node) in self._constants:
                continue
            if id(node) in self._tables:
                self._look_up(node)
            elif node.op in {"plane", "valid"}:
                self._load(node)
            elif node.op == "constant":
                self._truth_constant(node)
            elif node.op in {"reduce", "count"}:
                if self._step_of_reduction(node, position, waiting):
                    self._finish_reduction(node)
            else:
                missing = [n for n in node.inputs if not self._has(n)]
                if missing:
                    waiting.append((node, 0))
                    waiting.extend((n, 0) for n in missing[::-1])
                else:
                    self._compute(node)

    def _has(self, node: Node) -> bool:
        return id(node) in self._register or id(node) in self._constants

    def _compute(self, node: Node) -> None:
        if node.op == "cast":
            source = node.inputs[0]
            register = self._at(source)
            if id(source) not in self._constants and self._uses[id(source)] == 1:
                # The number is in the register's type already, and nobody else reads it.
                self._uses[id(source)] = 0
                self._register[id(node)] = register
                return
        operands = [self._at(needed) for needed in node.inputs]
        out = self._bank(node).take()
        if node.op == "cast":
            self._emit(operations.MAXIMUM, out, operands[0], operands[0])
        elif node.op == "where" and node.dtype.kind == "b":
            self._emit(operations.WHERE_TRUTH, out, *operands)
        else:
            self._emit(_code(node.op), out, *operands)
        self._register[id(node)] = out
        for needed in node.inputs:
            self._done(needed)

    def _truth_constant(self, node: Node) -> None:
        """Make a truth that is the same everywhere, of a comparison of registers."""
        out = self._truths.take()
        zero = self._numbers.take()
        sure = bool(number_of(node))
        # Whatever the register holds, it is not less than itself.
        self._emit(operations.LESS, out, zero, zero)
        if sure:
            other = self._truths.take()
            self._emit(operations.NOT, other, out)
            self._truths.free.append(out)
            out = other
        self._numbers.free.append(zero)
        self._register[id(node)] = out

    def _load(self, node: Node) -> None:
        """Load a plane, value and validity at once."""
        self._places.append(node.value)
        partner = self._partner(node)
        value, valid = (node, partner) if node.op == "plane" else (partner, node)
        is_truth = value is not None and value.dtype.kind == "b"
        bank = self._truths if is_truth else self._numbers
        first, truth = bank.take(), self._truths.take()
        code = operations.LOAD_BYTES if is_truth else operations.LOAD
        self._emit(code, first, len(self._places) - 1, truth)
        for one, register, home in ((value, first, bank), (valid, truth, self._truths)):
            if one is not None and self._uses.get(id(one), 0) and id(one) not in self._register:
                self._register[id(one)] = register
            else:
                home.free.append(register)

    def _partner(self, node: Node) -> Node | None:
        return self._leaves.get(("valid" if node.op == "plane" else "plane", node.value))

    @cached_property
    def _leaves(self) -> dict[tuple[str, Place], Node]:
        roots = [node for result in self._results for node in (result.value, result.valid)]
        return {
            (node.op, node.value): node
            for node in _all_nodes(roots)
            if node.op in {"plane", "valid"}
        }

    def _look_up(self, node: Node) -> None:
        """Take a truth out of a table, by the byte that is stored."""
        place = self._tables[id(node)]
        self._places.append(place)
        byte, truth, out = self._truths.take(), self._truths.take(), self._truths.take()
        self._emit(operations.LOAD_BYTES, byte, len(self._places) - 1, truth)
        self._table_rows.append(tabulated(node))
        self._emit(operations.LOOK_UP, out, byte, truth, len(self._table_rows) - 1)
        self._truths.free += [byte, truth]
        self._register[id(node)] = out

    def _key(self, node: Node) -> tuple[Any, ...]:
        kind = node.value[0]
        family = "quantiles" if kind == "quantiles" else kind
        return (family, tuple(map(id, node.inputs)))

    def _step_of_reduction(
        self, node: Node, position: int, waiting: list[tuple[Node, int]]
    ) -> bool:
        """Fold the next entry of a reduction; return whether all are folded."""
        length = len(node.inputs) // 2
        kind, key = node.value[0], self._key(node)
        sorts = kind == "quantiles"
        if key not in self._groups:
            base = self._depth
            self._groups[key] = (len(self._groups), base)
            self._open[key] = self._rows_of(kind, len(self._groups) - 1)
            self._depth += length if sorts else 0
            fold = operations.NOTHING if sorts else _code(kind)
            self._emit(operations.START, 0, self._groups[key][0], 0, 0, fold)
        elif position == 0:
            return True
        group, base = self._groups[key]
        at = max(position - 1, 0)
        while at < length:
            value, valid = node.inputs[at], node.inputs[length + at]
            missing = [n for n in (value, valid) if not self._has(n)]
            if missing:
                waiting.append((node, at + 1))
                waiting.extend((n, 0) for n in missing[::-1])
                return False
            code, more = (operations.PUSH, base + at) if sorts else (operations.FOLD, _code(kind))
            self._emit(code, 0, group, self._at(value), self._at(valid), more)
            self._done(value)
            self._done(valid)
            if sorts:
                self._open[key].append((operations.STACK, base + at))
            at += 1
            if not sorts:  # what is sorted is held to the end, so that a cut saves nothing
                self._cuts.append(self._cut())
        if sorts:
            first = sum(len(one) for one in self._steps)
            self._steps.append(exchanges(length))
            last = first + len(self._steps[-1])
            self._emit(operations.SORT, 0, group, first, last, base)
        return True

    def _rows_of(self, kind: str, group: int) -> list[tuple[int, int]]:
        """Return the registers in which a reduction keeps what it has come to."""
        counts = [(operations.COUNTS, 2 * group)]
        if kind == "quantiles":
            return [*counts, (operations.COUNTS, 2 * group + 1)]
        wide = 2 if kind in {"variance", "sd"} else 1
        return counts + [(operations.SUMS, 2 * group + row) for row in range(wide)]

    def _cut(self) -> Cut:
        """Return where the program is now, with all registers that are in use."""
        free, constants = set(self._numbers.free), len(self._constants)
        carried = [
            (operations.NUMBERS, register)
            for register in range(constants, self._numbers.count)
            if register not in free
        ]
        free = set(self._truths.free)
        carried += [(operations.TRUTHS, r) for r in range(self._truths.count) if r not in free]
        carried += [row for rows in self._open.values() for row in rows]
        return Cut(len(self._operations), tuple(carried))

    def _finish_reduction(self, node: Node) -> None:
        key = self._key(node)
        group, base = self._groups[key]
        self._left[key] -= 1
        if not self._left[key]:
            del self._open[key]
        out = self._numbers.take()
        kind, share = node.value
        if node.op == "count":
            self._emit(operations.COUNT, out, group, 0, 0, 0)
        elif kind == "quantiles":
            self._shares.append(share)
            self._emit(operations.PICK, out, group, len(self._shares) - 1, 0, base)
        else:
            self._emit(operations.FINISH, out, group, 0, 0, _code(kind))
        self._register[id(node)] = out
