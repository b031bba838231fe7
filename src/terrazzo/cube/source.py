"""Where pixels come from: the seam between the engine and whatever can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.cube.cube import Cube
    from terrazzo.geo.grid import Grid, Window


@dataclass(frozen=True, slots=True)
class ReadCost:
    """What a read would cost, known before it."""

    items: int
    """Files to open."""
    pixels: int
    """Pixels that would be read, all files and bands, at the overview chosen."""
    bytes: int
    """Bytes of those pixels once decoded."""


class Source(Protocol):
    """Something that gives pixels on any grid; pure and safe to use from many threads.

    Labels and bands are chosen by position, `{"bands": (2, 3), "t": (0, 1, 5)}`; a dimension
    that is not named is read whole.
    """

    @property
    def probe(self) -> Cube:
        """All labels and no pixels: an `empty_cube` with an empty window on the native grid."""

    @property
    def extent(self) -> Window:
        """The window of the native grid (`probe.grid`) that holds data."""

    @property
    def items(self) -> tuple[str, ...]:
        """Ids of the images that it is made of, in reading order: its provenance."""

    def version(self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]) -> str:
        """Changes when pixels of a window may have: other images, or their files were changed."""

    @property
    def bad_items(self) -> tuple[str, ...]:
        """Ids of the images that could not be read so far and were left out."""

    def read(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> Cube:
        """Read a window of any grid, resampled once by `method` where the lattices differ.

        Pixels depend on `grid`, `labels` and `method` only, never on the window that they are
        read in.

        Raises:
            SourceUnreadable: a file is corrupt, truncated or gone.
        """

    def cost(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> ReadCost:
        """Say what `read` would cost; opens nothing."""
