"""What statistics of whole polygons are made from: sums, quantiles and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Longs = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The values that the pixels of polygons have, and what they weigh."""

    counts: Longs
    """(polygon x label,) how many values each has."""
    values: Floats
    """Of the first, then of the second ..., ascending."""
    sums: Floats
    """Of the weights of each value."""
    poisoned: Mask
    """(polygon, label) whether a valid pixel is NaN."""

    @classmethod
    def joined(cls, parts: Sequence[Classes]) -> Self:
        """Return those of several after each other."""
        return cls(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.sums for part in parts]),
            np.concatenate([part.poisoned for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """All that is known of polygons with all their fragments."""

    polygon: NDArray[np.int32]
    """(polygon,) its position."""
    moments: Floats
    """(polygon, label, moment)"""
    tallies: Floats
    """(polygon, label, class or bin) sums of weights."""
    quantiles: Floats
    """(polygon, label, share)"""
    classes: Classes | None
    """None where no statistic needs them."""

    @classmethod
    def joined(cls, parts: Sequence[Sums]) -> Self:
        """Return those of several after each other."""
        classes = [part.classes for part in parts if part.classes is not None]
        return cls(
            np.concatenate([part.polygon for part in parts]),
            np.concatenate([part.moments for part in parts]),
            np.concatenate([part.tallies for part in parts]),
            np.concatenate([part.quantiles for part in parts]),
            Classes.joined(classes) if classes else None,
        )
