"""What a reduction gives: rows of a tidy table, one per polygon and label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from terrazzo.cube import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from terrazzo.cube import Cube


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of a table."""

    polygon: NDArray[np.int32]
    """(row,) position of the polygon."""
    columns: Mapping[str, pa.Array]
    """(row,) by name: the labels, and then the statistics."""


def label_columns(probe: Cube) -> dict[str, pa.Array]:
    """Return, by dimension, the label of every label of the flattened cube.

    Dimensions of space have none, and time only where there is more than one.
    """
    labelled = [d for d in probe.dimensions if d.kind is not Kind.SPATIAL]
    shape = tuple(len(d.labels) for d in labelled)
    place = np.indices(shape).reshape(len(shape), math.prod(shape))
    return {
        dimension.name: pa.array(dimension.labels).take(pa.array(at))
        for dimension, at in zip(labelled, place, strict=True)
        if dimension.kind is not Kind.TEMPORAL or len(dimension.labels) > 1
    }
