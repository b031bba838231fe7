"""The collection of the process reference: six pixels, two dates and two bands, one cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.geo.grid import Grid
from terrazzo.processes.geometries import vector_cube
from terrazzo.processes.vectors import feature_ids, geojson_held
from terrazzo.testing.memory import CubeSource

if TYPE_CHECKING:
    from terrazzo.processes.load import FileRequest, LoadRequest

TIMES = ("2020-01-05T10:00:00Z", "2020-02-05T10:00:00Z")
BANDS = ("red", "nir")
GRID = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, 2, 3)
FIELDS: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "north",
            "properties": {"n": 3, "crop": "rye"},
            "geometry": {"type": "Point", "coordinates": [15.000127, 45.153387]},
        },
        {
            "type": "Feature",
            "id": "south",
            "properties": {"n": None, "crop": "oats"},
            "geometry": {"type": "Point", "coordinates": [15.0, 45.0]},
        },
    ],
}
"""Two points, of which the first lies in a pixel."""
NUMBERS = (
    (((1, 2, 3), (4, 5, 6)), ((9, 8, 7), (6, 5, 4))),
    (((2, 2, 2), (3, 3, 3)), ((6, 0, 8), (9, 9, 9))),
)
"""Values by date, band, row and column."""
CLOUD = (1, 1, 0, 1)
"""Date, band, row and column of the one pixel without data."""


def _all_pixels() -> Cube:
    values = np.array(NUMBERS, dtype=np.float32)
    valid = np.ones(values.shape, np.bool_)
    valid[CLOUD] = False
    dimensions = (
        Dimension("t", Kind.TEMPORAL, TIMES),
        Dimension("bands", Kind.BANDS, BANDS),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    return Cube(values, valid, dimensions, GRID, GRID.window)


class TinyOpener:
    """Opens the tiny collection, whatever it is called."""

    def open(self, request: LoadRequest) -> CubeSource:
        """Return the collection with the bands that are asked for."""
        cube = _all_pixels()
        if request.bands is not None:
            cube = cube.take("bands", [BANDS.index(band) for band in request.bands])
        return CubeSource(cube)

    def load(self, request: FileRequest) -> Cube:
        """Return the features of the example of `load_geojson`, whatever the address."""
        return vector_cube(geojson_held(FIELDS), feature_ids(FIELDS), request.properties)
