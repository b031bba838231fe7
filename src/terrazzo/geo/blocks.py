"""Blocks of a window: a sequence that is worked out, not kept, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from typing_extensions import override

from terrazzo.geo.grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Blocks(Sequence[Window]):
    """The blocks of a window in row order; the outer ones are cut at its border.

    They are cut at multiples of their edge counted on the grid, not from the window's corner: on
    the grid of the files that makes them lie on whole internal tiles, and none is read twice.
    """

    window: Window
    """The pixels that are cut into blocks."""
    edge: int
    """Edge of a block, pixels."""

    @property
    def across(self) -> int:
        """How many blocks lie beside each other."""
        return _count(self.window.col, self.window.col_stop, self.edge)

    @override
    def __len__(self) -> int:
        return _count(self.window.row, self.window.row_stop, self.edge) * self.across

    @overload
    def __getitem__(self, number: int) -> Window: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Window]: ...
    @override
    def __getitem__(self, number: int | slice) -> Window | Sequence[Window]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        row, col = divmod(range(len(self))[number], self.across)
        edge = self.edge
        row, col = self.window.row // edge + row, self.window.col // edge + col
        return Window(row * edge, col * edge, edge, edge).intersection(self.window)

    @override
    def __iter__(self) -> Iterator[Window]:
        return (self[number] for number in range(len(self)))


def _count(start: int, stop: int, edge: int) -> int:
    return max(-(-stop // edge) - start // edge, 0) if stop > start else 0
