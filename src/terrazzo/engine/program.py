"""What the machine runs: operations on registers, and what else it must know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.tape import Node, number_of
from terrazzo.engine import operations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Carried = tuple[NDArray[np.int64], list[NDArray[np.uint8]]]

Place = tuple[int, int]
"""A plane that comes in: number of the input, position in it."""

CACHE_BYTES = 256 * 1024
"""What all registers may take: they shall stay in a core's second cache with what comes in."""
HELD_BYTES = 64_000_000
"""Planes that take less than this are held together; those that take more are not if they can be
folded one by one."""
STREAMED = 4_000_000
"""Pixels of planes that are in memory from which they are read by few at a time."""
WORTH_CUTTING = 0.7
"""A program is cut if that takes at most this share of the memory."""
LONGEST_PIECE, SHORTEST_PIECE = 4096, 32
"""Pixels of a register at most and at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One plane of a result."""

    value: Node
    valid: Node

    @property
    def is_valid_everywhere(self) -> bool:
        """Whether it is valid whatever comes in."""
        return self.valid.is_constant and bool(number_of(self.valid))


@dataclass(frozen=True, slots=True)
class Cut:
    """A place between two operations, and the registers that are needed after it."""

    at: int
    """Number of the operation before which the program is cut."""
    carried: tuple[tuple[int, int], ...]
    """(bank, register) of what must be kept."""


@dataclass(frozen=True, slots=True)
class Part:
    """Operations that run over a window before others do, so that fewer planes are held."""

    start: int
    """Number of the first operation."""
    stop: int
    """Number of the one after the last."""
    before: tuple[tuple[int, int], ...]
    """Registers that are taken over from the part before."""
    after: tuple[tuple[int, int], ...]
    """Registers that are kept for the part after."""


@dataclass(frozen=True, eq=False)
class Program:
    """What the machine runs; immutable, for many threads."""

    operations: NDArray[np.int32]
    """(n, 8) code, output, operands, plane of a result, bank of the output."""
    places: tuple[Place, ...]
    """The plane of every load."""
    constants: NDArray[np.float64]
    """Numbers of the first registers."""
    shares: NDArray[np.float64]
    """Probabilities of quantiles."""
    steps: NDArray[np.int64]
    """Compare-exchange steps of all sorts."""
    tables: NDArray[np.uint8]
    """(tables, 512) truths by byte."""
    registers: tuple[int, int, int, int]
    """How many numbers, truths, reductions, and sorted entries."""
    dtype: np.dtype[Any]
    """Type of the numbers: float32 or float64."""
    loads: NDArray[np.int64]
    """Which operations are loads, one for each of `places`."""
    cuts: tuple[Cut, ...]
    """Where it can be cut into parts, in order."""
    masked: bool
    """Whether it says what of the results is valid; otherwise all is."""

    @cached_property
    def piece(self) -> int:
        """Pixels of a register, so that all of them fit the cache."""
        numbers, truths, groups, depth = self.registers
        width = (numbers + depth) * self.dtype.itemsize + truths + groups * 20
        fitting = CACHE_BYTES // max(width, 1)
        return max(min(1 << (max(fitting, 1).bit_length() - 1), LONGEST_PIECE), SHORTEST_PIECE)

    def banks(self, pixels: int) -> tuple[Any, ...]:
        """Return registers for a window of so many pixels."""
        numbers, truths, groups, depth = self.registers
        piece = min(self.piece, max(pixels, 1))
        return (
            np.zeros((max(numbers, 1), piece), self.dtype),
            np.ones((truths + 1, piece), np.uint8),  # the last row stays as it is
            np.zeros((max(2 * groups, 1), piece)),
            np.zeros((max(2 * groups, 1), piece), np.uint16),
            np.zeros((max(depth, 1), piece), self.dtype),
            np.zeros(piece, np.int64),
            np.zeros(max(numbers, 1), np.int64),
            np.zeros(truths + 1, np.int64),
        )

    def parts(self, weights: Mapping[int, float], pixels: int) -> tuple[tuple[Part, ...], float]:
        """Cut the program where that saves memory: dates that are folded need not be held.

        Args:
            weights: bytes per pixel of a plane, by number of the input; those that are in
                memory anyway weigh nothing.
            pixels: of the window.

        Returns:
            The parts, and the bytes that planes and carried registers take at most.
        """
        weighed = [weights.get(number, 0.0) * pixels for number, _ in self.places]
        whole = Part(0, len(self.operations), (), ())
        total = sum(weighed)
        if not total and len(self.places) * pixels > STREAMED:
            return self._streams, total
        if total <= HELD_BYTES:
            return (whole,), total
        parts: list[Part] = []
        before: tuple[tuple[int, int], ...] = ()
        start, carried, most, first = 0, 0.0, 0.0, 0
        for cut in (*self.cuts, Cut(len(self.operations), ())):
            last = int(np.searchsorted(self.loads, cut.at))
            held = sum(weighed[first:last])
            if held < HELD_BYTES / 2 and cut.at < len(self.operations):
                continue
            parts.append(Part(start, cut.at, before, cut.carried))
            kept = sum(self._bytes_of(bank) for bank, _ in cut.carried) * pixels
            most = max(most, held + carried + kept)
            start, before, carried, first = cut.at, cut.carried, kept, last
        if most > WORTH_CUTTING * total:
            return (whole,), total
        return tuple(parts), most

    @cached_property
    def _streams(self) -> tuple[Part, ...]:
        """Parts that share nothing: memory is read faster if few planes are read at a time."""
        edges = [0, *(cut.at for cut in self.cuts if not cut.carried), len(self.operations)]
        return tuple(Part(start, stop, (), ()) for start, stop in pairwise(edges) if start < stop)

    def _bytes_of(self, bank: int) -> int:
        sizes = {operations.TRUTHS: 1, operations.SUMS: 8, operations.COUNTS: 2}
        return sizes.get(bank, self.dtype.itemsize)

    def carry(self, registers: Sequence[tuple[int, int]], pixels: int) -> Carried:
        """Return memory for registers: the machine's table, and the arrays that it is of."""
        table = np.zeros((len(registers), 3), np.int64)
        arrays = []
        for row, (bank, register) in enumerate(registers):
            arrays.append(np.empty(pixels * self._bytes_of(bank), np.uint8))
            table[row] = bank, register, arrays[-1].__array_interface__["data"][0]
        return table, arrays
