"""Blocks of a window, and the order of work: worked out, not kept, however many there are."""

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
    origin: tuple[int, int] = (0, 0)
    """Row and column that the multiples are counted from."""

    @property
    def across(self) -> int:
        """How many blocks lie beside each other."""
        col = self.origin[1]
        return _count(self.window.col - col, self.window.col_stop - col, self.edge)

    @override
    def __len__(self) -> int:
        row = self.origin[0]
        down = _count(self.window.row - row, self.window.row_stop - row, self.edge)
        return down * self.across

    @overload
    def __getitem__(self, number: int) -> Window: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Window]: ...
    @override
    def __getitem__(self, number: int | slice) -> Window | Sequence[Window]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        row, col = divmod(range(len(self))[number], self.across)
        edge, (top, left) = self.edge, self.origin
        row += (self.window.row - top) // edge
        col += (self.window.col - left) // edge
        block = Window(top + row * edge, left + col * edge, edge, edge)
        return block.intersection(self.window)

    @override
    def __iter__(self) -> Iterator[Window]:
        return (self[number] for number in range(len(self)))


@dataclass(frozen=True, slots=True)
class Sweep(Sequence[int]):
    """The numbers of blocks in the order in which they are computed: in bands, column by column.

    An internal tile of an image that lies across an edge is wanted by the blocks on both sides.
    Row by row, the second comes a whole row later, when the tile is long forgotten; in a band as
    high as there is room for decoded tiles, it comes while the tile is still there.
    """

    blocks: Blocks
    """Which are computed."""
    rows: int = 1
    """Of blocks, in a band; the last band may have fewer."""

    @override
    def __len__(self) -> int:
        return len(self.blocks)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[int]: ...
    @override
    def __getitem__(self, place: int | slice) -> int | Sequence[int]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        across = self.blocks.across
        band, within = divmod(range(len(self))[place], self.rows * across)
        col, row = divmod(within, self._height(band))
        return (band * self.rows + row) * across + col

    def place(self, number: int) -> int:
        """Return the place of a block, counted from 0."""
        across = self.blocks.across
        row, col = divmod(number, across)
        band = row // self.rows
        first = band * self.rows
        return first * across + col * self._height(band) + row - first

    def _height(self, band: int) -> int:
        return min(self.rows, len(self) // self.blocks.across - band * self.rows)

    @override
    def __iter__(self) -> Iterator[int]:
        return (self[place] for place in range(len(self)))


def _count(start: int, stop: int, edge: int) -> int:
    return max(-(-stop // edge) - start // edge, 0) if stop > start else 0
