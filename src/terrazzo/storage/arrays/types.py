"""What a file of arrays holds, whatever its format: cubes on grids, their bands and times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from terrazzo.cube import Values
    from terrazzo.geo.grid import Grid, Window


@dataclass(frozen=True, slots=True)
class Moment:
    """When an image of a cube was taken."""

    start: datetime
    """Its instant, or the start of its period."""
    end: datetime | None = None
    """End of its period, excluded; None for an instant."""


@dataclass(frozen=True, slots=True)
class BitField:
    """Neighbouring bits of a number that say something of their own."""

    offset: int
    """The lowest of them, from 0."""
    length: int
    """How many there are."""
    classes: tuple[tuple[int, str], ...]
    """(number that they make, meaning)."""


@dataclass(frozen=True, slots=True)
class ArrayBand:
    """One band of a cube: a variable, or one position of its further dimensions."""

    name: str
    """Name of the variable, and of the position."""
    dtype: str
    """Type of the numbers, NumPy name."""
    nodata: float | None = None
    """The number that stands for no data; None where there is none, or one that cannot occur."""
    scale: float = 1.0
    """Physical value = number * scale + offset."""
    offset: float = 0.0
    """See `scale`."""
    unit: str = ""
    """Unit of the physical value; empty where it is not said."""
    description: str = ""
    """What the file calls it; empty where it is not said."""
    common_name: str = ""
    """STAC common name that its wavelength has; empty where it is not said."""
    wavelength_um: float | None = None
    """Centre wavelength, micrometres."""
    classes: tuple[tuple[int, str], ...] = ()
    """(number, meaning) where its numbers are classes."""
    bits: tuple[BitField, ...] = ()
    """What its bits say where its numbers are made of such."""
    flags: bool = False
    """Whether its numbers are classes or bits, which are never averaged, though it may not be said
    what they mean."""


class ArrayCube(Protocol):
    """Images of the same bands on one grid."""

    @property
    def name(self) -> str:
        """Name of its group in the file; empty for the root."""

    @property
    def grid(self) -> Grid:
        """North-up, also where the file's rows ascend; longitudes are those of the file."""

    @property
    def times(self) -> tuple[Moment, ...]:
        """In the file's order; empty for a cube without time."""

    @property
    def bands(self) -> tuple[ArrayBand, ...]:
        """At least one."""

    def holds(self, band: str, time_index: int) -> bool:
        """Tell whether there is an image of a band at a date."""

    def read(self, band: str, time_index: int = 0, window: Window | None = None) -> Values:
        """Return (y, x) numbers of one band and date, north-up, not scaled.

        Args:
            band: its name.
            time_index: position in `times`; 0 for a cube without time.
            window: pixels of `grid`; None = all.

        Raises:
            ArgumentInvalid: no such band or date.
            SourceUnreadable: the file is damaged.
        """


@dataclass(slots=True)
class ArrayFile:
    """An open file; close it, or use it in a `with` statement."""

    cubes: tuple[ArrayCube, ...]
    """Its cubes, one per group and grid; none in a file of swaths."""
    close: Callable[[], None]
    """Close the file."""
    is_swath: bool = False
    """Whether its pixels have latitudes and longitudes of their own instead of a grid."""
    covered: Moment | None = None
    """The time that its global attributes state."""
    notes: tuple[str, ...] = ()
    """What should be known of what is in the cubes, and of what is not."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What its global attributes say of the data set: `title`, `summary`, `institution` and
    `keywords` (CF 2.6.2, ACDD 1.3), those that there are."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
