"""Where pixels come from: the seam between the engine and whatever can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.cube.cube import Cube
    from terrazzo.cube.pixels import Mask, Values
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.geo.pixelmap import Lookup


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
    def items(self) -> Sequence[str]:
        """Ids of the images that it is made of, in reading order: its provenance."""

    def items_of(self, labels: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """Return the ids of the images that are read for some labels, in reading order."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Stored numbers of one time label and band, and how to read them: what fused kernels take.

    The pixel of a target is the number that `lookup` says, valid unless it is `nodata` or
    `valid` says otherwise there.
    """

    numbers: Values
    """(h, w) of the lookup's source window in the file's dtype, rows contiguous; read-only."""
    lookup: Lookup
    """Which of them each target pixel takes."""
    nodata: float | None
    """The number that marks no-data, exactly in the dtype of the numbers; NaN marks NaN, None
    nothing."""
    scale: float
    """Physical value = number * scale + offset: in `compute_dtype` of the numbers, rounded after
    each operation, then cast to the source's dtype."""
    offset: float
    """See `scale`."""
    scaled: bool
    """Whether scale and offset apply at all; otherwise numbers are cast to the source's dtype."""
    valid: Mask | None
    """(h, w), True = valid; None = all but `nodata`."""


@runtime_checkable
class PlaneSource(Protocol):
    """A source that can also give nearest neighbours as stored numbers."""

    def planes(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]
    ) -> tuple[Plane | None, ...]:
        """Read what `Source.read` with method `near` gives, as stored numbers.

        Returns:
            One per time label and band, bands running fastest; None = nothing valid there.

        Raises:
            SourceUnreadable: a file is corrupt, truncated or gone.
        """


@runtime_checkable
class PrefetchSource(Protocol):
    """A source for which it pays to say early what will be read."""

    def prefetch(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> None:
        """Begin to fetch what `Source.read` of the same arguments needs; returns at once.

        Never raises: the read itself tells what is wrong.
        """


@runtime_checkable
class ExactSource(Source, Protocol):
    """A source that interpolates where pixels lie, within 0.1 pixel, and can do without."""

    def exactly(self) -> Source:
        """Return the source of the same images that projects every pixel on its own.

        It gives in every other way (`PlaneSource`, `PrefetchSource`) what this one gives.
        """
