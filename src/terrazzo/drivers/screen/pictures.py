"""Pictures: tiles, and any view at any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.screen.asked import Asked
from terrazzo.drivers.screen.look import Look
from terrazzo.drivers.screen.statistics import MOST, statistics_of
from terrazzo.drivers.tile import MERCATOR, NATIVE, shown
from terrazzo.errors import ArgumentInvalid, FormatUnsupported
from terrazzo.geo.grid import Grid
from terrazzo.geo.tiling import DEEPEST
from terrazzo.storage.writers.picture import FORMATS, empty_picture, encode_picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.drivers.tile import View
    from terrazzo.progress import Progress

MATRICES: Final = (MERCATOR, NATIVE)
PICTURES: Final = tuple(name for name in FORMATS if name != "npy")
MOST_SIDE: Final = 4096
MOST_PIXELS: Final = 8_388_608
"""Of a picture, such as 4096 x 2048."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture."""

    content: bytes
    """The file."""
    media_type: str
    """What it is."""
    resolution: float
    """Pixel size at which it was computed, metres on the ground at its centre."""


def tile(layer: Layer, given: Mapping[str, Any]) -> Picture:
    """Return one tile; transparent where the layer has no pixels.

    Args:
        layer: the layer.
        given: `matrix` (`WebMercatorQuad` or `native`), `z`, `x`, `y`, `look`, `format`.

    Raises:
        ArgumentInvalid, BandNotFound, LabelNotAvailable, LookRelative: a parameter is not as it
            must be.
        PlanTooLarge: it would take more memory than a tile may.
    """
    asked = Asked.of(given, ("matrix", "z", "x", "y", "look", "format"))
    matrix = asked.chosen("matrix", MATRICES, MERCATOR)
    zoom = asked.whole("z", 0, DEEPEST)
    x, y = (asked.whole(name, 0, 1 << DEEPEST) for name in ("x", "y"))
    form = asked.chosen("format", tuple(FORMATS), "png")
    view = layer.view(Look.of(asked.mapping("look")))
    window = layer.tiles.matrix(matrix).window(zoom, x, y)
    content = layer.tiles.picture(matrix, zoom, x, y, view=view, format_name=form)
    if content is None:
        if form == "npy":
            raise FormatUnsupported("There are no numbers where a layer has no pixels.")
        content = empty_picture(form, window.height, window.width)
    grid = layer.tiles.matrix(matrix).grid(zoom)
    return Picture(content, FORMATS[form], layer.metres(grid, window))


def picture(layer: Layer, given: Mapping[str, Any], progress: Progress) -> Picture:
    """Return a picture of a view; a stretch that depends on the view is found in it.

    Args:
        layer: the layer.
        given: `bounds` in `crs`, `width` and `height` in pixels, `look`, `format`.
        progress: told when it is done; may stop it in the middle.

    Raises:
        ArgumentInvalid, SpatialExtentEmpty, BandNotFound, LabelNotAvailable: a parameter is not as
            it must be.
        PlanTooLarge: it would take more memory than a tile may.
    """
    asked = Asked.of(given, ("bounds", "crs", "width", "height", "look", "format"))
    form = asked.chosen("format", PICTURES, "png")
    grid = asked.view(layer.tiles.grid.crs, most=MOST_SIDE)
    check_size(grid, MOST_PIXELS)
    look = Look.of(asked.mapping("look"))
    with progress:
        progress.start(1, "pictures")
        view = view_over(layer, grid, look, progress)
        content = drawn(layer, grid, view, form, progress)
        progress.advance()
    return Picture(content, FORMATS[form], layer.metres(grid, grid.window))


def view_over(layer: Layer, grid: Grid, look: Look, progress: Progress) -> View:
    """Return what a look means over a view, its stretch found there if it depends on it."""
    if not look.absolute:
        found = statistics_of(layer, coarser(grid, MOST), look, progress)
        look = look.resolved(found["bands"])
    return layer.view(look)


def drawn(layer: Layer, grid: Grid, view: View, form: str, progress: Progress) -> bytes:
    """Return an encoded picture of a view."""
    cube = layer.tiles.over(grid, view=view, progress=progress)
    if cube is None:
        return empty_picture(form, grid.height, grid.width)
    return encode_picture(shown(cube, view), view.style, form)


def coarser(grid: Grid, most: int) -> Grid:
    """Return a grid over the same place with at most `most` pixels on a side."""
    larger = max(1.0, max(grid.height, grid.width) / most)
    height, width = max(1, round(grid.height / larger)), max(1, round(grid.width / larger))
    size = grid.pixel_x * grid.width / width, grid.pixel_y * grid.height / height
    return Grid.of(grid.crs, grid.left, grid.top, size, height, width)


def check_size(grid: Grid, most: int) -> None:
    """Refuse a picture of too many pixels.

    Raises:
        ArgumentInvalid: says how many it may have.
    """
    if grid.window.pixels > most:
        raise ArgumentInvalid(
            f"A picture of {grid.width} x {grid.height} pixels has {grid.window.pixels:,}, and may "
            f"have {most:,}. Ask for fewer, or export the layer as a file by a job."
        )
