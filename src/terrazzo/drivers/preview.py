"""A small picture of one item, out of the overviews of its files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.errors import (
    ArgumentInvalid,
    AssetForbidden,
    BandNotFound,
    NoDataAvailable,
    SourceUnreadable,
    TerrazzoError,
)
from terrazzo.geo.grid import Grid
from terrazzo.storage.writers.files import planes
from terrazzo.storage.writers.picture import Style, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.cube import Cube
    from terrazzo.engine.sources import CatalogOpener
    from terrazzo.storage.source import RasterSource

MOST_BYTES = 100_000_000
"""What may be decoded for a picture; a file without overviews may have much more."""
LOW, HIGH = 2, 98
"""Percentiles of the pixels in the first and in the last colour."""
COLOURS = ("red", "green", "blue")


class PreviewUnavailable(TerrazzoError):
    """There is no picture of an item."""

    code, status = "PreviewUnavailable", 404


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of an item."""

    content: bytes
    """PNG; transparent where there is no data."""
    bands: tuple[str, ...]
    """What is shown: red, green and blue, or one band."""


def preview(
    opener: CatalogOpener, document: Mapping[str, Any], item: Mapping[str, Any], size: int
) -> Preview:
    """Draw an item on its own grid, its colours from the 2nd to the 98th percentile.

    Args:
        opener: reads its files.
        document: its collection, which knows the common names of bands.
        item: the item, as the catalogue has it.
        size: pixels of the longer side at most.

    Raises:
        PreviewUnavailable: it has no raster, may not be read, or has no overviews.
    """
    try:
        source = _opened(opener, document, item)
        chosen = _chosen(source)
        grid = _coarse(source.grid, size)
        labels = {"t": (0,), "bands": tuple(source.bands.index(name) for name in chosen)}
        if source.cost(grid, grid.window, labels, "near").bytes > MOST_BYTES:
            raise PreviewUnavailable(
                "Its files are large and have no overviews of the size of a picture. Make cloud-"
                "optimised GeoTIFFs of them, as `terrazzo ingest --copy` does."
            )
        cube = source.read(grid, grid.window, labels, "near")
    except SourceUnreadable as error:
        raise PreviewUnavailable(
            f"Item {error.item!r} has no picture, because its asset {error.asset!r} cannot be "
            f"read: {error.reason}."
        ) from error
    except AssetForbidden as error:
        raise PreviewUnavailable("Its files cannot be read by this server.") from error
    except (NoDataAvailable, BandNotFound, ArgumentInvalid) as error:
        raise PreviewUnavailable("It has no bands that this server can read.") from error
    return Preview(_drawn(cube), chosen)


def _opened(
    opener: CatalogOpener, document: Mapping[str, Any], item: Mapping[str, Any]
) -> RasterSource:
    """Return the bands of an item, which others may have made of anything.

    Raises:
        PreviewUnavailable: its assets or bands are not as STAC has them.
    """
    try:
        return opener.open_item(document, item)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PreviewUnavailable("Its assets or bands are not as STAC has them.") from error


def _chosen(source: RasterSource) -> tuple[str, ...]:
    """Return the bands in red, green and blue, or the first one."""
    common = {facts.common_name: str(name) for name, facts in source.facts.items()}
    names = {name: name for name in source.bands} | {
        known: name for known, name in common.items() if known and name in source.bands
    }
    colours = tuple(names[colour] for colour in COLOURS if colour in names)
    return colours if len(colours) == len(COLOURS) else source.bands[:1]


def _coarse(grid: Grid, size: int) -> Grid:
    """Return a grid over the same place with at most `size` pixels on a side."""
    factor = max(1.0, max(grid.height, grid.width) / size)
    return Grid(
        grid.crs,
        grid.left,
        grid.top,
        grid.pixel_x * factor,
        grid.pixel_y * factor,
        max(1, math.ceil(grid.height / factor)),
        max(1, math.ceil(grid.width / factor)),
    )


def _drawn(cube: Cube) -> bytes:
    values, valid = planes(cube)
    numbers, known = values[0], valid[0]
    if numbers.dtype.kind == "f":
        known = known & np.isfinite(numbers)
    seen = np.asarray(numbers[known], np.float64)
    style = Style()
    if seen.size:
        low, high = (float(edge) for edge in np.percentile(seen, [LOW, HIGH]))
        style = Style(((low, high),))
    return encode(numbers, known, style)
