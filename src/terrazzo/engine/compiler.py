"""Compiles what was traced into a program for the machine.

Registers are given out as late and taken back as early as possible, so that there are few and
all of them stay in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.tape import EXACT_IN_FLOAT32, GATHERED, Node, Untraceable, number_of
from terrazzo.engine import operations
from terrazzo.engine.program import Cut, Program
from terrazzo.engine.tables import all_nodes, byte_tables, tabulated
from terrazzo.processes import functions
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
        made = node.op not in {"plane", "constant", "cast", "where", "arranged"}
        rounded = rounded or (kind == "f" and size < 8 and made)  # noqa: PLR2004 - bytes
    if wide and rounded:
        raise Untraceable("float32 beside float64.")
    return np.dtype(np.float64 if wide else np.float32)


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


@dataclass(slots=True)
class _Gathering:
    """Entries of a stack that are reduced, sorted or filled together."""

    number: int
    """Which of the program's reductions it is."""
    base: int
    """First row of the sorted entries that is its own."""
    last: dict[int, Node]
    """For what runs along: by position, the node of what it has come to there."""
    left: int
    """How many nodes still are to be taken out of it."""
    at: int = 0
    """How many entries are in it."""
    closed: bool = False
    """Whether nothing more comes in."""
    rows: list[tuple[int, int]] = field(default_factory=list)
    """Registers in which it keeps what it has come to."""


