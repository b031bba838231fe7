"""What is kept of a cell until its polygons are whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from terrazzo.drivers.extraction.statistics.sums import Sums

    Longs = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The pixels of some fragments or polygons, one after the other."""

    starts: Longs
    """(owner + 1,) where each one's begin."""
    weights: Floats
    """(pixel,)"""
    values: Floats
    """(label, pixel)"""
    valid: Mask
    """(label, pixel)"""

    def apart(self) -> NDArray[np.object_]:
        """Return (owner,) the pixels of each, copied, so that no others are held with them."""
        parts = np.empty(len(self.starts) - 1, object)
        for number in range(len(parts)):
            span = slice(self.starts[number], self.starts[number + 1])
            size = np.array([0, span.stop - span.start])
            weights, values, valid = self.weights[span], self.values[:, span], self.valid[:, span]
            parts[number] = Pixels(size, weights.copy(), values.copy(), valid.copy())
        return parts

    @classmethod
    def joined(cls, parts: Sequence[Pixels]) -> Self:
        """Return the pixels of several after each other."""
        return cls(
            np.cumsum([0, *(part.starts[-1] for part in parts)]),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.values for part in parts], axis=1),
            np.concatenate([part.valid for part in parts], axis=1),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Fragments of polygons that are not whole yet, and the sums of those that are."""

    polygon: NDArray[np.int32]
    """(fragment,) ascending."""
    square: Longs
    """(fragment,) ascending within a polygon."""
    moments: Floats
    """(fragment, label, moment)"""
    tallies: Floats
    """(fragment, label, class or bin) sums of weights."""
    pixels: NDArray[np.object_]
    """(fragment,) `Pixels`, or None where no statistic needs them."""
    whole: Sums | None = None
    """Of polygons that lie in the cell altogether."""

    def chosen(self, fragments: Mask | Longs) -> Part:
        """Return some fragments."""
        return replace(
            self,
            polygon=self.polygon[fragments],
            square=self.square[fragments],
            moments=self.moments[fragments],
            tallies=self.tallies[fragments],
            pixels=self.pixels[fragments],
            whole=None,
        )

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Self:
        """Return the fragments of several parts, sorted by polygon and square."""
        polygon = np.concatenate([part.polygon for part in parts])
        square = np.concatenate([part.square for part in parts])
        order = np.lexsort((square, polygon))
        return cls(
            polygon[order],
            square[order],
            np.concatenate([part.moments for part in parts])[order],
            np.concatenate([part.tallies for part in parts])[order],
            np.concatenate([part.pixels for part in parts])[order],
        )
