"""Which squares a result is cut into: those of a tile grid, or boxes that a file names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.tile_grids import named_boxes, tile_grid
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.reading import read_polygons

if TYPE_CHECKING:
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.geo.tile_grids import NamedBoxes, Tile

_COLUMN: Final = "name"
"""Attribute that names boxes, unless another one is told."""


class Squares(Protocol):
    """The tiles into which a result is cut."""

    @property
    def text(self) -> str:
        """As `squares_of` reads it, in whatever folder."""

    @property
    def kind(self) -> str:
        """What names its tiles: `mgrs`, `equi7`, `webmercator` or `own`."""

    @property
    def told(self) -> list[Any]:
        """What decides its tiles, JSON values."""

    def tiles(self, grid: Grid, window: Window) -> tuple[Tile, ...]:
        """Return the tiles that share area with a window of another grid."""


def squares_of(text: str, resolution: float = 0.0) -> Squares:
    """Read a tile grid, or a file of boxes.

    Args:
        text: as for `tile_grid`; or `own:FILE`, or `own:FILE:COLUMN`: a GeoPackage, GeoJSON,
            (Geo)Parquet or Shapefile of boxes along the axes of its CRS, called as an attribute
            says, `name` unless told.
        resolution: pixel size where the text does not say it, CRS units.

    Raises:
        AssetForbidden, SourceUnreadable: it is no such file, or a damaged one.
        ArgumentInvalid: it is no tile grid; or the file holds something else than such boxes.
        PlanTooLarge: it holds more than a run can have.
    """
    kind, _, rest = text.partition(":")
    return _read(rest, resolution) if kind.lower() == "own" else tile_grid(text, resolution)


def _read(rest: str, resolution: float) -> NamedBoxes:
    name, _, column = rest.rpartition(":")
    if not name or Path(rest).is_file():  # a path may have colons
        name, column = rest, ""
    path = Path(name).absolute()
    if not path.is_file():
        raise ArgumentInvalid(
            f"There is no file {name!r} with boxes for tiles. Give own:FILE or own:FILE:COLUMN."
        )
    held = read_polygons(path, Gate((path.parent,)), id_column=column or _COLUMN)
    text = f"own:{path}:{column or _COLUMN}"
    return named_boxes(text, held.shapes, held.ids, held.crs, resolution)