class _Compiler:
    """Walks from the results down to the planes, and emits operations on the way back."""

    def __init__(
        self, results: Sequence[Result], bytes_of: frozenset[Place], wide: frozenset[int]
    ) -> None:
        self._results = results
        self._masked = not all(result.is_valid_everywhere for result in results)
        self._goals = self._goals_of(results)
        roots = [n for result in results for n in (result.value, *self._masks(result))]
        order = all_nodes(roots)
        self._dtype = _dtype(order, wide)
        self._tables = byte_tables(order, bytes_of)
        self._numbers, self._truths = _Bank(), _Bank()
        self._operations: list[tuple[int, ...]] = []
        self._places: list[Place] = []
        self._shares: list[float] = []
        self._steps: list[NDArray[np.int64]] = []
        self._table_rows: list[NDArray[np.uint8]] = []
        self._groups: dict[Any, _Gathering] = {}
        self._depth = 0
        self._cuts: list[Cut] = []
        self._taken: dict[Any, list[Node]] = {}
        self._constants: dict[int, int] = {}
        for node in order:
            if node.op == "constant" and node.dtype.kind != "b":
                self._constants[id(node)] = self._numbers.take()
        self._constant_nodes = [n for n in order if id(n) in self._constants]
        self._register: dict[int, int] = {}
        for node in order:
            if node.op in GATHERED:
                self._taken.setdefault(_key(node), []).append(node)
        self._uses = self._count_uses(roots)

    def program(self) -> Program:
        """Emit everything and return it."""
        for number, result in enumerate(self._results):
            self._need(result.value, *self._masks(result))
            value, valid = self._at(result.value), 0
            for mask in self._masks(result):
                valid = self._at(mask)
                self._done(mask)
            is_truth = int(result.value.dtype.kind == "b")
            self._emit(operations.STORE, number, value, valid, is_truth, int(self._masked))
            self._done(result.value)
            self._cuts.append(self._cut())
        banks = [(operations.GIVES[operation[0]],) for operation in self._operations]
        steps = self._steps or [np.zeros((0, 2), np.int64)]
        tables = self._table_rows or [np.zeros(512, np.uint8)]
        return Program(
            np.hstack((np.array(self._operations, np.int32), np.array(banks, np.int32))),
            tuple(self._places),
            np.array([float(number_of(n)) for n in self._constant_nodes], np.float64),
            np.array(self._shares, np.float64),
            np.concatenate(steps),
            np.stack(tables),
            (self._numbers.count, self._truths.count, len(self._groups), self._depth),
            self._dtype,
            np.flatnonzero([one[0] in _LOADS for one in self._operations]),
            tuple(self._cuts),
            self._masked,
        )

    def _masks(self, result: Result) -> tuple[Node, ...]:
        return (result.valid,) if self._masked else ()

    def _goals_of(self, results: Sequence[Result]) -> dict[int, int]:
        """Return where nodes belong that are results, so that they need not be copied there.

        Twice the number of the plane, and one more for its mask, after 1.
        """
        goals: dict[int, int] = {}
        for number, result in enumerate(results):
            for goal, root in enumerate((result.value, *self._masks(result)), 2 * number + 1):
                node = root
                while node.op == "cast":  # which may be nothing but another name
                    node = node.inputs[0]
                goals.setdefault(id(node), goal)
        return goals

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
            if node.op in GATHERED:
                if _key(node) in seen:
                    continue
                seen.add(_key(node))
            for needed in node.inputs:
                uses[id(needed)] = uses.get(id(needed), 0) + 1
                waiting.append(needed)
        return uses

    def _emit(
        self, code: int, out: int = 0, a: int = 0, b: int = 0, c: int = 0, more: int = 0
    ) -> None:
        self._operations.append((code, out, a, b, c, more, 0))

    def _given(self, node: Node, register: int) -> None:
        """Note which register the last operation gave to a node, and where that belongs."""
        self._register[id(node)] = register
        self._operations[-1] = (*self._operations[-1][:-1], self._goals.get(id(node), 0))

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
        waiting = list(nodes[::-1])
        while waiting:
            node = waiting.pop()
            if id(node) in self._register or id(node) in self._constants:
                continue
            if id(node) in self._tables:
                self._look_up(node)
            elif node.op in {"plane", "valid"}:
                self._load(node)
            elif node.op == "constant":
                self._truth_constant(node)
            elif node.op in GATHERED:
                if self._gather(node, waiting):
                    self._take_out(node)
            else:
                missing = [n for n in node.inputs if not self._has(n)]
                if missing:
                    waiting += [node, *missing[::-1]]
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
        elif node.op == "function":
            which = functions.NAMES.index(node.value)
            self._emit(operations.FUNCTION, out, operands[0], operands[-1], which)
        else:
            self._emit(_code(node.op), out, *operands)
        self._given(node, out)
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
        roots = [n for one in self._results for n in (one.value, *self._masks(one))]
        return {
            (node.op, node.value): node
            for node in all_nodes(roots)
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

    def _gather(self, node: Node, waiting: list[Node]) -> bool:
        """Put in the next entries that a node is made of; return whether all of them are there."""
        length, key = len(node.inputs) // 2, _key(node)
        if key not in self._groups:
            self._groups[key] = self._begun(node, length)
        group = self._groups[key]
        stop = node.value[1] + 1 if node.op == "running" else length
        while group.at < stop:
            value, valid = node.inputs[group.at], node.inputs[length + group.at]
            missing = [n for n in (value, valid) if not self._has(n)]
            if missing:
                waiting += [node, *missing[::-1]]
                return False
            self._put_in(node, group, length, self._at(value), self._at(valid))
            self._done(value)
            self._done(valid)
            group.at += 1
            if not _sorts(node):  # what is sorted is held to the end, so that a cut saves nothing
                self._cuts.append(self._cut())
        if not group.closed and group.at == length:
            group.closed = True
            self._close(node, group, length)
        return True

    def _begun(self, node: Node, length: int) -> _Gathering:
        """Begin to gather the entries that a node is made of."""
        kind, number, taken = node.value[0], len(self._groups), self._taken[_key(node)]
        last = {one.value[1]: one for one in taken if one.op == "running"}
        group = _Gathering(number, self._depth, last, len(taken))
        if node.op in {"arranged", "filled"}:
            self._depth += 2 * length
            return group
        group.rows.append((operations.COUNTS, 2 * number))
        if kind == "quantiles":
            group.rows.append((operations.COUNTS, 2 * number + 1))
            self._depth += length
        else:
            wide = 2 if kind in {"variance", "sd"} else 1
            group.rows += [(operations.SUMS, 2 * number + row) for row in range(wide)]
        fold = operations.NOTHING if kind == "quantiles" else _code(kind)
        self._emit(operations.START, 0, number, 0, 0, fold)
        return group

    def _put_in(self, node: Node, group: _Gathering, length: int, value: int, valid: int) -> None:
        """Emit what puts one entry in."""
        row = (operations.STACK, group.base + group.at)
        if node.op == "arranged":
            told = _told(node, group)
            self._emit(operations.PUSH_RANKED, group.at, length, value, valid, told)
            group.rows += [row, (operations.STACK, row[1] + length)]
        elif node.op == "filled":
            self._emit(operations.PUSH_GAP, group.at, length, value, valid, group.base)
            group.rows += [row, (operations.STACK, row[1] + length)]
        elif node.value[0] == "quantiles":
            self._emit(operations.PUSH, 0, group.number, value, valid, row[1])
            group.rows.append(row)
        else:
            fold = _code(node.value[0])
            # Sums that run along need not know how many entries they are of.
            uncounted = int(node.op == "running" and node.value[0] in {"sum", "product"})
            self._emit(operations.FOLD, uncounted, group.number, value, valid, fold)
            reached = group.last.get(group.at)
            if reached is not None:
                self._take_out(reached)

    def _close(self, node: Node, group: _Gathering, length: int) -> None:
        """Emit what is done when all entries are in."""
        if node.op == "filled":
            first = len(self._shares)
            self._shares += node.value[2]
            self._emit(operations.FILL, 0, length, first, 0, group.base)
        elif _sorts(node):
            first = sum(len(one) for one in self._steps)
            self._steps.append(exchanges(length))
            last = first + len(self._steps[-1])
            if node.op == "arranged":
                told = _told(node, group)
                self._emit(operations.SORT_RANKED, 0, length, first, last, told)
            else:
                self._emit(operations.SORT, 0, group.number, first, last, group.base)

    def _take_out(self, node: Node) -> None:
        """Emit what writes a node of a gathering; nothing where that has been done."""
        if self._has(node):
            return
        group = self._groups[_key(node)]
        group.left -= 1
        if not group.left:
            group.rows.clear()
        out = self._bank(node).take()
        kind, which = node.value[:2]
        if node.op in {"arranged", "filled"}:
            length = len(node.inputs) // 2
            self._emit(_code(f"pick_{kind}"), out, length, which, 0, group.base)
        elif node.op == "count":
            self._emit(operations.COUNT, out, group.number, 0, 0, 0)
        elif kind == "quantiles":
            self._shares.append(which)
            at = len(self._shares) - 1
            self._emit(operations.PICK, out, group.number, at, 0, group.base)
        else:
            self._emit(operations.FINISH, out, group.number, 0, 0, _code(kind))
        self._given(node, out)

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
        carried += [row for group in self._groups.values() for row in group.rows]
        return Cut(len(self._operations), tuple(carried))


def _sorts(node: Node) -> bool:
    """Tell whether the entries of a gathering are kept one by one to its end."""
    return node.op in {"arranged", "filled"} or node.value[0] == "quantiles"


def _key(node: Node) -> tuple[Any, ...]:
    """Return what is equal for nodes that are made of the same entries in one go."""
    entries = tuple(map(id, node.inputs))
    if node.op in {"arranged", "filled"}:
        return (node.op, node.value[2:], entries)
    if node.op == "running":
        return (node.op, node.value[0], node.dtype.str, entries)
    return ("reduce", node.value[0], entries)


def _told(node: Node, group: _Gathering) -> int:
    """Return the first row of a gathering with whether it ascends and puts no-data first."""
    _, _, ascending, first = node.value
    return int(group.base * 4 + ascending + 2 * first)
