"""Tile matrix sets: the pyramids of grids that maps ask for by zoom, column and row."""

from __future__ import annotations

import math
from dataclasses import dataclass

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WEB_MERCATOR
from terrazzo.geo.grid import Grid, Window

MERCATOR_HALF = 20_037_508.342789244
"""Half the edge of the Web Mercator square, metres."""
DEEPEST = 24
"""Zoom levels above this are refused: a pixel would be smaller than a centimetre."""


@dataclass(frozen=True, slots=True)
class TileMatrixSet:
    """A pyramid of grids in steps of two; zoom 0 is the coarsest."""

    name: str
    """As in URLs: `WebMercatorQuad`, or `native`."""
    base: Grid
    """The grid of zoom `base_zoom`."""
    base_zoom: int
    """The zoom whose pixels are those of `base`."""
    tile: int = 256
    """Edge of a tile, pixels."""

    def grid(self, zoom: int) -> Grid:
        """Return the grid of a zoom level; it covers what the base grid covers.

        Raises:
            ArgumentInvalid: there is no such zoom level.
        """
        if not 0 <= zoom <= DEEPEST:
            raise ArgumentInvalid(f"Zoom {zoom} is not in 0..{DEEPEST}.")
        factor = 2.0 ** (self.base_zoom - zoom)
        return Grid(
            self.base.crs,
            self.base.left,
            self.base.top,
            self.base.pixel_x * factor,
            self.base.pixel_y * factor,
            max(1, math.ceil(self.base.height / factor)),
            max(1, math.ceil(self.base.width / factor)),
        )

    def window(self, zoom: int, x: int, y: int) -> Window:
        """Return the pixels of a tile.

        Raises:
            ArgumentInvalid: the tile is not in the matrix of that zoom.
        """
        grid = self.grid(zoom)
        rows, cols = -(-grid.height // self.tile), -(-grid.width // self.tile)
        if not (0 <= x < cols and 0 <= y < rows):
            raise ArgumentInvalid(
                f"Tile {zoom}/{x}/{y} is not in {self.name}: x runs to {cols - 1} and y to "
                f"{rows - 1} there."
            )
        return Window(y * self.tile, x * self.tile, self.tile, self.tile)

    def covering(self, grid: Grid, window: Window, zoom: int) -> tuple[range, range]:
        """Return the columns and rows of tiles that a window of another grid touches.

        Ranges cannot skip the middle of the world: a window across the antimeridian has all
        columns.
        """
        level = self.grid(zoom)
        inside = level.window_of(grid.to_bounds(window, level.crs)).intersection(level.window)
        if inside.is_empty:
            return range(0), range(0)
        return (
            range(inside.col // self.tile, -(-inside.col_stop // self.tile)),
            range(inside.row // self.tile, -(-inside.row_stop // self.tile)),
        )


def web_mercator(tile: int = 256) -> TileMatrixSet:
    """Return the pyramid of web maps, `WebMercatorQuad` (OGC 17-083r4), with tiles of any size."""
    pixel = 2 * MERCATOR_HALF / tile
    base = Grid(WEB_MERCATOR, -MERCATOR_HALF, MERCATOR_HALF, pixel, pixel, tile, tile)
    return TileMatrixSet("WebMercatorQuad", base, 0, tile)


def native(grid: Grid, tile: int = 256) -> TileMatrixSet:
    """Return the pyramid over a grid of data: its deepest zoom is the grid itself."""
    zoom = max(0, math.ceil(math.log2(max(grid.height, grid.width, 1) / tile)))
    return TileMatrixSet("native", grid, zoom, tile)
