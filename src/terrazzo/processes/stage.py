"""What a stage is: a process that must see all pixels before later nodes can run.

A process with `Role.STAGE` gives a `Stage`. For every run that makes a `Work`, whose passes take
something small of each block (in any order, by many threads), put it together in the order of
the blocks, and give in the end what was found. What is found must not depend on the blocks.

With what was found the node is settled: a cube without pixels on a map is known from then on, and
later nodes take it as a constant; a raster is computed block by block like any other, by a
function that has what was found in its `Place`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Mask, Values
    from terrazzo.geo.grid import Window

Finding = Mapping[str, "NDArray[Any]"]
"""What a stage has found, as arrays by name, so that it can be kept and sent. That of a result
without space is the result: `values` and `valid`."""


class Pass(Protocol):
    """One walk over the blocks of a stage's raster."""

    @property
    def labels(self) -> Mapping[str, tuple[int, ...]]:
        """Positions of the labels that are computed, by dimension; one not named is whole."""

    @property
    def needs(self) -> int:
        """Bytes that are held while it runs, beside the blocks."""

    def windows(self, edge: int) -> Sequence[Window]:
        """Return the windows that are computed, of blocks of at most `edge` pixels."""

    def part(self, number: int, cube: Cube) -> Any:
        """Return what is kept of a window, by its number; many threads at once."""

    def add(self, number: int, part: Any) -> None:
        """Take what was kept of a window; called in their order."""


class Work(Protocol):
    """A stage of one run."""

    def passes(self, memory_bytes: int) -> Iterator[Pass]:
        """Yield passes; one is over when the next is asked for.

        Raises:
            PlanTooLarge: it would hold more than `memory_bytes`; before the first pass.
        """

    def finish(self) -> Finding:
        """Return what was found, after the last pass."""


Stage = Callable[["Cube", "Window", "Cube", Mapping[str, Any]], Work]
"""Begin a stage: its raster without pixels (on the grid that it is computed on), the pixels of it
that there are, the result without pixels, and the arguments."""


def found_cube(values: Values, valid: Mask) -> Finding:
    """Return the finding of a stage whose result has no space."""
    return {"values": np.asarray(values, order="C"), "valid": np.asarray(valid, order="C")}
