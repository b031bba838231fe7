"""The collection of the process reference: six pixels, two dates and two bands, one cloud."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, ReadCost
from terrazzo.cube.warp import source_window, warp
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between
from terrazzo.processes.geometries import vector_cube
from terrazzo.processes.vectors import feature_ids, geojson_held

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@dataclass(frozen=True)
class TinySource:
    """Pixels that are in memory, as a source of graphs."""

    pixels: Cube
    """All there are."""

    @property
    def probe(self) -> Cube:
        """All labels, no pixels."""
        return self.pixels.crop(Window(0, 0, 0, 0))

    @property
    def extent(self) -> Window:
        """The whole grid."""
        return GRID.window

    @property
    def items(self) -> tuple[str, ...]:
        """One image per date."""
        return tuple(str(label) for label in self.pixels.dimension("t").labels)

    def version(self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]]) -> str:
        """One: the pixels never change."""
        del grid, window, labels
        return "1"

    @property
    def bad_items(self) -> tuple[str, ...]:
        """None."""
        return ()

    def read(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> Cube:
        """Return the pixels of a window of any grid."""
        cube = self.pixels
        for name, positions in labels.items():
            cube = cube.take(name, positions)
        pixel_map, scale = PixelMap.between(grid, window, GRID), scale_between(grid, GRID)
        part = cube.crop(source_window(pixel_map, method, scale, GRID.window))
        source = part.window or GRID.window
        values, valid = warp(part.values, part.valid, source, pixel_map, method, scale)
        return replace(cube, values=values, valid=valid, grid=grid, window=window)

    def cost(
        self, grid: Grid, window: Window, labels: Mapping[str, tuple[int, ...]], method: str
    ) -> ReadCost:
        """Count the pixels."""
        del grid, labels, method
        return ReadCost(len(self.items), window.pixels, 4 * window.pixels)


class TinyOpener:
    """Opens the tiny collection, whatever it is called."""

    def open(self, request: LoadRequest) -> TinySource:
        """Return the collection with the bands that are asked for."""
        cube = _all_pixels()
        if request.bands is not None:
            cube = cube.take("bands", [BANDS.index(band) for band in request.bands])
        return TinySource(cube)

    def load(self, request: FileRequest) -> Cube:
        """Return the features of the example of `load_geojson`, whatever the address."""
        return vector_cube(geojson_held(FIELDS), feature_ids(FIELDS), request.properties)
