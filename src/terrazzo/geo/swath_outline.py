"""The outline of a swath in longitude and latitude, which may cross the antimeridian or a pole."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DOWN: Final = 32
_ACROSS: Final = 8
_TURN: Final = 360.0
_WORLD: Final = shapely.box(-180, -90, 180, 90)


class SwathOutline:
    """Collects the places of pixels as boxes around tiles of the swath."""

    def __init__(self, rows: int, cols: int) -> None:
        """Begin with none of a swath's rows and columns."""
        self._down, self._across = -(-rows // _DOWN), -(-cols // _ACROSS)
        self._tiles: dict[tuple[int, int], tuple[float, float, float, float]] = {}

    def add(self, first: int, boxes: Floats) -> None:
        """Take in pixels.

        Args:
            first: their first row in the swath.
            boxes: (rows, cols, 4) least and greatest longitude, least and greatest latitude; NaN
                where there is no pixel.
        """
        rows, cols = boxes.shape[:2]
        down = (first + np.arange(rows)) // self._down
        for row in np.unique(down).tolist():
            part = boxes[down == row]
            for col in range(-(-cols // self._across)):
                tile = part[:, col * self._across : (col + 1) * self._across].reshape(-1, 4)
                tile = tile[np.isfinite(tile).all(axis=-1)]
                if len(tile):
                    self._join((row, col), tile)

    def _join(self, key: tuple[int, int], tile: Floats) -> None:
        """Take in pixels of a tile; longitudes count on from those of its first pixel."""
        low, high = tile[:, 0], tile[:, 1]
        known = self._tiles.get(key)
        middle = (low[0] + high[0]) / 2 if known is None else (known[0] + known[1]) / 2
        turns = np.round(((low + high) / 2 - middle) / _TURN) * _TURN
        ends = ((low - turns).min(), (high - turns).max(), tile[:, 2].min(), tile[:, 3].max())
        if known is not None:
            ends = (
                min(known[0], ends[0]), max(known[1], ends[1]),
                min(known[2], ends[2]), max(known[3], ends[3]),
            )  # fmt: skip
        self._tiles[key] = ends

    def geometry(self) -> dict[str, Any]:
        """Return a GeoJSON polygon, or several, in -180..180 that holds all pixels."""
        boxes = []
        for west, east, south, north in self._tiles.values():
            shift = math.floor((west + _TURN / 2) / _TURN) * _TURN
            left, right = west - shift, min(east - shift, west - shift + _TURN)
            boxes.append(shapely.box(left, south, right, north))
            if right > _TURN / 2:
                boxes.append(shapely.box(left - _TURN, south, right - _TURN, north))
        whole = shapely.union_all(boxes).intersection(_WORLD)
        document: dict[str, Any] = json.loads(shapely.to_geojson(shapely.orient_polygons(whole)))
        return document
