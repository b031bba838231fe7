"""The pixel container: values in their own dtype, a validity mask, labels, a grid."""

from terrazzo.cube.cube import Cube, Geometries, empty_cube
from terrazzo.cube.dimension import BandFacts, Dimension, Kind, Label
from terrazzo.cube.pixels import Mask, Number, Pixels, Stack, Values, all_valid
from terrazzo.cube.source import (
    ExactSource,
    Plane,
    PlaneSource,
    PrefetchSource,
    ReadCost,
    Source,
)

__all__ = [
    "BandFacts",
    "Cube",
    "Dimension",
    "ExactSource",
    "Geometries",
    "Kind",
    "Label",
    "Mask",
    "Number",
    "Pixels",
    "Plane",
    "PlaneSource",
    "PrefetchSource",
    "ReadCost",
    "Source",
    "Stack",
    "Values",
    "all_valid",
    "empty_cube",
]
